package rewrite

import (
	"math/bits"

	"github.com/sedge-proxy/sedge/decision"
)

// work is an element whose edits are applied, while it is open.
type work struct {
	from   int32 // its edits are Rewriter.applied from here on, up to to
	to     int32
	gone   bool // replaced or removed
	inner  bool // its own content is taken away
	unwrap bool // its tags are taken away
	texts  bool // text inside it is replaced
	raw    tag  // the element, if its content is text
}

// apply counts the edits that matched the current element and applies them as far
// as its start tag goes. It returns the index of its work, -1 when nothing has to
// be done with it later.
func (r *Rewriter) apply(where *place) int32 {
	in, out := r.inOffset(), r.outOffset()
	if r.untouched {
		out = in
	}
	w := work{from: int32(len(r.applied))}
	if where.raw {
		w.raw = where.name
	}
	tagEdits := false
	for i, set := range r.seen.hits {
		for ; set != 0; set &= set - 1 {
			n := int32(i*64 + bits.TrailingZeros64(set))
			e := &r.program.edits[n]
			if e.ofTag && where.flags&implied != 0 {
				continue // there is no tag to work on
			}
			refused := e.apply && r.suppress == 0 && (e.police != nil || where.raw || where.policy) && r.refuses(n, where)
			m := &r.matches[n]
			if m.Count++; m.Count == 1 {
				m.First, m.FirstOut = in, out
				if e.required && !refused {
					r.matchedRequired()
				}
			}
			if !e.apply || refused {
				continue
			}
			if r.suppress > 0 {
				r.note(r.program, n, r.hider, in)
				continue
			}
			r.applied = append(r.applied, n)
			switch e.op {
			case decision.OpReplace, decision.OpRemove:
				w.gone = true
			case decision.OpSetInner:
				w.inner = true
			case decision.OpUnwrap:
				w.unwrap = true
			case decision.OpReplaceText:
				w.texts = !where.leaf
			}
			tagEdits = tagEdits || e.ofTag
		}
	}
	w.to = int32(len(r.applied))
	if w.to == w.from {
		return -1
	}
	w.inner = (w.inner || w.gone) && !where.leaf
	w.unwrap = w.unwrap && !w.gone
	if w.texts {
		r.countTexts(&w, 1)
	}
	if edits := r.applied[w.from:w.to]; len(edits) > 1 {
		r.conflicts.element(r.program, edits, in)
	}
	r.works = append(r.works, w)
	r.writeStart(&w, where, tagEdits)
	return int32(len(r.works) - 1)
}

// writeStart writes what the edits make of a start tag: what stands before it, the
// tag, and what stands first in the element.
func (r *Rewriter) writeStart(w *work, where *place, tagEdits bool) {
	r.cut()
	edits := r.applied[w.from:w.to]
	for _, n := range edits {
		if e := &r.program.edits[n]; e.op == decision.OpBefore {
			r.insertContent(e, tagNone)
		}
	}
	switch {
	case where.flags&implied != 0:
		if w.gone {
			r.insertReplacement(edits)
		}
	case w.gone:
		r.dropToken()
		r.insertReplacement(edits)
	case w.unwrap:
		r.dropToken()
	case tagEdits:
		r.editTag(edits)
	default:
		r.keepToken()
	}
	if !w.gone && !where.leaf {
		r.insertFirst(w, edits)
	}
	if w.inner {
		r.suppress++
		r.hider = r.hides(edits)
	}
}

// hides returns the edit that takes an element's content away.
func (r *Rewriter) hides(edits []int32) (by int32) {
	for _, n := range edits {
		switch r.program.edits[n].op {
		case decision.OpReplace, decision.OpRemove:
			return n
		case decision.OpSetInner:
			by = n
		}
	}
	return by
}

// insertReplacement writes what the last replace puts in the element's place.
func (r *Rewriter) insertReplacement(edits []int32) {
	for i := len(edits) - 1; i >= 0; i-- {
		if e := &r.program.edits[edits[i]]; e.op == decision.OpReplace {
			r.insertContent(e, tagNone)
			return
		}
	}
}

