package coding

import "bytes"

// full is the weight of what is accepted without reserve, in thousandths.
const full = 1000

// Accepts is what a client says in Accept-Encoding (RFC 9110 section 12.5.3). The zero
// value is that of a client who says nothing, and gets bodies that are not packed.
type Accepts struct {
	weights [Count]uint16 // thousandths
	named   Set
	others  uint16 // the weight of "*"
	star    bool
}

// Set is a set of codings.
type Set uint8

// Has reports whether a coding is in the set.
func (s Set) Has(c Coding) bool { return s&(1<<c) != 0 }

// Add takes one line of the header in; several are one list. What is malformed counts
// as not said, and of what is said twice the first counts.
func (a *Accepts) Add(line []byte) {
	for len(line) > 0 {
		var item []byte
		item, line, _ = bytes.Cut(line, comma)
		name, parameter, weighted := bytes.Cut(item, []byte{';'})
		weight := uint16(full)
		if weighted {
			var ok bool
			if weight, ok = parseWeight(parameter); !ok {
				continue
			}
		}
		if name = trim(name); len(name) == 1 && name[0] == '*' {
			if !a.star {
				a.star, a.others = true, weight
			}
		} else if c, ok := byName(name); ok && !a.named.Has(c) {
			a.named |= 1 << c
			a.weights[c] = weight
		}
	}
}

// parseWeight reads "q=0.5" in thousandths; what is finer is cut off.
func parseWeight(parameter []byte) (weight uint16, ok bool) {
	parameter = trim(parameter)
	if len(parameter) < 3 || parameter[0]|0x20 != 'q' || parameter[1] != '=' {
		return 0, false
	}
	whole, fraction := parameter[2], parameter[3:]
	if whole != '0' && whole != '1' || len(fraction) > 0 && fraction[0] != '.' {
		return 0, false
	}
	weight = uint16(whole-'0') * full
	place := uint16(full)
	for _, digit := range fraction[min(1, len(fraction)):] {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		place /= 10
		weight += uint16(digit-'0') * place
	}
	return weight, weight <= full
}

// weight returns how much a coding is liked, 0 for not at all. "*" speaks for gzip alone,
// which is what everybody reads who says so: a client is sent a newer coding only if it
// has named it.
func (a *Accepts) weight(c Coding) uint16 {
	switch {
	case a.named.Has(c):
		return a.weights[c]
	case a.star && (c == Gzip || c == Identity):
		return a.others
	}
	return 0
}

// preferred has the codings in the order in which we like to pack: what costs least comes
// first while a client waits, and what becomes smallest if it is done once for many. The
// figures are in docs/PERFORMANCE.md; nothing of a visitor is in them.
var preferred = [efforts][Count - 1]Coding{
	Live: {Zstd, Brotli, Gzip, Deflate},
	Kept: {Brotli, Zstd, Gzip, Deflate},
}

// Best returns the coding in which the client takes a body best: the one that it gives
// most weight, of several the one that we like best. Who refuses all that there is gets
// [Identity] all the same, since they can do more with that than with an error.
func (a *Accepts) Best(e Effort) Coding {
	best, weight := Identity, uint16(0)
	for _, c := range preferred[e] {
		if w := a.weight(c); w > weight {
			best, weight = c, w
		}
	}
	if a.weight(Identity) > weight {
		return Identity
	}
	return best
}

// asked has the codings that an origin is asked for, in the order in which they cost
// least to unpack. Deflate is not among them: servers do not agree on what it is.
var asked = [...]Coding{Zstd, Brotli, Gzip}

// Readable returns the codings that an origin may be asked for on the client's behalf.
// There are none in it that the client does not read: what the origin sends may have to
// pass as it is.
func (a *Accepts) Readable() (s Set) {
	for _, c := range asked {
		if a.weight(c) > 0 {
			s |= 1 << c
		}
	}
	return s
}

// Request returns a value for Accept-Encoding that asks for what is in the set, as
// [Accepts.Readable] makes it.
func (s Set) Request() string {
	z, b, g := s.Has(Zstd), s.Has(Brotli), s.Has(Gzip)
	switch {
	case z && b && g:
		return "zstd, br, gzip"
	case z && b:
		return "zstd, br"
	case z && g:
		return "zstd, gzip"
	case b && g:
		return "br, gzip"
	case z:
		return "zstd"
	case b:
		return "br"
	case g:
		return "gzip"
	}
	return "identity"
}
