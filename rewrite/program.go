package rewrite

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"github.com/sedge-proxy/sedge/decision"
)

// Program is a list of edits made ready to run. It does not change any more and
// serves any number of pages at the same time.
type Program struct {
	edits []edit

	tags    symbols // tag values; the known tags come first
	attrs   symbols // attribute names that selectors test
	classes symbols
	ids     symbols
	attrID  int32 // the number of "id" in attrs, -1 when no selector tests ids
	attrCls int32 // likewise "class"

	// The steps of all selectors, each listed once, under the rarest thing that
	// it asks for.
	steps   []step
	byTag   []stepList
	byID    []stepList
	byClass []stepList
	byAttr  []stepList
	byPart  []*grams // by attribute; nil where no step asks for a part of its value
	always  stepList

	// What an element matched is kept for its children and later siblings as
	// bits, one for each step that another one follows. A set takes words words.
	words int
	masks [4][]uint64 // of the bits that a descendant, child, next and later step asks for

	siblings bool        // some step asks for siblings
	types    bool        // some step counts siblings of one type
	attrsAll bool        // attributes of any element are tested
	wanted   *attrFilter // of these names; nil for all
	attrsOf  []bool      // attributes of this element are tested
	pool     sync.Pool
	fills    []Slot // what visitors' values are wanted for
	needs    []need // what policies have to allow, of all edits
	policed  bool   // policies have a say in some edit

	json      *jsonProgram // nil without edits of JSON bodies
	jsonPool  sync.Pool
	texts     []int32 // the edits of other text
	textPool  sync.Pool
	has       [bodyKinds]bool
	required  [bodyKinds]int // required edits that are applied
	mixed     bool           // there are edits of several experiences
	readsText bool
	slots     int   // attributes and classes that edits set
	classSlot int32 // of the attribute class, -1 when no edit sets it
}

// stepList is a list of steps: those that follow no other step, and those that do.
type stepList struct{ free, bound []int32 }

func (l *stepList) empty() bool { return len(l.free)+len(l.bound) == 0 }

func (l *stepList) add(n int32, st *step) {
	if st.need < 0 {
		l.free = append(l.free, n)
	} else {
		l.bound = append(l.bound, n)
	}
}

// step is one compound selector with the steps that lead to it.
type step struct {
	comb   combinator
	before int32 // the step that leads here, -1 when none
	need   int32 // bit that must be set in what the combinator points at
	bit    int32 // own bit, -1 when no step follows
	tests  tests
	part   bool    // it asks for a part of an attribute's value, see grams
	edits  []int32 // the edits that match an element which gets here
}

// tests is a compound selector with its names as numbers.
type tests struct {
	tag     tag // tagNone for any
	ids     []int32
	classes []int32
	attrs   []attrTest
	nths    []nth
	is      [][]tests
	not     [][]tests
}

type attrTest struct {
	attrSelector
	number int32
	want   []byte // the value
}

const maxSteps = 1 << 16

