package rewrite

import "bytes"

// Most tags of a page do nothing but open or close an element: no other element
// ends there, and none is implied. This file deals with runs of such tags at once,
// without the detours that the rest need. What it does is what step would do; where
// there is any doubt it leaves the tag to step.

// opening says how the start tag of an element may be dealt with here.
type opening byte

const (
	openNever   opening = iota // not here
	openAlways                 // whatever is open
	openOutside                // unless a p is open, which it would end
	openAlone                  // unless another one of its kind is open
	openItem                   // unless a p, or in its list another item, is open
	openHeading                // unless a p, or directly a heading, is open
)

// plainTag is what this file has to know of an element.
type plainTag struct {
	opening opening
	closes  bool // its end tag ends it, if it is the innermost element
	holds   bool // other elements may stand in it
	void    bool
	special bool // as in element
	hard    bool
}

// plainTags holds the known elements.
var plainTags = func() (out [knownTags]plainTag) {
	for t := tagNone + 1; t < knownTags; t++ {
		traits := tagInfos[t].traits
		out[t] = plainTag{
			opening: openingOf(t),
			closes:  t.endsPlainly(),
			holds:   !holdsNothing(t),
			void:    traits&isVoid != 0,
			special: traits&isSpecial != 0,
			hard:    traits&isSpecial != 0 && t != tagAddress && t != tagDiv && t != tagP,
		}
	}
	return out
}()

// holdsNothing reports whether what stands in t does not simply become its child.
func holdsNothing(t tag) bool {
	switch t {
	case tagTable, tagTbody, tagThead, tagTfoot, tagTR, tagColgroup:
		return true
	}
	return false
}

func openingOf(t tag) opening {
	traits := tagInfos[t].traits
	if traits&(isRaw|isTablePart|isBarrier|isHeadPart) != 0 {
		return openNever
	}
	switch t {
	case tagHTML, tagHead, tagBody, tagFrameset, tagForm, tagHr, tagSelect, tagImage, tagSVG, tagMath, tagTable,
		tagOption, tagOptgroup, tagRB, tagRTC, tagRP, tagRT, tagInput, tagKeygen, tagDD, tagDT, tagPlaintext:
		return openNever
	case tagA, tagNobr, tagButton:
		return openAlone
	case tagLI:
		return openItem
	}
	switch {
	case t.isHeading():
		return openHeading
	case traits&closesP != 0:
		return openOutside
	}
	return openAlways
}

// mayPassPlainly reports whether passPlain knows what tags mean where the page stands.
func (r *Rewriter) mayPassPlainly() bool {
	return r.stage == inBody && r.scan.mode == inText && r.texts == 0 && !r.inRun && r.record == nil && r.gone == 0
}

// passPlain deals with plain tags from pos on. It returns where it found something
// else: at a "<", or at text in front of the chunk's end.
func (r *Rewriter) passPlain(pos int) int {
	data := r.chunk
	for {
		n := bytes.IndexByte(data[pos:], '<')
		if n < 0 || pos+n+2 >= len(data) {
			return pos
		}
		e := &r.stack[len(r.stack)-1]
		if e.flags&(foreign|ended|inert) != 0 || e.name < knownTags && !plainTags[e.name].holds {
			return pos
		}
		at := pos + n
		if data[at+1] == '/' {
			pos = r.closePlain(e, at)
		} else {
			pos = r.openPlain(e, at)
		}
		if pos < 0 {
			return at
		}
		if r.texts > 0 || r.bailed != NotBailed || r.err != nil {
			return pos
		}
	}
}

