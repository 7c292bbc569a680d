package rewrite

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"

	"github.com/sedge-proxy/sedge/decision"
)

var impliedNames = words("html head body tbody tr colgroup")

// locate maps the tree of the marked page to the page.
func (v *standardView) locate(marks []int, raws map[int]bool) {
	chains := make(map[int][]*html.Node) // by mark: the elements open there
	var comments []*html.Node
	v.walk(v.doc, 0, func(n *html.Node) { comments = append(comments, n) })
	for _, n := range comments {
		at, _ := strconv.Atoi(strings.TrimPrefix(n.Data, markComment))
		for p := n.Parent; p != nil; p = p.Parent {
			chains[at] = append(chains[at], p)
		}
		n.Parent.RemoveChild(n)
	}
	if len(chains) != len(marks) {
		v.lost = "other tokens"
		return
	}
	v.keepTables(marks, chains)
	ended := v.staysOpen(marks, chains)
	firstIn, lastIn := make(map[*html.Node]int), make(map[*html.Node]int)
	for i, at := range marks {
		for _, n := range chains[at] {
			if _, ok := firstIn[n]; !ok {
				firstIn[n] = i
			}
			last, ok := lastIn[n]
			switch {
			case ok && outOnce(n) && last != i-1: // head, body and html do not go on behind their end
			case ok && n.Data != "html" && last < ended && i >= ended: // nor what the body's end left open
			default:
				lastIn[n] = i
			}
		}
	}
	for _, e := range v.extents {
		if e.node.Data == "form" && e.node.Namespace == "" {
			v.endForm(e, marks, chains, lastIn)
		}
	}
	for _, e := range v.extents {
		v.place(e, marks, firstIn, lastIn, raws)
	}
	v.placeEmpty()
	v.order(v.doc)
	v.extents = slices.DeleteFunc(v.extents, func(e *extent) bool { return e.start < 0 })
	slices.SortStableFunc(v.extents, func(a, b *extent) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return a.depth - b.depth
	})
}

// staysOpen puts back what a comment behind the body does not show: it stands in html
// or beside it, while the elements that were open when the body ended once more
// are still open. It returns the index of the first mark behind the body.
func (v *standardView) staysOpen(marks []int, chains map[int][]*html.Node) int {
	body, ended := false, len(marks)
	for i, at := range marks {
		in := slices.ContainsFunc(chains[at], func(n *html.Node) bool { return n.Data == "body" && n.Namespace == "" })
		switch {
		case in:
			body = true
		case body && ended < i:
			beside := len(chains[at]) == 1 // in the document
			chains[at] = slices.DeleteFunc(slices.Clone(chains[marks[i-1]]), func(n *html.Node) bool { return beside && n.Data == "html" })
		case body:
			ended = i
		}
	}
	return ended
}

// endForm ends a form at its end tag, also where elements inside it stay open.
func (v *standardView) endForm(e *extent, marks []int, chains map[int][]*html.Node, lastIn map[*html.Node]int) {
	for i, at := range marks {
		depth := slices.Index(chains[at], e.node)
		if depth < 0 || at >= len(v.tokens) || v.tokens[at].kind != html.EndTagToken || v.tokens[at].name != "form" {
			continue
		}
		scoped := slices.ContainsFunc(chains[at][:depth], func(n *html.Node) bool {
			return n.Namespace == "" && scopes[n.Data] || n.Namespace != "" && entersHTML(n.Namespace, lower(n.Data), nil)
		})
		if !scoped {
			lastIn[e.node] = i
		}
		return
	}
}

var scopes = words("applet caption html table td th marquee object template")

var tableNames = words("table tbody thead tfoot tr td th caption colgroup col")

// keepTables adds to what is open inside an element that was moved out of a table
// the table and its parts, which stay open around it.
func (v *standardView) keepTables(marks []int, chains map[int][]*html.Node) {
	around := make(map[*html.Node][]*html.Node)
	for _, e := range v.extents {
		chain := chains[e.start]
		table := slices.IndexFunc(chain, func(n *html.Node) bool { return n.Data == "table" && n.Namespace == "" })
		if e.tagged && table >= 0 && !tableNames[e.node.Data] && e.node.Parent == chain[table].Parent &&
			!slices.ContainsFunc(chain[:table], func(n *html.Node) bool { return n.Data == "td" || n.Data == "th" || n.Data == "caption" }) {
			around[e.node] = chain[:table+1]
		}
	}
	for _, at := range marks {
		for i := 0; i < len(chains[at]); i++ {
			for _, n := range around[chains[at][i]] {
				if !slices.Contains(chains[at], n) {
					chains[at] = append(chains[at], n)
				}
			}
		}
	}
}

