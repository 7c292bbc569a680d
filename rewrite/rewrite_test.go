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

// edit writes an edit in short: "op selector: html", "op selector: name=value" or
// "op selector: class".
func shortEdit(t testing.TB, s string) decision.Edit {
	t.Helper()
	op, rest, _ := strings.Cut(s, " ")
	selector, content, _ := strings.Cut(rest, ": ")
	e := decision.Edit{Select: selector, Op: decision.Op(op)}
	switch e.Op {
	case decision.OpSetAttribute:
		e.Name, e.Value, _ = strings.Cut(content, "=")
	case decision.OpRemoveAttribute:
		e.Name = content
	case decision.OpAddClass, decision.OpRemoveClass:
		e.Value = content
	default:
		if text, ok := strings.CutPrefix(content, "text "); ok {
			e.Text = text
		} else {
			e.HTML = content
		}
	}
	return e
}

type rewriteCase struct {
	page  string
	edits string // one on each line
	want  string
}

func runCases(t *testing.T, limits Limits, cases map[string]rewriteCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var edits []decision.Edit
			for line := range strings.SplitSeq(c.edits, "\n") {
				edits = append(edits, shortEdit(t, strings.TrimSpace(line)))
			}
			program := compile(t, edits...)
			whole := rewrite(t, program, c.page, limits, nil)
			if whole.out != c.want {
				t.Errorf("%s\non   %s\ngot  %s\nwant %s", c.edits, c.page, whole.out, c.want)
			}
			for chunking, size := range chunkings(7) {
				if got := rewrite(t, program, c.page, limits, size); fmt.Sprint(got) != fmt.Sprint(whole) {
					t.Errorf("in chunks (%s): got %+v, want %+v", chunking, got, whole)
				}
			}
			if !strings.Contains(c.edits, "{{") { // pages with slots are not spliced
				checkPage(t, c.page, planned(edits...), limits)
			}
		})
	}
}

var inUTF8 = Limits{Encoding: EncodingUTF8}

func TestOperations(t *testing.T) {
	runCases(t, inUTF8, map[string]rewriteCase{
		"before":                 {"<p>a<p>b", "before p: <hr>", "<hr><p>a<hr><p>b"},
		"after":                  {"<div>a</div>b", "after div: X", "<div>a</div>Xb"},
		"prepend":                {"<div>a</div>", "prepend div: X", "<div>Xa</div>"},
		"append":                 {"<div>a</div>", "append div: X", "<div>aX</div>"},
		"replace":                {"<b>a</b>c", "replace b: X", "Xc"},
		"set inner":              {"<b>a<i>d</i></b>c", "set_inner b: X", "<b>X</b>c"},
		"empty":                  {"<b>a</b>c", "set_inner b", "<b></b>c"},
		"remove":                 {"a<b>a</b>c", "remove b", "ac"},
		"unwrap":                 {"a<b>x<i>y</i></b>c", "unwrap b", "ax<i>y</i>c"},
		"text is escaped":        {"<b></b>", "append b: text <i> & co", "<b>&lt;i&gt; &amp; co</b>"},
		"html is not":            {"<b></b>", "append b: <i> &amp; co", "<b><i> &amp; co</b>"},
		"content is not matched": {"<b></b>", "append b: <b>x</b>", "<b><b>x</b></b>"},
		"void":                   {"<p><img>x", "after img: A\nappend img: B\nset_inner img: C\nbefore img: D", "<p>D<img>Ax"},
		"remove void":            {"a<img>b", "remove img", "ab"},
		"unwrap void":            {"a<img>b", "unwrap img", "ab"},
		"replace void":           {"a<img>b", "replace img: X", "aXb"},
		"several in order": {"<b>c</b>", "before b: 1\nbefore b: 2\nafter b: 3\nafter b: 4\nprepend b: 5\nprepend b: 6\nappend b: 7\nappend b: 8",
			"12<b>65c78</b>43"},
		"set inner between":       {"<b>c</b>", "prepend b: 1\nappend b: 2\nset_inner b: 3\nprepend b: 4\nappend b: 5", "<b>435</b>"},
		"last set inner":          {"<b>c</b>", "set_inner b: 1\nset_inner b: 2", "<b>2</b>"},
		"last replace":            {"<b>c</b>", "replace b: 1\nreplace b: 2", "2"},
		"replace and remove":      {"<b>c</b>", "replace b: 1\nremove b", "1"},
		"remove and replace":      {"<b>c</b>", "remove b\nreplace b: 1", "1"},
		"around what is gone":     {"<b>c</b>", "remove b\nbefore b: 1\nafter b: 2\nappend b: 3\nset_inner b: 4", "12"},
		"unwrap and content":      {"<b>c</b>", "unwrap b\nprepend b: 1\nappend b: 2\nbefore b: 3\nafter b: 4", "31c24"},
		"unwrap and replace":      {"<b>c</b>", "unwrap b\nreplace b: 1", "1"},
		"attributes of gone":      {"<b>c</b>", "replace b: 1\nset_attribute b: a=b", "1"},
		"inside what is gone":     {"<div><b>c</b></div>", "remove div\nappend b: 1\nafter b: 2", ""},
		"inside new inner":        {"<div><b>c</b></div>", "set_inner div: 1\nappend b: 1\nreplace b: 2", "<div>1</div>"},
		"inside unwrapped":        {"<div><b>c</b></div>", "unwrap div\nappend b: 1", "<b>c1</b>"},
		"nested same":             {"<div>a<div>b</div>c</div>", "append div: X", "<div>a<div>bX</div>cX</div>"},
		"nested unwrap":           {"<div>a<div>b</div>c</div>", "unwrap div", "abc"},
		"nested remove":           {"<div>a<div>b</div>c</div>d", "remove div", "d"},
		"list":                    {"<b>1</b><i>2</i>", "append b, i: X", "<b>1X</b><i>2X</i>"},
		"matched twice in a list": {"<b class=a>1</b>", "append b, .a: X", "<b class=a>1X</b>"},
	})
}

