package cache

import (
	"sync"
	"sync/atomic"

	"github.com/sedge-proxy/sedge/decision"
)

const (
	// maxVariants is how many variants of one body are kept, so that plans that are
	// one visitor's own push out one another and nothing else.
	maxVariants = 256

	// MaxCodings is how many codings a variant can be packed in; see [Object.Packed].
	MaxCodings = 4

	// hotHits is how often a variant is asked for in a coding before that form is kept:
	// most variants of a site are seen once or twice.
	hotHits = 3

	// What variants are charged beside structs and values: each for its place in the map,
	// the first for the map as well.
	variantSlot = 72
	variantMap  = 384
)

// content is a body with what was made of it. An object that is renewed may share it
// with the one before.
type content[P, V any] struct {
	once sync.Once
	done atomic.Bool
	page P
	ok   bool

	// Guarded by the lock of the object's shard.
	places     int // entries of the index that hold it
	body, made int64
	variants   variants[V]
}

func (c *content[P, V]) size() int64 { return c.body + c.made }

// Page returns what is made of the object's body once, when it is first needed, such as
// its identity form, compiled. Others wait for it. Make returns its size in memory without
// what it shares with the body, and false if there can be none. That is remembered, as is a
// panic. A page that would take more than half of the memory for objects serves only the
// request that made it.
func (o *Object[R, P, V]) Page(make func() (page P, size int, ok bool)) (page P, ok bool) {
	c := o.content
	if c == nil || o.index == nil { // the index is off, or the object was not put
		page, _, ok = make()
		return page, ok
	}
	if c.done.Load() {
		return c.page, c.ok
	}
	mine := false
	c.once.Do(func() {
		defer c.done.Store(true)
		mine = true
		var size int
		if page, size, ok = make(); ok && o.index.keepsPage(o, int64(size)) {
			c.page, c.ok = page, true
		}
	})
	if mine {
		return page, ok
	}
	return c.page, c.ok
}

// keepsPage charges the page that was made of an object, unless it is too large.
func (x *Objects[R, P, V]) keepsPage(o *Object[R, P, V], size int64) bool {
	if o.own+allocated(cap(o.Body))+size > x.objects.max/2 {
		return false
	}
	s := o.shard
	s.mu.Lock()
	o.content.made = size
	if o.content.places > 0 {
		x.objects.used.Add(size)
	}
	s.mu.Unlock()
	x.shrinkObjects()
	return true
}

// VariantKey is all that a variant depends on beside the object.
type VariantKey struct {
	Plan       decision.Digest
	Generation uint64

	// Form tells apart what is made for one plan, such as pages with slots and
	// without.
	Form uint32
}

// ObjectVariant is an object as one plan makes it.
type ObjectVariant[V any] struct {
	Value V // must not change

	key     VariantKey
	of      *variants[V]
	sibling node[*ObjectVariant[V]]

	// Guarded by the lock of the object's shard.
	unit  unit[V]
	forms [MaxCodings]form[V]
}

// variants are those of one content.
type variants[V any] struct {
	byKey  map[VariantKey]*ObjectVariant[V]
	recent order[*ObjectVariant[V]]
}

// form is what is known of a variant in one coding.
type form[V any] struct {
	hits   uint8
	busy   bool // somebody packs it
	failed bool
	packed *unit[V] // nil if it is not kept
}

// unit is what a budget of variants evicts: a variant, or one of its packed forms.
type unit[V any] struct {
	recent  node[*unit[V]]
	variant *ObjectVariant[V]
	body    []byte // of a packed form; nil for the variant itself
	coding  uint8  // of a packed form
	size    int64
	used    uint64
	kept    bool
}

// variantShard holds the variants of one shard of objects, under its lock.
type variantShard[V any] struct {
	recent           order[*unit[V]]
	variants, packed int
}

// keep charges a unit.
func (s *variantShard[V]) keep(u *unit[V], b *budget) {
	u.recent.value, u.kept = u, true
	b.used.Add(u.size)
	u.used = b.arrivals.Add(1)
	s.recent.pushFront(&u.recent)
	if u.body == nil {
		s.variants++
	} else {
		s.packed++
	}
}

// touch notes a use of a unit that is kept.
func (s *variantShard[V]) touch(u *unit[V], b *budget) {
	u.used = b.arrivals.Load()
	s.recent.toFront(&u.recent)
}

// drop lets go of a unit: a variant with all its forms, or one form, which is then as
// cold as it was at first.
func (s *variantShard[V]) drop(u *unit[V], b *budget) {
	if !u.kept {
		return
	}
	u.kept = false
	b.used.Add(-u.size)
	s.recent.remove(&u.recent)
	v := u.variant
	if u.body != nil {
		s.packed--
		v.forms[u.coding] = form[V]{}
		return
	}
	s.variants--
	if delete(v.of.byKey, v.key); len(v.of.byKey) == 0 {
		v.of.byKey = nil
	}
	v.of.recent.remove(&v.sibling)
	for i := range v.forms {
		if p := v.forms[i].packed; p != nil {
			s.drop(p, b)
		}
	}
}

