package cache

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxFlights   = 4096
	maxFollowers = 1 << 16 // of all flights; a follower is a request that is there anyway

	// unsharedTime is for how long it is remembered that the answers under a key cannot
	// be shared, so that nobody waits for them; maxUnshared for how many keys.
	unsharedTime = 2 * time.Minute
	maxUnshared  = 8192

	// flightTime is for how long a flight can be joined: one whose leader is stuck keeps
	// nobody waiting for ever.
	flightTime = time.Minute

	// maxJoins bounds how often a follower is sent on from one flight to another.
	maxJoins = 16
)

// Flights makes one request to the origin of many for the same missing object, or
// the same stale one. The first leads, the others follow. It is safe for concurrent use; all
// methods of nil flights work, and everybody goes to the origin by themselves.
//
// Requests whose answer may be personal (with Authorization, with cookies that bypass
// the cache) must never join: whether they may is for the caller to know.
type Flights[R, P, V any] struct {
	objects  *Objects[R, P, V]
	now      func() time.Time
	memory   int64        // for bodies that are being gathered
	gathered atomic.Int64 // of it
	unshared *Recent[uint64, time.Time]

	mu        sync.Mutex
	open      map[string]*Flight[R, P, V]
	followers int

	led, followed, served, late, crowded, kept atomic.Uint64
}

// NewFlights makes the flights of an index, nil for a nil one.
func NewFlights[R, P, V any](objects *Objects[R, P, V], now func() time.Time) *Flights[R, P, V] {
	if objects == nil {
		return nil
	}
	return &Flights[R, P, V]{
		objects: objects, now: now, memory: objects.objects.max / gatheredShare,
		unshared: NewRecent[uint64, time.Time](maxUnshared),
		open:     make(map[string]*Flight[R, P, V]),
	}
}

type flightState byte

const (
	flightPending   flightState = iota // nothing is known yet
	flightRefused                      // the answer is for the leader alone
	flightFailed                       // the leader got no answer, or left
	flightFound                        // there is an object
	flightStale                        // the origin failed, and an object serves although it is stale
	flightGathering                    // there is a head, and the body comes
)

// Flight is one request to the origin. Who holds it tells it what comes of that, and calls
// Leave when they are done, whatever happened: Open, Refuse, Found or FoundStale; what is told first
// counts. Its methods are safe for concurrent use.
type Flight[R, P, V any] struct {
	flights *Flights[R, P, V] // nil if the cache is off
	key     string
	began   uint64
	since   time.Time
	alone   bool // nobody follows

	decided chan struct{} // closed when the state is no longer pending

	// Guarded by the flights' lock until decided, and not changed later.
	state   flightState
	object  *Object[R, P, V]
	softly  bool // the object was purged softly by then
	away    bool // the origin did not answer at all
	filling *Filling[R, P, V]
}

// Follower waits for what somebody else's request brings.
type Follower[R, P, V any] struct {
	flights   *Flights[R, P, V]
	flight    *Flight[R, P, V]
	key       []byte
	selecting func(names []string) []byte
}

// Outcome is what a follower gets.
type Outcome[R, P, V any] struct {
	// Object is the answer, nil if the follower has to go to the origin itself.
	Object *Object[R, P, V]

	// Body reads the body of an object that is still coming. It is nil for one that
	// is complete, and has it in its Body.
	Body *Reader

	// Stale says that the object serves since the origin failed, if the follower may have
	// it then; Away, that the origin did not even answer.
	Stale, Away bool

	// Flight is for a follower who goes to the origin: it may lead now, or go alone.
	Flight *Flight[R, P, V]
}

// Join enters a request for the object under key; selecting is as for [Objects.Get]. It
// returns a flight for one who goes to the origin, or else a follower, whose Wait must be
// called. Who gets a flight looks into the index once more before going: the object may
// have been stored since the last look. If it is there, [Flight.Found] tells the others.
func (s *Flights[R, P, V]) Join(key []byte, selecting func(names []string) []byte) (*Flight[R, P, V], *Follower[R, P, V]) {
	if s == nil {
		return &Flight[R, P, V]{alone: true}, nil
	}
	return s.join(key, s.objects.names(key), selecting)
}

