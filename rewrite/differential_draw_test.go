package rewrite

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

var plainName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_-]*$`)

func oneOf[T any](random *rand.Rand, of []T) T { return of[random.IntN(len(of))] }

// drawEdit draws an edit of something that stands in the page.
func (p *lolPage) drawEdit(random *rand.Rand) decision.Edit {
	e := decision.Edit{Select: p.drawSelector(random), Op: oneOf(random, []decision.Op{
		decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace, decision.OpSetInner,
		decision.OpRemove, decision.OpUnwrap, decision.OpSetAttribute, decision.OpRemoveAttribute,
	})}
	switch e.Op {
	case decision.OpRemove, decision.OpUnwrap:
	case decision.OpSetAttribute:
		e.Name = oneOf(random, []string{"title", "class", "href", "data-new"})
		e.Value = oneOf(random, []string{"", "v", `a "b" 'c' d`, "é"})
	case decision.OpRemoveAttribute:
		e.Name = oneOf(random, []string{"class", "id", "href", "style", "src"})
	default:
		if random.IntN(2) == 0 {
			e.Text = oneOf(random, []string{"plain", "1 < 2 & \"é\"", "<b>no</b>"})
		} else {
			e.HTML = oneOf(random, []string{"<i class=x>A</i>", "<!--c-->", "é &amp; B"})
		}
	}
	return e
}

// drawSelector draws a selector of an element of the page and of what is around it
// for lol-html.
func (p *lolPage) drawSelector(random *rand.Rand) string {
	if len(p.lol.nodes) == 0 {
		return "p"
	}
	var starts []int
	for i, tok := range p.lol.tokens {
		if tok.kind == html.StartTagToken {
			starts = append(starts, i)
		}
	}
	n := p.lol.nodes[oneOf(random, starts)]
	s := drawCompound(random, n)
	for p, steps := n.Parent, random.IntN(3); steps > 0 && isElement(p); steps-- {
		comb := " > "
		if up := random.IntN(4); up > 0 {
			comb = " "
			for ; up > 1 && isElement(p.Parent); up-- {
				p = p.Parent
			}
		}
		s = drawCompound(random, p) + comb + s
		p = p.Parent
	}
	if random.IntN(12) == 0 {
		s += ", " + drawCompound(random, p.lol.nodes[oneOf(random, starts)])
	}
	return s
}

func drawCompound(random *rand.Rand, n *html.Node) string {
	s := ""
	if plainName.MatchString(n.Data) && random.IntN(4) > 0 {
		s = n.Data
	}
	if id, _ := nodeAttr(n, "id"); plainName.MatchString(id) && random.IntN(3) == 0 {
		s += "#" + id
	}
	if class, _ := nodeAttr(n, "class"); strings.TrimSpace(class) != "" && random.IntN(2) == 0 {
		if name := oneOf(random, strings.Fields(class)); plainName.MatchString(name) {
			s += "." + name
		}
	}
	if len(n.Attr) > 0 && random.IntN(4) == 0 {
		s += drawAttribute(random, oneOf(random, n.Attr))
	}
	if random.IntN(4) == 0 {
		s += oneOf(random, []string{":first-child", ":first-of-type", ":nth-child(2)", ":nth-child(odd)", ":nth-child(3n+1)",
			":nth-of-type(2n)", ":nth-of-type(1)", ":not(.a)", ":not(p)", ":not([href])", ":not(#main)"})
	}
	if s == "" {
		s = "*"
	}
	return s
}

func nodeAttr(n *html.Node, name string) (string, bool) {
	i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
	if i < 0 {
		return "", false
	}
	return n.Attr[i].Val, true
}

// drawAttribute draws an attribute selector, of the value as it is written or as
// it is meant.
func drawAttribute(random *rand.Rand, a html.Attribute) string {
	value := a.Val
	if random.IntN(2) == 0 {
		value = html.UnescapeString(value)
	}
	if !plainName.MatchString(a.Key) || strings.ContainsAny(value, "\\\"\r\n\t\f\x00") {
		return ""
	}
	if len(value) > 40 {
		value = value[:strings.LastIndexAny(value[:40], " /.-&")+1]
	}
	if value == "" || strings.ToValidUTF8(value, "") != value || random.IntN(3) == 0 {
		return "[" + a.Key + "]"
	}
	op := oneOf(random, []string{"=", "^=", "$=", "*=", "~=", "|="})
	flag := oneOf(random, []string{"", "", " i"})
	return fmt.Sprintf(`[%s%s"%s"%s]`, a.Key, op, value, flag)
}

// anyPage draws pages with all that makes trees hard: end tags that are implied,
// missing or misplaced, tables, foreign content, comments and raw text.
func anyPage() *rapid.Generator[string] {
	tableParts := []string{"table", "tr", "td", "th", "tbody", "thead", "caption", "colgroup", "col"}
	plain := []string{"div", "div", "p", "p", "ul", "li", "li", "span", "a", "h1", "h2", "dl", "dd", "dt", "section", "button", "x-y", "option", "form",
		"svg", "g", "path", "foreignObject", "desc", "math", "mi", "template",
		"img", "br", "input", "hr", "html", "head", "body", "object", "pre", "address", "ruby", "rt"}
	pieces := []string{"text ", " ", "1 < 2 & 3", "<!-- <p> -->", "<!---->", "<!x>", "<![CDATA[<p>]]>", "<script>if (a<b) '<div></p>'</script>", "<style>a>b{}</style>",
		"<textarea></p><div></textarea>", "<title>a<p>b</title>", "<noscript><p>x</noscript>", "<iframe><p></iframe>", "<select><option>a<option class=a>b</select>", "<select><style>b</style></select>", "<svg><g></g><title class=a>t</title><desc>d</desc></svg>", "<svg/>",
		"<b class=a><p>x</b>y</p>", "<path/>", "<br/>", "</br>", "</p>"}
	attrs := []string{"", "", "", " class=a", ` class="a b" id=x`, " class='b  c'", ` data-k="v&amp;w"`, " class=c CLASS=a", ` href='x?a=1&b=2' title`, " id=x/"}
	return rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
			return structuredPage().Draw(t, "structured")
		}
		var b strings.Builder
		tags := plain
		// Without a doctype table parts are elements outside a table too, for us.
		if start := rapid.SampledFrom([]string{"", "<!doctype html>", "<!doctype html><html><head><title>t</title></head><body class=a>"}).Draw(t, "start"); start != "" {
			b.WriteString(start)
			tags = slices.Concat(plain, tableParts)
		}
		var open []string
		for range rapid.IntRange(0, 30).Draw(t, "pieces") {
			switch rapid.IntRange(0, 9).Draw(t, "piece") {
			case 0, 1:
				b.WriteString(rapid.SampledFrom(pieces).Draw(t, "text"))
			case 2:
				if name := rapid.SampledFrom(tags).Draw(t, "stray"); name != "html" && name != "body" {
					b.WriteString("</" + name + ">")
				}
			case 3, 4, 5:
				if len(open) > 0 {
					b.WriteString("</" + open[len(open)-1] + ">")
					open = open[:len(open)-1]
				}
			default:
				name := rapid.SampledFrom(tags).Draw(t, "tag")
				b.WriteString("<" + name + rapid.SampledFrom(attrs).Draw(t, "attributes") + ">")
				if !voidNames[name] && name != "html" && name != "body" {
					open = append(open, name)
				}
			}
		}
		ends := []string{"", "", "<p", "<!-- open", "<script>x"}
		if !slices.Contains(open, "svg") && !slices.Contains(open, "math") { // where a comment would not show that the body ended
			ends = append(ends, "</body></html>")
		}
		return b.String() + rapid.SampledFrom(ends).Draw(t, "end")
	})
}
