package rewrite

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

// EditError says what is wrong with an edit.
type EditError struct {
	// Field is the field of the edit as it is written in a configuration:
	// "body", "select", "pointer", "op", "text", "html", "name", "value", "pattern" or
	// "json".
	Field string

	// Column counts characters inside the field's value from 1; 0 means the
	// value as a whole.
	Column int

	// Message says what was found, what was expected and what to do.
	Message string
}

func (e *EditError) Error() string {
	if e.Column > 0 {
		return fmt.Sprintf("%s: character %d: %s", e.Field, e.Column, e.Message)
	}
	return e.Field + ": " + e.Message
}

// Check reports whether an edit could run: whether its selector can be matched in
// a stream, its op is known and the fields that the op needs, and no others, are
// filled. The error is an *[EditError].
func Check(e decision.Edit) error {
	return CheckSlots(e, func(Slot) error { return nil })
}

// checkPageEdit refuses what is meant for JSON bodies in an edit of pages.
func checkPageEdit(e *decision.Edit) error {
	const hint = "is for JSON bodies; give the pointer to its place, or body: json for the whole document"
	switch {
	case e.Pointer != "":
		return fieldError("pointer", "a pointer is for JSON bodies; leave out body: html, or the pointer")
	case e.JSON != "":
		return fieldError("json", "json %s", hint)
	case e.Op == decision.OpSet || e.Op == decision.OpMerge:
		return fieldError("op", "the op %q %s", e.Op, hint)
	}
	return nil
}

// checkFields checks all fields of an edit of pages but the selector. It returns the edit with
// something harmless in the place of its slots, and what these compile to.
func checkFields(e decision.Edit) (decision.Edit, *slotted, error) {
	for _, f := range [...][2]string{{"text", e.Text}, {"html", e.HTML}, {"value", e.Value}} {
		if err := checkText(f[0], f[1]); err != nil {
			return e, nil, err
		}
	}
	sample, slots, err := compileSlots(e)
	if err == nil {
		err = checkSample(sample)
	}
	return sample, slots, err
}

func checkSample(e decision.Edit) error {
	if e.Op == decision.OpReplaceText {
		return checkReplacement(e)
	}
	if e.Pattern != "" {
		return fieldError("pattern", "the op %q takes no pattern; leave it out, or use the op replace_text", e.Op)
	}
	switch e.Op {
	case decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace:
		if e.Text == "" && e.HTML == "" {
			return fieldError("html", "the op %q needs content; fill html, or text to have it escaped", e.Op)
		}
		return checkContent(e)
	case decision.OpSetInner: // without content it empties the element
		return checkContent(e)
	case decision.OpRemove, decision.OpUnwrap:
		return unused(e, "text", "html", "name", "value")
	case decision.OpSetAttribute:
		if err := checkAttribute(e); err != nil {
			return err
		}
		if err := checkText("value", e.Value); err != nil {
			return err
		}
		return unused(e, "text", "html")
	case decision.OpRemoveAttribute:
		if err := checkAttribute(e); err != nil {
			return err
		}
		return unused(e, "text", "html", "value")
	case decision.OpAddClass, decision.OpRemoveClass:
		if err := checkClass(e); err != nil {
			return err
		}
		return unused(e, "text", "html", "name")
	case "":
		return fieldError("op", "an op is needed: before, after, prepend, append, replace, set_inner, remove, unwrap, set_attribute, remove_attribute, add_class, remove_class or replace_text")
	}
	return fieldError("op", "found %q; the ops are before, after, prepend, append, replace, set_inner, remove, unwrap, set_attribute, remove_attribute, add_class, remove_class and replace_text", e.Op)
}

func fieldError(field, format string, args ...any) error {
	return &EditError{Field: field, Message: fmt.Sprintf(format, args...)}
}

func checkContent(e decision.Edit) error {
	if e.Text != "" && e.HTML != "" {
		return fieldError("html", "both text and html are filled; the op %q takes one of them", e.Op)
	}
	if err := checkText("text", e.Text); err != nil {
		return err
	}
	if err := checkText("html", e.HTML); err != nil {
		return err
	}
	if err := checkMarkup(e.HTML); err != nil {
		return err
	}
	return unused(e, "name", "value")
}

// checkText refuses what cannot stand in a page.
func checkText(field, s string) error {
	if at := strings.IndexByte(s, 0); at >= 0 {
		return &EditError{Field: field, Column: utf8.RuneCountInString(s[:at]) + 1, Message: "found a NUL character, which HTML does not allow"}
	}
	if !utf8.ValidString(s) {
		return fieldError(field, "the text is not valid UTF-8")
	}
	return nil
}

// unused refuses fields that the op would not use: filled by mistake, they would
// be lost without a word.
func unused(e decision.Edit, fields ...string) error {
	for _, field := range fields {
		value := map[string]string{
			"text": e.Text, "html": e.HTML, "name": e.Name, "value": e.Value, "pattern": e.Pattern,
			"select": e.Select, "pointer": e.Pointer, "json": string(e.JSON),
		}[field]
		if value != "" {
			return fieldError(field, "the op %q takes no %s; leave it out", e.Op, field)
		}
	}
	return nil
}

func checkAttribute(e decision.Edit) error {
	if e.Name == "" {
		return fieldError("name", "the op %q needs the attribute's name", e.Op)
	}
	for i, c := range e.Name {
		if c <= ' ' || c == 0x7f || strings.ContainsRune("\"'<>/=", c) || c == utf8.RuneError {
			return &EditError{
				Field:   "name",
				Column:  utf8.RuneCountInString(e.Name[:i]) + 1,
				Message: fmt.Sprintf("found %q, which cannot stand in an attribute name", string(c)),
			}
		}
	}
	return nil
}

func checkClass(e decision.Edit) error {
	if e.Value == "" {
		return fieldError("value", "the op %q needs the class as its value", e.Op)
	}
	for i := 0; i < len(e.Value); i++ {
		if isSpace(e.Value[i]) {
			return &EditError{
				Field:   "value",
				Column:  utf8.RuneCountInString(e.Value[:i]) + 1,
				Message: fmt.Sprintf("found white space; the op %q takes one class; write one edit for each", e.Op),
			}
		}
	}
	return checkText("value", e.Value)
}
