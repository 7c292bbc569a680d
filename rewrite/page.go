package rewrite

import (
	"hash/maphash"
	"io"
	"math"
	"slices"
	"sync"
)

// Page is a page that was scanned once. It knows where its elements begin and end
// and what each is called, so that the matches of any program are found without
// reading the page again ([Page.Splice]). It does not change any more and serves
// any number of programs at the same time.
type Page struct {
	body     []byte
	limits   Limits
	elements []pageElement // an element stands before what is inside it
	opened   []int32       // elements in the order of their tags; nil when that is theirs
	runs     []textRun     // the text that replace_text may change
	marks    []landmark    // in the order of their elements' tags
	tail     int32         // where a tag begins whose end never came; else the page's end
	mute     bool          // nothing can be inserted at the page's end

	// The character set as known from the start, and from the event with the
	// number changed on.
	encoding, later Encoding
	changed         int32
	changedAt       int32 // offset of the tag that changed it

	tags, attrs, classes, ids index
	all                       []int32 // all elements that can match
}

// pageElement is an element of a page. Offsets are of the page's bytes; events,
// the opening and ending of elements, are numbered in their order.
type pageElement struct {
	start, tagEnd  int32 // its start tag; empty when it has none
	end, endTagEnd int32 // where its content ends, and its end tag if there is one
	openedBy       int32 // number of the event that opens it
	endedBy        int32 // number of the event that ends it
	parent         int32 // -1 when none
	last           int32 // the last element inside it, itself if there is none
	prev           int32 // sibling in front of it, -1 when none
	child, ofType  int32 // position among its siblings, and among those of its name
	name           tag   // tagNone where the standard gives no rules
	flags          pageFlags
}

type pageFlags uint8

const (
	withoutTag pageFlags = 1 << iota // implied by the standard
	withoutEnd                       // it has no content
	withText                         // its content is text
	outside                          // in a template: not part of the document
	noEdits                          // matched for the sake of others only
	crossed                          // elements inside it end after it
)

// textRun is text between two tags.
type textRun struct{ from, to int32 }

const pageElementSize = 52

// CompilePage scans a page once. The limits are those that a rewriter would get:
// a page that a rewriter would not understand to its end cannot be compiled
// either, and the reason is returned instead; so it is for a page that would take
// more than Limits.Page. The page keeps body, which must not change any more.
func CompilePage(body []byte, limits Limits) (*Page, Reason) {
	limits = limits.withDefaults()
	limits.Policy, limits.Values = nil, nil // they belong to one answer; see [Given]
	if int64(len(body)) > int64(limits.Page) || len(body) > maxPage {
		return nil, BailedMemory
	}
	return compilePage(newPageBuilder(body, limits), limits)
}

func compilePage(b *pageBuilder, limits Limits) (*Page, Reason) {
	r := recordProgram().NewRewriter(io.Discard, limits)
	defer r.Release()
	r.record = b
	defer func() { r.record = nil }()
	r.texts = 1 // so that it looks for text
	if _, err := r.Write(b.page.body); err != nil || r.bailed != NotBailed {
		return nil, r.bailed
	}
	b.page.encoding = limits.Encoding
	if r.bom == len(byteOrderMark) {
		b.page.encoding = EncodingUTF8
	}
	b.page.tail = int32(len(b.page.body))
	if r.holding {
		b.page.tail = int32(r.heldAt)
	}
	b.page.mute = r.scan.mode != inText
	if err := r.Close(); err != nil || r.bailed != NotBailed {
		return nil, r.bailed
	}
	return b.finish(), NotBailed
}

// maxPage keeps offsets and event numbers within 32 bits.
const maxPage = 1 << 29

// Size returns about how many bytes the page takes in memory, with its body.
func (p *Page) Size() int {
	marks := 0
	for i := range p.marks {
		marks += p.marks[i].size()
	}
	return marks + len(p.body) + pageElementSize*len(p.elements) + 4*len(p.opened) + 8*len(p.runs) + 4*len(p.all) +
		p.tags.size() + p.attrs.size() + p.classes.size() + p.ids.size()
}

// Body returns the page's bytes as they came.
func (p *Page) Body() []byte { return p.body }

// recordProgram notes all attributes and counts all siblings.
var recordProgram = sync.OnceValue(func() *Program {
	p := newProgram()
	(&compiler{p: p}).finish()
	p.attrsAll, p.types, p.wanted = true, true, nil
	return p
})

