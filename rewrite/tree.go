package rewrite

import (
	"hash/maphash"
	"slices"
)

// flags of an open element.
type flags uint16

const (
	implied   flags = 1 << iota // no tag of it stands in the page
	foreign                     // in the SVG or MathML namespace
	mathML                      // in the MathML namespace
	textPoint                   // a MathML text integration point
	htmlPoint                   // an HTML integration point
	inert                       // its children are not part of the document
	ended                       // its end tag has passed, out of order
	hidden                      // its start tag was taken away by an outer edit
	removed                     // not on the standard's stack any more: it only stands around what is still open in it
)

// element is an open element. The indexes of other elements on the stack are kept
// with it, so that no rule of the standard has to search the stack.
type element struct {
	name     tag
	prev     int32 // the open element of the same name and namespace before it
	barrier  int32 // nearest element that ends a scope, itself included
	special  int32 // nearest special element, itself included
	hard     int32 // nearest special element but address, div and p, itself included
	html     int32 // nearest HTML element, itself included
	work     int32 // its edits, index into Rewriter.works; -1 when it has none
	children int32 // child elements so far
	types    int32 // its children counted by name
	flags    flags
}

// stage is how far the page has come.
type stage byte

const (
	beforeHTML stage = iota
	beforeHead
	inHead // or after it
	inBody
	inFrameset
)

// tree is the stack of open elements. Element 0 is the document.
type tree struct {
	stack   []element
	last    [2][]int32 // by namespace (HTML, foreign) and tag: the nearest open element, 0 when none
	bits    []uint64   // for each open element the sets that match keeps
	stride  int        // words of bits per element
	stage   stage
	head    int  // index of head
	form    bool // a form is open
	gone    int  // elements on the stack that are removed
	pages   pageNames
	types   typeCounts
	ofType  int // position of the current element among those of its name
	counted bool
}

func (t *tree) init(p *Program, seed maphash.Seed) {
	sets := 2
	if p.siblings {
		sets = 4
	}
	t.stride = sets * p.words
	t.counted = p.types
	for i := range t.last {
		t.last[i] = make([]int32, len(p.tags.names))
	}
	t.pages = pageNames{seed: seed, base: tag(len(p.tags.names))}
	t.types.seed = maphash.Bytes(seed, nil)
}

func (t *tree) reset() {
	for len(t.stack) > 1 {
		t.unlink(&t.stack[len(t.stack)-1])
		t.stack = t.stack[:len(t.stack)-1]
	}
	if len(t.stack) == 1 && t.stack[0].types != 0 {
		t.types.drop(t.stack[0].types)
	}
	known := int(t.pages.base)
	t.last = [2][]int32{t.last[0][:known], t.last[1][:known]}
	t.stack = append(t.stack[:0], element{work: -1})
	t.bits = append(t.bits[:0], make([]uint64, t.stride)...)
	t.stage, t.head, t.form, t.gone = beforeHTML, 0, false, 0
	t.pages.reset()
}

// large reports whether a page made the stack too large to be kept.
func (t *tree) large() bool {
	return cap(t.stack) > keptDepth || cap(t.pages.arena) > keptMemory || cap(t.types.nodes) > keptDepth
}

// space is the namespace of an element as an index into last.
func (e *element) space() int { return int(e.flags & foreign / foreign) }

func (t *tree) top() *element { return &t.stack[len(t.stack)-1] }

// open returns the index of the nearest open HTML element of a name, 0 when none.
func (t *tree) open(name tag) int {
	if int(name) >= len(t.last[0]) {
		return 0
	}
	return int(t.last[0][name])
}

// bit reports whether a bit is set in one of the sets of an open element.
func (r *Rewriter) bit(at, kind int, n int32) bool {
	w := at*r.stride + kind*r.program.words + int(n/64)
	return r.bits[w]&(1<<(n%64)) != 0
}

// push opens an element whose parent is at index parent, with what it matched.
func (r *Rewriter) push(name tag, parent int, f flags) {
	at := int32(len(r.stack))
	below := r.stack[at-1]
	e := element{name: name, work: -1, flags: f, barrier: below.barrier, special: below.special, hard: below.hard, html: at}
	if r.stack[parent].flags&inert != 0 {
		e.flags |= inert
	}
	space := 0
	if f&foreign != 0 {
		space, e.html = 1, below.html
		if f&(textPoint|htmlPoint) != 0 || name == tagAnnotationXML && f&mathML != 0 {
			e.barrier, e.special, e.hard = at, at, at
		}
	} else if name < knownTags {
		switch traits := tagInfos[name].traits; {
		case traits&isBarrier != 0:
			e.barrier, e.special, e.hard = at, at, at
		case traits&isSpecial != 0:
			e.special = at
			if name != tagAddress && name != tagDiv && name != tagP {
				e.hard = at
			}
		}
		if name == tagTemplate {
			e.flags |= inert
		}
	}
	last := &r.last[space]
	for int(name) >= len(*last) {
		*last = append(*last, 0)
	}
	e.prev = (*last)[name]
	(*last)[name] = at
	r.stack = append(r.stack, e)
	r.pushBits(int(at), parent)
}

