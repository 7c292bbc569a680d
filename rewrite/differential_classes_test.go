package rewrite

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/sedge-proxy/sedge/decision"
)

// differences are the ways in which this package and lol-html may differ. A
// difference of an output is the sum of the disagreements about single elements;
// each of these must be of one class.
var differences = []struct {
	name, section, reason string
	holds                 func(c *comparison, d *disagreement) bool
}{
	{"ambiguous", "13.2.6.4.16", "lol-html gives up where a tag in select or beside frames may or may not begin raw text; newer browsers agree on some of these pages",
		func(c *comparison, d *disagreement) bool { return c.theirs.problem != "" }},
	{"raw text", "13.2.5.2, 13.2.5.3", "character references mean nothing inside script and style: text goes in as it is, or not at all where it could end the element",
		func(c *comparison, d *disagreement) bool { return d.raw }},
	{"attribute bytes", "13.1.2.3, 13.2.5.33", "lol-html writes a changed tag anew and removes the first of several attributes of a name; here only the bytes of the attribute change, and all of its name go",
		func(c *comparison, d *disagreement) bool { return d.tag }},
	{"character reference", "13.2.5.36 to 13.2.5.38", "lol-html compares attribute values as they are written, with their character references",
		func(c *comparison, d *disagreement) bool { return d.why[whyReference] }},
	{"no element", "13.2.6.4.4, 13.2.6.4.7", "the tag makes no element of the document: a second body, a form in a form, table parts outside a table, what a template holds",
		func(c *comparison, d *disagreement) bool { return d.why[whyNone] }},
	{"moved element", "13.2.4.3, 13.2.6.1, 13.2.6.4.7", "the standard moves content out of a table, and formatting elements that were not closed, or in the wrong order, are opened again",
		func(c *comparison, d *disagreement) bool { return d.why[whyMoved] }},
	{"misplaced end tag", "13.2.4.2", "for lol-html an end tag ends the nearest element of its name, whatever is between; the standard has scopes",
		func(c *comparison, d *disagreement) bool { return d.why[whyMisplaced] }},
	{"implied end", "13.1.2.4, 13.2.6.3, 13.2.6.4.7", "for lol-html an element lasts up to an end tag, its own or that of an element around it; the standard ends p, li, td, … before other tags, and every element at the end of the page",
		func(c *comparison, d *disagreement) bool { return d.why[whyImpliedEnd] }},
	{"foreign content", "13.2.6.5", "lol-html follows SVG and MathML by tags alone: <svg/> has content for it, so that text and tags change places, and behind an end tag it fails to see foreignObject, desc, title, mi, font, …",
		func(c *comparison, d *disagreement) bool { return d.why[whyForeign] }},
	{"implied element", "13.1.2.4", "lol-html knows no html, head, body, tbody, tr and colgroup without tags",
		func(c *comparison, d *disagreement) bool { return d.why[whyImplied] }},
}

type why byte

const (
	whyReference why = iota
	whyNone
	whyMoved
	whyMisplaced
	whyImpliedEnd
	whyForeign
	whyImplied
)

// disagreement is about one element: whether it is matched, where it ends, or how
// its tag is written.
type disagreement struct {
	raw, tag bool
	why      map[why]bool
}

// classes sorts what differs into the classes.
func (c *comparison) classes() (names []string, problem string) {
	var found []*disagreement
	if c.reopened {
		found = append(found, &disagreement{why: map[why]bool{whyMoved: true}})
	} else {
		found = c.disagreements()
	}
	if c.theirs.problem != "" {
		found = append(found, &disagreement{})
	}
	if len(found) == 0 {
		return nil, "no element explains the difference: " + difference(c.ours.out, c.theirs.out)
	}
	for _, d := range found {
		i := slices.IndexFunc(differences, func(class struct {
			name, section, reason string
			holds                 func(c *comparison, d *disagreement) bool
		}) bool {
			return class.holds(c, d)
		})
		if i < 0 {
			return nil, fmt.Sprintf("no class explains %+v: %s", *d, difference(c.ours.out, c.theirs.out))
		}
		if !slices.Contains(names, differences[i].name) {
			names = append(names, differences[i].name)
		}
	}
	return names, ""
}

