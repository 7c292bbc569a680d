//go:build !race

package segmenter

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestCachedSegmentAllocatesNothing(t *testing.T) {
	s := newScorer(t, shop)
	f := facts(s.rules, map[string]string{"utm.campaign": "sale"}, regular())
	s.Segment(f)
	settle(s)
	if n := testing.AllocsPerRun(2000, func() { s.Segment(f) }); n > 0 {
		t.Errorf("%v allocations for an answer from the cache", n)
	}
	if s.Stats().Computed != 1 {
		t.Errorf("%+v", s.Stats())
	}
}

// What entries are said to cost is at least most of what they take, so that the
// configured size holds.
func TestCostIsHonest(t *testing.T) {
	for name, visitors := range map[string]bool{"visitors": true, "long attributes": false} {
		cfg := shop
		cfg.CacheSize = 8 << 20
		s := newScorer(t, cfg)
		before := heap()
		for i := range 60000 {
			f := facts(s.rules, nil, regular())
			if f.VisitorID = ""; visitors {
				f.VisitorID = fmt.Sprintf("%022d", i)
			} else {
				f.Attributes[0] = fmt.Sprintf("%d%s", i, strings.Repeat("x", 500))
			}
			s.Segment(f)
			if i%1000 == 0 {
				settle(s)
			}
		}
		settle(s)
		took, said := int64(heap()-before), s.Stats().Bytes
		if said > int64(cfg.CacheSize) || float64(took) > 1.25*float64(said) || s.Stats().Evicted == 0 {
			t.Errorf("%s: took %d bytes, said %d, evicted %d", name, took, said, s.Stats().Evicted)
		}
		t.Logf("%s: took %d bytes, said %d of %d", name, took, said, cfg.CacheSize)
		runtime.KeepAlive(s)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
