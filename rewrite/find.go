package rewrite

import (
	"math"
	"slices"
)

// finder finds the elements of a compiled page that a program's edits match. The
// elements that a step matches are a list; the steps that follow look only at
// elements that have a name they ask for.
type finder struct {
	lists             [][]int32 // by step: the elements that it matches, in order
	memory            []int32   // holds lists
	tag               tag       // of the element that is loaded
	loaded            int32     // the element whose attributes are noted, -1 when none
	hits              []uint64  // when an element is opened << 32 | edit, in order
	ends              []openEnd // elements to be ended: a heap, the next one first
	closing, tailGone bool      // the page's end was reached; what is left of a tag there is taken away
	mark              []int32   // by parent: the first child that an earlier step matched, + 1
	parts             []uint64  // step << 32 | element, of the steps that ask for a part of a value, in order
}

// openEnd is the end of an element; work is -1 if only its end tag goes.
type openEnd struct{ event, element, work int32 }

// maxFound bounds the lists and the matches of one splice.
const maxFound = 4 << 20

// landmarkHit stands for a landmark among the edits.
const landmarkHit = math.MaxUint32

// find fills hits. It reports false if there are too many.
func (f *finder) find(r *Rewriter, p *Page) bool {
	steps := r.program.steps
	f.memory, f.hits, f.loaded = f.memory[:0], f.hits[:0], -1
	f.lists = slices.Grow(f.lists[:0], len(steps))[:len(steps)]
	if !f.findParts(r, p) {
		return false
	}
	for n := range steps {
		st := &steps[n]
		f.lists[n] = nil
		if st.before >= 0 && len(f.lists[st.before]) == 0 {
			continue
		}
		list, exact := f.parted(int32(n)), true
		if !st.part {
			list, exact = p.candidates(r.program, &st.tests)
		}
		if len(list) == 0 {
			continue
		}
		if exact && st.before < 0 {
			f.lists[n] = list
		} else {
			f.lists[n] = f.filter(r, p, st, list, exact)
		}
		for _, e := range f.lists[n] {
			if len(st.edits) == 0 {
				break
			}
			if p.elements[e].flags&noEdits != 0 {
				continue
			}
			at := uint64(p.openedAt(e)) << 32
			for _, edit := range st.edits {
				f.hits = append(f.hits, at|uint64(edit))
			}
		}
		if len(f.hits)+len(f.memory) > maxFound {
			return false
		}
	}
	for i := range p.marks {
		f.hits = append(f.hits, uint64(p.openedAt(p.marks[i].element))<<32|landmarkHit)
	}
	slices.Sort(f.hits)
	f.hits = slices.Compact(f.hits)
	return true
}

// findParts finds the elements for the steps that ask for a part of an attribute's
// value, however many they are, by one pass over those values.
func (f *finder) findParts(r *Rewriter, p *Page) bool {
	f.parts = f.parts[:0]
	for name, g := range r.program.byPart {
		if g == nil {
			continue
		}
		for _, n := range p.attrs.of(r.program.attrs.names[name]) {
			f.load(r, p, n)
			g.each(r.attrValue(int32(name)), func(bucket int32) {
				for _, step := range g.buckets[bucket] {
					if r.holds(&r.program.steps[step].tests, f.tag, 0) {
						f.parts = append(f.parts, uint64(step)<<32|uint64(n))
					}
				}
			})
			if len(f.parts) > maxFound {
				return false
			}
		}
	}
	slices.Sort(f.parts)
	f.parts = slices.Compact(f.parts)
	return true
}

// parted returns the elements that findParts has found for a step.
func (f *finder) parted(step int32) []int32 {
	from := len(f.memory)
	at, _ := slices.BinarySearch(f.parts, uint64(step)<<32)
	for ; at < len(f.parts) && int32(f.parts[at]>>32) == step; at++ {
		f.memory = append(f.memory, int32(uint32(f.parts[at])))
	}
	return f.memory[from:len(f.memory):len(f.memory)]
}