func (c *comparison) disagreements() (found []*disagreement) {
	view, edit := c.page.standard, c.edit
	if !slices.EqualFunc(view.tokens, c.view.tokens, func(a, b token) bool { return a.raw == b.raw }) {
		return []*disagreement{{why: map[why]bool{whyForeign: true}}}
	}
	ofTag := edit.Op == decision.OpSetAttribute || edit.Op == decision.OpRemoveAttribute
	for at := range c.lol {
		x := view.byToken[at]
		if x == nil || !c.standard[x] {
			found = append(found, &disagreement{why: c.whyMatch(at)})
		}
	}
	for x := range c.standard {
		switch {
		case !x.tagged:
			if !ofTag && (view.doctype || !outOnce(x.node)) {
				found = append(found, &disagreement{why: map[why]bool{whyImplied: true}})
			}
		case !c.lol[x.start]:
			found = append(found, &disagreement{why: c.whyMatch(x.start)})
		case ofTag:
			found = append(found, &disagreement{tag: true})
		case x.unescaped() && edit.Text != "" && (edit.Op == decision.OpPrepend || edit.Op == decision.OpAppend || edit.Op == decision.OpSetInner):
			found = append(found, &disagreement{raw: true})
		default:
			if reasons := c.whyEnd(x); len(reasons) > 0 {
				found = append(found, &disagreement{why: reasons})
			}
		}
	}
	return found
}

// whyEnd says why an element ends elsewhere for lol-html; none when it does not,
// or when the edit does not ask for the end.
func (c *comparison) whyEnd(x *extent) map[why]bool {
	switch {
	case c.edit.Op == decision.OpPrepend && x.leaf != c.view.leaf[x.start]:
		return c.whyLeaf(x)
	case c.edit.Op == decision.OpBefore || c.edit.Op == decision.OpPrepend:
		return nil
	}
	end, ended := c.view.ends[x.start]
	switch {
	case x.leaf && c.view.leaf[x.start]:
		return nil
	case ended && x.byTag && end == x.end:
		if c.takesContent() && c.page.standard.crossed(x) {
			return map[why]bool{whyMisplaced: true}
		}
		return nil
	case x.copies:
		return map[why]bool{whyMoved: true}
	case x.leaf != c.view.leaf[x.start]:
		return c.whyLeaf(x)
	case ended && end < x.end || x.byTag:
		return map[why]bool{whyMisplaced: true}
	}
	return map[why]bool{whyImpliedEnd: true}
}

// takesContent reports whether the edit takes the content of elements away.
func (c *comparison) takesContent() bool {
	return c.edit.Op == decision.OpReplace || c.edit.Op == decision.OpRemove || c.edit.Op == decision.OpSetInner
}

// crossed reports whether the end tag of an element inside x stands behind x, as
// after <form><div></form></div>: for lol-html nothing stays open in what has ended.
func (v *standardView) crossed(x *extent) bool {
	return slices.ContainsFunc(v.extents, func(y *extent) bool {
		return y.tagged && y.byTag && x.start < y.start && y.start < x.end && x.end < y.end
	})
}

// whyLeaf says why an element has content for one side only: behind <svg/> or
// <math/> its tag is in another namespace for lol-html, or a form in a table is empty.
func (c *comparison) whyLeaf(x *extent) map[why]bool {
	if x.leaf && c.view.namespace[x.start] == "html" && x.node.Namespace == "" && x.node.Data == "form" {
		return map[why]bool{whyNone: true}
	}
	return map[why]bool{whyForeign: c.view.namespace[x.start] != cmp.Or(x.node.Namespace, "html")}
}

