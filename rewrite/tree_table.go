package rewrite

// betweenCells reports whether the page stands in a table but not in a cell or
// caption of it.
func (r *Rewriter) betweenCells() bool {
	return r.open(tagTable) > max(r.open(tagTD), r.open(tagTH), r.open(tagCaption), r.open(tagTemplate))
}

// inTable reports whether the current element is a table or a part of one that
// holds no content itself.
func (r *Rewriter) inTable() bool {
	e := r.top()
	if e.flags&foreign != 0 {
		return false
	}
	switch e.name {
	case tagTable, tagTbody, tagThead, tagTfoot, tagTR:
		return r.open(tagTable) > r.open(tagTemplate)
	}
	return false
}

// parentFor returns the index of the parent that an element of t gets: the
// current element, or what is around the table if t may not stand in a table.
func (r *Rewriter) parentFor(t tag) int {
	top := len(r.stack) - 1
	if !r.inTable() {
		return top
	}
	switch t {
	case tagScript, tagStyle, tagTemplate, tagForm:
		return top
	case tagInput:
		if r.hiddenInput() {
			return top
		}
	default:
		if t.is(isTablePart) {
			return top
		}
	}
	return r.open(tagTable) - 1
}

func (r *Rewriter) hiddenInput() bool {
	a := r.attribute("type")
	return a != nil && foldEqual(r.value(a), "hidden")
}

// tablePart closes the parts of a table that end where t begins, and opens those
// between the table and t that have no tag. It reports whether t makes an element:
// outside a table it does not, but in what may be a part of a page (see the
// package's documentation) it does, since the table may be elsewhere.
func (r *Rewriter) tablePart(t tag) bool {
	table, template := r.open(tagTable), r.open(tagTemplate)
	if table <= template {
		return template != 0 || !r.doctype
	}
	section := max(r.open(tagTbody), r.open(tagThead), r.open(tagTfoot))
	switch t {
	case tagTD, tagTH:
		if row := r.open(tagTR); row > table && row > section {
			r.popTo(row + 1)
			return true
		}
		r.openSection(table, section)
		r.pushImplied(tagTR)
	case tagTR:
		r.openSection(table, section)
	case tagCol:
		if group := r.open(tagColgroup); group > table && group > section {
			r.popTo(group + 1)
			return true
		}
		r.popTo(table + 1)
		r.pushImplied(tagColgroup)
	default:
		r.popTo(table + 1)
	}
	return true
}

// openSection goes back to the section of a table, or opens one.
func (r *Rewriter) openSection(table, section int) {
	if section > table {
		r.popTo(section + 1)
		return
	}
	r.popTo(table + 1)
	r.pushImplied(tagTbody)
}
