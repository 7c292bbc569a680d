package rewrite

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

func plannedHTML(selector, html string) []decision.PlannedEdit {
	return planned(decision.Edit{Select: selector, Op: decision.OpAppend, HTML: html})
}

// TestEditsUnderPolicies holds edits to what becomes of a page and what is reported.
func TestEditsUnderPolicies(t *testing.T) {
	const nonce = "script-src 'nonce-abc'; style-src 'nonce-abc'"
	const meta = `<meta http-equiv="Content-Security-Policy" content="script-src 'self' 'nonce-m1'">`
	for name, c := range map[string]struct{ policy, page, edits, want, blocked string }{
		"nonce":                   {nonce, "<p>x</p>", "append p: <script>a</script>", `<p>x<script nonce="abc">a</script></p>`, ""},
		"each tag":                {nonce, "<p>x</p>", "append p: é<script >a</script><STYLE>b{}</STYLE><link rel=stylesheet href=/a>é", `<p>xé<script nonce="abc" >a</script><STYLE nonce="abc">b{}</STYLE><link nonce="abc" rel=stylesheet href=/a>é</p>`, ""},
		"all ops":                 {nonce, "<p>x</p><b>y</b>", "before p: <script>1</script>\nafter p: <script>2</script>\nprepend p: <script>3</script>\nappend p: <script>4</script>\nreplace b: <script>5</script>", `<script nonce="abc">1</script><p><script nonce="abc">3</script>x<script nonce="abc">4</script></p><script nonce="abc">2</script><script nonce="abc">5</script>`, ""},
		"refused":                 {"script-src 'self'", "<p>x</p><b>y</b>", "append p: <script>a</script>\nset_inner b: z", "<p>x</p><b>z</b>", "[{0 script-src 1}]"},
		"refused as a whole":      {"script-src 'self'", "<p>x</p>", "set_inner p: <b>y</b><script>a</script>", "<p>x</p>", "[{0 script-src 1}]"},
		"refused replace":         {"script-src 'self'", "<p>x</p>", "replace p: <script>a</script>", "<p>x</p>", "[{0 script-src 1}]"},
		"counted":                 {"script-src 'self'", "<p>x</p><p>y</p>", "append p: <i onclick=go()>a</i>", "<p>x</p><p>y</p>", "[{0 script-src 2}]"},
		"own script":              {"script-src 'self'", "<p>x</p>", "append p: <script src=/a.js></script>", "<p>x<script src=/a.js></script></p>", ""},
		"needs nothing":           {"default-src 'none'", "<p>x</p>", "append p: <b>y</b>", "<p>x<b>y</b></p>", ""},
		"text":                    {"default-src 'none'", "<p>x</p>", "append p: text <script>a</script>", "<p>x&lt;script&gt;a&lt;/script&gt;</p>", ""},
		"style attribute":         {"style-src 'self'", "<p>x</p>", "set_attribute p: style=color:red", "<p>x</p>", "[{0 style-src 1}]"},
		"handler":                 {"script-src 'self'", "<p>x</p>", "set_attribute p: ONCLICK=go()", "<p>x</p>", "[{0 script-src 1}]"},
		"javascript address":      {"script-src 'self'", "<a>x</a>", "set_attribute a: href=javascript:go()", "<a>x</a>", "[{0 script-src 1}]"},
		"other attributes":        {"default-src 'none'", "<a>x</a>", "set_attribute a: href=/x\nset_attribute a: title=y", `<a href="/x" title="y">x</a>`, ""},
		"src of an image":         {"default-src 'none'", "<img src=a>", "set_attribute [src]: src=/b", "<img src=/b>", ""},
		"src of a script":         {"script-src 'self'", "<script src=a></script>", "set_attribute script: src=https://cdn.example/b", "<script src=a></script>", "[{0 script-src 1}]"},
		"src that is allowed":     {"script-src 'self'", "<script src=a></script>", "set_attribute script: src=/b", "<script src=/b></script>", ""},
		"src with nonce":          {nonce, "<script nonce=abc src=a></script>", "set_attribute script: src=/b", "<script nonce=abc src=/b></script>", ""},
		"src without nonce":       {nonce, "<script src=a></script>", "set_attribute script: src=/b", "<script src=a></script>", "[{0 script-src 1}]"},
		"src removed":             {"script-src 'self'", "<script src=a>b</script>", "remove_attribute script: src", "<script src=a>b</script>", "[{0 script-src 1}]"},
		"nonce removed":           {nonce, "<script nonce=abc>b</script>", "remove_attribute script: nonce", "<script nonce=abc>b</script>", "[{0 script-src 1}]"},
		"data becomes a script":   {"script-src 'self'", "<script type=a/b>b</script>", "set_attribute script: type=module", "<script type=a/b>b</script>", "[{0 script-src 1}]"},
		"text of a script":        {"script-src 'sha256-YWJj'", "<script>a</script>", "append script: text b", "<script>a</script>", "[{0 script-src 1}]"},
		"text of a nonced script": {nonce, "<script nonce=abc>a</script>", "append script: text b", "<script nonce=abc>ab</script>", ""},
		"text of data":            {"script-src 'none'", "<script type=a/b>a</script>", "append script: text b", "<script type=a/b>ab</script>", ""},
		"emptied script":          {"script-src 'self'", "<script>a</script>", "set_inner script: ", "<script></script>", ""},
		"in a title":              {"script-src 'self'", "<title>a</title>", "append title: <script>b</script>", "<title>a<script>b</script></title>", ""},
		"hash":                    {"script-src '" + hashesOf([]byte("a"))[0] + "'", "<p>x</p>", "append p: <script>a</script>", "<p>x<script>a</script></p>", ""},
		"slot in a script":        {"script-src '" + hashesOf([]byte("a('x')"))[0] + "'", "<p>x</p>", `append p: <script>a('{{segment "x"}}')</script>`, "<p>x</p>", "[{0 script-src 1}]"},
		"slot and nonce":          {nonce, "<p>x</p>", `append p: <i title={{segment "x"}}></i><script>a('{{segment "y"}}')</script>z{{segment "z"}}`, `<p>x<i title="x"></i><script nonce="abc">a('y')</script>zz</p>`, ""},
		"slot in a query":         {"script-src 'self'", "<p>x</p>", `append p: <script src="/a?b={{segment "x"}}"></script>`, `<p>x<script src="/a?b=x"></script></p>`, ""},
		"one of two scripts":      {"script-src 'self' 'nonce-abc'", "<p>x</p>", "append p: <script src=/a></script><script>b</script>", `<p>x<script src=/a></script><script nonce="abc">b</script></p>`, ""},
		"meta":                    {"", "<head>" + meta + "</head><p>x</p>", "append p: <script>a</script>", "<head>" + meta + `</head><p>x<script nonce="m1">a</script></p>`, ""},
		"meta and header":         {nonce, "<head>" + meta + "</head><p>x</p>", "append p: <script>a</script>", "<head>" + meta + "</head><p>x</p>", "[{0 script-src 1}]"},
		"in front of meta":        {"", "<head><title></title>" + meta + "</head>", "after title: <script>a</script>\nappend head: <script>b</script>", "<head><title></title><script>a</script>" + meta + `<script nonce="m1">b</script></head>`, ""},
		"around meta":             {"", "<head>" + meta + "</head>", "before meta: <script>a</script>\nafter meta: <script>b</script>", "<head><script>a</script>" + meta + `<script nonce="m1">b</script></head>`, ""},
		"refused behind meta":     {"", "<head>" + strings.Replace(meta, " 'nonce-m1'", "", 1) + "</head>", "prepend head: <script>a</script>\nappend head: <script>b</script>", "<head><script>a</script>" + strings.Replace(meta, " 'nonce-m1'", "", 1) + "</head>", "[{1 script-src 1}]"},
		"meta in body":            {"", "<!doctype html><body>" + meta + "<p>x</p>", "append p: <script>a</script>", "<!doctype html><body>" + meta + "<p>x<script>a</script></p>", ""},
		"meta in a template":      {"", "<head><template>" + meta + "</template></head><p>x</p>", "append p: <script>a</script>", "<head><template>" + meta + "</template></head><p>x<script>a</script></p>", ""},
		"sandbox in meta":         {"", `<head><meta http-equiv=content-security-policy content="sandbox"></head><p>x</p>`, "append p: <script>a</script>", `<head><meta http-equiv=content-security-policy content="sandbox"></head><p>x<script>a</script></p>`, ""},
		"a policy is not removed": {"", "<head>" + meta + "</head>", "remove meta\nset_attribute meta: content=x\nset_attribute meta: title=y", "<head>" + strings.Replace(meta, ">", ` title="y">`, 1) + "</head>", "[{0 meta 1} {1 meta 1}]"},
		"nor with the head":       {"", "<head><title>a</title>" + meta + "<link></head><p>", "set_inner head: <title>b</title>", "<head><title>b</title>" + meta + "</head><p>", ""},
		"base":                    {"script-src 'self'", "<head><base href=https://cdn.example/></head><p>x</p>", "append p: <script src=a></script>", "<head><base href=https://cdn.example/></head><p>x</p>", "[{0 script-src 1}]"},
		"base that is forbidden":  {"script-src 'self'; base-uri 'none'", "<head><base href=https://cdn.example/></head><p>x</p>", "append p: <script src=a></script>", "<head><base href=https://cdn.example/></head><p>x<script src=a></script></p>", ""},
		"hidden":                  {"script-src 'self'", "<div><p>x</p></div>", "remove div\nappend p: <script>a</script>", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var edits []decision.Edit
			for line := range strings.SplitSeq(c.edits, "\n") {
				edits = append(edits, shortEdit(t, line))
			}
			limits := Limits{Encoding: EncodingUTF8, Policy: ParsePolicy([]string{c.policy}, nil, policyPage)}
			got, blocked := underPolicy(t, planned(edits...), c.page, limits, 1<<20)
			if want := strings.ReplaceAll(c.blocked, "[]", ""); got != c.want || strings.ReplaceAll(blocked, "[]", "") != want {
				t.Errorf("%s with %s\n%s\n got %s %s\nwant %s %s", c.page, c.policy, c.edits, got, blocked, c.want, want)
			}
			checkPage(t, c.page, planned(edits...), limits)
			for _, chunk := range []int{1, 3, 17} {
				if cut, also := underPolicy(t, planned(edits...), c.page, limits, chunk); cut != got || also != blocked {
					t.Errorf("in chunks of %d: %s %s", chunk, cut, also)
				}
			}
		})
	}
}

