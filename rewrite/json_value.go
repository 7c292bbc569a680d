package rewrite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

// jsonKind is what a value is, as far as edits care.
type jsonKind byte

const (
	jsonObject jsonKind = iota
	jsonArray
	jsonScalar
	jsonKinds = 3
)

// jsonValue is a value that edits put into a document. Its parts stay as they are
// written; the white space between them goes.
type jsonValue struct {
	kind   jsonKind
	raw    string       // of a scalar
	pieces []jsonPiece  // of a string with slots, in the place of raw
	names  []string     // of an object's members, unescaped
	quoted []string     // the same as they are written
	values []*jsonValue // of the members, or the items of an array
}

// jsonPiece is text, and the slot behind it.
type jsonPiece struct {
	text []byte
	slot int32 // number of the slot; -1 for none
}

const maxValueDepth = 500

// jsonParser reads the value of an edit. Only what encoding/json takes for valid
// reaches it.
type jsonParser struct {
	text   string
	i      int
	number func(Slot) int32 // gives slots their numbers
	slots  []jsonSlot
}

// jsonSlot is a slot with its place in the text.
type jsonSlot struct {
	slot Slot
	at   int // column
}

// parseJSON reads the value of an edit. The error is an *[EditError].
func parseJSON(text decision.JSON, number func(Slot) int32) (*jsonValue, []jsonSlot, error) {
	if err := checkJSONText(string(text)); err != nil {
		return nil, nil, err
	}
	p := jsonParser{text: string(text), number: number}
	v, err := p.value(0)
	return v, p.slots, err
}

func checkJSONText(text string) error {
	if !utf8.ValidString(text) {
		return fieldError("json", "the value is not valid UTF-8")
	}
	var discarded json.RawMessage
	err := json.Unmarshal([]byte(text), &discarded)
	if err == nil {
		return nil
	}
	wrong := &EditError{Field: "json", Message: "found a mistake in the JSON value: " + err.Error()}
	var se *json.SyntaxError
	if errors.As(err, &se) {
		at := min(max(int(se.Offset)-1, 0), len(text))
		if at > 0 && strings.HasPrefix(text[at-1:], "{{") {
			at--
			wrong.Message = "found a slot outside of a string; put it into quotes, as in \"{{trait 'first_name'}}\""
		}
		wrong.Column = utf8.RuneCountInString(text[:at]) + 1
	}
	return wrong
}

func (p *jsonParser) column(at int) int { return utf8.RuneCountInString(p.text[:at]) + 1 }

func (p *jsonParser) fail(at int, format string, args ...any) error {
	return &EditError{Field: "json", Column: p.column(at), Message: fmt.Sprintf(format, args...)}
}

func (p *jsonParser) space() {
	for p.i < len(p.text) && isJSONSpace(p.text[p.i]) {
		p.i++
	}
}

func (p *jsonParser) value(depth int) (*jsonValue, error) {
	p.space()
	if depth > maxValueDepth {
		return nil, p.fail(p.i, "the value is nested deeper than %d", maxValueDepth)
	}
	start := p.i
	switch p.text[p.i] {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		p.string()
		return p.withSlots(start)
	}
	for p.i < len(p.text) && strings.IndexByte(" \t\r\n,]}", p.text[p.i]) < 0 {
		p.i++
	}
	return &jsonValue{kind: jsonScalar, raw: p.text[start:p.i]}, nil
}

// string passes over a string.
func (p *jsonParser) string() {
	for p.i++; p.text[p.i] != '"'; p.i++ {
		if p.text[p.i] == '\\' {
			p.i++
		}
	}
	p.i++
}

func (p *jsonParser) object(depth int) (*jsonValue, error) {
	v := &jsonValue{kind: jsonObject}
	seen := make(map[string]bool)
	p.i++
	for {
		if p.space(); p.text[p.i] == '}' {
			p.i++
			return v, nil
		}
		start := p.i
		p.string()
		quoted := p.text[start:p.i]
		name := string(appendUnquoted(nil, []byte(quoted[1:len(quoted)-1])))
		switch {
		case !utf8.ValidString(name):
			return nil, p.fail(start, "the member %s has half of a surrogate pair in its name", quoted)
		case strings.Contains(name, "{{"):
			return nil, p.fail(start, "a slot cannot stand in the name of a member")
		case seen[name]:
			return nil, p.fail(start, "the object has two members %s", quoted)
		}
		seen[name] = true
		p.space()
		p.i++ // the colon
		member, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.names, v.quoted, v.values = append(v.names, name), append(v.quoted, quoted), append(v.values, member)
		p.comma()
	}
}