// pageBuilder takes down what a rewriter finds in a page.
type pageBuilder struct {
	page  *Page
	seq   int32
	size  int
	names [4]*pageNames // tags, attributes, classes, ids
	seen  [4][]int32    // by name: the last element noted for it, + 1
	notes [4][]note

	strays []textRun // tags of html and body that make no element; nil to leave them out
}

// note says that an element has a name.
type note struct{ name, element int32 }

const (
	ofTags = iota
	ofAttrs
	ofClasses
	ofIDs
)

func newPageBuilder(body []byte, limits Limits) *pageBuilder {
	b := &pageBuilder{page: &Page{body: body, limits: limits, changed: math.MaxInt32, changedAt: math.MaxInt32}, size: len(body)}
	seed := maphash.MakeSeed()
	for i := range b.names {
		b.names[i] = &pageNames{seed: seed, exact: i == ofClasses || i == ofIDs}
	}
	return b
}

// at returns the offset of the current token, or of the end of what was read.
func (b *pageBuilder) at(r *Rewriter) int32 {
	if r.start >= 0 {
		return int32(r.start)
	}
	return b.page.tail
}

// open notes the element that the current token opens and returns its number.
func (b *pageBuilder) open(r *Rewriter, where *place) int32 {
	at := b.at(r)
	e := pageElement{start: at, tagEnd: at, end: -1, parent: r.stack[where.parent].work, prev: -1}
	if where.name < knownTags {
		e.name = where.name
	}
	var name []byte
	if where.flags&implied != 0 {
		e.flags |= withoutTag
	} else {
		e.tagEnd = int32(r.end)
		name = r.token[r.scan.nameStart:r.scan.nameEnd]
	}
	if where.name < knownTags { // also where the standard renames it
		name = []byte(tagInfos[where.name].name)
	}
	if where.leaf {
		e.flags |= withoutEnd
	}
	if where.raw {
		e.flags |= withText
	}
	if where.flags&implied != 0 && !r.doctype && (where.name == tagHTML || where.name == tagHead || where.name == tagBody) {
		e.flags |= noEdits
	}
	return b.add(r, e, name, where.parent)
}

// ghost notes an element that is counted only.
func (b *pageBuilder) ghost(r *Rewriter, t tag, parent int) {
	at := b.at(r)
	e := pageElement{start: at, tagEnd: at, end: at, endTagEnd: at, parent: r.stack[parent].work, prev: -1, name: t, flags: withoutTag | withoutEnd | noEdits}
	b.add(r, e, []byte(tagInfos[t].name), parent)
}

func (b *pageBuilder) add(r *Rewriter, e pageElement, name []byte, parent int) int32 {
	n := int32(len(b.page.elements))
	e.openedBy = b.seq
	b.seq++
	if r.stack[parent].flags&inert != 0 {
		e.flags |= outside
	} else {
		e.child, e.ofType = r.stack[parent].children, int32(r.ofType)
		b.note(ofTags, name, n)
		if e.flags&withoutTag == 0 {
			b.attributes(r, n)
		}
	}
	b.page.elements = append(b.page.elements, e)
	if b.size += pageElementSize + 8; b.size > int(r.limits.Page) {
		r.bail(BailedMemory)
	}
	return n
}

// note notes that an element has a name. It reports false if that was known.
func (b *pageBuilder) note(kind int, name []byte, element int32) bool {
	number := int32(b.names[kind].find(name, true))
	seen := b.seen[kind]
	for int(number) >= len(seen) {
		seen = append(seen, 0)
		b.size += 20 + len(name)
	}
	b.seen[kind] = seen
	if seen[number] == element+1 {
		return false
	}
	seen[number] = element + 1
	b.notes[kind] = append(b.notes[kind], note{number, element})
	b.size += 4
	return true
}

// attributes notes the attributes of the current tag; of those of one name the
// first counts.
func (b *pageBuilder) attributes(r *Rewriter, n int32) {
	for i := range r.scan.attrs {
		a := &r.scan.attrs[i]
		name := r.token[a.name:a.nameEnd]
		if !b.note(ofAttrs, name, n) {
			continue
		}
		switch {
		case foldEqual(name, "id"):
			if id := r.value(a); len(id) > 0 {
				b.note(ofIDs, id, n)
			}
		case foldEqual(name, "class"):
			b.classes(r.value(a), n)
		}
	}
}

