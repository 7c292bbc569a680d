package proxy

import (
	"context"
	"io"
	"net/netip"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// downstream is the visitor's end of a request: what the handler needs of it
// besides the request and the answer. HTTP/1.1 ([conn]) and HTTP/2 implement it,
// each as the Conn of the request's context, and one contract suite runs over both.
//
// Upgrades are not part of it: HTTP/1.1 hands its connection over by fasthttp's
// Hijack, and a request for one cannot come over HTTP/2.
type downstream interface {
	// from returns the other end of the connection, and whether it may speak for others.
	from() (peer netip.Addr, trusted bool)

	// secure reports whether the client came over TLS.
	secure() bool

	// via is what the Via header calls the protocol that the request came by.
	via() string

	// inform sends a 1xx answer at once, ahead of the final one. It does nothing
	// for a client who would not understand it.
	inform(status int, header *fasthttp.ResponseHeader)

	// begin tells how the request is framed, as its checked head says, before
	// anything of its body is asked for.
	begin(h *fasthttp.RequestHeader, frame framing)

	// body returns the request's body. There is one if begin was told so.
	body() content

	// reusable reports whether the connection can serve another request although
	// this one's body may not have been read to its end.
	reusable() bool

	// gone reports whether the client has left, as far as that shows. It is asked
	// only while nothing reads a body.
	gone() bool

	// context ends when the client leaves; nil where gone must be asked.
	context() context.Context

	// unhurry lets the client be silent in its body for as long as it likes. It is for
	// calls, whose silence the upstream bounds, in both directions together.
	unhurry()

	// interrupt makes a read of the request body return, now and later.
	interrupt()

	// expect makes d learn what is sent of the answer from now on, nil nobody.
	expect(d *delivery)

	// owe makes the downstream end r with the answer that is sent from now on.
	owe(r *receipt)

	// spoil tells that the origin broke off the answer.
	spoil()

	// join tells that the answer's body is there, so that it leaves with its head.
	join()

	// carry makes body the answer's. Its length is -1 when only its end will tell.
	carry(ctx *fasthttp.RequestCtx, body flow, length int)

	// write sends a part of the body that is carried; chunked says that it has no
	// known length. When it returns, the part has left.
	write(p []byte, chunked bool) error

	// writeAll sends a body of known length that is there, in several parts.
	writeAll(parts [][]byte) error
}

// content is the body of a request. Read ends with io.EOF only where the body does.
type content interface {
	io.Reader

	// trailers returns what followed the body, once that has ended.
	trailers() []upstream.Trailer

	// awaited reports whether the client waits to be told to send the body. The
	// first Read tells it.
	awaited() bool
}
