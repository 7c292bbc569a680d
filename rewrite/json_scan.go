package rewrite

import (
	"encoding/binary"
	"math/bits"
)

// jsonScanner knows where in a JSON text (RFC 8259) a document stands. It can stop
// behind any byte.
type jsonScanner struct {
	state    jsonScanState
	number   jsonNumberState
	literal  string // what is left of true, false or null
	hex      int    // digits that an escape still takes
	isName   bool   // the string is the name of a member
	escaped  bool   // and has escapes
	named    int64  // where it begins
	longest  int    // names longer than this are nobody's
	maxDepth int
	depth    int      // open objects and arrays
	beyond   int      // and those that are nested too deep, in a value that is taken away
	kinds    []uint64 // by depth, a bit: it is an object
	work     int64    // bytes looked at, to test that cost is linear
}

type jsonScanState byte

const (
	jsonMark       jsonScanState = iota // at the beginning, where a byte order mark may stand
	jsonValueState                      // in front of a value
	jsonFirstItem                       // behind "["
	jsonFirstName                       // behind "{"
	jsonNextName                        // behind a comma in an object
	jsonColon                           // behind a name
	jsonAfter                           // behind a value
	jsonString
	jsonEscape
	jsonHex
	jsonNumber
	jsonLiteral
	jsonBeyond // inside what is nested too deep
	jsonDone   // behind the document
)

type jsonNumberState byte

const (
	jsonMinus jsonNumberState = iota
	jsonZero
	jsonDigits
	jsonPoint
	jsonFraction
	jsonE
	jsonSign
	jsonExponent
)

func (s *jsonScanner) reset(depth int) {
	s.state, s.hex, s.literal, s.isName, s.depth, s.beyond, s.work = jsonMark, 0, "", false, 0, 0, 0
	s.maxDepth = depth
	s.kinds = s.kinds[:0]
}

// push opens an object or array. It reports false when they are nested too deep.
func (s *jsonScanner) push(object bool) bool {
	if s.depth >= s.maxDepth {
		return false
	}
	word, bit := s.depth/64, uint64(1)<<(s.depth%64)
	if word == len(s.kinds) {
		s.kinds = append(s.kinds, 0)
	}
	if object {
		s.kinds[word] |= bit
	} else {
		s.kinds[word] &^= bit
	}
	s.depth++
	return true
}

func (s *jsonScanner) inObject() bool {
	d := s.depth - 1
	return d >= 0 && s.kinds[d/64]>>(d%64)&1 != 0
}

// inName reports whether the text stands inside the name of a member.
func (s *jsonScanner) inName() bool {
	return s.isName && (s.state == jsonString || s.state == jsonEscape || s.state == jsonHex)
}

// ended reports whether the text may end where it stands.
func (s *jsonScanner) ended() bool {
	return s.state == jsonDone || s.state == jsonNumber && s.depth == 0 && s.wholeNumber()
}

func (s *jsonScanner) wholeNumber() bool {
	return s.number == jsonZero || s.number == jsonDigits || s.number == jsonFraction || s.number == jsonExponent
}

// plainEnd returns where in text from i on the first byte stands that is more than
// itself in a string: a quote, a backslash or a control character.
func plainEnd(text []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		quote, back := w^(ones*'"'), w^(ones*'\\')
		// The lowest mark of each is right, which is all that is wanted.
		if found := ((w-ones*0x20)&^w | (quote-ones)&^quote | (back-ones)&^back) & high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(text) && text[i] >= 0x20 && text[i] != '"' && text[i] != '\\' {
		i++
	}
	return i
}

// nextNumber takes a byte of a number. It reports whether it belongs to it.
func (s *jsonScanner) nextNumber(c byte) bool {
	to := s.number
	switch {
	case isDigit(c):
		switch s.number {
		case jsonZero:
			return false
		case jsonMinus:
			if to = jsonDigits; c == '0' {
				to = jsonZero
			}
		case jsonPoint:
			to = jsonFraction
		case jsonE, jsonSign:
			to = jsonExponent
		}
	case c == '.' && (s.number == jsonZero || s.number == jsonDigits):
		to = jsonPoint
	case c|0x20 == 'e' && s.number != jsonExponent && s.wholeNumber():
		to = jsonE
	case (c == '+' || c == '-') && s.number == jsonE:
		to = jsonSign
	default:
		return false
	}
	s.number = to
	return true
}
