package rewrite

// grams finds the steps that ask for an attribute value with a certain part
// ([href*="/sale"]) by one pass over the value, however many they are. Each step is
// listed under the last bytes of the part that it asks for.
type grams struct {
	length  int // bytes that are looked at together
	bits    [64]uint64
	buckets [][]int32 // by number: the steps
	number  map[uint32]int32
}

const (
	minGram = 2
	maxGram = 4
)

// gramTest returns the attribute test of a step that grams can find, nil if there
// is none.
func (t *tests) gramTest() *attrTest {
	for i := range t.attrs {
		if a := &t.attrs[i]; a.op == '*' && !a.fold && len(a.value) >= minGram {
			return a
		}
	}
	return nil
}

// layOut lists steps by what they ask for.
func (g *grams) layOut(p *Program, steps []int32) {
	g.length = maxGram
	for _, n := range steps {
		g.length = min(g.length, len(p.steps[n].tests.gramTest().want))
	}
	g.number = make(map[uint32]int32)
	for _, n := range steps {
		want := p.steps[n].tests.gramTest().want
		key := uint32(0)
		for _, c := range want[len(want)-g.length:] {
			key = key<<8 | uint32(c)
		}
		at, ok := g.number[key]
		if !ok {
			at = int32(len(g.buckets))
			g.number[key] = at
			g.buckets = append(g.buckets, nil)
		}
		g.buckets[at] = append(g.buckets[at], n)
		h := gramHash(key)
		g.bits[h/64] |= 1 << (h % 64)
	}
}

func gramHash(key uint32) uint32 { return key * 0x9e3779b1 >> 20 }

// each visits the lists of steps that a value may be asked for by, some perhaps
// more than once.
func (g *grams) each(value []byte, visit func(bucket int32)) {
	mask := uint32(1)<<(8*g.length) - 1 // all bits for 4 bytes
	key := uint32(0)
	for i, c := range value {
		key = (key<<8 | uint32(c)) & mask
		if h := gramHash(key); g.bits[h/64]&(1<<(h%64)) == 0 || i < g.length-1 {
			continue
		}
		if n, ok := g.number[key]; ok {
			visit(n)
		}
	}
}
