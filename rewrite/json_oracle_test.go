package rewrite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
)

// orderedValue is a JSON value with the order of its members and its scalars as
// they are written. It is what edits are held against: each works on the whole
// document that the one before it left.
type orderedValue struct {
	scalar string // as written; "" for an object or array
	object bool
	names  []string
	quoted []string
	values []*orderedValue
}

// parseOrdered reads a document that is known to be valid.
func parseOrdered(t failer, text string) *orderedValue {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := readOrdered(d, text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

func readOrdered(d *json.Decoder, text string) (*orderedValue, error) {
	token, raw, err := rawToken(d, text)
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return &orderedValue{scalar: raw}, nil
	}
	v := &orderedValue{object: delim == '{'}
	for d.More() {
		if v.object {
			name, raw, err := rawToken(d, text)
			if err != nil {
				return nil, err
			}
			v.names, v.quoted = append(v.names, name.(string)), append(v.quoted, raw)
		}
		value, err := readOrdered(d, text)
		if err != nil {
			return nil, err
		}
		v.values = append(v.values, value)
	}
	_, err = d.Token()
	return v, err
}

func rawToken(d *json.Decoder, text string) (json.Token, string, error) {
	from := d.InputOffset()
	token, err := d.Token()
	return token, strings.TrimLeft(text[from:d.InputOffset()], " \t\r\n,:"), err
}

func (v *orderedValue) String() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v *orderedValue) write(b *strings.Builder) {
	if v.scalar != "" {
		b.WriteString(v.scalar)
		return
	}
	brackets := "[]"
	if v.object {
		brackets = "{}"
	}
	b.WriteByte(brackets[0])
	for i, value := range v.values {
		if i > 0 {
			b.WriteByte(',')
		}
		if v.object {
			b.WriteString(v.quoted[i] + ":")
		}
		value.write(b)
	}
	b.WriteByte(brackets[1])
}

// find returns where a part of a pointer leads to, -1 for nowhere.
func (v *orderedValue) find(part string) int {
	if v.object {
		return slices.Index(v.names, part)
	}
	if n, err := strconv.Atoi(part); err == nil && strconv.Itoa(n) == part && n < len(v.values) && n >= 0 {
		return n
	}
	return -1
}

func orderedParts(pointer string) []string {
	if pointer == "" {
		return nil
	}
	parts := strings.Split(pointer[1:], "/")
	for i := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[i])
	}
	return parts
}

// editOrdered applies an edit to a document, and reports whether its place is there.
func editOrdered(t failer, doc **orderedValue, e decision.Edit) bool {
	t.Helper()
	holder := &orderedValue{values: []*orderedValue{*doc}}
	defer func() { *doc = holder.values[0] }()
	parts := append([]string{"0"}, orderedParts(e.Pointer)...)
	v := holder
	for _, part := range parts[:len(parts)-1] {
		at := v.find(part)
		if at < 0 {
			return false
		}
		v = v.values[at]
	}
	last := parts[len(parts)-1]
	at := v.find(last)
	switch {
	case v.scalar != "":
		return false
	case at < 0 && e.Op == decision.OpSet && v.object:
		quoted, _ := json.Marshal(last)
		v.names, v.quoted = append(v.names, last), append(v.quoted, string(quoted))
		v.values = append(v.values, parseOrdered(t, string(e.JSON)))
		return true
	case at < 0 && e.Op == decision.OpSet && (last == "-" || last == strconv.Itoa(len(v.values))):
		v.values = append(v.values, parseOrdered(t, string(e.JSON)))
		return true
	case at < 0:
		return false
	}
	switch target := v.values[at]; e.Op {
	case decision.OpSet:
		v.values[at] = parseOrdered(t, string(e.JSON))
	case decision.OpRemove:
		v.remove(at)
	case decision.OpAppend:
		if target.object || target.scalar != "" {
			return false
		}
		target.values = append(target.values, parseOrdered(t, string(e.JSON)))
	case decision.OpMerge:
		v.values[at] = mergeOrdered(target, parseOrdered(t, string(e.JSON)))
	}
	return true
}

func (v *orderedValue) remove(at int) {
	if v.object {
		v.names, v.quoted = slices.Delete(v.names, at, at+1), slices.Delete(v.quoted, at, at+1)
	}
	v.values = slices.Delete(v.values, at, at+1)
}

// mergeOrdered is the algorithm of RFC 7396, section 2.
func mergeOrdered(target, patch *orderedValue) *orderedValue {
	if !patch.object {
		return patch
	}
	if target == nil || !target.object {
		target = &orderedValue{object: true}
	}
	for i, name := range patch.names {
		at := target.find(name)
		switch {
		case patch.values[i].scalar == "null":
			if at >= 0 {
				target.remove(at)
			}
		case at >= 0:
			target.values[at] = mergeOrdered(target.values[at], patch.values[i])
		default:
			target.names, target.quoted = append(target.names, name), append(target.quoted, patch.quoted[i])
			target.values = append(target.values, mergeOrdered(nil, patch.values[i]))
		}
	}
	return target
}

// failer is what tests of all kinds have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

type jsonResult struct {
	out     string
	matches []Match
	bailed  Reason
}

// editJSON edits a document in chunks of the sizes that size gives; nil for all at
// once.
func editJSON(t failer, p *Program, doc string, limits Limits, size func() int) jsonResult {
	t.Helper()
	var out bytes.Buffer
	j := p.NewJSONEditor(&out, limits)
	defer j.Release()
	for rest := doc; rest != ""; {
		n := len(rest)
		if size != nil {
			n = min(n, max(1, size()))
		}
		if _, err := io.WriteString(j, rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j.Written() != int64(out.Len()) {
		t.Fatalf("%q: %d bytes written, said to be %d", doc, out.Len(), j.Written())
	}
	if most := int64(len(doc)) + 8; j.work > most {
		t.Fatalf("%q: looked at %d bytes of %d", doc, j.work, len(doc))
	}
	return jsonResult{out.String(), slices.Clone(j.Matches()), j.Bailed()}
}

// jsonEdit writes an edit in short: "op pointer: value". An empty pointer is "”".
func jsonEdit(t failer, s string) decision.Edit {
	t.Helper()
	op, rest, _ := strings.Cut(s, " ")
	pointer, value, _ := strings.Cut(rest, ": ")
	if pointer == "''" {
		pointer = ""
	}
	return decision.Edit{Body: decision.BodyJSON, Op: decision.Op(op), Pointer: pointer, JSON: decision.JSON(value)}
}

func jsonEdits(t failer, lines string) []decision.Edit {
	t.Helper()
	var edits []decision.Edit
	for line := range strings.SplitSeq(lines, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			edits = append(edits, jsonEdit(t, line))
		}
	}
	return edits
}

func compact(t failer, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return b.String()
}

func sameInChunks(t failer, p *Program, doc string, limits Limits, whole jsonResult) {
	t.Helper()
	for chunking, size := range chunkings(11) {
		if got := editJSON(t, p, doc, limits, size); fmt.Sprint(got) != fmt.Sprint(whole) {
			t.Fatalf("in chunks (%s): got %+v, want %+v\nof %q", chunking, got, whole, doc)
		}
	}
}
