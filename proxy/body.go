package proxy

import (
	"io"
	"net"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// flow is a body on its way to a client. It is closed exactly once by fasthttp or
// by the goroutine that carries it, with the error that ended it.
type flow interface {
	fasthttp.BodyWriterTo
	io.Reader
	CloseWithError(err error) error
	attach(f flowTarget)
}

// flowTarget says where a flow writes when it may write by itself: straight to
// the connection, each piece as soon as it is there and in one call. fasthttp's
// own way copies through a buffer of 4 KiB, and sends short bodies only when they
// are complete.
type flowTarget struct {
	server  *Server
	conn    *conn // nil: fasthttp reads the flow
	chunked bool
}

func (t *flowTarget) attach(f flowTarget) { *t = f }

// SupportsBodyWriteTo reports whether the flow writes by itself.
func (t *flowTarget) SupportsBodyWriteTo() bool { return t.conn != nil }

func (t *flowTarget) write(p []byte) error {
	if t.chunked {
		return t.conn.writeChunk(p)
	}
	_, err := t.conn.Write(p)
	return err
}

// ended notes how the answer ended.
func (t *flowTarget) ended(broken bool) {
	t.server.stats.Streams.Add(-1)
	if broken {
		t.server.stats.Broken.Add(1)
		if t.conn != nil {
			t.conn.expect(nil)
			t.conn.spoil()
		}
	}
}

// send makes fasthttp send the body with the answer's head.
func (x *exchange) send(body flow, length int) {
	resp := &x.ctx.Response
	x.server.stats.Streams.Add(1)
	target := flowTarget{server: x.server, conn: x.conn, chunked: length < 0}
	if length < 0 && !x.ctx.Request.Header.IsHTTP11() {
		x.sendUntilClose(body, target)
		return
	}
	body.attach(target)
	resp.SetBodyStream(body, length)
	if x.conn == nil {
		return
	}
	// The head must have left fasthttp's buffer when the body begins. A body that
	// may begin late does not keep it waiting.
	resp.ImmediateHeaderFlush = true
	if _, isPage := body.(*pageBody); isPage || length >= 0 {
		x.conn.join()
	}
}

// sendUntilClose sends a body of unknown length to an HTTP/1.0 client, who knows
// no chunks: the end of the connection is the end of the body, and a reset the
// sign that it broke.
func (x *exchange) sendUntilClose(body flow, target flowTarget) {
	resp := &x.ctx.Response
	resp.ResetBody()
	resp.Header.Del(fasthttp.HeaderTransferEncoding)
	resp.Header.Del(fasthttp.HeaderContentLength)
	resp.Header.SetConnectionClose()
	head := append([]byte(nil), resp.Header.Header()...)
	target.chunked = false
	server, c := x.server, x.conn
	x.ctx.HijackSetNoResponse(true)
	x.ctx.Hijack(func(nc net.Conn) {
		defer server.recoverStream()
		if c == nil {
			_ = body.CloseWithError(io.ErrClosedPipe)
			return
		}
		c.phase.Store(phaseBody) // it is no tunnel
		body.attach(target)
		_, err := c.Write(head)
		if err == nil {
			_, err = body.WriteTo(nil)
		}
		if err != nil {
			c.cut()
		}
		_ = body.CloseWithError(err)
	})
}

func (s *Server) recoverStream() {
	if r := recover(); r != nil {
		s.stats.Panics.Add(1)
		s.log.Error("stream panicked", "panic", r)
	}
}

const copySize = 32 << 10

// copyBuffers lends out buffers for copying.
var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, copySize)
	return &b
}}

// passBody hands the origin's body through as it is.
type passBody struct {
	flowTarget
	taken  *upstream.TakenBody
	header *fasthttp.ResponseHeader // where trailers go; nil for none
	broken bool
}

// Read reads what has come.
func (b *passBody) Read(p []byte) (int, error) {
	n, err := b.taken.Read(p)
	switch {
	case err == io.EOF:
		b.trail()
	case err != nil:
		b.broken = true
	}
	return n, err
}

// trail hands on what followed the body.
func (b *passBody) trail() {
	if b.header == nil {
		return
	}
	for _, t := range b.taken.Trailers() {
		if b.header.AddTrailer(t.Name) == nil {
			b.header.Add(t.Name, t.Value)
		}
	}
}

// WriteTo writes to the connection; w is fasthttp's buffer for it, and not used.
func (b *passBody) WriteTo(io.Writer) (int64, error) {
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	total := int64(0)
	for {
		n, err := b.Read(*buffer)
		if n > 0 {
			if werr := b.write((*buffer)[:n]); werr != nil {
				return total, werr
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// CloseWithError ends the exchange with the origin.
func (b *passBody) CloseWithError(error) error {
	b.ended(b.broken)
	return b.taken.Close()
}
