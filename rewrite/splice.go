package rewrite

import (
	"io"
	"math"
	"slices"
)

// Splice is a page with the edits of one program, as a list of ranges: of the
// page as it came, and of content that was inserted. It does not change any more.
type Splice struct {
	page     *Page
	pieces   []spliced
	inserted []byte
	size     int
	matches  []Match
	found    []Conflict
	blocked  []Block
	refused  int
	slots    []Slot
	fills    []fill
	bailed   Reason
}

// spliced is a range of the page, or of the inserted content.
type spliced struct {
	from, to int32
	inserted bool
}

// Matches returns for each edit where it matched, as [Rewriter.Matches] would.
func (s *Splice) Matches() []Match { return s.matches }

// Bailed says why the page stayed as it came; it is [NotBailed] when it did not.
func (s *Splice) Bailed() Reason { return s.bailed }

// Conflicts returns which edits had no effect because of others, as
// [Rewriter.Conflicts] would.
func (s *Splice) Conflicts() []Conflict { return s.found }

// Refused returns how often content with slots was left out, as [Rewriter.Refused]
// would.
func (s *Splice) Refused() int { return s.refused }

// Template cuts the visitor's values out of the edited page, as
// [Rewriter.Template] would.
func (s *Splice) Template(page []byte) ([]byte, *Template) {
	if len(s.fills) == 0 {
		return page, nil
	}
	return cutTemplate(s.slots, slices.Clone(s.fills), page)
}

// Len returns the number of bytes of the edited page.
func (s *Splice) Len() int { return s.size }

// Size returns about how many bytes the splice takes in memory, without its page.
func (s *Splice) Size() int {
	return spliceSize + 12*cap(s.pieces) + cap(s.inserted) + 24*cap(s.matches) + 40*cap(s.found) + 40*cap(s.blocked) + 24*cap(s.fills)
}

const spliceSize = 256

// Ranges returns the number of ranges that make the edited page.
func (s *Splice) Ranges() int { return len(s.pieces) }

// AppendTo appends the edited page to dst.
func (s *Splice) AppendTo(dst []byte) []byte {
	dst = slices.Grow(dst, s.size)
	for _, p := range s.pieces {
		dst = append(dst, s.bytes(p)...)
	}
	return dst
}

// AppendParts appends the ranges that make the edited page. They must not be changed.
func (s *Splice) AppendParts(dst [][]byte) [][]byte {
	for _, p := range s.pieces {
		dst = append(dst, s.bytes(p))
	}
	return dst
}

// WriteTo writes the edited page to w, one range after the other.
func (s *Splice) WriteTo(w io.Writer) (int64, error) { return s.WriteOver(w, s.page.body) }

func (s *Splice) bytes(p spliced) []byte {
	if p.inserted {
		return s.inserted[p.from:p.to]
	}
	return s.page.body[p.from:p.to]
}

// keep takes a range of the page.
func (s *Splice) keep(from, to int) { s.add(spliced{int32(from), int32(to), false}) }

// Write takes inserted content.
func (s *Splice) Write(b []byte) (int, error) {
	from := len(s.inserted)
	if from+len(b) > math.MaxInt32 {
		return 0, io.ErrShortWrite
	}
	s.inserted = append(s.inserted, b...)
	s.add(spliced{int32(from), int32(from + len(b)), true})
	return len(b), nil
}

func (s *Splice) add(p spliced) {
	s.size += int(p.to - p.from)
	if n := len(s.pieces); n > 0 && s.pieces[n-1].inserted == p.inserted && s.pieces[n-1].to == p.from {
		s.pieces[n-1].to = p.to
		return
	}
	s.pieces = append(s.pieces, p)
}

// Given is what one answer brings to a page: see [Limits].
type Given struct {
	Policy *Policy  // its nonce is another one each time
	Values []string // of the visitor, for the slots of the program
}

// Splice finds what a program's edits match in the page and returns the edited
// page; it is what a rewriter of the program with the page's limits would write. It
// returns nil when the edits match so much that a rewriter needs less memory.
func (p *Page) Splice(program *Program, given Given) *Splice {
	r := program.pool.Get().(*Rewriter)
	s := &Splice{page: p}
	limits := p.limits
	limits.Policy, limits.Values = given.Policy, given.Values
	r.reset(s, limits)
	defer r.Release()
	r.splice, r.chunk, r.encoding, r.keeps = s, p.body, p.encoding, false
	defer func() { r.splice = nil }()
	f := &r.finder
	if !f.find(r, p) {
		return nil
	}
	f.ends, f.closing, f.tailGone = f.ends[:0], false, false
	for i := 0; i < len(f.hits) && r.bailed == NotBailed; {
		element := p.at(int32(f.hits[i] >> 32))
		r.endsBefore(p, p.elements[element].openedBy)
		if r.bailed != NotBailed {
			break
		}
		clear(r.seen.hits)
		for of := f.hits[i] >> 32; i < len(f.hits) && f.hits[i]>>32 == of; i++ {
			edit := uint32(f.hits[i])
			if edit == landmarkHit {
				continue
			}
			r.seen.hits[edit/64] |= 1 << (edit % 64)
		}
		r.openSpliced(p, element)
	}
	r.endsBefore(p, math.MaxInt32)
	if r.needs > 0 || r.late {
		r.giveUp()
		s.pieces, s.size, r.flushed, r.suppress, r.finder.closing = nil, 0, 0, 0, false
	}
	r.finishSplice(p)
	s.found = slices.Clone(r.Conflicts())
	s.matches = slices.Clone(r.matches)
	s.blocked = slices.Clone(r.police.blocked)
	s.bailed = r.Bailed()
	s.refused = r.Refused()
	if !r.untouched {
		s.slots, s.fills = program.fills, slices.Clone(r.fills)
	}
	if r.err != nil {
		return nil
	}
	return s
}

