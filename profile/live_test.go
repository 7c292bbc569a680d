package profile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/sedge-proxy/sedge/event"
)

// lagging is a store that takes events in the order of a log, as far as it is told.
type lagging struct {
	mu     sync.Mutex
	states map[string]*State
	events []event.Event // the log: event i ends at offset i+1
	asOf   event.Offset
	broken error
	gate   chan struct{} // a load waits here, when set
	inside chan struct{}
}

func newLagging() *lagging { return &lagging{states: make(map[string]*State)} }

func (l *lagging) append(e event.Event) event.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	return event.Offset(len(l.events))
}

// catchUp applies up to n further events.
func (l *lagging) catchUp(n int) event.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; n > 0 && int(l.asOf) < len(l.events); n-- {
		e := &l.events[l.asOf]
		if l.states[e.Visitor] == nil {
			l.states[e.Visitor] = &State{}
		}
		l.states[e.Visitor].Apply(e)
		l.asOf++
	}
	return l.asOf
}

func (l *lagging) Load(_ context.Context, id string) (*State, event.Offset, error) {
	if l.gate != nil {
		l.inside <- struct{}{}
		<-l.gate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return nil, 0, l.broken
	}
	s := l.states[id]
	if s == nil {
		return nil, l.asOf, nil
	}
	c, err := Decode(s.Append(nil))
	return c, l.asOf, err
}

func view(i int, visitor string) event.Event {
	return event.Event{ID: fmt.Sprint(i), Type: event.Page, Visitor: visitor, Time: start}
}

func views(t *testing.T, l *Live, id string) int64 {
	t.Helper()
	p, err := l.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p.PageViews
}

// TestLiveHoldsWhatItMay counts visitors that do not fall evenly on the shards.
func TestLiveHoldsWhatItMay(t *testing.T) {
	const most = 64 * shardCount
	store := newLagging()
	live := NewLive(store, Config{MaxEntries: most})
	for i := range most {
		views(t, live, fmt.Sprint(i))
	}
	live.Flushed(1)
	if s := live.Stats(); s.Entries != most || s.Evicted != 0 {
		t.Errorf("%d of %d visitors in memory, %d evicted", s.Entries, most, s.Evicted)
	}
	for i := range 3 * most {
		views(t, live, fmt.Sprint("other", i))
	}
	if s := live.Stats(); s.Entries > most+most/10 || s.Evicted < 2*most {
		t.Errorf("%d visitors in memory, where %d may be; %d evicted", s.Entries, most, s.Evicted)
	}
}

// TestLiveShowsEveryEventOnce drives memory and store through every order in
// which append, apply, store and flush can happen, with far too little memory.
func TestLiveShowsEveryEventOnce(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		store := newLagging()
		live := NewLive(store, Config{MaxEntries: shardCount})
		want := make(map[string]int64)
		type late struct {
			e   event.Event
			end event.Offset
		}
		var unapplied []late
		for i := range 3000 {
			switch random.IntN(6) {
			case 0, 1:
				e := view(i, fmt.Sprintf("v%d", random.IntN(300)))
				unapplied = append(unapplied, late{e, store.append(e)})
			case 2:
				store.catchUp(random.IntN(20)) // the flush is told later
			case 3:
				live.Flushed(store.catchUp(random.IntN(20)))
			default:
				for range random.IntN(3) {
					if len(unapplied) == 0 {
						break
					}
					at := random.IntN(len(unapplied))
					one := unapplied[at]
					unapplied = append(unapplied[:at], unapplied[at+1:]...)
					live.Apply(&one.e, one.end)
					want[one.e.Visitor]++
				}
			}
			id := fmt.Sprintf("v%d", random.IntN(300))
			pending := int64(0)
			for _, one := range unapplied {
				if one.e.Visitor == id {
					pending++
				}
			}
			// An event that the store has seen may show before it is applied.
			if got := views(t, live, id); got < want[id] || got > want[id]+pending {
				t.Fatalf("seed %d, step %d: %s has %d views, want %d", seed, i, id, got, want[id])
			}
		}
		for _, one := range unapplied {
			live.Apply(&one.e, one.end)
			want[one.e.Visitor]++
		}
		for id, n := range want {
			if got := views(t, live, id); got != n {
				t.Fatalf("seed %d: %s has %d views, want %d", seed, id, got, n)
			}
		}
		live.Flushed(store.catchUp(1 << 30))
		if s := live.Stats(); s.Entries > shardCount || s.Dirty > 0 {
			t.Fatalf("%+v", s)
		}
		for id, n := range want {
			if got := views(t, live, id); got != n {
				t.Fatalf("seed %d: %s has %d views from the store, want %d", seed, id, got, n)
			}
		}
	}
}

