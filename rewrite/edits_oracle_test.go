package rewrite

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

// TestEditsAgainstTree applies edits to the bytes of a page and to its tree; the
// results have to be the same tree. The pages are written so that inserting or
// taking away content does not make the parser move what is around it.
func TestEditsAgainstTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := page{t: t}
		p.b.WriteString("<!DOCTYPE html><html><head></head><body>")
		p.plain(4)
		p.b.WriteString("</body></html>")
		src := p.b.String()
		edits := rapid.SliceOfN(plainEdit(), 1, 5).Draw(t, "edits")
		program, err := Compile(planned(edits...))
		if err != nil {
			t.Fatal(err)
		}
		doc := parseHTML(t, src)
		counts := applyToTree(t, doc, edits)
		for _, size := range chunkings(uint64(len(src))) {
			got := rewriteRapid(t, program, src, size)
			if g, w := render(t, parseHTML(t, got.out)), render(t, doc); g != w {
				t.Fatalf("%+v on %s\nbecame %s\ngot  %s\nwant %s", edits, src, got.out, g, w)
			}
			for i, m := range got.matches {
				if m.Count != counts[i] {
					t.Fatalf("edit %d matched %d times, want %d", i, m.Count, counts[i])
				}
			}
		}
	})
}

func rewriteRapid(t *rapid.T, p *Program, page string, size func() int) result {
	var out strings.Builder
	r := p.NewRewriter(&out, Limits{Encoding: EncodingUTF8})
	defer r.Release()
	for rest := page; rest != ""; {
		n := min(len(rest), size())
		if _, err := r.Write([]byte(rest[:n])); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return result{out.String(), slices.Clone(r.Matches()), r.Bailed()}
}

// plain writes content in which every element has its end tag.
func (p *page) plain(depth int) {
	for range rapid.IntRange(0, 3).Draw(p.t, "children") {
		p.b.WriteString(p.pick("", "text ", "x &amp; y", "<!-- <p> -->", "<br>"))
		if depth == 0 {
			continue
		}
		switch name := p.pick("div", "section", "span", "ul", "x-y", "p", "img"); name {
		case "img":
			p.open(name)
		case "span", "p":
			p.open(name)
			p.phrasing(depth - 1)
			p.close(name, false)
		default:
			p.open(name)
			p.plain(depth - 1)
			p.close(name, false)
		}
	}
}

func plainEdit() *rapid.Generator[decision.Edit] {
	return rapid.Custom(func(t *rapid.T) decision.Edit {
		e := decision.Edit{
			Select: rapid.SampledFrom([]string{"div", "span", "p", "section", "ul", "x-y", ".a", ".b", "#x", "div > *", "section .a", "img", "[n]", "body div"}).Draw(t, "select"),
			Op: rapid.SampledFrom([]decision.Op{decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace, decision.OpSetInner,
				decision.OpRemove, decision.OpUnwrap, decision.OpSetAttribute, decision.OpRemoveAttribute, decision.OpAddClass, decision.OpRemoveClass}).Draw(t, "op"),
		}
		switch e.Op {
		case decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace, decision.OpSetInner:
			if rapid.Bool().Draw(t, "text") {
				e.Text = rapid.SampledFrom([]string{"1 < 2 & 3", "ü", "é>"}).Draw(t, "content")
			} else {
				e.HTML = rapid.SampledFrom([]string{"<i>A</i>", "<i>B</i><b class=a>C</b>", "<!--c-->"}).Draw(t, "content")
			}
		case decision.OpSetAttribute:
			e.Name = rapid.SampledFrom([]string{"title", "class", "data-k"}).Draw(t, "name")
			e.Value = rapid.SampledFrom([]string{"", "v", "a \"b\" 'c' & <d>", "a"}).Draw(t, "value")
		case decision.OpRemoveAttribute:
			e.Name = rapid.SampledFrom([]string{"class", "data-k", "id", "Title"}).Draw(t, "name")
		case decision.OpAddClass, decision.OpRemoveClass:
			e.Value = rapid.SampledFrom([]string{"a", "b", "z"}).Draw(t, "value")
		}
		return e
	})
}

// applyToTree applies edits as the package's documentation orders them, and
// returns how many elements each matched.
func applyToTree(t *rapid.T, doc *html.Node, edits []decision.Edit) []int {
	type target struct {
		node  *html.Node
		edits []decision.Edit
	}
	var targets []target
	counts := make([]int, len(edits))
	eachElement(doc, func(n *html.Node) {
		found := target{node: n}
		for i, e := range edits {
			list, err := parseSelector(e.Select)
			if err != nil {
				t.Fatal(err)
			}
			if oracleMatches(n, list) {
				counts[i]++
				found.edits = append(found.edits, e)
			}
		}
		targets = append(targets, found)
	})
	for _, found := range targets {
		applyToNode(t, found.node, found.edits)
	}
	return counts
}

func applyToNode(t *rapid.T, n *html.Node, edits []decision.Edit) {
	if n.Parent == nil {
		return // taken away by an edit of an outer element
	}
	gone, unwrap := false, false
	var replacement []*html.Node
	before := func(parent, ref *html.Node, content []*html.Node) {
		for _, c := range content {
			parent.InsertBefore(c, ref)
		}
	}
	for _, e := range edits {
		content := nodes(t, n, e)
		isVoid := n.Data == "img" || n.Data == "br" || n.Data == "wbr"
		switch e.Op {
		case decision.OpBefore:
			before(n.Parent, n, content)
		case decision.OpAfter:
			before(n.Parent, n.NextSibling, content)
		case decision.OpPrepend:
			if !isVoid {
				before(n, n.FirstChild, content)
			}
		case decision.OpAppend:
			if !isVoid {
				before(n, nil, content)
			}
		case decision.OpSetInner:
			if !isVoid {
				for n.FirstChild != nil {
					n.RemoveChild(n.FirstChild)
				}
				before(n, nil, content)
			}
		case decision.OpReplace:
			gone, replacement = true, content
		case decision.OpRemove:
			gone = true
		case decision.OpUnwrap:
			unwrap = true
		default:
			applyToAttributes(n, e)
		}
	}
	switch {
	case gone:
		before(n.Parent, n, replacement)
		n.Parent.RemoveChild(n)
	case unwrap:
		for n.FirstChild != nil {
			c := n.FirstChild
			n.RemoveChild(c)
			n.Parent.InsertBefore(c, n)
		}
		n.Parent.RemoveChild(n)
	}
}

func nodes(t *rapid.T, n *html.Node, e decision.Edit) []*html.Node {
	if e.Text != "" {
		return []*html.Node{{Type: html.TextNode, Data: e.Text}}
	}
	list, err := html.ParseFragment(strings.NewReader(e.HTML), &html.Node{Type: html.ElementNode, Data: "div", DataAtom: atom.Div})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func applyToAttributes(n *html.Node, e decision.Edit) {
	at := func(name string) int {
		return slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == strings.ToLower(name) })
	}
	set := func(name, value string) {
		if i := at(name); i >= 0 {
			n.Attr[i].Val = value
		} else {
			n.Attr = append(n.Attr, html.Attribute{Key: name, Val: value})
		}
	}
	switch e.Op {
	case decision.OpSetAttribute:
		set(e.Name, e.Value)
	case decision.OpRemoveAttribute:
		for i := at(e.Name); i >= 0; i = at(e.Name) {
			n.Attr = slices.Delete(n.Attr, i, i+1)
		}
	case decision.OpAddClass:
		i := at("class")
		if i < 0 {
			set("class", e.Value)
		} else if words := strings.Fields(n.Attr[i].Val); !slices.Contains(words, e.Value) {
			n.Attr[i].Val += " " + e.Value
		}
	case decision.OpRemoveClass:
		if i := at("class"); i >= 0 {
			words := strings.Fields(n.Attr[i].Val)
			n.Attr[i].Val = strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == e.Value }), " ")
		}
	}
}

// render writes a tree with its classes one space apart.
func render(t *rapid.T, doc *html.Node) string {
	eachElement(doc, func(n *html.Node) {
		for i, a := range n.Attr {
			if a.Key == "class" {
				n.Attr[i].Val = strings.Join(strings.Fields(a.Val), " ")
			}
		}
	})
	var b strings.Builder
	if err := html.Render(&b, doc); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
