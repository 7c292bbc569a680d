package rewrite

import "bytes"

// tagState is where the scan of a tag stands.
type tagState byte

const (
	tagInName tagState = iota
	tagBeforeName
	tagInAttr
	tagAfterAttr
	tagBeforeValue
	tagDouble
	tagSingle
	tagBare
	tagSlash
)

// attr is an attribute of a tag, as offsets into the tag's bytes.
type attr struct {
	name, nameEnd int32
	value, end    int32 // the value without quotes; end is where it ends
	quote         byte  // 0 when there is none
	equals        bool  // there is a "="
}

// after returns the offset behind the attribute.
func (a *attr) after() int32 {
	if a.quote != 0 {
		return a.end + 1
	}
	return a.end
}

// tagScanner finds the end of a tag and where its attributes are.
type tagScanner struct {
	at          tagState
	record      bool        // note the attributes
	wanted      *attrFilter // of them only these; nil for all
	selfClosing bool
	nameStart   int
	nameEnd     int
	attrs       []attr
	maxAttrs    int // beyond this many, attributes are not noted
	cur         attr
	first       byte // of cur's name
	keep        bool // cur may be wanted
}

func (s *tagScanner) begin(nameStart int, record bool) {
	s.at, s.record, s.wanted, s.selfClosing = tagInName, record, nil, false
	s.nameStart, s.nameEnd = nameStart, 0
	s.attrs = s.attrs[:0]
}

func (s *tagScanner) push() {
	if s.record && len(s.attrs) <= s.maxAttrs && (s.wanted == nil || s.keep) {
		s.attrs = append(s.attrs, s.cur)
	}
}

// attrFilter tells by its first byte and length that a name is none of those asked
// for. It holds a bit for each length by the first byte's last five bits.
type attrFilter [32]uint64

func (f *attrFilter) add(name string) { f[name[0]&31] |= 1 << min(len(name), 63) }

func (f *attrFilter) has(first byte, length int) bool { return f[first&31]&(1<<min(length, 63)) != 0 }

// whole goes over a tag that stands in data to its end, as run does, but without
// keeping a state. It reports false if the tag does not end in data.
func (s *tagScanner) whole(data []byte, i, off int) (int, bool) {
	for i < len(data) && tagBytes[data[i]] <= equalsByte {
		i++
	}
	s.nameEnd = off + i
	for i < len(data) {
		switch tagBytes[data[i]] {
		case spaceByte:
			i++
			continue
		case closeByte:
			return i + 1, true
		case slashByte:
			if i++; i < len(data) && data[i] == '>' {
				s.selfClosing = true
				return i + 1, true
			}
			continue
		}
		start := i
		for i++; i < len(data) && tagBytes[data[i]] == plainByte; i++ {
		}
		end := i
		for i < len(data) && tagBytes[data[i]] == spaceByte {
			i++
		}
		if i == len(data) {
			break
		}
		keep := s.record && (s.wanted == nil || s.wanted.has(data[start], end-start)) && len(s.attrs) <= s.maxAttrs
		if data[i] != '=' {
			if keep {
				s.attrs = append(s.attrs, attr{int32(off + start), int32(off + end), int32(off + end), int32(off + end), 0, false})
			}
			continue
		}
		i++
		value := i
		for i < len(data) && tagBytes[data[i]] == spaceByte {
			i++
		}
		if i == len(data) {
			break
		}
		quote, after := data[i], 0
		switch quote {
		case '"', '\'':
			i++
			n := bytes.IndexByte(data[i:], quote)
			if n < 0 {
				return 0, false
			}
			value = i
			i += n
			after = i + 1
		case '>':
			quote, i, after = 0, value, i
		default:
			quote, value = 0, i
			for i++; i < len(data) && data[i] != '>' && !isSpace(data[i]); i++ {
			}
			after = i
		}
		if keep {
			s.attrs = append(s.attrs, attr{int32(off + start), int32(off + end), int32(off + value), int32(off + i), quote, true})
		}
		i = after
	}
	return 0, false
}

// The classes of bytes in a tag.
const (
	plainByte  byte = iota
	equalsByte      // plain in an element's name
	spaceByte
	slashByte
	closeByte
)

var tagBytes = [256]byte{
	' ': spaceByte, '\t': spaceByte, '\n': spaceByte, '\r': spaceByte, '\f': spaceByte,
	'/': slashByte, '>': closeByte, '=': equalsByte,
}

// run goes on with a tag at data[i]. off is the offset of data[0] in the tag. It
// returns the index behind the tag and true, or len(data) and false. It follows
// https://html.spec.whatwg.org/multipage/parsing.html#tag-name-state.
func (s *tagScanner) run(data []byte, i, off int) (int, bool) {
	for i < len(data) {
		switch s.at {
		case tagInName:
			for i < len(data) && tagBytes[data[i]] <= equalsByte {
				i++
			}
			if i < len(data) {
				s.nameEnd = off + i
				s.at = tagBeforeName
			}
		case tagSlash:
			if data[i] == '>' {
				s.selfClosing = true
				return i + 1, true
			}
			s.at = tagBeforeName
		case tagBeforeName:
			switch tagBytes[data[i]] {
			case spaceByte:
				i++
			case slashByte:
				s.at = tagSlash
				i++
			case closeByte:
				return i + 1, true
			default: // a "=" here is part of the name
				s.cur, s.first = attr{name: int32(off + i)}, data[i]
				s.at = tagInAttr
				i++
			}
		case tagInAttr:
			for i < len(data) && tagBytes[data[i]] == plainByte {
				i++
			}
			if i == len(data) {
				break
			}
			at := int32(off + i)
			s.cur.nameEnd, s.cur.value, s.cur.end = at, at, at
			s.keep = s.wanted == nil || s.wanted.has(s.first, int(at-s.cur.name))
			s.at = tagAfterAttr
		case tagAfterAttr:
			switch tagBytes[data[i]] {
			case spaceByte:
				i++
			case equalsByte:
				i++
				at := int32(off + i)
				s.cur.equals, s.cur.value, s.cur.end = true, at, at
				s.at = tagBeforeValue
			default:
				s.push()
				s.at = tagBeforeName
			}
		case tagBeforeValue:
			switch c := data[i]; {
			case isSpace(c):
				i++
			case c == '"' || c == '\'':
				i++
				s.cur.quote, s.cur.value = c, int32(off+i)
				s.at = tagDouble
				if c == '\'' {
					s.at = tagSingle
				}
			case c == '>':
				s.push()
				return i + 1, true
			default:
				s.cur.value = int32(off + i)
				s.at = tagBare
				i++
			}
		case tagDouble, tagSingle:
			n := bytes.IndexByte(data[i:], s.cur.quote)
			if n < 0 {
				return len(data), false
			}
			i += n
			s.cur.end = int32(off + i)
			i++
			s.push()
			s.at = tagBeforeName
		case tagBare:
			for i < len(data) && data[i] != '>' && !isSpace(data[i]) {
				i++
			}
			if i < len(data) {
				s.cur.end = int32(off + i)
				s.push()
				s.at = tagBeforeName
			}
		}
	}
	return len(data), false
}
