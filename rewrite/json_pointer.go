package rewrite

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxPointer      = 4 << 10 // bytes of a pointer
	maxPointerParts = 100
)

// parsePointer takes a JSON Pointer (RFC 6901) apart into the names and indices on
// its way, unescaped. The error is an *[EditError].
func parsePointer(s string) ([]string, error) {
	fail := func(at int, message string) error {
		return &EditError{Field: "pointer", Column: utf8.RuneCountInString(s[:at]) + 1, Message: message}
	}
	switch {
	case !utf8.ValidString(s):
		return nil, fieldError("pointer", "the pointer is not valid UTF-8")
	case s == "":
		return nil, nil
	case len(s) > maxPointer:
		return nil, fieldError("pointer", "the pointer is %d bytes long; at most %d are read", len(s), maxPointer)
	case s[0] != '/':
		return nil, fail(0, `a JSON Pointer begins with "/", as in /items/0/price; "" is the whole document`)
	}
	for i := range len(s) {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return nil, fail(i, `found a "~" that is no escape; write ~0 for "~" and ~1 for "/"`)
		}
	}
	parts := strings.Split(s[1:], "/")
	if len(parts) > maxPointerParts {
		return nil, fieldError("pointer", "the pointer has %d parts; at most %d are followed", len(parts), maxPointerParts)
	}
	for i, part := range parts {
		if strings.Contains(part, "~") {
			parts[i] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		}
	}
	return parts, nil
}

// pointerEnd stands for the place behind an array's last item.
const pointerEnd = "-"

// arrayIndex reads a part of a pointer as the index of an array: without sign and
// without leading zeros.
func arrayIndex(part string) (int, bool) {
	if part == "" || len(part) > 9 || part[0] == '0' && part != "0" {
		return 0, false
	}
	for i := range len(part) {
		if !isDigit(part[i]) {
			return 0, false
		}
	}
	n, err := strconv.Atoi(part)
	return n, err == nil
}

// appendUnquoted appends what the inside of a JSON string means. Halves of a
// surrogate pair become bytes that are no UTF-8, and so are equal to no name of a
// pointer.
func appendUnquoted(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' || i+1 == len(raw) {
			dst = append(dst, c)
			i++
			continue
		}
		if raw[i+1] != 'u' {
			dst = append(dst, unescapedByte(raw[i+1]))
			i += 2
			continue
		}
		unit := hexUnit(raw[i:])
		i += 6
		if 0xd800 <= unit && unit < 0xdc00 {
			if low := hexUnit(raw[min(i, len(raw)):]); 0xdc00 <= low && low < 0xe000 {
				unit = 0x10000 + (unit-0xd800)<<10 + (low - 0xdc00)
				i += 6
			}
		}
		if 0xd800 <= unit && unit < 0xe000 {
			dst = append(dst, 0xe0|byte(unit>>12), 0x80|byte(unit>>6)&0xbf, 0x80|byte(unit)&0xbf)
			continue
		}
		dst = utf8.AppendRune(dst, unit)
	}
	return dst
}

func unescapedByte(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// hexUnit reads an escape like \u0041 at the start of raw; -1 if there is none.
func hexUnit(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
