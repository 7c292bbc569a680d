package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

func replaceText(selector, pattern, text string) decision.Edit {
	return decision.Edit{Select: selector, Op: decision.OpReplaceText, Pattern: pattern, Text: text}
}

func replaceHTML(selector, pattern, html string) decision.Edit {
	return decision.Edit{Select: selector, Op: decision.OpReplaceText, Pattern: pattern, HTML: html}
}

func TestReplaceText(t *testing.T) {
	type edits = []decision.Edit
	for name, c := range map[string]struct {
		page  string
		edits edits
		want  string
	}{
		"words":               {"<p>red cat, red dog</p>red", edits{replaceText("p", "red", "blue")}, "<p>blue cat, blue dog</p>red"},
		"inner elements":      {"<p>a<b>a</b>a</p>a", edits{replaceText("p", "a", "x")}, "<p>x<b>x</b>x</p>a"},
		"not across tags":     {"<p>ab<b></b>c</p>", edits{replaceText("p", "b.*c|abc", "x")}, "<p>ab<b></b>c</p>"},
		"not elsewhere":       {"<p title=a>a<!--a--><script>a</script><?a><style>a</style><textarea>a</textarea></p>", edits{replaceText("p", "a", "x")}, "<p title=a>x<!--a--><script>a</script><?a><style>a</style><textarea>x</textarea></p>"},
		"title":               {"<title>Shop</title>", edits{replaceText("title", "Shop", "A & B")}, "<title>A &amp; B</title>"},
		"groups":              {"<p>Hello Ann Lee!</p>", edits{replaceText("p", `(\w+) (?P<last>\w+)!`, "${last}, $1 $$ $0")}, "<p>Hello Lee, Ann $ Ann Lee!</p>"},
		"groups are escaped":  {"<p>a &lt;i&gt; b</p>", edits{replaceHTML("p", "<(.)>", "<b>$0$1</b>")}, "<p>a <b>&lt;i&gt;i</b> b</p>"},
		"groups in values":    {`<p>a x" onclick="y</p>`, edits{replaceHTML("p", "x(.*)", `<i title="$1">`)}, `<p>a <i title="&#34; onclick=&#34;y"></p>`},
		"groups in addresses": {`<p>#a/b "c"</p>`, edits{replaceHTML("p", "#(.*)", `<a href="/tag/$1">$1</a>`)}, `<p><a href="/tag/a%2Fb%20%22c%22">a/b "c"</a></p>`},
		"groups as addresses": {"<p>javascript:alert(1)</p>", edits{replaceHTML("p", ".+", `<a href="$0">x</a>`)}, `<p><a href="#">x</a></p>`},
		"no new tags":         {"<p><3script>a</p>", edits{replaceHTML("p", "3", "")}, "<p>&lt;script>a</p>"},
		"no new tags by text": {"<p>a<3b<3</p>", edits{replaceText("p", "3", "i")}, "<p>a&lt;ib&lt;i</p>"},
		"references":          {"<p>M&uuml;ller &amp; S&#xf6;hne &copy 1</p>", edits{replaceText("p", "Müller & Söhne ©", "X")}, "<p>X 1</p>"},
		"reference stays":     {"<p>&uuml; a &amp; b &lt;</p>", edits{replaceText("p", "a|b", "x")}, "<p>&uuml; x &amp; x &lt;</p>"},
		"unfinished name":     {"<p>&ampfoo &nosuch; & &#;</p>", edits{replaceText("p", "foo|nosuch", "x")}, "<p>&ampx &x; & &#;</p>"},
		"part of two":         {"<p>&NotEqualTilde;b</p>", edits{replaceText("p", "\u0338b", "x")}, "<p>x</p>"},
		"line ends":           {"<p>a\r\nb\rc</p>", edits{replaceText("p", "a\nb\nc", "x")}, "<p>x</p>"},
		"less-than":           {"<p>a < b <3 </p>", edits{replaceText("p", "a < b <", "x")}, "<p>x3 </p>"},
		"anchors":             {"<p>aa</p><p>ba</p>", edits{replaceText("p", "^a", "x")}, "<p>xa</p><p>ba</p>"},
		"word borders":        {"<p>cat concat cat</p>", edits{replaceText("p", `\bcat\b`, "x")}, "<p>x concat x</p>"},
		"empty matches":       {"<p>a b</p>", edits{replaceText("p", `\b|b`, "x")}, "<p>a b</p>"},
		"taken away":          {"<p>a b</p>", edits{replaceText("p", "a ", "")}, "<p>b</p>"},
		"in order":            {"<p>a b</p>", edits{replaceText("p", "a", "b"), replaceText("p", "b", "c")}, "<p>b c</p>"},
		"once":                {"<div>a<div>a</div></div>", edits{replaceText("div", "a", "aa")}, "<div>aa<div>aa</div></div>"},
		"outer and inner":     {"<div>a<p>a b</p></div>", edits{replaceText("p", "b", "y"), replaceText("div", "a", "x")}, "<div>x<p>x y</p></div>"},
		"inserted stays":      {"<p>a</p>", edits{replaceText("p", "a", "x"), {Select: "p", Op: decision.OpAppend, HTML: "a"}}, "<p>xa</p>"},
		"inner taken away":    {"<p>a<b>a</b></p>", edits{replaceText("p", "a", "x"), {Select: "b", Op: decision.OpRemove}}, "<p>x</p>"},
		"void":                {"<p><br>a", edits{replaceText("br", "a", "x")}, "<p><br>a"},
		"implied body":        {"<!doctype html> a", edits{replaceText("body", "a", "x")}, "<!doctype html> x"},
		"implied end":         {"<ul><li>a<li>b</ul>a", edits{replaceText("li", ".", "x")}, "<ul><li>x<li>x</ul>a"},
		"template":            {"<div><template>a</template>a</div>", edits{replaceText("div", "a", "x")}, "<div><template>a</template>x</div>"},
		"svg":                 {"<svg><text>a</text><style>a</style><![CDATA[a]]></svg>", edits{replaceText("svg", "a", "x")}, "<svg><text>x</text><style>a</style><![CDATA[a]]></svg>"},
		"unclosed":            {"<p>a b", edits{replaceText("p", "b", "x")}, "<p>a x"},
		"end in title":        {"<title>a", edits{replaceText("title", "a", "x")}, "<title>a"},
	} {
		t.Run(name, func(t *testing.T) {
			program := compile(t, c.edits...)
			for chunking, size := range chunkings(5) {
				if got := rewrite(t, program, c.page, inUTF8, size); got.out != c.want {
					t.Errorf("%s: got %s, want %s", chunking, got.out, c.want)
				}
			}
			if got := rewrite(t, program, c.page, inUTF8, nil); got.out != c.want {
				t.Errorf("got %s, want %s", got.out, c.want)
			}
			checkPage(t, c.page, planned(c.edits...), inUTF8)
		})
	}
}