func TestLiveHoldsManyEventsOfAVisitorNobodyLookedAt(t *testing.T) {
	store := newLagging()
	live := NewLive(store, Config{})
	for i := range 2500 {
		e := view(i, "v")
		live.Apply(&e, store.append(e))
	}
	if got := views(t, live, "v"); got != 2500 {
		t.Fatalf("%d views", got)
	}
}

func TestLiveOutlivesAStoreThatIsAway(t *testing.T) {
	store := newLagging()
	live := NewLive(store, Config{})
	store.broken = errors.New("away")
	for i := range 10 {
		e := view(i, "few")
		live.Apply(&e, store.append(e))
	}
	for i := range 1000 {
		e := view(i, "many")
		live.Apply(&e, store.append(e))
	}
	if _, err := live.Snapshot(t.Context(), "few"); !errors.Is(err, store.broken) {
		t.Fatalf("got %v", err)
	}
	store.broken = nil
	if got := views(t, live, "few"); got != 10 {
		t.Fatalf("%d views", got)
	}
	if _, err := live.Snapshot(t.Context(), "many"); err == nil {
		t.Fatal("a profile without its last events was given out")
	}
	live.Flushed(store.catchUp(1 << 30))
	if got := views(t, live, "many"); got != 1000 {
		t.Fatalf("%d views", got)
	}
}

func TestLiveLoadsOnceForAll(t *testing.T) {
	store := newLagging()
	e := view(0, "v")
	store.append(e)
	store.catchUp(1)
	store.gate, store.inside = make(chan struct{}), make(chan struct{}, 10)
	live := NewLive(store, Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if p, err := live.Snapshot(context.Background(), "v"); err != nil || p.PageViews < 1 {
				t.Errorf("%+v, %v", p, err)
			}
		}()
	}
	<-store.inside
	late := view(1, "v")
	live.Apply(&late, store.append(late)) // while the load runs
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := live.Snapshot(ctx, "v"); !errors.Is(err, context.Canceled) {
		t.Fatalf("a request waits for the store beyond its deadline: %v", err)
	}
	close(store.gate)
	wg.Wait()
	if len(store.inside) > 0 {
		t.Fatal("the same profile was loaded more than once")
	}
	if got := views(t, live, "v"); got != 2 {
		t.Fatalf("%d views", got)
	}
}

func TestLiveIsSafeForConcurrentUse(t *testing.T) {
	store := newLagging()
	live := NewLive(store, Config{MaxEntries: 64})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 400 {
				e := view(w*1000+i, fmt.Sprintf("v%d", i%100))
				live.Apply(&e, store.append(e))
				if _, err := live.Snapshot(context.Background(), e.Visitor); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					live.Flushed(store.catchUp(50))
				}
			}
		}()
	}
	wg.Wait()
	live.Flushed(store.catchUp(1 << 30))
	for v := range 100 {
		if got := views(t, live, fmt.Sprintf("v%d", v)); got != 16 {
			t.Fatalf("v%d has %d views, want 16", v, got)
		}
	}
}

func TestSnapshotFromMemoryAllocatesNothing(t *testing.T) {
	live := NewLive(newLagging(), Config{})
	views(t, live, "v")
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _ = live.Snapshot(ctx, "v") }); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}
