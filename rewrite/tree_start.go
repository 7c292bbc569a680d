package rewrite

// This file follows the parts of the tree construction rules that decide which
// elements a start tag closes and where its element stands
// (https://html.spec.whatwg.org/multipage/parsing.html#tree-construction).

// place says what a start tag does.
type place struct {
	name   tag
	parent int   // index of the element's parent
	flags  flags // of the element
	none   bool  // the tag makes no element
	leaf   bool  // the element has no content
	raw    bool  // the element's content is text
	policy bool  // the element is a <meta> with a policy
}

// startTag handles the current token, a start tag.
func (r *Rewriter) startTag() {
	name := r.token[r.scan.nameStart:r.scan.nameEnd]
	t := tag(r.program.tags.find(name))
	if t < 0 {
		t = r.pages.find(name, true)
		if r.pages.size() > int(r.limits.Memory) {
			r.bail(BailedMemory)
			return
		}
	}
	if len(r.stack) >= r.limits.Depth {
		r.bail(BailedDepth)
		return
	}
	if p := r.program; int(t) < len(p.attrsOf) && p.attrsOf[t] {
		r.readWanted()
		if len(r.token)+len(r.scan.attrs)*attrSize > int(r.limits.Memory) {
			r.bail(BailedMemory)
			return
		}
	}
	where := r.place(t)
	if where.none || r.bailed != NotBailed {
		if r.record != nil {
			r.record.stray(r, t)
		}
		return
	}
	r.element(&where)
}

// element matches the element of the current start tag, applies its edits and
// opens it.
func (r *Rewriter) element(where *place) {
	matched := false
	if r.stack[where.parent].flags&inert == 0 {
		r.count(where.name, where.parent)
		matched = r.match(where.name, where.parent, true)
		r.sibling(where.parent)
	} else {
		clear(r.seen.self)
	}
	var mark landmark
	if (where.name == tagMeta || where.name == tagBase) && where.flags&foreign == 0 {
		if mark = r.findLandmark(where, matched); r.bailed != NotBailed {
			return
		}
		where.policy = mark.policy != ""
	}
	if r.suppress > 0 {
		where.flags |= hidden
	}
	applied := int32(-1)
	switch {
	case r.record != nil:
		applied = r.record.open(r, where)
		r.record.landmark(r, applied, mark)
	case matched:
		applied = r.apply(where)
	}
	if !mark.none() {
		r.meet(mark)
	}
	if where.leaf {
		if r.record == nil {
			r.endLeaf(applied)
		}
		return
	}
	r.push(where.name, where.parent, where.flags)
	r.top().work = applied
	switch {
	case where.raw:
		r.openRaw(where.name)
	case where.name == tagHead && r.stage == inHead && r.head == 0:
		r.head = len(r.stack) - 1
	}
}

// endLeaf ends an element without content whose edits are at an index of works, -1
// for none.
func (r *Rewriter) endLeaf(applied int32) {
	if applied < 0 {
		return
	}
	r.endBehindWork(applied)
	r.applied = r.applied[:r.works[applied].from]
	r.works = r.works[:applied]
}

// openRaw switches the scanner to the text that the element holds.
func (r *Rewriter) openRaw(t tag) {
	s := &r.scan
	s.raw = tagInfos[t].name
	switch t {
	case tagScript:
		s.mode, s.state, s.dash = inScript, scriptPlain, 0
	case tagPlaintext:
		s.mode = inPlain
	default:
		s.mode = inRaw
	}
}

// place closes what the start tag of t closes and says where its element goes.
func (r *Rewriter) place(t tag) place {
	if e := r.top(); e.flags&foreign != 0 && r.staysForeign(e, t) {
		return r.foreignPlace(t, e.flags&mathML)
	}
	if r.stage < inBody {
		switch r.prelude(t) {
		case tagIgnored:
			return place{none: true}
		case tagOpens:
			return place{name: t, parent: len(r.stack) - 1}
		}
	}
	if r.inColgroup() && t != tagCol && t != tagTemplate {
		r.popTo(len(r.stack) - 1)
	}
	if t >= knownTags {
		return place{name: t, parent: r.parentFor(t)}
	}
	return r.htmlPlace(t)
}

func (r *Rewriter) htmlPlace(t tag) (p place) {
	traits := tagInfos[t].traits
	p.leaf, p.raw = traits&isVoid != 0, traits&isRaw != 0
	if p.raw && r.ambiguous(t) {
		r.bail(BailedAmbiguous)
		return p
	}
	if traits&isTablePart != 0 && !r.tablePart(t) {
		p.none = true
		return p
	}
	if traits&closesP != 0 {
		r.startBlock(t)
	}
	switch t {
	case tagHTML, tagHead, tagBody:
		p.none = true
	case tagFrameset:
		p.none = r.stage != inFrameset
	case tagForm:
		inTemplate := r.open(tagTemplate) != 0
		if p.none = r.form && !inTemplate; p.none {
			return p
		}
		r.form = r.form || !inTemplate
		p.leaf = r.betweenCells() // a form in a table is empty: its content moves out
	default:
		r.startInline(t)
	}
	switch t {
	case tagImage:
		t = tagImg
	case tagSVG:
		p.flags = foreign
		p.leaf = r.scan.selfClosing
	case tagMath:
		p.flags = foreign | mathML
		p.leaf = r.scan.selfClosing
	case tagSelect:
		if at := r.open(tagSelect); at != 0 && at > int(r.top().barrier) {
			r.popTo(at)
			p.none = true
		}
	}
	p.name, p.parent = t, r.parentFor(t)
	return p
}

