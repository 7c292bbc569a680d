package rewrite

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// symbols numbers the names that a program knows: elements, attributes, classes,
// ids. It is filled at compile time and looked up for each name on a page, so a
// look-up reads at most 16 bytes of a name before it says no.
type symbols struct {
	fold  bool // names compare without regard to ASCII case, and are kept in lower case
	names []string
	hash  []uint32
	slots []int32 // number of the name + 1, 0 when free
	mask  uint32
	some  attrFilter // of the names
}

func (s symbols) clone() symbols {
	s.names, s.hash, s.slots = slices.Clone(s.names), slices.Clone(s.hash), slices.Clone(s.slots)
	return s
}

// add returns the number of a name, and gives it one if it has none.
func (s *symbols) add(name string) int32 {
	if s.fold {
		name = lower(name)
	}
	if n := s.find([]byte(name)); n >= 0 {
		return n
	}
	if name != "" {
		s.some.add(name)
	}
	s.names = append(s.names, name)
	s.hash = append(s.hash, hashName([]byte(name)))
	if len(s.names)*4 > len(s.slots) {
		s.grow()
	} else {
		s.place(int32(len(s.names) - 1))
	}
	return int32(len(s.names) - 1)
}

func (s *symbols) grow() {
	s.slots = make([]int32, max(16, 2*len(s.slots)))
	s.mask = uint32(len(s.slots) - 1)
	for n := range s.names {
		s.place(int32(n))
	}
}

func (s *symbols) place(n int32) {
	i := s.hash[n] & s.mask
	for s.slots[i] != 0 {
		i = (i + 1) & s.mask
	}
	s.slots[i] = n + 1
}

// find returns the number of a name, or -1.
func (s *symbols) find(name []byte) int32 {
	if len(name) == 0 || len(s.slots) == 0 || !s.some.has(name[0], len(name)) {
		return -1
	}
	h := hashName(name)
	for i := h & s.mask; s.slots[i] != 0; i = (i + 1) & s.mask {
		n := s.slots[i] - 1
		if s.hash[n] != h || len(s.names[n]) != len(name) {
			continue
		}
		if string(name) == s.names[n] || s.fold && foldEqual(name, s.names[n]) {
			return n
		}
	}
	return -1
}

// hashName hashes the length and up to 16 bytes of a name, blind to ASCII case.
func hashName(name []byte) uint32 {
	const blind = 0x2020202020202020
	var a, b uint64
	switch n := len(name); {
	case n >= 8:
		a = binary.LittleEndian.Uint64(name)
		b = binary.LittleEndian.Uint64(name[n-8:])
	case n >= 4:
		a = uint64(binary.LittleEndian.Uint32(name))
		b = uint64(binary.LittleEndian.Uint32(name[n-4:]))
	case n > 0:
		a = uint64(name[0]) | uint64(name[n>>1])<<8 | uint64(name[n-1])<<16
	}
	hi, lo := bits.Mul64((a|blind)^0x9e3779b97f4a7c15, (b|blind)^0xd6e8feb86659fd93^uint64(len(name))<<32)
	return uint32(hi ^ lo ^ lo>>32)
}

// foldEqual compares a name as written with one in lower case.
func foldEqual(written []byte, lowered string) bool {
	if len(written) != len(lowered) {
		return false
	}
	for i, c := range written {
		if lowerByte(c) != lowered[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// lower lowers ASCII letters only, as HTML does with names.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lowerByte(b[i])
			}
			return string(b)
		}
	}
	return s
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f'
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
