package rewrite

import "github.com/sedge-proxy/sedge/decision"

// editTag writes the current start tag as its attribute and class edits make it,
// one edit after the other. Only bytes of the attributes that they name change.
func (r *Rewriter) editTag(edits []int32) {
	r.readAttrs()
	original, changed := r.token, 0
	for _, n := range edits {
		if len(r.scan.attrs) > r.scan.maxAttrs {
			break // more attributes than may be noted
		}
		e := &r.program.edits[n]
		tag, ok := r.changed(e, r.edited[changed%2][:0])
		r.noteAttribute(n, e, ok)
		if !ok {
			continue
		}
		r.edited[changed%2] = tag
		changed++
		r.token = tag
		r.scanAttrs(nil)
	}
	tag := r.token
	r.findFilled()
	r.token = original
	if changed == 0 {
		r.keepToken()
		return
	}
	r.dropToken()
	r.fillFilled()
	r.emit(tag)
}

// changed appends to dst the current tag as one edit makes it. It reports false
// if the edit changes nothing.
func (r *Rewriter) changed(e *edit, dst []byte) ([]byte, bool) {
	switch e.op {
	case decision.OpSetAttribute:
		if e.filled != nil {
			return r.setFilled(dst, e)
		}
		return r.setAttribute(dst, e.name, e.value)
	case decision.OpRemoveAttribute:
		return r.removeAttribute(dst, e.name)
	case decision.OpAddClass:
		return r.addClass(dst, e.value)
	case decision.OpRemoveClass:
		return r.removeClass(dst, e.value)
	}
	return dst, false
}

func (r *Rewriter) setAttribute(dst []byte, name, value string) ([]byte, bool) {
	tag, a := r.token, r.attribute(lower(name))
	switch {
	case a == nil:
		return r.newAttribute(dst, name, value), true
	case string(r.value(a)) == value:
		return dst, false
	case !a.equals:
		dst = append(append(dst, tag[:a.nameEnd]...), '=', '"')
		dst = append(r.appendValue(dst, value, '"'), '"')
		return append(dst, tag[a.nameEnd:]...), true
	}
	dst = append(dst, tag[:a.value]...)
	switch {
	case a.quote != 0:
		dst = r.appendValue(dst, value, a.quote)
	case a.value < a.end && isBare(value):
		dst = append(dst, value...)
	default:
		dst = append(r.appendValue(append(dst, '"'), value, '"'), '"')
	}
	return append(dst, tag[a.end:]...), true
}

// newAttribute adds an attribute behind the last one.
func (r *Rewriter) newAttribute(dst []byte, name, value string) []byte {
	dst, rest := r.attributeSpot(dst)
	dst = append(append(dst, ' '), name...)
	dst = append(r.appendValue(append(dst, '=', '"'), value, '"'), '"')
	return append(dst, rest...)
}

// attributeSpot appends the current tag up to behind its last attribute, and
// returns the rest.
func (r *Rewriter) attributeSpot(dst []byte) (_, rest []byte) {
	at, missing := int32(r.scan.nameEnd), false
	if n := len(r.scan.attrs); n > 0 {
		last := &r.scan.attrs[n-1]
		at = last.after()
		missing = last.equals && last.quote == 0 && last.value == last.end
	}
	dst = append(dst, r.token[:at]...)
	if missing { // it would take what follows for its value
		dst = append(dst, '"', '"')
	}
	return dst, r.token[at:]
}

// removeAttribute removes all attributes of a name: of several, the second would
// take the place of the first.
func (r *Rewriter) removeAttribute(dst []byte, name string) ([]byte, bool) {
	tag, done, name := r.token, int32(0), lower(name)
	for i := range r.scan.attrs {
		a := &r.scan.attrs[i]
		if !foldEqual(tag[a.name:a.nameEnd], name) {
			continue
		}
		from, to := a.name, a.after()
		if isSpace(tag[to]) || tag[to] == '/' || tag[to] == '>' {
			for isSpace(tag[from-1]) {
				from--
			}
		}
		dst = append(dst, tag[done:from]...)
		if tag[from-1] == '/' && tag[to] == '>' { // not to make it self-closing
			dst = append(dst, ' ')
		}
		done = to
	}
	if done == 0 {
		return dst, false
	}
	return append(dst, tag[done:]...), true
}

