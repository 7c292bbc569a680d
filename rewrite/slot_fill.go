package rewrite

import (
	"encoding/binary"
	"slices"

	"github.com/sedge-proxy/sedge/decision"
)

// filler notes what values a rewriter has written, and where.
type filler struct {
	fills   []fill
	inTag   []int32 // edits that set an attribute of the current tag to values
	tagged  []fill  // the values in the current tag, by offset in it
	refused int
}

// fill is a value in the page that is written.
type fill struct {
	at       int64
	length   int32
	number   int32
	escape   slotEscape
	utf8Page bool
	first    bool
}

func (f *filler) reset() {
	f.fills, f.inTag, f.tagged, f.refused = f.fills[:0], f.inTag[:0], f.tagged[:0], 0
	if cap(f.fills) > keptDepth {
		f.fills = nil
	}
}

// numberSlots gives the slots of an edit their numbers in the program. Edits share a
// slot, but for offers: what one answer offers is nothing to the next one's edits.
func (c *compiler) numberSlots(edit int32, s *slotted) {
	if s == nil {
		return
	}
	for i := range s.pieces {
		p := &s.pieces[i]
		if p.number < 0 {
			continue
		}
		p.slot = p.slot.of(edit)
		p.number = c.numberSlot(p.slot)
	}
}

func (c *compiler) numberSlot(slot Slot) int32 {
	n := slices.Index(c.p.fills, slot)
	if n < 0 {
		n = len(c.p.fills)
		c.p.fills = append(c.p.fills, slot)
	}
	return int32(n)
}

// Slots returns the slots of all edits that are applied or only matched, each
// once. It must not be changed.
func (p *Program) Slots() []Slot { return p.fills }

// Refused returns how often content with slots was left out because the element
// that was found is no place for it: a script or style, or an element that would
// load what a slot's address names.
func (r *Rewriter) Refused() int { return r.refused }

// slotText returns the text for a slot.
func slotText(slots []Slot, values []string, number int32) string {
	value := slots[number].Fallback
	if int(number) < len(values) && values[number] != "" {
		value = values[number]
	}
	return cleanSlotValue(value)
}

// insertContent writes the content of an edit inside an element of the name in, if
// that holds text, else among elements.
func (r *Rewriter) insertContent(e *edit, in tag) {
	if e.police != nil && in == tagNone && r.refusesContent(e) {
		return
	}
	if e.filled == nil {
		if e.police != nil && in == tagNone && r.police.on && len(e.police.pieces) > 0 && !r.mute {
			r.insertPieces(e.police.pieces)
			return
		}
		r.insert(e.content(r, in))
		return
	}
	switch {
	case r.mute || r.suppress > 0 || r.untouched:
		return
	case in != tagNone && in != tagTitle && in != tagTextarea, in != tagNone && !e.filled.bare:
		r.refused++
		return
	}
	r.insertPieces(e.filled.pieces)
}

// insertPieces writes content with its slots filled, and with the nonces that the
// page's policy asks for.
func (r *Rewriter) insertPieces(pieces []slotPiece) {
	for i := range pieces {
		p := &pieces[i]
		r.emit(r.pieceMarkup(p))
		if p.nonce > 0 {
			r.coded = r.appendNonce(r.coded[:0], p.nonce)
			r.emit(r.coded)
		}
		if p.number < 0 {
			continue
		}
		f := fill{at: r.out, number: p.number, escape: p.escape, utf8Page: r.encoding == EncodingUTF8, first: p.first}
		r.coded = r.appendFill(r.coded[:0], &f)
		r.emit(r.coded)
		r.fills = append(r.fills, f)
	}
}

// pieceMarkup returns a piece as the page writes it, valid until the next call.
func (r *Rewriter) pieceMarkup(p *slotPiece) []byte {
	switch {
	case r.encoding == EncodingUTF8 || len(p.ascii) == len(p.utf8):
		return p.utf8
	case r.encoding.table() == nil:
		return p.ascii
	}
	r.coded = r.appendMarkup(r.coded[:0], string(p.utf8))
	return r.coded
}

func (r *Rewriter) appendFill(dst []byte, f *fill) []byte {
	from := len(dst)
	dst = appendSlot(dst, f.escape, slotText(r.program.fills, r.limits.Values, f.number), f.utf8Page, f.first)
	f.length = int32(len(dst) - from)
	return dst
}

// setFilled sets an attribute to a value with slots. The value always stands in
// double quotes, whatever the page wrote.
func (r *Rewriter) setFilled(dst []byte, e *edit) ([]byte, bool) {
	tag := r.token
	if e.filled.loads && loadsCode(lower(string(tag[r.scan.nameStart:r.scan.nameEnd]))) {
		r.refused++
		return dst, false
	}
	a := r.attribute(lower(e.name))
	var rest []byte
	switch {
	case a == nil:
		dst, rest = r.attributeSpot(dst)
		dst = append(append(append(dst, ' '), e.name...), '=')
	case !a.equals:
		dst, rest = append(append(dst, tag[:a.nameEnd]...), '='), tag[a.nameEnd:]
	case a.quote != 0:
		dst, rest = append(dst, tag[:a.value-1]...), tag[a.end+1:]
	default:
		dst, rest = append(dst, tag[:a.value]...), tag[a.end:]
	}
	dst = append(r.appendFilledValue(append(dst, '"'), e), '"')
	return append(dst, rest...), true
}

