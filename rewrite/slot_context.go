package rewrite

import (
	"bytes"
	"fmt"
	"strings"
)

// slotState is where the walk over an edit's HTML stands.
type slotState byte

const (
	slotData slotState = iota
	slotTagOpen
	slotEndOpen
	slotTagName
	slotBeforeName
	slotAttrName
	slotAfterName
	slotBeforeValue
	slotDouble
	slotSingle
	slotBare
	slotAfterValue
	slotSlash
	slotBang
	slotComment
	slotBogus
	slotRaw
)

// slotWalker walks over the HTML of an edit by the states of the standard's
// tokenizer and says for each slot how its value is escaped. Where HTML means
// different things in different places of a page (the content of <title> is markup
// inside <svg>), it takes only what is safe in all of them.
type slotWalker struct {
	out   []byte // what is written, since the last slot
	state slotState
	empty bool   // nothing was written so far
	doubt string // why nothing is sure any more

	element string
	isEnd   bool
	attr    []byte
	values  map[string]string // of the attributes that say what an element is
	raw     []byte            // of the value or text, since the last slot
	value   *slotValue        // the value, once it has a slot
	from    int               // where the value begins in out
	bare    bool              // the value had no quotes, and has got some
	bang    []byte
	comment byte

	rawName string
	rawText []byte    // all of it
	code    *codeWalk // script or style, once it has a slot

	at   int // column of the last slot
	risk bool
}

// slotRefusal says why a slot cannot stand where it stands.
type slotRefusal string

func (r slotRefusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return slotRefusal(fmt.Sprintf(format, args...)) }

// htmlSlots compiles HTML with slots.
func htmlSlots(parts []slotPart) (*slotted, error) {
	w := slotWalker{empty: true}
	s := &slotted{bare: true}
	fail := func(err error) error { return &EditError{Field: "html", Column: w.at, Message: err.Error()} }
	for i := 0; i < len(parts); i += 2 {
		if err := w.feed(parts[i].content); err != nil {
			return nil, fail(err)
		}
		s.bare = s.bare && strings.IndexByte(parts[i].content, '<') < 0
		if i+1 == len(parts) {
			if w.value != nil {
				return nil, fail(refuse("the slot stands in an attribute value that is not closed"))
			}
			s.add(w.out, parts, i, 0, false)
			break
		}
		w.at = parts[i+1].at
		escape, err := w.slot(parts[i+1].slot)
		if err != nil {
			return nil, fail(err)
		}
		s.add(w.out, parts, i, escape, w.empty && len(w.out) == 0)
		w.empty = w.empty && len(w.out) == 0
		w.out = nil
	}
	s.loads = w.risk
	return s, nil
}

// feed walks over content.
func (w *slotWalker) feed(content string) error {
	for i := 0; i < len(content); i++ {
		if err := w.step(content[i]); err != nil {
			return err
		}
		w.out = append(w.out, content[i])
	}
	return nil
}

func (w *slotWalker) step(c byte) error {
	switch w.state {
	case slotData:
		if c == '<' {
			w.state, w.raw = slotTagOpen, w.raw[:0]
		} else {
			w.raw = append(w.raw, c)
		}
	case slotTagOpen, slotEndOpen, slotTagName:
		w.stepTag(c)
	case slotBeforeName, slotAttrName, slotAfterName, slotSlash, slotAfterValue:
		w.stepName(c)
	case slotBeforeValue:
		w.stepBeforeValue(c)
	case slotDouble, slotSingle, slotBare:
		return w.stepValue(c)
	case slotBang:
		w.stepBang(c)
	case slotComment:
		w.stepComment(c)
	case slotBogus:
		if c == '>' {
			w.text()
		}
	case slotRaw:
		w.stepRaw(c)
	}
	return nil
}

// text goes on among elements.
func (w *slotWalker) text() { w.state, w.raw = slotData, w.raw[:0] }

func (w *slotWalker) stepTag(c byte) {
	switch {
	case w.state == slotTagName && isSpace(c):
		w.state = slotBeforeName
	case w.state == slotTagName && c == '/':
		w.state = slotSlash
	case w.state == slotTagName && c == '>':
		w.finishTag()
	case w.state == slotTagName:
		w.element += string([]byte{lowerByte(c)})
	case isLetter(c):
		w.isEnd = w.state == slotEndOpen
		w.state, w.element, w.values = slotTagName, string([]byte{lowerByte(c)}), map[string]string{}
	case w.state == slotTagOpen && c == '/':
		w.state = slotEndOpen
	case w.state == slotTagOpen && c == '!':
		w.state, w.bang = slotBang, w.bang[:0]
	case w.state == slotTagOpen && c == '<': // text, and another beginning
	case w.state == slotEndOpen && c == '>':
		w.text()
	case w.state == slotEndOpen || c == '?':
		w.state = slotBogus
		if c == '>' {
			w.text()
		}
	default:
		w.text()
		w.raw = append(w.raw, c)
	}
}

