package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

// The oracle is the tree that x/net/html builds, with a selector matcher that
// works from an element upwards and shares nothing with the engine but the parser.

func oracleMatches(n *html.Node, list [][]part) bool {
	for _, parts := range list {
		if matchesParts(n, parts) {
			return true
		}
	}
	return false
}

func matchesParts(n *html.Node, parts []part) bool {
	last := parts[len(parts)-1]
	if !matchesCompound(n, &last.comp) {
		return false
	}
	rest := parts[:len(parts)-1]
	switch last.comb {
	case first:
		return true
	case child:
		return isElement(n.Parent) && matchesParts(n.Parent, rest)
	case descendant:
		for p := n.Parent; isElement(p); p = p.Parent {
			if matchesParts(p, rest) {
				return true
			}
		}
	case next:
		s := previous(n)
		return s != nil && matchesParts(s, rest)
	case later:
		for s := previous(n); s != nil; s = previous(s) {
			if matchesParts(s, rest) {
				return true
			}
		}
	}
	return false
}

func isElement(n *html.Node) bool { return n != nil && n.Type == html.ElementNode }

func previous(n *html.Node) *html.Node {
	for s := n.PrevSibling; s != nil; s = s.PrevSibling {
		if isElement(s) {
			return s
		}
	}
	return nil
}

func matchesCompound(n *html.Node, c *compound) bool {
	if c.tag != "" && !strings.EqualFold(n.Data, c.tag) {
		return false
	}
	value := func(name string) (string, bool) {
		for _, a := range n.Attr { // xlink:href of SVG is in a namespace, so that [href] does not mean it
			if a.Namespace == "" && strings.EqualFold(a.Key, name) {
				return a.Val, true
			}
		}
		return "", false
	}
	for _, id := range c.ids {
		if v, _ := value("id"); v != id {
			return false
		}
	}
	for _, class := range c.classes {
		if v, _ := value("class"); !slices.Contains(strings.Fields(v), class) {
			return false
		}
	}
	for _, a := range c.attrs {
		v, ok := value(a.name)
		if !ok || !matchesValue(v, a) {
			return false
		}
	}
	for _, s := range c.nths {
		position := 1
		for p := previous(n); p != nil; p = previous(p) {
			if !s.ofType || p.Data == n.Data {
				position++
			}
		}
		if !s.holds(position) {
			return false
		}
	}
	any := func(list []compound) bool {
		return slices.ContainsFunc(list, func(c compound) bool { return matchesCompound(n, &c) })
	}
	for _, list := range c.is {
		if !any(list) {
			return false
		}
	}
	for _, list := range c.not {
		if any(list) {
			return false
		}
	}
	return true
}

func matchesValue(v string, a attrSelector) bool {
	want := a.value
	if a.fold {
		v, want = strings.ToLower(v), strings.ToLower(want)
	}
	switch a.op {
	case '=':
		return v == want
	case '~':
		return want != "" && slices.Contains(strings.Fields(v), want)
	case '|':
		return v == want || strings.HasPrefix(v, want+"-")
	case '^':
		return want != "" && strings.HasPrefix(v, want)
	case '$':
		return want != "" && strings.HasSuffix(v, want)
	case '*':
		return want != "" && strings.Contains(v, want)
	}
	return true
}