func (b *pageBuilder) classes(value []byte, n int32) {
	for i := 0; i < len(value); {
		start := i
		for i < len(value) && !isSpace(value[i]) {
			i++
		}
		if i > start {
			b.note(ofClasses, value[start:i], n)
		}
		i++
	}
}

// end notes where an element ends: at the current token, which is its end tag if
// byTag.
func (b *pageBuilder) end(r *Rewriter, n int32, byTag bool) {
	e := &b.page.elements[n]
	e.end = b.at(r)
	e.endTagEnd = e.end
	if byTag {
		e.endTagEnd = int32(r.end)
	}
	e.endedBy = b.seq
	b.seq++
}

// run notes text between two tags.
func (b *pageBuilder) run(r *Rewriter, from, to int) {
	if from == to {
		return
	}
	b.page.runs = append(b.page.runs, textRun{int32(from), int32(to)})
	if b.size += 8; b.size > int(r.limits.Page) {
		r.bail(BailedMemory)
	}
}

// finish orders the elements and sorts them under their names.
func (b *pageBuilder) finish() *Page {
	p := b.page
	number := p.order()
	if number != nil {
		for kind := range b.notes {
			for i := range b.notes[kind] {
				b.notes[kind][i].element = number[b.notes[kind][i].element]
			}
			slices.SortStableFunc(b.notes[kind], func(a, b note) int { return int(a.element) - int(b.element) })
		}
		for i := range p.marks {
			p.marks[i].element = number[p.marks[i].element]
		}
	}
	for kind, to := range []*index{&p.tags, &p.attrs, &p.classes, &p.ids} {
		*to = newIndex(b.names[kind], b.notes[kind])
	}
	p.runs = slices.Clip(p.runs)
	for i := range p.elements {
		if p.elements[i].flags&outside == 0 {
			p.all = append(p.all, int32(i))
		}
	}
	return p
}

// order puts each element right behind those it is in, which only elements moved
// out of a table are not yet, and tells each its siblings and its last element. It
// returns the new numbers, nil if they are the old ones.
func (p *Page) order() (number []int32) {
	count := len(p.elements)
	links := make([]int32, 3*(count+1)) // 0 is the document
	child, sibling, lastChild := links[:count+1], links[count+1:2*(count+1)], links[2*(count+1):]
	for i := range p.elements {
		parent, self := p.elements[i].parent+1, int32(i+1)
		if last := lastChild[parent]; last == 0 {
			child[parent] = self
		} else {
			sibling[last] = self
			p.elements[i].prev = last - 1
		}
		lastChild[parent] = self
	}
	number = make([]int32, count)
	moved := false
	next := int32(0)
	for at := child[0]; at != 0; {
		number[at-1] = next
		moved = moved || next != at-1
		next++
		if child[at] != 0 {
			at = child[at]
			continue
		}
		for at != 0 {
			p.elements[at-1].last = next - 1
			if sibling[at] != 0 {
				at = sibling[at]
				break
			}
			at = p.elements[at-1].parent + 1
		}
	}
	if !moved {
		return nil
	}
	old := slices.Clone(p.elements)
	renumbered := func(n int32) int32 {
		if n < 0 {
			return n
		}
		return number[n]
	}
	for i, e := range old {
		e.parent, e.prev = renumbered(e.parent), renumbered(e.prev)
		p.elements[number[i]] = e
	}
	p.opened = number
	return number
}

// index lists the elements that have a name, for each name.
type index struct {
	names *pageNames
	from  []int32 // by name: where its elements begin in list
	list  []int32
}

func newIndex(names *pageNames, notes []note) index {
	x := index{names: names, from: make([]int32, len(names.ends)+1), list: make([]int32, len(notes))}
	for _, n := range notes {
		x.from[n.name+1]++
	}
	for i := 1; i < len(x.from); i++ {
		x.from[i] += x.from[i-1]
	}
	at := slices.Clone(x.from)
	for _, n := range notes {
		x.list[at[n.name]] = n.element
		at[n.name]++
	}
	return x
}

// of returns the elements that have a name, in order.
func (x *index) of(name string) []int32 {
	n := x.names.get(name)
	if n < 0 {
		return nil
	}
	return x.list[x.from[n]:x.from[n+1]]
}

func (x *index) size() int { return 4*len(x.list) + 4*len(x.from) + x.names.size() }

// encoding notes that the page named its character set.
func (b *pageBuilder) encoding(r *Rewriter, found Encoding) {
	b.page.later, b.page.changed, b.page.changedAt = found, b.seq, b.at(r)
}