// underPolicy rewrites a page in chunks, and says what was blocked.
func underPolicy(t rapid.TB, edits []decision.PlannedEdit, page string, limits Limits, chunk int) (out, blocked string) {
	t.Helper()
	program, err := Compile(edits)
	if err != nil {
		t.Fatal(err)
	}
	var written bytes.Buffer
	r := program.NewRewriter(&written, limits)
	defer r.Release()
	for rest := page; rest != ""; {
		n := min(chunk, len(rest))
		if _, err := io.WriteString(r, rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return written.String(), fmt.Sprint(r.Blocked())
}

func TestReplaceTextUnderPolicies(t *testing.T) {
	edit := decision.Edit{Select: "p", Op: decision.OpReplaceText, Pattern: "(b)", HTML: "<script>d</script><i>$1</i><style>c{}</style>"}
	const policy = "script-src 'nonce-abc'; style-src 'unsafe-inline'"
	limits := Limits{Encoding: EncodingUTF8, Policy: ParsePolicy([]string{policy}, nil, policyPage)}
	got, blocked := underPolicy(t, planned(edit), "<p>abc</p>", limits, 3)
	if want := `<p>a<script nonce="abc">d</script><i>b</i><style>c{}</style>c</p>`; got != want || blocked != "[]" {
		t.Errorf("got %s, %s", got, blocked)
	}
	limits.Policy = ParsePolicy([]string{"script-src '" + hashesOf([]byte("x"))[0] + "'"}, nil, policyPage)
	if got, blocked = underPolicy(t, planned(edit), "<p>abc</p>", limits, 3); got != "<p>abc</p>" || blocked != "[{0 script-src 1}]" {
		t.Errorf("refused: got %s, %s", got, blocked)
	}
}

// TestGroupsGetNoNonce: what a group matched was perhaps written by a visitor, and a
// policy keeps it from being run.
func TestGroupsGetNoNonce(t *testing.T) {
	limits := Limits{Encoding: EncodingUTF8, Policy: ParsePolicy([]string{"script-src 'nonce-abc'; style-src 'nonce-abc'"}, nil, policyPage)}
	for _, html := range []string{
		"<script>v='$1'</script>", "<script src='$1'></script>", "<script src=/a?$1></script>", "<style>$1</style>",
		"<svg><script>$1</script></svg>", "<script>a</script><script>$1</script>",
	} {
		if err := Check(replaceHTML("p", "by (.*)", html)); err == nil {
			t.Errorf("%s is not refused", html)
		}
	}
	for _, html := range []string{"<script src='/a?$1'></script>", "<script data-v='$1'>a</script>", "<script>a</script><script data-v='$1'>a</script>"} {
		edit := decision.Edit{Select: "p", Op: decision.OpReplaceText, Pattern: "by (.*)", HTML: html}
		const page = "<p>by ';steal()//</p>"
		if got, blocked := underPolicy(t, planned(edit), page, limits, 1<<20); got != page || !strings.HasPrefix(blocked, "[{0 s") {
			t.Errorf("%s: got %s, %s", html, got, blocked)
		}
		checkPage(t, page, planned(edit), limits)
	}
	edit := decision.Edit{Select: "p", Op: decision.OpReplaceText, Pattern: "(b)", HTML: "$1<script>a</script>$1<style>c</style><i>$1</i>"}
	if got, _ := underPolicy(t, planned(edit), "<p>b</p>", limits, 1<<20); got != `<p>b<script nonce="abc">a</script>b<style nonce="abc">c</style><i>b</i></p>` {
		t.Errorf("beside: got %s", got)
	}
}

// TestReportOnly: such a policy stops nobody. Its nonce is used where no other
// policy speaks of scripts or styles, so that less is reported.
func TestReportOnly(t *testing.T) {
	edits := plannedHTML("p", "<script>a</script>")
	for _, c := range []struct{ enforced, reportOnly, want string }{
		{"", "script-src 'nonce-abc'", `<p><script nonce="abc">a</script></p>`},
		{"frame-ancestors 'none'", "script-src 'nonce-abc'", `<p><script nonce="abc">a</script></p>`},
		{"", "script-src 'self'", "<p><script>a</script></p>"},
		{"", "sandbox", "<p><script>a</script></p>"},
		{"script-src 'unsafe-inline'", "script-src 'nonce-abc'", "<p><script>a</script></p>"},
		{"script-src 'self'", "script-src 'nonce-abc'", "<p></p>"},
	} {
		limits := Limits{Encoding: EncodingUTF8, Policy: ParsePolicy([]string{c.enforced}, []string{c.reportOnly}, policyPage)}
		if got, _ := underPolicy(t, edits, "<p></p>", limits, 5); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
		checkPage(t, "<p></p>", edits, limits)
	}
}

// TestRequiredUnderPolicies: a required edit that is refused leaves the page as it is.
func TestRequiredUnderPolicies(t *testing.T) {
	edits := planned(
		decision.Edit{Select: "p", Op: decision.OpAppend, HTML: "<script>a</script>", Required: true},
		decision.Edit{Select: "b", Op: decision.OpSetInner, Text: "z", Required: true},
		decision.Edit{Select: "i", Op: decision.OpRemove},
	)
	for page, policy := range map[string]string{
		"<p>x</p><b>y</b><i>z</i>": "script-src 'self'",
		"<head><meta http-equiv=content-security-policy content=\"script-src 'self'\"></head><p>x</p><b>y</b><i>z</i>": "",
	} {
		limits := Limits{Encoding: EncodingUTF8, Policy: ParsePolicy([]string{policy}, nil, policyPage)}
		for _, chunk := range []int{1, 7, 1 << 20} {
			if got, blocked := underPolicy(t, edits, page, limits, chunk); got != page || blocked != "[{0 script-src 1}]" {
				t.Errorf("in chunks of %d: got %s, %s", chunk, got, blocked)
			}
		}
		checkPage(t, page, edits, limits)
	}
}

// TestPolicyOfOtherCharacterSets: a hash holds for the bytes that browsers see.
func TestPolicyOfOtherCharacterSets(t *testing.T) {
	edits := plannedHTML("p", "<i>é</i><script>'é'</script>")
	for policy, want := range map[string]string{
		"script-src '" + hashesOf([]byte("'é'"))[0] + "'": "<p></p>",
		"script-src 'nonce-abc'":                          "<p><i>\xe9</i><script nonce=\"abc\">'\xe9'</script></p>",
	} {
		limits := Limits{Encoding: EncodingOf("text/html; charset=windows-1252"), Policy: ParsePolicy([]string{policy}, nil, policyPage)}
		if got, _ := underPolicy(t, edits, "<p></p>", limits, 4); got != want {
			t.Errorf("%s: got %q", policy, got)
		}
		checkPage(t, "<p></p>", edits, limits)
	}
}

func TestPoliced(t *testing.T) {
	for line, want := range map[string]bool{
		"append p: <b>x</b>":                 false,
		"append p: <script>x</script>":       true,
		"append p: text <script>x</script>":  false,
		"set_inner #hero: text x":            false,
		"append script.x: text y":            true,
		"set_attribute img: src=/x":          false,
		"set_attribute [src]: src=/x":        true,
		"set_attribute a: href=/x":           false,
		"set_attribute a: href=javascript:x": true,
		"set_attribute p: style=x":           true,
		"remove p":                           false,
	} {
		if got := compile(t, shortEdit(t, line)).Policed(); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
	edits := plannedHTML("p", "<script>x</script>")
	edits[0].Apply = false
	if program, err := Compile(edits); err != nil || program.Policed() {
		t.Errorf("an edit that is matched only: %v, %v", program.Policed(), err)
	}
}

var drawnPolicies = []string{
	"", "script-src 'self'", "script-src 'nonce-abc'", "default-src 'nonce-abc'; style-src 'unsafe-inline'", "script-src 'unsafe-inline' 'self'; style-src 'none'",
	"sandbox", "script-src 'nonce-abc' 'nonce-d' 'strict-dynamic'; base-uri 'self'", "style-src-attr 'none'", "script-src https://cdn.example/",
}

// policedEdits draws edits that need policies, and others.
func policedEdit() *rapid.Generator[decision.PlannedEdit] {
	contents := []string{"<script>a</script>", "é<style>b{}</style>", "<b onclick=c>d</b>", "<script src=/e></script>", "<link rel=stylesheet href=f>", "<i style='g'></i>", "<b>h</b>"}
	return rapid.Custom(func(t *rapid.T) decision.PlannedEdit {
		e := anyEdit().Draw(t, "edit")
		switch e.Op {
		case decision.OpSetAttribute:
			e.Name, e.Value = rapid.SampledFrom([]string{"src", "style", "onclick", "content", "title", "type"}).Draw(t, "name"), "/x"
		case decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace, decision.OpSetInner:
			e.Text, e.HTML = "", rapid.SampledFrom(contents).Draw(t, "content")+rapid.SampledFrom(contents).Draw(t, "more")
		case decision.OpReplaceText:
			e.Text, e.HTML = "", rapid.SampledFrom(contents).Draw(t, "content")
		}
		if rapid.IntRange(0, 3).Draw(t, "of head") == 0 {
			e.Select = rapid.SampledFrom([]string{"html", "head", "meta", "base", "title", "script", "style", "body"}).Draw(t, "part")
		}
		return e
	})
}

// TestSpliceUnderPolicies: policies, in the head and in front of it, mean the same
// to a page that is streamed and to one that is spliced.
func TestSpliceUnderPolicies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var head strings.Builder
		for range rapid.IntRange(0, 4).Draw(t, "head") {
			head.WriteString(rapid.SampledFrom([]string{
				"<title>t</title>", "<script>s</script>", "<script nonce=abc>s</script>", "<style>s</style>", "<base href=/b/>", "<base href=https://cdn.example>",
				"<meta charset=latin1>", "<template><meta http-equiv=content-security-policy content=\"script-src 'none'\"></template>",
				fmt.Sprintf("<meta http-equiv=content-security-policy content=\"%s\">", rapid.SampledFrom(drawnPolicies).Draw(t, "meta")),
			}).Draw(t, "tag"))
		}
		page := rapid.SampledFrom([]string{"", "<head>", "<!doctype html><html><head>"}).Draw(t, "front") + head.String() +
			rapid.SampledFrom([]string{"", "</head><body>"}).Draw(t, "middle") + soup().Draw(t, "page")
		limits := Limits{Encoding: rapid.SampledFrom([]Encoding{EncodingUTF8, EncodingUnknown}).Draw(t, "encoding")}
		if rapid.IntRange(0, 3).Draw(t, "header") > 0 {
			limits.Policy = ParsePolicy([]string{rapid.SampledFrom(drawnPolicies).Draw(t, "policy")}, []string{rapid.SampledFrom(drawnPolicies).Draw(t, "report only")}, policyPage)
		}
		edits := rapid.SliceOfN(policedEdit(), 1, 5).Draw(t, "edits")
		checkPage(t, page, edits, limits)
		whole, blocked := underPolicy(t, edits, page, limits, 1<<20)
		if cut, also := underPolicy(t, edits, page, limits, rapid.IntRange(1, 20).Draw(t, "chunk")); cut != whole || blocked != also {
			t.Fatalf("%+v on %s\nin chunks %s %s\nwhole     %s %s", edits, page, cut, also, whole, blocked)
		}
	})
}

