package rewrite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

var seedPages = []string{
	"<!doctype html><html><head><title>a</title></head><body class=a><div id=x>b</div></body></html>",
	"<table><tr><td>a<p><table><td></table><b><p></b></td></table>",
	"<svg><![CDATA[<b>]]><foreignObject><p></svg><!--x--!><script><!--<script></script>--></script>",
	"<ul><li>a<li b='c' d=e f>g</ul><select><option>a<textarea></p></textarea>",
	"<a b=\"c\"d=&amp;/><p/><x-y></x-y></p><template><td></template><plaintext><b>",
}

var seedSelectors = []string{"div", "#x.a[b~='c' i]", "ul > li:not(.a):nth-child(2n+1)", "a + b ~ c, d e", "p:nth-of-type(-n+3):is(a, :not(b))", `.\31 0\.x`, "*"}

// FuzzSelector reads selectors: what is accepted compiles, what is refused says where.
func FuzzSelector(f *testing.F) {
	for _, s := range append(seedSelectors, "a:has(b)", "a[", "::x", "a:nth-child(", "\\") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := Compile(planned(decision.Edit{Select: s, Op: decision.OpRemove}))
		if err == nil {
			return
		}
		var e *EditError
		if !errors.As(err, &e) || e.Message == "" {
			t.Fatalf("%q: got %v", s, err)
		}
		if e.Column < 1 || e.Column > utf8.RuneCountInString(s)+1 {
			t.Fatalf("%q: column %d", s, e.Column)
		}
	})
}

// FuzzScanner finds the tokens of a page whole and byte by byte.
func FuzzScanner(f *testing.F) {
	for _, page := range seedPages {
		f.Add(page)
	}
	f.Fuzz(func(t *testing.T, page string) {
		whole := tokensOf(page, inText, "", len(page))
		if cut := tokensOf(page, inText, "", 1); strings.Join(cut, "\n") != strings.Join(whole, "\n") {
			t.Fatalf("%q: byte by byte %q, whole %q", page, cut, whole)
		}
	})
}

// FuzzRewrite edits a page, whole and in chunks.
func FuzzRewrite(f *testing.F) {
	for i, page := range seedPages {
		f.Add(page, seedSelectors[i], uint8(i), uint64(i))
	}
	ops := []decision.Op{decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace, decision.OpSetInner,
		decision.OpRemove, decision.OpUnwrap, decision.OpSetAttribute, decision.OpRemoveAttribute, decision.OpAddClass, decision.OpRemoveClass, decision.OpReplaceText}
	f.Fuzz(func(t *testing.T, page, selector string, op uint8, seed uint64) {
		e := decision.Edit{Select: selector, Op: ops[int(op)%len(ops)]}
		switch int(op) % len(ops) {
		case 0, 1, 2, 3, 4, 5:
			e.HTML = "<!--new é-->"
		case 8, 9:
			e.Name = "class"
		case 10, 11:
			e.Value = "a"
		case 12:
			e.Pattern, e.Text = "[a-c]", "é$0"
		}
		edits := planned(e, decision.Edit{Select: "p, td, b", Op: decision.OpAppend, HTML: "<!--new é-->"}, decision.Edit{Select: "div", Op: decision.OpSetInner})
		program, err := Compile(edits)
		if err != nil {
			return
		}
		limits := Limits{Memory: decision.Size(64 + seed%1000), Depth: 8 + int(seed%100)}
		whole := rewrite(t, program, page, limits, nil)
		random := rand.New(rand.NewPCG(seed, 2))
		for range 3 {
			got := rewrite(t, program, page, limits, func() int { return 1 + random.IntN(1+len(page)/2) })
			if fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Fatalf("%q in chunks: %+v, whole %+v", page, got, whole)
			}
		}
		if page2, _ := CompilePage([]byte(page), limits); page2 != nil {
			s := page2.Splice(program, Given{})
			if got := (result{string(s.AppendTo(nil)), s.Matches(), s.Bailed()}); fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Fatalf("%q spliced: %+v, streamed %+v", page, got, whole)
			}
		}
		matched := 0
		for i := range edits {
			matched += whole.matches[i].Count
			edits[i].Apply = false
		}
		if matched == 0 && whole.out != page {
			t.Fatalf("%q changed to %q without a match", page, whole.out)
		}
		onlyMatched, err := Compile(edits)
		if err != nil {
			t.Fatal(err)
		}
		got := rewrite(t, onlyMatched, page, limits, nil)
		if got.out != page {
			t.Fatalf("%q changed to %q without an applied edit", page, got.out)
		}
		for i := range edits {
			if got.matches[i].Count != whole.matches[i].Count || got.matches[i].First != whole.matches[i].First {
				t.Fatalf("edit %d: applied %+v, matched only %+v", i, whole.matches[i], got.matches[i])
			}
		}
	})
}
