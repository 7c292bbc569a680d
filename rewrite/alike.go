package rewrite

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/bits"
	"sort"
)

// A page that comes with other bytes each time is often the same but for a token, an
// id or a time. If it is as long as a page that is compiled, and differs only where
// nothing stands that says what the page is made of, its elements begin and end where
// those of the compiled page do; so the edits of that page are its own, put into its
// own bytes. Where there is any doubt the pages are not alike.

// Range is a part of a page's bytes.
type Range struct{ From, To int32 }

const (
	// maxDifferences bounds the ranges, and maxDiffering the bytes, in which pages that
	// are alike differ.
	maxDifferences = 64
	maxDiffering   = 4 << 10

	// tagReach is how far behind a "<" a letter may still make it the beginning of a tag
	// that the text of some element looks out for.
	tagReach = 16
)

// inertBytes may stand for one another where nothing looks at them: in text (1), and
// in the quoted value of an attribute (2). None of them is white space, or begins or
// ends anything.
var inertBytes = func() (out [256]byte) {
	for c := range 256 {
		if '0' <= c && c <= '9' || isLetter(byte(c)) {
			out[c] = 1 | 2
		}
	}
	for _, c := range "_.:,+=" {
		out[c] = 1 | 2
	}
	for _, c := range "-/%" {
		out[c] = 2
	}
	return out
}()

// isInertAttribute reports whether the values of an attribute say nothing of what a
// page is made of; "content" does so in a meta that speaks for a header.
func isInertAttribute(name []byte) bool {
	var buf [16]byte
	n := copy(buf[:], name)
	for i, c := range buf[:n] {
		buf[i] = lowerByte(c)
	}
	switch lowered := buf[:n]; {
	case bytes.HasPrefix(lowered, []byte("data-")), bytes.HasPrefix(lowered, []byte("aria-")):
		return true
	case len(name) > n:
		return false
	default:
		switch string(lowered) {
		case "content", "value", "nonce", "integrity", "href", "src", "srcset", "action", "alt", "title", "placeholder", "style", "datetime":
			return true
		}
	}
	return false
}

// Differences reports whether body is the same page but for what nobody asks a page
// for: elements, the names of their attributes, their ids and classes all stand where
// they do in the compiled page. The ranges in which the bytes differ are appended to
// room; none for the very same bytes. A program that [Program.ReadsText] may match
// something else in body all the same.
func (p *Page) Differences(room []Range, body []byte) (differ []Range, alike bool) {
	differ = room
	if len(body) != len(p.body) {
		return differ, false
	}
	differing := 0
	for at := commonLength(p.body, body); at < len(body); {
		from := at
		for at < len(body) && p.body[at] != body[at] {
			at++
		}
		differing += at - from
		if len(differ)-len(room) == maxDifferences || differing > maxDiffering || !p.isInert(from, at, body) {
			return differ, false
		}
		differ = append(differ, Range{int32(from), int32(at)})
		at += commonLength(p.body[at:], body[at:])
	}
	return differ, true
}

// commonLength returns how many bytes a and b, which are equally long, begin with alike.
func commonLength(a, b []byte) int {
	const block = 1 << 10
	at := 0
	for len(a)-at >= block && bytes.Equal(a[at:at+block], b[at:at+block]) {
		at += block
	}
	for ; len(a)-at >= 8; at += 8 {
		if x := binary.LittleEndian.Uint64(a[at:]) ^ binary.LittleEndian.Uint64(b[at:]); x != 0 {
			return at + bits.TrailingZeros64(x)/8
		}
	}
	for at < len(a) && a[at] == b[at] {
		at++
	}
	return at
}