// eachElement visits the elements of the document; the content of templates is
// not part of it.
func eachElement(n *html.Node, visit func(*html.Node)) {
	if isElement(n) {
		visit(n)
		if n.Data == "template" && n.Namespace == "" {
			return
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		eachElement(c, visit)
	}
}

func mark(n *html.Node) string {
	for _, a := range n.Attr {
		if a.Key == "n" {
			return a.Val
		}
	}
	return ""
}

func parseHTML(t rapid.TB, page string) *html.Node {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// selectors draws selectors of all kinds, or only of those that look upwards.
func selectors(siblings bool) *rapid.Generator[string] {
	simple := []string{".a", ".b", "#x", "[n]", "[class~=b]", "[class^=a]", "[data-k='v w']", "[data-k*=W i]", ":not(.a)", ":not(div, .b)", ":is(p, .a)", ":is(div,li):not(#x)"}
	combs := []string{" ", " > "}
	if siblings {
		simple = append(simple, ":first-child", ":nth-child(2n+1)", ":nth-child(-n+2)", ":nth-of-type(2)", ":first-of-type")
		combs = append(combs, " + ", " ~ ")
	}
	one := rapid.Custom(func(t *rapid.T) string {
		s := rapid.SampledFrom([]string{"", "*", "div", "p", "li", "ul", "span", "td", "tr", "tbody", "body", "dt", "x-y", "g", "foreignObject"}).Draw(t, "tag")
		for range rapid.IntRange(0, 2).Draw(t, "simple") {
			s += rapid.SampledFrom(simple).Draw(t, "part")
		}
		if s == "" {
			return "*"
		}
		return s
	})
	return rapid.Custom(func(t *rapid.T) string {
		s := one.Draw(t, "first")
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			s += rapid.SampledFrom(combs).Draw(t, "comb") + one.Draw(t, "next")
		}
		if rapid.IntRange(0, 5).Draw(t, "list") == 0 {
			s += ", " + one.Draw(t, "second")
		}
		return s
	})
}

// page writes a random page. Each tag carries its number.
type page struct {
	t *rapid.T
	b strings.Builder
	n int
}

func (p *page) open(name string) {
	p.n++
	fmt.Fprintf(&p.b, "<%s n=%d%s>", name, p.n, rapid.SampledFrom([]string{"", "", " class=a", ` class="a b"`, " class='b  c' id=x", ` data-k="v w"`, " data-k='V&#x20;W' CLASS=c class=a"}).Draw(p.t, "attrs"))
}

func (p *page) close(name string, optional bool) {
	if !optional || rapid.Bool().Draw(p.t, "close") {
		p.b.WriteString("</" + name + ">")
	}
}

func (p *page) pick(names ...string) string { return rapid.SampledFrom(names).Draw(p.t, "name") }

func (p *page) flow(depth int) {
	for range rapid.IntRange(0, 3).Draw(p.t, "children") {
		p.b.WriteString(p.pick("", "text ", "a < b & c", "<!-- <p> -->", "<br>", "<script>if (a<b) '<div>'</script>", "<textarea></p><div></textarea>"))
		if depth == 0 {
			continue
		}
		switch name := p.pick("div", "div", "section", "span", "p", "ul", "dl", "table", "select", "x-y", "svg", "h2", "button", "template"); name {
		case "p":
			p.open(name)
			p.phrasing(depth - 1)
			p.close(name, true)
		case "span":
			p.open(name)
			p.phrasing(depth - 1)
			p.close(name, false)
		case "ul", "dl", "select":
			p.items(name, depth)
		case "table":
			p.table(depth)
		case "svg":
			p.open(name)
			p.open("g")
			p.b.WriteString("<title>x</title><![CDATA[<p>]]><path/>")
			p.open("foreignObject")
			p.flow(depth - 1)
			p.b.WriteString("</foreignObject></g></svg>")
		case "h2", "button":
			p.open(name)
			p.phrasing(depth - 1)
			p.close(name, false)
		default:
			p.open(name)
			p.flow(depth - 1)
			p.close(name, false)
		}
	}
}

func (p *page) phrasing(depth int) {
	p.b.WriteString(p.pick("", "x", "<img n=i>", "<!---->", "<wbr>"))
	if depth > 0 && rapid.Bool().Draw(p.t, "more") {
		p.open("span")
		p.phrasing(depth - 1)
		p.b.WriteString("</span>")
	}
}

func (p *page) items(name string, depth int) {
	p.open(name)
	for range rapid.IntRange(0, 3).Draw(p.t, "items") {
		item := map[string]string{"ul": "li", "dl": p.pick("dt", "dd"), "select": "option"}[name]
		p.open(item)
		if name == "select" {
			p.b.WriteString("o")
		} else {
			p.flow(depth - 1)
		}
		p.close(item, true)
	}
	p.close(name, false)
}

func (p *page) table(depth int) {
	p.open("table")
	if rapid.Bool().Draw(p.t, "caption") {
		p.b.WriteString("<caption>c</caption>")
	}
	section := p.pick("", "tbody", "thead")
	for range rapid.IntRange(0, 2).Draw(p.t, "sections") {
		if section != "" {
			p.open(section)
		}
		for range rapid.IntRange(0, 2).Draw(p.t, "rows") {
			if rapid.IntRange(0, 3).Draw(p.t, "row") > 0 || section == "" {
				p.open("tr")
			}
			for range rapid.IntRange(0, 2).Draw(p.t, "cells") {
				p.open(p.pick("td", "th"))
				p.flow(depth - 1)
			}
		}
		if section != "" && rapid.Bool().Draw(p.t, "end section") {
			p.b.WriteString("</" + section + ">")
		}
	}
	p.close("table", false)
}

func structuredPage() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		p := page{t: t}
		p.b.WriteString("<!DOCTYPE html>")
		p.b.WriteString(p.pick("", "<html n=h>", "<head><title>t</title></head>", "<html><head><meta name=x><body n=b>", "<title>x</title>", " <body class=a n=b>"))
		p.flow(3)
		p.b.WriteString(p.pick("", "</body></html>"))
		return p.b.String()
	})
}

