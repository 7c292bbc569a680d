package rewrite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"

	"github.com/sedge-proxy/sedge/internal/corpus"
)

// planned makes edits that are applied.
func planned(edits ...decision.Edit) []decision.PlannedEdit {
	out := make([]decision.PlannedEdit, len(edits))
	for i, e := range edits {
		out[i] = decision.PlannedEdit{Edit: e, Apply: true}
	}
	return out
}

func compile(t testing.TB, edits ...decision.Edit) *Program {
	t.Helper()
	p, err := Compile(planned(edits...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// result is what became of a page.
type result struct {
	out     string
	matches []Match
	bailed  Reason
}

// rewrite runs a page through a program in chunks of the sizes that size returns.
func rewrite(t testing.TB, p *Program, page string, limits Limits, size func() int) result {
	t.Helper()
	var out bytes.Buffer
	r := p.NewRewriter(&out, limits)
	defer r.Release()
	for rest := []byte(page); len(rest) > 0; {
		n := len(rest)
		if size != nil {
			n = min(n, max(1, size()))
		}
		chunk := bytes.Clone(rest[:n]) // so that bytes kept beyond Write show
		if _, err := r.Write(chunk); err != nil {
			t.Fatal(err)
		}
		for i := range chunk {
			chunk[i] = '\x01'
		}
		rest = rest[n:]
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return result{out.String(), slices.Clone(r.Matches()), r.Bailed()}
}

// chunkings are ways to cut a page.
func chunkings(seed uint64) map[string]func() int {
	random := rand.New(rand.NewPCG(seed, 1))
	return map[string]func() int{
		"bytes":  func() int { return 1 },
		"small":  func() int { return 1 + random.IntN(7) },
		"medium": func() int { return 1 + random.IntN(300) },
	}
}

var textMark = regexp.MustCompile(`(?s)<!--\[/?(TEXT|COMMENT)\('.*?'\)\]-->`)

type vector struct {
	Name     string            `json:"name"`
	Src      string            `json:"src"`
	Expected map[string]string `json:"expected"`
}

func readVectors(t *testing.T, name string) []vector {
	t.Helper()
	data, err := os.ReadFile(corpus.Path(t, "html", name))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

// TestLolHTMLVectors runs the vectors of lol-html. Its marks around text and
// comments are left out, since edits have no hold of these; the rest has to agree byte for byte.
func TestLolHTMLVectors(t *testing.T) {
	files := map[string]func(selector string) []decision.Edit{
		"lol-html-selector_matching.json": func(s string) []decision.Edit {
			return []decision.Edit{
				{Select: s, Op: decision.OpBefore, HTML: "<!--[ELEMENT('" + s + "')]-->"},
				{Select: s, Op: decision.OpAfter, HTML: "<!--[/ELEMENT('" + s + "')]-->"},
			}
		},
		"lol-html-element_content_replacement.json": func(s string) []decision.Edit {
			return []decision.Edit{{Select: s, Op: decision.OpSetInner, HTML: "<!--Replaced (" + s + ") -->"}}
		},
	}
	refused := make(map[string]string)
	for file, edits := range files {
		passed, cases := 0, 0
		for _, v := range readVectors(t, file) {
			for selector, want := range v.Expected {
				program, err := Compile(planned(edits(selector)...))
				if e := (*EditError)(nil); errors.As(err, &e) {
					refused[selector] = e.Error()
					continue
				}
				cases++
				want = textMark.ReplaceAllString(want, "")
				got := rewrite(t, program, v.Src, Limits{Encoding: EncodingUTF8}, nil)
				if got.out != want {
					t.Errorf("%s, %.80q: %s", v.Name, selector, difference(got.out, want))
					continue
				}
				passed++
			}
		}
		t.Logf("%s: %d of %d", file, passed, cases)
	}
	for _, selector := range slices.Sorted(maps.Keys(refused)) {
		t.Logf("refused %s", strings.ReplaceAll(fmt.Sprintf("%.60s: %s", selector, refused[selector]), "\n", " "))
	}
}

// difference shows where two texts part.
func difference(got, want string) string {
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	cut := func(s string) string { return s[max(0, at-60):min(len(s), at+120)] }
	return fmt.Sprintf("at %d:\n got: %q\nwant: %q", at, cut(got), cut(want))
}
