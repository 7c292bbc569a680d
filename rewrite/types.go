package rewrite

import "math/bits"

// typeCounts counts the children of each open element by name, for :nth-of-type.
// The counts of an element go when it closes, so there are never more than open
// elements have children of different names.
type typeCounts struct {
	seed  uint64
	nodes []typeCount
	free  int32 // first free node, 0 when none; node 0 is not used
	slots []int32
	live  int
}

type typeCount struct {
	parent  int32
	name    tag
	count   int32
	chain   int32 // next node of the slot
	sibling int32 // next node of the same parent
}

func (c *typeCounts) slot(parent int32, name tag) *int32 {
	hi, lo := bits.Mul64(uint64(parent)<<32|uint64(name)^c.seed, 0x9e3779b97f4a7c15)
	return &c.slots[(hi^lo)&uint64(len(c.slots)-1)]
}

// next counts one more child of a name and returns how many there are. head is
// the list of the parent's counts.
func (c *typeCounts) next(parent int32, head *int32, name tag) int {
	if len(c.slots) == 0 || c.live > len(c.slots) {
		c.grow()
	}
	slot := c.slot(parent, name)
	for n := *slot; n != 0; n = c.nodes[n].chain {
		if c.nodes[n].parent == parent && c.nodes[n].name == name {
			c.nodes[n].count++
			return int(c.nodes[n].count)
		}
	}
	n := c.free
	if n != 0 {
		c.free = c.nodes[n].sibling
	} else {
		c.nodes = append(c.nodes, typeCount{})
		n = int32(len(c.nodes) - 1)
	}
	c.nodes[n] = typeCount{parent, name, 1, *slot, *head}
	*slot, *head = n, n
	c.live++
	return 1
}

func (c *typeCounts) grow() {
	if len(c.nodes) == 0 {
		c.nodes = append(c.nodes, typeCount{})
	}
	c.slots = make([]int32, max(64, 4*len(c.slots)))
	for n := 1; n < len(c.nodes); n++ {
		if node := &c.nodes[n]; node.count > 0 {
			slot := c.slot(node.parent, node.name)
			node.chain, *slot = *slot, int32(n)
		}
	}
}

// drop forgets the counts of a parent that closes.
func (c *typeCounts) drop(head int32) {
	for n := head; n != 0; {
		node := &c.nodes[n]
		at := c.slot(node.parent, node.name)
		for *at != n {
			at = &c.nodes[*at].chain
		}
		*at = node.chain
		following := node.sibling
		*node = typeCount{sibling: c.free}
		c.free = n
		c.live--
		n = following
	}
}