// FuzzNonces gives nonces to content: browsers read the same page, and each script
// and style of it has the nonce or is known to be without.
func FuzzNonces(f *testing.F) {
	for _, content := range []string{
		"<script>a</script><style>b</style>", "<p><body onload=a><svg><script>b</script></svg>", "<td><script\na=1>b</script><table><style>c",
		"<template><script>a</script></template><link rel='x stylesheet' href=b>", "<textarea><script></textarea><!--<script>--><script/>a</script>",
		"<script><!--<script></script>--></script><math><script>a</script></math>",
	} {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 2048 || checkText("html", content) != nil || checkMarkup(content) != nil {
			return
		}
		needs, spots := contentNeeds([]byte(content), nil, false)
		var given strings.Builder
		at := 0
		for _, s := range spots {
			given.WriteString(content[at:s.at] + ` nonce="zz"`)
			at = s.at
		}
		given.WriteString(content[at:])
		count := make(map[needKind]int)
		for i := range needs {
			count[needs[i].kind]++
		}
		plain, nonced := readNonces(t, content), readNonces(t, given.String())
		if plain.page != nonced.page {
			t.Fatalf("%q becomes another page:\n%s\n%s", content, plain.page, nonced.page)
		}
		if plain.scripts > count[needScript]+count[needScriptURL] || plain.styles > count[needStyle] || plain.handlers > count[needHandler] {
			t.Fatalf("%q has %+v, found %v", content, plain, count)
		}
		if given := len(spots); nonced.nonces > plain.nonces+given {
			t.Fatalf("%q: %d nonces of %d", content, nonced.nonces, given)
		}
	})
}

// nonces is what a parser finds in content.
type nonces struct {
	page                              string
	scripts, styles, handlers, nonces int
}

func readNonces(t *testing.T, content string) (found nonces) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader("<!doctype html><body>" + content))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		tag := policedTag{name: n.Data}
		for _, a := range n.Attr {
			tag.attrs = append(tag.attrs, policedAttr{name: a.Key, value: a.Val})
			if isHandler(a.Key) {
				found.handlers++
			}
		}
		text := n.FirstChild != nil && n.FirstChild.Type == html.TextNode
		switch {
		case n.Data == "script" && n.Namespace == "" && tag.scriptType() == scriptRuns && (text || tag.value("src") != ""):
			found.scripts++
		case n.Data == "style" && n.Namespace == "" && text && tag.value("type") == "":
			found.styles++
		}
		n.Attr = slices.DeleteFunc(n.Attr, func(a html.Attribute) bool {
			if a.Key == "nonce" && a.Val == "zz" {
				found.nonces++
				return true
			}
			return false
		})
	}
	var b strings.Builder
	if err := html.Render(&b, doc); err != nil {
		t.Fatal(err)
	}
	found.page = b.String()
	return found
}
