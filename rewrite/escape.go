package rewrite

import (
	"bytes"
	"html"
	"strconv"
	"unicode/utf8"
)

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendEscapedText appends text so that it stands for itself among elements.
func appendEscapedText[T string | []byte](dst []byte, text T) []byte {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		default:
			dst = append(dst, text[i])
		}
	}
	return dst
}

// appendReferences appends text with character references for what is not ASCII.
func appendReferences(dst []byte, text string) []byte {
	for _, c := range text {
		if c < utf8.RuneSelf {
			dst = append(dst, byte(c))
			continue
		}
		dst = appendCharReference(dst, c)
	}
	return dst
}

func appendCharReference(dst []byte, c rune) []byte {
	if isUnwritable(c) {
		c = utf8.RuneError
	}
	dst = strconv.AppendInt(append(dst, "&#x"...), int64(c), 16)
	return append(dst, ';')
}

// appendValue appends an attribute value escaped for the quote it stands in.
func (r *Rewriter) appendValue(dst []byte, value string, quote byte) []byte {
	for _, c := range value {
		switch {
		case c == '&':
			dst = append(dst, "&amp;"...)
		case c == '"' && quote == '"':
			dst = append(dst, "&quot;"...)
		case c == '\'' && quote == '\'':
			dst = append(dst, "&#39;"...)
		case c == '<':
			dst = append(dst, "&lt;"...)
		case c == '>':
			dst = append(dst, "&gt;"...)
		default:
			dst = r.appendChar(dst, c)
		}
	}
	return dst
}

// appendUnescaped appends an attribute value as the page means it: character
// references resolved, line ends as line feeds.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch c := raw[i]; c {
		case '\r':
			dst = append(dst, '\n')
			if i++; i < len(raw) && raw[i] == '\n' {
				i++
			}
		case '&':
			n := 0
			dst, n = appendReference(dst, raw[i:])
			i += n
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// appendReference appends what the reference at the start of raw stands for, and
// returns how long the reference is. In an attribute, a name without ";" in front
// of "=" or a letter or digit is no reference.
func appendReference(dst, raw []byte) ([]byte, int) {
	end := 1
	for end < len(raw) && end < 34 && (isLetter(raw[end]) || '0' <= raw[end] && raw[end] <= '9' || end == 1 && raw[end] == '#') {
		end++
	}
	switch {
	case end < len(raw) && raw[end] == ';':
		end++
	case end < len(raw) && raw[end] == '=' && raw[1] != '#':
		return append(dst, raw[:end]...), end
	}
	switch {
	case bytes.Equal(raw[:end], []byte("&amp;")):
		return append(dst, '&'), end
	case bytes.Equal(raw[:end], []byte("&quot;")):
		return append(dst, '"'), end
	case bytes.Equal(raw[:end], []byte("&#39;")):
		return append(dst, '\''), end
	}
	if raw[end-1] != ';' && end > 1 && raw[1] != '#' {
		// Without ";" only a whole name counts here; html's text rule would
		// also take a name's beginning.
		resolved := html.UnescapeString(string(raw[:end]))
		if r, size := utf8.DecodeRuneInString(resolved); size < len(resolved) || r == '&' {
			return append(dst, raw[:end]...), end
		}
		return append(dst, resolved...), end
	}
	resolved := html.UnescapeString(string(raw[:end]))
	if raw[end-1] == ';' && len(resolved) > 1 && resolved[len(resolved)-1] == ';' {
		resolved = string(raw[:end]) // only the name's beginning is known
	}
	return append(dst, resolved...), end
}
