package rewrite

import "bytes"

// Match says where an edit matched.
type Match struct {
	Count    int   // elements matched so far
	First    int64 // offset of the first one's tag in the page as it came, -1 when none
	FirstOut int64 // offset in the output of where that tag stands or would stand, -1 when none
}

// seen is what is known about the element that is being matched. The stamps say
// for each name that the program knows whether this element has it.
type seen struct {
	serial  uint32
	attrs   []uint32 // by attribute number: serial
	attrAt  []int32  // by attribute number: index into the tag's attributes
	classes []uint32
	ids     []uint32
	list    []int32 // class numbers in the order found
	names   []int32 // attribute numbers in the order found
	self    []uint64
	hits    []uint64 // edits matched
	valueOf []uint32 // by attribute number: serial when value is known
	value   [][]byte // by attribute number
	values  []byte   // values with references resolved
	parts   []int32  // see tryParts
}

func newSeen(p *Program) seen {
	return seen{
		attrs:   make([]uint32, len(p.attrs.names)),
		attrAt:  make([]int32, len(p.attrs.names)),
		classes: make([]uint32, len(p.classes.names)),
		ids:     make([]uint32, len(p.ids.names)),
		valueOf: make([]uint32, len(p.attrs.names)),
		value:   make([][]byte, len(p.attrs.names)),
		self:    make([]uint64, p.words),
		hits:    make([]uint64, (len(p.edits)+63)/64),
	}
}

// next forgets the names of the element before.
func (s *seen) next() {
	if s.serial++; s.serial == 0 {
		clear(s.attrs)
		clear(s.classes)
		clear(s.ids)
		clear(s.valueOf)
		s.serial = 1
	}
	s.values = s.values[:0]
	s.list, s.names = s.list[:0], s.names[:0]
}

// match finds the edits that match the element of the current tag, whose parent
// is at index parent of the stack, into r.seen.hits. It reports whether there
// are any. An element without a tag has no attributes, and its edits are not asked
// for.
func (r *Rewriter) match(t tag, parent int, hasTag bool) bool {
	p, s := r.program, &r.seen
	clear(s.self)
	if (!hasTag || len(r.scan.attrs) == 0) && p.always.empty() && (int(t) >= len(p.byTag) || p.byTag[t].empty()) {
		return false // nothing asks for it
	}
	s.next()
	clear(s.hits)
	id := int32(-1)
	if hasTag && (int(t) < len(p.attrsOf) && p.attrsOf[t] || p.attrsAll) {
		id = r.readNames()
	}
	bound := p.words > 0 && r.anyBit(parent)
	hit := r.tryList(&p.always, bound, t, parent)
	if int(t) < len(p.byTag) {
		hit = r.tryList(&p.byTag[t], bound, t, parent) || hit
	}
	if id >= 0 {
		hit = r.tryList(&p.byID[id], bound, t, parent) || hit
	}
	for _, class := range s.list {
		hit = r.tryList(&p.byClass[class], bound, t, parent) || hit
	}
	for _, name := range s.names {
		if l := &p.byAttr[name]; !l.empty() {
			hit = r.tryList(l, bound, t, parent) || hit
		}
		if g := p.byPart[name]; g != nil {
			hit = r.tryParts(g, name, t, parent) || hit
		}
	}
	return hit
}

// anyBit reports whether any step that others follow led to where an element with
// this parent stands.
func (r *Rewriter) anyBit(parent int) bool {
	for _, set := range r.bits[parent*r.stride : (parent+1)*r.stride] {
		if set != 0 {
			return true
		}
	}
	return false
}

func (r *Rewriter) tryList(l *stepList, bound bool, t tag, parent int) (hit bool) {
	if len(l.free) > 0 {
		hit = r.try(l.free, t, parent)
	}
	if bound && len(l.bound) > 0 {
		hit = r.try(l.bound, t, parent) || hit
	}
	return hit
}

// tryParts runs the steps that ask for a part of an attribute's value.
func (r *Rewriter) tryParts(g *grams, name int32, t tag, parent int) (hit bool) {
	r.seen.parts = r.seen.parts[:0]
	value := r.attrValue(name)
	r.work += int64(len(value) / 16)
	g.each(value, func(bucket int32) {
		for _, n := range r.seen.parts {
			if n == bucket {
				return
			}
		}
		if len(r.seen.parts) < maxParts {
			r.seen.parts = append(r.seen.parts, bucket)
		}
		hit = r.try(g.buckets[bucket], t, parent) || hit
	})
	return hit
}

// maxParts bounds how many lists of steps are remembered as tried on a value.
const maxParts = 16

// attrValue returns the value of one of the program's attributes that the current
// element has. It is valid until the next element.
func (r *Rewriter) attrValue(name int32) []byte {
	s := &r.seen
	if s.valueOf[name] == s.serial {
		return s.value[name]
	}
	a := &r.scan.attrs[s.attrAt[name]]
	raw := r.token[a.value:a.end]
	if bytes.IndexByte(raw, '&') >= 0 || bytes.IndexByte(raw, '\r') >= 0 {
		from := len(s.values)
		s.values = appendUnescaped(s.values, raw)
		raw = s.values[from:len(s.values):len(s.values)]
	}
	s.valueOf[name], s.value[name] = s.serial, raw
	return raw
}