// pushBits lays out the sets of a new element.
func (r *Rewriter) pushBits(at, parent int) {
	w := r.program.words
	if w == 0 {
		return
	}
	for len(r.bits) < (at+1)*r.stride {
		r.bits = append(r.bits, 0)
	}
	own, above := r.bits[at*r.stride:(at+1)*r.stride], r.bits[parent*r.stride:]
	for i, self := range r.seen.self {
		own[i] = above[i] | self&r.program.masks[kindDescendant][i]
		own[w+i] = self & r.program.masks[kindChild][i]
	}
	clear(own[2*w:])
}

// sibling notes in the parent what its new child matched.
func (r *Rewriter) sibling(parent int) {
	if !r.program.siblings {
		return
	}
	w := r.program.words
	sets := r.bits[parent*r.stride:]
	for i, self := range r.seen.self {
		sets[kindNext*w+i] = self & r.program.masks[kindNext][i]
		sets[kindLater*w+i] |= self & r.program.masks[kindLater][i]
	}
}

// count counts a new child of the parent.
func (r *Rewriter) count(name tag, parent int) {
	e := &r.stack[parent]
	e.children++
	if r.counted {
		r.ofType = r.types.next(int32(parent), &e.types, name)
	}
}

// position returns the current element's position among its siblings, from 1.
func (r *Rewriter) position(ofType bool, parent int) int {
	if ofType {
		return r.ofType
	}
	return int(r.stack[parent].children)
}

// unlink takes an element out of the chain of its name.
func (t *tree) unlink(e *element) {
	switch {
	case e.flags&ended == 0:
		t.last[e.space()][e.name] = e.prev
	case e.flags&removed != 0:
		t.gone--
	}
	if e.types != 0 {
		t.types.drop(e.types)
		e.types = 0
	}
}

// pop takes the innermost element from the stack; its edits are done with. Removed
// elements that it stood in go too: what comes next stands outside of them.
func (r *Rewriter) pop() {
	for {
		r.work++
		e := r.top()
		r.unlink(e)
		if e.work >= 0 && r.record == nil {
			r.applied = r.applied[:r.works[e.work].from]
			r.works = r.works[:e.work]
		}
		r.stack = r.stack[:len(r.stack)-1]
		if r.gone == 0 || r.top().flags&removed == 0 {
			return
		}
	}
}

// popTo closes the elements from index at on, all before the current token.
func (r *Rewriter) popTo(at int) {
	for len(r.stack) > at {
		if e := r.top(); e.work >= 0 && e.flags&ended == 0 {
			r.endByOther(e)
		}
		r.pop()
	}
}

// closeAt closes the element at index at by the current end tag.
func (r *Rewriter) closeAt(at int) {
	r.popTo(at + 1)
	e := r.top()
	r.endByTag(e)
	r.pop()
}

// remove ends an element that the standard takes from among those that are open,
// while elements inside it stay open. If it is special (a form), it stops no search
// of these any more. Each element can lie in one such form only, so that this
// costs no more than opening them did.
func (r *Rewriter) remove(at int, byTag bool) {
	r.endInPlace(at, byTag)
	r.stack[at].flags |= removed
	r.gone++
	if int(r.stack[at].special) != at {
		return
	}
	below := &r.stack[at-1]
	for i := at; i < len(r.stack); i++ {
		r.work++
		e := &r.stack[i]
		if int(e.special) == at {
			e.special = below.special
		}
		if int(e.hard) == at {
			e.hard = below.hard
		}
		if int(e.html) == at {
			e.html = below.html
		}
	}
}

// endInPlace ends an element that stays on the stack: one that was closed out of
// order, or that the standard keeps open. byTag tells whether the current token
// is its end tag.
func (r *Rewriter) endInPlace(at int, byTag bool) {
	e := &r.stack[at]
	if e.flags&ended != 0 {
		return
	}
	if r.record != nil && at < len(r.stack)-1 {
		r.record.page.elements[e.work].flags |= crossed
	}
	if byTag {
		r.endByTag(e)
	} else if e.work >= 0 {
		r.endByOther(e)
	}
	r.last[e.space()][e.name] = e.prev
	e.flags |= ended
}

// endByOther ends an element in front of the current token.
func (r *Rewriter) endByOther(e *element) {
	if r.record != nil {
		r.record.end(r, e.work, false)
		return
	}
	r.cut()
	r.endContent(e)
	r.endBehind(e)
}

// endByTag ends an element whose end tag is the current token.
func (r *Rewriter) endByTag(e *element) {
	if r.record != nil {
		r.record.end(r, e.work, true)
		return
	}
	if e.work < 0 {
		if e.flags&hidden != 0 && r.suppress == 0 {
			r.dropToken()
		}
		return
	}
	r.cut()
	r.endContent(e)
	if w := &r.works[e.work]; w.gone || w.unwrap {
		r.dropToken()
	} else {
		r.keepToken()
	}
	r.endBehind(e)
}

