package cache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// shardCount splits the index so that look-ups of different pages rarely meet.
const shardCount = 16

// entryOverhead is what an entry costs besides key, header and bodies: the
// structs, the map's slot and the allocator's rounding, measured with some room.
const entryOverhead = 1024

// Variant is one finished page for everybody whose resolved plan is the same. It
// is immutable, save for its compressed body, which is made once when first asked for.
type Variant struct {
	// Header is the answer's head without what belongs to one visitor or one
	// moment (Set-Cookie, Age, request id), and without Content-Encoding.
	Header fasthttp.ResponseHeader

	Body []byte // not compressed

	// First holds, for each edit of the plan, the offset in Body of its first
	// match, or -1 if it matched nothing.
	First []int64

	// Holes says where Body lacks what is one visitor's own; nil for nowhere.
	Holes Holes

	Stored  time.Time     // when the origin answered
	Age     time.Duration // age that the answer had then
	Expires time.Time     // when it stops being fresh

	once sync.Once
	gzip atomic.Pointer[[]byte]
	size atomic.Int64 // bytes charged to the budget
}

// Holes are places in a stored page that are filled for each visitor. They must
// not hold anything of a visitor themselves.
type Holes interface {
	Size() int // bytes in memory
}

// TTL returns for how long the variant is still fresh.
func (v *Variant) TTL(now time.Time) time.Duration { return v.Expires.Sub(now) }

// AgeAt returns the age of the answer, by RFC 9111 section 4.2.3.
func (v *Variant) AgeAt(now time.Time) time.Duration { return v.Age + max(0, now.Sub(v.Stored)) }

// Variants is the index of stored variants, safe for concurrent use.
type Variants struct {
	seed   maphash.Seed
	shards [shardCount]shard
	max    int64 // largest object
}

type shard struct {
	mu      sync.Mutex
	entries map[string]*entry
	recent  chain
	used    int64
	budget  int64
	evicted uint64
}

type entry struct {
	key        string
	variant    *Variant
	prev, next *entry
}

// NewVariants makes an index with the budget of cfg, or nil if it is disabled.
// All methods of a nil index work and store nothing.
func NewVariants(cfg Config) *Variants {
	cfg = cfg.WithDefaults()
	if cfg.Disabled {
		return nil
	}
	v := &Variants{seed: maphash.MakeSeed(), max: int64(cfg.MaxObject)}
	for i := range v.shards {
		v.shards[i].entries = make(map[string]*entry)
		v.shards[i].budget = int64(cfg.VariantMemory) / shardCount
	}
	return v
}

// MaxObject returns the largest body that is stored, 0 for a nil index.
func (v *Variants) MaxObject() int64 {
	if v == nil {
		return 0
	}
	return v.max
}

func (v *Variants) shard(key []byte) *shard {
	return &v.shards[maphash.Bytes(v.seed, key)%shardCount]
}

// Get returns the fresh variant stored under key, or nil. It allocates nothing.
func (v *Variants) Get(key []byte, now time.Time) *Variant {
	if v == nil {
		return nil
	}
	s := v.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[string(key)]
	if e == nil {
		return nil
	}
	if !now.Before(e.variant.Expires) {
		s.drop(e)
		return nil
	}
	s.recent.toFront(e)
	return e.variant
}

// Put stores a variant under a copy of key, in the place of an older one, and
// reports whether it was kept: one that is too large for the budget is not.
func (v *Variants) Put(key []byte, variant *Variant) bool {
	if v == nil || int64(len(variant.Body)) > v.max {
		return false
	}
	size := int64(len(key)+len(variant.Body)+cap(variant.First)*8) + headerSize(&variant.Header) + entryOverhead
	if variant.Holes != nil {
		size += int64(variant.Holes.Size())
	}
	s := v.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if size > s.budget {
		return false
	}
	if old := s.entries[string(key)]; old != nil {
		s.drop(old)
	}
	variant.size.Store(size)
	e := &entry{key: string(key), variant: variant}
	s.entries[e.key] = e
	s.recent.pushFront(e)
	s.used += size
	s.shrink()
	return true
}

// Gzip returns the compressed body of a variant that is stored under key. It is
// made by compress once and counted against the budget.
func (v *Variants) Gzip(key []byte, variant *Variant, compress func([]byte) []byte) []byte {
	variant.once.Do(func() {
		body := compress(variant.Body)
		variant.gzip.Store(&body)
		v.grow(key, variant, int64(cap(body)))
	})
	if body := variant.gzip.Load(); body != nil {
		return *body
	}
	return nil
}

// grow charges more bytes to a variant, if it is still stored.
func (v *Variants) grow(key []byte, variant *Variant, n int64) {
	if v == nil {
		return
	}
	s := v.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[string(key)]; e != nil && e.variant == variant {
		variant.size.Add(n)
		s.used += n
		s.shrink()
	}
}

// Usage is what a variant index holds.
type Usage struct {
	Entries int
	Bytes   int64
	Evicted uint64
}

// Usage returns what the index holds at this moment.
func (v *Variants) Usage() Usage {
	var u Usage
	if v == nil {
		return u
	}
	for i := range v.shards {
		s := &v.shards[i]
		s.mu.Lock()
		u.Entries += len(s.entries)
		u.Bytes += s.used
		u.Evicted += s.evicted
		s.mu.Unlock()
	}
	return u
}

// Clear drops every variant.
func (v *Variants) Clear() {
	if v == nil {
		return
	}
	for i := range v.shards {
		s := &v.shards[i]
		s.mu.Lock()
		clear(s.entries)
		s.recent, s.used = chain{}, 0
		s.mu.Unlock()
	}
}

func (s *shard) drop(e *entry) {
	delete(s.entries, e.key)
	s.recent.remove(e)
	s.used -= e.variant.size.Load()
}

func (s *shard) shrink() {
	for s.used > s.budget && s.recent.back != nil {
		s.drop(s.recent.back)
		s.evicted++
	}
}

func headerSize(h *fasthttp.ResponseHeader) int64 {
	// Each line is a key and a value of their own.
	const perLine = 64
	size := int64(0)
	for name, value := range h.All() {
		size += int64(len(name) + len(value) + perLine)
	}
	return size
}

// chain orders entries by their last use.
type chain struct{ front, back *entry }

func (l *chain) pushFront(e *entry) {
	e.prev, e.next = nil, l.front
	if l.front != nil {
		l.front.prev = e
	}
	l.front = e
	if l.back == nil {
		l.back = e
	}
}

func (l *chain) remove(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.back = e.prev
	}
	e.prev, e.next = nil, nil
}

func (l *chain) toFront(e *entry) {
	if l.front == e {
		return
	}
	l.remove(e)
	l.pushFront(e)
}