func TestReplaceTextRefuses(t *testing.T) {
	for _, c := range []struct {
		edit   decision.Edit
		field  string
		column int
		says   string
	}{
		{replaceText("p", "", "x"), "pattern", 0, "needs a pattern"},
		{replaceText("p", "ab(c", "x"), "pattern", 1, "missing closing )"},
		{replaceText("p", "ü[b-a]", "x"), "pattern", 3, "invalid character class range"},
		{replaceText("p", "a*", "x"), "pattern", 0, "matches the empty text"},
		{replaceText("p", strings.Repeat("a", 2000), "x"), "pattern", 0, "at most 1024"},
		{replaceText("p", "(a)", "é $2"), "text", 3, `no group "2"`},
		{replaceHTML("p", "(a)", "<b>${name}</b>"), "html", 4, `no group "name"`},
		{replaceHTML("p", "a", "<b"), "html", 0, "unfinished tag"},
		{replaceHTML("p", "(a)", "é<b title=$1>"), "html", 11, "put the value in quotes"},
		{replaceHTML("p", "(a)", "<b onclick=\"f('$1')\">"), "html", 16, "in code"},
		{replaceHTML("p", "(a)", "<b onclick=\"$1\">"), "html", 13, "in code"},
		{replaceHTML("p", "(a)", "<script>f('$1')</script>"), "html", 12, "in code"},
		{replaceHTML("p", "(a)", "<style>b{content:'$1'}</style>"), "html", 19, "in code"},
		{replaceHTML("p", "(a)", "<script src=\"/$1\"></script>"), "html", 15, "address that the element loads"},
		{replaceHTML("p", "(a)", "<$1>"), "html", 2, "name of a tag"},
		{replaceHTML("p", "(a)", "<!-- $1 -->"), "html", 6, "in a comment"},
		{replaceHTML("p", "(a)", "<b $1=x>"), "html", 4, "name of an attribute"},
		{decision.Edit{Select: "p", Op: decision.OpReplaceText, Pattern: "a", Name: "x"}, "name", 0, "takes no name"},
		{decision.Edit{Select: "p", Op: decision.OpReplaceText, Pattern: "a", Text: "x", HTML: "y"}, "html", 0, "both"},
		{decision.Edit{Select: "p", Op: decision.OpAppend, Pattern: "a", Text: "x"}, "pattern", 0, "takes no pattern"},
	} {
		var wrong *EditError
		if err := Check(c.edit); !errors.As(err, &wrong) || wrong.Field != c.field || wrong.Column != c.column || !strings.Contains(wrong.Message, c.says) {
			t.Errorf("%+v: got %+v", c.edit, wrong)
		}
	}
	if err := Check(replaceText("p", "costs", "$ 5 $x $$1")); err != nil {
		t.Error(err)
	}
}