func (w *slotWalker) stepName(c byte) {
	switch {
	case c == '>':
		if w.state == slotAttrName || w.state == slotAfterName {
			w.noteAttr("")
		}
		w.finishTag()
	case c == '/':
		if w.state == slotAttrName || w.state == slotAfterName {
			w.noteAttr("")
		}
		w.state = slotSlash
	case isSpace(c):
		switch w.state {
		case slotAttrName:
			w.state = slotAfterName
		case slotAfterName:
		default:
			w.state = slotBeforeName
		}
	case c == '=' && (w.state == slotAttrName || w.state == slotAfterName):
		w.state = slotBeforeValue
	case w.state == slotAttrName:
		w.attr = append(w.attr, lowerByte(c))
	default:
		if w.state == slotAfterName {
			w.noteAttr("")
		}
		w.state, w.attr = slotAttrName, append(w.attr[:0], lowerByte(c))
	}
}

func (w *slotWalker) stepBeforeValue(c byte) {
	w.raw, w.value, w.bare = w.raw[:0], nil, false
	switch {
	case isSpace(c):
	case c == '"':
		w.state = slotDouble
	case c == '\'':
		w.state = slotSingle
	case c == '>':
		w.noteAttr("")
		w.finishTag()
	default:
		w.state, w.from = slotBare, len(w.out)
		w.raw = append(w.raw, c)
	}
}

func (w *slotWalker) stepValue(c byte) error {
	switch {
	case w.state == slotDouble && c == '"', w.state == slotSingle && c == '\'':
		w.state = slotAfterValue
		return w.endValue()
	case w.state == slotBare && (isSpace(c) || c == '>'):
		w.state = slotBeforeName
		if err := w.endValue(); err != nil {
			return err
		}
		if w.bare {
			w.out = append(w.out, '"')
		}
		if c == '>' {
			w.finishTag()
		}
		return nil
	}
	if w.bare && c == '"' {
		return refuse("the slot stands in a value without quotes that has a quote in it; put the value in quotes")
	}
	w.raw = append(w.raw, c)
	return nil
}

// endValue ends an attribute's value.
func (w *slotWalker) endValue() error {
	if w.value == nil {
		w.noteAttr(string(appendUnescaped(nil, w.raw)))
		return nil
	}
	err := w.value.end(string(appendUnescaped(nil, w.raw)))
	w.value = nil
	return err
}

// noteAttr keeps the first value of an attribute that says what an element is.
func (w *slotWalker) noteAttr(value string) {
	switch name := string(w.attr); name {
	case "type", "language":
		if _, again := w.values[name]; !again {
			w.values[name] = strings.ToLower(strings.TrimSpace(value))
		}
	}
	w.attr = w.attr[:0]
}

func (w *slotWalker) finishTag() {
	w.text()
	if w.isEnd {
		return
	}
	switch w.element {
	case "plaintext":
		w.doubt = "behind <plaintext>, where everything is text"
	case "title", "textarea", "style", "script", "noscript", "iframe", "noembed", "noframes", "xmp":
		w.state, w.rawName, w.rawText, w.code = slotRaw, w.element, w.rawText[:0], nil
	}
}

func (w *slotWalker) stepRaw(c byte) {
	if c == '>' || c == '/' || isSpace(c) {
		end := len(w.rawText) - len(w.rawName) - len("</")
		if end >= 0 && string(w.rawText[end:end+2]) == "</" && foldEqual(w.rawText[end+2:], w.rawName) {
			if bytes.IndexByte(w.rawText[:end], '<') >= 0 && w.doubt == "" {
				w.doubt = fmt.Sprintf("behind a <%s> with a %q in it, which not all places of a page read alike; put it in front, or into an edit of its own", w.rawName, "<")
			}
			w.isEnd, w.state = true, slotBeforeName
			w.raw = w.raw[:0]
			w.stepName(c)
			return
		}
	}
	w.raw = append(w.raw, c)
	w.rawText = append(w.rawText, c)
}

func (w *slotWalker) stepBang(c byte) {
	w.bang = append(w.bang, c)
	switch {
	case string(w.bang) == "-":
	case string(w.bang) == "--":
		w.state, w.comment = slotComment, commentStart
	default:
		if w.bang[0] == '[' {
			w.doubt = "behind \"<![\", which not all places of a page read alike"
		}
		w.state = slotBogus
		if c == '>' {
			w.text()
		}
	}
}

func (w *slotWalker) stepComment(c byte) {
	switch {
	case w.comment == commentText && c == '-':
		w.comment = commentDash
	case w.comment == commentText:
	case w.comment == commentDash && c == '-':
		w.comment = commentEnd
	case w.comment == commentDash:
		w.comment = commentText
	case c == '>':
		w.text()
	default:
		w.comment = afterDashes(w.comment, c)
	}
}
