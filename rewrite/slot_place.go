package rewrite

import "bytes"

// unfinishedReference reports whether text ends in what may be the beginning of a
// character reference, of which a value could make another one.
func unfinishedReference(raw []byte) bool {
	i := len(raw)
	for i > 0 && (isLetter(raw[i-1]) || isDigit(raw[i-1]) || raw[i-1] == '#') {
		i--
	}
	return i > 0 && raw[i-1] == '&'
}

// slot says how a slot's value is escaped where the walk stands.
func (w *slotWalker) slot(s *Slot) (escape slotEscape, err error) {
	if w.doubt != "" {
		return 0, refuse("the slot stands %s", w.doubt)
	}
	if unfinishedReference(w.raw) {
		switch w.state {
		case slotData, slotDouble, slotSingle, slotBare, slotRaw:
			return 0, refuse(`the slot stands behind a "&" that may begin a character reference; write &amp;`)
		}
	}
	switch w.state {
	case slotData:
		w.raw = w.raw[:0]
		return escapeHTML, nil
	case slotBeforeValue, slotDouble, slotSingle, slotBare:
		return w.slotInValue(s)
	case slotRaw:
		return w.slotInRaw()
	case slotTagOpen, slotEndOpen, slotTagName:
		return 0, refuse("a slot cannot be the name of a tag, or stand behind \"<\"; write &lt; for the character")
	case slotComment, slotBogus, slotBang:
		return 0, refuse("a slot cannot stand in a comment")
	}
	return 0, refuse("a slot cannot be the name of an attribute; give the attribute a name and a value in quotes")
}

func (w *slotWalker) slotInValue(s *Slot) (slotEscape, error) {
	if w.isEnd {
		return 0, refuse("a slot cannot stand in an end tag")
	}
	if w.state == slotBeforeValue {
		w.raw, w.value, w.bare = w.raw[:0], nil, true
		w.state, w.out = slotBare, append(w.out, '"')
	} else if w.state == slotBare && !w.bare {
		if bytes.ContainsAny(w.raw, "\"'`=<") {
			return 0, refuse("the slot stands in a value without quotes that has one of \" ' ` = < in it; put the value in quotes")
		}
		w.bare = true
		w.out = append(w.out[:w.from:w.from], append([]byte{'"'}, w.out[w.from:]...)...)
	}
	if w.value == nil {
		v, err := newSlotValue(w.element, string(w.attr))
		if err != nil {
			return 0, err
		}
		w.value = v
		w.attr = w.attr[:0]
	}
	literal := string(appendUnescaped(nil, w.raw))
	w.raw = w.raw[:0]
	return w.value.slot(literal, s)
}

func (w *slotWalker) slotInRaw() (slotEscape, error) {
	if bytes.IndexByte(w.rawText, '<') >= 0 {
		return 0, refuse("the slot stands behind a \"<\" in <%s>, which not all places of a page read alike; put it into an element of its own in front", w.rawName)
	}
	switch w.rawName {
	case "title", "textarea", "noscript":
		w.raw = w.raw[:0]
		return escapeHTML, nil
	case "script", "style":
	default:
		return 0, refuse("a slot cannot stand in <%s>: nothing can be escaped there", w.rawName)
	}
	for i := 0; i+1 < len(w.raw); i++ {
		if w.raw[i] == '&' && (isLetter(w.raw[i+1]) || w.raw[i+1] == '#') {
			return 0, refuse("the slot stands behind a \"&\" that is a character reference in some places of a page; put a space behind it")
		}
	}
	if w.code == nil {
		w.code = &codeWalk{}
		if w.rawName == "style" {
			w.code.language = codeStyle
		} else {
			language, err := scriptLanguage(w.values)
			if err != nil {
				return 0, err
			}
			w.code.language = language
		}
	}
	w.code.feed(string(w.raw))
	w.raw = w.raw[:0]
	return w.code.slot()
}

// scriptLanguage says what a script element holds.
func scriptLanguage(values map[string]string) (codeLanguage, error) {
	if _, ok := values["language"]; ok {
		return 0, refuse("a slot cannot stand in a script with the attribute language; use type")
	}
	switch kind := values["type"]; kind {
	case "", "module", "text/javascript", "application/javascript", "text/ecmascript", "application/ecmascript":
		return codeScript, nil
	case "application/json", "application/ld+json":
		return codeJSON, nil
	default:
		return 0, refuse("a slot cannot stand in a script of the type %q; it can in JavaScript, application/json and application/ld+json", kind)
	}
}