func (s *Flights[R, P, V]) join(key []byte, names []string, selecting func([]string) []byte) (*Flight[R, P, V], *Follower[R, P, V]) {
	// Requests whose selecting values differ do not wait for each other. It is only a
	// better guess: in the end the object says which requests it answers.
	whole := key
	if len(names) > 0 {
		whole = slices.Concat(key, []byte{0}, selecting(names))
	}
	if s.isUnshared(whole) {
		return s.goAlone(whole), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.open[string(whole)]
	switch {
	case f != nil && (f.outdated() || s.now().Sub(f.since) > flightTime):
		s.remove(f) // those that wait for it go on waiting
	case f != nil && s.followers >= maxFollowers, f == nil && len(s.open) >= maxFlights:
		s.crowded.Add(1)
		return s.goAlone(whole), nil
	case f != nil:
		s.followers++
		s.followed.Add(1)
		return nil, &Follower[R, P, V]{flights: s, flight: f, key: key, selecting: selecting}
	}
	f = s.newFlight(whole, false)
	s.open[f.key] = f
	s.led.Add(1)
	return f, nil
}

// IsUnshared reports whether it is remembered that the answers under a key cannot be shared,
// so that there is no use in joining. It allocates nothing for a key without Vary.
func (s *Flights[R, P, V]) IsUnshared(key []byte, selecting func(names []string) []byte) bool {
	if s == nil {
		return true
	}
	if names := s.objects.names(key); len(names) > 0 {
		key = slices.Concat(key, []byte{0}, selecting(names))
	}
	return s.isUnshared(key)
}

// Shared forgets that the answers under a key could not be shared.
func (s *Flights[R, P, V]) Shared(key []byte, selecting func(names []string) []byte) {
	if names := s.objects.names(key); len(names) > 0 {
		key = slices.Concat(key, []byte{0}, selecting(names))
	}
	s.share(string(key), true)
}

func (s *Flights[R, P, V]) newFlight(key []byte, alone bool) *Flight[R, P, V] {
	return &Flight[R, P, V]{
		flights: s, key: string(key), began: s.objects.Sequence(), since: s.now(), alone: alone, decided: make(chan struct{}),
	}
}

func (s *Flights[R, P, V]) goAlone(key []byte) *Flight[R, P, V] { return s.newFlight(key, true) }

func (s *Flights[R, P, V]) isUnshared(key []byte) bool {
	until, ok := s.unshared.Get(maphash.Bytes(s.objects.seed, key))
	return ok && s.now().Before(until)
}

// share remembers whether the answers under a flight's key can be shared.
func (s *Flights[R, P, V]) share(key string, can bool) {
	hash := maphash.String(s.objects.seed, key)
	if !can {
		s.unshared.Put(hash, s.now().Add(unsharedTime))
	} else if _, ok := s.unshared.Get(hash); ok {
		s.unshared.Put(hash, time.Time{})
	}
}

// decide tells the followers what came of a flight; only the first time counts.
func (f *Flight[R, P, V]) decide(state flightState, o *Object[R, P, V], filling *Filling[R, P, V]) bool {
	s := f.flights
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.state != flightPending {
		return false
	}
	f.state, f.object, f.filling = state, o, filling
	f.softly = o != nil && o.PurgedSoftly()
	if state != flightGathering {
		s.remove(f)
	}
	close(f.decided)
	return true
}

// outdated reports whether the flight's object was purged in the meantime: those that it
// answers asked before, and nobody who asked later may get it. It is for decided flights,
// and for others under the lock.
func (f *Flight[R, P, V]) outdated() bool {
	x, o := f.flights.objects, f.object
	switch {
	case o == nil:
		return false
	case f.state == flightGathering:
		return !x.keeps(o) || o.PurgedSoftly() || x.marked(x.hashURL(o.Host, o.Target), o) != notPurged
	case !x.keeps(o):
		return true
	}
	// The marks of its URL's class say nothing of an object that was stored before them.
	return o.PurgedSoftly() != f.softly ||
		!x.holds(o) && x.marked(x.hashURL(o.Host, o.Target), o) == purgedHard
}

// remove keeps others from joining a flight. The lock is held.
func (s *Flights[R, P, V]) remove(f *Flight[R, P, V]) {
	if s.open[f.key] == f {
		delete(s.open, f.key)
	}
}

// Leads reports whether others may follow the flight.
func (f *Flight[R, P, V]) Leads() bool { return !f.alone }

// Began returns what [Objects.Sequence] was when the flight began, for [Object.Began].
func (f *Flight[R, P, V]) Began() uint64 { return f.began }

// Open tells that the origin's answer is o, which can be stored, and that its body, of
// length bytes or -1 if that is not known, will be written to the filling. Whoever fills
// must end it with Finish or Fail whatever happens, also without the leader's client. Open sets
// o.Began. It returns nil if the body cannot be gathered, or it was told something else before:
// then the answer is the leader's alone.
func (f *Flight[R, P, V]) Open(o *Object[R, P, V], length int) *Filling[R, P, V] {
	s := f.flights
	if s == nil {
		return nil
	}
	tooLarge := int64(length) > s.objects.maxObject
	if tooLarge || !s.reserve(max(0, length)) {
		f.Refuse(tooLarge)
		return nil
	}
	o.Began = f.began
	s.objects.adopt(o)
	filling := newFilling(f, o, length)
	if !f.decide(flightGathering, o, filling) {
		s.gathered.Add(-int64(max(0, length)))
		return nil
	}
	return filling
}

// Refuse tells that the answer cannot be shared: the followers go to the origin by
// themselves. With remember, those who ask for the key within the next two minutes do not
// wait either; an answer that is stored ends that.
func (f *Flight[R, P, V]) Refuse(remember bool) {
	if f.flights == nil {
		return
	}
	if remember {
		f.flights.share(f.key, false)
	}
	f.decide(flightRefused, nil, nil)
}

// Found tells that o, which is complete, answers the request: it was stored in the meantime,
// or confirmed by the origin. Only Put objects may be given.
func (f *Flight[R, P, V]) Found(o *Object[R, P, V]) {
	if f.flights != nil {
		f.flights.share(f.key, true)
	}
	f.decide(flightFound, o, nil)
}

// FoundStale tells that o serves in spite of being stale, since the origin failed or, with
// away, did not answer at all. So one error is enough for all that wait.
func (f *Flight[R, P, V]) FoundStale(o *Object[R, P, V], away bool) {
	if s := f.flights; s != nil {
		s.share(f.key, true)
		s.mu.Lock()
		if f.state == flightPending {
			f.away = away
		}
		s.mu.Unlock()
	}
	f.decide(flightStale, o, nil)
}

// Leave ends the flight if nothing was told, as when the origin did not answer, the
// client left or the leader panics: one of the followers leads anew.
func (f *Flight[R, P, V]) Leave() { f.decide(flightFailed, nil, nil) }

// Wait returns what the leader's request brought, and may be called once. A follower waits no
// longer than limit, or until gone is closed (nil for never), for what it can begin with: the
// head of an object whose length is known, or all of any other; if whole is set, always
// all of it. Then it goes to the origin alone. If a leader fails, one of the followers leads
// anew, and the others follow that one.
func (w *Follower[R, P, V]) Wait(limit time.Duration, whole bool, gone <-chan struct{}) Outcome[R, P, V] {
	s := w.flights
	defer s.leave()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	names := s.objects.names(w.key)
	for range maxJoins {
		f := w.flight
		select {
		case <-f.decided:
		case <-timer.C:
			s.late.Add(1)
			return w.alone()
		case <-gone:
			return w.alone()
		}
		o := f.object
		switch {
		case f.state == flightRefused:
			return w.alone()
		case o == nil:
		case string(w.values(o.Vary)) != o.Selecting:
			names = o.Vary
		case f.outdated():
		case f.state == flightFound:
			s.served.Add(1)
			return Outcome[R, P, V]{Object: o}
		case f.state == flightStale:
			s.served.Add(1)
			return Outcome[R, P, V]{Object: o, Stale: true, Away: f.away}
		case !whole && f.filling.length >= 0 && !f.filling.hasEnded():
			s.served.Add(1)
			return Outcome[R, P, V]{Object: o, Body: f.filling.Reader(gone)}
		default:
			select {
			case <-f.filling.ended:
			case <-timer.C:
				s.late.Add(1)
				return w.alone()
			case <-gone:
				return w.alone()
			}
			switch err := f.filling.err; {
			case err == nil && !f.outdated():
				s.served.Add(1)
				return Outcome[R, P, V]{Object: o}
			case err == ErrOverflow:
				return w.alone()
			}
		}
		flight, next := s.join(w.key, names, w.selecting)
		if next == nil {
			return Outcome[R, P, V]{Flight: flight}
		}
		s.leave() // it has just joined a second time
		w.flight = next.flight
	}
	return w.alone()
}

func (w *Follower[R, P, V]) values(names []string) []byte {
	if len(names) == 0 {
		return nil
	}
	return w.selecting(names)
}

func (w *Follower[R, P, V]) alone() Outcome[R, P, V] {
	return Outcome[R, P, V]{Flight: w.flights.goAlone([]byte(w.flight.key))}
}

func (s *Flights[R, P, V]) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers--
}

