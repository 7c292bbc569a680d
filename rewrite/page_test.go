package rewrite

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

// checkPage holds a compiled page to the law: splicing gives what streaming does.
func checkPage(t rapid.TB, src string, edits []decision.PlannedEdit, limits Limits) {
	program, err := Compile(edits)
	if err != nil {
		t.Fatalf("%+v: %v", edits, err)
	}
	var out bytes.Buffer
	r := program.NewRewriter(&out, limits)
	defer r.Release()
	if _, err := io.WriteString(r, src); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	want := result{out.String(), r.Matches(), r.Bailed()}
	cut, template := r.Template(out.Bytes())
	conflicts, blocked := fmt.Sprint(r.Conflicts()), fmt.Sprint(r.Blocked())
	page, reason := CompilePage([]byte(src), limits)
	if page == nil {
		if reason == NotBailed {
			t.Fatalf("%.2000q: not compiled without a reason", src)
		}
		return
	}
	for range 2 { // with a fresh rewriter and with a used one
		s := page.Splice(program, Given{limits.Policy, limits.Values})
		if s == nil {
			t.Fatalf("%.2000q: not spliced", src)
		}
		got := result{string(s.AppendTo(nil)), s.Matches(), s.Bailed()}
		if got.out != want.out {
			t.Fatalf("%+v on %.2000s\n%s", edits, src, difference(got.out, want.out))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%+v on %.2000s\ngot  %v %s\nwant %v %s", edits, src, got.matches, got.bailed, want.matches, want.bailed)
		}
		if fmt.Sprint(s.Conflicts()) != conflicts {
			t.Fatalf("%+v on %.2000s\ngot  %v\nwant %s", edits, src, s.Conflicts(), conflicts)
		}
		if fmt.Sprint(s.Blocked()) != blocked {
			t.Fatalf("%+v on %.2000s\nblocked %v\nwant    %s", edits, src, s.Blocked(), blocked)
		}
		if c, u := s.Template([]byte(got.out)); string(c) != string(cut) || fmt.Sprint(u) != fmt.Sprint(template) || s.Refused() != r.Refused() {
			t.Fatalf("%+v on %.2000s\ntemplate %v of %s, refused %d\nwant     %v of %s, %d", edits, src, u, c, s.Refused(), template, cut, r.Refused())
		}
		var written bytes.Buffer
		if n, err := s.WriteTo(&written); err != nil || int(n) != s.Len() || written.String() != want.out {
			t.Fatalf("WriteTo wrote %d of %d bytes, %v: %q", n, s.Len(), err, written.String())
		}
	}
}

// slotValues are one visitor's.
var slotValues = []string{`<"Zoë'>`, "", "a&b javascript:", "x"}

// anyEdit draws edits of all ops with selectors of all kinds.
func anyEdit() *rapid.Generator[decision.PlannedEdit] {
	return rapid.Custom(func(t *rapid.T) decision.PlannedEdit {
		e := plainEdit().Draw(t, "edit")
		e.Required = rapid.IntRange(0, 7).Draw(t, "required") == 0
		if rapid.Bool().Draw(t, "any selector") {
			e.Select = selectors(true).Draw(t, "selector")
		} else if rapid.IntRange(0, 3).Draw(t, "page part") == 0 {
			e.Select = rapid.SampledFrom([]string{"html", "head", "body", "title", "table", "tbody", "tr", "td", "svg *", "b", "form", "script"}).Draw(t, "part")
		}
		withSlots(t, &e)
		return decision.PlannedEdit{Edit: e, Apply: rapid.IntRange(0, 4).Draw(t, "apply") > 0, Experience: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "experience")}
	})
}

// withSlots draws slots for the content of some edits.
func withSlots(t *rapid.T, e *decision.Edit) {
	if rapid.IntRange(0, 3).Draw(t, "slots") > 0 {
		return
	}
	slot := rapid.SampledFrom([]string{`{{segment "none"}}`, `{{trait "n" "x"}}`, `{{attribute "a"}}`}).Draw(t, "slot")
	switch {
	case e.Op == decision.OpSetAttribute && e.Name != "class":
		e.Value += slot
	case e.Op == decision.OpReplaceText:
	case e.HTML != "":
		e.HTML = rapid.SampledFrom([]string{"<b title='" + slot + "'>" + slot + "</b>", slot, e.HTML + "<p>" + slot}).Draw(t, "html")
	case e.Text != "":
		e.Text += slot
	}
}

func TestSpliceOfPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkPage(t, structuredPage().Draw(t, "page"), rapid.SliceOfN(anyEdit(), 0, 5).Draw(t, "edits"), Limits{Encoding: EncodingUTF8, Values: slotValues})
	})
}

// soup draws tags, comments and text in any order.
func soup() *rapid.Generator[string] {
	tags := []string{"div", "p", "table", "tr", "td", "tbody", "caption", "colgroup", "svg", "g", "foreignObject", "desc", "math", "mi", "li", "ul", "span",
		"h1", "input", "button", "dd", "template", "form", "object", "br", "title", "ruby", "rt", "b", "b", "a", "i", "plaintext", "textarea", "select", "option",
		"head", "body", "html", "x-y", "style", "frameset", "meta"}
	return rapid.Custom(func(t *rapid.T) string {
		p := page{t: t}
		p.b.WriteString(p.pick("", "<!doctype html>", "<!doctype html><body>", " ", "\ufeff"))
		for range rapid.IntRange(0, 30).Draw(t, "tags") {
			switch name := p.pick(tags...); rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0, 1:
				p.b.WriteString("</" + name + ">")
			case 2:
				p.b.WriteString(p.pick("x", "a < b", "<!--c-->", "<", "</>", "a &amp; b", "x\r\ny", "<?p>", "<![CDATA[z]]>", "<script>a</script>", "<meta charset=utf-8>", "<meta charset=latin1>"))
			default:
				p.open(name)
			}
		}
		p.b.WriteString(p.pick("", "", "<b c='", "<", "<!--", "<script>", "</tit"))
		return p.b.String()
	})
}

func TestSpliceOfSoup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{Encoding: rapid.SampledFrom([]Encoding{EncodingUTF8, EncodingUnknown, EncodingSingleByte}).Draw(t, "encoding"), Values: slotValues}
		if rapid.IntRange(0, 9).Draw(t, "small") == 0 {
			limits.Memory, limits.Depth = 60, 12
		}
		checkPage(t, soup().Draw(t, "page"), rapid.SliceOfN(anyEdit(), 0, 5).Draw(t, "edits"), limits)
	})
}

// corpusPrograms are programs of all kinds for real pages.
func corpusPrograms() map[string][]decision.PlannedEdit {
	var each []decision.Edit
	for _, op := range []decision.Op{decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend} {
		each = append(each, decision.Edit{Select: "div, p, li, td, a[href], title, body, head, svg *", Op: op, HTML: "<!--é-->"})
	}
	return map[string][]decision.PlannedEdit{
		"none": nil, "three": planned(threeEdits...), "twenty": planned(manyEdits(20)...), "each": planned(each...),
		"all ops": planned(
			decision.Edit{Select: "script", Op: decision.OpRemove},
			decision.Edit{Select: "p", Op: decision.OpUnwrap},
			decision.Edit{Select: "div div > a:nth-child(2n+1)", Op: decision.OpReplace, Text: "é"},
			decision.Edit{Select: "ul ~ ul, h2 + p", Op: decision.OpSetInner, HTML: "<li>x"},
			decision.Edit{Select: "[class]:not(div):nth-of-type(2)", Op: decision.OpAddClass, Value: "é"},
			decision.Edit{Select: "[id]", Op: decision.OpRemoveAttribute, Name: "ID"},
			decision.Edit{Select: "img[src^=http]", Op: decision.OpSetAttribute, Name: "src", Value: "a&b"},
		),
	}
}

func TestSpliceOfRealPages(t *testing.T) {
	programs := corpusPrograms()
	for name, page := range realPages(t) {
		for _, kind := range slices.Sorted(maps.Keys(programs)) {
			t.Run(name+"/"+kind, func(t *testing.T) { checkPage(t, string(page), programs[kind], Limits{}) })
		}
	}
}

func TestCompilePageRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		page   string
		limits Limits
		want   Reason
	}{
		"large":      {strings.Repeat("x", 2000), Limits{Page: 1000}, BailedMemory},
		"elements":   {strings.Repeat("<p>", 100), Limits{Page: 1000}, BailedMemory},
		"names":      {"<p " + distinct(50, "a%d ") + ">", Limits{Page: 1000}, BailedMemory},
		"classes":    {"<p class='" + distinct(50, "c%d ") + "'>", Limits{Page: 1000}, BailedMemory},
		"text":       {"<body>" + strings.Repeat("x<!>", 60), Limits{Page: 700}, BailedMemory},
		"tag":        {"<p title='" + strings.Repeat("x", 500) + "'>", Limits{Memory: 200}, BailedMemory},
		"depth":      {strings.Repeat("<b>", 20), Limits{Depth: 10}, BailedDepth},
		"encoding":   {"<meta charset=gbk>", Limits{}, BailedEncoding},
		"ambiguous":  {"<select><xmp><p></xmp></select>", Limits{}, BailedAmbiguous},
		"utf-16":     {"\xff\xfe<\x00", Limits{}, BailedEncoding},
		"no problem": {"<p>", Limits{}, NotBailed},
	} {
		page, reason := CompilePage([]byte(c.page), c.limits)
		if reason != c.want || (page == nil) != (c.want != NotBailed) {
			t.Errorf("%s: got %v, %q, want %q", name, page != nil, reason, c.want)
		}
	}
}

// TestPageSize checks that a page takes a bounded multiple of its bytes.
func TestPageSize(t *testing.T) {
	for name, body := range realPages(t) {
		page, _ := CompilePage(body, Limits{})
		if page == nil || page.Size() > 4*len(body)+4096 {
			t.Errorf("%s: %d bytes take %d", name, len(body), page.Size())
		}
	}
}

// TestSpliceOfHostilePages splices pages that cost much if anything is quadratic.
func TestSpliceOfHostilePages(t *testing.T) {
	edits := planned(
		decision.Edit{Select: "div div div div div", Op: decision.OpSetAttribute, Name: "x", Value: "1"},
		decision.Edit{Select: "div > div ~ div + div", Op: decision.OpAddClass, Value: "c"},
		decision.Edit{Select: "b", Op: decision.OpRemove},
		decision.Edit{Select: "b i:nth-of-type(3)", Op: decision.OpAfter, HTML: "x"},
	)
	const n = 20000
	for name, src := range map[string]string{
		"nested":   strings.Repeat("<div>", n) + strings.Repeat("</div>", n),
		"siblings": "<div>" + strings.Repeat("<div></div>", n),
		"crossed":  strings.Repeat("<b><div></b>", n),
		"crossing": strings.Repeat("<b>", n) + strings.Repeat("<div>", n) + strings.Repeat("</b>", n) + strings.Repeat("</div>", n),
		"foster":   "<table>" + strings.Repeat("<div>", n),
		"fosters":  "<div><table>" + strings.Repeat("<div></div><tr>", n),
	} {
		t.Run(name, func(t *testing.T) { checkPage(t, src, edits, inUTF8) })
	}
}

// TestSplicesAtOnce splices one page for many programs at the same time.
func TestSplicesAtOnce(t *testing.T) {
	body := []byte(strings.Repeat("<div class=a><p>x</p><x-y>z</x-y></div>", 50))
	page, _ := CompilePage(body, inUTF8)
	program := compile(t, shortEdit(t, "append div.a > p: X"), shortEdit(t, "remove x-y"))
	want := strings.Repeat("<div class=a><p>xX</p></div>", 50)
	done := make(chan string)
	for range 8 {
		go func() { done <- string(page.Splice(program, Given{}).AppendTo(nil)) }()
	}
	for range 8 {
		if got := <-done; got != want {
			t.Errorf("got %s", got)
		}
	}
}