// TestTextEndsColgroup: text that is not white space is no content of a colgroup
// (the standard's section 13.2.6.4.12).
func TestTextEndsColgroup(t *testing.T) {
	const page = "<!doctype html><table><colgroup> "
	runCases(t, inUTF8, map[string]rewriteCase{
		"text":           {page + "text <div>x", "remove colgroup", "<!doctype html><table>text <div>x"},
		"white space":    {page + "<col> </table>x", "remove colgroup", "<!doctype html><table></table>x"},
		"not a tag":      {page + "<3 x</table>", "append colgroup: !", page + "!<3 x</table>"},
		"stray end tag":  {page + "</x-y><div>z", "after colgroup: !", page + "!</x-y><div>z"},
		"in a run":       {page + "a<b>c</b></table>", "after colgroup: !\nappend table: ?", page + "!a<b>c</b>?</table>"},
		"strange end":    {page + "</path>b</table>", "append colgroup: !", page + "!</path>b</table>"},
		"in SVG":         {"<svg><colgroup>a</g>b</colgroup>", "append colgroup: !", "<svg><colgroup>a</g>b!</colgroup>"},
		"not a tag, out": {page + "<3 x</table>", "remove colgroup", "<!doctype html><table><3 x</table>"},
		"of svg":         {"<svg><colgroup>a<3</svg>", "append colgroup: !", "<svg><colgroup>a<3!</svg>"},
	})
	searched := []decision.Edit{{Select: "table", Op: decision.OpReplaceText, Pattern: "x", Text: "y"}, {Select: "colgroup", Op: decision.OpAfter, HTML: "!"}}
	if got := rewrite(t, compile(t, searched...), page+"<3 x</table>", inUTF8, nil); got.out != page+"!<3 y</table>" {
		t.Errorf("in text that is searched: got %s", got.out)
	}
	checkPage(t, page+"<3 x</table>", planned(searched...), inUTF8)
}

