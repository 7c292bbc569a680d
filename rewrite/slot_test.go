package rewrite

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// fillPage runs one edit over a page with one value for all of its slots.
func fillPage(t testing.TB, e decision.Edit, page, value string) (string, *Rewriter) {
	t.Helper()
	p, err := Compile(planned(e))
	if err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	values := make([]string, len(p.Slots()))
	for i := range values {
		values[i] = value
	}
	var out bytes.Buffer
	r := p.NewRewriter(&out, Limits{Encoding: EncodingUTF8, Values: values})
	if _, err := r.Write([]byte(page)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String(), r
}

const slot = `{{trait "n"}}`

func TestSlotsAreFilledByContext(t *testing.T) {
	const nasty = `a'"<b>&+ ü`
	for _, c := range []struct{ name, html, want string }{
		{"text", `<b>Hi ` + slot + `!</b>`, `<b>Hi a&#39;&#34;&lt;b&gt;&amp;&#43; ü!</b>`},
		{"first", slot, `&#x61;&#39;&#34;&lt;b&gt;&amp;&#43; ü`},
		{"double quotes", `<b title="` + slot + `">x</b>`, `<b title="a&#39;&#34;&lt;b&gt;&amp;&#43; ü">x</b>`},
		{"single quotes", `<b title='` + slot + `'>x</b>`, `<b title='a&#39;&#34;&lt;b&gt;&amp;&#43; ü'>x</b>`},
		{"no quotes", `<b title=` + slot + `>x</b>`, `<b title="a&#39;&#34;&lt;b&gt;&amp;&#43; ü">x</b>`},
		{"no quotes, in the middle", `<b title=a` + slot + `c id=d>x</b>`, `<b title="aa&#39;&#34;&lt;b&gt;&amp;&#43; üc" id=d>x</b>`},
		{"whole address", `<a href="` + slot + `">x</a>`, `<a href="a%27%22%3Cb%3E&amp;&#43;%20%C3%BC">x</a>`},
		{"path", `<a href="/s/` + slot + `/x">x</a>`, `<a href="/s/a%27%22%3Cb%3E%26%2B%20%C3%BC/x">x</a>`},
		{"query", `<a href='?q=` + slot + `&amp;x=1'>x</a>`, `<a href='?q=a%27%22%3Cb%3E%26%2B%20%C3%BC&amp;x=1'>x</a>`},
		{"query of a script", `<script src="/x.js?u=` + slot + `"></script>`, `<script src="/x.js?u=a%27%22%3Cb%3E%26%2B%20%C3%BC"></script>`},
		{"script", `<script>var a = "` + slot + `", b = 'it\'s ` + slot + `';</script>`,
			`<script>var a = "a\u0027\u0022\u003Cb\u003E\u0026\u002B \u00FC", b = 'it\'s a\u0027\u0022\u003Cb\u003E\u0026\u002B \u00FC';</script>`},
		{"handler", `<a onclick="f(&quot;` + slot + `&quot;)">x</a>`, `<a onclick="f(&quot;a\u0027\u0022\u003Cb\u003E\u0026\u002B \u00FC&quot;)">x</a>`},
		{"json", `<script type="application/ld+json">{"name": "` + slot + `"}</script>`, `<script type="application/ld+json">{"name": "a\u0027\u0022\u003Cb\u003E\u0026\u002B \u00FC"}</script>`},
		{"style", `<style>.a::after{content:"` + slot + `"}</style>`, `<style>.a::after{content:"a\000027 \000022 \00003C b\00003E \000026 \00002B \000020 \0000FC "}</style>`},
		{"style attribute", `<i style="quotes: '` + slot + `'">x</i>`, `<i style="quotes: 'a\000027 \000022 \00003C b\00003E \000026 \00002B \000020 \0000FC '">x</i>`},
		{"textarea", `<textarea>` + slot + `</textarea>`, `<textarea>a&#39;&#34;&lt;b&gt;&amp;&#43; ü</textarea>`},
		{"srcset", `<img srcset="` + slot + ` 2x, /b.png?` + slot + ` 1x">`, `<img srcset="a%27%22%3Cb%3E&amp;&#43;%20%C3%BC 2x, /b.png?a%27%22%3Cb%3E%26%2B%20%C3%BC 1x">`},
		{"literal", `<b>{{"{{"}} item }} ` + slot + `</b>`, `<b>{{ item }} a&#39;&#34;&lt;b&gt;&amp;&#43; ü</b>`},
	} {
		got, _ := fillPage(t, decision.Edit{Select: "p", Op: decision.OpSetInner, HTML: c.html}, "<p>{{x}}</p>{{y}}", nasty)
		if want := "<p>" + c.want + "</p>{{y}}"; got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, want)
		}
	}
}