// order puts siblings into the order in which they stand in the page: what the
// standard moves out of a table comes before the table, but positions are counted
// as the page passes.
func (v *standardView) order(n *html.Node) {
	var children []*html.Node
	start, sorted := make(map[*html.Node]int), true
	for c, at := n.FirstChild, 0; c != nil; c = c.NextSibling {
		if e := v.byNode[c]; e != nil && e.start >= 0 {
			sorted = sorted && e.start >= at
			at = e.start
		}
		start[c] = at
		children = append(children, c)
		v.order(c)
	}
	if sorted {
		return
	}
	slices.SortStableFunc(children, func(a, b *html.Node) int { return start[a] - start[b] })
	for _, c := range children {
		n.RemoveChild(c)
		n.AppendChild(c)
	}
}

func outOnce(n *html.Node) bool {
	return n.Namespace == "" && (n.Data == "html" || n.Data == "head" || n.Data == "body")
}

// walk notes the elements of the tree, takes the marks off them and tells found of
// the comments that are marks.
func (v *standardView) walk(n *html.Node, depth int, found func(*html.Node)) {
	if n.Type == html.CommentNode && strings.HasPrefix(n.Data, markComment) {
		found(n)
	}
	if isElement(n) {
		e := &extent{node: n, start: -1, depth: depth}
		for i, a := range n.Attr {
			if a.Key == markAttr {
				e.start, _ = strconv.Atoi(a.Val)
				e.tagged = true
				n.Attr = slices.Delete(n.Attr, i, i+1)
				break
			}
		}
		if first := v.byToken[e.start]; e.tagged && first != nil {
			first.copies, v.copies = true, true
		} else {
			v.extents = append(v.extents, e)
			v.byNode[n] = e
			if e.tagged {
				v.byToken[e.start] = e
			}
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		v.walk(c, depth+1, found)
	}
}

func (v *standardView) place(e *extent, marks []int, firstIn, lastIn map[*html.Node]int, raws map[int]bool) {
	from, within := firstIn[e.node]
	if e.tagged && outOnce(e.node) && within && marks[from] <= e.start {
		e.tagged = false // a later tag gave its attributes to it
		delete(v.byToken, e.start)
	}
	if outOnce(e.node) {
		e.node.Attr = nil // without those of tags that come too late
		if e.tagged {
			z := html.NewTokenizer(strings.NewReader(v.tokens[e.start].raw))
			z.Next()
			e.node.Attr = z.Token().Attr
		}
	}
	if !e.tagged {
		e.start = -1
		if within && from > 0 && impliedNames[e.node.Data] {
			e.start = marks[from-1]
		}
	}
	if e.start < 0 {
		return
	}
	e.raw = e.tagged && raws[e.start]
	switch {
	case e.raw:
		v.placeRaw(e)
	case !within:
		e.leaf, e.end = true, e.start
	default:
		e.end = marks[lastIn[e.node]]
		e.byTag = v.endedBy(e)
		e.mute = v.unclosed && e.end == len(v.tokens)
	}
}

func (v *standardView) placeRaw(e *extent) {
	for i := e.start + 1; i < len(v.tokens) && v.tokens[i].inRaw; i++ {
		if v.tokens[i].kind == html.EndTagToken {
			e.end, e.byTag = i, true
			return
		}
	}
	e.end, e.mute = len(v.tokens), true
}

// endedBy reports whether the token that ends an element is its end tag.
func (v *standardView) endedBy(e *extent) bool {
	if e.end >= len(v.tokens) || v.tokens[e.end].kind != html.EndTagToken {
		return false
	}
	name, own := v.tokens[e.end].name, lower(e.node.Data)
	heading := func(s string) bool { return len(s) == 2 && s[0] == 'h' && '1' <= s[1] && s[1] <= '6' }
	return name == own || heading(name) && heading(own) || own == "img" && name == "image"
}

// placeEmpty places an implied body without content, which its own end tag or that
// of html implies, and an implied head, which begins and ends where the body begins.
// Elements that the end of the page implies are left out.
func (v *standardView) placeEmpty() {
	var head, body *extent
	for _, e := range v.extents {
		switch {
		case e.node.Data == "head" && outOnce(e.node):
			head = e
		case (e.node.Data == "body" || e.node.Data == "frameset") && e.node.Namespace == "" && body == nil:
			body = e
		}
	}
	if body == nil {
		return
	}
	if body.start < 0 {
		at := slices.IndexFunc(v.tokens, func(t token) bool {
			return t.kind == html.EndTagToken && (t.name == "body" || t.name == "html")
		})
		if at < 0 {
			return
		}
		body.start, body.end, body.byTag = at, at, v.tokens[at].name == "body"
	}
	if head != nil && head.start < 0 {
		head.start, head.end = body.start, body.start
		at := slices.IndexFunc(v.tokens, func(t token) bool { return t.kind == html.EndTagToken && t.name == "head" })
		if at >= 0 && at < body.start {
			head.start, head.end, head.byTag = at, at, true
		}
	}
}

// unescaped reports whether character references mean nothing in an element.
func (e *extent) unescaped() bool {
	return e.raw && e.node.Data != "title" && e.node.Data != "textarea"
}

// matches returns the elements that a selector matches.
func (v *standardView) matches(list [][]part) map[*extent]bool {
	out := make(map[*extent]bool)
	eachElement(v.doc, func(n *html.Node) {
		if e := v.byNode[n]; e != nil && e.start >= 0 && oracleMatches(n, list) {
			out[e] = true
		}
	})
	return out
}

// render writes a page with the edit done to the elements of the standard's tree
// as this package's documentation describes it.
func (v *standardView) render(matched map[*extent]bool, e decision.Edit) string {
	r := &standardRender{view: v, edit: e, matched: make(map[*extent]bool), hidden: make(map[*extent]bool)}
	for m := range matched {
		if !m.tagged && !v.doctype && outOnce(m.node) {
			continue
		}
		r.matched[m] = true
	}
	starts, ends := make(map[int][]*extent), make(map[int][]*extent)
	for _, x := range v.extents {
		starts[x.start] = append(starts[x.start], x)
		if !x.leaf {
			ends[x.end] = append(ends[x.end], x)
		}
	}
	for _, list := range ends {
		slices.SortStableFunc(list, func(a, b *extent) int { return b.depth - a.depth })
	}
	for i := 0; i <= len(v.tokens); i++ {
		r.token(i, starts[i], ends[i])
	}
	return r.out.String()
}

type standardRender struct {
	view     *standardView
	edit     decision.Edit
	matched  map[*extent]bool
	hidden   map[*extent]bool // its start tag was taken away with an outer element
	suppress int
	out      strings.Builder
}

func (r *standardRender) emit(s string) {
	if r.suppress == 0 {
		r.out.WriteString(s)
	}
}

func (r *standardRender) token(at int, starts, ends []*extent) {
	text := ""
	if at < len(r.view.tokens) {
		text = r.view.tokens[at].raw
		switch r.view.tokens[at].kind {
		case html.ErrorToken:
			if r.suppress > 0 { // the tag that is cut off goes with the element that it stands in
				text = ""
			}
		case html.TextToken:
			lead := len(text) - len(strings.TrimLeft(text, " \t\r\n\f"))
			r.emit(text[:lead]) // only the text behind white space implies anything
			text = text[lead:]
		}
	}
	var own *extent
	for _, x := range ends {
		switch {
		case x.byTag:
			own = x
		case x.start != at:
			r.finish(x, "")
		}
	}
	for _, x := range starts {
		if x.tagged {
			r.begin(x, text)
			return
		}
		r.begin(x, "")
		if x.end == at && !x.byTag {
			r.finish(x, "")
		}
	}
	if own != nil {
		r.finish(own, text)
		return
	}
	r.emit(text)
}

func (r *standardRender) begin(x *extent, tag string) {
	if r.suppress > 0 {
		r.hidden[x] = true
	}
	if !r.matched[x] || r.hidden[x] {
		r.emit(tag)
		return
	}
	content := r.content(false)
	inner := r.content(x.unescaped())
	switch r.edit.Op {
	case decision.OpBefore:
		r.emit(content + tag)
	case decision.OpReplace, decision.OpRemove:
		r.emit(content)
		if !x.leaf {
			r.suppress++
		}
	case decision.OpUnwrap:
	case decision.OpPrepend:
		r.emit(tag)
		if !x.leaf {
			r.emit(inner)
		}
	case decision.OpSetInner:
		r.emit(tag)
		if !x.leaf {
			r.emit(inner)
			r.suppress++
		}
	default:
		r.emit(tag)
	}
	if x.leaf && r.edit.Op == decision.OpAfter {
		r.emit(content)
	}
}

func (r *standardRender) finish(x *extent, tag string) {
	if r.hidden[x] && r.suppress == 0 {
		return
	}
	if !r.matched[x] || r.hidden[x] {
		r.emit(tag)
		return
	}
	switch r.edit.Op {
	case decision.OpReplace, decision.OpRemove:
		r.suppress--
		return
	case decision.OpSetInner:
		r.suppress--
		r.emit(tag)
	case decision.OpUnwrap:
	case decision.OpAppend:
		if !x.mute {
			r.emit(r.content(x.unescaped()))
		}
		r.emit(tag)
	case decision.OpAfter:
		r.emit(tag)
		if !x.mute {
			r.emit(r.content(false))
		}
	default:
		r.emit(tag)
	}
}

// content is what the edit inserts, among elements or inside raw text.
func (r *standardRender) content(raw bool) string { return contentOf(r.edit, raw) }

func contentOf(e decision.Edit, raw bool) string {
	switch {
	case e.Text == "":
		return e.HTML
	case !raw:
		return string(appendEscapedText(nil, e.Text))
	case endsRaw([]byte(e.Text)):
		return ""
	}
	return e.Text
}

// render writes a page as lol-html does after an edit. An element that has no end
// tag shares the end tag of the element around it, which does only what was asked
// for the outermost element.
func (v *lolView) render(matched map[int]bool, e decision.Edit) string {
	var out strings.Builder
	removed := 0
	content := contentOf(e, false)
	ending := e.Op == decision.OpAppend || e.Op == decision.OpAfter || e.Op == decision.OpReplace || e.Op == decision.OpRemove || e.Op == decision.OpUnwrap
	emptied := e.Op == decision.OpSetInner || e.Op == decision.OpReplace || e.Op == decision.OpRemove
	for i, tok := range v.tokens {
		emit := func(s string) {
			if removed == 0 {
				out.WriteString(s)
			}
		}
		if tok.kind == html.EndTagToken {
			edited := false
			for _, x := range v.popped[i] {
				edited = edited || matched[x] && ending
				if matched[x] && emptied {
					removed--
				}
			}
			switch {
			case !edited:
				emit(tok.raw)
			case e.Op == decision.OpAppend:
				emit(content + tok.raw)
			case e.Op == decision.OpAfter:
				emit(tok.raw + content)
			}
			continue
		}
		if !matched[i] {
			emit(tok.raw)
			continue
		}
		switch e.Op {
		case decision.OpBefore:
			emit(content + tok.raw)
		case decision.OpPrepend, decision.OpSetInner:
			emit(tok.raw)
			if !v.leaf[i] {
				emit(content)
			}
		case decision.OpReplace, decision.OpRemove:
			emit(content)
		case decision.OpUnwrap:
		case decision.OpSetAttribute, decision.OpRemoveAttribute:
			emit(lolTag(tok.raw, v.tags[i], e))
		default:
			emit(tok.raw)
			if v.leaf[i] && e.Op == decision.OpAfter {
				emit(content)
			}
		}
		if emptied && !v.leaf[i] {
			removed++
		}
	}
	return out.String()
}

// lolTag writes a tag as lol-html does when one of its attributes changed: all
// attributes one space apart.
func lolTag(raw string, t *rawTag, e decision.Edit) string {
	name := lower(e.Name)
	i := slices.IndexFunc(t.attrs, func(a rawAttr) bool { return a.name == name })
	if i < 0 && e.Op == decision.OpRemoveAttribute {
		return raw
	}
	attrs := slices.Clone(t.attrs)
	quoted := `="` + strings.ReplaceAll(e.Value, `"`, "&quot;") + `"`
	switch {
	case e.Op == decision.OpRemoveAttribute:
		attrs = slices.Delete(attrs, i, i+1)
	case i >= 0:
		attrs[i].text = attrs[i].text[:len(name)] + quoted
	default:
		attrs = append(attrs, rawAttr{text: name + quoted})
	}
	var b strings.Builder
	b.WriteString(raw[:t.nameEnd])
	for _, a := range attrs {
		b.WriteString(" " + a.text)
	}
	switch {
	case t.selfClosing && len(attrs) > 0:
		b.WriteString(" /")
	case t.selfClosing:
		b.WriteString("/")
	}
	return b.String() + ">"
}
