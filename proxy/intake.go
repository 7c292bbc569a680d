package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

const (
	// drainBytes and drainTime bound how much of a body that nobody wanted is read
	// so that the connection can be used again.
	drainBytes = 256 << 10
	drainTime  = time.Second

	// bodyBuffer is as large as any line between chunks.
	bodyBuffer = 16 << 10
)

var (
	errBareLF    = errors.New("a line of the head ends in a bare LF")
	errUnread    = errors.New("the body of the request before was not read to its end")
	continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")
)

// intake parts what a client sends into heads, which fasthttp gets, and bodies,
// which are read here. fasthttp never holds a byte behind a head, so how it reads
// bodies decides nothing: a chunked one is held to the grammar, one that was cut is
// an error, its trailers are kept, a client that asks for leave to send waits for
// the origin's word, and whether a client has left shows at the socket.
type intake struct {
	rest  []byte  // what came and was not asked for yet
	taken int     // of rest
	lent  *[]byte // the buffer of rest, if it is to be given back
	ends  headEnd
	body  clientBody

	raw      syscall.RawConn // of a plain connection, to wait without a buffer
	readable func(fd uintptr) bool
	err      error
	first    [1]byte
}

// take reads what is left over.
func (in *intake) take(p []byte) int {
	n := copy(p, in.rest[in.taken:])
	in.taken += n
	return n
}

// untake gives back the last bytes that were read.
func (in *intake) untake(p []byte) {
	if in.taken >= len(p) {
		in.taken -= len(p) // they came from here
		return
	}
	in.rest, in.taken = append(in.rest[:0], p...), 0
}

// left returns how much is left over. A large buffer is not kept.
func (in *intake) left() int {
	n := len(in.rest) - in.taken
	if n == 0 && cap(in.rest) > bodyBuffer {
		in.rest, in.taken = nil, 0
	}
	return n
}

// headEnd finds the end of a head. It takes bare LF for an end of a line too, as any
// parser might, and notes it.
type headEnd struct {
	text bool // more than one CR has come of the present line
	cr   bool // the last byte of it was CR
	bare bool // a line ended without CR
}

// find returns how many bytes of p belong to the head.
func (e *headEnd) find(p []byte) int {
	for at := 0; ; {
		n := bytes.IndexByte(p[at:], '\n')
		if n < 0 {
			e.add(p[at:])
			return len(p)
		}
		e.add(p[at : at+n])
		at += n + 1
		empty := !e.text
		e.bare = e.bare || !e.cr
		e.text, e.cr = false, false
		if empty {
			return at
		}
	}
}

// add notes a part of a line.
func (e *headEnd) add(part []byte) {
	if n := len(part); n > 0 {
		e.text = e.text || e.cr || n > 1 || part[0] != '\r'
		e.cr = part[n-1] == '\r'
	}
}

// receive reads what is left over, or else what is at the socket, in the time that
// belongs to the phase.
func (c *conn) receive(p []byte, phase uint32) (int, error) {
	if n := c.in.take(p); n > 0 {
		return n, nil
	}
	c.in.release()
	if err := c.armRead(phase); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// readHead reads for fasthttp, up to the end of a head.
func (c *conn) readHead(p []byte, phase uint32) (int, error) {
	n, err := c.receive(p, phase)
	end := c.in.ends.find(p[:n])
	c.in.untake(p[end:n])
	if c.in.ends.bare {
		return 0, errBareLF
	}
	return end, err
}

// begin gives the request the framing that fasthttp was not shown.
func (c *conn) begin(h *fasthttp.RequestHeader, frame framing) {
	h.SetContentLength(int(frame.length))
	b := &c.in.body
	*b = clientBody{conn: c, source: socketReader{c}, chunked: frame.length < 0, ended: frame.length == 0}
	b.left.Store(max(0, frame.length))
	b.expects.Store(frame.expects && frame.length != 0)
}

func (c *conn) body() content { return &c.in.body }

// reusable reports whether what is left of the body is little enough to be drained.
// Of chunks only the end will tell.
func (c *conn) reusable() bool {
	b := &c.in.body
	return !b.expects.Load() && b.left.Load() <= drainBytes
}

// clientBody is the body of a request. Its end is io.EOF only where the client's
// framing says so.
type clientBody struct {
	conn    *conn // nil before the first request
	chunked bool
	ended   bool // to its end
	err     error
	left    atomic.Int64 // of a body whose length is known
	expects atomic.Bool  // the client waits to be told to send

	source socketReader
	br     *bufio.Reader // of a chunked body
	chunks upstream.Chunks
}

// bodyReaders lends out the buffers that chunked bodies are read through.
var bodyReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, bodyBuffer) }}

// socketReader reads a body's bytes.
type socketReader struct{ conn *conn }

func (r *socketReader) Read(p []byte) (int, error) {
	n, err := r.conn.receive(p, r.conn.phase.Load())
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Read reads what has come of the body. The first time, a client that waits for
// leave to send is given it.
func (b *clientBody) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.ended:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	if b.expects.Swap(false) && b.conn.in.left() == 0 {
		if err := b.conn.writeContinue(); err != nil {
			b.err = err
			return 0, err
		}
	}
	n, err := b.read(p)
	switch {
	case err == io.EOF:
		b.ended = true
	case err != nil:
		b.err = err
	}
	if err != nil {
		b.release()
	}
	return n, err
}

func (b *clientBody) read(p []byte) (int, error) {
	if b.chunked {
		if b.br == nil {
			b.br = bodyReaders.Get().(*bufio.Reader)
			b.br.Reset(&b.source)
			b.chunks.Reset(b.br, true)
		}
		return b.chunks.Read(p)
	}
	n, err := b.source.Read(p[:min(int64(len(p)), b.left.Load())])
	if b.left.Add(-int64(n)) == 0 {
		return n, io.EOF
	}
	return n, err
}

// release gives the buffer back, and what it holds of the next request.
func (b *clientBody) release() {
	if b.br == nil {
		return
	}
	next, _ := b.br.Peek(b.br.Buffered())
	b.conn.in.untake(next)
	b.br.Reset(nil)
	bodyReaders.Put(b.br)
	b.br = nil
}

// trailers returns what followed the body, once it has ended.
func (b *clientBody) trailers() []upstream.Trailer { return b.chunks.Trailers() }

// awaited reports whether the client waits to be told to send.
func (b *clientBody) awaited() bool { return b.expects.Load() }

// drain reads what nobody wanted, and reports whether the body came to its end.
func (b *clientBody) drain() bool {
	defer b.release()
	if b.conn == nil || b.ended {
		return true
	}
	if b.err != nil || !b.conn.reusable() {
		return false
	}
	b.conn.headEnds = time.Now().Add(drainTime)
	b.conn.phase.Store(phaseDrain)
	_, err := io.CopyN(io.Discard, b, drainBytes+1)
	return err == io.EOF
}

// writeContinue tells the client to send its body. Once the answer has begun, that
// says it.
func (c *conn) writeContinue() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered {
		return nil
	}
	return c.send(continueLine)
}
