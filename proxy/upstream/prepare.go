package upstream

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// PrepareOptions say how the client's request is passed on.
type PrepareOptions struct {
	// Peer is the address at the other end of the client's connection, which
	// X-Forwarded-For and Forwarded are extended by: the client's, or that of a
	// proxy in front.
	Peer string
	// Scheme is the client's, "http" or "https".
	Scheme string
	// Host is the host that the client asked for. The origin gets it unless the
	// upstream's settings name another.
	Host string
	// Via is what the Via header says of this hop; "" is "1.1 sedge".
	Via string
	// OmitVia leaves this hop out of the Via header.
	OmitVia bool
	// TrustForwarded keeps what the peer said in X-Forwarded-* and Forwarded and
	// adds to it; otherwise it is thrown away.
	TrustForwarded bool
	// StripCookies names cookies that the origin does not get, exact names.
	StripCookies []string
	// StripHeaders names headers that the origin does not get, in any case. A name
	// that ends in "-" or "*" stands for all names that begin so. "Sedge-" always
	// counts as listed.
	StripHeaders []string
	// ForceAcceptEncoding replaces the client's Accept-Encoding; "" keeps it.
	ForceAcceptEncoding string
	// AddHeaders are set, name and value, each replacing what the client sent
	// under its name.
	AddHeaders [][2]string
	// Path replaces the request target (path and query); "" keeps the client's,
	// byte for byte.
	Path string
}

const (
	ownPrefix = "Sedge-"
	via       = "1.1 sedge"
	// maxNamed is how many names of a Connection header are looked at.
	maxNamed = 32
)

// Prepare makes out the request that the origin gets for the client's request in:
// its head as it came, byte for byte and in its order, less what ends at this hop,
// what could be mistaken for something else and what p strips, plus the forwarding
// headers. What the caller changed in the header of in since it was read does not
// count, so changes belong into p. The body is not copied; its length or coding is
// declared, so [Upstream.Do] needs the body.
//
// The header of out finds names only as they are spelled; set and strip headers
// with p, which ignores case.
func Prepare(out, in *fasthttp.Request, p PrepareOptions) {
	out.Reset()
	h := &out.Header
	h.DisableNormalizing()
	h.DisableSpecialHeader()
	h.SetNoDefaultContentType(true)
	h.SetMethodBytes(in.Header.Method())
	if p.Path != "" {
		h.SetRequestURI(p.Path)
	} else {
		h.SetRequestURIBytes(originForm(in.Header.RequestURI(), in.Header.IsOptions()))
	}
	h.Add(fasthttp.HeaderHost, p.Host)
	c := copier{out: h, p: p, chunked: in.Header.ContentLength() == -1}
	c.copy(&in.Header)
	c.forwarded()
	if c.te {
		h.Add(fasthttp.HeaderTE, "trailers")
	}
	if p.ForceAcceptEncoding != "" {
		h.Add(fasthttp.HeaderAcceptEncoding, p.ForceAcceptEncoding)
	}
	for _, add := range p.AddHeaders {
		if validName([]byte(add[0])) && validValue([]byte(add[1])) {
			h.Add(add[0], add[1])
		}
	}
	declareBody(h, &in.Header)
}

// originForm cuts scheme and authority off an absolute target.
func originForm(target []byte, options bool) []byte {
	if len(target) == 0 || target[0] == '/' || target[0] == '*' {
		return target
	}
	scheme := bytes.Index(target, []byte("://"))
	if scheme < 0 || bytes.ContainsAny(target[:scheme], "/?#") {
		return target
	}
	rest := target[scheme+3:]
	path := bytes.IndexAny(rest, "/?#")
	switch {
	case path < 0 && options:
		return []byte("*")
	case path < 0:
		return []byte("/")
	}
	return rest[path:] // fasthttp puts the "/" before a bare query
}

// declareBody frames the body in one way only, whatever the client's lines said.
func declareBody(out, in *fasthttp.RequestHeader) {
	switch length := in.ContentLength(); {
	case length == -1:
		out.Add(fasthttp.HeaderTransferEncoding, "chunked")
	case length > 0:
		out.Add(fasthttp.HeaderContentLength, strconv.Itoa(length))
	case length == 0, in.IsPost(), in.IsPut(), in.IsPatch():
		if !in.IsGet() && !in.IsHead() {
			out.Add(fasthttp.HeaderContentLength, "0")
		}
	}
}

// copier passes the client's headers on one by one.
type copier struct {
	out   *fasthttp.RequestHeader
	p     PrepareOptions
	te    bool
	named [][]byte // by the client's Connection
	chain []byte   // X-Forwarded-For so far, if trusted
	proto bool     // X-Forwarded-Proto came from a trusted peer
	host  bool     // X-Forwarded-Host likewise

	element bool // Forwarded came from a trusted peer
	chunked bool // trailers may follow
}