func TestAttributes(t *testing.T) {
	runCases(t, inUTF8, map[string]rewriteCase{
		"new":                     {"<a>x</a>", "set_attribute a: href=/x", `<a href="/x">x</a>`},
		"new behind others":       {"<a b=c  d >x", "set_attribute a: e=f", `<a b=c  d e="f" >x`},
		"image is an img":         {"<image class=b src=a>", "set_attribute img.b: src=/c", "<image class=b src=/c>"},
		"new in self-closing":     {"<br/><br />", "set_attribute br: a=b", `<br a="b"/><br a="b" />`},
		"new behind bare value":   {"<a b=c/>x", "set_attribute a: e=f", `<a b=c/ e="f">x`},
		"new behind missing":      {"<a b=>x", "set_attribute a: e=f", `<a b="" e="f">x`},
		"new behind missing, gap": {"<a b=  >x", "set_attribute a: e=f", `<a b="" e="f"  >x`},
		"new behind odd name":     {`<a b"c>x`, "set_attribute a: e=f", `<a b"c e="f">x`},
		"value, double quotes":    {`<a b = "c" d>`, `set_attribute a: b=x"y'z&`, `<a b = "x&quot;y'z&amp;" d>`},
		"value, single quotes":    {`<a b='c' d>`, `set_attribute a: b=x"y'z`, `<a b='x"y&#39;z' d>`},
		"value, bare":             {`<a b=c d>`, `set_attribute a: b=xyz`, `<a b=xyz d>`},
		"value, bare to quoted":   {`<a b=c d>`, `set_attribute a: b=x y`, `<a b="x y" d>`},
		"value, none":             {`<a b d>`, `set_attribute a: b=x`, `<a b="x" d>`},
		"value, missing":          {`<a b= >`, `set_attribute a: b=x`, `<a b="x" >`},
		"value, emptied":          {`<a b=c d>`, `set_attribute a: b=`, `<a b="" d>`},
		"value, same":             {`<a b=c&amp;d>`, `set_attribute a: b=c&d`, `<a b=c&amp;d>`},
		"value, same empty":       {`<a b>`, `set_attribute a: b=`, `<a b>`},
		"case":                    {`<A HREF=c>`, `set_attribute a: href=x`, `<A HREF=x>`},
		"first of duplicates":     {`<a b=1 b=2>`, `set_attribute a: b=3`, `<a b=3 b=2>`},
		"twice":                   {`<a b=1>`, "set_attribute a: b=2\nset_attribute a: b=3\nset_attribute a: c=4", `<a b=3 c="4">`},
		"markup in value":         {`<a b="1">`, "set_attribute a: b=<p>", `<a b="&lt;p&gt;">`},
		"remove":                  {`<a b=1 c=2>`, "remove_attribute a: b", `<a c=2>`},
		"remove last":             {`<a b=1 c="2" >`, "remove_attribute a: c", `<a b=1 >`},
		"remove all duplicates":   {`<a b=1 c B='2' b>`, "remove_attribute a: b", `<a c>`},
		"remove without gap":      {`<a b="1"c="2"d>`, "remove_attribute a: c", `<a b="1"d>`},
		"remove first, no gap":    {`<a b="1"c="2">`, "remove_attribute a: b", `<a c="2">`},
		"remove behind slash":     {`<a/b>`, "remove_attribute a: b", `<a/ >`},
		"remove behind slash, 2":  {`<a / b/>`, "remove_attribute a: b", `<a //>`},
		"remove what is not":      {`<a b=1>`, "remove_attribute a: c", `<a b=1>`},
		"add class":               {`<a class="b">`, "add_class a: c", `<a class="b c">`},
		"add class, bare":         {`<a class=b>`, "add_class a: c", `<a class="b c">`},
		"add class, single":       {`<a class='b '>`, "add_class a: c", `<a class='b c'>`},
		"add class, new":          {`<a>`, "add_class a: c", `<a class="c">`},
		"add class, empty":        {`<a class>`, "add_class a: c", `<a class="c">`},
		"add class, there":        {`<a class=" b  c">`, "add_class a: b", `<a class=" b  c">`},
		"add class, part":         {`<a class="bc">`, "add_class a: b", `<a class="bc b">`},
		"remove class":            {`<a class="b c d">`, "remove_class a: c", `<a class="b d">`},
		"remove class, last":      {`<a class="b c">`, "remove_class a: c", `<a class="b">`},
		"remove class, first":     {`<a class="b c">`, "remove_class a: b", `<a class="c">`},
		"remove class, twice":     {`<a class="b c b">`, "remove_class a: b", `<a class="c">`},
		"remove class, bare":      {`<a class=b id=c>`, "remove_class a: b", `<a class="" id=c>`},
		"remove class, reference": {`<a class="b &#99; d">`, "remove_class a: c", `<a class="b d">`},
		"swap class":              {`<a class="b c">`, "remove_class a: b\nadd_class a: d", `<a class="c d">`},
		"attribute and content":   {`<a b>c</a>`, "set_attribute a: b=1\nset_inner a: X\nbefore a: Y", `Y<a b="1">X</a>`},
		"in raw text element":     {`<script src=a>x</script>`, "set_attribute script: src=b", `<script src=b>x</script>`},
		"case of a new name":      {`<svg></svg>`, "set_attribute svg: viewBox=0 0", `<svg viewBox="0 0"></svg>`},
	})
}

