package upstream

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strings"
)

// lower writes a header name in lower case into buf. A name that is too long to
// be one that is looked for comes back empty.
func lower(name []byte, buf *[longestKnown]byte) []byte {
	if len(name) > len(buf) {
		return nil
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		buf[i] = c
	}
	return buf[:len(name)]
}

func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		x, y := b[i], s[i]
		if x >= 'A' && x <= 'Z' {
			x |= 0x20
		}
		if y >= 'A' && y <= 'Z' {
			y |= 0x20
		}
		if x != y {
			return false
		}
	}
	return true
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && equalFold(b[:len(prefix)], prefix)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func trimSpace(b []byte) []byte {
	b = trimLeft(b)
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// validName reports whether name is a token of RFC 9110.
func validName(name []byte) bool {
	for _, c := range name {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(name) > 0
}

func isTokenByte(c byte) bool { return tokenBytes[c] }

// tokenBytes are the bytes of a token.
var tokenBytes = func() (out [256]bool) {
	for c := range 256 {
		letter := byte(c) | 0x20
		out[c] = letter >= 'a' && letter <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return out
}()

// validValue reports whether a header value holds no control character but tabs.
func validValue(value []byte) bool {
	for ; len(value) >= 8; value = value[8:] {
		if hasControl(binary.LittleEndian.Uint64(value)) && !validBytes(value[:8]) {
			return false
		}
	}
	return validBytes(value)
}

// hasControl reports whether one of eight bytes is a control character, be it a tab.
func hasControl(eight uint64) bool {
	const each, top = 0x0101010101010101, 0x8080808080808080
	del := eight ^ 0x7f*each
	return ((eight-' '*each)&^eight|(del-each)&^del)&top != 0
}

func validBytes(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// tokens yields the elements of a comma-separated list, empty ones left out.
func tokens(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(list) > 0 {
			item, rest, _ := bytes.Cut(list, []byte{','})
			list = rest
			if item = trimSpace(item); len(item) > 0 && !yield(item) {
				return
			}
		}
	}
}

// parseLength reads a Content-Length: digits only, below 2^62.
func parseLength(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 19 {
		return 0, false
	}
	n := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' || n > (1<<62)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, n < 1<<62
}