// whyMatch says why the element of a start tag is matched for one side only.
func (c *comparison) whyMatch(at int) map[why]bool {
	reasons := make(map[why]bool)
	if c.view.unseen[at] {
		reasons[whyForeign] = true
		return reasons
	}
	if c.matchesAsMeant(at) == (c.page.standard.byToken[at] != nil && c.standard[c.page.standard.byToken[at]]) {
		reasons[whyReference] = true
		return reasons
	}
	c.whyPlace(at, reasons)
	return reasons
}

// matchesAsMeant reports whether lol-html would match an element if it read the
// attributes as they are meant.
func (c *comparison) matchesAsMeant(at int) bool {
	lol := c.view
	for n := lol.nodes[at]; isElement(n); n = n.Parent {
		if x := c.page.standard.byToken[lol.at[n]]; x != nil {
			written := n.Attr
			n.Attr = x.node.Attr
			defer func() { n.Attr = written }()
		}
	}
	return oracleMatches(lol.nodes[at], c.list)
}

// whyPlace says why an element, or one around it, stands elsewhere for lol-html:
// among other elements or behind other siblings.
func (c *comparison) whyPlace(at int, reasons map[why]bool) {
	view, lol := c.page.standard, c.view
	x := view.byToken[at]
	if x == nil || c.inTemplate(x) {
		reasons[whyNone] = true
		return
	}
	outer := make(map[int]bool)
	for n := lol.nodes[at].Parent; isElement(n); n = n.Parent {
		outer[lol.at[n]] = true
	}
	for n := x.node.Parent; isElement(n); n = n.Parent {
		around := view.byNode[n]
		switch {
		case around == nil:
			reasons[whyMoved] = true
		case !around.tagged:
			reasons[whyImplied] = true
		case c.view.unseen[around.start]:
			reasons[whyForeign] = true
		case !outer[around.start]:
			reasons[whyMisplaced] = true
		default:
			delete(outer, around.start)
		}
	}
	for around := range outer {
		switch e := view.byToken[around]; {
		case e == nil:
			reasons[whyNone] = true
		case e.leaf:
			maps.Copy(reasons, c.whyLeaf(e))
		case e.end > at || e.copies:
			reasons[whyMoved] = true
		default:
			reasons[whyImpliedEnd] = true
		}
	}
	c.whySiblings(at, reasons)
}

func (c *comparison) inTemplate(x *extent) bool {
	for n := x.node.Parent; isElement(n); n = n.Parent {
		if isTemplate(n) {
			return true
		}
	}
	return false
}

// whySiblings says why an element or one around it has other siblings before it.
func (c *comparison) whySiblings(at int, reasons map[why]bool) {
	view, lol := c.page.standard, c.view
	for n := lol.nodes[at]; isElement(n); n = n.Parent {
		x := view.byToken[lol.at[n]]
		if x == nil {
			reasons[whyNone] = true
			continue
		}
		before := make(map[int]bool)
		for s := previous(x.node); s != nil; s = previous(s) {
			switch e := view.byNode[s]; {
			case e == nil:
				reasons[whyMoved] = true
			case !e.tagged:
				reasons[whyImplied] = true
			default:
				before[e.start] = true
			}
		}
		for s := previous(n); s != nil; s = previous(s) {
			y := lol.at[s]
			if before[y] {
				delete(before, y)
				continue
			}
			c.whyApart(y, lol.at[n], reasons)
		}
		for y := range before {
			c.whyApart(y, lol.at[n], reasons)
		}
	}
}

// whyApart says why two elements are siblings for one side only.
func (c *comparison) whyApart(a, b int, reasons map[why]bool) {
	view := c.page.standard
	x, y := view.byToken[a], view.byToken[b]
	switch {
	case c.view.unseen[a]:
		reasons[whyForeign] = true
	case x == nil || c.inTemplate(x):
		reasons[whyNone] = true
	case x.node.Parent == y.node.Parent: // lol-html sees one of them inside something else
		reasons[whyImpliedEnd] = true
	default:
		reasons[whyMisplaced] = true
	}
}
