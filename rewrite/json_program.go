package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
)

// jsonProgram is what the edits of JSON bodies come to: a tree of the places that
// their pointers name, with what becomes of each place decided beforehand for
// every kind of value that may stand there.
//
// Edits work on the document that the edits before them left, so an edit's place
// may be one that another edit made, moved or took away. All of that is settled
// when the program is compiled, and a document only has to be passed over once,
// without holding its values: where an edit sets or removes a value, what later
// edits make of the place does not depend on the document any more; and where
// items were removed, indices are counted on from there.
type jsonProgram struct {
	root    *jsonNode
	slots   int // flags for members that are looked for; see jsonMember
	longest int // the longest name, in bytes
}

// jsonNode is a place in documents that some edit has to do with.
type jsonNode struct {
	matches []int32 // the edits that name this very value
	fates   [jsonKinds]jsonFate

	// Of an object: the members with places below, and those that may be added at
	// its end, in this order.
	members map[string]*jsonMember
	ends    []*jsonMember

	// Of an array: the items with places below, by index, and what comes behind
	// the last one.
	items []jsonItem
	atEnd []int32 // the edits that name the place behind the last item
	tail  jsonTail
}

// jsonFate says what becomes of a value.
type jsonFate struct {
	act    jsonAct
	text   []jsonPiece
	inside *jsonNode // where to go on inside; nil for nowhere
	hides  jsonHider // of a value that is replaced or taken away
}

type jsonAct byte

const (
	jsonKeep jsonAct = iota
	jsonReplace
	jsonRemove
)

// jsonHider is the edit that takes a value away, with the edits that have an
// effect all the same, since they come later.
type jsonHider struct {
	by    int32
	alive []int32
}

// jsonMember is a member of an object that is looked for.
type jsonMember struct {
	node *jsonNode
	slot int32 // flag for having been found; -1 if that does not matter

	missed []int32     // the edits that match if there is no such member
	text   []jsonPiece // with name; nil if it is not added
	again  bool        // it is added at the end though it was there: it was removed
	order  int         // among the members that are added
	hides  jsonHider
}

type jsonItem struct {
	index  int
	node   *jsonNode
	missed []int32 // the edits that match if the array ends in front of it
}

// jsonStep is an edit that is applied, on its way to its place.
type jsonStep struct {
	edit  int32
	path  []string // what is left of its way
	op    decision.Op
	value *jsonValue
	adds  bool // a missing member is added by merge: the patch of the object says so
}

// jsonLook is an edit whose matches are counted, on its way to its place.
type jsonLook struct {
	edit int32
	path []string
}

const maxJSONNodes = 1 << 16

// jsonCompiler makes the tree. Places with the same steps ahead are one node.
type jsonCompiler struct {
	program *jsonProgram
	edits   []edit
	known   map[string]*jsonNode
	count   int
}

// compileJSON compiles the edits of JSON bodies. The error is an *[EditError].
func compileJSON(edits []edit) (*jsonProgram, error) {
	c := jsonCompiler{program: &jsonProgram{}, edits: edits, known: make(map[string]*jsonNode)}
	var looks []jsonLook
	var steps []jsonStep
	for i := range edits {
		e := &edits[i]
		if e.kind != decision.BodyJSON {
			continue
		}
		looks = append(looks, jsonLook{int32(i), e.path})
		for _, part := range e.path {
			c.program.longest = max(c.program.longest, len(part))
		}
		if e.apply {
			steps = append(steps, jsonStep{edit: int32(i), path: e.path, op: e.op, value: e.json})
		}
	}
	c.program.root = c.node(looks, steps)
	if c.count > maxJSONNodes {
		return nil, fieldError("pointer", "the pointers of all edits together name more than %d places", maxJSONNodes)
	}
	return c.program, nil
}

