package proxy

import (
	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// setStatusHeaders adds what every answer of the proxy tells about itself.
func (x *exchange) setStatusHeaders(h *fasthttp.ResponseHeader, status string) {
	x.cacheStatus = status
	if status != "" {
		h.Add("Cache-Status", "sedge; "+status)
	}
	delFold(h, "X-Request-Id") // the origin may have sent it back
	h.Set("X-Request-Id", x.id)
}

// perBody are the headers that describe the origin's bytes and not ours, or let
// somebody keep them.
var perBody = [...]string{
	fasthttp.HeaderETag, fasthttp.HeaderLastModified, fasthttp.HeaderAcceptRanges, "Content-MD5", "Digest",
	"Content-Digest", "Repr-Digest", fasthttp.HeaderExpires, fasthttp.HeaderPragma, fasthttp.HeaderAge,
	"CDN-Cache-Control", "Surrogate-Control", "Surrogate-Key", "Cache-Tag",
}

// setPrivate gives an answer of a concerned page its headers for caching. They are
// the same whatever the visitor sees, so that nothing tells the arms apart, and
// nobody keeps one visitor's page for another.
func (x *exchange) setPrivate(h *fasthttp.ResponseHeader, origin cacheControl) {
	delFold(h, perBody[:]...)
	delFold(h, fasthttp.HeaderCacheControl)
	value := "private, no-cache"
	if origin.noStore {
		value += ", no-store"
	}
	if origin.noTransform {
		value += ", no-transform"
	}
	h.Set(fasthttp.HeaderCacheControl, value)
	addVary(h, fasthttp.HeaderAcceptEncoding)
}

// delFold deletes headers in any spelling.
func delFold(h *fasthttp.ResponseHeader, names ...string) {
	for _, name := range names {
		h.Del(name)
	}
	// fasthttp finds names by their exact spelling, and origins spell freely.
	var odd []string
	for key := range h.All() {
		for _, name := range names {
			if equalFold(key, name) {
				odd = append(odd, string(key))
			}
		}
	}
	for _, key := range odd {
		h.Del(key)
	}
}

func addVary(h *fasthttp.ResponseHeader, name string) {
	vary := h.Peek(fasthttp.HeaderVary)
	switch {
	case hasToken(vary, name) || hasToken(vary, "*"):
	case len(vary) == 0:
		h.Set(fasthttp.HeaderVary, name)
	default:
		h.Set(fasthttp.HeaderVary, string(vary)+", "+name)
	}
}

// passPlain answers for a route that is not personalized: nobody is identified, and
// nothing is recorded.
func (x *exchange) passPlain() {
	if !x.fetch() {
		return
	}
	x.setStatusHeaders(&x.ctx.Response.Header, "")
	x.stream()
}

// passOn hands the origin's answer through, byte by byte.
func (x *exchange) passOn() {
	resp := &x.ctx.Response
	html := isHTML(resp.Header.ContentType())
	if !x.concerned && (x.ctx.IsGet() || x.ctx.IsHead()) && (html && x.isConcerned() || !html && x.isEdited(resp.Header.ContentType())) {
		// A script or an image tag asked for the page: it sees the origin's own,
		// and may not keep it where a navigation would find it.
		cc := parseCacheControl(&resp.Header)
		x.setPrivate(&resp.Header, cc)
	}
	if html && !x.concerned {
		x.mintOnPass()
	}
	x.setStatusHeaders(&resp.Header, "")
	x.giveCookie(&resp.Header)
	x.stream()
}

// mintOnPass gives a new visitor their cookie on a page that no experience names,
// unless a shared cache may keep the answer.
func (x *exchange) mintOnPass() {
	resp := &x.ctx.Response
	if !x.mayMint() || resp.StatusCode() >= 400 {
		return
	}
	cc := parseCacheControl(&resp.Header)
	if allowsShared(&cc, &resp.Header, x.server.now()) {
		return
	}
	x.mint()
	if x.minted == "" || cc.private || cc.noStore {
		return
	}
	// Nothing forbids a shared cache to keep it, so we do.
	value := string(resp.Header.Peek(fasthttp.HeaderCacheControl))
	if value != "" {
		value += ", "
	}
	resp.Header.Set(fasthttp.HeaderCacheControl, value+"private")
}

// stream makes the rest of the answer's body flow to the client. Its bytes stay as they
// are, but for URLs that the upstream wants mapped.
func (x *exchange) stream() {
	resp := &x.ctx.Response
	mapped := x.mapAnswer()
	origin, ok := resp.BodyStream().(*upstream.Body)
	if !ok {
		return // no body
	}
	if mapped.of != nil {
		x.streamMapped(origin, mapped)
		return
	}
	length := max(-1, resp.Header.ContentLength())
	body := &passBody{taken: origin.Take()}
	if length < 0 && x.ctx.Request.Header.IsHTTP11() {
		body.header = &resp.Header
	}
	x.send(body, length)
}
