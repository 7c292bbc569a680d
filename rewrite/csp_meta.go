package rewrite

import "slices"

// landmark is a tag of a page that changes what its policies say to what follows.
type landmark struct {
	element int32  // of a compiled page
	policy  string // of <meta http-equiv="Content-Security-Policy">
	base    []byte // of <base href>
}

func (m *landmark) size() int { return 48 + len(m.policy) + len(m.base) }

func (m *landmark) none() bool { return m.policy == "" && len(m.base) == 0 }

// findLandmark looks at the current meta or base: what it says of the character set,
// and whether it is a landmark that somebody asks for.
func (r *Rewriter) findLandmark(where *place, matched bool) (m landmark) {
	if where.name == tagMeta && r.encoding == EncodingUnknown {
		if r.metaEncoding(); r.bailed != NotBailed {
			return m
		}
	}
	parent := &r.stack[where.parent]
	if parent.flags&inert != 0 || !r.program.policed && !matched && r.suppress == 0 && r.record == nil {
		return m
	}
	switch {
	case where.name == tagBase:
		if a := r.attribute("href"); a != nil && !r.police.hasBase { // the first one counts
			r.police.href = append(r.police.href[:0], r.value(a)...)
			m.base = r.police.href
		}
	case parent.name == tagHead && parent.flags&foreign == 0: // elsewhere a policy is none
		if a := r.attribute("http-equiv"); a == nil || !foldEqual(r.value(a), unreadName) {
			return m
		}
		if a := r.attribute("content"); a != nil {
			m.policy = string(r.value(a))
		}
	}
	return m
}

// meet takes a landmark into account that stands at the current token. A policy
// stays where it is, whatever takes its surroundings away.
func (r *Rewriter) meet(m landmark) {
	if r.record != nil {
		return
	}
	if outer := r.suppress; m.policy != "" && outer > 0 {
		r.cut()
		r.suppress = 0
		r.keepToken()
		r.suppress = outer
	}
	if !r.program.policed {
		return
	}
	d := &r.police
	switch before := len(d.found); {
	case m.policy != "":
		if d.found = d.bounds.meta(d.found, m.policy); len(d.found) > before {
			d.on, d.stale = true, true
		}
	case !d.hasBase && r.suppress == 0:
		d.href = append(d.href[:0], m.base...)
		d.hasBase, d.before, d.stale = true, before, d.on
	}
}

// setBase takes the address that others are relative to from a <base>, unless a
// policy in front of it forbids that.
func (d *policing) setBase() {
	href := parseAddress(string(d.href))
	d.href = d.href[:0]
	if href == nil || d.base == nil {
		return
	}
	base := d.base.ResolveReference(href)
	for i := range d.found[:d.before] {
		if list := d.found[i].lists[baseURI]; list != nil && !list.matches(base, d.policy.page) {
			return
		}
	}
	d.base = base
}

// landmark notes what an element of the page is.
func (b *pageBuilder) landmark(r *Rewriter, element int32, m landmark) {
	if m.none() {
		return
	}
	m.element, m.base = element, slices.Clone(m.base)
	b.page.marks = append(b.page.marks, m)
	if b.size += m.size(); b.size > int(r.limits.Page) {
		r.bail(BailedMemory)
	}
}

// stray notes a tag that makes no element.
func (b *pageBuilder) stray(r *Rewriter, t tag) {
	if b.strays != nil && (t == tagHTML || t == tagBody) && r.start >= 0 {
		b.strays = append(b.strays, textRun{int32(r.start), int32(r.end)})
	}
}

// landmark returns what an element is; mostly nothing.
func (p *Page) landmark(n int32) (m landmark) {
	if len(p.marks) == 0 {
		return m
	}
	at, found := slices.BinarySearchFunc(p.marks, p.elements[n].openedBy, func(m landmark, event int32) int {
		return int(p.elements[m.element].openedBy - event)
	})
	if !found {
		return m
	}
	return p.marks[at]
}
