package rewrite

import (
	"slices"
	"strconv"

	"github.com/sedge-proxy/sedge/decision"
)

// jsonTail is what edits add behind the last item of an array.
type jsonTail struct {
	steps []jsonTailStep
	grows bool        // some step may add an item
	last  int         // the greatest index that a step names, in the array as it came; -1 for none
	plain []jsonPiece // the items that are added to an array longer than that
	count int         // how many these are
}

// jsonTailStep is an edit that adds an item, or one of an index, which may turn out
// to be that of an item that was added.
type jsonTailStep struct {
	index   int // -1: adds an item
	removed []int
	path    []string // below the item
	op      decision.Op
	value   *jsonValue
}

// array lays out the items of an array that steps lead to.
func (c *jsonCompiler) array(n *jsonNode, looks []jsonLook, steps []jsonStep) {
	type item struct {
		looks []jsonLook
		steps []jsonStep
	}
	items := make(map[int]*item)
	at := func(index int) *item {
		if items[index] == nil {
			items[index] = new(item)
		}
		return items[index]
	}
	for _, l := range looks {
		if len(l.path) == 0 {
			continue
		}
		if index, ok := arrayIndex(l.path[0]); ok {
			it := at(index)
			it.looks = append(it.looks, jsonLook{l.edit, l.path[1:]})
		} else if l.path[0] == pointerEnd && len(l.path) == 1 && c.edits[l.edit].op == decision.OpSet {
			n.atEnd = append(n.atEnd, l.edit)
		}
	}
	n.tail.last = -1
	var removed []int // items, by their index in the array as it came
	for _, s := range steps {
		t := jsonTailStep{index: -1, op: s.op, value: s.value}
		switch {
		case len(s.path) == 0:
			if s.op != decision.OpAppend {
				continue
			}
		case s.path[0] == pointerEnd:
			if len(s.path) > 1 || s.op != decision.OpSet {
				continue
			}
		default:
			index, ok := arrayIndex(s.path[0])
			if !ok {
				continue
			}
			t.index, t.path, t.removed = index, s.path[1:], removed
			came := indexAsCame(index, removed)
			n.tail.last = max(n.tail.last, came)
			s.path = s.path[1:]
			it := at(came)
			it.steps = append(it.steps, s)
			if len(s.path) == 0 && s.op == decision.OpRemove {
				where, _ := slices.BinarySearch(removed, came)
				removed = slices.Insert(slices.Clone(removed), where, came)
			}
		}
		n.tail.grows = n.tail.grows || t.index < 0 || len(t.path) == 0 && t.op == decision.OpSet
		n.tail.steps = append(n.tail.steps, t)
	}
	for index, it := range items {
		x := jsonItem{index: index, node: c.node(it.looks, it.steps)}
		for _, l := range it.looks {
			if len(l.path) == 0 && c.edits[l.edit].op == decision.OpSet {
				x.missed = append(x.missed, l.edit)
			}
		}
		n.items = append(n.items, x)
	}
	slices.SortFunc(n.items, func(a, b jsonItem) int { return a.index - b.index })
	n.tail.plain, n.tail.count = n.tail.make(n.tail.last + 1)
}

// indexAsCame returns where the item with an index stood before the items at the
// places removed were taken away.
func indexAsCame(index int, removed []int) int {
	for _, r := range removed {
		if r <= index {
			index++
		}
	}
	return index
}

// of returns what is added to an array that came with so many items.
func (t *jsonTail) of(length int) (text []jsonPiece, count int) {
	switch {
	case !t.grows:
		return nil, 0
	case length > t.last:
		return t.plain, t.count
	}
	return t.make(length)
}

func (t *jsonTail) make(length int) (text []jsonPiece, count int) {
	added := jsonValue{kind: jsonArray}
	for i := range t.steps {
		s := &t.steps[i]
		if s.index < 0 {
			added.values = append(added.values, s.value.clone())
			continue
		}
		gone, _ := slices.BinarySearch(s.removed, length)
		if index := s.index - (length - gone); index >= 0 {
			applyBelow(&added, append([]string{strconv.Itoa(index)}, s.path...), s.op, s.value)
		}
	}
	for i, v := range added.values {
		if i > 0 {
			text = appendJSONText(text, ",")
		}
		text = v.appendPieces(text)
	}
	return text, len(added.values)
}
