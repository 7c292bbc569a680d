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
	v.read, v.misread = len(v.tokens), v.firstMisread(marks, chains, raws)
	if v.misread >= 0 {
		v.lost = "other tokens"
		return
	}
	if i := slices.IndexFunc(marks, func(at int) bool { return v.losesRest(at, chains[at]) }); i >= 0 {
		v.read = marks[i]
		return
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
	v.placeEmpty(chains)
	v.order(v.doc)
	v.extents = slices.DeleteFunc(v.extents, func(e *extent) bool { return e.start < 0 })
	slices.SortStableFunc(v.extents, func(a, b *extent) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return a.depth - b.depth
	})
}

// firstMisread returns the first token that the page was cut into as if it stood in
// HTML, while in the tree it stands in foreign content, or the other way round: a
// tag whose content may be text, or a CDATA section. -1 if there is none.
func (v *standardView) firstMisread(marks []int, chains map[int][]*html.Node, raws map[int]bool) int {
	for at, tok := range v.tokens {
		maybeRaw := tok.kind == html.StartTagToken && rawNames[tok.name]
		if tok.inRaw || !maybeRaw && !strings.HasPrefix(tok.raw, "<![CDATA[") {
			continue
		}
		i, _ := slices.BinarySearch(marks, at+1)
		next, read := chains[marks[min(i, len(marks)-1)]] // not read when it was taken for text
		e, section := v.byToken[at], tok.kind == html.TextToken
		switch {
		case maybeRaw && e != nil && raws[at] != (e.node.Namespace == ""),
			maybeRaw && e == nil && !raws[at] && !read,
			!maybeRaw && section && read && !isForeign(next),
			!maybeRaw && !section && !read:
			return at
		}
	}
	return -1
}

func isForeign(chain []*html.Node) bool { return len(chain) > 0 && chain[0].Namespace != "" }

// losesRest reports whether a tag is a template inside foreign content: there
// x/net/html stops reading.
func (v *standardView) losesRest(at int, chain []*html.Node) bool {
	return at < len(v.tokens) && v.tokens[at].kind == html.StartTagToken && v.tokens[at].name == "template" && v.byToken[at] == nil &&
		slices.ContainsFunc(chain, func(n *html.Node) bool { return n.Namespace != "" })
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
	for _, at := range marks {
		var chain []*html.Node
		for _, n := range chains[at] {
			chain = append(chain, n)
			for _, n := range around[n] {
				if !slices.Contains(chains[at], n) {
					chain = append(chain, n)
				}
			}
		}
		chains[at] = chain
		if e := v.byToken[at]; e != nil && !tableNames[e.node.Data] {
			around[e.node] = openTable(chain, e.node.Parent)
		}
	}
}

// openTable returns, of the elements that are open in front of a start tag, the
// parts of the table out of which its element was moved to parent. A colgroup and
// elements in front of the table are not among them: the tag ended those.
func openTable(chain []*html.Node, parent *html.Node) []*html.Node {
	isPart := func(n *html.Node) bool { return n.Namespace == "" && movers[n.Data] }
	table := slices.IndexFunc(chain, func(n *html.Node) bool { return n.Namespace == "" && n.Data == "table" })
	from := slices.IndexFunc(chain, isPart)
	if table < 0 || chain[table].Parent != parent {
		return nil
	}
	for _, n := range chain[from : table+1] {
		if !isPart(n) { // a cell or a caption, which hold content
			return nil
		}
	}
	return chain[from : table+1]
}

// movers are the elements that content is moved out of.
var movers = words("table tbody thead tfoot tr")

// order puts siblings into the order in which they stand in the page: what the
// standard moves out of a table comes before the table, but positions are counted
// as the page passes.
func (v *standardView) order(n *html.Node) {
	var children []*html.Node
	start, sorted := make(map[*html.Node]int), true
	for c, at := n.FirstChild, 0; c != nil; c = c.NextSibling {
		began, known := v.ghostAt[c]
		if e := v.byNode[c]; e != nil && e.start >= 0 {
			began, known = e.start, true
		}
		if known {
			sorted = sorted && began >= at
			at = began
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
			at, _ := strconv.Atoi(a.Val)
			switch a.Key {
			case markAttr:
				e.start, e.tagged = at, true
			case ghostAttr:
				v.ghostAt[n] = at
			default:
				continue
			}
			n.Attr = slices.Delete(n.Attr, i, i+1)
			break
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
func (v *standardView) placeEmpty(chains map[int][]*html.Node) {
	var head, body *extent
	for _, e := range v.extents {
		switch {
		case e.node.Data == "head" && outOnce(e.node):
			head = e
		case (e.node.Data == "body" || e.node.Data == "frameset") && e.node.Namespace == "" && body == nil:
			body = e
		}
	}
	if body != nil && body.start < 0 {
		if at := v.endTag(chains, "body", "html"); at >= 0 {
			body.start, body.end, body.byTag = at, at, v.tokens[at].name == "body"
		}
	}
	if head == nil || head.tagged {
		return
	}
	begins := len(v.tokens) // where something else than its end tag implies head
	switch {
	case head.start >= 0:
		begins = head.start
	case body != nil && body.start >= 0:
		begins = body.start
	}
	if at := v.endTag(chains, "head"); at >= 0 && at < begins {
		head.start, head.end, head.byTag = at, at, true // later parts of it are behind its end
	} else if head.start < 0 && begins < len(v.tokens) {
		head.start, head.end = begins, begins
	}
}

// endTag returns the first end tag of one of the names, -1 if there is none. In a
// template these mean nothing.
func (v *standardView) endTag(chains map[int][]*html.Node, names ...string) int {
	for i, tok := range v.tokens {
		if tok.kind == html.EndTagToken && slices.Contains(names, tok.name) && !slices.ContainsFunc(chains[i], isTemplate) {
			return i
		}
	}
	return -1
}

func isTemplate(n *html.Node) bool { return n.Data == "template" && n.Namespace == "" }

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