// closePlain ends the innermost element by the tag at an index. It returns the
// index behind the tag, -1 if that is not all that the tag does.
func (r *Rewriter) closePlain(e *element, at int) int {
	if e.name < knownTags && !plainTags[e.name].closes {
		return -1
	}
	n := 0
	if rest := r.chunk[at+2:]; int(e.name) < len(r.program.tags.names) {
		if name := r.program.tags.names[e.name]; len(rest) > len(name) && string(rest[:len(name)]) == name {
			n = len(name)
		}
	} else if name := r.pages.name(int32(e.name - r.pages.base)); bytes.HasPrefix(rest, name) {
		n = len(name)
	}
	end := at + 2 + n
	if n == 0 || end >= len(r.chunk) || r.chunk[end] != '>' {
		return -1
	}
	end++
	r.work += 2
	if e.work < 0 && e.flags&hidden == 0 {
		r.last[0][e.name] = e.prev
		if e.types != 0 {
			r.types.drop(e.types)
		}
		r.stack = r.stack[:len(r.stack)-1]
		return end
	}
	r.token, r.start, r.end, r.tokenDone = r.chunk[at:end], at, end, false
	r.endByTag(e)
	r.pop()
	return end
}

// openPlain opens the element of the tag at an index. It returns the index behind
// the tag, -1 if that is not all that the tag does.
func (r *Rewriter) openPlain(top *element, at int) int {
	data, p := r.chunk, r.program
	nameEnd := at + 1
	if !isLetter(data[nameEnd]) {
		return -1
	}
	for nameEnd < len(data) && tagBytes[data[nameEnd]] <= equalsByte {
		nameEnd++
	}
	t := tag(p.tags.find(data[at+1 : nameEnd]))
	if t < 0 {
		t = r.pages.find(data[at+1:nameEnd], false)
	}
	if t <= tagNone || t < knownTags && !r.opensPlainly(t, top) || len(r.stack) >= r.limits.Depth {
		return -1
	}
	s := &r.scan.tagScanner
	s.begin(1, p.attrsAll || int(t) < len(p.attrsOf) && p.attrsOf[t])
	s.wanted = p.wanted
	end, ok := s.whole(data, nameEnd, -at)
	if !ok || end-at+len(s.attrs)*attrSize > int(r.limits.Memory) {
		return -1
	}
	r.work += 2
	r.token, r.start, r.end, r.tokenDone = data[at:end], at, end, false
	parent := len(r.stack) - 1
	if r.counted {
		r.count(t, parent)
	} else {
		top.children++
	}
	where := place{name: t, parent: parent, leaf: t < knownTags && plainTags[t].void}
	matched := r.match(t, parent, true)
	if p.siblings {
		r.sibling(parent)
	}
	if r.suppress > 0 {
		where.flags |= hidden
	}
	applied := int32(-1)
	if matched {
		applied = r.apply(&where)
	}
	if where.leaf {
		r.endLeaf(applied)
	} else {
		r.pushPlain(t, applied, where.flags)
	}
	return end
}

// opensPlainly reports whether the start tag of t ends nothing where the page stands.
func (r *Rewriter) opensPlainly(t tag, top *element) bool {
	switch plainTags[t].opening {
	case openAlways:
		return true
	case openOutside:
		return r.last[0][tagP] == 0
	case openAlone:
		return r.last[0][t] == 0
	case openItem:
		return r.last[0][tagP] == 0 && r.stack[top.hard].name != tagLI
	case openHeading:
		return r.last[0][tagP] == 0 && !top.name.isHeading()
	}
	return false
}

// pushPlain opens an HTML element that is no barrier inside the innermost one.
func (r *Rewriter) pushPlain(t tag, work int32, f flags) {
	at := int32(len(r.stack))
	below := &r.stack[at-1]
	for int(t) >= len(r.last[0]) {
		r.last[0] = append(r.last[0], 0)
	}
	e := element{name: t, prev: r.last[0][t], barrier: below.barrier, special: below.special, hard: below.hard, html: at, work: work, flags: f}
	if t < knownTags {
		if plainTags[t].special {
			e.special = at
		}
		if plainTags[t].hard {
			e.hard = at
		}
	}
	r.last[0][t] = at
	r.stack = append(r.stack, e)
	r.pushBits(int(at), int(at-1))
}
