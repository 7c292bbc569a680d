package coding

import "bytes"

// Coding is one content coding.
type Coding uint8

// The codings.
const (
	Identity Coding = iota
	Gzip            // also x-gzip, RFC 9110 section 8.4.1.3
	Deflate         // in the format of zlib; read without it too, since some servers leave it out
	Brotli          // RFC 7932
	Zstd            // RFC 8878, with the windows of RFC 9659

	// Count is how many codings there are, so that arrays can have a place for each.
	Count
)

// String returns the name that HTTP has for it.
func (c Coding) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Deflate:
		return "deflate"
	case Brotli:
		return "br"
	case Zstd:
		return "zstd"
	}
	return "identity"
}

// byName returns the coding of a name in any case.
func byName(name []byte) (c Coding, ok bool) {
	const longest = len("identity")
	if len(name) > longest {
		return 0, false
	}
	var lower [longest]byte
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	switch string(lower[:len(name)]) {
	case "identity":
		return Identity, true
	case "gzip", "x-gzip":
		return Gzip, true
	case "deflate":
		return Deflate, true
	case "br":
		return Brotli, true
	case "zstd":
		return Zstd, true
	}
	return 0, false
}

// maxLayers is how many codings a body may have. One is usual, two are a mistake that
// happens, and each more is a way to keep us busy.
const maxLayers = 2

// Layers are the codings of a body in the order in which they were applied; the rest is
// [Identity]. The zero value is a body that is not packed.
type Layers [maxLayers]Coding

// ParseLayers reads the value of Content-Encoding. It reports false if that names a
// coding which is not known, or more than two.
func ParseLayers(value []byte) (l Layers, ok bool) {
	n := 0
	for len(value) > 0 {
		var name []byte
		name, value, _ = bytes.Cut(value, comma)
		if name = trim(name); len(name) == 0 {
			continue // RFC 9110 section 5.6.1.2
		}
		c, known := byName(name)
		switch {
		case !known:
			return Layers{}, false
		case c == Identity:
			continue
		case n == maxLayers:
			return Layers{}, false
		}
		l[n] = c
		n++
	}
	return l, true
}

// Packed reports whether there is anything to unpack.
func (l Layers) Packed() bool { return l[0] != Identity }

// Key is a number below 1<<16 that is another for other layers, 0 for none.
func (l Layers) Key() uint32 { return uint32(l[0]) | uint32(l[1])<<8 }

var comma = []byte{','}

// trim cuts the white space of RFC 9110 section 5.6.3 off.
func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' }
