package cache

import (
	"bytes"
	"encoding/binary"
)

// AppendSelecting appends what the value of one selecting header, as a request has it,
// is worth for the choice among stored answers: two requests that append the same get
// the same answer (RFC 9111, 4.1). name is one of [Rules.Vary], and lines are all lines
// of that name, none if the request has no such header. It allocates nothing.
//
// What counts is the request that the origin saw. So for a header that the proxy itself
// sets, such as X-Forwarded-For, the lines must be what it sets, and of a cookie what
// it leaves.
func AppendSelecting(dst []byte, name string, lines [][]byte) []byte {
	if len(lines) == 0 {
		return append(dst, 0) // absent, which is not the same as empty
	}
	dst = append(dst, 1, 0, 0, 0, 0) // the length goes here, as a value can hold anything
	start := len(dst)
	switch name {
	case "accept-encoding":
		dst = appendCodings(dst, lines)
	case "accept-language":
		dst = appendList(dst, lines)
		for i, b := range dst[start:] {
			dst[start+i] = lowerByte(b)
		}
	case "cookie":
		dst = appendLines(dst, lines, "; ") // HTTP/2 has them in several lines (RFC 9113, 8.2.3)
	case "authorization", "date", "from", "host", "if-modified-since", "if-range", "if-unmodified-since", "origin",
		"range", "referer", "user-agent":
		dst = appendLines(dst, lines, ", ") // no lists: their commas are the value's own
	default:
		dst = appendList(dst, lines)
	}
	binary.BigEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
	return dst
}

func appendLines(dst []byte, lines [][]byte, separator string) []byte {
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, separator...)
		}
		dst = append(dst, trimBlanks(line)...)
	}
	return dst
}

// appendList appends the members of a list, whatever lines they came in, without the
// blanks around their commas. Quoted strings stay as they are.
func appendList(dst []byte, lines [][]byte) []byte {
	start := len(dst)
	for _, line := range lines {
		for len(line) > 0 {
			var member []byte
			member, line = cutListMember(line)
			if len(member) == 0 {
				continue
			}
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = append(dst, member...)
		}
	}
	return dst
}

// cutListMember cuts the next member off a list whose members can hold quoted strings.
func cutListMember(list []byte) (member, rest []byte) {
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case ',':
			return trimBlanks(list[:i]), list[i+1:]
		case '"':
			if end := quotedEnd(list[i:]); end > 0 {
				i += end - 1
			}
		}
	}
	return trimBlanks(list), nil
}

// The content codings that Sedge knows, as bits, and what else an Accept-Encoding can
// come to.
const (
	codingGzip = 1 << iota
	codingBrotli
	codingZstd
	codingDeflate
	codingOthers     // whatever they are
	codingNoIdentity // the bare body is refused

	knownCodings = codingGzip | codingBrotli | codingZstd | codingDeflate
)

// appendCodings appends the set of codings that an Accept-Encoding accepts, in whatever
// order and by whatever weights: an answer in any of them will do. Codings that are not
// known are appended by name, in their order, since an origin may know them.
func appendCodings(dst []byte, lines [][]byte) []byte {
	accepted, refused := 0, 0
	others, identity := 0, 0 // 1: accepted, -1: refused
	at := len(dst)
	dst = append(dst, 0)
	for _, line := range lines {
		for len(line) > 0 {
			var member []byte
			member, line = cutMember(line)
			if len(member) == 0 {
				break
			}
			name, weight, _ := bytes.Cut(member, []byte{';'})
			name = trimBlanks(name)
			verdict := 1
			if isZeroWeight(weight) {
				verdict = -1
			}
			switch bit := codingBit(name); {
			case bit != 0 && verdict > 0:
				accepted |= bit
			case bit != 0:
				refused |= bit
			case string(name) == "*":
				others = verdict
			case nameIs(name, "identity"):
				identity = verdict
			case verdict > 0:
				for _, b := range name {
					dst = append(dst, lowerByte(b))
				}
				dst = append(dst, ',')
			}
		}
	}
	if others > 0 {
		accepted |= knownCodings | codingOthers
	}
	accepted &^= refused
	if identity < 0 || others < 0 && identity == 0 {
		accepted |= codingNoIdentity
	}
	dst[at] = byte(accepted)
	return dst
}

func codingBit(name []byte) int {
	switch {
	case nameIs(name, "gzip"), nameIs(name, "x-gzip"):
		return codingGzip
	case nameIs(name, "br"):
		return codingBrotli
	case nameIs(name, "zstd"):
		return codingZstd
	case nameIs(name, "deflate"):
		return codingDeflate
	}
	return 0
}

// isZeroWeight reports whether parameters hold a q of 0 (RFC 9110, 12.4.2).
func isZeroWeight(parameters []byte) bool {
	for len(parameters) > 0 {
		var parameter []byte
		parameter, parameters, _ = bytes.Cut(parameters, []byte{';'})
		name, value, _ := bytes.Cut(trimBlanks(parameter), []byte{'='})
		if !nameIs(name, "q") || len(value) == 0 || value[0] != '0' {
			continue
		}
		return len(bytes.Trim(value, "0.")) == 0
	}
	return false
}