// isInert reports whether a part of the page, and what stands there in body, says
// nothing of what either is made of.
func (p *Page) isInert(from, to int, body []byte) bool {
	if p.opened != nil || len(p.marks) > 0 {
		return false
	}
	use := byte(1 | 2)
	for i := from; i < to; i++ {
		use &= inertBytes[p.body[i]] & inertBytes[body[i]]
	}
	if use == 0 {
		return false
	}
	// The last element that is opened before it is the one whose tag, or text, it may be in.
	n := sort.Search(len(p.elements), func(i int) bool { return int(p.elements[i].start) > from }) - 1
	for ; n >= 0 && p.elements[n].flags&withoutTag != 0; n-- {
		// It was opened without a tag of its own.
	}
	if n < 0 {
		return false
	}
	e := &p.elements[n]
	switch {
	case from < int(e.tagEnd):
		return to <= int(e.tagEnd) && p.isInertValue(e, from, to)
	case use&1 == 0:
		return false
	case e.flags&withText != 0 && from < int(e.end) && e.name != tagTitle && e.name != tagTextarea:
		// Nothing in front of it may be waiting for letters.
		return to <= int(e.end) && bytes.IndexByte(p.body[max(int(e.tagEnd), from-tagReach):from], '<') < 0
	}
	at := sort.Search(len(p.runs), func(i int) bool { return int(p.runs[i].from) > from }) - 1
	if at < 0 || to > int(p.runs[at].to) {
		return false
	}
	start := int(p.runs[at].from)
	run, before := p.body[start:p.runs[at].to], p.body[max(0, start-tagReach):start]
	if before = before[bytes.LastIndexByte(before, '>')+1:]; bytes.IndexByte(before, '<') >= 0 {
		return false // which is text too, as long as it begins no tag
	}
	return bytes.IndexByte(run, '<') < 0 && bytes.IndexByte(run, '&') < 0
}

// isInertValue reports whether a part of the element's tag lies in the value of an
// attribute that says nothing of what the page is made of.
func (p *Page) isInertValue(e *pageElement, from, to int) bool {
	var room [16]attr
	s := tagScanner{attrs: room[:0], maxAttrs: len(p.body)}
	s.begin(1, true)
	token := p.body[e.start:e.tagEnd]
	if _, ok := s.whole(token, 1, 0); !ok {
		return false
	}
	from, to = from-int(e.start), to-int(e.start)
	inert := false
	for i := range s.attrs {
		a := &s.attrs[i]
		name := token[a.name:a.nameEnd]
		if e.name == tagMeta && (foldEqual(name, "http-equiv") || foldEqual(name, "charset")) {
			return false
		}
		inert = inert || a.quote != 0 && int(a.value) <= from && to <= int(a.end) && isInertAttribute(name)
	}
	return inert && e.name != tagBase
}

// ReadsText reports whether what the edits do depends on more of a page than on its
// elements, the names of their attributes, their ids and classes: on text, or on the
// values of other attributes.
func (p *Program) ReadsText() bool { return p.readsText }

// readsValue reports whether the tests ask for an attribute's value.
func (t *tests) readsValue() bool {
	for i := range t.attrs {
		if t.attrs[i].op != 0 {
			return true
		}
	}
	for _, lists := range [...][][]tests{t.is, t.not} {
		for _, list := range lists {
			for i := range list {
				if list[i].readsValue() {
					return true
				}
			}
		}
	}
	return false
}

// findReadsText sets what ReadsText says.
func (p *Program) findReadsText() {
	for i := range p.edits {
		p.readsText = p.readsText || p.edits[i].replace != nil
	}
	for i := range p.steps {
		p.readsText = p.readsText || p.steps[i].tests.readsValue()
	}
}

// Covers reports whether all of the ranges stand in the edited page as they stand in
// the page as it came. Then nothing that was made of them can be in what is inserted.
func (s *Splice) Covers(ranges []Range) bool {
	for _, r := range ranges {
		if !s.covers(r) {
			return false
		}
	}
	return true
}

func (s *Splice) covers(r Range) bool {
	for _, p := range s.pieces {
		if !p.inserted && p.from <= r.From && r.To <= p.to {
			return true
		}
	}
	return false
}

// WriteOver writes the edited page to w, made of a page that is alike (see
// [Page.Differences]) in ranges that the splice covers.
func (s *Splice) WriteOver(w io.Writer, body []byte) (int64, error) {
	var written int64
	for _, p := range s.pieces {
		part := body
		if p.inserted {
			part = s.inserted
		}
		n, err := w.Write(part[p.from:p.to])
		written += int64(n)
		if err != nil {
			return written, err
		}
		if n < int(p.to-p.from) {
			return written, io.ErrShortWrite
		}
	}
	return written, nil
}
