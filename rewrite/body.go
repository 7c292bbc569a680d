package rewrite

import (
	"strings"

	"github.com/sedge-proxy/sedge/decision"
)

// bodyKinds is the number of kinds of bodies.
const bodyKinds = 3

// bodyNumber returns the number of a kind of bodies.
func bodyNumber(kind decision.Body) int {
	switch kind {
	case decision.BodyJSON:
		return 1
	case decision.BodyText:
		return 2
	}
	return 0
}

// Has reports whether the program has edits for a kind of bodies.
func (p *Program) Has(kind decision.Body) bool { return p.has[bodyNumber(kind)] }

// BodyOf returns the kind of body that a Content-Type names; "" for one that no
// edits are for. XHTML is a page, though not one that can be edited.
func BodyOf(contentType string) decision.Body {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = lower(strings.TrimSpace(kind))
	class, name, _ := strings.Cut(kind, "/")
	switch {
	case kind == "text/html", kind == "application/xhtml+xml":
		return decision.BodyHTML
	case name == "json" && (class == "application" || class == "text"), strings.HasSuffix(name, "+json"):
		return decision.BodyJSON
	case kind == "text/event-stream", kind == "text/x-component", kind == "text/ndjson":
		return "" // a stream of messages does not end
	case class == "text", strings.HasSuffix(name, "+xml"):
		return decision.BodyText
	case class == "application" && (name == "javascript" || name == "x-javascript" || name == "ecmascript" || name == "xml"):
		return decision.BodyText
	}
	return ""
}

// EditableBody reports whether a body with this Content-Type may be edited as far
// as its character set goes: pages as [Editable] says, JSON in UTF-8 only, and
// other text in UTF-8 or a single-byte character set that extends ASCII.
func EditableBody(contentType string) bool {
	encoding := EncodingOf(contentType)
	switch BodyOf(contentType) {
	case decision.BodyHTML:
		return Editable(contentType)
	case decision.BodyJSON:
		return encoding == EncodingUTF8 || encoding == EncodingUnknown || isASCIILabel(contentType)
	case decision.BodyText:
		return encoding != EncodingOther && (encoding <= EncodingUTF8 || encoding.table() != nil)
	}
	return false
}

// isASCIILabel reports whether the charset is called ASCII, a label that browsers
// take for windows-1252.
func isASCIILabel(contentType string) bool {
	_, label, _ := strings.Cut(lower(contentType), "charset=")
	label, _, _ = strings.Cut(label, ";")
	label = strings.Trim(label, " \t\"'")
	return label == "us-ascii" || label == "ascii"
}

// bodyEdit compiles an edit of a body that is no page.
func (c *compiler) bodyEdit(number int32, kind decision.Body, e *decision.PlannedEdit) error {
	out := edit{op: e.Op, apply: e.Apply, required: e.Required && e.Apply, kind: kind}
	var err error
	switch kind {
	case decision.BodyJSON:
		if err = checkJSONFields(e.Edit); err != nil {
			return err
		}
		out.pointer, out.jsonText = e.Pointer, e.JSON
		if out.path, err = parsePointer(e.Pointer); err != nil {
			return err
		}
		if e.JSON != "" {
			out.json, _, err = parseJSON(e.JSON, func(s Slot) int32 { return c.numberSlot(s.of(number)) })
		}
	case decision.BodyText:
		if err = checkTextFields(&e.Edit); err == nil {
			resolved := e.Edit
			if resolved.Text, err = withoutSlots("text", &e.Edit, e.Text); err == nil {
				out.replace, err = compileReplacement(&resolved)
			}
		}
		c.p.texts = append(c.p.texts, number)
	default:
		err = unknownBody(kind)
	}
	if err != nil {
		return err
	}
	c.number(&out, e.Experience)
	c.p.edits = append(c.p.edits, out)
	return nil
}

// finishBodies makes what the edits of bodies other than pages run on.
func (c *compiler) finishBodies() error {
	p := c.p
	var err error
	if p.json, err = compileJSON(p.edits); err != nil {
		return err
	}
	p.jsonPool.New = func() any { return newJSONEditor(p) }
	p.textPool.New = func() any { return newTextEditor(p) }
	return nil
}

func unknownBody(kind decision.Body) error {
	return fieldError("body", "found %q; expected html, json or text", kind)
}

// checkBodyEdit checks an edit of a body that is no page, and asks known about each
// of its slots.
func checkBodyEdit(e decision.Edit, known func(Slot) error) error {
	switch e.Kind() {
	case decision.BodyJSON:
		return checkJSONEdit(e, known)
	case decision.BodyText:
		if err := checkTextFields(&e); err != nil {
			return err
		}
		resolved := e
		var err error
		if resolved.Text, err = withoutSlots("text", &e, e.Text); err != nil {
			return err
		}
		_, err = compileReplacement(&resolved)
		return err
	}
	return unknownBody(e.Kind())
}

func checkJSONEdit(e decision.Edit, known func(Slot) error) error {
	if err := checkJSONFields(e); err != nil {
		return err
	}
	if _, err := parsePointer(e.Pointer); err != nil || e.JSON == "" {
		return err
	}
	_, slots, err := parseJSON(e.JSON, func(Slot) int32 { return 0 })
	if err != nil {
		return err
	}
	for _, s := range slots {
		if err := known(s.slot); err != nil {
			return &EditError{Field: "json", Column: s.at, Message: err.Error()}
		}
	}
	return nil
}

// checkJSONFields checks which fields an edit of JSON has.
func checkJSONFields(e decision.Edit) error {
	if e.Select != "" {
		return fieldError("select", "an edit of JSON bodies has a pointer in the place of a selector")
	}
	if err := unused(e, "text", "html", "name", "value", "pattern"); err != nil {
		return err
	}
	switch e.Op {
	case decision.OpSet, decision.OpAppend, decision.OpMerge:
		if e.JSON == "" {
			return fieldError("json", "the op %q needs json, the value that it puts into the document", e.Op)
		}
		return nil
	case decision.OpRemove:
		if e.Pointer == "" {
			return fieldError("pointer", "the whole document cannot be removed; give the pointer to a part of it")
		}
		return unused(e, "json")
	case "":
		return fieldError("op", "an op is needed: in JSON bodies set, remove, append or merge")
	}
	return fieldError("op", "found %q; in JSON bodies the ops are set, remove, append and merge", e.Op)
}

// checkTextFields checks which fields an edit of other text has.
func checkTextFields(e *decision.Edit) error {
	switch {
	case e.Select != "":
		return fieldError("select", "an edit of text bodies has a pattern and no selector")
	case e.Op == "":
		return fieldError("op", "an op is needed: in text bodies replace_text")
	case e.Op != decision.OpReplaceText:
		return fieldError("op", "found %q; in text bodies the op is replace_text", e.Op)
	}
	if err := unused(*e, "pointer", "html", "name", "value", "json"); err != nil {
		return err
	}
	return checkText("text", e.Text)
}
