package cache

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"
)

// Delta is the number of seconds that a directive was given, if it was.
type Delta struct {
	Seconds uint32
	Given   bool
}

// Numbers beyond maxDelta count as maxDelta (RFC 9111, 1.2.2): 68 years.
const maxDelta = 1 << 31

// Duration returns the time, 0 if none was given.
func (d Delta) Duration() time.Duration { return time.Duration(d.Seconds) * time.Second }

// tighten takes in one more number: of two the smaller counts.
func (d *Delta) tighten(seconds uint32) {
	if !d.Given || seconds < d.Seconds {
		*d = Delta{seconds, true}
	}
}

// parseDelta reads delta-seconds: digits and nothing else.
func parseDelta(value []byte) (uint32, bool) {
	n := uint64(0)
	for _, b := range value {
		if !isDigit(b) {
			return 0, false
		}
		n = min(n*10+uint64(b-'0'), maxDelta)
	}
	return uint32(n), len(value) > 0
}

// Directives are the directives of an answer's Cache-Control (RFC 9111, 5.2.2, and
// RFC 5861), as strict as they can be understood: of a directive that comes twice the
// smaller number counts; a number that is none is 0; one that takes no argument, and
// has one, counts if it forbids something and not if it permits; and what is said in
// the midst of broken syntax forbids, but permits nothing. The zero value says nothing.
type Directives struct {
	// Private and NoCache are also set by the forms that name fields: that these
	// alone are not kept, as the forms would allow, is not done.
	Private, NoStore, NoCache, NoTransform bool

	Public, MustUnderstand          bool
	MustRevalidate, ProxyRevalidate bool

	MaxAge, SharedMaxAge               Delta
	StaleWhileRevalidate, StaleIfError Delta
}

// ReadControl reads all Cache-Control lines of an answer, in any spelling.
func ReadControl(h *fasthttp.ResponseHeader) Directives {
	var d Directives
	for name, value := range h.All() {
		if nameIs(name, "cache-control") {
			d.read(value)
		}
	}
	return d
}

// read takes in one line.
func (d *Directives) read(line []byte) {
	for s := (directiveScanner{rest: line}); s.next(); {
		if s.broken {
			d.distrust(s.name)
			continue
		}
		var buf [longestWord]byte
		name := lowered(s.name, &buf)
		if delta := d.delta(name); delta != nil {
			seconds, _ := parseDelta(s.argument)
			delta.tighten(seconds)
		} else if flag := d.restriction(name); flag != nil {
			*flag = true
		} else if flag := d.permission(name); flag != nil && !s.argued {
			*flag = true
		}
	}
}

// distrust takes in what is no directive by its syntax: whatever its words could
// forbid counts.
func (d *Directives) distrust(item []byte) {
	for len(item) > 0 {
		var word []byte
		word, item = cutWord(item)
		var buf [longestWord]byte
		name := lowered(word, &buf)
		if delta := d.delta(name); delta != nil {
			delta.tighten(0)
		} else if flag := d.restriction(name); flag != nil {
			*flag = true
		}
	}
}

// delta returns where the number of the directive belongs, nil if it has none.
func (d *Directives) delta(name []byte) *Delta {
	switch string(name) {
	case "max-age":
		return &d.MaxAge
	case "s-maxage":
		return &d.SharedMaxAge
	case "stale-while-revalidate":
		return &d.StaleWhileRevalidate
	case "stale-if-error":
		return &d.StaleIfError
	}
	return nil
}

// restriction returns where a directive that takes something away belongs, nil if it is
// none.
func (d *Directives) restriction(name []byte) *bool {
	switch string(name) {
	case "private":
		return &d.Private
	case "no-store":
		return &d.NoStore
	case "no-cache":
		return &d.NoCache
	case "no-transform":
		return &d.NoTransform
	case "must-revalidate":
		return &d.MustRevalidate
	case "proxy-revalidate":
		return &d.ProxyRevalidate
	}
	return nil
}

// permission returns where a directive that allows more belongs, nil if it is none.
func (d *Directives) permission(name []byte) *bool {
	switch string(name) {
	case "public":
		return &d.Public
	case "must-understand":
		return &d.MustUnderstand
	}
	return nil
}

// directiveScanner takes a line of Cache-Control apart. Both directions of the field
// have this syntax.
type directiveScanner struct {
	rest []byte

	name     []byte // if broken: all that the scanner passed over
	argument []byte // without quotes
	argued   bool
	broken   bool // the syntax is
}

// next finds the next directive.
func (s *directiveScanner) next() bool {
	for len(s.rest) > 0 && (s.rest[0] == ',' || isBlank(s.rest[0])) {
		s.rest = s.rest[1:]
	}
	if len(s.rest) == 0 {
		return false
	}
	end := 0
	for end < len(s.rest) && isTchar(s.rest[end]) {
		end++
	}
	s.name, s.argument, s.argued, s.broken = s.rest[:end], nil, false, false
	after := s.rest[end:]
	if end > 0 && len(after) > 0 && after[0] == '=' {
		s.argued = true
		after = s.takeArgument(after[1:])
	}
	after = skipBlanks(after)
	if end == 0 || len(after) > 0 && after[0] != ',' {
		// A quoted string that does not end, blanks around the equals sign, semicolons.
		// Quotes hide nothing here, since nobody knows where they would end.
		s.name, s.rest, _ = bytes.Cut(s.rest, []byte{','})
		s.broken = true
		return true
	}
	s.rest = after
	return true
}

// takeArgument cuts an argument off: a token or a quoted string. What does not begin
// with one of these is left.
func (s *directiveScanner) takeArgument(b []byte) (rest []byte) {
	if len(b) > 0 && b[0] == '"' {
		if end := quotedEnd(b); end > 0 {
			s.argument = b[1 : end-1]
			return b[end:]
		}
		return b
	}
	end := 0
	for end < len(b) && isTchar(b[end]) {
		end++
	}
	s.argument = b[:end]
	return b[end:]
}

// cutWord cuts the next run of the bytes that tokens are made of off.
func cutWord(b []byte) (word, rest []byte) {
	for len(b) > 0 && !isTchar(b[0]) {
		b = b[1:]
	}
	end := 0
	for end < len(b) && isTchar(b[end]) {
		end++
	}
	return b[:end], b[end:]
}