func TestTextIsNoTag(t *testing.T) {
	cases := map[string]rewriteCase{}
	for i, page := range []string{
		"<!-- <b> --><b></b>", "<!--><b></b>", "<!---><b></b>", "<!----><b></b>", "<!-- <b> --!><b></b>", "<!--<b>--!-><b>--><b></b>",
		"<!-- a -- > <b> --><b></b>", "<!><b></b>", "<!x<b ><b></b>", "<?x <b ?><b></b>", "</ <b ><b></b>", "</><b></b>", "<!DOCTYPE x <b ><b></b>",
		"<![CDATA[<b ><b></b>", "<svg><![CDATA[<b>]]></svg><b></b>", "<svg><![CDATA[ ]<b>]] ]]]></svg><b></b>", "<svg><desc><![CDATA[<x >]]></desc></svg><b></b>",
		"<svg><title><b></b></title></svg>", "<title><b></b></title><b></b>", "<textarea><b></textarea><b></b>", "<TITLE><b></tiTle ><b></b>", "<title><b></titl></titles></title/><b></b>",
		"<style><b></style><b></b>", "<noscript><b></b></noscript><b></b>", "<iframe><b></iframe><b></b>", "<xmp><b></xmp><b></b>", "<noembed><b></noembed><b></b>", "<noframes><b></noframes><b></b>",
		"<script><b></script><b></b>", "<script><!-- <b> </script><b></b>", "<script><!-- <script> <b> </script> <b> --> </script><b></b>",
		"<script><!-- <script> </script> </script><b></b>", "<script><!-- <scripty> </script><b></b>", "<script><!--> <script></script><b></b>",
		"<script><!--- <script> --> </script><b></b>", "<script><!<script></script><b></b>", "<script><!-- <script>--><b></script><b></b>",
		"<b></b><plaintext><b></b></plaintext><b></b>", "a < b <3 <b></b>", "<a title='<b>'><b></b>", "<a title=\"<b>\"><b></b>", "<a title=<b ><b></b>", "<a b'><b></b>'>",
		"<a \"<b\"><b></b>", "<a/=\"><b></b>\">x", "<b/>x</b>", "<\x00b><b></b>", "\ufeff<b></b>", "<!doctype html>\r\n<B\r\n></B\t>",
		"<template><b></b></template><b></b>", "<svg><b></b></svg>", "<math><mi><b></b></mi></math>", "<svg><foreignObject><b></b></foreignObject></svg>",
		"<math><annotation-xml encoding=TEXT/html><b></b></annotation-xml></math>", "<svg><style><b></b></style></svg>",
		"<select><option><b></b></select>", "<b",
	} {
		want := strings.Replace(page, "<b></b>", "<b>X</b>", 1)
		switch page {
		case "<title><b></b></title><b></b>", "<noscript><b></b></noscript><b></b>", "<template><b></b></template><b></b>":
			want = strings.Replace(page, "><b></b>", "><b>X</b>", 2)
			want = strings.Replace(want, "<b>X</b>", "<b></b>", 1)
		case "<a b'><b></b>'>":
			want = "<a b'><b>X</b>'>"
		case "<a/=\"><b></b>\">x":
			want = "<a/=\"><b>X</b>\">x"
		case "<b/>x</b>":
			want = "<b/>xX</b>"
		case "<!doctype html>\r\n<B\r\n></B\t>":
			want = "<!doctype html>\r\n<B\r\n>X</B\t>"
		}
		cases[fmt.Sprintf("%02d", i)] = rewriteCase{page, "append b: X", want}
	}
	runCases(t, inUTF8, cases)
}