// node returns the place that is so far on the way of the edits; nil if it is on
// nobody's way.
func (c *jsonCompiler) node(looks []jsonLook, steps []jsonStep) *jsonNode {
	if len(looks)+len(steps) == 0 || c.count > maxJSONNodes {
		return nil
	}
	key := nodeKey(looks, steps)
	if n := c.known[key]; n != nil {
		return n
	}
	n := &jsonNode{}
	c.known[key] = n
	c.count++
	for _, l := range looks {
		if len(l.path) == 0 {
			n.matches = append(n.matches, l.edit)
		}
	}
	c.decide(n, looks, steps)
	if fate := &n.fates[jsonObject]; fate.act == jsonKeep {
		if c.object(n, looks, steps); len(n.members) == 0 {
			fate.inside = nil
		}
	}
	if fate := &n.fates[jsonArray]; fate.act == jsonKeep {
		if c.array(n, looks, steps); len(n.items)+len(n.atEnd)+len(n.tail.steps) == 0 {
			fate.inside = nil
		}
	}
	return n
}

func nodeKey(looks []jsonLook, steps []jsonStep) string {
	var b strings.Builder
	for _, l := range looks {
		fmt.Fprintf(&b, "%d %d,", l.edit, len(l.path))
	}
	for _, s := range steps {
		fmt.Fprintf(&b, ";%d %d %s %p %t", s.edit, len(s.path), s.op, s.value, s.adds)
	}
	return b.String()
}

// object lays out the members of an object that steps lead to.
func (c *jsonCompiler) object(n *jsonNode, looks []jsonLook, steps []jsonStep) {
	var names []string
	quoted := make(map[string]string)
	ofName := make(map[string][]jsonStep)
	orders := make(map[string][]int)
	lookOf := make(map[string][]jsonLook)
	note := func(name string) {
		if _, seen := quoted[name]; !seen {
			quoted[name] = ""
			names = append(names, name)
		}
	}
	for _, l := range looks {
		if len(l.path) > 0 {
			note(l.path[0])
			lookOf[l.path[0]] = append(lookOf[l.path[0]], jsonLook{l.edit, l.path[1:]})
		}
	}
	order := 0
	add := func(name string, s jsonStep) {
		note(name)
		ofName[name], orders[name] = append(ofName[name], s), append(orders[name], order)
		order++
	}
	for _, s := range steps {
		switch {
		case len(s.path) > 0:
			name := s.path[0]
			s.path, s.adds = s.path[1:], false
			add(name, s)
		case s.op == decision.OpMerge && s.value.kind == jsonObject:
			for i, name := range s.value.names {
				add(name, memberOfPatch(s, s.value.values[i]))
				if quoted[name] == "" {
					quoted[name] = s.value.quoted[i]
				}
				c.program.longest = max(c.program.longest, len(name))
			}
		}
	}
	n.members = make(map[string]*jsonMember, len(names))
	for _, name := range names {
		if quoted[name] == "" {
			quoted[name] = quoteName(name)
		}
		m := &jsonMember{node: c.node(lookOf[name], ofName[name]), slot: -1}
		n.members[name] = m
		if c.end(m, quoted[name], lookOf[name], ofName[name], orders[name]) {
			m.slot = int32(c.program.slots)
			c.program.slots++
			n.ends = append(n.ends, m)
		}
	}
	slices.SortStableFunc(n.ends, func(a, b *jsonMember) int { return a.order - b.order })
}

// memberOfPatch is what a merge patch does to one member.
func memberOfPatch(s jsonStep, value *jsonValue) jsonStep {
	m := jsonStep{edit: s.edit, op: decision.OpMerge, value: value, adds: true}
	switch {
	case value.isNull():
		m.op = decision.OpRemove
	case value.kind != jsonObject:
		m.op = decision.OpSet
	}
	return m
}

// end says what becomes of a member that the object does not have, and reports
// whether that is anything.
func (c *jsonCompiler) end(m *jsonMember, quoted string, looks []jsonLook, steps []jsonStep, orders []int) bool {
	for _, l := range looks {
		if len(l.path) == 0 && c.edits[l.edit].op == decision.OpSet {
			m.missed = append(m.missed, l.edit)
		}
	}
	s := jsonState{is: jsonAbsent, hides: jsonHider{by: -1}}
	s.run(steps)
	m.hides = s.hides
	if s.is == jsonKnown {
		m.text = s.value.appendPieces(appendJSONText(nil, quoted+":"))
		m.order = orders[s.order]
		m.again = slices.ContainsFunc(steps, func(s jsonStep) bool { return len(s.path) == 0 && s.op == decision.OpRemove })
	}
	return m.text != nil || len(m.missed) > 0
}