func TestSlotsInTextAndValues(t *testing.T) {
	got, _ := fillPage(t, decision.Edit{Select: "p", Op: decision.OpSetInner, Text: `<Hi ` + slot + `>{{"{{"}}`}, "<p>x</p>", "<b>{{")
	if want := "<p>&lt;Hi &lt;b&gt;{ {&gt;{{</p>"; got != want {
		t.Errorf("text: %s", got)
	}
	for _, c := range []struct{ page, name, value, fill, want string }{
		{`<a>x</a>`, "title", "Hi <" + slot + ">", `"'`, `<a title="Hi &lt;&#34;&#39;&gt;">x</a>`},
		{`<a title='o' id=x>x</a>`, "title", slot, `"'`, `<a title="&#34;&#39;" id=x>x</a>`},
		{`<a title=o>x</a>`, "title", slot, `v`, `<a title="v">x</a>`},
		{`<a title>x</a>`, "title", slot, `v`, `<a title="v">x</a>`},
		{`<a x=>x</a>`, "title", slot, `v`, `<a x="" title="v">x</a>`},
		{`<a href=x>x</a>`, "href", slot, ` javascript:alert(1)`, `<a href="#">x</a>`},
		{`<a href=x>x</a>`, "HREF", "/u/" + slot, `../a?b`, `<a href="/u/..%2Fa%3Fb">x</a>`},
	} {
		got, _ := fillPage(t, decision.Edit{Select: "a", Op: decision.OpSetAttribute, Name: c.name, Value: c.value}, c.page, c.fill)
		if got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.page, c.value, got, c.want)
		}
	}
}

func TestSlotFallbacks(t *testing.T) {
	e := decision.Edit{Select: "p", Op: decision.OpAppend, HTML: `, {{trait "n" "<there>"}} ({{segment 'none'}}, {{ attribute "utm.campaign" "it\"s" }}, {{segment}})`}
	got, r := fillPage(t, e, "<p></p>", "")
	if want := `<p>, &lt;there&gt; (none, it&#34;s, )</p>`; got != want {
		t.Errorf("got %s", got)
	}
	if slots := r.program.Slots(); len(slots) != 4 || slots[2] != (Slot{Kind: SlotAttribute, Name: "utm.campaign", Fallback: `it"s`}) {
		t.Errorf("slots %+v", slots)
	}
	long, _ := fillPage(t, e, "<p></p>", strings.Repeat("ü", 400)+"\x00\xff")
	if strings.Count(long, "ü") != 4*256 {
		t.Errorf("a long value: %d", strings.Count(long, "ü"))
	}
}