func TestElementsEndWhereTheyEnd(t *testing.T) {
	runCases(t, inUTF8, map[string]rewriteCase{
		"p by block":                     {"<p>a<div>b</div>", "append p: X", "<p>aX<div>b</div>"},
		"p not by inline":                {"<p>a<span>b</span>c", "append p: X", "<p>a<span>b</span>cX"},
		"p not through button":           {"<p>a<button><div>b</div></button>c</p>", "append p: X", "<p>a<button><div>b</div></button>cX</p>"},
		"p by table":                     {"<!doctype html><p>a<table></table>", "append p: X", "<!doctype html><p>aX<table></table>"},
		"p not by table, quirks":         {"<p>a<table></table>b", "append p: X", "<p>a<table></table>bX"},
		"li":                             {"<ul><li>a\n<li>b</ul>", "append li: X", "<ul><li>a\nX<li>bX</ul>"},
		"li in li":                       {"<li>a<ul><li>b</ul>c<li>d", "append li: X", "<li>a<ul><li>bX</ul>cX<li>dX"},
		"li through div":                 {"<li>a<div>b<li>c", "append li: X", "<li>a<div>bX<li>cX"},
		"dt dd":                          {"<dl><dt>a<dd>b<dt>c</dl>", "append dt: X", "<dl><dt>aX<dd>b<dt>cX</dl>"},
		"option":                         {"<select><option>a<option>b<optgroup><option>c</select>", "append option: X", "<select><option>aX<option>bX<optgroup><option>cX</select>"},
		"cells":                          {"<table><tr><td>a<td>b<tr><th>c</table>", "append td, th: X", "<table><tr><td>aX<td>bX<tr><th>cX</table>"},
		"rows":                           {"<table><tr><td>a<tr><td>b</table>", "append tr: X", "<table><tr><td>aX<tr><td>bX</table>"},
		"sections":                       {"<table><thead><tr><td>a<tbody><tr><td>b<tfoot></table>", "after tbody: X", "<table><thead><tr><td>a<tbody><tr><td>bX<tfoot></table>"},
		"implied tbody":                  {"<table><tr><td>a</table>", "prepend tbody: X\nappend tbody: Y", "<table>X<tr><td>aY</table>"},
		"implied tbody, matching":        {"<table><tr><td>a</table>", "append table > tr > td: X\nappend table > tbody > tr > td: Y", "<table><tr><td>aY</table>"},
		"nested table":                   {"<table><tr><td><table><tr><td>a</table>b<td>c</table>", "append td: X", "<table><tr><td><table><tr><td>aX</table>bX<td>cX</table>"},
		"ruby":                           {"<ruby>a<rp>(<rt>b<rp>)</ruby>", "append rt: X", "<ruby>a<rp>(<rt>bX<rp>)</ruby>"},
		"headings":                       {"<h1>a<h2>b</h1>c", "append h1, h2: X", "<h1>aX<h2>bX</h1>c"},
		"a in a":                         {"<a>1<a>2</a>", "append a: X", "<a>1X<a>2X</a>"},
		"button in button":               {"<button>1<button>2</button>", "append button: X", "<button>1X<button>2X</button>"},
		"by the parent":                  {"<div><span>a</div>b", "append span: X\nafter span: Y", "<div><span>aXY</div>b"},
		"by the page's end":              {"<div><b>a", "append b: 1\nafter b: 2\nappend div: 3\nafter div: 4", "<div><b>a1234"},
		"stray end tags":                 {"</div><div>a</b></p></span>b</div></div>c", "append div: X", "</div><div>a</b></p></span>bX</div></div>c"},
		"end tag out of scope":           {"<div><table><td>a</div>b</table></div>", "append div: X", "<div><table><td>a</div>b</table>X</div>"},
		"formatting, wrong order":        {"<b>1<p>2</b>3</p>4", "append b: X\nappend p: Y", "<b>1<p>2X</b>3Y</p>4"},
		"remove, wrong order":            {"a<b>1<p>2</b>3</p>4", "remove b", "a34"},
		"removed tag, later end":         {"<section><form><section></form>3</section>4</section>", "remove form", "<section>34</section>"},
		"behind formatting, wrong order": {"<b><p></b>1</p><i>2</i>", "append b i: X\nappend i: Y", "<b><p></b>1</p><i>2Y</i>"},
		"behind a form, wrong order":     {"<form><div></form>1</div><p>2</p>", "append form p: X\nappend p: Y", "<form><div></form>1</div><p>2Y</p>"},
		"ended form, by another end":     {"<form><p><span></form><div>1</div><b>2</b>", "append form b: X\nappend form + div: Y", "<form><p><span></form><div>1Y</div><b>2</b>"},
		"li through an ended form":       {"<li><form><div></form>1<li>2", "append li: X", "<li><form><div></form>1X<li>2X"},
		"form in a template":             {"<template><form><svg></form><title></template><p>1</title></template><p>2", "append p: X", "<template><form><svg></form><title></template><p>1</title></template><p>2X"},
		"remove li":                      {"<ul><li>1<li class=x>2<li>3</ul>", "remove .x", "<ul><li>1<li>3</ul>"},
		"remove unclosed":                {"a<div>b<p>c", "remove div", "a"},
		"replace td":                     {"<table><tr><td>1<td class=x>2<tr><td>3</table>", "replace .x: <td>N", "<table><tr><td>1<td>N<tr><td>3</table>"},
		"body":                           {"<body>a<div>b</body>\n</html>\n", "append body: X\nappend div: Y\nafter body: Z", "<body>a<div>bYX</body>Z\n</html>\n"},
		"body without end":               {"<body>a", "append body: X", "<body>aX"},
		"body by </html>":                {"<html><body>a</html>", "append body: X\nappend html: Y", "<html><body>aXY</html>"},
		"behind body":                    {"<body>a</body><p>b</p>", "append body > p: X", "<body>a</body><p>bX</p>"},
		"second body":                    {"<body>a<body>b", "prepend body: X", "<body>Xa<body>b"},
		"head":                           {"<html><head><meta></head><body>", "append head: X", "<html><head><meta>X</head><body>"},
		"head without end":               {"<html><head><meta><p>", "append head: X", "<html><head><meta>X<p>"},
		"head ended by text":             {"<html><head><meta> a", "append head: X", "<html><head><meta> Xa"},
		"implied head":                   {"<!doctype html><title>a</title><p>", "prepend head: X\nappend head: Y\nprepend body: Z", "<!doctype html>X<title>a</title>YZ<p>"},
		"implied by text":                {"<!doctype html>\n a", "prepend body: X\nprepend head: Y", "<!doctype html>\n YXa"},
		"no doctype, no body":            {"<title>a</title><p>", "append head: X\nappend body: Y", "<title>a</title><p>"},
		"implied, no attributes":         {"<!doctype html><p>", "set_attribute body: a=b", "<!doctype html><p>"},
		"behind head":                    {"<head></head><script></script><body>", "after head > script: X", "<head></head><script></script>X<body>"},
		"noscript behind head":           {"<head></head><noscript></noscript><p>", "after head > noscript: X\nafter body > noscript: Y", "<head></head><noscript></noscript>Y<p>"},
		"form in form":                   {"<form>a<form>b</form>c", "append form: X", "<form>a<form>bX</form>c"},
		"form in table":                  {"<table><form><tr><td>a</form></table>", "append form: X\nafter td: Y", "<table><form><tr><td>a</form>Y</table>"},
		"foster parent":                  {"<div><table><p>a</table></div>", "append table p: X\nappend div > p: Y", "<div><table><p>aY</table></div>"},
		"svg":                            {"<svg><g/><G>a</g><p>b", "append g: X\nafter g: Y", "<svg><g/>Y<G>aX</g>Y<p>b"},
		"svg left by p":                  {"<svg><g><p>b", "append svg: X\nappend g: Y\nappend p: Z", "<svg><g>YX<p>bZ"},
		"custom elements":                {"<x-a><x-b>1</x-a>2</x-b>", "append x-a: X\nappend x-b: Y", "<x-a><x-b>1YX</x-a>2</x-b>"},
		"names of the page":              {"<aaa><bbb>1<div></bbb></aaa>2</div></bbb>3", "append :not(div): X", "<aaa><bbb>1<div></bbb></aaa>2</div>X</bbb>3X"},
		"select":                         {"<select><option>a<input>b", "append select: X", "<select><option>aX<input>b"},
		"frameset":                       {"<html><frameset><frame></frameset></html>", "append frameset: X", "<html><frameset><frame>X</frameset></html>"},
		"end in a comment":               {"<div>a<!-- b", "append div: X", "<div>a<!-- b"},
		"end in a script":                {"<div>a<script>b", "append div: X", "<div>a<script>b"},
		"end in a tag":                   {"<div>a<b c='", "append div: X", "<div>aX<b c='"},
		"remove, end in a tag":           {"<div>a<b c='", "remove div", ""},
	})
}