// readNames notes which of the program's attributes, classes and ids the current
// tag has. Of attributes of the same name the first one counts. It returns the
// number of the id.
func (r *Rewriter) readNames() (id int32) {
	p, s, id := r.program, &r.seen, int32(-1)
	for i := range r.scan.attrs {
		a := &r.scan.attrs[i]
		n := p.attrs.find(r.token[a.name:a.nameEnd])
		if n < 0 || s.attrs[n] == s.serial {
			continue
		}
		s.attrs[n] = s.serial
		s.attrAt[n] = int32(i)
		s.names = append(s.names, n)
		switch n {
		case p.attrID:
			if id = p.ids.find(r.value(a)); id >= 0 {
				s.ids[id] = s.serial
			}
		case p.attrCls:
			r.readClasses(r.value(a))
		}
	}
	return id
}

func (r *Rewriter) readClasses(value []byte) {
	s := &r.seen
	for i := 0; i < len(value); {
		if isSpace(value[i]) {
			i++
			continue
		}
		start := i
		for i < len(value) && !isSpace(value[i]) {
			i++
		}
		n := r.program.classes.find(value[start:i])
		if n >= 0 && s.classes[n] != s.serial {
			s.classes[n] = s.serial
			s.list = append(s.list, n)
		}
	}
}

// try runs the listed steps on the current element.
func (r *Rewriter) try(list []int32, t tag, parent int) (hit bool) {
	for _, n := range list {
		r.work++
		st := &r.program.steps[n]
		if st.need >= 0 && !r.bit(parent, kindOf(st.comb), st.need) {
			continue
		}
		if !r.holds(&st.tests, t, parent) {
			continue
		}
		if st.bit >= 0 {
			r.seen.self[st.bit/64] |= 1 << (st.bit % 64)
		}
		if len(st.edits) == 0 {
			continue
		}
		hit = true
		for _, e := range st.edits {
			r.seen.hits[e/64] |= 1 << (e % 64)
		}
	}
	return hit
}

func (r *Rewriter) holds(t *tests, name tag, parent int) bool {
	s := &r.seen
	if t.tag != tagNone && t.tag != name {
		return false
	}
	for _, id := range t.ids {
		if s.ids[id] != s.serial {
			return false
		}
	}
	for _, class := range t.classes {
		if s.classes[class] != s.serial {
			return false
		}
	}
	for i := range t.attrs {
		a := &t.attrs[i]
		if s.attrs[a.number] != s.serial {
			return false
		}
		if a.op != 0 && !a.matches(r.attrValue(a.number)) {
			return false
		}
	}
	for _, n := range t.nths {
		if !n.holds(r.position(n.ofType, parent)) {
			return false
		}
	}
	for _, list := range t.is {
		if !r.anyHolds(list, name, parent) {
			return false
		}
	}
	for _, list := range t.not {
		if r.anyHolds(list, name, parent) {
			return false
		}
	}
	return true
}

func (r *Rewriter) anyHolds(list []tests, name tag, parent int) bool {
	for i := range list {
		r.work++
		if r.holds(&list[i], name, parent) {
			return true
		}
	}
	return false
}

// matches compares an attribute's value with the one asked for.
func (s *attrTest) matches(value []byte) bool {
	want := s.value
	switch s.op {
	case '=':
		return len(value) == len(want) && s.equal(value)
	case '^':
		return want != "" && len(value) >= len(want) && s.equal(value[:len(want)])
	case '$':
		return want != "" && len(value) >= len(want) && s.equal(value[len(value)-len(want):])
	case '|':
		return len(value) == len(want) && s.equal(value) ||
			len(value) > len(want) && value[len(want)] == '-' && s.equal(value[:len(want)])
	case '~':
		return s.matchesWord(value)
	case '*':
		return want != "" && s.contained(value)
	}
	return true
}

func (s *attrTest) matchesWord(value []byte) bool {
	for i := 0; i < len(value); {
		start := i
		for i < len(value) && !isSpace(value[i]) {
			i++
		}
		if i > start && i-start == len(s.value) && s.equal(value[start:i]) {
			return true
		}
		i++
	}
	return false
}

func (s *attrTest) contained(value []byte) bool {
	if !s.fold {
		return bytes.Contains(value, s.want)
	}
	for i := 0; i+len(s.value) <= len(value); i++ {
		if s.equal(value[i : i+len(s.value)]) {
			return true
		}
	}
	return false
}

// equal compares as many bytes as the wanted value has.
func (s *attrTest) equal(value []byte) bool {
	if !s.fold {
		return string(value) == s.value
	}
	for i := range value {
		if lowerByte(value[i]) != lowerByte(s.value[i]) {
			return false
		}
	}
	return true
}