// text handles text in front of the body: any but white space opens the body. at
// is the text's index in the chunk, -1 if it is the current token; offset is its
// offset in the page.
func (r *Rewriter) text(b []byte, at int, offset int64) {
	for i, c := range b {
		if isSpace(c) || offset+int64(i) < 3 && c == byteOrderMark[offset+int64(i)] {
			continue
		}
		if len(r.stack) > 1 && r.stage != beforeHead && len(r.stack)-1 != r.head {
			return // in a template
		}
		if at < 0 {
			r.openBody()
			return
		}
		r.token, r.start, r.end, r.tokenDone = nil, at+i, at+i, false
		r.openBody()
		r.tokenDone = true
		return
	}
}

// inColgroup reports whether the page stands directly in a colgroup of a table, which
// nearly everything ends.
func (r *Rewriter) inColgroup() bool { return r.isHTML(len(r.stack)-1, tagColgroup) }

// textInColgroup ends the colgroup that is open in front of the first text that is
// not white space (the standard's section 13.2.6.4.12), and reports whether there
// is any. at is the text's index in the chunk.
func (r *Rewriter) textInColgroup(b []byte, at int) bool {
	i := slices.IndexFunc(b, func(c byte) bool { return !isSpace(c) })
	if i < 0 {
		return false
	}
	r.token, r.start, r.end, r.tokenDone = nil, at+i, at+i, false
	r.popTo(len(r.stack) - 1)
	r.tokenDone = true
	return true
}

// openBody opens html and body where the page does not.
func (r *Rewriter) openBody() {
	if r.prelude(tagBody) == tagOpens {
		r.pushImplied(tagBody)
	}
}

// pushImplied opens an element that has no tag, in front of the current token.
func (r *Rewriter) pushImplied(name tag) {
	where := place{name: name, parent: len(r.stack) - 1, flags: implied}
	applied := int32(-1)
	if r.stack[where.parent].flags&inert == 0 {
		r.count(name, where.parent)
		matched := r.match(name, where.parent, false)
		r.sibling(where.parent)
		if matched && (r.doctype || name != tagHTML && name != tagHead && name != tagBody) {
			applied = r.apply(&where)
		}
	} else {
		clear(r.seen.self)
	}
	if r.record != nil {
		applied = r.record.open(r, &where)
	}
	if r.suppress > 0 {
		where.flags |= hidden
	}
	r.push(name, where.parent, where.flags)
	r.top().work = applied
}

// pageNames numbers the element names that only the page knows, so that their end
// tags find them. The hash is seeded: a page cannot make names collide.
type pageNames struct {
	seed  maphash.Seed
	base  tag
	arena []byte
	ends  []int32
	slots []int32
	lower []byte
	exact bool // names differ by case
}

func (n *pageNames) reset() {
	if len(n.ends) > 0 {
		clear(n.slots)
	}
	n.arena, n.ends = n.arena[:0], n.ends[:0]
}

func (n *pageNames) name(i int32) []byte {
	start := int32(0)
	if i > 0 {
		start = n.ends[i-1]
	}
	return n.arena[start:n.ends[i]]
}

// find returns the tag for a name; add gives it one if it has none. Without, an
// unknown name is tagNone.
func (n *pageNames) find(name []byte, add bool) tag {
	if len(n.ends) == 0 && !add {
		return tagNone
	}
	if n.lower = append(n.lower[:0], name...); !n.exact {
		for i, c := range n.lower {
			n.lower[i] = lowerByte(c)
		}
	}
	if 2*len(n.ends) >= len(n.slots) {
		n.grow()
	}
	slot := n.slot(n.lower)
	if *slot != 0 {
		return n.base + tag(*slot-1)
	}
	if !add {
		return tagNone
	}
	n.arena = append(n.arena, n.lower...)
	n.ends = append(n.ends, int32(len(n.arena)))
	*slot = int32(len(n.ends))
	return n.base + tag(len(n.ends)-1)
}

// get returns the number of a name as it is kept, -1 if it has none. Unlike find
// it may be called by several at the same time.
func (n *pageNames) get(name string) int32 {
	if len(n.slots) == 0 {
		return -1
	}
	mask := uint64(len(n.slots) - 1)
	for i := maphash.String(n.seed, name) & mask; n.slots[i] != 0; i = (i + 1) & mask {
		if string(n.name(n.slots[i]-1)) == name {
			return n.slots[i] - 1
		}
	}
	return -1
}

func (n *pageNames) slot(name []byte) *int32 {
	mask := uint64(len(n.slots) - 1)
	for i := maphash.Bytes(n.seed, name) & mask; ; i = (i + 1) & mask {
		if n.slots[i] == 0 || string(n.name(n.slots[i]-1)) == string(name) {
			return &n.slots[i]
		}
	}
}

func (n *pageNames) grow() {
	n.slots = make([]int32, max(64, 4*len(n.slots)))
	for i := range n.ends {
		*n.slot(n.name(int32(i))) = int32(i) + 1
	}
}

// size is what the names take, in bytes.
func (n *pageNames) size() int { return len(n.arena) + 16*len(n.ends) }