// appendFilledValue appends an attribute's value with its slots filled, and notes
// where these stand.
func (r *Rewriter) appendFilledValue(dst []byte, e *edit) []byte {
	for i := range e.filled.pieces {
		p := &e.filled.pieces[i]
		dst = r.appendValue(dst, string(p.utf8), '"')
		if p.number >= 0 {
			f := fill{number: p.number, escape: p.escape, utf8Page: r.encoding == EncodingUTF8}
			dst = r.appendFill(dst, &f)
		}
	}
	return dst
}

// noteAttribute keeps which edits gave the current tag values that still stand in it.
func (r *Rewriter) noteAttribute(n int32, e *edit, changed bool) {
	if len(r.program.fills) == 0 || e.op != decision.OpSetAttribute && e.op != decision.OpRemoveAttribute {
		return
	}
	if e.filled == nil || changed {
		r.inTag = slices.DeleteFunc(r.inTag, func(other int32) bool { return r.program.edits[other].slot == e.slot })
	}
	if e.filled != nil && changed {
		r.inTag = append(r.inTag, n)
	}
}

// findFilled notes where the values stand in the tag that all edits have made.
func (r *Rewriter) findFilled() {
	r.tagged = r.tagged[:0]
	for _, n := range r.inTag {
		e := &r.program.edits[n]
		a := r.attribute(lower(e.name))
		if a == nil {
			continue
		}
		at := int64(a.value)
		for i := range e.filled.pieces {
			p := &e.filled.pieces[i]
			r.coded = r.appendValue(r.coded[:0], string(p.utf8), '"')
			at += int64(len(r.coded))
			if p.number < 0 {
				continue
			}
			f := fill{at: at, number: p.number, escape: p.escape, utf8Page: r.encoding == EncodingUTF8}
			r.coded = r.appendFill(r.coded[:0], &f)
			at += int64(f.length)
			r.tagged = append(r.tagged, f)
		}
	}
	r.inTag = r.inTag[:0]
}

// fillFilled notes the values of the tag that is written next.
func (r *Rewriter) fillFilled() {
	if r.suppress > 0 || r.untouched {
		return
	}
	for _, f := range r.tagged {
		f.at += r.out
		r.fills = append(r.fills, f)
	}
	slices.SortFunc(r.fills, func(a, b fill) int { return int(a.at - b.at) })
}

// Template says where the values of one visitor stood in a page, which were cut
// out of it, so that the values of another one can stand there. It does not change.
type Template struct {
	slots []Slot
	holes []fill // by offset in the page with its values cut out
}

// Template cuts the visitor's values out of a page that the rewriter has written
// from its beginning to its end. It returns the page as it is, and nil, when none
// stand in it.
func (r *Rewriter) Template(page []byte) ([]byte, *Template) {
	if len(r.fills) == 0 || r.untouched {
		return page, nil
	}
	return cutTemplate(r.program.fills, slices.Clone(r.fills), page)
}

// cutTemplate cuts values out of the page that they were filled into.
func cutTemplate(slots []Slot, fills []fill, page []byte) ([]byte, *Template) {
	t := &Template{slots: slots, holes: fills}
	cut := make([]byte, 0, len(page))
	from := int64(0)
	for i := range t.holes {
		h := &t.holes[i]
		cut = append(cut, page[from:h.at]...)
		from = h.at + int64(h.length)
		h.at = int64(len(cut))
	}
	return append(cut, page[from:]...), t
}

// Cut returns where an offset in the page that the template was made of stands
// in the page with the values cut out.
func (t *Template) Cut(offset int64) int64 {
	gone := int64(0)
	for i := range t.holes {
		h := &t.holes[i]
		if h.at+gone >= offset {
			break
		}
		gone += min(int64(h.length), offset-h.at-gone)
	}
	return offset - gone
}

// AppendShape appends what tells two templates apart whose pages are the same once
// the values are cut out: where values stand, and in what form.
func (t *Template) AppendShape(dst []byte) []byte {
	for i := range t.holes {
		h := &t.holes[i]
		fallback := t.slots[h.number].Fallback
		dst = binary.AppendVarint(dst, h.at)
		dst = binary.AppendUvarint(dst, uint64(h.number))
		dst = append(dst, byte(h.escape), flagByte(h.utf8Page), flagByte(h.first))
		dst = append(binary.AppendUvarint(dst, uint64(len(fallback))), fallback...)
	}
	return dst
}

func flagByte(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// Size returns about how many bytes the template takes in memory.
func (t *Template) Size() int { return 64 + 40*len(t.holes) }

// AppendTo appends a page with a visitor's values, which stand in the order of
// [Program.Slots], to dst. Offsets in the page without values become, in the same
// slice, offsets in what is appended; those below 0 stay.
func (t *Template) AppendTo(dst, page []byte, values []string, offsets []int64) []byte {
	from := int64(0)
	moved := slices.Clone(offsets)
	for i := range t.holes {
		h := &t.holes[i]
		dst = append(dst, page[from:h.at]...)
		from = h.at
		start := len(dst)
		dst = appendSlot(dst, h.escape, slotText(t.slots, values, h.number), h.utf8Page, h.first)
		for j, offset := range offsets {
			if offset > h.at {
				moved[j] += int64(len(dst) - start)
			}
		}
	}
	copy(offsets, moved)
	return append(dst, page[from:]...)
}