// at returns the element that is opened as the n-th.
func (p *Page) at(n int32) int32 {
	if p.opened == nil {
		return n
	}
	return p.opened[n]
}

// stand makes a range of the page the current token.
func (r *Rewriter) stand(p *Page, event, from, to int32) {
	if r.texts > 0 {
		r.runsBefore(p, from)
	}
	if event >= p.changed {
		r.encoding = p.later
	}
	r.start, r.end, r.tokenDone = int(from), int(to), false
	r.token = p.body[from:to]
	r.scan.nameStart, r.scan.record = 1, false
}

// openSpliced applies the edits in r.seen.hits to an element.
func (r *Rewriter) openSpliced(p *Page, n int32) {
	e := &p.elements[n]
	if r.stand(p, e.openedBy, e.start, e.tagEnd); r.bailed != NotBailed {
		return
	}
	where := place{name: e.name, leaf: e.flags&withoutEnd != 0, raw: e.flags&withText != 0}
	if e.flags&withoutTag != 0 {
		where.flags = implied
	}
	outer := r.suppress
	mark := p.landmark(n)
	where.policy = mark.policy != ""
	applied := r.apply(&where)
	if !mark.none() {
		r.meet(mark)
	}
	if applied < 0 {
		return
	}
	if where.leaf {
		r.endBehindWork(applied)
		return
	}
	r.finder.push(e.endedBy, n, applied)
	if e.flags&crossed == 0 || r.suppress == outer {
		return
	}
	// What is taken away holds the start tags of elements that end behind it.
	for at := p.openedAt(n) + 1; at < int32(len(p.elements)); at++ {
		inner := p.at(at)
		if p.elements[inner].openedBy > e.endedBy {
			break
		}
		if p.elements[inner].endedBy > e.endedBy {
			r.finder.push(p.elements[inner].endedBy, inner, -1)
		}
	}
}

// openedAt returns as the how many-th an element is opened.
func (p *Page) openedAt(n int32) int32 {
	if p.opened == nil {
		return n
	}
	at, _ := slices.BinarySearchFunc(p.opened, p.elements[n].openedBy, func(o, event int32) int { return int(p.elements[o].openedBy - event) })
	return int32(at)
}

// endsBefore ends the open elements whose end stands before an event.
func (r *Rewriter) endsBefore(p *Page, event int32) {
	f := &r.finder
	for len(f.ends) > 0 && f.ends[0].event < event && r.bailed == NotBailed {
		end := f.pop()
		e := &p.elements[end.element]
		r.endSpliced(p, e, end)
	}
}

func (r *Rewriter) endSpliced(p *Page, e *pageElement, end openEnd) {
	byTag := e.endTagEnd > e.end
	if e.end == p.tail && !byTag { // the page ended first
		if !r.finder.closing {
			r.finder.closing, r.finder.tailGone = true, r.suppress > 0
		}
		r.mute = p.mute
	}
	if r.stand(p, end.event, e.end, e.endTagEnd); r.bailed != NotBailed {
		return
	}
	open := element{work: end.work}
	if end.work < 0 {
		open.flags = hidden
	}
	switch {
	case byTag:
		r.endByTag(&open)
	case end.work >= 0:
		r.endByOther(&open)
	}
}

// finishSplice takes what stands behind the last edit.
func (r *Rewriter) finishSplice(p *Page) {
	r.start, r.mute = -1, false
	if r.finder.closing && r.finder.tailGone && r.bailed == NotBailed {
		r.flush(int(p.tail))
		return
	}
	r.flush(len(p.body))
}

// runsBefore replaces the text that stands before an offset.
func (r *Rewriter) runsBefore(p *Page, to int32) {
	if r.suppress > 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(p.runs, int32(r.flushed), func(t textRun, from int32) int { return int(t.from - from) })
	for ; at < len(p.runs) && p.runs[at].to <= to; at++ {
		t := p.runs[at]
		if p.mute && t.to == p.tail { // it ends with the page, in an element that does not
			r.checkRun(int(t.to - t.from))
			return
		}
		if t.from >= p.changedAt {
			r.encoding = p.later
		}
		r.flush(int(t.from))
		r.inRun, r.runAt = true, int64(t.from)
		r.start = int(t.to)
		if r.endRun(); r.bailed != NotBailed {
			return
		}
	}
}
