package rewrite

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// lolPage is a page cut into tokens, once as the standard reads it and once as
// lol-html does, with the elements that each makes of them.
type lolPage struct {
	src      string
	standard *standardView
	lol      *lolView
}

// newLolPage reads a page, up to where x/net/html stops.
func newLolPage(t testing.TB, src string) *lolPage {
	t.Helper()
	v := newStandardView(t, src)
	if v.read == len(v.tokens) {
		return &lolPage{src, v, newLolView(src, nil)}
	}
	read := 0
	for _, tok := range v.tokens[:v.read] {
		read += len(tok.raw)
	}
	return newLolPage(t, src[:read])
}

// token is a piece of a page; the tokens of a page lie end to end.
type token struct {
	kind  html.TokenType // StartTagToken also for tags that close themselves
	raw   string
	name  string // of a tag, in lower case
	inRaw bool   // the content or the end tag of a raw text element
}

// namespaces follows which namespace the content of a page is in, from its tags
// alone as lol-html does; lol-html does not see that <svg/> and <math/> are empty.
type namespaces struct {
	stack       []string     // "html", "svg" or "math"
	around      string       // what the last start tag stands in
	selfClosing bool         // <svg/> is empty, and one tag leaves all foreign elements
	not         map[int]bool // the tokens at which the tags alone are wrong about being in HTML
}

// inHTML reports whether the token at an index is read as one of HTML.
func (n *namespaces) inHTML(at int) bool { return (n.top() == "html") != n.not[at] }

func (n *namespaces) top() string {
	if len(n.stack) == 0 {
		return "html"
	}
	return n.stack[len(n.stack)-1]
}

func (n *namespaces) leave() {
	n.stack = n.stack[:len(n.stack)-1]
}

var breakouts = words(`b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6
	head hr i img li listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var`)

var rawNames = words("textarea title plaintext script style iframe xmp noembed noframes noscript")

var voidNames = words("area base basefont bgsound br col embed hr img input keygen link meta param source track wbr")

// hashed are the names that lol-html tells apart by a number.
var hashed = regexp.MustCompile(`^[a-z1-6]{1,12}$`)

func words(list string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.FieldsSeq(list) {
		set[word] = true
	}
	return set
}

func entersHTML(namespace, name string, attrs []rawAttr) bool {
	switch {
	case namespace == "svg":
		return name == "desc" || name == "title" || name == "foreignobject"
	case namespace != "math":
		return false
	case name == "annotation-xml":
		v, _ := attrValue(attrs, "encoding")
		return strings.EqualFold(v, "text/html") || strings.EqualFold(v, "application/xhtml+xml")
	}
	return name == "mi" || name == "mo" || name == "mn" || name == "ms" || name == "mtext"
}

// start follows a start tag. It returns the namespace that decides whether the
// element is void, and whether its content is text.
func (n *namespaces) start(name string, attrs []rawAttr, closes bool) (namespace string, raw bool) {
	n.around = n.top()
	switch {
	case name == "svg" || name == "math":
		if !closes || !n.selfClosing {
			n.stack = append(n.stack, name)
		}
		return name, false
	case n.top() == "html":
		return "html", rawNames[name]
	}
	_, color := attrValue(attrs, "color")
	_, face := attrValue(attrs, "face")
	_, size := attrValue(attrs, "size")
	switch {
	case breakouts[name] || name == "font" && (color || face || size):
		n.leave()
		for n.selfClosing && n.top() != "html" {
			n.leave()
		}
		return n.top(), false
	case entersHTML(n.top(), name, attrs) && !closes:
		n.stack = append(n.stack, "html")
		return "html", false
	}
	return n.top(), false
}

func (n *namespaces) end(name string) {
	switch top := n.top(); {
	case top != "html":
		if name == top {
			n.leave()
		}
	case len(n.stack) > 1:
		above := n.stack[len(n.stack)-2]
		isPoint := name == "annotation-xml" && above == "math" || name != "annotation-xml" && entersHTML(above, name, nil)
		if isPoint {
			n.leave()
		}
	}
}

