package proxy

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"
)

// field is one header line of the request, as it came over the wire.
type field struct{ name, value []byte }

const (
	// maxFields bounds the number of header lines.
	maxFields = 200
	// maxHops is how many times a request may have come through Sedge: nodes may
	// stand behind one another, and one that leads back to itself must end.
	maxHops = 8
)

var (
	errFraming     = errors.New("the framing of the request is ambiguous")
	errField       = errors.New("a header line is malformed")
	errTooMany     = errors.New("too many headers")
	errTarget      = errors.New("the request target is malformed")
	errHost        = errors.New("the Host header is missing or malformed")
	errVersion     = errors.New("the HTTP version is not supported")
	errExpectation = errors.New("the expectation is not supported")
	errMethod      = errors.New("the method is not supported here")
	errLoop        = errors.New("the request came through here too often: the upstream seems to lead back to Sedge")
)

// checkHead refuses what two servers could read in two ways, which fasthttp lets
// through, and appends the header lines to fields. A refused request is the last
// one on its connection.
func checkHead(fields []field, h *fasthttp.RequestHeader) ([]field, framing, error) {
	c := headCheck{http10: !h.IsHTTP11()}
	switch string(h.Protocol()) {
	case "HTTP/1.1", "HTTP/1.0":
	default:
		return fields, c.framing, errVersion
	}
	if err := checkTarget(h); err != nil {
		return fields, c.framing, err
	}
	raw := h.RawHeaders()
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return fields, c.framing, errField // a bare LF, or no end at all
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		if len(line) == 0 {
			break
		}
		f, ok := splitLine(line)
		if !ok {
			return fields, c.framing, errField
		}
		if err := c.note(f); err != nil {
			return fields, c.framing, err
		}
		if len(fields) == maxFields {
			return fields, c.framing, errTooMany
		}
		fields = append(fields, f)
	}
	return fields, c.framing, c.conclude(h)
}

// framing says how the body of a request ends.
type framing struct {
	length  int64 // -1 for chunks
	expects bool  // the client waits for a 100 before it sends the body
}

func checkTarget(h *fasthttp.RequestHeader) error {
	if h.IsConnect() || h.IsTrace() {
		return errMethod
	}
	for _, b := range h.RequestURI() {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return errTarget
		}
	}
	return nil
}

// splitLine takes a header line apart; a folded line has no name.
func splitLine(line []byte) (field, bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return field{}, false
	}
	for _, b := range line[:colon] {
		if !isTokenByte(b) {
			return field{}, false
		}
	}
	value := trimSpace(line[colon+1:])
	for _, b := range value {
		if b < ' ' && b != '\t' || b == 0x7f {
			return field{}, false
		}
	}
	return field{line[:colon], value}, true
}

// headCheck gathers what the header lines say about framing.
type headCheck struct {
	framing
	http10           bool
	hosts, hops      int
	host             []byte
	counted, chunked bool // what the body's end is told by
}

func (c *headCheck) note(f field) error {
	switch {
	case equalFold(f.name, "Host"):
		c.hosts++
		c.host = f.value
	case equalFold(f.name, "Content-Length"):
		if c.counted || !isLength(f.value) {
			return errFraming
		}
		c.counted = true
		for _, digit := range f.value {
			c.length = c.length*10 + int64(digit-'0')
		}
	case equalFold(f.name, "Transfer-Encoding"):
		if c.chunked || c.http10 || !equalFold(f.value, "chunked") {
			return errFraming
		}
		c.chunked, c.length = true, -1
	case equalFold(f.name, "Expect"):
		if !equalFold(f.value, "100-continue") {
			return errExpectation
		}
		c.expects = !c.http10
	case equalFold(f.name, "Via"):
		c.hops += countHops(f.value, ownVia)
	case looksLike(f.name, "transferencoding") || looksLike(f.name, "contentlength"):
		return errFraming
	}
	return nil
}

func (c *headCheck) conclude(h *fasthttp.RequestHeader) error {
	switch {
	case c.counted && c.chunked:
		return errFraming
	case c.hops > maxHops:
		return errLoop
	}
	if c.hosts > 1 || c.hosts == 0 && !c.http10 || c.hosts == 1 && !isAuthority(c.host) {
		return errHost
	}
	target := h.RequestURI()
	switch {
	case len(target) == 0:
		return errTarget
	case target[0] == '/':
		return nil
	case target[0] == '*':
		if len(target) > 1 || !h.IsOptions() {
			return errTarget
		}
		return nil
	}
	// The absolute form must agree with Host: whoever looks at one of the two
	// only must come to the same site.
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !equalFold(scheme, "http") && !equalFold(scheme, "https") {
		return errTarget
	}
	if end := bytes.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	if c.hosts == 1 && !bytes.EqualFold(rest, c.host) || !isAuthority(rest) {
		return errHost
	}
	return nil
}

