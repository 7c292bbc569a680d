package cache

import (
	"bytes"
	"math"
	"strconv"
)

type byteRange struct{ first, length int64 }

// ranges says what became of a Range header.
type ranges byte

const (
	rangeNone          ranges = iota // it is malformed, or of another unit: it does not count
	rangeOne                         // one part
	rangeMany                        // several; the whole answers them as well
	rangeUnsatisfiable               // none of the parts exists
)

// parseRanges reads a Range header for a body of length bytes (RFC 9110, 14.1.2 and
// 14.2). One that is malformed in any of its parts does not count.
func parseRanges(value []byte, length int64) (part byteRange, kind ranges) {
	unit, list, ok := bytes.Cut(value, []byte{'='})
	if !ok || !nameIs(unit, "bytes") {
		return part, rangeNone
	}
	specs, satisfiable := 0, 0
	for len(list) > 0 {
		var spec []byte
		if spec, list = cutMember(list); len(spec) == 0 {
			break
		}
		specs++
		found, exists, valid := parseRange(spec, length)
		if !valid {
			return byteRange{}, rangeNone
		}
		if exists {
			satisfiable++
			part = found
		}
	}
	switch {
	case specs == 0:
		return byteRange{}, rangeNone
	case satisfiable == 0:
		return byteRange{}, rangeUnsatisfiable
	case satisfiable > 1:
		return byteRange{}, rangeMany
	}
	return part, rangeOne
}

// parseRange reads one part: "5-9", "5-" or "-5".
func parseRange(spec []byte, length int64) (part byteRange, exists, valid bool) {
	from, to, ok := bytes.Cut(spec, []byte{'-'})
	if !ok {
		return part, false, false
	}
	last := length - 1
	if len(to) > 0 {
		n, ok := parsePosition(to)
		if !ok {
			return part, false, false
		}
		if len(from) == 0 {
			n = min(n, length)
			return byteRange{length - n, n}, n > 0, true
		}
		last = n
	}
	first, ok := parsePosition(from)
	if !ok || len(to) > 0 && last < first {
		return part, false, false
	}
	last = min(last, length-1)
	return byteRange{first, last - first + 1}, first < length, true
}

// parsePosition reads digits; what is beyond all bodies counts as the largest number.
func parsePosition(digits []byte) (int64, bool) {
	n := int64(0)
	for _, b := range digits {
		if !isDigit(b) {
			return 0, false
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64 // and stays there
			continue
		}
		n = n*10 + int64(b-'0')
	}
	return n, len(digits) > 0
}

// AppendContentRange appends the value of Content-Range for a 206 or a 416, where length
// is that of the whole body (RFC 9110, 14.4).
func (o Reply) AppendContentRange(dst []byte, length int64) []byte {
	dst = append(dst, "bytes "...)
	if o.Length == 0 {
		dst = append(dst, '*')
	} else {
		dst = strconv.AppendInt(dst, o.First, 10)
		dst = strconv.AppendInt(append(dst, '-'), o.First+o.Length-1, 10)
	}
	return strconv.AppendInt(append(dst, '/'), length, 10)
}
