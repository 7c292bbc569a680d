package cache

import (
	"bytes"
	"fmt"
	"testing"
)

func newBodies(t *testing.T, budget int64) *Bodies[string] {
	t.Helper()
	b, err := NewBodies[string](budget)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestBodies(t *testing.T) {
	b := newBodies(t, 1<<20)
	find := func(kind uint32, body, wantValue string, want Sight) {
		t.Helper()
		if value, sight := b.Find(Kind{Reading: kind}, []byte(body)); value != wantValue || sight != want {
			t.Errorf("%d %q: %q, %d; want %q, %d", kind, body, value, sight, wantValue, want)
		}
		b.Wait()
	}
	find(0, "page", "", FirstSeen)
	find(0, "page", "", SeenAgain)
	find(1, "page", "", FirstSeen)
	b.Keep(Kind{}, []byte("page"), "made", 4)
	b.Wait()
	find(0, "page", "made", Kept)
	find(1, "page", "", SeenAgain)
	find(0, "page ", "", FirstSeen)
	if _, sight := b.Find(Kind{Mapping: "elsewhere"}, []byte("page")); sight != FirstSeen {
		t.Errorf("under another mapping: %d, want not seen", sight)
	}
	b.Keep(Kind{Reading: 1}, []byte("page"), "", 0) // nothing can be made of it, and that is known
	b.Wait()
	find(1, "page", "", Kept)
	b.Clear()
	find(0, "page", "", FirstSeen)
	b.Close()
	find(0, "page", "", FirstSeen)
	b.Keep(Kind{}, []byte("page"), "made", 4)
	b.Close()
}

func TestNoBodies(t *testing.T) {
	b, err := NewBodies[string](0)
	if b != nil || err != nil {
		t.Fatal(b, err)
	}
	b.Keep(Kind{}, []byte("page"), "made", 4)
	b.Wait()
	if value, sight := b.Find(Kind{}, []byte("page")); value != "" || sight != FirstSeen {
		t.Error(value, sight)
	}
	b.Clear()
	b.Close()
}

// The budget holds for bodies and for those of which only the hash is noted.
func TestBodiesKeepTheBudget(t *testing.T) {
	const budget = 1 << 20
	b := newBodies(t, budget)
	kept := 0
	for i := range 2000 {
		body := append(bytes.Repeat([]byte("x"), 8<<10), fmt.Sprint(i)...)
		b.Find(Kind{}, body)
		b.Wait() // as one request does and then another
		b.Keep(Kind{}, body, "value", 1000)
		b.Wait()
	}
	for i := range 2000 {
		body := append(bytes.Repeat([]byte("x"), 8<<10), fmt.Sprint(i)...)
		// Find would note those that are gone, and so push out others.
		if found, ok := b.store.Get(b.key(Kind{}, body)); ok && found.kept {
			kept++
		}
	}
	if kept == 0 || kept > budget/(9<<10) {
		t.Errorf("%d bodies kept in %d bytes", kept, budget)
	}
}

func TestFindKeptAllocatesNothing(t *testing.T) {
	b := newBodies(t, 1<<20)
	body := bytes.Repeat([]byte("page"), 1000)
	b.Keep(Kind{}, body, "made", 4)
	b.Wait()
	if n := testing.AllocsPerRun(100, func() { b.Find(Kind{}, body) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