func (s *variantShard[V]) dropAll(of *variants[V], b *budget) {
	for of.recent.back != nil {
		s.drop(&of.recent.back.value.unit, b)
	}
}

// Variant returns a variant of the object, or nil. It allocates nothing.
func (o *Object[R, P, V]) Variant(key VariantKey) *ObjectVariant[V] {
	if o.index == nil {
		return nil
	}
	s := o.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	v := o.content.variants.byKey[key]
	if v != nil {
		s.variants.touch(&v.unit, &o.index.variants)
		v.of.recent.toFront(&v.sibling)
	}
	return v
}

// AddVariant keeps a value as a variant of the object, and returns it, or the one that
// another request was quicker to add. Size is what the value takes in memory. What cannot be
// kept, since the object is no longer stored, is returned all the same.
func (o *Object[R, P, V]) AddVariant(key VariantKey, value V, size int) *ObjectVariant[V] {
	v := &ObjectVariant[V]{Value: value, key: key}
	v.unit.variant, v.unit.size = v, int64(size)
	v.sibling.value = v
	x := o.index
	if x == nil {
		return v
	}
	if v.unit.size += x.sizes.variant; v.unit.size+variantMap > x.variants.max {
		return v
	}
	v = x.addVariant(o.shard, o.content, v)
	x.shrinkVariants()
	return v
}

func (x *Objects[R, P, V]) addVariant(s *objectShard[R, P, V], c *content[P, V], v *ObjectVariant[V]) *ObjectVariant[V] {
	of := &c.variants
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.places == 0 {
		return v
	}
	if there := of.byKey[v.key]; there != nil {
		return there
	}
	if of.byKey == nil {
		of.byKey = make(map[VariantKey]*ObjectVariant[V])
		v.unit.size += variantMap
	}
	v.of = of
	of.byKey[v.key] = v
	of.recent.pushFront(&v.sibling)
	s.variants.keep(&v.unit, &x.variants)
	if len(of.byKey) > maxVariants {
		s.variants.drop(&of.recent.back.value.unit, &x.variants)
		x.variants.evicted.Add(1)
	}
	return v
}

// Packed returns the whole body of a variant of the object in a coding, a number below
// [MaxCodings]. It is nil until the variant was asked for a few times: then pack makes it,
// once and without holding a lock, while other requests go on getting nil. Pack returns
// nil if there can be none, which is remembered, as is a panic. It allocates nothing for a
// body that is there.
func (o *Object[R, P, V]) Packed(v *ObjectVariant[V], coding uint8, pack func() []byte) []byte {
	x, s := o.index, o.shard
	if x == nil {
		return nil
	}
	body, due := s.packed(v, coding, &x.variants)
	if !due {
		return body
	}
	defer x.shrinkVariants()
	defer func() { x.keepPacked(s, v, coding, body) }()
	body = pack()
	return body
}

// packed returns the body of a variant in a coding. It reports true if there is none and
// the caller is to make it.
func (s *objectShard[R, P, V]) packed(v *ObjectVariant[V], coding uint8, b *budget) (body []byte, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &v.forms[coding]
	switch {
	case !v.unit.kept || f.busy || f.failed:
		return nil, false
	case f.packed != nil:
		s.variants.touch(f.packed, b)
		return f.packed.body, false
	}
	f.hits++
	f.busy = f.hits >= hotHits
	return nil, f.busy
}

func (x *Objects[R, P, V]) keepPacked(s *objectShard[R, P, V], v *ObjectVariant[V], coding uint8, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &v.forms[coding]
	f.busy = false
	size := allocated(cap(body)) + x.sizes.packed
	switch {
	case len(body) == 0 || size > x.variants.max/2:
		f.failed = true
	case v.unit.kept:
		f.packed = &unit[V]{variant: v, body: body, coding: coding, size: size}
		s.variants.keep(f.packed, &x.variants)
	}
}

func (x *Objects[R, P, V]) shrinkVariants() {
	if x.variants.used.Load() <= x.variants.max {
		return
	}
	x.variants.shrink(func(shard int) (uint64, bool) {
		s := &x.shards[shard]
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.variants.recent.back == nil {
			return 0, false
		}
		return s.variants.recent.back.value.used, true
	}, func(shard int) {
		s := &x.shards[shard]
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.variants.recent.back != nil {
			s.variants.drop(s.variants.recent.back.value, &x.variants)
			x.variants.evicted.Add(1)
		}
	})
}

// Sweep drops the variants of generations before this one, which no new request asks for.
func (x *Objects[R, P, V]) Sweep(generation uint64) {
	if x == nil {
		return
	}
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for n := s.variants.recent.back; n != nil; {
			u := n.value
			n = n.prev
			// The packed forms of a variant are units of their own, and go with it.
			if u.body == nil && u.variant.key.Generation < generation {
				for n != nil && n.value.variant == u.variant {
					n = n.prev
				}
				s.variants.drop(u, &x.variants)
			}
		}
		s.mu.Unlock()
	}
}