// TestSelectorsAgainstTree compares what matches with what matches in the tree.
func TestSelectorsAgainstTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkSelector(t, structuredPage().Draw(t, "page"), selectors(true).Draw(t, "selector"))
	})
}

// TestSelectorsInSoup does the same with tags in any order.
func TestSelectorsInSoup(t *testing.T) {
	tags := []string{"div", "p", "ul", "li", "span", "h1", "h2", "section", "dd", "dt", "button", "x-y", "address", "pre", "img", "hr", "form", "object", "ruby", "rt", "option"}
	rapid.Check(t, func(t *rapid.T) {
		p := page{t: t}
		p.b.WriteString("<!doctype html><body>")
		for range rapid.IntRange(0, 25).Draw(t, "tags") {
			if name := p.pick(tags...); rapid.IntRange(0, 2).Draw(t, "end") == 0 {
				p.b.WriteString("</" + name + ">")
			} else {
				p.open(name)
			}
		}
		checkSelector(t, p.b.String(), selectors(true).Draw(t, "selector"))
	})
}

// TestSelectorsInTableSoup does the same with tables and foreign content. Left out
// is <th>, which x/net/html does not know to end a caption.
func TestSelectorsInTableSoup(t *testing.T) {
	tags := []string{"div", "p", "table", "tr", "td", "tbody", "caption", "thead", "colgroup", "col", "svg", "g", "foreignObject", "desc", "math", "mi",
		"annotation-xml", "li", "ul", "span", "h1", "input", "button", "dd", "template", "script", "form", "object", "br", "title", "ruby", "rt", "rp", "pre",
		"plaintext", "textarea", "address", "marquee", "image"}
	rapid.Check(t, func(t *rapid.T) {
		p := page{t: t}
		p.b.WriteString("<!doctype html><body><table n=t>")
		for range rapid.IntRange(0, 20).Draw(t, "tags") {
			name := p.pick(tags...)
			if rapid.IntRange(0, 2).Draw(t, "end") == 0 {
				p.b.WriteString("</" + name + ">")
				continue
			}
			if p.open(name); name == "script" {
				p.b.WriteString("</script>")
			}
		}
		checkSelector(t, p.b.String(), selectors(false).Draw(t, "selector"))
	})
}

func checkSelector(t *rapid.T, src, selector string) {
	list, err := parseSelector(selector)
	if err != nil {
		t.Fatalf("%s: %v", selector, err)
	}
	var want []string
	eachElement(parseHTML(t, src), func(n *html.Node) {
		if mark(n) != "" && oracleMatches(n, list) {
			want = append(want, mark(n))
		}
	})
	program, err := Compile(planned(decision.Edit{Select: selector, Op: decision.OpSetAttribute, Name: "hit", Value: "1"}))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	r := program.NewRewriter(&out, Limits{Encoding: EncodingUTF8})
	defer r.Release()
	if _, err := r.Write([]byte(src)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	eachElement(parseHTML(t, out.String()), func(n *html.Node) {
		for _, a := range n.Attr {
			if a.Key == "hit" && mark(n) != "" {
				got = append(got, mark(n))
			}
		}
	})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%q in %s\ngot  %v\nwant %v", selector, src, got, want)
	}
}
