package rewrite

// endTag handles the current token, an end tag: it closes the element that the
// standard says it closes, and those inside it, or none.
func (r *Rewriter) endTag() {
	name := r.token[r.scan.nameStart:r.scan.nameEnd]
	if e := r.top(); r.stage == inBody && r.scan.mode == inText && e.flags&(foreign|ended) == 0 &&
		e.name.endsPlainly() && foldEqual(name, tagInfos[e.name].name) {
		r.endByTag(e)
		r.pop()
		return
	}
	t := tag(r.program.tags.find(name))
	if t < 0 {
		t = r.pages.find(name, false)
	}
	if r.scan.mode == inRaw || r.scan.mode == inScript {
		r.scan.mode = inText
		r.closeAt(len(r.stack) - 1)
		return
	}
	if t == tagNone { // no element of that name is open; but a colgroup ends in front of it
		if r.inColgroup() {
			r.popTo(len(r.stack) - 1)
		}
		return
	}
	if r.top().flags&foreign != 0 && r.foreignEnd(t) {
		return
	}
	if r.stage < inBody && !r.preludeEnd(t) {
		return
	}
	if r.inColgroup() && t != tagColgroup && t != tagCol && t != tagTemplate {
		r.popTo(len(r.stack) - 1)
	}
	r.htmlEnd(t)
}

// foreignEnd handles an end tag inside foreign content. It reports false where
// the rules of HTML apply.
func (r *Rewriter) foreignEnd(t tag) bool {
	if t == tagBr || t == tagP {
		r.leaveForeign()
		return false
	}
	last := r.last[1]
	if int(t) < len(last) && last[t] > r.top().html {
		r.closeAt(int(last[t]))
		return true
	}
	return false
}

// preludeEnd handles an end tag in front of the body. It reports whether the
// rules of the body apply.
func (r *Rewriter) preludeEnd(t tag) bool {
	atHead := len(r.stack) == 1 || r.stage == beforeHead || len(r.stack)-1 == r.head
	switch {
	case !atHead:
		return t != tagHead && t != tagBody && t != tagHTML
	case t == tagHead:
		if r.stage < inHead {
			r.openHead()
		}
		r.endInPlace(r.head, true)
		return false
	case t == tagBody || t == tagHTML || t == tagBr:
		r.openBody()
		return true
	}
	return false
}

// openHead opens html and head where the page does not.
func (r *Rewriter) openHead() {
	r.prelude(tagHead)
	r.pushImplied(tagHead)
	r.head = len(r.stack) - 1
}

func (r *Rewriter) htmlEnd(t tag) {
	top := r.top()
	barrier := int(top.barrier)
	at := r.open(t)
	switch {
	case t == tagBody || t == tagHTML:
		r.endBody(t)
		return
	case t == tagHead || t == tagFrameset && r.stage != inFrameset:
		return
	case t == tagForm:
		r.endForm(at, barrier)
		return
	case t == tagBr:
		r.countImplied(tagBr)
		return
	case t == tagP:
		if at <= max(barrier, r.open(tagButton)) {
			r.countImplied(tagP)
			return
		}
	case t == tagLI:
		barrier = max(barrier, r.open(tagOL), r.open(tagUL))
	case t.isHeading():
		at = max(r.open(tagH1), r.open(tagH2), r.open(tagH3), r.open(tagH4), r.open(tagH5), r.open(tagH6))
	case t == tagTable || t.is(isTablePart):
		barrier = r.open(tagTemplate)
		if t != tagTable && r.open(tagTable) > barrier {
			barrier = r.open(tagTable)
		}
		if at == barrier {
			return
		}
	case t == tagTemplate:
		barrier = 0
	case t.is(isFormatting):
		if at > barrier {
			r.endFormatting(at, true)
		}
		return
	case t.is(scopedEnd):
		if t.is(isBarrier) && at == barrier {
			barrier = at - 1
		}
	default:
		if barrier = int(top.special); at == barrier {
			barrier = at - 1
		}
	}
	if at > barrier && at > 0 {
		r.closeAt(at)
	}
}

// endBody ends body, or body and html. Both stay on the stack: what follows
// belongs to the body all the same.
func (r *Rewriter) endBody(t tag) {
	body := r.open(tagBody)
	if r.stage == inFrameset {
		if at := r.open(tagHTML); t == tagHTML && at != 0 && len(r.stack)-1 == at {
			r.endInPlace(at, true)
		}
		return
	}
	if body != 0 {
		if int(r.top().barrier) > body {
			return // in a table cell or the like
		}
		r.popTo(body + 1)
		r.endInPlace(body, t == tagBody)
	}
	if at := r.open(tagHTML); t == tagHTML && at != 0 && int(r.top().barrier) == at {
		r.endInPlace(at, true)
	}
}

// endForm closes the form, which need not be the innermost element.
func (r *Rewriter) endForm(at, barrier int) {
	inTemplate := r.open(tagTemplate) != 0
	if !inTemplate {
		if !r.form {
			return
		}
		r.form = false
	}
	if at <= barrier {
		return
	}
	if r.closeImplied(tagNone); inTemplate || at == len(r.stack)-1 {
		r.closeAt(at)
		return
	}
	r.remove(at, true)
}

// countImplied counts the empty element that a stray </p> or </br> makes.
func (r *Rewriter) countImplied(t tag) {
	parent := r.parentFor(t)
	if r.stack[parent].flags&inert != 0 {
		return
	}
	r.count(t, parent)
	r.match(t, parent, false)
	r.sibling(parent)
	if r.record != nil {
		r.record.ghost(r, t, parent)
	}
}

// doctypeToken notes whether the page is in quirks mode, in which a table does
// not close a p.
func (r *Rewriter) doctypeToken() {
	if r.doctype || r.stage != beforeHTML {
		return
	}
	r.doctype = true
	r.scratch = r.scratch[:0]
	for _, c := range r.token {
		r.scratch = append(r.scratch, lowerByte(c))
	}
	r.quirks = quirky(r.scratch)
}
