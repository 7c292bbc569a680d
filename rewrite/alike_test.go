package rewrite

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

// checkAlike holds pages that are said to be alike to the law: the edits of one, put
// into the other, make what a rewriter makes of that. It returns whether they were.
func checkAlike(t rapid.TB, src, other string, edits []decision.PlannedEdit, limits Limits) bool {
	page, _ := CompilePage([]byte(src), limits)
	if page == nil {
		return false
	}
	differ, alike := page.Differences(nil, []byte(other))
	if !alike {
		return false
	}
	program, err := Compile(edits)
	if err != nil {
		t.Fatalf("%+v: %v", edits, err)
	}
	s := page.Splice(program, Given{limits.Policy, limits.Values})
	if program.ReadsText() || s == nil || !s.Covers(differ) {
		return false
	}
	var want, got bytes.Buffer
	r := program.NewRewriter(&want, limits)
	defer r.Release()
	if _, err := io.WriteString(r, other); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.WriteOver(&got, []byte(other)); err != nil || int(n) != s.Len() {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if got.String() != want.String() {
		t.Fatalf("%+v\non %.2000q\nas %.2000q\n%s", edits, src, other, difference(got.String(), want.String()))
	}
	if a, b := fmt.Sprint(s.Matches(), s.Bailed(), s.Conflicts()), fmt.Sprint(r.Matches(), r.Bailed(), r.Conflicts()); a != b {
		t.Fatalf("%+v\non %.2000q\nas %.2000q\ngot  %s\nwant %s", edits, src, other, a, b)
	}
	return true
}

// changed draws other bytes for some of a page's, mostly such as may be inert.
func changed(t *rapid.T, page string) string {
	out := []byte(page)
	for range rapid.IntRange(1, 3).Draw(t, "places") {
		if len(out) == 0 {
			break
		}
		at := rapid.IntRange(0, len(out)-1).Draw(t, "at")
		for n := rapid.IntRange(1, 4).Draw(t, "length"); n > 0 && at < len(out); n-- {
			if rapid.IntRange(0, 30).Draw(t, "any") == 0 {
				out[at] = rapid.Byte().Draw(t, "byte")
			} else if c := out[at]; inertBytes[c] != 0 || rapid.IntRange(0, 9).Draw(t, "special too") == 0 {
				out[at] = rapid.SampledFrom([]byte("0aZ_.:,+=-/%scriptx")).Draw(t, "inert")
			}
			at++
		}
	}
	return string(out)
}

func TestAlikePages(t *testing.T) {
	alike := 0
	rapid.Check(t, func(t *rapid.T) {
		page := rapid.OneOf(anyPage(), soup()).Draw(t, "page")
		edits := rapid.SliceOfN(anyEdit(), 0, 4).Draw(t, "edits")
		if checkAlike(t, page, changed(t, page), edits, Limits{Encoding: EncodingUTF8, Values: slotValues}) {
			alike++
		}
	})
	if alike == 0 {
		t.Error("no pages were alike")
	}
}

// trickyPlaces are where letters and digits decide what a page is made of, or nearly;
// "@" stands for some of them.
var trickyPlaces = []string{
	"<p>@</p>", "<p>a @</p>", "<p>&#@;</p>", "<p>&@;</p>", "<@>", "</@>", "<p>a<@ b</p>", "<!--@-->", "<!-@-->", "<!@>", "<@", "&", "<", " ",
	"<script>@</script>", "<script></@></script>", "<script></scri@></script>", "<script><!-- <@ --> </script>", "<style><@</style>", "<textarea></@></textarea>",
	"<title>&#@;</title>", "<table>@<tr>@<td>@", "<table>&#@;<tr>", "<select><option>@", "<table><input type='@'>", "<table><input type='hidden' value='@'>",
	"<p class='@'>", "<p id='@'>", "<p data-a='@'>", "<p data-a=@>", "<p @='a'>", "<meta charset='@'>", "<meta content='@'>", "<meta http-equiv='@' content='@'>",
	"<svg>@<title>@</title></svg>", "<math><annotation-xml encoding='@'><p>@</annotation-xml></math>", "<a href='@'>@</a>", "<base href='@'>", "<frameset>@", "<head>@", "<body>@",
	"<noscript>@</noscript>", "<plaintext>@", "<template>@</template>", "<pre>@</pre>", "<button formaction='@' value='@'>@",
}

// trickyPair draws two pages that differ only in letters and digits.
func trickyPair(t *rapid.T) (page, other string) {
	words := map[int][]string{}
	for _, w := range []string{"a", "p", "b", "9", "65", "32", "pt", "xy", "lt;", "div", "abc", "head", "html", "text", "utf8", "/div", "title", "12345", "/code", "script", "hidden", "utf_16", "refresh", "text/html"} {
		words[len(w)] = append(words[len(w)], w)
	}
	lengths := []int{1, 2, 3, 4, 5, 6, 7, 9}
	var a, b strings.Builder
	for range rapid.IntRange(1, 5).Draw(t, "pieces") {
		piece := rapid.SampledFrom(trickyPlaces).Draw(t, "piece")
		for i, part := range strings.Split(piece, "@") {
			if i > 0 {
				of := rapid.SampledFrom(words[rapid.SampledFrom(lengths).Draw(t, "length")])
				first := of.Draw(t, "as")
				a.WriteString(first)
				if rapid.IntRange(0, 2).Draw(t, "same") > 0 {
					first = of.Draw(t, "or")
				}
				b.WriteString(first)
			}
			a.WriteString(part)
			b.WriteString(part)
		}
	}
	return a.String(), b.String()
}

func TestAlikeTrickyPages(t *testing.T) {
	alike := 0
	rapid.Check(t, func(t *rapid.T) {
		page, other := trickyPair(t)
		edits := rapid.SliceOfN(anyEdit(), 1, 4).Draw(t, "edits")
		edits = append(edits, decision.PlannedEdit{Edit: decision.Edit{Select: "*", Op: decision.OpSetAttribute, Name: "data-e", Value: "x"}})
		if checkAlike(t, page, other, edits, Limits{Values: slotValues}) && page != other {
			alike++
		}
	})
	if alike == 0 {
		t.Error("no pages were alike")
	}
}

func TestAlikeRealPages(t *testing.T) {
	programs := corpusPrograms()
	for name, page := range realPages(t) {
		alike := 0
		rapid.Check(t, func(t *rapid.T) {
			edits := programs[rapid.SampledFrom([]string{"three", "twenty"}).Draw(t, "edits")]
			if checkAlike(t, string(page), changed(t, string(page)), edits, Limits{Encoding: EncodingUTF8}) {
				alike++
			}
		})
		if alike == 0 {
			t.Logf("%s: no change left it alike", name)
		}
	}
}

func TestDifferences(t *testing.T) {
	for _, c := range []struct {
		page, other string
		alike       bool
	}{
		{`<p>abc</p>`, `<p>abc</p>`, true},
		{`<p>abc</p>`, `<p>xyz</p>`, true},
		{`<p>abc</p>`, `<p>abcd</p>`, false},
		{`<p>a c</p>`, `<p>a  </p>`, false},
		{`<p>a&x;</p>`, `<p>b&x;</p>`, false},
		{`<p>a<3b</p>`, `<p>a<xb</p>`, false},
		{`<p>abc</p>`, `<b>abc</p>`, false},
		{`<p>abc</p>`, `<p>abc</b>`, false},
		{`<p>a-c</p>`, `<p>abc</p>`, false},
		{`<meta name="csrf" content="a-1/%=">`, `<meta name="csrf" content="xyz-/b">`, true},
		{`<meta name="csrf" content="a1">`, `<meta name="csrx" content="a1">`, false},
		{`<meta http-equiv="refresh" content="10">`, `<meta http-equiv="refresh" content="90">`, false},
		{`<meta charset="x" content="10">`, `<meta charset="x" content="90">`, false},
		{`<meta http-equiv=Content-Security-Policy content="script-src 'none'"><p>a`, `<meta http-equiv=Content-Security-Policy content="script-src 'none'"><p>b`, false},
		{`<base href="/a"><p>x`, `<base href="/b"><p>x`, false},
		{`<input value='a"b'>`, `<input value='x"b'>`, true},
		{`<input value=ab>`, `<input value=xy>`, false},
		{`<input type="text">`, `<input type="date">`, false},
		{`<p id="ab">`, `<p id="xy">`, false},
		{`<p class="ab">`, `<p class="xy">`, false},
		{`<p data-token="ab" DATA-b="c">`, `<p data-token="xy" DATA-b="d">`, true},
		{`<p data-token="ab">`, `<p data-tokex="ab">`, false},
		{`<a href="/a?t=1">x</a>`, `<a href="/a?t=2">x</a>`, true},
		{`<script>var t = "abc"</script>`, `<script>var t = "xyz"</script>`, true},
		{`<script>a </scripx></script>`, `<script>a </script></script>`, false},
		{`<script>a <!-- <scripx </script>`, `<script>a <!-- <script </script>`, false},
		{`<style>a{b:c}</style>`, `<style>a{x:c}</style>`, true},
		{`<title>a&lt;b</title>`, `<title>x&lt;b</title>`, false},
		{`<body><title>abc</title>`, `<body><title>xyz</title>`, true},
		{`<table>a<tr>`, `<table>x<tr>`, true},
		{`<p>a<!-- b --></p>`, `<p>a<!-- x --></p>`, false},
		{`<p>b<p`, `<p>x<p`, true},
		{`<p>b<p a="b`, `<p>b<p a="x`, false},
	} {
		page, reason := CompilePage([]byte(c.page), Limits{Encoding: EncodingUTF8})
		if page == nil {
			t.Fatalf("%s: %s", c.page, reason)
		}
		differ, alike := page.Differences(nil, []byte(c.other))
		if alike != c.alike || alike && (len(differ) == 0) != (c.page == c.other) {
			t.Errorf("%s as %s: alike %v in %v", c.page, c.other, alike, differ)
		}
	}
	many := strings.Repeat("a ", maxDifferences+1)
	page, _ := CompilePage([]byte("<p>"+many), Limits{Encoding: EncodingUTF8})
	if _, alike := page.Differences(nil, []byte("<p>"+strings.ReplaceAll(many, "a", "b"))); alike {
		t.Error("pages that differ in very many places are alike")
	}
}

// What was made of bytes that differ is not put into another page.
func TestAlikeLeaksNothing(t *testing.T) {
	const src, other = `<body><a class="cta" data-token="secret">go</a><p>text</p>`, `<body><a class="cta" data-token="others">go</a><p>text</p>`
	page, _ := CompilePage([]byte(src), Limits{Encoding: EncodingUTF8})
	differ, alike := page.Differences(nil, []byte(other))
	if !alike || len(differ) == 0 {
		t.Fatal("the pages are not alike")
	}
	for edit, covered := range map[string]bool{
		"set_attribute .cta: data-variant=new": false, "append p: x": true, "remove a: ": false, "set_inner a: x": true, "replace p: x": true,
	} {
		s := page.Splice(compile(t, shortEdit(t, edit)), Given{})
		if got := s.Covers(differ); got != covered {
			t.Errorf("%s: covered %v", edit, got)
		}
	}
}

func TestReadsText(t *testing.T) {
	for edit, want := range map[string]bool{
		"append p.a#b[c]: x": false, "append [title=x]: y": true, "append p:not([title^=x]): y": true, "append :is(a, [b*=c]): y": true,
	} {
		if got := compile(t, shortEdit(t, edit)).ReadsText(); got != want {
			t.Errorf("%s: %v", edit, got)
		}
	}
	p, err := Compile([]decision.PlannedEdit{{Edit: decision.Edit{Select: "p", Op: decision.OpReplaceText, Pattern: "a", Text: "b"}, Apply: true}})
	if err != nil || !p.ReadsText() {
		t.Errorf("replace_text reads no text, %v", err)
	}
}

// FuzzAlike: whatever two pages are, if they are said to be alike then the edits of
// one are the other's.
func FuzzAlike(f *testing.F) {
	for _, place := range trickyPlaces {
		f.Add([]byte(strings.ReplaceAll(place, "@", "9")), []byte(strings.ReplaceAll(place, "@", "a")))
	}
	edits := []decision.PlannedEdit{
		{Edit: decision.Edit{Select: "*", Op: decision.OpSetAttribute, Name: "data-e", Value: "x"}},
		{Edit: decision.Edit{Select: "p, td, body", Op: decision.OpAppend, HTML: "<b>y</b>"}, Apply: true},
		{Edit: decision.Edit{Select: ".a, #a, option", Op: decision.OpBefore, HTML: "z"}, Apply: true},
	}
	f.Fuzz(func(t *testing.T, page, other []byte) {
		if n := min(len(page), len(other)); n > 0 {
			checkAlike(t, string(page[:n]), string(other[:n]), edits, Limits{})
			both := bytes.Clone(page[:n]) // where they differ, if that may be inert
			for i := range both {
				if inertBytes[both[i]]&inertBytes[other[i]] != 0 {
					both[i] = other[i]
				}
			}
			checkAlike(t, string(page[:n]), string(both), edits, Limits{})
		}
	})
}