// What a request has room for without an allocation.
const (
	usualFields  = 24
	usualCookies = 512 // bytes
)

// copy passes the headers on as they came over the wire; of a request that did not,
// or that folds lines, it passes on fasthttp's view of them.
func (c *copier) copy(in *fasthttp.RequestHeader) {
	var room [usualFields]field
	if fields, ok := c.read(room[:0], in.RawHeaders()); ok {
		for i := range fields {
			c.pass(&fields[i])
		}
		return
	}
	for name, value := range in.All() {
		if requestNames.find(name).role == roleConnection {
			c.noteConnection(value)
		}
	}
	for name, value := range in.All() {
		c.pass(&field{name, value, requestNames.find(name)})
	}
}

// read takes the lines apart, and notes what ends here by the client's word, which may
// come behind it. It reports false if there are none or one is folded.
func (c *copier) read(fields []field, raw []byte) ([]field, bool) {
	if len(raw) == 0 {
		return fields, false
	}
	for {
		var line []byte
		if line, raw = cutLine(raw); len(line) == 0 {
			return fields, true
		}
		if isSpace(line[0]) {
			c.named = nil
			return fields, false
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			continue
		}
		name, value := line[:colon], trimSpace(line[colon+1:])
		known := requestNames.find(name)
		if known.role == roleConnection {
			c.noteConnection(value)
		}
		fields = append(fields, field{name, value, known})
	}
}

func (c *copier) noteConnection(value []byte) {
	for token := range tokens(value) {
		if len(c.named) < maxNamed && !equalFold(token, "keep-alive") && !equalFold(token, "close") {
			c.named = append(c.named, token)
		}
	}
}

// pass copies a header unless it must not reach the origin.
func (c *copier) pass(f *field) {
	if f.knownName == unknownName && !safeName(f.name) || !validValue(f.value) {
		return
	}
	value := f.value
	switch f.role {
	case roleEndsHere, roleConnection:
		return
	case roleTrailer:
		c.announce(value)
		return
	case roleTrailersWanted:
		for token := range tokens(value) {
			c.te = c.te || equalFold(token, "trailers")
		}
		return
	case roleForwardedFor:
		c.link(value)
		return
	case roleForwardedProto:
		if !c.p.TrustForwarded || c.proto {
			return
		}
		c.proto = true
	case roleForwardedHost:
		if !c.p.TrustForwarded || c.host {
			return
		}
		c.host = true
	case roleForwarded:
		if !c.p.TrustForwarded {
			return
		}
		c.element = true
	case roleMisleading:
		if !c.p.TrustForwarded {
			return
		}
	case roleAcceptEncoding:
		if c.p.ForceAcceptEncoding != "" {
			return
		}
	case roleCookie:
		c.passCookies(f)
		return
	}
	c.add(f.name, value)
}

func (c *copier) passCookies(f *field) {
	var room [usualCookies]byte
	if kept := stripCookies(room[:0], f.value, c.p.StripCookies); len(kept) > 0 {
		c.add(f.name, kept)
	}
}

func (c *copier) add(name, value []byte) {
	if !c.stripped(name) {
		c.out.AddBytesKV(name, value)
	}
}

// link joins the addresses that a trusted peer has named.
func (c *copier) link(value []byte) {
	if !c.p.TrustForwarded || len(value) == 0 {
		return
	}
	if len(c.chain) > 0 {
		c.chain = append(c.chain, ", "...)
	}
	c.chain = append(c.chain, value...)
}

// stripped reports whether a header is one that the origin does not get.
func (c *copier) stripped(name []byte) bool {
	if hasPrefixFold(name, ownPrefix) ||
		!c.p.TrustForwarded && hasPrefixFold(name, "X-Forwarded-") {
		return true
	}
	first := name[0] | 0x20
	for _, strip := range c.p.StripHeaders {
		if (len(strip) < 2 || strip[0]|0x20 == first) && matchesName(name, strip) {
			return true
		}
	}
	for i := range c.p.AddHeaders {
		if equalFold(name, c.p.AddHeaders[i][0]) {
			return true
		}
	}
	for _, named := range c.named {
		if bytes.EqualFold(name, named) {
			return true
		}
	}
	return false
}

func matchesName(name []byte, pattern string) bool {
	n := len(pattern)
	if n == 0 {
		return false
	}
	switch pattern[n-1] {
	case '*':
		return hasPrefixFold(name, pattern[:n-1])
	case '-':
		return hasPrefixFold(name, pattern)
	}
	return equalFold(name, pattern)
}