func (p *jsonParser) array(depth int) (*jsonValue, error) {
	v := &jsonValue{kind: jsonArray}
	p.i++
	for {
		if p.space(); p.text[p.i] == ']' {
			p.i++
			return v, nil
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.values = append(v.values, item)
		p.comma()
	}
}

func (p *jsonParser) comma() {
	if p.space(); p.text[p.i] == ',' {
		p.i++
	}
}

// withSlots takes the string that begins at start apart if it has slots.
func (p *jsonParser) withSlots(start int) (*jsonValue, error) {
	v := &jsonValue{kind: jsonScalar, raw: p.text[start:p.i]}
	if !strings.Contains(v.raw, `{`) && !strings.Contains(v.raw, `\u`) {
		return v, nil
	}
	meant := string(appendUnquoted(nil, []byte(v.raw[1:len(v.raw)-1])))
	parts, err := parseSlots("json", meant)
	if err != nil {
		var wrong *EditError
		if errors.As(err, &wrong) { // its column is one of the string alone
			wrong.Column = p.column(start + 1 + max(0, strings.Index(v.raw[1:], "{{")))
		}
		return nil, err
	}
	if parts == nil {
		return v, nil
	}
	if !utf8.ValidString(meant) {
		return nil, p.fail(start, "a string with slots has half of a surrogate pair in it")
	}
	text := []byte{'"'}
	at := start + 1
	for _, part := range parts {
		if part.slot != nil {
			if n := strings.Index(p.text[at:p.i], "{{"); n >= 0 {
				at += n
			}
			p.slots = append(p.slots, jsonSlot{*part.slot, p.column(at)})
			v.pieces = append(v.pieces, jsonPiece{text, p.number(*part.slot)})
			text = nil
			at = min(at+2, p.i)
			continue
		}
		text = appendQuotedInside(text, part.content)
	}
	text = append(text, '"')
	if len(v.pieces) == 0 { // it had a literal "{{" only
		v.raw = string(text)
		return v, nil
	}
	v.raw, v.pieces = "", append(v.pieces, jsonPiece{text, -1})
	return v, nil
}

// appendQuotedInside appends text as it stands inside a JSON string.
func appendQuotedInside(dst []byte, s string) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		panic("BUG: a string cannot be written as JSON: " + err.Error())
	}
	quoted := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	return append(dst, quoted[1:len(quoted)-1]...)
}

func isJSONSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// appendPieces appends the value as it is written, in as few pieces as slots allow.
func (v *jsonValue) appendPieces(dst []jsonPiece) []jsonPiece {
	switch {
	case v.kind == jsonObject:
		dst = appendJSONText(dst, "{")
		for i, member := range v.values {
			if i > 0 {
				dst = appendJSONText(dst, ",")
			}
			dst = member.appendPieces(appendJSONText(dst, v.quoted[i]+":"))
		}
		return appendJSONText(dst, "}")
	case v.kind == jsonArray:
		dst = appendJSONText(dst, "[")
		for i, item := range v.values {
			if i > 0 {
				dst = appendJSONText(dst, ",")
			}
			dst = item.appendPieces(dst)
		}
		return appendJSONText(dst, "]")
	case v.pieces == nil:
		return appendJSONText(dst, v.raw)
	}
	for _, p := range v.pieces {
		dst = appendJSONText(dst, string(p.text))
		dst[len(dst)-1].slot = p.slot
	}
	return dst
}

func appendJSONText(dst []jsonPiece, text string) []jsonPiece {
	if n := len(dst); n == 0 || dst[n-1].slot >= 0 {
		dst = append(dst, jsonPiece{slot: -1})
	}
	last := &dst[len(dst)-1]
	last.text = append(last.text, text...)
	return dst
}

func (v *jsonValue) clone() *jsonValue {
	c := *v
	c.names, c.quoted = slices.Clone(v.names), slices.Clone(v.quoted)
	c.values = make([]*jsonValue, len(v.values))
	for i, inner := range v.values {
		c.values[i] = inner.clone()
	}
	return &c
}

func (v *jsonValue) isNull() bool { return v.kind == jsonScalar && v.raw == "null" }

// index returns where a part of a pointer leads to in an object or array; -1 for
// nowhere.
func (v *jsonValue) index(part string) int {
	switch v.kind {
	case jsonObject:
		return slices.Index(v.names, part)
	case jsonArray:
		if n, ok := arrayIndex(part); ok && n < len(v.values) {
			return n
		}
	}
	return -1
}

// put adds a value at a part of a pointer that leads nowhere yet, and reports
// whether that can be.
func (v *jsonValue) put(part, quoted string, value *jsonValue) bool {
	switch v.kind {
	case jsonObject:
		v.names, v.quoted = append(v.names, part), append(v.quoted, quoted)
	case jsonArray:
		if n, ok := arrayIndex(part); part != pointerEnd && !(ok && n == len(v.values)) {
			return false
		}
	default:
		return false
	}
	v.values = append(v.values, value)
	return true
}

func (v *jsonValue) take(i int) {
	if v.kind == jsonObject {
		v.names, v.quoted = slices.Delete(v.names, i, i+1), slices.Delete(v.quoted, i, i+1)
	}
	v.values = slices.Delete(v.values, i, i+1)
}

// mergePatch merges a patch into a value of our own, nil for none (RFC 7396).
func mergePatch(v, patch *jsonValue) *jsonValue {
	if patch.kind != jsonObject {
		return patch.clone()
	}
	if v == nil || v.kind != jsonObject {
		v = &jsonValue{kind: jsonObject}
	}
	at := make(map[string]int, len(v.names))
	for i, name := range v.names {
		at[name] = i
	}
	for i, name := range patch.names {
		member := patch.values[i]
		n, found := at[name]
		switch {
		case member.isNull():
			if found {
				v.values[n] = nil
				delete(at, name)
			}
		case found:
			v.values[n] = mergePatch(v.values[n], member)
		default:
			v.put(name, patch.quoted[i], mergePatch(nil, member))
		}
	}
	v.compact()
	return v
}

// compact drops the members whose values are gone.
func (v *jsonValue) compact() {
	n := 0
	for i, member := range v.values {
		if member != nil {
			v.names[n], v.quoted[n], v.values[n] = v.names[i], v.quoted[i], member
			n++
		}
	}
	v.names, v.quoted, v.values = v.names[:n], v.quoted[:n], v.values[:n]
}
