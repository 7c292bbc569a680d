//go:build !race

package event

import "testing"

// An event from traffic is queued without an allocation: it is encoded into memory that
// is used again.
func TestAppendWithinAllocatesNothing(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Config{})
	e := &Event{ID: "0123456789abcdef", Observed: true, Type: Page, Visitor: "v", Time: start, Received: start, Path: "/"}
	l.mu.Lock()
	l.pending = make([]byte, 0, 1<<20) // as it is on a busy node
	l.mu.Unlock()
	var b Batch
	limits, ends := []float64{1}, []Offset{0}
	if n := testing.AllocsPerRun(1000, func() {
		b.Reset()
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
		if l.AppendWithin(&b, limits, ends); ends[0] == 0 {
			t.Fatal("not queued")
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}
