package cache

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// Header fields that speak to Sedge alone, and to the caches that a site's owner runs
// (RFC 9213), in lower case. The first that is valid and not empty takes the place of
// Cache-Control and Expires. Surrogate-Control is none of them: it never got a syntax
// that all agree on.
const (
	ownControl = "sedge-cache-control"
	cdnControl = "cdn-cache-control"
)

// readTargeted returns the directives of the most specific targeted field; ok is
// false if none is valid. A field whose syntax is broken counts for nothing, as
// RFC 9213 section 2.1 demands.
func readTargeted(h *fasthttp.ResponseHeader) (d Directives, ok bool) {
	for _, field := range [...]string{ownControl, cdnControl} {
		var value []byte
		lines := 0
		for name, line := range h.All() {
			if !nameIs(name, field) {
				continue
			}
			if lines++; lines == 1 {
				value = line
			} else {
				value = append(append(bytes.Clone(value), ", "...), line...)
			}
		}
		if lines > 0 {
			if d, ok = parseTargeted(value); ok {
				return d, true
			}
		}
	}
	return Directives{}, false
}

// parseTargeted reads a Dictionary of RFC 8941 (section 4.2.2); ok is false if it is
// broken or empty. Of a key that comes twice the last counts. A value of a type that
// the directive cannot have is not used, but what forbids, forbids with any value save
// false.
func parseTargeted(field []byte) (d Directives, ok bool) {
	p := structured{rest: bytes.Trim(field, " ")}
	if len(p.rest) == 0 {
		return d, false
	}
	for {
		key := p.key()
		value := sfValue{kind: sfTrue}
		if p.take('=') {
			value = p.member()
		}
		p.parameters()
		if p.failed {
			return Directives{}, false
		}
		d.target(key, value)
		p.rest = skipBlanks(p.rest)
		if len(p.rest) == 0 {
			return d, true
		}
		if !p.take(',') {
			return Directives{}, false
		}
		if p.rest = skipBlanks(p.rest); len(p.rest) == 0 {
			return Directives{}, false
		}
	}
}

// target notes one member of a targeted field.
func (d *Directives) target(key []byte, value sfValue) {
	if delta := d.delta(key); delta != nil {
		*delta = Delta{}
		if value.kind == sfInteger && value.integer >= 0 {
			*delta = Delta{uint32(min(value.integer, maxDelta)), true}
		}
		return
	}
	if flag := d.restriction(key); flag != nil {
		*flag = value.kind != sfFalse
	} else if flag := d.permission(key); flag != nil {
		*flag = value.kind == sfTrue
	}
}

// sfKind is the type of a structured value, as far as directives need to know.
type sfKind byte

const (
	sfOther sfKind = iota
	sfInteger
	sfTrue
	sfFalse
)

type sfValue struct {
	kind    sfKind
	integer int64
}

// structured parses the syntax of RFC 8941 without leniency. After a failure
// everything fails.
type structured struct {
	rest   []byte
	failed bool
}

func (p *structured) fail() sfValue {
	p.failed, p.rest = true, nil
	return sfValue{}
}

func (p *structured) take(b byte) bool {
	if len(p.rest) == 0 || p.rest[0] != b {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// key reads a key (section 4.2.3.3): it is in lower case.
func (p *structured) key() []byte {
	end := 0
	for end < len(p.rest) {
		b := p.rest[end]
		first := b >= 'a' && b <= 'z' || b == '*'
		if !first && (end == 0 || !isDigit(b) && b != '_' && b != '-' && b != '.') {
			break
		}
		end++
	}
	key := p.rest[:end]
	if p.rest = p.rest[end:]; end == 0 {
		p.fail()
	}
	return key
}

// member reads an item or an inner list, without the parameters behind it.
func (p *structured) member() sfValue {
	if !p.take('(') {
		return p.bare()
	}
	for {
		p.spaces()
		if p.take(')') {
			return sfValue{}
		}
		p.bare()
		p.parameters()
		if p.failed || len(p.rest) == 0 || p.rest[0] != ' ' && p.rest[0] != ')' {
			return p.fail()
		}
	}
}

func (p *structured) spaces() {
	for p.take(' ') {
	}
}

// parameters passes over parameters, which mean nothing on a directive.
func (p *structured) parameters() {
	for !p.failed && p.take(';') {
		p.spaces()
		p.key()
		if p.take('=') {
			p.bare()
		}
	}
}

// bare reads a bare item (section 4.2.3.1).
func (p *structured) bare() sfValue {
	if len(p.rest) == 0 {
		return p.fail()
	}
	switch b := p.rest[0]; {
	case b == '-' || isDigit(b):
		return p.number()
	case b == '"':
		return p.text()
	case b == '*' || isAlpha(b):
		end := 1
		for end < len(p.rest) && (isTchar(p.rest[end]) || p.rest[end] == ':' || p.rest[end] == '/') {
			end++
		}
		p.rest = p.rest[end:]
		return sfValue{}
	case b == ':':
		return p.binary()
	case b == '?' && len(p.rest) > 1 && (p.rest[1] == '0' || p.rest[1] == '1'):
		kind := sfFalse
		if p.rest[1] == '1' {
			kind = sfTrue
		}
		p.rest = p.rest[2:]
		return sfValue{kind: kind}
	}
	return p.fail()
}

// number reads an integer of at most 15 digits, or a decimal of at most 12 and 3
// (section 4.2.4).
func (p *structured) number() sfValue {
	sign := int64(1)
	if p.take('-') {
		sign = -1
	}
	n, digits := p.digits()
	if digits == 0 || digits > 15 {
		return p.fail()
	}
	if !p.take('.') {
		return sfValue{sfInteger, sign * n}
	}
	if _, fraction := p.digits(); digits > 12 || fraction == 0 || fraction > 3 {
		return p.fail()
	}
	return sfValue{}
}

func (p *structured) digits() (n int64, count int) {
	for count < len(p.rest) && isDigit(p.rest[count]) {
		if count < 15 {
			n = n*10 + int64(p.rest[count]-'0')
		}
		count++
	}
	p.rest = p.rest[count:]
	return n, count
}

// text reads a string (section 4.2.5).
func (p *structured) text() sfValue {
	for i := 1; i < len(p.rest); i++ {
		switch b := p.rest[i]; {
		case b == '"':
			p.rest = p.rest[i+1:]
			return sfValue{}
		case b == '\\':
			if i++; i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				return p.fail()
			}
		case b < ' ' || b > '~':
			return p.fail()
		}
	}
	return p.fail()
}

// binary passes over a byte sequence (section 4.2.7).
func (p *structured) binary() sfValue {
	for i := 1; i < len(p.rest); i++ {
		b := p.rest[i]
		if b == ':' {
			p.rest = p.rest[i+1:]
			return sfValue{}
		}
		if !isAlpha(b) && !isDigit(b) && b != '+' && b != '/' && b != '=' {
			break
		}
	}
	return p.fail()
}
