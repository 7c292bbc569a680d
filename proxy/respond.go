package proxy

import (
	"math/bits"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/coding"
)

// setStatusHeaders adds what every answer of the proxy tells about itself.
func (x *exchange) setStatusHeaders(h *fasthttp.ResponseHeader) {
	if !x.lookup.silent {
		x.scratch = x.lookup.status.Append(x.scratch[:0])
		h.AddBytesV("Cache-Status", x.scratch)
		x.noteCacheStatus(x.scratch)
	}
	delFold(h, "X-Request-Id") // the origin may have sent it back
	h.Set("X-Request-Id", x.id)
}

// noteCacheStatus remembers for the access log what Cache-Status says.
func (x *exchange) noteCacheStatus(status []byte) {
	if x.server.accessLog || x.trace != nil {
		x.cacheStatus = x.server.texts.text(status[len("sedge; "):])
	}
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
func (x *exchange) setPrivate(h *fasthttp.ResponseHeader, origin *cache.Directives) {
	x.private = true
	delFold(h, perBody[:]...)
	delFold(h, fasthttp.HeaderCacheControl)
	value := "private, no-cache"
	if origin.NoStore {
		value += ", no-store"
	}
	if origin.NoTransform {
		value += ", no-transform"
	}
	h.Set(fasthttp.HeaderCacheControl, value)
	addVary(h, fasthttp.HeaderAcceptEncoding)
}

// delFold deletes headers, of at most 32 names, in any spelling: fasthttp finds names by
// their exact spelling, and origins spell freely.
func delFold(h *fasthttp.ResponseHeader, names ...string) {
	var found uint32 // of names, as they are spelled
	var odd []string
	for key := range h.All() {
		for i, name := range names {
			switch {
			case !equalFold(key, name):
			case string(key) == name:
				found |= 1 << i
			default:
				odd = append(odd, string(key))
			}
		}
	}
	for ; found != 0; found &= found - 1 {
		h.Del(names[bits.TrailingZeros32(found)])
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
	if !x.obtain() {
		return
	}
	x.setStatusHeaders(&x.ctx.Response.Header)
	x.stream()
}

// passOn hands the origin's answer through, byte by byte.
func (x *exchange) passOn() {
	resp := &x.ctx.Response
	html := isHTML(resp.Header.ContentType())
	if !x.concerned && (x.ctx.IsGet() || x.ctx.IsHead()) && (html && !x.kind.page && x.isConcerned() || !html && x.isEdited(resp.Header.ContentType())) {
		// A script or an image tag asked for the page: it sees the origin's own,
		// and may not keep it where a navigation would find it.
		control := cache.ReadControl(&resp.Header)
		x.setPrivate(&resp.Header, &control)
	}
	if html && !x.concerned {
		x.mintOnPass()
	}
	x.setStatusHeaders(&resp.Header)
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
	rules := cache.ReadRules(&cache.Exchange{Received: x.server.now()}, &resp.Header, cache.Override{})
	if x.lookup.found != nil || rules.Shared {
		return
	}
	x.mint()
	if x.minted == "" || rules.Control.Private || rules.Control.NoStore {
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
	if x.lookup.found != nil && x.answerCondition(mapped) {
		return
	}
	from := x.takeSource()
	if from == nil {
		return // no body
	}
	if mapped.of != nil {
		x.streamMapped(from, mapped)
		return
	}
	length := max(-1, resp.Header.ContentLength())
	body := x.server.passed.Get().(*passBody)
	body.taken = from
	if length < 0 && x.ctx.Request.Header.IsHTTP11() {
		body.header = &resp.Header
	}
	x.send(body, length)
}

// answerCondition answers what the client asks about a kept answer: whether its copy
// holds, or for a part. It reports false if the whole is to be sent.
func (x *exchange) answerCondition(mapped mapping) bool {
	resp := &x.ctx.Response
	o := x.lookup.found
	head := x.ctx.IsHead()
	x.unpackFor(mapped)
	length := int64(len(o.Body))
	validators := o.Rules.Validators
	if mapped.of != nil || x.unpacked {
		length = -1
		validators = cache.ReadValidators(&resp.Header, o.Stored)
	}
	if x.private {
		validators = cache.Validators{} // what the client has may be an edited page, under the same date
	}
	reply := x.lookup.request.Evaluate(&validators, head, resp.StatusCode(), length)
	switch reply.Status {
	case fasthttp.StatusNotModified:
		x.from = nil
		x.notModified(resp)
		return true
	case fasthttp.StatusPartialContent:
		x.setContentRange(reply, length)
		resp.SetStatusCode(reply.Status)
		resp.Header.SetContentLength(int(reply.Length))
		x.from = &keptSource{o.Body[reply.First : reply.First+reply.Length]}
		return false
	case fasthttp.StatusRequestedRangeNotSatisfiable:
		x.setContentRange(reply, length)
		resp.SetStatusCode(reply.Status)
		resp.Header.SetContentLength(0)
		x.from = nil
		return true
	}
	if head {
		x.from = nil
		resp.SkipBody = true
		return true
	}
	return false
}

// setContentRange says which part of length bytes the answer is. What the origin sent by
// that name with the whole has no meaning (RFC 9110, 14.4).
func (x *exchange) setContentRange(reply cache.Reply, length int64) {
	h := &x.ctx.Response.Header
	delFold(h, fasthttp.HeaderContentRange)
	x.scratch = reply.AppendContentRange(x.scratch[:0], length)
	h.SetBytesV(fasthttp.HeaderContentRange, x.scratch)
}

// unpackFor makes a kept body that is packed in a way that the client does not read leave
// unpacked: an origin need not say that it answers others otherwise.
func (x *exchange) unpackFor(mapped mapping) {
	resp := &x.ctx.Response
	layers, readable := coding.ParseLayers(resp.Header.ContentEncoding())
	if mapped.of != nil || !readable || !layers.Packed() || x.acceptsAll(layers) {
		return
	}
	body := x.server.unpackAll(layers, x.lookup.found.Body)
	if body == nil {
		return
	}
	x.unpacked = true
	setCoding(&resp.Header, coding.Identity)
	delFold(&resp.Header, ofBytes[:]...)
	weaken(&resp.Header)
	resp.Header.SetContentLength(len(body))
	x.from = &keptSource{body}
}

func (x *exchange) acceptsAll(layers coding.Layers) bool {
	readable := x.accepts().Readable()
	for _, c := range layers {
		if c != coding.Identity && !readable.Has(c) {
			return false
		}
	}
	return true
}

// weaken makes the ETag a weak one, as the bytes are no longer those that it names.
func weaken(h *fasthttp.ResponseHeader) {
	if tag := string(peekFold(h, fasthttp.HeaderETag)); len(tag) > 0 && tag[0] == '"' {
		delFold(h, fasthttp.HeaderETag)
		h.Set(fasthttp.HeaderETag, "W/"+tag)
	}
}

// peekFold returns the first value of a header in any spelling.
func peekFold(h *fasthttp.ResponseHeader, name string) []byte {
	if value := h.Peek(name); len(value) > 0 {
		return value
	}
	for key, value := range h.All() {
		if equalFold(key, name) {
			return value
		}
	}
	return nil
}
