package cache

import (
	"bytes"
	"strings"
)

// nameIs reports whether a header name is want, which is in lower case.
// It is inlined, since most names are told apart by their length.
func nameIs(name []byte, want string) bool { return len(name) == len(want) && lowersTo(name, want) }

// lowersTo is nameIs for a name of want's length.
func lowersTo(name []byte, want string) bool {
	for i := range len(want) {
		if lowerByte(name[i]) != want[i] {
			return false
		}
	}
	return true
}

func lowerByte(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// longestWord is no less than the length of any word in a switch over [lowered].
const longestWord = 24

// lowered writes a word in lower case into buf. One that is too long to be among
// those that are looked for comes back empty.
func lowered(word []byte, buf *[longestWord]byte) []byte {
	if len(word) > len(buf) {
		return nil
	}
	for i, b := range word {
		buf[i] = lowerByte(b)
	}
	return buf[:len(word)]
}

// lowerString returns a word in lower case.
func lowerString(word []byte) string {
	var buf [longestWord]byte
	if len(word) > len(buf) {
		return strings.ToLower(string(word))
	}
	return string(lowered(word, &buf))
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func isAlpha(b byte) bool { b = lowerByte(b); return b >= 'a' && b <= 'z' }

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

// isTchar reports whether a token may hold b (RFC 9110, 5.6.2).
func isTchar(b byte) bool { return tchars[b] }

var tchars = func() (all [256]bool) {
	for b := range 256 {
		all[b] = isAlpha(byte(b)) || isDigit(byte(b)) || strings.IndexByte("!#$%&'*+-.^_`|~", byte(b)) >= 0
	}
	return all
}()

func isToken(word []byte) bool {
	for _, b := range word {
		if !isTchar(b) {
			return false
		}
	}
	return len(word) > 0
}

// trimBlanks cuts spaces and tabs off both ends.
func trimBlanks(b []byte) []byte {
	b = skipBlanks(b)
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func skipBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

// cutMember cuts the first member off a list that is separated by commas, without
// regard to quotes. Empty members are passed over (RFC 9110, 5.6.1.2).
func cutMember(list []byte) (member, rest []byte) {
	for len(list) > 0 && len(member) == 0 {
		member, list, _ = bytes.Cut(list, []byte{','})
		member = trimBlanks(member)
	}
	return member, list
}

// quotedEnd returns the length of the quoted string that b begins with, its quotes
// included, or 0 if it has no end (RFC 9110, 5.6.4).
func quotedEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}