func TestTextInRawElements(t *testing.T) {
	runCases(t, inUTF8, map[string]rewriteCase{
		"title":             {"<title>a</title>", "append title: text <b> & c", "<title>a&lt;b&gt; &amp; c</title>"},
		"script":            {"<script>a</script>", "set_inner script: text a && b < c", "<script>a && b < c</script>"},
		"script that ends":  {"<script>a</script>", "append script: text x</script>", "<script>a</script>"},
		"script with html":  {"<script>a</script>", "set_inner script: a && b", "<script>a && b</script>"},
		"around the script": {"<script>a</script>", "before script: text <\nafter script: text >", "&lt;<script>a</script>&gt;"},
	})
}

func TestEncodings(t *testing.T) {
	page := func(meta string) string { return "<head>" + meta + "</head><p>x" }
	edits := "append p: é<b>\nadd_class p: ü"
	utf8 := func(meta string) string { return page(meta)[:len(page(meta))-len("<p>x")] + `<p class="ü">xé<b>` }
	ascii := func(meta string) string {
		return page(meta)[:len(page(meta))-len("<p>x")] + `<p class="&#xfc;">x&#xe9;<b>`
	}
	cases := map[string]rewriteCase{
		"unknown":   {page(""), edits, ascii("")},
		"meta":      {page("<meta charset=UTF-8>"), edits, utf8("<meta charset=UTF-8>")},
		"latin":     {page("<meta charset='iso-8859-1'>"), edits, "<head><meta charset='iso-8859-1'></head><p class=\"\xfc\">x\xe9<b>"},
		"pragma":    {page("<meta http-equiv=Content-Type content='text/html; charset=utf-8'>"), edits, utf8("<meta http-equiv=Content-Type content='text/html; charset=utf-8'>")},
		"mark":      {"\ufeff<p>x", edits, "\ufeff<p class=\"ü\">xé<b>"},
		"other":     {page("<meta charset=shift_jis>"), edits, page("<meta charset=shift_jis>")},
		"utf-16":    {"\xff\xfe<\x00p\x00>\x00", "append p: x", "\xff\xfe<\x00p\x00>\x00"},
		"in script": {"<script></script>", "append script: text 'é'\nafter script: ok", "<script></script>ok"},
	}
	runCases(t, Limits{}, cases)
	runCases(t, Limits{Encoding: EncodingSingleByte}, map[string]rewriteCase{
		"given": {page("<meta charset=utf-8>"), edits, ascii("<meta charset=utf-8>")},
	})
	runCases(t, Limits{Encoding: EncodingOther}, map[string]rewriteCase{
		"given": {page(""), edits, page("")},
	})
}

