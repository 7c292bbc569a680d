package cache

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func page(body string, ttl time.Duration) *Variant {
	return &Variant{Body: []byte(body), Stored: start, Expires: start.Add(ttl)}
}

func TestPutAndGet(t *testing.T) {
	v := NewVariants(Config{})
	if v.Get([]byte("a"), start) != nil {
		t.Fatal("found in an empty index")
	}
	first := page("one", time.Minute)
	if !v.Put([]byte("a"), first) || v.Get([]byte("a"), start) != first {
		t.Fatal("not found after it was stored")
	}
	second := page("two", time.Minute)
	v.Put([]byte("a"), second)
	if v.Get([]byte("a"), start) != second || v.Usage().Entries != 1 {
		t.Fatal("the older one stayed")
	}
	if v.Get([]byte("a"), start.Add(time.Minute)) != nil || v.Usage() != (Usage{}) {
		t.Fatalf("a stale one stayed: %+v", v.Usage())
	}
}

func TestNothingIsStoredWhenDisabled(t *testing.T) {
	v := NewVariants(Config{Disabled: true})
	if v.Put([]byte("a"), page("x", time.Minute)) || v.Get([]byte("a"), start) != nil || v.MaxObject() != 0 || v.Usage() != (Usage{}) {
		t.Error("a disabled cache kept something")
	}
	v.Clear()
}

func TestAge(t *testing.T) {
	v := page("x", time.Minute)
	v.Age = 10 * time.Second
	if got := v.AgeAt(start.Add(5 * time.Second)); got != 15*time.Second {
		t.Errorf("age %v", got)
	}
	if got := v.AgeAt(start.Add(-time.Hour)); got != 10*time.Second {
		t.Errorf("age after the clock went back: %v", got)
	}
}

func TestGzipIsMadeOnceAndCounted(t *testing.T) {
	v := NewVariants(Config{})
	key, p := []byte("a"), page("body", time.Minute)
	v.Put(key, p)
	before := v.Usage().Bytes
	made := 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got := v.Gzip(key, p, func(b []byte) []byte {
				mu.Lock()
				made++
				mu.Unlock()
				return bytes.Repeat(b, 100)
			})
			if len(got) != 400 {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
	wg.Wait()
	if made != 1 || v.Usage().Bytes < before+400 {
		t.Errorf("made %d times, %d bytes after %d", made, v.Usage().Bytes, before)
	}
	v.Clear()
	if v.Usage() != (Usage{}) {
		t.Errorf("%+v after clearing", v.Usage())
	}
}

// Whatever is done, the budget holds, and what is found is what was stored last
// under that very key.
func TestIndexAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{VariantMemory: 1 << 20}
		v := NewVariants(cfg)
		last := map[string]*Variant{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			key := fmt.Sprintf("key %d", rapid.IntRange(0, 40).Draw(t, "key"))
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				p := page(string(make([]byte, rapid.IntRange(0, 60<<10).Draw(t, "size"))), time.Minute)
				if v.Put([]byte(key), p) {
					last[key] = p
				}
			case 2:
				if p := last[key]; p != nil {
					v.Gzip([]byte(key), p, func(b []byte) []byte { return make([]byte, len(b)/3) })
				}
			case 3:
				if got := v.Get([]byte(key), start); got != nil && got != last[key] {
					t.Fatal("found another page")
				}
			}
			if u := v.Usage(); u.Bytes > 1<<20 || u.Bytes < 0 || u.Entries == 0 && u.Bytes != 0 {
				t.Fatalf("usage %+v", u)
			}
		}
	})
}

func TestLookupAllocatesNothing(t *testing.T) {
	v := NewVariants(Config{})
	key := []byte("a")
	v.Put(key, page("x", time.Minute))
	if n := testing.AllocsPerRun(100, func() { v.Get(key, start) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRecent(t *testing.T) {
	r := NewRecent[int, string](2)
	r.Put(1, "one")
	r.Put(2, "two")
	r.Get(1)
	r.Put(3, "three")
	if _, ok := r.Get(2); ok || r.Len() != 2 {
		t.Error("the one not used for longest stayed")
	}
	r.Put(1, "uno")
	if got, _ := r.Get(1); got != "uno" {
		t.Errorf("got %q", got)
	}
}

func TestConfigFaults(t *testing.T) {
	c := Config{VariantMemory: 10, MaxObject: -1}
	if faults := c.Validate(); len(faults) != 2 {
		t.Errorf("%v", faults)
	}
	c = Config{VariantMemory: 16 << 20, MaxObject: 2 << 20}
	if faults := c.Validate(); len(faults) != 1 || faults[0].Path != "max_object" {
		t.Errorf("%v", faults)
	}
	c = Config{}
	if faults := c.Validate(); len(faults) != 0 {
		t.Errorf("%v", faults)
	}
}
