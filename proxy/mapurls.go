package proxy

import (
	"bytes"
	"io"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/rewrite"
)

// readableCoding is what the origin is asked for when its page is to be read.
func (x *exchange) readableCoding() string {
	if x.acceptsGzip() {
		return "gzip"
	}
	return "identity"
}

// asksForMapped reports whether a page in which URLs are mapped is asked for.
func (x *exchange) asksForMapped() bool {
	return x.route.upstream.MapsURLs() && (x.ctx.IsGet() || x.ctx.IsHead()) &&
		(x.kind.explicit || bytes.Contains(x.header("Accept"), []byte("text/html")))
}

// mapsURLs reports whether the answer is a page whose URLs are mapped.
func (x *exchange) mapsURLs() bool {
	if !x.route.upstream.MapsURLs() || x.host == "" {
		return false
	}
	h := &x.ctx.Response.Header
	if !isHTML(h.ContentType()) || h.StatusCode() == fasthttp.StatusPartialContent || !rewrite.EditableBody(string(h.ContentType())) {
		return false
	}
	if cc := parseCacheControl(h); cc.noTransform {
		return false
	}
	return len(h.ContentEncoding()) == 0 || equalFold(h.ContentEncoding(), "identity") || isGzip(h.ContentEncoding())
}

func isGzip(coding []byte) bool { return equalFold(coding, "gzip") || equalFold(coding, "x-gzip") }

func (x *exchange) urlMapper() func(io.Reader) io.Reader {
	up, scheme, host := x.route.upstream, x.scheme, x.host
	return func(from io.Reader) io.Reader { return up.MapURLs(from, scheme, host) }
}

// passMapped hands a page through that is not edited, with its URLs mapped.
func (x *exchange) passMapped() {
	resp := &x.ctx.Response
	h := &resp.Header
	// They describe the origin's bytes. A validator holds on, as a weak one: the same
	// page makes the same answer.
	delFold(h, fasthttp.HeaderAcceptRanges, "Content-MD5", "Digest", "Content-Digest", "Repr-Digest")
	if etag := h.Peek(fasthttp.HeaderETag); len(etag) > 0 && !bytes.HasPrefix(etag, []byte("W/")) {
		h.Set(fasthttp.HeaderETag, "W/"+string(etag))
	}
	addVary(h, fasthttp.HeaderAcceptEncoding)
	origin, ok := resp.BodyStream().(*upstream.Body)
	if !ok {
		if x.ctx.IsHead() {
			h.Del(fasthttp.HeaderContentLength)
		}
		return
	}
	page := x.server.pages.Get().(*pageBody)
	page.taken = origin.Take()
	page.arrived.from = page.taken
	page.mapURLs = x.urlMapper()
	x.run(page, nil, isGzip(h.ContentEncoding()))
	if page.unpack && !page.pack {
		delFold(h, fasthttp.HeaderContentEncoding)
	}
	x.send(page, page.length())
}
