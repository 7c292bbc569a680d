package rewrite

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

func textEdit(pattern, text string) decision.Edit {
	return decision.Edit{Body: decision.BodyText, Op: decision.OpReplaceText, Pattern: pattern, Text: text}
}

func editText(t failer, p *Program, body string, limits Limits, size func() int) jsonResult {
	t.Helper()
	var out bytes.Buffer
	x := p.NewTextEditor(&out, limits)
	defer x.Release()
	for rest := body; rest != ""; {
		n := len(rest)
		if size != nil {
			n = min(n, max(1, size()))
		}
		if _, err := io.WriteString(x, rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if x.Written() != int64(out.Len()) {
		t.Fatalf("%d bytes written, said to be %d", out.Len(), x.Written())
	}
	return jsonResult{out.String(), slices.Clone(x.Matches()), x.Bailed()}
}

func TestTextBodies(t *testing.T) {
	latin := EncodingOf("text/plain; charset=iso-8859-1")
	required := textEdit("nowhere", "x")
	required.Required = true
	for name, c := range map[string]struct {
		body   string
		limits Limits
		edits  []decision.Edit
		want   string
		reason Reason
		match  string
	}{
		"plain":           {"a.b {color: red} red", Limits{}, []decision.Edit{textEdit("red", "blue")}, "a.b {color: blue} blue", NotBailed, "[{2 12 12}]"},
		"groups":          {"var price = 12;", Limits{}, []decision.Edit{textEdit(`price = (\d+)`, "price = ${1}0 /* $$ */")}, "var price = 120 /* $ */;", NotBailed, "[{1 4 4}]"},
		"across lines":    {"a\r\nb\r\nc", Limits{}, []decision.Edit{textEdit(`(?s)a.*b`, "x"), textEdit(`(?m)^c$`, "y")}, "x\r\ny", NotBailed, "[{1 0 0} {1 6 3}]"},
		"not escaped":     {"if (a) {}", Limits{}, []decision.Edit{textEdit(`a`, "a < b && c")}, "if (a < b && c) {}", NotBailed, "[{1 4 4}]"},
		"in order":        {"one two", Limits{}, []decision.Edit{textEdit("one", "two"), textEdit("two", "three"), textEdit("o", "0")}, "two three", NotBailed, "[{1 0 0} {1 4 4} {2 0 0}]"},
		"nothing":         {"one", Limits{}, []decision.Edit{textEdit("two", "x")}, "one", NotBailed, "[{0 -1 -1}]"},
		"empty":           {"", Limits{}, []decision.Edit{textEdit("two", "x")}, "", NotBailed, "[{0 -1 -1}]"},
		"removed":         {"one two", Limits{}, []decision.Edit{textEdit(" two", "")}, "one", NotBailed, "[{1 3 3}]"},
		"begins":          {"\ufeffone", Limits{}, []decision.Edit{textEdit("^one", "två")}, "\ufefftvå", NotBailed, "[{1 3 3}]"},
		"not UTF-8":       {"one \xe9", Limits{}, []decision.Edit{textEdit("one", "x")}, "one \xe9", BailedEncoding, "[{0 -1 -1}]"},
		"single-byte":     {"\xe9t\xe9", Limits{Encoding: latin}, []decision.Edit{textEdit("é$", "è€")}, "\xe9t\xe8\x80", NotBailed, "[{1 2 2}]"},
		"no such letter":  {"\xe9t\xe9", Limits{Encoding: latin}, []decision.Edit{textEdit("t", "☃"), textEdit("t", "T")}, "\xe9T\xe9", NotBailed, "[{1 1 1} {1 1 1}]"},
		"too large":       {"one two", Limits{Memory: 6}, []decision.Edit{textEdit("one", "x")}, "one two", BailedMemory, "[{0 -1 -1}]"},
		"required":        {"one two", Limits{}, []decision.Edit{textEdit("one", "x"), required}, "one two", BailedRequired, "[{1 0 0} {0 -1 -1}]"},
		"other bodies":    {`{"a":"one"}`, Limits{}, []decision.Edit{jsonEdit(t, "set /a: 1"), {Select: "p", Op: decision.OpRemove}, textEdit("one", "x")}, `{"a":"x"}`, NotBailed, "[{0 -1 -1} {0 -1 -1} {1 6 6}]"},
		"inside replaced": {"one two", Limits{}, []decision.Edit{textEdit("one two", "x"), textEdit("two", "y")}, "x", NotBailed, "[{1 0 0} {1 4 0}]"},
	} {
		t.Run(name, func(t *testing.T) {
			program := compile(t, c.edits...)
			whole := editText(t, program, c.body, c.limits, nil)
			if whole.out != c.want || whole.bailed != c.reason || fmt.Sprint(whole.matches) != c.match {
				t.Errorf("got %q (%s) %v\nwant %q (%s) %s", whole.out, whole.bailed, whole.matches, c.want, c.reason, c.match)
			}
			for chunking, size := range chunkings(3) {
				if got := editText(t, program, c.body, c.limits, size); fmt.Sprint(got) != fmt.Sprint(whole) {
					t.Errorf("in chunks (%s): got %+v, want %+v", chunking, got, whole)
				}
			}
		})
	}
}

// TestTextMeansReplaceAll holds one edit equal to the standard library's.
func TestTextMeansReplaceAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringOf(rapid.SampledFrom([]rune("ab\né"))).Draw(t, "body")
		e := textEdit(rapid.SampledFrom([]string{"a", "b+", "(a)(b)?", "é.", "^a", "a$", `(?m)^.`}).Draw(t, "pattern"),
			rapid.SampledFrom([]string{"", "x", "$0$0", "a"}).Draw(t, "text"))
		program, err := Compile(planned(e))
		if err != nil {
			t.Fatal(err)
		}
		replace, err := compileReplacement(&e)
		if err != nil {
			t.Fatal(err)
		}
		want := replace.re.ReplaceAllString(body, strings.ReplaceAll(e.Text, "$0", "${0}"))
		got := editText(t, program, body, Limits{}, nil)
		if got.out != want || got.matches[0].Count != len(replace.re.FindAllString(body, -1)) {
			t.Fatalf("%+v on %q: got %+v, want %q", e, body, got, want)
		}
	})
}

