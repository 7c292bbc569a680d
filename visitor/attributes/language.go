package attributes

import (
	"bytes"
	"strconv"
	"strings"
)

// maxLocale is the length of the longest language tag that is looked at
// (RFC 5646 §4.4.1).
const maxLocale = 35

// locale returns the language tag that an Accept-Language header likes best, in
// its usual spelling, or "". Of equally liked ones it takes the first.
func locale(header []byte) string {
	var best []byte
	bestQ := 0.0
	rest, more := header[:min(len(header), MaxValue)], true
	for more {
		var item []byte
		item, rest, more = bytes.Cut(rest, []byte(","))
		tag, params, _ := bytes.Cut(item, []byte(";"))
		tag = bytes.TrimSpace(tag)
		if q := quality(params); q > bestQ && isLanguage(tag) {
			best, bestQ = tag, q
		}
	}
	return spelled(best)
}

// quality reads "q=0.8"; a missing value is 1, a broken one 0.
func quality(params []byte) float64 {
	params = bytes.TrimSpace(params)
	if len(params) == 0 {
		return 1
	}
	name, value, ok := bytes.Cut(params, []byte("="))
	if !ok || !bytes.EqualFold(bytes.TrimSpace(name), []byte("q")) {
		return 0
	}
	q, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}

// isLanguage reports whether a tag looks like "de", "zh-Hant-TW" or "es-419".
func isLanguage(tag []byte) bool {
	if len(tag) < 2 || len(tag) > maxLocale {
		return false
	}
	length, first := 0, true
	for i := 0; i <= len(tag); i++ {
		if i == len(tag) || tag[i] == '-' {
			if length < 1 || length > 8 || first && length < 2 {
				return false
			}
			length, first = 0, false
			continue
		}
		c := tag[i] | 0x20
		letter, digit := 'a' <= c && c <= 'z', '0' <= tag[i] && tag[i] <= '9'
		if !letter && (!digit || first) {
			return false
		}
		length++
	}
	return true
}

// spelled writes a tag as people do: de-AT, zh-Hant-TW.
func spelled(tag []byte) string {
	text := strings.ToLower(string(tag))
	if !strings.Contains(text, "-") {
		return text
	}
	parts := strings.Split(text, "-")
	for i, part := range parts[1:] {
		switch len(part) {
		case 2:
			parts[i+1] = strings.ToUpper(part)
		case 4:
			parts[i+1] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, "-")
}