// anyReplacement draws edits of text.
func anyReplacement() *rapid.Generator[decision.PlannedEdit] {
	return rapid.Custom(func(t *rapid.T) decision.PlannedEdit {
		e := decision.Edit{Op: decision.OpReplaceText, Select: rapid.SampledFrom([]string{"p", "div", "body", "html", "title, textarea", "table", "svg", "*"}).Draw(t, "select"),
			Pattern: rapid.SampledFrom([]string{"x", "a", "[a-z] ?", "(a) < b", "&", "<", "o$", "t.*t", "\n"}).Draw(t, "pattern")}
		if rapid.Bool().Draw(t, "html") {
			e.HTML = "<i>$0</i>"
		} else {
			e.Text = rapid.SampledFrom([]string{"", "é", "[$0]", "<"}).Draw(t, "text")
		}
		return decision.PlannedEdit{Edit: e, Apply: rapid.IntRange(0, 5).Draw(t, "apply") > 0}
	})
}

// TestReplaceTextInChunks holds text edits, beside others, to one result in any
// chunks and for compiled pages.
func TestReplaceTextInChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.OneOf(soup(), structuredPage()).Draw(t, "page")
		edits := rapid.SliceOfN(rapid.OneOf(anyReplacement(), anyReplacement(), anyEdit()), 1, 5).Draw(t, "edits")
		limits := Limits{Encoding: rapid.SampledFrom([]Encoding{EncodingUTF8, EncodingUnknown, EncodingOf("text/html; charset=latin1")}).Draw(t, "encoding")}
		if rapid.IntRange(0, 5).Draw(t, "small") == 0 {
			limits.Memory = decision.Size(rapid.IntRange(3, 60).Draw(t, "memory"))
		}
		program, err := Compile(edits)
		if err != nil {
			t.Fatal(err)
		}
		whole := rewriteLimited(t, program, src, limits, func() int { return len(src) })
		for name, size := range chunkings(uint64(len(src))) {
			if got := rewriteLimited(t, program, src, limits, size); fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Fatalf("%s: %+v on %q\ngot  %+v\nwant %+v", name, edits, src, got, whole)
			}
		}
		checkPage(t, src, edits, limits)
	})
}

