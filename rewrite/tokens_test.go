package rewrite

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/internal/corpus"
)

// tokensOf returns the tags that the scanner alone finds, without a tree that
// tells it what is raw text.
func tokensOf(page string, m mode, raw string, chunk int) []string {
	p := newProgram()
	(&compiler{p: p}).finish()
	p.attrsAll, p.wanted = true, nil
	r := p.NewRewriter(io.Discard, Limits{Memory: 1 << 30})
	r.scan.mode, r.scan.raw = m, raw
	if m == inScript {
		r.scan.raw = "script"
	}
	var tokens []string
	var held []byte
	holding := false
	for rest := []byte(page); len(rest) > 0; {
		data := rest[:min(chunk, len(rest))]
		rest = rest[len(data):]
		for i := 0; i < len(data); {
			start := i
			if holding {
				end, out := r.candidate(data, 0, len(held))
				held = append(held, data[:end]...)
				i = end
				if out == undecided {
					break
				}
				holding = false
				tokens = r.appendToken(tokens, held, out)
				continue
			}
			at, started := r.passText(data, start)
			if i = at; !started {
				continue
			}
			r.scan.kind = kindOpen
			if r.scan.mode != inText {
				r.scan.kind = kindRawOpen
			}
			end, out := r.candidate(data, at+1, -at)
			i = end
			if out == undecided {
				held, holding = append(held[:0], data[at:]...), true
				break
			}
			tokens = r.appendToken(tokens, data[at:end], out)
		}
	}
	return tokens
}

func (r *Rewriter) appendToken(tokens []string, token []byte, out outcome) []string {
	r.token = token
	switch out {
	case startTag:
		tag := "<" + strings.ToLower(string(token[r.scan.nameStart:r.scan.nameEnd]))
		var seen, attrs []string
		for i := range r.scan.attrs {
			a := &r.scan.attrs[i]
			name := strings.ToLower(string(token[a.name:a.nameEnd]))
			if !slices.Contains(seen, name) {
				seen = append(seen, name)
				attrs = append(attrs, fmt.Sprintf(" %s=%q", name, r.value(a)))
			}
		}
		slices.Sort(attrs) // the vectors do not keep the order
		tag += strings.Join(attrs, "")
		if r.scan.selfClosing {
			tag += "/"
		}
		return append(tokens, tag+">")
	case endTag:
		r.scan.mode = inText
		return append(tokens, "</"+strings.ToLower(string(token[r.scan.nameStart:r.scan.nameEnd]))+">")
	case doctype:
		return append(tokens, "<!doctype>")
	}
	if r.scan.mode == inComment {
		return append(tokens, "<!---->")
	}
	return tokens
}

type tokenizerTest struct {
	Description   string   `json:"description"`
	Input         string   `json:"input"`
	Output        [][]any  `json:"output"`
	InitialStates []string `json:"initialStates"`
	LastStartTag  string   `json:"lastStartTag"`
	DoubleEscaped bool     `json:"doubleEscaped"`
}

// TestTokenizerVectors runs html5lib's vectors for the tags they find, whole and
// byte by byte. Left out are inputs with escaped surrogates, names with NUL, and
// bogus comments, which the scanner does not tell apart from text.
func TestTokenizerVectors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus.Path(t, "html", "html5lib-tokenizer"), "*.test"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	modes := map[string]mode{"": inText, "Data state": inText, "RCDATA state": inRaw, "RAWTEXT state": inRaw, "Script data state": inScript, "PLAINTEXT state": inPlain}
	ran, left := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var set struct {
			Tests []tokenizerTest `json:"tests"`
		}
		if err := json.Unmarshal(data, &set); err != nil {
			t.Fatal(err)
		}
		for _, test := range set.Tests {
			states := test.InitialStates
			if len(states) == 0 {
				states = []string{""}
			}
			for _, state := range states {
				m, known := modes[state]
				if !known || test.DoubleEscaped || strings.Contains(test.Input, "\x00") {
					left++
					continue
				}
				ran++
				want := expectedTokens(test)
				for _, chunk := range []int{1, len(test.Input) + 1} {
					got := tokensOf(test.Input, m, test.LastStartTag, chunk)
					if test.hasBogusComment() {
						got, want = withoutComments(got), withoutComments(want)
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s, %s (%s) %q: got %q, want %q", filepath.Base(file), test.Description, state, test.Input, got, want)
					}
				}
			}
		}
	}
	t.Logf("%d vectors ran, %d left out", ran, left)
}

func (test *tokenizerTest) hasBogusComment() bool {
	for i := range test.Input {
		if rest := test.Input[i:]; strings.HasPrefix(rest, "<") && len(rest) > 1 &&
			(rest[1] == '?' || rest[1] == '!' && !strings.HasPrefix(rest, "<!--") || rest[1] == '/' && len(rest) > 2 && !isLetter(rest[2])) {
			return true
		}
	}
	return strings.HasSuffix(test.Input, "<!-") || strings.HasSuffix(test.Input, "<!")
}

func withoutComments(tokens []string) []string {
	return slices.DeleteFunc(slices.Clone(tokens), func(s string) bool { return s == "<!---->" || s == "<!doctype>" })
}

func expectedTokens(test tokenizerTest) []string {
	var tokens []string
	for _, token := range test.Output {
		switch token[0] {
		case "StartTag":
			tag := "<" + token[1].(string)
			var attrs []string
			for name, value := range token[2].(map[string]any) {
				attrs = append(attrs, fmt.Sprintf(" %s=%q", name, value.(string)))
			}
			slices.Sort(attrs)
			tag += strings.Join(attrs, "")
			if len(token) > 3 {
				tag += "/"
			}
			tokens = append(tokens, tag+">")
		case "EndTag":
			tokens = append(tokens, "</"+token[1].(string)+">")
		case "Comment":
			tokens = append(tokens, "<!---->")
		case "DOCTYPE":
			tokens = append(tokens, "<!doctype>")
		}
	}
	return tokens
}