// reserve takes memory for a body that is being gathered, at most half of what is free:
// so small bodies find room beside large ones that come slowly.
func (s *Flights[R, P, V]) reserve(n int) bool {
	for {
		taken := s.gathered.Load()
		if int64(n) > (s.memory-taken)/2 {
			return false
		}
		if s.gathered.CompareAndSwap(taken, taken+int64(n)) {
			return true
		}
	}
}

// FlightUsage is what is under way, and what became of the rest.
type FlightUsage struct {
	Flights, Followers int
	Bytes              int64 // of bodies that are being gathered

	Led      uint64 // requests that others could follow
	Followed uint64 // requests that waited for another, once for each
	Served   uint64 // requests that were answered with what another brought
	Late     uint64 // those that went to the origin since it took too long
	Crowded  uint64 // those that did since there were too many
	Stored   uint64 // bodies that were gathered and kept
}

// Usage returns what is under way at this moment.
func (s *Flights[R, P, V]) Usage() FlightUsage {
	if s == nil {
		return FlightUsage{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return FlightUsage{
		Flights: len(s.open), Followers: s.followers, Bytes: s.gathered.Load(),
		Led: s.led.Load(), Followed: s.followed.Load(), Served: s.served.Load(),
		Late: s.late.Load(), Crowded: s.crowded.Load(), Stored: s.kept.Load(),
	}
}