// TestLongTextOfOpenElement holds a compiled page to what a stream says of text that
// is too long to be held, in an element that does not end.
func TestLongTextOfOpenElement(t *testing.T) {
	program := compile(t, replaceText("title", "x", "y"))
	for _, end := range []string{"", "</title>"} {
		for size, want := range map[int]Reason{35: NotBailed, 36: BailedMemory} {
			src, limits := "<title>"+strings.Repeat("a", size)+end, Limits{Memory: 35, Encoding: EncodingUTF8}
			stream := rewrite(t, program, src, limits, nil)
			page, reason := CompilePage([]byte(src), limits)
			if page == nil {
				t.Fatalf("not compiled: %s", reason)
			}
			if s := page.Splice(program, Given{}); stream.bailed != want || s.Bailed() != want {
				t.Errorf("%d bytes, end %q: the stream says %q, the splice %q, want %q", size, end, stream.bailed, s.Bailed(), want)
			}
		}
	}
}

// TestReplaceTextKeepsBytes checks that what no pattern matches stays as it came.
func TestReplaceTextKeepsBytes(t *testing.T) {
	program := compile(t, replaceText("html", "\u2603+", "x"), replaceText("body", "(?s)nowhere.*\u2603", "x"))
	for name, page := range realPages(t) {
		if got := rewrite(t, program, string(page), Limits{}, nil); got.out != string(page) {
			t.Errorf("%s: %s", name, difference(got.out, string(page)))
		}
	}
}

// TestReplaceTextHoldsLittle checks that text longer than the limit passes through,
// and that no pattern makes the cost grow with the square of the text.
func TestReplaceTextHoldsLittle(t *testing.T) {
	program := compile(t, replaceText("p", "a(?s:.*b)?", "x"))
	long := "<p>a</p><p>" + strings.Repeat("a", 300) + "</p><p>a</p>"
	want := strings.Replace(long, "<p>a</p>", "<p>x</p>", 1)
	for name, size := range chunkings(2) {
		if got := rewrite(t, program, long, Limits{Memory: 200, Encoding: EncodingUTF8}, size); got.out != want || got.bailed != BailedMemory {
			t.Errorf("%s: got %q, %s", name, got.out, got.bailed)
		}
	}
	page := strings.Repeat("<p>"+strings.Repeat("a ", 1<<18)+"</p>", 2)
	if got := rewrite(t, program, page, inUTF8, nil); got.bailed != NotBailed || !strings.HasPrefix(got.out, "<p>x x") || !strings.HasSuffix(got.out, "a a </p>") {
		t.Errorf("got %.40q…%.40q %s", got.out, got.out[len(got.out)-40:], got.bailed)
	}
}

func TestReplaceTextInOtherCharsets(t *testing.T) {
	limits := Limits{Encoding: EncodingOf("text/html; charset=windows-1251")}
	program := compile(t, replaceText("p", "мир", "мире ☃"), replaceText("i", "(.)", "[$1]"))
	page := "<p>\xec\xe8\xf0 &#x43c;\xe8\xf0</p><i>\xe8</i>" // мир
	want := "<p>\xec\xe8\xf0\xe5 &#x2603; \xec\xe8\xf0\xe5 &#x2603;</p><i>[\xe8]</i>"
	if got := rewrite(t, program, page, limits, nil); got.out != want {
		t.Errorf("got %q, want %q", got.out, want)
	}
}

func rewriteLimited(t *rapid.T, p *Program, src string, limits Limits, size func() int) result {
	var out bytes.Buffer
	r := p.NewRewriter(&out, limits)
	defer r.Release()
	for rest := src; rest != ""; {
		n := min(len(rest), size())
		if _, err := r.Write([]byte(rest[:n])); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return result{out.String(), append([]Match(nil), r.Matches()...), r.Bailed()}
}