// looksLike reports whether name has just the letters of a framing header, which
// it is not: some servers take such a name for it.
func looksLike(name []byte, letters string) bool {
	at := 0
	for _, b := range name {
		b = lower(b)
		if b < 'a' || b > 'z' {
			continue
		}
		if at == len(letters) || letters[at] != b {
			return false
		}
		at++
	}
	return at == len(letters)
}

func isLength(value []byte) bool {
	if len(value) == 0 || len(value) > 18 || len(value) > 1 && value[0] == '0' {
		return false
	}
	for _, b := range value {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}

// isAuthority reports whether b is a host with an optional port and nothing else.
func isAuthority(b []byte) bool {
	if len(b) == 0 || len(b) > 255 || b[0] == ':' {
		return false
	}
	host, port := b, []byte(nil)
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 2 {
			return false
		}
		for _, x := range b[1:end] {
			if !isHex(x) && x != ':' && x != '.' {
				return false
			}
		}
		if host, port = nil, b[end+1:]; len(port) > 0 && port[0] != ':' {
			return false
		}
	} else if colon := bytes.IndexByte(b, ':'); colon >= 0 {
		host, port = b[:colon], b[colon:]
	}
	for _, x := range host {
		if !isAlnum(x) && x != '.' && x != '-' && x != '_' {
			return false
		}
	}
	if len(port) > 6 {
		return false
	}
	for i, x := range port {
		if i > 0 && (x < '0' || x > '9') {
			return false
		}
	}
	return true
}

func isHex(b byte) bool { return b >= '0' && b <= '9' || lower(b) >= 'a' && lower(b) <= 'f' }

func isAlnum(b byte) bool { return b >= '0' && b <= '9' || lower(b) >= 'a' && lower(b) <= 'z' }

func isTokenByte(b byte) bool { return tokenBytes[b] }

// tokenBytes are the bytes of a token.
var tokenBytes = func() (out [256]bool) {
	for b := range 256 {
		out[b] = isAlnum(byte(b))
	}
	for _, b := range "!#$%&'*+-.^_`|~" {
		out[b] = true
	}
	return out
}()

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// equalFold is inlined, since most of what is compared is told apart by its length.
func equalFold(b []byte, s string) bool { return len(b) == len(s) && sameFold(b, s) }

// sameFold is equalFold for what has the same length.
func sameFold(b []byte, s string) bool {
	for i := range len(s) {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

// fieldNames are names of header fields that are looked for among all that a request has.
type fieldNames struct {
	names   []string
	letters [32]uint32 // for each length of a name, as bits, the letters that such names begin with
}

// newFieldNames takes names of at most 31 bytes.
func newFieldNames(names ...string) fieldNames {
	n := fieldNames{names: names}
	for _, name := range names {
		n.letters[len(name)] |= letterBit(name[0])
	}
	return n
}

// letterBit is the same for a letter in either case.
func letterBit(b byte) uint32 { return 1 << (b & 31) }

// has reports whether a name, in any spelling, is one of them. For most names it is
// enough to look at the length and the first letter.
func (n *fieldNames) has(name []byte) bool {
	return len(name) > 0 && len(name) < len(n.letters) && n.letters[len(name)]&letterBit(name[0]) != 0 && n.lists(name)
}

func (n *fieldNames) lists(name []byte) bool {
	for _, other := range n.names {
		if equalFold(name, other) {
			return true
		}
	}
	return false
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// hasToken reports whether a comma-separated list holds token, whatever its
// parameters.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		item, rest, _ := bytes.Cut(list, []byte{','})
		list = rest
		item, _, _ = bytes.Cut(item, []byte{';'})
		if equalFold(trimSpace(item), token) {
			return true
		}
	}
	return false
}

// ownVia is what Sedge calls itself in Via.
const ownVia = "sedge"

// countHops counts the elements of Via that name a host.
func countHops(via []byte, host string) int {
	n := 0
	for len(via) > 0 {
		var item []byte
		item, via, _ = bytes.Cut(via, []byte{','})
		if _, by, _ := bytes.Cut(trimSpace(item), []byte{' '}); equalFold(trimSpace(by), host) {
			n++
		}
	}
	return n
}