// candidates returns the elements that have the rarest name that a step asks for,
// and whether they all hold it.
func (p *Page) candidates(program *Program, t *tests) (list []int32, exact bool) {
	list, exact = p.all, len(t.nths)+len(t.is)+len(t.not) == 0
	asked := 0
	rarer := func(x *index, name string) {
		if found := x.of(name); asked == 0 || len(found) < len(list) {
			list = found
		}
		asked++
	}
	if t.tag != tagNone {
		rarer(&p.tags, program.tags.names[t.tag])
	}
	for _, id := range t.ids {
		rarer(&p.ids, program.ids.names[id])
	}
	for _, class := range t.classes {
		rarer(&p.classes, program.classes.names[class])
	}
	for i := range t.attrs {
		rarer(&p.attrs, t.attrs[i].name)
		exact = exact && t.attrs[i].op == 0
	}
	return list, exact && asked < 2
}

// filter returns the elements of a list that a step matches.
func (f *finder) filter(r *Rewriter, p *Page, st *step, list []int32, exact bool) []int32 {
	from := len(f.memory)
	var before []int32
	if st.before >= 0 {
		before = f.lists[st.before]
	}
	if st.comb == later && st.before >= 0 {
		f.markParents(p, before)
		defer f.unmarkParents(p, before)
	}
	next, last := 0, int32(-1)
	for _, n := range list {
		e := &p.elements[n]
		if st.before >= 0 {
			holds := false
			switch st.comb {
			case child:
				_, holds = slices.BinarySearch(before, e.parent)
			case descendant:
				for ; next < len(before) && before[next] < n; next++ {
					last = max(last, p.elements[before[next]].last)
				}
				holds = last >= n
			case later:
				first := f.mark[e.parent+1]
				holds = first > 0 && first-1 < n
			default:
				_, holds = slices.BinarySearch(before, e.prev)
			}
			if !holds {
				continue
			}
		}
		if exact || f.holds(r, p, st, n) {
			f.memory = append(f.memory, n)
		}
	}
	return f.memory[from:len(f.memory):len(f.memory)]
}

// holds reports whether an element is what a step asks for.
func (f *finder) holds(r *Rewriter, p *Page, st *step, n int32) bool {
	f.load(r, p, n)
	return r.holds(&st.tests, f.tag, 0)
}

// load notes what is known about an element.
func (f *finder) load(r *Rewriter, p *Page, n int32) {
	if f.loaded == n {
		return
	}
	f.loaded = n
	e := &p.elements[n]
	r.seen.next()
	r.stack[0].children, r.ofType = e.child, int(e.ofType)
	f.tag = e.name
	if e.flags&withoutTag != 0 {
		return
	}
	r.token = p.body[e.start:e.tagEnd]
	r.scan.nameStart = 1
	r.scanAttrs(r.program.wanted)
	r.readNames()
	if f.tag == tagNone { // -1 if the program does not know it either
		f.tag = tag(r.program.tags.find(r.token[1:r.scan.nameEnd]))
	}
}

// markParents notes for each parent of the listed elements the first of them.
func (f *finder) markParents(p *Page, list []int32) {
	if len(f.mark) <= len(p.elements) {
		f.mark = make([]int32, len(p.elements)+1)
	}
	for _, n := range list {
		if m := &f.mark[p.elements[n].parent+1]; *m == 0 {
			*m = n + 1
		}
	}
}

func (f *finder) unmarkParents(p *Page, list []int32) {
	for _, n := range list {
		f.mark[p.elements[n].parent+1] = 0
	}
}

// push adds the end of an open element.
func (f *finder) push(event, element, work int32) {
	f.ends = append(f.ends, openEnd{event, element, work})
	for i := len(f.ends) - 1; i > 0; {
		up := (i - 1) / 2
		if f.ends[up].event <= f.ends[i].event {
			return
		}
		f.ends[up], f.ends[i] = f.ends[i], f.ends[up]
		i = up
	}
}

// pop takes the next end.
func (f *finder) pop() openEnd {
	ends := f.ends
	first, last := ends[0], len(ends)-1
	ends[0] = ends[last]
	ends = ends[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && ends[down+1].event < ends[down].event {
			down++
		}
		if ends[i].event <= ends[down].event {
			break
		}
		ends[i], ends[down] = ends[down], ends[i]
		i = down
	}
	f.ends = ends
	return first
}

// large reports whether a page made the finder too large to be kept.
func (f *finder) large() bool {
	return 4*cap(f.memory)+8*cap(f.parts)+8*cap(f.hits)+12*cap(f.ends)+4*cap(f.mark) > keptMemory
}