func TestBadSlotsAreRefused(t *testing.T) {
	for _, c := range []struct {
		html, message string
		column        int
	}{
		{`ü{{name}}`, "no slot", 2},
		{`<b>{{trait}}</b>`, "has 0 values", 4},
		{`{{trait "a" "b" "c"}}`, "has 3 values", 1},
		{`{{trait ""}}`, "0 bytes long", 1},
		{`<i>{{offer}}</i>`, "{{offer}} has 0 values", 4},
		{`{{offer "a" "b" "c"}}`, "{{offer}} has 3 values", 1},
		{`{{offer ''}}`, "the name in {{offer}} is 0 bytes long", 1},
		{`<a {{offer "x"}}>`, "name of an attribute", 4},
		{`{{offers "x"}}`, "no slot", 1},
		{`{{trait name}}`, `found "n"`, 9},
		{`{{trait "name}}`, "quote is not closed", 9},
		{`{{trait "name"`, "not closed", 1},
		{`{{`, "not closed", 1},
		{`{{"x"}}`, "no slot", 1},
		{`{{segment "a" "b"}}`, "at most one", 1},
		{`{{segment "` + strings.Repeat("x", 600) + `"}}`, "600 bytes", 1},
		{strings.Repeat(slot, 65), "more than 64", 833},
		{`<` + slot + `>`, "name of a tag", 2},
		{`<b` + slot + `>`, "name of a tag", 3},
		{`</` + slot + `>`, "name of a tag", 3},
		{`<b ` + slot + `>`, "name of an attribute", 4},
		{`<b x` + slot + `=y>`, "name of an attribute", 5},
		{`<b x="y"` + slot + `>`, "name of an attribute", 9},
		{`<b x="y"/` + slot + `>`, "name of an attribute", 10},
		{`</b x="` + slot + `">`, "end tag", 8},
		{`<!-- ` + slot + ` -->`, "in a comment", 6},
		{`<!--> <b title="x` + slot + `"> <!-- ` + slot + ` -->`, "in a comment", 39},
		{`<?x ` + slot + `>`, "in a comment", 5},
		{`<!doctype ` + slot + `>`, "in a comment", 11},
		{`<![CDATA[ ` + slot + ` ]]>`, "not all places", 11},
		{`<svg><title><a></title></svg>` + slot, "not all places", 30},
		{`<title><a href="` + slot + `"></title>`, "not all places", 17},
		{`<iframe>` + slot + `</iframe>`, "nothing can be escaped", 9},
		{`<noscript><img alt="` + slot + `"></noscript>`, "not all places", 21},
		{`a &am` + slot, "character reference", 6},
		{`<b title="&#` + slot + `;">x</b>`, "character reference", 13},
		{`<b title=a=b` + slot + `>x</b>`, "without quotes", 13},
		{`<b title=` + slot + `">x</b>`, "without quotes", 10},
		{`<a href="java` + slot + `">x</a>`, "may still have its scheme", 14},
		{`<a href="javascript:f('` + slot + `')">x</a>`, `scheme "javascript"`, 24},
		{`<a href="&#106;ava&Tab;script:` + slot + `">x</a>`, `scheme "javascript"`, 31},
		{`<a href="data:text/html,` + slot + `">x</a>`, `scheme "data"`, 25},
		{`<a href="//` + slot + `/">x</a>`, "in the host", 12},
		{`<a href="https://` + slot + `/">x</a>`, "in the host", 18},
		{`<a href="https:` + slot + `/">x</a>`, "change the host", 16},
		{`<a href="/\` + slot + `">x</a>`, "in the host", 12},
		{`<a href="` + slot + slot + `">x</a>`, "behind another one", 23},
		{`<a href="` + slot + `:x">x</a>`, "begin with one of", 10},
		{`<a href="/` + slot + `/x">x</a>`, "fallback", 11},
		{`<script src="` + slot + `"></script>`, `behind a "?" only`, 14},
		{`<base href="/` + slot + `">`, `behind a "?" only`, 14},
		{`<iframe srcdoc="` + slot + `"></iframe>`, `"srcdoc"`, 17},
		{`<meta http-equiv=refresh content="0;url=` + slot + `">`, `"content"`, 41},
		{`<img srcset="a.png ` + slot + `">`, "size is expected", 20},
		{`<script>f(` + slot + `)</script>`, "outside of a string", 11},
		{"<script>f(`" + slot + "`)</script>", "template literal", 12},
		{`<script>a = /'` + slot + `'/</script>`, "regular expression", 15},
		{`<script>a // it's ` + slot + `</script>`, "outside of a string", 19},
		{`<script>a = "x\` + slot + `"</script>`, "escape that is not complete", 16},
		{`<script>a = "\u00` + slot + `"</script>`, "escape that is not complete", 18},
		{`<script>a = "<` + slot + `"</script>`, "not all places", 15},
		{`<script>a = "x` + "\n" + `" + '` + slot + `'</script>`, "not closed on its line", 21},
		{`<script type="text/x-template">"` + slot + `"</script>`, `type "text/x-template"`, 33},
		{`<script type="importmap">{"a": "` + slot + `"}</script>`, `type "importmap"`, 33},
		{`<script type="application/json">{"a": ` + slot + `}</script>`, "outside of a string", 39},
		{`<script type="application/json">{'` + slot + `'}</script>`, "JSON does not know", 35},
		{`<a onclick="f(` + slot + `)">x</a>`, "outside of a string", 15},
		{`<a onclick="&lt;!-- '` + slot + `'">x</a>`, "HTML comment", 22},
		{`<a style="color:` + slot + `">x</a>`, "outside of a string", 17},
		{`<a style="background:url('` + slot + `')">x</a>`, "may be an address", 27},
		{`<a style="background:url(a'b);x:` + slot + `">x</a>`, "quote inside parentheses", 33},
		{`<style>@import "` + slot + `";</style>`, "may be an address", 17},
		{`<style>a{content:"\26` + slot + `"}</style>`, "escape that is not complete", 22},
		{`<style>/* "` + slot + `" */</style>`, "outside of a string", 12},
		{`<b v-html="` + slot + `">x</b>`, "script libraries", 12},
		{`<b :title="` + slot + `">x</b>`, "script libraries", 12},
		{`<animate attributename="href" to="` + slot + `">`, `"to"`, 35},
		{`<plaintext>` + slot, "plaintext", 12},
	} {
		e := decision.Edit{Select: "p", Op: decision.OpSetInner, HTML: c.html}
		err := Check(e)
		var wrong *EditError
		if !errors.As(err, &wrong) || wrong.Field != "html" || wrong.Column != c.column || !strings.Contains(wrong.Message, c.message) {
			t.Errorf("%s: %v, want column %d and %q", c.html, err, c.column, c.message)
		}
		if _, err := Compile(planned(e)); err == nil {
			t.Errorf("%s: compiled", c.html)
		}
	}
	for _, c := range []struct {
		edit    decision.Edit
		field   string
		message string
	}{
		{decision.Edit{Op: decision.OpSetAttribute, Name: "onclick", Value: slot}, "value", "code"},
		{decision.Edit{Op: decision.OpSetAttribute, Name: "STYLE", Value: slot}, "value", "code"},
		{decision.Edit{Op: decision.OpSetAttribute, Name: "class", Value: slot}, "value", "class"},
		{decision.Edit{Op: decision.OpSetAttribute, Name: "srcdoc", Value: slot}, "value", "srcdoc"},
		{decision.Edit{Op: decision.OpSetAttribute, Name: "href", Value: "java" + slot}, "value", "scheme"},
		{decision.Edit{Op: decision.OpAddClass, Value: slot}, "value", "no slots"},
		{decision.Edit{Op: decision.OpReplaceText, Pattern: "x", Text: slot}, "text", "no slots"},
		{decision.Edit{Op: decision.OpReplaceText, Pattern: "x", HTML: slot}, "html", "no slots"},
	} {
		c.edit.Select = "p"
		var wrong *EditError
		if err := Check(c.edit); !errors.As(err, &wrong) || wrong.Field != c.field || wrong.Column == 0 || !strings.Contains(wrong.Message, c.message) {
			t.Errorf("%+v: %v", c.edit, err)
		}
	}
}

// Content with slots is left out of elements that are no place for it.
func TestSlotsAreRefusedByElement(t *testing.T) {
	for _, c := range []struct {
		page string
		edit decision.Edit
		want string
	}{
		{`<script>a</script>`, decision.Edit{Select: "script", Op: decision.OpAppend, Text: slot}, ""},
		{`<style>a</style>`, decision.Edit{Select: "style", Op: decision.OpPrepend, HTML: `x ` + slot}, ""},
		{`<textarea>a</textarea>`, decision.Edit{Select: "textarea", Op: decision.OpAppend, HTML: `<b>` + slot + `</b>`}, ""},
		{`<textarea>a</textarea>`, decision.Edit{Select: "textarea", Op: decision.OpAppend, Text: `<b>` + slot}, `<textarea>a&lt;b&gt;v</textarea>`},
		{`<title>a</title>`, decision.Edit{Select: "title", Op: decision.OpAppend, HTML: ` for ` + slot}, `<title>a for v</title>`},
		{`<script src=a></script>`, decision.Edit{Select: "script", Op: decision.OpSetAttribute, Name: "src", Value: slot}, ""},
		{`<IFRAME src=a></IFRAME>`, decision.Edit{Select: "iframe", Op: decision.OpSetAttribute, Name: "src", Value: "/" + slot}, ""},
		{`<iframe src=a></iframe>`, decision.Edit{Select: "iframe", Op: decision.OpSetAttribute, Name: "src", Value: "/?" + slot}, `<iframe src="/?v"></iframe>`},
	} {
		got, r := fillPage(t, c.edit, c.page, "v")
		want, refused := c.want, 0
		if want == "" {
			want, refused = c.page, 1
		}
		if got != want || r.Refused() != refused {
			t.Errorf("%s: %s, refused %d", c.page, got, r.Refused())
		}
	}
}

// A "<" or "&" of the page in front of content makes nothing of a value.
func TestSlotBehindAPagesOwnCharacters(t *testing.T) {
	for page, want := range map[string]string{
		"a <<h1>x</h1>": "a <&#x69;mg src<h1>x</h1>",
		"a &<h1>x</h1>": "a &&#x69;mg src<h1>x</h1>",
	} {
		got, _ := fillPage(t, decision.Edit{Select: "h1", Op: decision.OpBefore, Text: `{{segment}}` + slot}, page, "img src")
		if want = strings.Replace(want, "&#x69;mg src", "&#x69;mg src&#x69;mg src", 1); got != want {
			t.Errorf("%s", got)
		}
	}
}

// A page whose values were cut out and filled in again is the page that the
// rewriter would have written for those values.
func TestTemplate(t *testing.T) {
	edits := planned(
		decision.Edit{Select: "h1", Op: decision.OpSetInner, HTML: `<b title="` + slot + `">{{segment}}</b> ` + slot + `ü`},
		decision.Edit{Select: "a", Op: decision.OpSetAttribute, Name: "href", Value: "/u/" + slot + "?ü={{segment}}"},
		decision.Edit{Select: "a", Op: decision.OpSetAttribute, Name: "title", Value: `{{trait "n" "x"}}`},
		decision.Edit{Select: "a.b", Op: decision.OpSetAttribute, Name: "TITLE", Value: "plain"},
		decision.Edit{Select: "a.c", Op: decision.OpRemoveAttribute, Name: "href"},
		decision.Edit{Select: "a", Op: decision.OpAddClass, Value: "new"},
		decision.Edit{Select: "i", Op: decision.OpRemove},
		decision.Edit{Select: "body", Op: decision.OpAppend, Text: "Bye " + slot},
		decision.Edit{Select: "u", Op: decision.OpRemove, Required: true},
		decision.Edit{Select: "body", Op: decision.OpReplaceText, Pattern: "[a-z]", HTML: "<s>longer {{\"{{\"}}</s>"},
	)
	p, err := Compile(edits)
	if err != nil {
		t.Fatal(err)
	}
	const page = `<!doctype html><body><h1>x</h1><a href=y title=z>1</a><a class=b>2</a><a class=c href=q>3</a><i><a>4</a></i><u></u>text</body>`
	run := func(encoding Encoding, chunk int, values []string) (string, []byte, *Template, []Match) {
		var out bytes.Buffer
		r := p.NewRewriter(&out, Limits{Encoding: encoding, Values: values})
		for rest := page; rest != ""; {
			n := min(chunk, len(rest))
			if _, err := r.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		cut, template := r.Template(out.Bytes())
		return out.String(), cut, template, append([]Match(nil), r.Matches()...)
	}
	all := [][]string{{"", "", ""}, {"<é&", "vip", "y"}, {"Zoë", strings.Repeat("long ", 60), "'\""}}
	for _, encoding := range []Encoding{EncodingUTF8, EncodingSingleByte, EncodingOf("text/html; charset=iso-8859-1")} {
		for _, first := range all {
			_, cut, template, matches := run(encoding, 7, first)
			if template == nil || template.Size() < 64 {
				t.Fatal("no template")
			}
			for _, second := range all {
				want, _, _, wantMatches := run(encoding, 1<<20, second)
				offsets := make([]int64, len(matches))
				for i, m := range matches {
					offsets[i] = template.Cut(m.FirstOut)
				}
				if got := string(template.AppendTo(nil, cut, second, offsets)); got != want {
					t.Errorf("from %q to %q:\n got %s\nwant %s", first, second, got, want)
				}
				for i, m := range wantMatches {
					if offsets[i] != m.FirstOut {
						t.Errorf("from %q to %q: edit %d first at %d, want %d", first, second, i, offsets[i], m.FirstOut)
					}
				}
			}
			for _, value := range first {
				if value != "" && bytes.Contains(cut, []byte(value)) && len(value) > 1 {
					t.Errorf("%q was not cut out of %s", value, cut)
				}
			}
		}
	}
}