func TestEditable(t *testing.T) {
	for contentType, want := range map[string]struct {
		editable bool
		encoding Encoding
	}{
		"text/html":                              {true, EncodingUnknown},
		" Text/HTML ; charset=UTF-8":             {true, EncodingUTF8},
		"text/html;charset=\"utf-8\"":            {true, EncodingUTF8},
		"text/html; charset='utf-8'":             {true, EncodingUTF8},
		"text/html; charset=utf8; x":             {true, EncodingUTF8},
		"text/html; charset=ISO-8859-1":          {true, EncodingSingleByte},
		"text/html; charset=windows-1252":        {true, EncodingSingleByte},
		"text/html; charset=us-ascii":            {true, EncodingSingleByte},
		"text/html; charset=koi8-r":              {true, EncodingSingleByte},
		"text/html; charset=utf-16":              {false, EncodingOther},
		"text/html; charset=Shift_JIS":           {false, EncodingOther},
		"text/html; charset=gbk":                 {false, EncodingOther},
		"text/html; charset=iso-2022-jp":         {false, EncodingOther},
		"text/html; charset=x-user-defined":      {false, EncodingOther},
		"application/xhtml+xml":                  {false, EncodingUnknown},
		"text/plain; charset=utf-8":              {false, EncodingUTF8},
		"":                                       {false, EncodingUnknown},
		"text/htmlx":                             {false, EncodingUnknown},
		"text/html; boundary=a; charset=latin1":  {true, EncodingSingleByte},
		"text/html; charset=":                    {true, EncodingUnknown},
		"text/html; charset=utf-8; charset=gbk;": {true, EncodingUTF8},
	} {
		if got := Editable(contentType); got != want.editable {
			t.Errorf("Editable(%q) = %v", contentType, got)
		}
		if got := EncodingOf(contentType); got != want.encoding && !(got.SingleByte() && want.encoding == EncodingSingleByte) {
			t.Errorf("EncodingOf(%q) = %v, want %v", contentType, got, want.encoding)
		}
	}
}

func TestMatches(t *testing.T) {
	page := "<h1>a</h1><p>b</p><p>c</p><div><p>d</p></div>"
	edits := planned(
		shortEdit(t, "before h1: 12345"),
		shortEdit(t, "append p: X"),
		shortEdit(t, "remove div"),
		shortEdit(t, "append div p: X"),
		shortEdit(t, "append em: X"),
	)
	edits[1].Apply = false
	program, err := Compile(edits)
	if err != nil {
		t.Fatal(err)
	}
	want := []Match{{1, 0, 0}, {3, 10, 15}, {1, 26, 31}, {1, 31, 31}, {0, -1, -1}}
	for _, size := range []func() int{nil, func() int { return 1 }, func() int { return 4 }} {
		got := rewrite(t, program, page, inUTF8, size)
		if fmt.Sprint(got.matches) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got.matches, want)
		}
		if got.out != "12345<h1>a</h1><p>b</p><p>c</p>" {
			t.Errorf("got %s", got.out)
		}
	}
}

// TestCountsStartAnew checks that a pooled rewriter counts no elements of the page
// before.
func TestCountsStartAnew(t *testing.T) {
	program := compile(t, shortEdit(t, "append html:nth-of-type(2): X"), shortEdit(t, "append p:first-of-type: Y"))
	for range 3 {
		if got := rewrite(t, program, "<html><p>a</p><p>b</p></html>", inUTF8, nil); got.out != "<html><p>aY</p><p>b</p></html>" {
			t.Errorf("got %s", got.out)
		}
	}
}

