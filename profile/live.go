package profile

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// Config is how much of the profiles is kept in memory.
type Config struct {
	// MaxEntries visitors are kept in memory. Those with events that the ledger
	// has not written yet always stay, beyond this number too; when it is reached
	// twice, new events are refused. Default 100000.
	MaxEntries int `mapstructure:"max_entries"`
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() decision.Faults {
	var faults decision.Faults
	if c.MaxEntries < 0 {
		faults.Add("max_entries", "expected a positive number, got %d", c.MaxEntries)
	}
	return faults
}

const (
	defaultEntries = 100_000
	shardCount     = 64

	// maxWaiting events wait at a visitor whose state was not needed yet; with
	// one more the state is loaded.
	maxWaiting = 64
)

// Live keeps visitors in memory in front of a store. An event that was accepted
// shows in the next snapshot at once; the ledger writes it to the store later
// and says so with [Live.Flushed]. All methods may be called at any time from
// any goroutine.
//
// Memory and store are kept together by offsets of the event log: a state that
// was loaded holds everything before the store's offset, and the events from
// there on are those that came through [Live.Apply].
type Live struct {
	store    Store
	perShard int
	max      int
	seed     maphash.Seed
	flushed  atomic.Int64
	shards   [shardCount]shard

	entries, hits, misses, evicted atomic.Int64
}

type shard struct {
	mu      sync.Mutex
	entries map[string]*entry
	ring    []*entry // all entries, in no order; hand goes round over them
	hand    int
	unread  []*entry // entries that were made by an event and are perhaps not loaded
}

// entry is one visitor in memory. A state that is nil is not loaded yet, and the
// events that came meanwhile wait.
type entry struct {
	id      string
	slot    int // in the ring
	used    bool
	state   *State
	asOf    event.Offset // the state, as loaded, holds everything before
	newest  event.Offset // behind the last event; dirty when not flushed
	needs   event.Offset // events before were not kept: the store must have them
	waiting []queued
	loading chan struct{} // closed when the load that runs has ended
}

type queued struct {
	e   *event.Event
	end event.Offset
}

// LiveStats is what there is to know about the memory of profiles.
type LiveStats struct {
	Entries, Dirty        int
	Hits, Misses, Evicted int64 // since start
}

// NewLive returns an empty memory in front of store.
func NewLive(store Store, cfg Config) *Live {
	l := &Live{store: store, max: cfg.MaxEntries, seed: maphash.MakeSeed()}
	if l.max == 0 {
		l.max = defaultEntries
	}
	l.perShard = max(1, l.max/shardCount)
	for i := range l.shards {
		l.shards[i].entries = make(map[string]*entry)
	}
	return l
}

func (l *Live) shard(id string) *shard {
	return &l.shards[maphash.String(l.seed, id)%shardCount]
}

// Snapshot returns what is known of a visitor, including every event that
// [Live.Apply] was given. It is never nil. The error is the store's.
func (l *Live) Snapshot(ctx context.Context, id string) (*decision.Profile, error) {
	sh := l.shard(id)
	sh.mu.Lock()
	e := sh.entries[id]
	if e != nil && e.state != nil {
		e.used = true
		p := e.state.Snapshot()
		sh.mu.Unlock()
		l.hits.Add(1)
		return p, nil
	}
	l.misses.Add(1)
	if e == nil {
		e = l.insert(sh, id)
	}
	defer sh.mu.Unlock()
	for e.state == nil {
		if err := l.load(ctx, sh, e); err != nil {
			return nil, fmt.Errorf("load profile: %w", err)
		}
	}
	e.used = true
	return e.state.Snapshot(), nil
}

// load fills an entry from the store, or waits for another load of it to end.
// The shard is locked before and after, and not meanwhile.
func (l *Live) load(ctx context.Context, sh *shard, e *entry) error {
	if running := e.loading; running != nil {
		sh.mu.Unlock()
		defer sh.mu.Lock()
		select {
		case <-running:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	done := make(chan struct{})
	e.loading = done
	sh.mu.Unlock()
	state, asOf, err := l.read(ctx, e.id)
	sh.mu.Lock()
	e.loading = nil
	close(done)
	if err != nil {
		return err
	}
	if asOf < e.needs {
		return fmt.Errorf("the store is at offset %d and has to reach %d first", asOf, e.needs)
	}
	if state == nil {
		state = &State{}
	}
	e.state, e.asOf = state, asOf
	for _, q := range e.waiting {
		if q.end > asOf {
			state.Apply(q.e)
		}
	}
	e.waiting = nil
	return nil
}

// read calls the store and turns a panic of it into an error, so that an entry
// never stays marked as loading.
func (l *Live) read(ctx context.Context, id string) (state *State, asOf event.Offset, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("profile store panicked: %v", cause)
		}
	}()
	return l.store.Load(ctx, id)
}

// Apply adds an accepted event to the visitor's profile in memory. end is the
// offset behind the event in the log. Nothing of the event is kept that the caller
// might change. Apply does not wait for the store, except for one visitor with very
// many events.
func (l *Live) Apply(e *event.Event, end event.Offset) {
	l.ApplyAll([]*event.Event{e}, []event.Offset{end})
}

// ApplyAll is Apply for events of one visitor, in the order of the log.
func (l *Live) ApplyAll(events []*event.Event, ends []event.Offset) {
	if len(events) == 0 {
		return
	}
	visitor := events[0].Visitor
	sh := l.shard(visitor)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	v := sh.entries[visitor]
	if v == nil {
		v = l.insert(sh, visitor)
		sh.unread = append(sh.unread, v)
	}
	for i, e := range events {
		l.apply(sh, v, e, ends[i])
	}
}

// apply adds an event to a visitor of a locked shard.
func (l *Live) apply(sh *shard, v *entry, e *event.Event, end event.Offset) {
	v.newest = max(v.newest, end)
	v.used = true
	if v.state == nil && v.loading == nil && len(v.waiting) >= maxWaiting {
		// An error leaves the state unloaded; the events that cannot wait then
		// come back with the store.
		_ = l.load(context.Background(), sh, v)
	}
	switch {
	case v.state != nil:
		if end > v.asOf {
			v.state.Apply(e)
		}
	case len(v.waiting) < 4*maxWaiting:
		v.waiting = append(v.waiting, queued{e.Clone(), end})
	default:
		v.needs = max(v.needs, end)
	}
}

// Flushed says that the store holds everything before off. Visitors whose
// events are all before it may leave the memory.
func (l *Live) Flushed(off event.Offset) {
	for {
		old := l.flushed.Load()
		if int64(off) <= old || l.flushed.CompareAndSwap(old, int64(off)) {
			break
		}
	}
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		l.dropUnread(sh)
		if over := min(len(sh.ring)-l.perShard, int(l.entries.Load())-l.max); over > 0 {
			l.evict(sh, over, 2*len(sh.ring))
		}
		sh.mu.Unlock()
	}
}