// safeName reports whether a name means the same to every origin. CGI and its
// heirs take "_" for "-", and a look-alike of a framing header may be taken for
// it.
func safeName(name []byte) bool {
	for _, c := range name {
		if !tokenBytes[c] || c == '_' {
			return false
		}
	}
	if len(name) == 0 {
		return false
	}
	return !looksLike(name, "transferencoding", fasthttp.HeaderTransferEncoding) &&
		!looksLike(name, "contentlength", fasthttp.HeaderContentLength)
}

// looksLike reports whether name has exactly the letters given but is not the
// real name.
func looksLike(name []byte, letters, real string) bool {
	at := 0
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c < 'a' || c > 'z' {
			continue
		}
		if at == len(letters) || letters[at] != c {
			return false
		}
		at++
	}
	return at == len(letters) && !equalFold(name, real)
}

// forwarded adds who asked, how, and that it came through here.
func (c *copier) forwarded() {
	if c.p.Peer != "" && len(c.chain) > 0 {
		c.chain = append(append(c.chain, ", "...), c.p.Peer...)
	}
	switch {
	case len(c.chain) > 0:
		c.out.AddBytesV(fasthttp.HeaderXForwardedFor, c.chain)
	case c.p.Peer != "":
		c.out.Add(fasthttp.HeaderXForwardedFor, c.p.Peer)
	}
	if c.element {
		c.out.Add(fasthttp.HeaderForwarded, c.forwardedElement())
	}
	if !c.proto && c.p.Scheme != "" {
		c.out.Add(fasthttp.HeaderXForwardedProto, c.p.Scheme)
	}
	if !c.host && c.p.Host != "" {
		c.out.Add(fasthttp.HeaderXForwardedHost, c.p.Host)
	}
	if !c.p.OmitVia {
		c.out.Add(fasthttp.HeaderVia, cmp.Or(c.p.Via, via))
	}
}

// forwardedElement is this hop's part of Forwarded (RFC 7239).
func (c *copier) forwardedElement() string {
	element := "for=" + c.p.Peer
	switch {
	case c.p.Peer == "":
		element = "for=unknown"
	case strings.Contains(c.p.Peer, ":"):
		element = `for="[` + c.p.Peer + `]"`
	}
	if c.p.Scheme != "" {
		element += ";proto=" + c.p.Scheme
	}
	if c.p.Host != "" {
		element += `;host="` + c.p.Host + `"`
	}
	return element
}

// stripCookies appends the Cookie header without the named cookies to kept; the bytes
// and the order of the others stay. Without a match it returns header itself.
func stripCookies(kept, header []byte, names []string) []byte {
	changed, begun := false, false
	for at := 0; at <= len(header); {
		end := bytes.IndexByte(header[at:], ';')
		if end < 0 {
			end = len(header)
		} else {
			end += at
		}
		switch pair := header[at:end]; {
		case isCookie(pair, names):
			if !changed {
				changed, begun = true, at > 0
				kept = append(kept, header[:max(at-1, 0)]...)
			}
		case !changed:
		case begun:
			kept = append(append(kept, ';'), pair...)
		default:
			kept, begun = append(kept, bytes.TrimLeft(pair, " \t")...), true
		}
		at = end + 1
	}
	if !changed {
		return header
	}
	return trimSpace(kept)
}

func isCookie(pair []byte, names []string) bool {
	name, _, _ := bytes.Cut(pair, []byte{'='})
	name = trimSpace(name)
	for _, strip := range names {
		if string(name) == strip {
			return true
		}
	}
	return false
}

// mayTrail reports whether a field may follow a request's body: what frames,
// routes, authenticates or describes the message must stand in its head, where it
// was looked at (RFC 9110 section 6.5.1).
func mayTrail(name []byte) bool {
	if !safeName(name) || hasPrefixFold(name, ownPrefix) || hasPrefixFold(name, "X-Forwarded-") {
		return false
	}
	var buf [longestKnown]byte
	switch string(lower(name, &buf)) {
	case "trailer", "te", "max-forwards", "cache-control", "pragma", "authorization", "cookie", "set-cookie",
		"content-encoding", "content-type", "content-range", "range", "if-match", "if-none-match",
		"if-modified-since", "if-unmodified-since", "if-range", "via", "forwarded", "x-real-ip",
		"x-original-url", "x-rewrite-url", "x-original-host", "x-request-id", "accept-encoding":
		return false
	}
	known := requestNames.find(name)
	return known.role != roleEndsHere && known.role != roleConnection
}

// announce passes on which trailers will follow.
func (c *copier) announce(names []byte) {
	if !c.chunked {
		return
	}
	for name := range tokens(names) {
		if mayTrail(name) {
			c.out.Add(fasthttp.HeaderTrailer, string(name))
		}
	}
}