func TestBailsOut(t *testing.T) {
	long := strings.Repeat("x", 500)
	for name, c := range map[string]struct {
		page, want string
		limits     Limits
		reason     Reason
	}{
		"long tag":       {"<p>a</p><p title='" + long + "'>b</p><p>", "<p>aX</p><p title='" + long + "'>b</p><p>", Limits{Memory: 200}, BailedMemory},
		"unclosed quote": {"<p>a</p><p title='" + long + long, "<p>aX</p><p title='" + long + long, Limits{Memory: 200}, BailedMemory},
		"attributes":     {"<p>a</p><p " + strings.Repeat("a ", 50) + ">b</p><p>", "<p>aX</p><p " + strings.Repeat("a ", 50) + ">b</p><p>", Limits{Memory: 200}, BailedMemory},
		"depth":          {"<p>a</p><b><b><b><b><b><b>x<p>b", "<p>aX</p><b><b><b><b><b><b>x<p>b", Limits{Depth: 6}, BailedDepth},
		"select":         {"<p>a</p><select><xmp><p></xmp></select><p>", "<p>aX</p><select><xmp><p></xmp></select><p>", Limits{}, BailedAmbiguous},
		"frameset":       {"<html><frameset><title><p></title>", "<html><frameset><title><p></title>", Limits{}, BailedAmbiguous},
		"inside removed": {"<p>a</p>1<em>2<p title='" + long + "'>3</em>4", "<p>aX</p>1<p title='" + long + "'>3</em>4", Limits{Memory: 200}, BailedMemory},
	} {
		t.Run(name, func(t *testing.T) {
			program := compile(t, shortEdit(t, "append p: X"), shortEdit(t, "remove em"), shortEdit(t, "append [a=none]: X"))
			c.limits.Encoding = EncodingUTF8
			for chunking, size := range chunkings(3) {
				got := rewrite(t, program, c.page, c.limits, size)
				if got.out != c.want || got.bailed != c.reason {
					t.Errorf("%s: got %q (%s)\nwant %q (%s)", chunking, got.out, got.bailed, c.want, c.reason)
				}
			}
			if got := rewrite(t, program, c.page, c.limits, nil); got.out != c.want || got.bailed != c.reason {
				t.Errorf("got %q (%s)\nwant %q (%s)", got.out, got.bailed, c.want, c.reason)
			}
		})
	}
}

// failing fails after some bytes.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	program := compile(t, shortEdit(t, "append p: X"))
	r := program.NewRewriter(&failing{5}, inUTF8)
	defer r.Release()
	if _, err := r.Write([]byte("<p>a</p>bbbbbbbbbbb")); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	r = program.NewRewriter(&bytes.Buffer{}, inUTF8)
	defer r.Release()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Write([]byte("x")); err == nil {
		t.Error("a write after Close succeeds")
	}
}

// TestLeavesAtOnce checks that bytes leave as soon as no edit can change them.
func TestLeavesAtOnce(t *testing.T) {
	program := compile(t, shortEdit(t, "append p: X"))
	var out bytes.Buffer
	r := program.NewRewriter(&out, inUTF8)
	defer r.Release()
	for _, step := range [][2]string{
		{"<p>text", "<p>text"}, {" more <", "<p>text more "}, {"em", "<p>text more "}, {">x</", "<p>text more <em>x"},
		{"em><!-- ", "<p>text more <em>x</em><!-- "}, {"x --", "<p>text more <em>x</em><!-- x --"}, {"></p>", "<p>text more <em>x</em><!-- x -->X</p>"},
	} {
		if _, err := r.Write([]byte(step[0])); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != step[1] {
			t.Errorf("after %q: got %q, want %q", step[0], got, step[1])
		}
	}
}

// A charset that stands plainly means what the whole grammar says it does.
func TestPlainCharset(t *testing.T) {
	part := rapid.SampledFrom([]string{"charset=", "Charset=", "charset", "utf-8", "UTF8", "latin1", "koi8_r", "x", ";", " ", "\t", "\"", "'", "=", "*0", ",", "\r"})
	rapid.Check(t, func(t *rapid.T) {
		contentType := "text/html;" + strings.Join(rapid.SliceOfN(part, 0, 6).Draw(t, "parts"), "")
		_, parameters, _ := strings.Cut(contentType, ";")
		want := EncodingUnknown
		if strings.TrimSpace(parameters) != "" {
			want = encodingOfParameters(contentType, parameters)
		}
		if got := EncodingOf(contentType); got != want {
			t.Fatalf("%q: %v, want %v", contentType, got, want)
		}
	})
	if n := testing.AllocsPerRun(100, func() { EncodingOf("text/html; charset=utf-8") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
