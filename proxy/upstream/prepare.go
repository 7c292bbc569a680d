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
	h.Set(fasthttp.HeaderHost, p.Host)
	c := copier{out: h, p: p, chunked: in.Header.ContentLength() == -1}
	c.fields(&in.Header, c.noteConnection)
	c.fields(&in.Header, c.pass)
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

	looked, folded bool

	element bool // Forwarded came from a trusted peer
	chunked bool // trailers may follow
}

// fields calls f for each header as it came over the wire; a request that did
// not, or that folds lines, gives fasthttp's view of them.
func (c *copier) fields(in *fasthttp.RequestHeader, f func(name, value []byte)) {
	raw := in.RawHeaders()
	if len(raw) == 0 || c.isFolded(raw) {
		for name, value := range in.All() {
			f(name, value)
		}
		return
	}
	for {
		var line []byte
		if line, raw = cutLine(raw); len(line) == 0 {
			return
		}
		if name, value, ok := bytes.Cut(line, []byte{':'}); ok {
			f(name, trimSpace(value))
		}
	}
}

// isFolded looks for folded lines, once.
func (c *copier) isFolded(raw []byte) bool {
	if c.looked {
		return c.folded
	}
	c.looked, c.folded = true, isSpace(raw[0])
	for rest := raw; !c.folded; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 || end+1 == len(rest) {
			break
		}
		rest = rest[end+1:]
		c.folded = isSpace(rest[0])
	}
	return c.folded
}

func (c *copier) noteConnection(name, value []byte) {
	if !equalFold(name, fasthttp.HeaderConnection) && !equalFold(name, "Proxy-Connection") {
		return
	}
	for token := range tokens(value) {
		if len(c.named) < maxNamed && !equalFold(token, "keep-alive") && !equalFold(token, "close") {
			c.named = append(c.named, token)
		}
	}
}

// pass copies a header unless it must not reach the origin.
func (c *copier) pass(name, value []byte) {
	if !safeName(name) || !validValue(value) {
		return
	}
	var buf [longestKnown]byte
	known := string(lower(name, &buf))
	if endsHere(known) {
		return
	}
	switch known {
	case "trailer":
		c.announce(value)
		return
	case "te":
		for token := range tokens(value) {
			c.te = c.te || equalFold(token, "trailers")
		}
		return
	case "x-forwarded-for":
		c.link(value)
		return
	case "x-forwarded-proto":
		if !c.p.TrustForwarded || c.proto {
			return
		}
		c.proto = true
	case "x-forwarded-host":
		if !c.p.TrustForwarded || c.host {
			return
		}
		c.host = true
	case "forwarded":
		if !c.p.TrustForwarded {
			return
		}
		c.element = true
	case "x-real-ip", "x-original-url", "x-rewrite-url", "x-original-host":
		if !c.p.TrustForwarded {
			return
		}
	case "accept-encoding":
		if c.p.ForceAcceptEncoding != "" {
			return
		}
	case "cookie":
		if value = stripCookies(value, c.p.StripCookies); len(value) == 0 {
			return
		}
	}
	if c.stripped(name) {
		return
	}
	c.out.AddBytesKV(name, value)
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

func (c *copier) stripped(name []byte) bool {
	if hasPrefixFold(name, ownPrefix) ||
		!c.p.TrustForwarded && (hasPrefixFold(name, "X-Forwarded-")) {
		return true
	}
	for _, strip := range c.p.StripHeaders {
		if matchesName(name, strip) {
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
	if !validName(name) || bytes.IndexByte(name, '_') >= 0 {
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
		c.out.SetBytesV(fasthttp.HeaderXForwardedFor, c.chain)
	case c.p.Peer != "":
		c.out.Set(fasthttp.HeaderXForwardedFor, c.p.Peer)
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

// stripCookies returns the Cookie header without the named cookies; the bytes and
// the order of the others stay. Without a match it returns header itself.
func stripCookies(header []byte, names []string) []byte {
	var kept []byte
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
				kept = append(make([]byte, 0, len(header)), header[:max(at-1, 0)]...)
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
	known := string(lower(name, &buf))
	switch known {
	case "trailer", "te", "max-forwards", "cache-control", "pragma", "authorization", "cookie", "set-cookie",
		"content-encoding", "content-type", "content-range", "range", "if-match", "if-none-match",
		"if-modified-since", "if-unmodified-since", "if-range", "via", "forwarded", "x-real-ip",
		"x-original-url", "x-rewrite-url", "x-original-host", "x-request-id", "accept-encoding":
		return false
	}
	return !endsHere(known)
}

// endsHere reports whether a header, in lower case, belongs to this hop alone or is
// written anew for the next one.
func endsHere(known string) bool {
	switch known {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy",
		"proxy-connection", "proxy-authenticate", "proxy-authorization", "upgrade",
		"expect", "http2-settings":
		return true
	}
	return false
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
