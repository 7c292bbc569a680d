package rewrite

// staysForeign reports whether the tag of t, in the foreign element e, makes a
// foreign element. If not, foreign elements that the tag ends are closed.
func (r *Rewriter) staysForeign(e *element, t tag) bool {
	switch {
	case e.flags&htmlPoint != 0,
		e.flags&textPoint != 0 && t != tagMglyph && t != tagMalignmark,
		e.name == tagAnnotationXML && e.flags&mathML != 0 && t == tagSVG:
		return false
	case t.is(isBreakout), t == tagFont && r.styledFont():
		r.leaveForeign()
		return false
	}
	return true
}

// leaveForeign closes foreign elements up to one that may hold HTML.
func (r *Rewriter) leaveForeign() {
	for r.top().flags&foreign != 0 && r.top().flags&(textPoint|htmlPoint) == 0 {
		r.popTo(len(r.stack) - 1)
	}
}

func (r *Rewriter) styledFont() bool {
	return r.attribute("color") != nil || r.attribute("face") != nil || r.attribute("size") != nil
}

func (r *Rewriter) foreignPlace(t tag, math flags) place {
	p := place{name: t, parent: len(r.stack) - 1, flags: foreign | math, leaf: r.scan.selfClosing}
	switch t {
	case tagMI, tagMO, tagMN, tagMS, tagMtext:
		if math != 0 {
			p.flags |= textPoint
		}
	case tagAnnotationXML:
		if a := r.attribute("encoding"); math != 0 && a != nil {
			if v := r.value(a); foldEqual(v, "text/html") || foldEqual(v, "application/xhtml+xml") {
				p.flags |= htmlPoint
			}
		}
	case tagForeignObject, tagDesc, tagTitle:
		if math == 0 {
			p.flags |= htmlPoint
		}
	}
	return p
}
