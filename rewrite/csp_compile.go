package rewrite

import (
	"slices"

	"github.com/sedge-proxy/sedge/decision"
)

// policed is what a page's policy has a say in of one edit.
type policed struct {
	edit   int32
	from   int32 // what it needs is Program.needs from here on, up to to
	to     int32
	pieces []slotPiece // its content, cut where a nonce may be inserted; not for slots, whose pieces are cut
	tag    bool        // it changes what a script, style or link of the page is
}

// Policed reports whether some edit inserts or changes a script or style, so that a
// page's policy decides whether it is applied.
func (p *Program) Policed() bool { return p.policed }

// police finds what a policy has a say in of an edit that was compiled.
func (c *compiler) police(e *edit, source *decision.Edit, number int32, target [][]part) {
	if !e.apply {
		return
	}
	q := &policed{edit: number, from: int32(len(c.p.needs))}
	switch e.op {
	case decision.OpReplaceText:
		c.policeReplacement(e)
	case decision.OpSetAttribute, decision.OpRemoveAttribute:
		c.policeAttribute(e, q, target)
	default:
		c.policeContent(e, q)
		inside := e.op == decision.OpPrepend || e.op == decision.OpAppend || e.op == decision.OpSetInner
		q.tag = inside && names(target, "script", "style")
	}
	q.to = int32(len(c.p.needs))
	if q.to > q.from || q.tag {
		e.police, c.p.policed = q, true
	}
}

// policeContent looks at the HTML of an edit, as it is written around its slots.
func (c *compiler) policeContent(e *edit, q *policed) {
	if e.text != nil {
		return
	}
	pieces := []slotPiece{{utf8: e.utf8, ascii: e.ascii, number: -1}}
	if e.filled != nil {
		pieces = e.filled.pieces
	}
	var content []byte
	var holes []int
	for i := range pieces {
		content = append(content, pieces[i].utf8...)
		if pieces[i].number >= 0 {
			holes = append(holes, len(content))
			content = append(content, 'x')
		}
	}
	spots := c.contentNeeds(content, holes, false)
	if len(spots) == 0 {
		return
	}
	cut := cutPieces(pieces, spots)
	if e.filled != nil {
		e.filled.pieces = cut
		return
	}
	q.pieces = cut
}

// contentNeeds adds the needs of content to the program's.
func (c *compiler) contentNeeds(content []byte, holes []int, groups bool) []nonceSpot {
	needs, spots := contentNeeds(content, holes, groups)
	for i := range spots {
		spots[i].need += int32(len(c.p.needs)) + 1
	}
	c.p.needs = append(c.p.needs, needs...)
	return spots
}

// cutPieces cuts pieces where a nonce may stand.
func cutPieces(pieces []slotPiece, spots []nonceSpot) (cut []slotPiece) {
	at := 0
	for _, p := range pieces {
		rest := p.utf8
		for len(spots) > 0 && spots[0].at <= at+len(rest) {
			n := spots[0].at - at
			cut = append(cut, newPiece(rest[:n], spots[0].need))
			at, rest, spots = at+n, rest[n:], spots[1:]
		}
		if at += len(rest); p.number >= 0 {
			at++ // what stood for the slot
		}
		p.utf8, p.ascii = rest, newPiece(rest, 0).ascii
		cut = append(cut, p)
	}
	return cut
}

func newPiece(content []byte, nonce int32) slotPiece {
	p := slotPiece{utf8: content, ascii: content, number: -1, nonce: nonce}
	if !isASCII(content) {
		p.ascii = appendReferences(nil, string(content))
	}
	return p
}

// policeReplacement looks at the HTML of replace_text.
func (c *compiler) policeReplacement(e *edit) {
	if !e.replace.isHTML {
		return
	}
	var content []byte
	var holes []int
	for _, p := range e.replace.parts {
		if p.group < 0 {
			content = append(content, p.content...)
			continue
		}
		holes = append(holes, len(content))
		content = append(content, 'x')
	}
	spots := c.contentNeeds(content, holes, true)
	var parts []replacementPart
	at := 0
	for _, p := range e.replace.parts {
		if p.group >= 0 {
			parts = append(parts, p)
			at++
			continue
		}
		for len(spots) > 0 && spots[0].at <= at+len(p.content) {
			n := spots[0].at - at
			parts = append(parts, replacementPart{content: p.content[:n], group: -1, nonce: spots[0].need})
			at, p.content, spots = at+n, p.content[n:], spots[1:]
		}
		at += len(p.content)
		parts = append(parts, p)
	}
	e.replace.parts = parts
}

// policedAttributes decide what a script, style or link is.
var policedAttributes = []string{"src", "href", "xlink:href", "type", "language", "rel", "as", "nonce", "integrity"}

// policeAttribute looks at an attribute that is set or removed.
func (c *compiler) policeAttribute(e *edit, q *policed, target [][]part) {
	name := lower(e.name)
	if e.op == decision.OpSetAttribute {
		if n, ok := attributeNeed(name, e.value, e.filled == nil); ok {
			c.p.needs = append(c.p.needs, n)
		}
	}
	q.tag = slices.Contains(policedAttributes, name) && mayBe(target, "script", "style", "link")
}

// names reports whether a selector asks for one of the elements by name.
func names(list [][]part, elements ...string) bool {
	for _, parts := range list {
		comp := &parts[len(parts)-1].comp
		if slices.Contains(elements, comp.tag) {
			return true
		}
		for _, either := range comp.is {
			for i := range either {
				if slices.Contains(elements, either[i].tag) {
					return true
				}
			}
		}
	}
	return false
}

// mayBe reports whether a selector may match one of the elements.
func mayBe(list [][]part, elements ...string) bool {
	for _, parts := range list {
		comp := &parts[len(parts)-1].comp
		if comp.tag == "" || slices.Contains(elements, comp.tag) {
			return true
		}
	}
	return false
}
