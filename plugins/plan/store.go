package plan

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/sedge-proxy/sedge/decision"
)

// answer is a plugin's checked answer to one question, or the reason why there is
// none. It is immutable.
type answer struct {
	id      uint64 // two answers with one id are the same
	key     string
	edits   []decision.Edit
	offer   map[string]string
	action  decision.Action
	expires time.Time // zero: never

	reason string // one word; "" for an answer
	err    error
}

func (a *answer) usable(now time.Time) bool { return a.expires.IsZero() || now.Before(a.expires) }

// usableAt is usable, and looks at the clock only if it has to.
func (a *answer) usableAt(now func() time.Time) bool {
	return a.expires.IsZero() || a.usable(now())
}

func (a *answer) explain() string {
	if a.err != nil {
		return a.err.Error()
	}
	return "no answer: " + a.reason
}

// finished is a plan with the key under which it is kept.
type finished struct {
	key  string
	plan *decision.Plan
}

// store keeps answers and plans. Ristretto knows keys by their hash only, so the
// whole key is compared as well; and it must not be used while it is closed, so a
// lock stands before it.
type store struct {
	mu      sync.RWMutex
	closed  bool
	answers *ristretto.Cache[[]byte, *answer]
	plans   *ristretto.Cache[[]byte, *finished]
}

func newStore(size int64) (*store, error) {
	s := new(store)
	var err error
	if s.answers, err = newCache[*answer](size * 3 / 4); err != nil {
		return nil, err
	}
	if s.plans, err = newCache[*finished](size / 4); err != nil {
		s.answers.Close()
		return nil, err
	}
	return s, nil
}

// newCache makes a cache of size bytes. The seeds are random, so that nobody can
// choose keys that collide.
func newCache[V any](size int64) (*ristretto.Cache[[]byte, V], error) {
	first, second := maphash.MakeSeed(), maphash.MakeSeed()
	return ristretto.NewCache(&ristretto.Config[[]byte, V]{
		NumCounters: max(10*size/2048, 1000), // ten per item of the usual size
		MaxCost:     max(size, 1),
		BufferItems: 64,
		KeyToHash: func(key []byte) (uint64, uint64) {
			return maphash.Bytes(first, key), maphash.Bytes(second, key)
		},
	})
}

// answer returns the kept answer, or nil.
func (s *store) answer(key []byte, now func() time.Time) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil
	}
	a, ok := s.answers.Get(key)
	if !ok || a.key != string(key) || !a.usableAt(now) {
		return nil
	}
	return a
}

// keep keeps the answer for ttl, 0 for ever, and returns when it can be found.
func (s *store) keep(a *answer, ttl time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	if s.answers.SetWithTTL([]byte(a.key), a, a.cost(), ttl) {
		s.answers.Wait()
	}
}

// plan returns the kept plan, or nil.
func (s *store) plan(key []byte) *decision.Plan {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil
	}
	f, ok := s.plans.Get(key)
	if !ok || f.key != string(key) {
		return nil
	}
	return f.plan
}

// keepPlan keeps the plan; it may be found a little later.
func (s *store) keepPlan(key []byte, p *decision.Plan) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	f := &finished{key: string(key), plan: p}
	s.plans.Set(key, f, int64(len(f.key)+planCost(p)))
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.answers.Close()
	s.plans.Close()
}

// cost is the memory that the answer takes, roughly.
func (a *answer) cost() int64 {
	total := 256 + len(a.key) + len(a.action.Redirect) + len(a.action.Path)
	for i := range a.edits {
		e := &a.edits[i]
		total += 184 + len(e.Select) + len(e.Text) + len(e.HTML) + len(e.Name) + len(e.Value) + len(e.Pattern) + len(e.Pointer) + len(e.JSON)
	}
	for name, value := range a.offer {
		total += 64 + len(name) + len(value) // with a map's spare room
	}
	for _, h := range a.action.Headers {
		total += 32 + len(h[0]) + len(h[1])
	}
	return int64(total)
}

// planCost leaves out the strings: the plan shares them with the answers.
func planCost(p *decision.Plan) int {
	total := 256 + 216*len(p.Edits) + 48*len(p.Skipped)
	for i := range p.Triggers {
		total += 128 + 8*len(p.Triggers[i].Edits)
	}
	return total
}