// tokenize cuts a page into tokens and tells each start tag to started.
func tokenize(src string, n *namespaces, started func(at int, tag *rawTag, namespace string, raw bool)) (tokens []token) {
	z := html.NewTokenizer(strings.NewReader(src))
	rest, inRaw := src, false
	for {
		z.AllowCDATA(!n.inHTML(len(tokens)))
		kind := z.Next()
		raw := string(z.Raw())
		rest = rest[len(raw):]
		if kind == html.ErrorToken {
			if raw += rest; raw != "" {
				tokens = append(tokens, token{kind: kind, raw: raw})
			}
			return tokens
		}
		tok := token{kind: kind, raw: raw, inRaw: inRaw}
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken:
			tok.kind = html.StartTagToken
			tag := parseRawTag(raw)
			tok.name = tag.name
			inHTML := n.inHTML(len(tokens))
			namespace, isRaw := n.start(tag.name, tag.attrs, tag.selfClosing)
			if n.not[len(tokens)] {
				isRaw = inHTML && rawNames[tag.name]
			}
			if inRaw = isRaw; !isRaw {
				z.NextIsNotRawText()
			}
			started(len(tokens), tag, namespace, isRaw)
		case html.EndTagToken:
			tok.name = parseRawTag("<" + raw[2:]).name
			n.end(tok.name)
			inRaw = false
		}
		tokens = append(tokens, tok)
	}
}

// rawTag is a start tag as it is written.
type rawTag struct {
	name        string // in lower case
	nameEnd     int
	attrs       []rawAttr
	selfClosing bool
}

// rawAttr is an attribute as it is written, quotes included in text.
type rawAttr struct {
	name, value, text string // the name in lower case
}