// insertFirst writes what stands in front of the element's content, or in its
// place.
func (r *Rewriter) insertFirst(w *work, edits []int32) {
	inner := lastInner(&r.program.edits, edits)
	for i := len(edits) - 1; i > inner; i-- {
		if e := &r.program.edits[edits[i]]; e.op == decision.OpPrepend {
			r.insertContent(e, w.raw)
		}
	}
	if inner >= 0 {
		r.insertContent(&r.program.edits[edits[inner]], w.raw)
	}
}

// lastInner returns the index of the last set_inner among edits, -1 if there is
// none: edits of the content before it have no effect.
func lastInner(all *[]edit, edits []int32) int {
	for i := len(edits) - 1; i >= 0; i-- {
		if (*all)[edits[i]].op == decision.OpSetInner {
			return i
		}
	}
	return -1
}

// endContent writes what the edits of an element put at the end of its content.
func (r *Rewriter) endContent(e *element) {
	w := &r.works[e.work]
	if w.inner {
		r.suppress--
	}
	if w.texts {
		r.countTexts(w, -1)
	}
	if w.gone {
		return
	}
	edits := r.applied[w.from:w.to]
	for _, n := range edits[lastInner(&r.program.edits, edits)+1:] {
		if ed := &r.program.edits[n]; ed.op == decision.OpAppend {
			r.insertContent(ed, w.raw)
		}
	}
}

// endBehind writes what the edits of an element put behind it.
func (r *Rewriter) endBehind(e *element) { r.endBehindWork(e.work) }

func (r *Rewriter) endBehindWork(n int32) {
	w := &r.works[n]
	edits := r.applied[w.from:w.to]
	for i := len(edits) - 1; i >= 0; i-- {
		if e := &r.program.edits[edits[i]]; e.op == decision.OpAfter {
			r.insertContent(e, tagNone)
		}
	}
}

// edit is a compiled edit.
type edit struct {
	op    decision.Op
	apply bool
	ofTag bool   // it changes the start tag
	name  string // of the attribute, as written
	value string // of the attribute, or the class
	utf8  []byte // the content for pages in UTF-8
	ascii []byte // the same with character references; nil where that is impossible
	text  []byte // content given as text, unescaped; nil for other content

	required   bool  // and applied
	experience int32 // edits of one experience have the same number
	slot       int32 // edits of the same attribute or class have the same number
	selector   string

	kind     decision.Body
	pointer  string
	path     []string // the parts of pointer
	json     *jsonValue
	jsonText decision.JSON

	replace *replacement // of replace_text; nil for other ops
	filled  *slotted     // content with slots; nil when it has none
	police  *policed     // what a policy has a say in; nil when nothing
}

func compileEdit(e *decision.PlannedEdit) edit {
	ofTag := false
	switch e.Op {
	case decision.OpSetAttribute, decision.OpRemoveAttribute, decision.OpAddClass, decision.OpRemoveClass:
		ofTag = true
	}
	out := edit{ofTag: ofTag, op: e.Op, apply: e.Apply, name: e.Name, value: e.Value, utf8: []byte(e.HTML),
		required: e.Required && e.Apply, selector: e.Select, kind: e.Kind()}
	if e.Text != "" {
		out.text = []byte(e.Text)
		out.utf8 = appendEscapedText(nil, e.Text)
	}
	if e.Op == decision.OpReplaceText {
		out.replace, _ = compileReplacement(&e.Edit) // checked before
	}
	out.ascii = out.utf8
	if !isASCII(out.utf8) {
		out.ascii = appendReferences(nil, string(out.utf8))
	}
	return out
}

// content returns the content of an edit for where it is inserted: inside the
// element in, if that holds text, else among elements.
func (e *edit) content(r *Rewriter, in tag) []byte {
	switch in {
	case tagNone, tagTitle, tagTextarea:
		switch {
		case r.encoding == EncodingUTF8 || len(e.ascii) == len(e.utf8):
			return e.utf8
		case r.encoding.table() == nil:
			return e.ascii
		}
		r.coded = r.appendMarkup(r.coded[:0], string(e.utf8))
		return r.coded
	}
	content := e.utf8
	if e.text != nil { // escapes mean nothing here
		content = e.text
		if endsRaw(content) {
			return nil
		}
	}
	return r.encoded(content)
}

// endsRaw reports whether text could end the script or style that it is inserted
// into, or escape a script.
func endsRaw(text []byte) bool {
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '<' && (text[i+1] == '/' || text[i+1] == '!' || isLetter(text[i+1])) {
			return true
		}
	}
	return false
}