// TestTextEffort: a pattern that may look at the rest of a body for each match stops.
func TestTextEffort(t *testing.T) {
	program := compile(t, textEdit("ab*", "x"))
	body := strings.Repeat("a", 200_000)
	got := editText(t, program, body, Limits{}, nil)
	if n := got.matches[0].Count; n == 0 || n > 1000 || len(got.out) != len(body) {
		t.Errorf("%d replacements, %d bytes of %d", n, len(got.out), len(body))
	}
}

func TestBodyOf(t *testing.T) {
	for contentType, want := range map[string]decision.Body{
		"text/html; charset=utf-8": decision.BodyHTML, "application/xhtml+xml": decision.BodyHTML,
		"application/json": decision.BodyJSON, " Application/LD+JSON ;x=y": decision.BodyJSON, "text/json": decision.BodyJSON,
		"application/problem+json": decision.BodyJSON, "application/x-ndjson": "", "application/json-seq": "", "image/png": "", "": "",
		"text/plain": decision.BodyText, "text/css": decision.BodyText, "application/javascript": decision.BodyText,
		"image/svg+xml": decision.BodyText, "application/xml": decision.BodyText, "text/event-stream": "", "application/octet-stream": "",
	} {
		if got := BodyOf(contentType); got != want {
			t.Errorf("%q: got %q, want %q", contentType, got, want)
		}
	}
	for contentType, want := range map[string]bool{
		"application/json": true, "application/json; charset=UTF-8": true, "application/json;charset=us-ascii": true,
		"application/json; charset=iso-8859-1": false, "application/json; charset=utf-16": false,
		"text/css": true, "text/css; charset=iso-8859-1": true, "text/css; charset=shift_jis": false, "image/png": false,
		"text/html": true, "application/xhtml+xml": false,
	} {
		if got := EditableBody(contentType); got != want {
			t.Errorf("%q: editable %v", contentType, got)
		}
	}
}
