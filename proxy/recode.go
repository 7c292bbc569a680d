package proxy

import (
	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/coding"
)

// codings say what a body comes packed in and what it leaves in. The zero value leaves it
// as it came.
type codings struct {
	from coding.Layers
	to   coding.Coding
}

// codings returns what becomes of the answer's body if it has to be read, or else that it
// passes as it is. What came unpacked leaves unpacked: the origin had its reasons, or
// nobody asked for more.
func (x *exchange) codings(read bool) codings {
	layers, _ := coding.ParseLayers(x.ctx.Response.Header.ContentEncoding())
	if !read || !layers.Packed() {
		return codings{}
	}
	return codings{layers, x.accepts().Best(coding.Live)}
}

// accepts returns which codings the client reads.
func (x *exchange) accepts() *coding.Accepts {
	if !x.acceptsOK {
		x.acceptsOK = true
		for i := range x.fields {
			if f := &x.fields[i]; equalFold(f.name, fasthttp.HeaderAcceptEncoding) {
				x.accepted.Add(f.value)
			}
		}
	}
	return &x.accepted
}

// setCoding says what a body is packed in.
func setCoding(h *fasthttp.ResponseHeader, c coding.Coding) {
	if c == coding.Identity {
		h.Del(fasthttp.HeaderContentEncoding)
		return
	}
	h.SetContentEncoding(c.String())
}

// headOnly makes the head of an answer to HEAD fit for a body whose length is not known
// before it is made; with recoded, one that is made in a coding of our choice.
func (x *exchange) headOnly(recoded bool) {
	h := &x.ctx.Response.Header
	h.Del(fasthttp.HeaderContentLength)
	if c := x.codings(recoded); c.from.Packed() {
		setCoding(h, c.to)
	}
}