// Compile makes edits ready to run, in their order (see the package's
// documentation). Edits with Apply false are matched and counted only. The error
// names the edits that are wrong, as joined *[CompileError]s.
func Compile(edits []decision.PlannedEdit) (*Program, error) {
	p := newProgram()
	c := compiler{p: p, known: make(map[string]int32)}
	var errs []error
	for i := range edits {
		if err := c.edit(int32(i), &edits[i]); err != nil {
			errs = append(errs, &CompileError{Edit: i, Err: err})
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := c.finishBodies(); err != nil {
		return nil, err
	}
	c.finish()
	p.findReadsText()
	return p, nil
}

// CompileError says which edit of a list is wrong; Err is its *[EditError].
type CompileError struct {
	Edit int // index into the list given to [Compile]
	Err  error
}

func (e *CompileError) Error() string { return fmt.Sprintf("edit %d: %v", e.Edit, e.Err) }

// Unwrap returns the *[EditError].
func (e *CompileError) Unwrap() error { return e.Err }

// knownNames holds the known tags under their values.
var knownNames = sync.OnceValue(func() symbols {
	s := symbols{fold: true, names: []string{""}, hash: []uint32{0}}
	for t := tagNone + 1; t < knownTags; t++ {
		s.add(tagInfos[t].name)
	}
	return s
})

func newProgram() *Program {
	p := &Program{attrID: -1, attrCls: -1, classSlot: -1, tags: knownNames().clone()}
	p.attrs.fold = true
	p.pool.New = func() any { return newRewriter(p, maphash.MakeSeed()) }
	return p
}

// NewRewriter returns a rewriter for one page that writes to dst. It comes from a
// pool; give it back with [Rewriter.Release].
func (p *Program) NewRewriter(dst io.Writer, limits Limits) *Rewriter {
	r := p.pool.Get().(*Rewriter)
	r.reset(dst, limits)
	return r
}

// Len returns the number of edits.
func (p *Program) Len() int { return len(p.edits) }

type compiler struct {
	p     *Program
	known map[string]int32 // steps by where they come from and what they ask
	bits  int32

	slots, experiences map[string]int32
	parts              [][]int32 // by attribute: the steps that ask for a part of its value
}

func (c *compiler) edit(number int32, e *decision.PlannedEdit) error {
	if kind := e.Kind(); kind != decision.BodyHTML {
		return c.bodyEdit(number, kind, e)
	}
	if err := checkPageEdit(&e.Edit); err != nil {
		return err
	}
	list, err := parseSelector(e.Select)
	if err != nil {
		return err
	}
	sample, slots, err := checkFields(e.Edit)
	if err != nil {
		return err
	}
	for _, parts := range list {
		last := int32(-1)
		for i := range parts {
			last = c.step(last, &parts[i])
		}
		if len(c.p.steps) > maxSteps {
			return fieldError("select", "the selectors of all edits together have more than %d parts", maxSteps)
		}
		target := &c.p.steps[last]
		if n := len(target.edits); n == 0 || target.edits[n-1] != number {
			target.edits = append(target.edits, number)
		}
	}
	resolved := *e
	resolved.Edit = sample
	out := compileEdit(&resolved)
	out.filled = slots
	c.numberSlots(number, slots)
	c.police(&out, &resolved.Edit, number, list)
	c.number(&out, e.Experience)
	c.p.edits = append(c.p.edits, out)
	return nil
}

// number gives an edit the numbers of its experience and of what it sets.
func (c *compiler) number(e *edit, experience string) {
	p := c.p
	n := bodyNumber(e.kind)
	p.has[n] = true
	if e.required {
		p.required[n]++
	}
	if c.slots == nil {
		c.slots, c.experiences = make(map[string]int32), make(map[string]int32)
	}
	e.experience = numbered(c.experiences, experience)
	p.mixed = len(c.experiences) > 1
	if !e.ofTag {
		return
	}
	switch name := lower(e.name); {
	case e.op == decision.OpAddClass || e.op == decision.OpRemoveClass:
		e.slot = numbered(c.slots, "class "+e.value)
	default:
		e.slot = numbered(c.slots, name)
		if name == "class" {
			p.classSlot = e.slot
		}
	}
	p.slots = len(c.slots)
}

// numbered returns the number of a name, the next one if it has none.
func numbered(names map[string]int32, name string) int32 {
	n, ok := names[name]
	if !ok {
		n = int32(len(names))
		names[name] = n
	}
	return n
}

// step returns the step that follows the step before, adding it if no selector
// had it yet.
func (c *compiler) step(before int32, part *part) int32 {
	key := fmt.Sprintf("%d%c%#v", before, part.comb, part.comp)
	if n, ok := c.known[key]; ok {
		return n
	}
	s := step{comb: part.comb, before: before, need: -1, bit: -1, tests: c.tests(&part.comp)}
	if before >= 0 {
		from := &c.p.steps[before]
		if from.bit < 0 {
			from.bit = c.bits
			c.bits++
		}
		s.need = from.bit
	}
	c.p.steps = append(c.p.steps, s)
	n := int32(len(c.p.steps) - 1)
	c.known[key] = n
	return n
}

func (c *compiler) tests(comp *compound) tests {
	t := tests{nths: comp.nths}
	if comp.tag != "" {
		t.tag = tag(c.p.tags.add(comp.tag))
	}
	for _, id := range comp.ids {
		c.p.attrID = c.p.attrs.add("id")
		t.ids = append(t.ids, c.p.ids.add(id))
	}
	for _, class := range comp.classes {
		c.p.attrCls = c.p.attrs.add("class")
		t.classes = append(t.classes, c.p.classes.add(class))
	}
	for _, a := range comp.attrs {
		t.attrs = append(t.attrs, attrTest{a, c.p.attrs.add(a.name), []byte(a.value)})
	}
	for _, n := range comp.nths {
		c.p.types = c.p.types || n.ofType
	}
	t.is = c.lists(comp.is)
	t.not = c.lists(comp.not)
	return t
}

func (c *compiler) lists(lists [][]compound) [][]tests {
	var out [][]tests
	for _, list := range lists {
		var one []tests
		for i := range list {
			one = append(one, c.tests(&list[i]))
		}
		out = append(out, one)
	}
	return out
}

// usesAttrs reports whether the attributes must be known to decide t.
func (t *tests) usesAttrs() bool {
	if len(t.ids)+len(t.classes)+len(t.attrs) > 0 {
		return true
	}
	for _, lists := range [2][][]tests{t.is, t.not} {
		for _, list := range lists {
			for i := range list {
				if list[i].usesAttrs() {
					return true
				}
			}
		}
	}
	return false
}

// finish sorts the steps under what they ask for and lays out the bit sets.
func (c *compiler) finish() {
	p := c.p
	p.byTag = make([]stepList, len(p.tags.names))
	p.byID = make([]stepList, len(p.ids.names))
	p.byClass = make([]stepList, len(p.classes.names))
	p.byAttr = make([]stepList, len(p.attrs.names))
	p.byPart = make([]*grams, len(p.attrs.names))
	c.parts = make([][]int32, len(p.attrs.names))
	p.wanted = new(attrFilter)
	for _, name := range p.attrs.names {
		p.wanted.add(name)
	}
	p.attrsOf = make([]bool, len(p.tags.names))
	p.words = int(c.bits+63) / 64
	for i := range p.masks {
		p.masks[i] = make([]uint64, p.words)
	}
	for n := range p.steps {
		s := &p.steps[n]
		c.index(int32(n), &s.tests)
		if s.need >= 0 {
			kind := kindOf(s.comb)
			p.masks[kind][s.need/64] |= 1 << (s.need % 64)
			p.siblings = p.siblings || kind >= kindNext
		}
	}
	for attr, steps := range c.parts {
		if len(steps) > 0 {
			p.byPart[attr] = new(grams)
			p.byPart[attr].layOut(p, steps)
		}
	}
}

func (c *compiler) index(n int32, t *tests) {
	p := c.p
	st := &p.steps[n]
	part := t.gramTest()
	switch {
	case len(t.ids) > 0:
		p.byID[t.ids[0]].add(n, st)
	case len(t.classes) > 0:
		p.byClass[t.classes[0]].add(n, st)
	case part != nil:
		c.parts[part.number] = append(c.parts[part.number], n)
		st.part = true
	case t.tag != tagNone:
		p.byTag[t.tag].add(n, st)
	case len(t.attrs) > 0:
		p.byAttr[t.attrs[0].number].add(n, st)
	default:
		p.always.add(n, st)
	}
	if !t.usesAttrs() {
		return
	}
	if t.tag == tagNone {
		p.attrsAll = true
	} else {
		p.attrsOf[t.tag] = true
	}
	if t.tag == tagImg { // the standard makes one of <image>
		p.attrsOf[tagImage] = true
	}
}

// The sets of bits kept for each open element.
const (
	kindDescendant = iota // matched by the element or an ancestor of it
	kindChild             // matched by the element
	kindNext              // matched by its last child so far
	kindLater             // matched by any of its children so far
)

func kindOf(c combinator) int {
	switch c {
	case child:
		return kindChild
	case next:
		return kindNext
	case later:
		return kindLater
	}
	return kindDescendant
}