// dropUnread removes visitors whose state nobody asked for and whose events are
// all in the store: they hold nothing that the store does not.
func (l *Live) dropUnread(sh *shard) {
	kept := sh.unread[:0]
	for _, e := range sh.unread {
		switch {
		case e.state != nil || sh.entries[e.id] != e:
		case l.dirty(e) || e.loading != nil:
			kept = append(kept, e)
		default:
			l.remove(sh, e)
		}
	}
	clear(sh.unread[len(kept):])
	sh.unread = kept
}

// Full reports that visitors with unwritten events fill the memory; no event
// should be accepted until the ledger has written some.
func (l *Live) Full() bool { return l.entries.Load() >= 2*int64(l.max) }

// Forget drops a visitor from memory if nothing of them waits to be written,
// and reports whether it did.
func (l *Live) Forget(id string) bool {
	sh := l.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.entries[id]
	if e == nil {
		return true
	}
	if l.dirty(e) || e.loading != nil {
		return false
	}
	l.remove(sh, e)
	return true
}

// Stats counts what is in memory.
func (l *Live) Stats() LiveStats {
	s := LiveStats{Hits: l.hits.Load(), Misses: l.misses.Load(), Evicted: l.evicted.Load()}
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		s.Entries += len(sh.ring)
		for _, e := range sh.ring {
			if l.dirty(e) {
				s.Dirty++
			}
		}
		sh.mu.Unlock()
	}
	return s
}

func (l *Live) dirty(e *entry) bool { return int64(e.newest) > l.flushed.Load() }

// insert adds a visitor to a locked shard, and lets another one go if there are
// too many.
func (l *Live) insert(sh *shard, id string) *entry {
	// A shard may have more than its share as long as there is room in all: visitors do
	// not fall evenly.
	if over := len(sh.ring) + 1 - l.perShard; over > 0 && l.entries.Load() >= int64(l.max) {
		l.evict(sh, min(over, 2), 32)
	}
	e := &entry{id: id, slot: len(sh.ring), used: true}
	sh.entries[id] = e
	sh.ring = append(sh.ring, e)
	l.entries.Add(1)
	return e
}

// evict removes up to n visitors that were not used lately and have nothing
// unwritten, looking at no more than the given number of them.
func (l *Live) evict(sh *shard, n, looks int) {
	for ; n > 0 && looks > 0 && len(sh.ring) > 0; looks-- {
		if sh.hand >= len(sh.ring) {
			sh.hand = 0
		}
		e := sh.ring[sh.hand]
		switch {
		case l.dirty(e) || e.loading != nil:
			sh.hand++
		case e.used:
			e.used = false
			sh.hand++
		default:
			l.remove(sh, e)
			l.evicted.Add(1)
			n--
		}
	}
}

func (l *Live) remove(sh *shard, e *entry) {
	last := len(sh.ring) - 1
	sh.ring[e.slot] = sh.ring[last]
	sh.ring[e.slot].slot = e.slot
	sh.ring[last] = nil
	sh.ring = sh.ring[:last]
	delete(sh.entries, e.id)
	l.entries.Add(-1)
}
