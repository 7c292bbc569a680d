package cache

import (
	"cmp"
	"hash/maphash"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// objectShards splits the index so that look-ups of different objects rarely meet.
	objectShards = 16

	// maxSelected is how many objects that Vary tells apart are kept under one key;
	// the one that was not used for longest goes.
	maxSelected = 64
)

// What is charged beside structs and the bytes that they hold, measured with some room:
// see TestObjectsTakeTheMemoryThatIsCounted.
const (
	primarySlots = 160 // a key's places in the maps and its list of objects
	headerLine   = 88  // the slices of a header line, and the rounding of name and value
)

// Object is an answer of the origin. It is made by filling in its fields, and must not
// change once it was given to [Objects.Put] or [Flight.Open].
//
// R is what the rules of caching know of the answer. P is the page that is made of
// its body, and V what an edited page is made from; see [Object.Page] and [Object.AddVariant].
type Object[R, P, V any] struct {
	// Key is the primary key: all that the answer depends on, but for the request's
	// headers that Vary names. Keys are compared in full.
	Key string

	// Scheme, Host and Target are what the object is purged and listed by, in the
	// spelling that purges use. Host and Target are the same for all objects of a key.
	Scheme, Host, Target string

	Status int

	// Header is the head without what belongs to one connection, one visitor or one
	// moment: hop-by-hop fields, Set-Cookie, Age. Only its methods All and CopyTo may
	// be used by several requests at a time.
	Header fasthttp.ResponseHeader

	// Body is the body as it came, in its coding. While the object is still being
	// filled, readers get it from a [Reader] and must not look here.
	Body []byte

	Rules     R
	RulesSize int // bytes in memory that Rules refers to

	Stored time.Time // when the answer came, or was last confirmed

	// Vary names the fields of requests that select the object, in the same order and
	// spelling for all answers that mean the same; Selecting are their values in the
	// request that it answered, normalised.
	Vary      []string
	Selecting string

	Tags []string // what it can be purged by besides its URL

	// Began is what [Objects.Sequence] was when the request to the origin began. A
	// later purge concerns the object even if it was stored after it.
	Began uint64

	renewed *Object[R, P, V] // what it takes the place of, until it is stored
	content *content[P, V]
	index   *Objects[R, P, V]
	shard   *objectShard[R, P, V]
	own     int64 // bytes charged for it without its content

	checked atomic.Uint64 // latest purge that it was compared with
	softly  atomic.Bool
}

// PurgedSoftly reports whether a soft purge concerned the object: it is stale,
// whatever its rules say.
func (o *Object[R, P, V]) PurgedSoftly() bool { return o.softly.Load() }

// Renew returns an object with the same key, selecting values, tags and body, for an
// answer that confirmed this one (304). Header, Rules, Stored and Began are left to be
// filled in. It shares the body; it shares also what was made of the body, if made is true,
// which is right only if nothing that this depends on (such as a policy in the header) has
// changed. It takes the place of this one when it is put.
func (o *Object[R, P, V]) Renew(made bool) *Object[R, P, V] {
	fresh := &Object[R, P, V]{
		Key: o.Key, Scheme: o.Scheme, Host: o.Host, Target: o.Target,
		Status: o.Status, Body: o.Body, Vary: o.Vary, Selecting: o.Selecting, Tags: o.Tags,
		renewed: o,
	}
	if made {
		fresh.content = o.content
	}
	return fresh
}

// Objects is the index of stored answers, safe for concurrent use. What was stored
// is found by the next look-up. Memory is bounded by two budgets: one for objects and the
// pages made of them, one for variants. Of each, what was not used for longest goes first.
type Objects[R, P, V any] struct {
	seed      maphash.Seed
	maxObject int64
	objects   budget
	variants  budget
	sizes     sizes
	shards    [objectShards]objectShard[R, P, V]
	urls      [objectShards]urlShard[R, P, V]
	purges    purges
}

type objectShard[R, P, V any] struct {
	mu        sync.Mutex
	primaries map[string]*primary[R, P, V]
	recent    order[*place[R, P, V]]
	places    int
	variants  variantShard[V]
}

// sizes are what the structs of an index take.
type sizes struct{ object, primary, variant, packed int64 }