func (r *Rewriter) addClass(dst []byte, class string) ([]byte, bool) {
	tag, a := r.token, r.attribute("class")
	if a == nil || !a.equals || a.value == a.end {
		return r.setAttribute(dst, "class", class)
	}
	if hasWord(r.value(a), class) {
		return dst, false
	}
	dst = append(dst, tag[:a.value]...)
	quote := a.quote
	if quote == 0 {
		quote = '"'
		dst = append(dst, '"')
		for _, c := range tag[a.value:a.end] {
			if c == '"' {
				dst = append(dst, "&quot;"...)
			} else {
				dst = append(dst, c)
			}
		}
	} else {
		dst = append(dst, tag[a.value:a.end]...)
	}
	if !isSpace(tag[a.end-1]) {
		dst = append(dst, ' ')
	}
	dst = r.appendValue(dst, class, quote)
	if a.quote == 0 {
		dst = append(dst, '"')
	}
	return append(dst, tag[a.end:]...), true
}

func (r *Rewriter) removeClass(dst []byte, class string) ([]byte, bool) {
	tag, a := r.token, r.attribute("class")
	if a == nil || !hasWord(r.value(a), class) {
		return dst, false
	}
	dst = append(dst, tag[:a.value]...)
	from := len(dst)
	for i := a.value; i < a.end; {
		start := i
		for i < a.end && !isSpace(tag[i]) {
			i++
		}
		word := tag[start:i]
		for i < a.end && isSpace(tag[i]) {
			i++
		}
		r.scratch = appendUnescaped(r.scratch[:0], word)
		if string(r.scratch) != class {
			dst = append(dst, tag[start:i]...)
			continue
		}
		for i == a.end && len(dst) > from && isSpace(dst[len(dst)-1]) {
			dst = dst[:len(dst)-1]
		}
	}
	if a.quote == 0 && len(dst) == from {
		dst = append(dst, '"', '"')
	}
	return append(dst, tag[a.end:]...), true
}

// hasWord reports whether one of the words of value is word.
func hasWord(value []byte, word string) bool {
	for i := 0; i < len(value); {
		start := i
		for i < len(value) && !isSpace(value[i]) {
			i++
		}
		if i > start && string(value[start:i]) == word {
			return true
		}
		i++
	}
	return false
}

// isBare reports whether a value may stand without quotes.
func isBare(value string) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; !isLetter(c) && (c < '-' || c > ':') && c != '_' && c != '#' && c != '%' {
			return false
		}
	}
	return value != ""
}

// attribute returns the current tag's first attribute of a name, nil if it has none.
func (r *Rewriter) attribute(name string) *attr {
	r.readAttrs()
	for i := range r.scan.attrs {
		if a := &r.scan.attrs[i]; foldEqual(r.token[a.name:a.nameEnd], name) {
			return a
		}
	}
	return nil
}

// readAttrs notes all attributes of the current tag if the scan did not.
func (r *Rewriter) readAttrs() {
	if !r.scan.record || r.scan.wanted != nil {
		r.scanAttrs(nil)
	}
}

// readWanted notes the attributes of the current tag that selectors ask for if the
// scan did not.
func (r *Rewriter) readWanted() {
	if !r.scan.record {
		r.scanAttrs(r.program.wanted)
	}
}

func (r *Rewriter) scanAttrs(wanted *attrFilter) {
	nameStart := r.scan.nameStart
	r.scan.begin(nameStart, true)
	r.scan.wanted = wanted
	r.scan.whole(r.token, nameStart, 0)
}