func attrValue(attrs []rawAttr, name string) (string, bool) {
	for _, a := range attrs {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

// parseRawTag reads a tag by https://html.spec.whatwg.org/multipage/parsing.html#tag-name-state
// and the states that follow it.
func parseRawTag(raw string) *rawTag {
	const space = " \t\n\f\r"
	until := func(i int, stops string) int {
		if n := strings.IndexAny(raw[i:], stops); n >= 0 {
			return i + n
		}
		return len(raw)
	}
	t := &rawTag{nameEnd: until(1, space+"/>")}
	t.name = lower(raw[1:t.nameEnd])
	for i := t.nameEnd; i < len(raw) && raw[i] != '>'; {
		if strings.IndexByte(space+"/", raw[i]) >= 0 {
			t.selfClosing = raw[i] == '/' && i+1 < len(raw) && raw[i+1] == '>'
			i++
			continue
		}
		from := i
		i = until(i+1, space+"/>=")
		a := rawAttr{name: lower(raw[from:i]), text: raw[from:i]}
		at := i
		for at < len(raw) && strings.IndexByte(space, raw[at]) >= 0 {
			at++
		}
		if at < len(raw) && raw[at] == '=' {
			for at++; at < len(raw) && strings.IndexByte(space, raw[at]) >= 0; at++ {
			}
			switch {
			case raw[at] == '"' || raw[at] == '\'':
				end := at + 1 + strings.IndexByte(raw[at+1:], raw[at])
				a.value, i = raw[at+1:end], end+1
			case raw[at] == '>':
				i = at
			default:
				i = until(at, space+">")
				a.value = raw[at:i]
			}
			a.text = raw[from:i]
		}
		t.attrs = append(t.attrs, a)
	}
	return t
}

// lolView is a page as lol-html sees it: tags nest as they are written.
type lolView struct {
	tokens    []token
	doc       *html.Node
	nodes     map[int]*html.Node // by token
	at        map[*html.Node]int
	tags      map[int]*rawTag
	leaf      map[int]bool   // elements without content
	namespace map[int]string // "html", "svg" or "math"
	popped    map[int][]int  // for an end tag the elements that it ends, outermost first
	ends      map[int]int    // for an element the end tag that ends it
	unsure    []int          // start tags that lol-html may fail to see
	unseen    map[int]bool   // those that it did not see
}

// newLolView leaves out the elements of the tags in unseen.
func newLolView(src string, unseen map[int]bool) *lolView {
	v := &lolView{
		doc: &html.Node{Type: html.DocumentNode}, nodes: make(map[int]*html.Node), at: make(map[*html.Node]int),
		tags: make(map[int]*rawTag), leaf: make(map[int]bool), namespace: make(map[int]string), popped: make(map[int][]int), ends: make(map[int]int), unseen: unseen,
	}
	n := &namespaces{}
	v.tokens = tokenize(src, n, func(at int, tag *rawTag, namespace string, _ bool) {
		if n.around != "html" && (entersHTML(n.around, tag.name, tag.attrs) || tag.name == "font" || n.around == "math" && !hashed.MatchString(tag.name)) {
			v.unsure = append(v.unsure, at)
		}
		if unseen[at] {
			return
		}
		node := &html.Node{Type: html.ElementNode, Data: tag.name}
		for _, a := range tag.attrs {
			node.Attr = append(node.Attr, html.Attribute{Key: a.name, Val: a.value})
		}
		v.nodes[at], v.at[node], v.tags[at] = node, at, tag
		v.namespace[at] = namespace
		v.leaf[at] = namespace == "html" && voidNames[tag.name] || namespace != "html" && tag.selfClosing
	})
	var open []int
	for i, tok := range v.tokens {
		switch {
		case tok.kind == html.StartTagToken && !unseen[i]:
			parent := v.doc
			if len(open) > 0 {
				parent = v.nodes[open[len(open)-1]]
			}
			parent.AppendChild(v.nodes[i])
			if !v.leaf[i] {
				open = append(open, i)
			}
		case tok.kind == html.EndTagToken:
			for n := len(open) - 1; n >= 0; n-- {
				if v.tokens[open[n]].name == tok.name {
					v.popped[i] = append([]int(nil), open[n:]...)
					for _, e := range open[n:] {
						v.ends[e] = i
					}
					open = open[:n]
					break
				}
			}
		}
	}
	return v
}

// matches returns the tokens of the elements that a selector matches.
func (v *lolView) matches(list [][]part) map[int]bool {
	out := make(map[int]bool)
	for at, n := range v.nodes {
		if oracleMatches(n, list) {
			out[at] = true
		}
	}
	return out
}

const (
	markAttr    = "sedge-mark"
	markComment = "sedge-mark:"
	ghostAttr   = "sedge-ghost"
)

// extent is where an element of the standard's tree begins and ends in a page.
type extent struct {
	node   *html.Node
	start  int  // the start tag; for an implied element the token that implies it
	tagged bool // it has a start tag
	leaf   bool
	end    int  // the token that ends it; len(tokens) is the end of the page
	byTag  bool // that token is its end tag
	mute   bool // it ends at the end of the page, inside raw text
	depth  int
	raw    bool
	copies bool // the tree holds copies of it: formatting that was opened again
}

// standardView is a page as the standard sees it, with x/net/html as the judge: a
// comment in front of each token shows which elements are open there.
type standardView struct {
	tokens   []token
	tags     map[int]*rawTag
	doc      *html.Node
	doctype  bool
	extents  []*extent // in the order in which they begin
	byToken  map[int]*extent
	byNode   map[*html.Node]*extent
	ghostAt  map[*html.Node]int // for an element that an end tag makes, that tag
	copies   bool               // the tree holds copies of formatting elements that were opened again
	misread  int                // the first token that is read in another namespace than that of the tree, -1 if there is none
	read     int                // tokens that x/net/html reads; all but in rare cases
	lost     string             // why the tree could not be mapped to the page; "" when it was
	unclosed bool               // the page ends inside a comment or raw text
}

// finished reports whether nothing is open at the end of a page but elements.
func finished(tok token) bool {
	raw := tok.raw
	switch {
	case tok.kind == html.CommentToken && strings.HasPrefix(raw, "<!--"):
		return strings.HasSuffix(raw, "-->") || strings.HasSuffix(raw, "--!>") || raw == "<!-->"
	case tok.kind == html.CommentToken || tok.kind == html.DoctypeToken:
		return strings.HasSuffix(raw, ">")
	case strings.HasPrefix(raw, "<![CDATA["):
		return strings.HasSuffix(raw, "]]>")
	}
	return !tok.inRaw || tok.kind == html.EndTagToken
}

// closing closes the comment or raw text in which a page ends.
func closing(tokens []token) string {
	raw := tokens[len(tokens)-1].raw
	for i := len(tokens) - 1; i >= 0 && (i == len(tokens)-1 || tokens[i+1].inRaw); i-- {
		if tokens[i].kind == html.StartTagToken {
			return "</" + tokens[i].name + ">"
		}
	}
	switch {
	case strings.HasPrefix(raw, "<!--"):
		return "-->"
	case strings.HasPrefix(raw, "<![CDATA["):
		return "]]>"
	}
	return ">"
}

func newStandardView(t testing.TB, src string) *standardView {
	not := make(map[int]bool)
	for {
		v := readStandard(t, src, not)
		if v.misread < 0 || not[v.misread] {
			return v
		}
		not[v.misread] = true // what stands before it was read rightly, so that the tree is right there
	}
}

func readStandard(t testing.TB, src string, not map[int]bool) *standardView {
	v := &standardView{byToken: make(map[int]*extent), byNode: make(map[*html.Node]*extent), ghostAt: make(map[*html.Node]int), tags: make(map[int]*rawTag), misread: -1}
	raws := make(map[int]bool)
	v.tokens = tokenize(src, &namespaces{selfClosing: true, not: not}, func(at int, tag *rawTag, _ string, raw bool) {
		v.tags[at], raws[at] = tag, raw
	})
	last := len(v.tokens) - 1
	v.doctype = slices.ContainsFunc(v.tokens, func(tok token) bool { return tok.kind == html.DoctypeToken })
	v.unclosed = last >= 0 && (!finished(v.tokens[last]) || v.tokens[last].kind == html.StartTagToken && raws[last])
	m := v.markUp(nil)
	v.doc = parseHTML(t, m.page.String())
	if ghosts := v.ghosts(t, m); len(ghosts) > 0 {
		m = v.markUp(ghosts)
		v.doc = parseHTML(t, m.page.String())
	}
	v.locate(m.marks, raws)
	return v
}

// marked is a page with a comment in front of each token.
type marked struct {
	page  bytes.Buffer
	marks []int // the tokens
	ends  []int // for each token where it ends in page
}

func (m *marked) mark(at int) {
	m.marks = append(m.marks, at)
	fmt.Fprintf(&m.page, "<!--%s%d-->", markComment, at)
}

// markUp marks the page. The end tags in ghosts are written as the elements that
// they make.
func (v *standardView) markUp(ghosts map[int]bool) *marked {
	m := &marked{}
	for i, tok := range v.tokens {
		v.markToken(m, i, tok, ghosts[i])
		m.ends = append(m.ends, m.page.Len())
	}
	last := len(v.tokens) - 1
	switch {
	case v.unclosed: // closed for the parser only, to see what is open
		m.page.WriteString(closing(v.tokens))
		m.mark(len(v.tokens))
	case last >= 0 && v.tokens[last].kind == html.ErrorToken:
		m.mark(last) // a tag that the page's end cuts off is dropped
	default:
		m.mark(len(v.tokens))
	}
	return m
}

func (v *standardView) markToken(m *marked, i int, tok token, ghost bool) {
	text := tok.kind == html.TextToken && !strings.HasPrefix(tok.raw, "<![CDATA[")
	lead := len(tok.raw) - len(strings.TrimLeft(tok.raw, " \t\r\n\f"))
	switch {
	case tok.kind == html.ErrorToken:
	case tok.inRaw:
		m.page.WriteString(tok.raw)
	case text && lead < len(tok.raw):
		m.page.WriteString(tok.raw[:lead])
		m.mark(i)
		m.page.WriteString(tok.raw[lead:])
	case tok.kind == html.StartTagToken:
		m.mark(i)
		end := v.tags[i].nameEnd
		fmt.Fprintf(&m.page, "%s %s=%d %s", tok.raw[:end], markAttr, i, tok.raw[end:])
	case ghost:
		m.mark(i)
		fmt.Fprintf(&m.page, "<%s %s=%d>", tok.name, ghostAttr, i)
		if tok.name == "p" {
			m.page.WriteString("</p>")
		}
	case tok.kind == html.EndTagToken:
		m.mark(i)
		m.page.WriteString(tok.raw)
	default:
		m.page.WriteString(tok.raw)
	}
}

// ghosts returns the end tags that make elements: </br>, and </p> where no p is
// open. How many elements have no start tag behind each of them tells which do.
func (v *standardView) ghosts(t testing.TB, m *marked) map[int]bool {
	var candidates []int
	for i, tok := range v.tokens {
		if tok.kind == html.EndTagToken && (tok.name == "p" || tok.name == "br") {
			candidates = append(candidates, i)
		}
	}
	out := make(map[int]bool)
	for range countGhosts(v.doc) {
		n := sort.Search(len(candidates), func(n int) bool {
			return countGhosts(parseHTML(t, m.page.String()[:m.ends[candidates[n]]])) > len(out)
		})
		if n < len(candidates) {
			out[candidates[n]] = true
		}
	}
	return out
}

func countGhosts(doc *html.Node) (n int) {
	for e := range doc.Descendants() {
		if _, tagged := nodeAttr(e, markAttr); !tagged && e.Namespace == "" && (e.Data == "p" || e.Data == "br") {
			n++
		}
	}
	return n
}
