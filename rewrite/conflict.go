package rewrite

import "github.com/sedge-proxy/sedge/decision"

// Conflict says that an edit of one experience had no effect on elements because
// an edit of another experience hid it: the element was taken away, its content or
// an attribute was set once more.
type Conflict struct {
	Edit  int   // the edit without effect
	By    int   // the edit that hides it
	Count int   // the elements concerned
	First int64 // offset of the first one in the page as it came; -1 where no page is known
}

// maxConflicts bounds how many pairs of edits are told apart on one page.
const maxConflicts = 32

// conflicts notes which edits hid others on a page.
type conflicts struct {
	found  []Conflict
	slotBy []int32 // by slot: the latest edit of the element that sets it, + 1
	hider  int32   // the edit that takes the content away in which the page stands
}

func (c *conflicts) reset() { c.found = c.found[:0] }

// Conflicts returns which edits had no effect because of others, as far as was
// seen: at most 32 pairs. It is valid until Release.
func (r *Rewriter) Conflicts() []Conflict {
	if r.untouched {
		return nil
	}
	return r.found
}

// Conflicts returns the pairs of edits that are in conflict wherever they match:
// those of pages with the same selector. What else meets on a page [Rewriter.Conflicts]
// tells.
func (p *Program) Conflicts() []Conflict {
	var c conflicts
	same := make(map[string][]int32)
	for n := range p.edits {
		if e := &p.edits[n]; e.apply && e.kind == decision.BodyHTML {
			same[e.selector] = append(same[e.selector], int32(n))
		}
	}
	for n := range p.edits { // in the order of the edits
		if list := same[p.edits[n].selector]; p.edits[n].kind == decision.BodyHTML && len(list) > 1 && list[0] == int32(n) {
			c.element(p, list, -1)
		}
	}
	return c.found
}

// note notes that an edit is hidden by another one.
func (c *conflicts) note(p *Program, edit, by int32, at int64) {
	if p.edits[edit].experience == p.edits[by].experience {
		return
	}
	for i := range c.found {
		if f := &c.found[i]; f.Edit == int(edit) && f.By == int(by) {
			f.Count++
			return
		}
	}
	if len(c.found) < maxConflicts {
		c.found = append(c.found, Conflict{int(edit), int(by), 1, at})
	}
}

// element notes which edits of one element hide each other. It takes as many steps
// as there are edits.
func (c *conflicts) element(p *Program, edits []int32, at int64) {
	if !p.mixed {
		return
	}
	inner, gone := int32(-1), int32(-1)
	for _, n := range edits {
		switch op := p.edits[n].op; {
		case op == decision.OpReplace, op == decision.OpRemove && (gone < 0 || p.edits[gone].op == decision.OpRemove):
			gone = n
		case op == decision.OpSetInner:
			inner = n
		}
	}
	for i := len(edits) - 1; i >= 0; i-- {
		n := edits[i]
		e := &p.edits[n]
		by := int32(-1)
		switch {
		case gone >= 0:
			if n != gone && e.op != decision.OpBefore && e.op != decision.OpAfter && !(e.op == decision.OpRemove && p.edits[gone].op == decision.OpRemove) {
				by = gone
			}
		case inner >= 0 && (e.op == decision.OpReplaceText || n < inner && (e.op == decision.OpPrepend || e.op == decision.OpAppend || e.op == decision.OpSetInner)):
			by = inner
		case e.ofTag:
			by = c.slot(p, n, e)
		}
		if by >= 0 {
			c.note(p, n, by, at)
		}
	}
	for _, n := range edits {
		if e := &p.edits[n]; e.ofTag && len(c.slotBy) > 0 {
			c.slotBy[e.slot] = 0
		}
	}
}

// slot notes that an edit sets an attribute or a class, and returns the later edit
// that sets it otherwise, -1 for none.
func (c *conflicts) slot(p *Program, n int32, e *edit) int32 {
	if len(c.slotBy) < p.slots {
		c.slotBy = make([]int32, p.slots)
	}
	by := c.slotBy[e.slot] - 1
	if by < 0 && (e.op == decision.OpAddClass || e.op == decision.OpRemoveClass) && p.classSlot >= 0 {
		by = c.slotBy[p.classSlot] - 1
	}
	if by < 0 {
		c.slotBy[e.slot] = n + 1
		return -1
	}
	if later := &p.edits[by]; later.op == e.op && later.value == e.value {
		return -1
	}
	return by
}