func sizeOf[T any]() int64 { return allocated(int(reflect.TypeFor[T]().Size())) }

// primary is a key with the objects under it.
type primary[R, P, V any] struct {
	key     string
	names   []string // Vary of the latest answer, and so of all entries
	entries []*place[R, P, V]

	host, target     string
	hash             uint64 // of the two
	urlPrev, urlNext *primary[R, P, V]
}

// place is where an object stands in the index. It stays when the object is renewed.
type place[R, P, V any] struct {
	primary *primary[R, P, V]
	object  *Object[R, P, V]
	recent  node[*place[R, P, V]]
	used    uint64 // see budget.arrivals
	hits    uint64
}

// NewObjects makes an index with the budgets of cfg, or nil if it is disabled. All
// methods of a nil index work and store nothing.
func NewObjects[R, P, V any](cfg Config) *Objects[R, P, V] {
	cfg = cfg.WithDefaults()
	if cfg.Disabled {
		return nil
	}
	x := &Objects[R, P, V]{seed: maphash.MakeSeed(), maxObject: int64(cfg.MaxObject)}
	x.objects.max, x.variants.max = int64(cfg.ObjectMemory), int64(cfg.VariantMemory)
	x.sizes = sizes{
		object:  sizeOf[Object[R, P, V]]() + sizeOf[content[P, V]]() + sizeOf[place[R, P, V]](),
		primary: sizeOf[primary[R, P, V]]() + primarySlots,
		variant: sizeOf[ObjectVariant[V]]() + variantSlot,
		packed:  sizeOf[unit[V]](),
	}
	for i := range x.shards {
		x.shards[i].primaries = make(map[string]*primary[R, P, V])
		x.urls[i].first = make(map[uint64]*primary[R, P, V])
	}
	x.purges.tags = make(map[string]purgedTag)
	return x
}

// MaxObject returns the largest body that is stored, 0 for a nil index.
func (x *Objects[R, P, V]) MaxObject() int64 {
	if x == nil {
		return 0
	}
	return x.maxObject
}

func (x *Objects[R, P, V]) shard(key string) *objectShard[R, P, V] {
	return &x.shards[maphash.String(x.seed, key)%objectShards]
}

// Get returns the object stored under key for a request, or nil. Selecting returns the
// request's normalised values of the named fields, valid until it is called again; it is
// only called if Vary names some. Known reports that the key has objects, even if none is
// for this request. Whether the object is fresh is for the caller to find out. It allocates
// nothing.
func (x *Objects[R, P, V]) Get(key []byte, selecting func(names []string) []byte) (found *Object[R, P, V], known bool) {
	if x == nil {
		return nil, false
	}
	s := &x.shards[maphash.Bytes(x.seed, key)%objectShards]
	var names []string
	var values []byte
	// The request's values are made without the lock. In the meantime an answer with
	// another Vary may have come, but hardly twice.
	for range 3 {
		var superseded bool
		if found, names, superseded = s.get(key, names, values, &x.objects); found != nil {
			if x.keeps(found) {
				return found, true
			}
			x.Drop(found)
			return nil, false
		}
		if !superseded {
			return nil, names != nil
		}
		values = selecting(names)
	}
	return nil, true
}

// get looks for an object with these values of the named fields. It reports true,
// and the names that select now, if those are others. Names are not nil if there is
// any object under the key.
func (s *objectShard[R, P, V]) get(key []byte, names []string, values []byte, b *budget) (*Object[R, P, V], []string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.primaries[string(key)]
	if p == nil {
		return nil, nil, false
	}
	if !slices.Equal(p.names, names) {
		return nil, p.names, true
	}
	for _, e := range p.entries {
		if e.object.Selecting == string(values) {
			e.hits++
			s.touch(e, b)
			return e.object, p.names, false
		}
	}
	return nil, p.names, false
}

func (s *objectShard[R, P, V]) touch(e *place[R, P, V], b *budget) {
	e.used = b.arrivals.Load()
	s.recent.toFront(&e.recent)
}

// noNames stands for a Vary that names nothing, where nil means that nothing is known.
var noNames = make([]string, 0)

