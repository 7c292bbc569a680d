package rewrite

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// slotEscape is what is done to a slot's value for the place it stands in.
type slotEscape byte

const (
	escapeHTML   slotEscape = iota // text, and attribute values in quotes
	escapeURL                      // a whole address: dangerous schemes give "#"
	escapeSrcset                   // the same in a list that commas part
	escapePart                     // a part of an address: percent-encoded
	escapeScript                   // inside a string of JavaScript or JSON
	escapeStyle                    // inside a string of CSS
)

// cleanSlotValue bounds a value and takes out what no page may hold.
func cleanSlotValue(value string) string {
	if len(value) > MaxSlotValue {
		cut := MaxSlotValue
		for cut > 0 && !utf8.RuneStart(value[cut]) {
			cut--
		}
		value = value[:cut]
	}
	value = strings.ToValidUTF8(value, "\uFFFD")
	if strings.ContainsFunc(value, isUnwritable) {
		value = strings.Map(func(c rune) rune {
			if isUnwritable(c) {
				return utf8.RuneError
			}
			return c
		}, value)
	}
	return value
}

// isUnwritable reports whether no page may hold a character: NUL, and those whose
// references browsers take for the characters of windows-1252
// (https://html.spec.whatwg.org/multipage/parsing.html#numeric-character-reference-end-state).
func isUnwritable(c rune) bool { return c == 0 || c >= 0x80 && c < 0xa0 }

// appendSlot appends a clean value as it is written into a page. Where utf8Page is
// false only ASCII is written. first hides what could make a tag or reference of a
// "<" or "&" that stands in front.
func appendSlot(dst []byte, escape slotEscape, value string, utf8Page, first bool) []byte {
	switch escape {
	case escapeScript:
		return appendScriptString(dst, value)
	case escapeStyle:
		return appendStyleString(dst, value)
	case escapePart:
		return appendURLPart(dst, value)
	case escapeURL, escapeSrcset:
		value = string(appendURL(nil, value, escape == escapeSrcset))
	}
	braces := false
	for i, c := range value {
		if braces && c == '{' { // no template of a script library
			dst = append(dst, ' ')
		}
		braces = c == '{'
		switch {
		case i == 0 && first, c >= utf8.RuneSelf && !utf8Page:
			dst = appendCharReference(dst, c)
		case c == '&':
			dst = append(dst, "&amp;"...)
		case c == '<':
			dst = append(dst, "&lt;"...)
		case c == '>':
			dst = append(dst, "&gt;"...)
		case c == '"':
			dst = append(dst, "&#34;"...)
		case c == '\'':
			dst = append(dst, "&#39;"...)
		case c == '+': // begins an escape in UTF-7
			dst = append(dst, "&#43;"...)
		case c == '`': // a quote to old browsers
			dst = append(dst, "&#96;"...)
		default:
			dst = utf8.AppendRune(dst, c)
		}
	}
	return dst
}

const upperHex = "0123456789ABCDEF"

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// appendScriptString escapes for a string of JavaScript or JSON, in any quotes.
func appendScriptString(dst []byte, s string) []byte {
	for _, c := range s {
		if c < utf8.RuneSelf && (isLetter(byte(c)) || isDigit(byte(c)) || c == ' ' || c == '.' || c == ',' || c == '_') {
			dst = append(dst, byte(c))
			continue
		}
		if c > 0xffff {
			high, low := utf16.EncodeRune(c)
			dst = appendScriptUnit(appendScriptUnit(dst, high), low)
			continue
		}
		dst = appendScriptUnit(dst, c)
	}
	return dst
}

func appendScriptUnit(dst []byte, c rune) []byte {
	return append(dst, '\\', 'u', upperHex[c>>12&15], upperHex[c>>8&15], upperHex[c>>4&15], upperHex[c&15])
}

// appendStyleString escapes for a string of CSS. The space ends each escape.
func appendStyleString(dst []byte, s string) []byte {
	for _, c := range s {
		if c < utf8.RuneSelf && (isLetter(byte(c)) || isDigit(byte(c))) {
			dst = append(dst, byte(c))
			continue
		}
		dst = append(dst, '\\', upperHex[c>>20&15], upperHex[c>>16&15], upperHex[c>>12&15], upperHex[c>>8&15], upperHex[c>>4&15], upperHex[c&15], ' ')
	}
	return dst
}

// appendURLPart percent-encodes all that is not unreserved in RFC 3986.
func appendURLPart(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; isLetter(c) || isDigit(c) || strings.IndexByte("-._~", c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = appendPercent(dst, c)
		}
	}
	return dst
}

func appendPercent(dst []byte, c byte) []byte {
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

// safeURL reports whether an address has no scheme, or one that runs nothing.
func safeURL(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	if !ok || strings.Contains(scheme, "/") {
		return true
	}
	return strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "mailto")
}

// appendURL writes an address so that it stays one: what cannot stand in it is
// percent-encoded, and in a list commas too.
func appendURL(dst []byte, s string, list bool) []byte {
	if !safeURL(s) {
		return append(dst, '#')
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case isLetter(c), isDigit(c), strings.IndexByte("-._~!#$&*+/:;=?@[]", c) >= 0, c == ',' && !list:
			dst = append(dst, c)
		case c == '%' && i+2 < len(s) && isHexDigit(s[i+1]) && isHexDigit(s[i+2]):
			dst = append(dst, c)
		default:
			dst = appendPercent(dst, c)
		}
	}
	return dst
}

func isHexDigit(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