// ambiguous reports whether browsers differ in whether the content of t is text:
// in select, where older ones drop the tag, and beside frames.
func (r *Rewriter) ambiguous(t tag) bool {
	if r.stage == inFrameset {
		return t != tagNoframes
	}
	at := r.open(tagSelect)
	return at != 0 && at > r.open(tagTemplate) && t != tagScript && t != tagTextarea
}

// verdict is what the part of a page before the body says to a start tag.
type verdict byte

const (
	tagGoesOn  verdict = iota // the rules of the body apply
	tagOpens                  // it opens html, head, body or frameset
	tagIgnored                // it makes no element
)

// prelude opens html, head and body where the tag of t implies them.
func (r *Rewriter) prelude(t tag) verdict {
	if r.stage == beforeHTML {
		r.stage = beforeHead
		if t == tagHTML {
			return tagOpens
		}
		r.pushImplied(tagHTML)
	}
	if t == tagHTML {
		return tagIgnored
	}
	if r.stage == beforeHead {
		r.stage = inHead
		if t == tagHead {
			return tagOpens
		}
		r.pushImplied(tagHead)
		r.head = len(r.stack) - 1
	}
	switch {
	case t == tagHead:
		return tagIgnored
	case len(r.stack)-1 != r.head, // in a template
		t.is(isHeadPart) && (t != tagNoscript || r.top().flags&ended == 0): // behind head, noscript is a part of body
		return tagGoesOn
	}
	r.popTo(r.head)
	switch t {
	case tagBody:
		r.stage = inBody
		return tagOpens
	case tagFrameset:
		r.stage = inFrameset
		return tagOpens
	}
	r.stage = inBody
	r.pushImplied(tagBody)
	return tagGoesOn
}

// startBlock closes what a block closes: an open p, and items before an item.
func (r *Rewriter) startBlock(t tag) {
	switch {
	case t == tagTable && r.quirks:
	case t == tagLI:
		if hard := int(r.top().hard); r.isHTML(hard, tagLI) {
			r.popTo(hard)
		}
		r.closeP()
	case t == tagDD || t == tagDT:
		if hard := int(r.top().hard); r.isHTML(hard, tagDD) || r.isHTML(hard, tagDT) {
			r.popTo(hard)
		}
		r.closeP()
	case t == tagForm && (r.form && r.open(tagTemplate) == 0 || r.betweenCells()):
	case t.isHeading():
		r.closeP()
		if e := r.top(); e.name.isHeading() && e.flags&foreign == 0 {
			r.popTo(len(r.stack) - 1)
		}
	case t == tagHr:
		r.closeP()
		if r.open(tagSelect) > int(r.top().barrier) {
			r.closeOptions(true)
		}
	default:
		r.closeP()
	}
}

// isHTML reports whether the element at an index is an HTML element of a name.
func (r *Rewriter) isHTML(at int, name tag) bool {
	return r.stack[at].name == name && r.stack[at].flags&foreign == 0
}

// closeP closes a p in button scope.
func (r *Rewriter) closeP() {
	if at := r.open(tagP); at > max(int(r.top().barrier), r.open(tagButton)) {
		r.popTo(at)
	}
}

// closeOptions closes an option that is the current element, and an optgroup.
func (r *Rewriter) closeOptions(group bool) {
	if r.isHTML(len(r.stack)-1, tagOption) {
		r.popTo(len(r.stack) - 1)
	}
	if group && r.open(tagSelect) != 0 && r.isHTML(len(r.stack)-1, tagOptgroup) {
		r.popTo(len(r.stack) - 1)
	}
}

// startInline closes what start tags close that do not close a p.
func (r *Rewriter) startInline(t tag) {
	barrier := int(r.top().barrier)
	switch t {
	case tagA, tagNobr:
		if at := r.open(t); at > barrier {
			r.endFormatting(at, false)
		}
	case tagButton:
		if at := r.open(tagButton); at > barrier {
			r.popTo(at)
		}
	case tagOption:
		r.closeOptions(false)
	case tagOptgroup:
		r.closeOptions(true)
	case tagRB, tagRTC:
		if r.open(tagRuby) > barrier {
			r.closeImplied(tagNone)
		}
	case tagRP, tagRT:
		if r.open(tagRuby) > barrier {
			r.closeImplied(tagRTC)
		}
	case tagInput, tagKeygen, tagTextarea:
		if at := r.open(tagSelect); at > barrier {
			r.popTo(at)
		}
	case tagTable:
		if r.betweenCells() {
			r.popTo(r.open(tagTable))
		}
	}
}

// closeImplied closes current elements whose end tags are implied, but not one
// named but.
func (r *Rewriter) closeImplied(but tag) {
	for {
		e := r.top()
		if e.flags&foreign != 0 || e.name == but || !e.name.is(isImplied) {
			return
		}
		r.popTo(len(r.stack) - 1)
	}
}

// endFormatting ends an a, b, … that is closed, perhaps in the wrong order: if
// blocks inside it are still open they stay so.
func (r *Rewriter) endFormatting(at int, byTag bool) {
	switch {
	case int(r.top().special) > at:
		r.remove(at, byTag)
	case byTag:
		r.closeAt(at)
	default:
		r.popTo(at)
	}
}