// names returns what Vary of the latest answer under key names, nil for no answer.
func (x *Objects[R, P, V]) names(key []byte) []string {
	if x == nil {
		return nil
	}
	s := &x.shards[maphash.Bytes(x.seed, key)%objectShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.primaries[string(key)]; p != nil {
		return p.names
	}
	return nil
}

// adopt measures an object and gives it what is needed before others see it.
func (x *Objects[R, P, V]) adopt(o *Object[R, P, V]) {
	if o.index != nil {
		return
	}
	o.index, o.shard = x, x.shard(o.Key)
	if o.content == nil {
		o.content = &content[P, V]{}
	}
	o.own = x.sizes.object + int64(o.RulesSize) + headerBytes(&o.Header) +
		allocated(len(o.Key)) + allocated(len(o.Scheme)) + allocated(len(o.Host)) + allocated(len(o.Target)) + allocated(len(o.Selecting))
	for _, texts := range [][]string{o.Vary, o.Tags} {
		o.own += 16 * int64(cap(texts))
		for _, text := range texts {
			o.own += allocated(len(text))
		}
	}
	o.checked.Store(o.Began)
}

func headerBytes(h *fasthttp.ResponseHeader) int64 {
	var size int64
	for name, value := range h.All() {
		size += int64(len(name)+len(value)) + headerLine
	}
	return size
}

// Put stores an object in the place of an older one with the same key and selecting
// values, and reports whether it is kept. Objects of the key whose Vary named other fields
// are dropped. Not kept is what is too large, what was purged since the request to the
// origin began, and a renewed object if another answer has taken the place of the one that
// it renews.
func (x *Objects[R, P, V]) Put(o *Object[R, P, V]) bool {
	if x == nil || int64(len(o.Body)) > x.maxObject {
		return false
	}
	x.adopt(o)
	if o.own+x.sizes.primary+allocated(cap(o.Body)) > x.objects.max {
		return false
	}
	if x.judge(o) == purgedHard {
		x.purges.refused.Add(1)
		return false
	}
	kept := x.put(o)
	x.shrinkObjects()
	return kept
}

func (x *Objects[R, P, V]) put(o *Object[R, P, V]) bool {
	s := o.shard
	x.objects.arrivals.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.primaries[o.Key]
	var same *place[R, P, V]
	if p != nil {
		superseded := !slices.Equal(p.names, o.Vary)
		if !superseded {
			same = p.find(o.Selecting)
		}
		if o.renewed != nil && (superseded || same != nil) && !p.holds(o.renewed) {
			return false
		}
	}
	o.renewed = nil
	if p == nil {
		p = x.newPrimary(s, o)
	}
	// The new object is charged before the old one is released, as they may share
	// their content.
	x.retain(o)
	e := same
	if e != nil {
		if e.object.content != o.content {
			e.hits = 0
		}
		x.release(s, e.object)
		e.object = o
	} else {
		e = &place[R, P, V]{primary: p, object: o}
		e.recent.value = e
		p.entries = append(p.entries, e)
		s.recent.pushFront(&e.recent)
		s.places++
	}
	s.touch(e, &x.objects)
	if !slices.Equal(p.names, o.Vary) {
		p.names = o.Vary
		for i := len(p.entries) - 1; i >= 0; i-- {
			if p.entries[i] != e {
				x.drop(s, p.entries[i])
			}
		}
	}
	if p.names == nil {
		p.names = noNames
	}
	if len(p.entries) > maxSelected {
		x.drop(s, slices.MinFunc(p.entries, func(a, b *place[R, P, V]) int { return cmp.Compare(a.used, b.used) }))
		x.objects.evicted.Add(1)
	}
	// A purge by URL marks first and looks for objects then. It either sees this one,
	// which is in its place by now, or its mark is seen here.
	switch x.marked(p.hash, o) {
	case purgedHard:
		x.drop(s, e)
		x.purges.refused.Add(1)
		return false
	case purgedSoft:
		o.softly.Store(true)
	}
	return true
}

func (p *primary[R, P, V]) find(values string) *place[R, P, V] {
	for _, e := range p.entries {
		if e.object.Selecting == values {
			return e
		}
	}
	return nil
}

func (p *primary[R, P, V]) holds(o *Object[R, P, V]) bool {
	return slices.ContainsFunc(p.entries, func(e *place[R, P, V]) bool { return e.object == o })
}

func (x *Objects[R, P, V]) newPrimary(s *objectShard[R, P, V], o *Object[R, P, V]) *primary[R, P, V] {
	p := &primary[R, P, V]{key: o.Key, names: o.Vary, host: o.Host, target: o.Target, hash: x.hashURL(o.Host, o.Target)}
	s.primaries[p.key] = p
	x.objects.used.Add(x.sizes.primary)
	x.urls[p.hash%objectShards].link(p)
	return p
}

// retain charges an object, and its content if that was in no other place.
func (x *Objects[R, P, V]) retain(o *Object[R, P, V]) {
	c := o.content
	if c.places == 0 {
		c.body = allocated(cap(o.Body))
		x.objects.used.Add(c.size())
	}
	c.places++
	x.objects.used.Add(o.own)
}

func (x *Objects[R, P, V]) release(s *objectShard[R, P, V], o *Object[R, P, V]) {
	c := o.content
	x.objects.used.Add(-o.own)
	if c.places--; c.places == 0 {
		x.objects.used.Add(-c.size())
		s.variants.dropAll(&c.variants, &x.variants)
	}
}

// drop takes a place out of the index. The lock of its shard is held.
func (x *Objects[R, P, V]) drop(s *objectShard[R, P, V], e *place[R, P, V]) {
	x.release(s, e.object)
	s.recent.remove(&e.recent)
	s.places--
	p := e.primary
	at := slices.Index(p.entries, e)
	p.entries = slices.Delete(p.entries, at, at+1)
	if len(p.entries) == 0 {
		delete(s.primaries, p.key)
		x.urls[p.hash%objectShards].unlink(p)
		x.objects.used.Add(-x.sizes.primary)
	}
}

// holds reports whether an object is stored.
func (x *Objects[R, P, V]) holds(o *Object[R, P, V]) bool {
	s := x.shard(o.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.primaries[o.Key]
	return p != nil && p.holds(o)
}

// Drop takes an object out of the index, if it is still there, with all that was made of it.
func (x *Objects[R, P, V]) Drop(o *Object[R, P, V]) bool {
	if x == nil {
		return false
	}
	s := x.shard(o.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.primaries[o.Key]; p != nil {
		for _, e := range p.entries {
			if e.object == o {
				x.drop(s, e)
				return true
			}
		}
	}
	return false
}

func (x *Objects[R, P, V]) shrinkObjects() {
	if x.objects.used.Load() <= x.objects.max {
		return
	}
	x.objects.shrink(func(shard int) (uint64, bool) {
		s := &x.shards[shard]
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.recent.back == nil {
			return 0, false
		}
		return s.recent.back.value.used, true
	}, func(shard int) {
		s := &x.shards[shard]
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.recent.back != nil {
			x.drop(s, s.recent.back.value)
			x.objects.evicted.Add(1)
		}
	})
}

// Clear drops every object and every variant. Answers that are on their way are
// stored all the same; see [Objects.PurgeAll].
func (x *Objects[R, P, V]) Clear() {
	if x == nil {
		return
	}
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for s.recent.back != nil {
			x.drop(s, s.recent.back.value)
		}
		s.mu.Unlock()
	}
}

// Usage is what an index of objects holds, and what became of the rest.
type Usage struct {
	Objects int
	Bytes   int64 // of objects, with the pages made of them
	Evicted uint64

	Variants        int
	Packed          int   // compressed forms of them
	VariantBytes    int64 // of both
	VariantsEvicted uint64

	Purges  uint64 // of any kind
	Refused uint64 // answers that were not stored, since a purge came while they were on their way
}

// Usage returns what the index holds at this moment.
func (x *Objects[R, P, V]) Usage() Usage {
	if x == nil {
		return Usage{}
	}
	u := Usage{
		Bytes: x.objects.used.Load(), Evicted: x.objects.evicted.Load(),
		VariantBytes: x.variants.used.Load(), VariantsEvicted: x.variants.evicted.Load(),
		Purges: x.purges.clock.Load(), Refused: x.purges.refused.Load(),
	}
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		u.Objects += s.places
		u.Variants += s.variants.variants
		u.Packed += s.variants.packed
		s.mu.Unlock()
	}
	return u
}
