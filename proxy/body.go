package proxy

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/valyala/fasthttp"
)

var errNotRead = errors.New("BUG: a body on its way is written, not read")

// flow is a body on its way to a client. It writes by itself, straight to the
// client and each piece as soon as it is there: fasthttp's own way copies through a
// buffer of 4 KiB, and sends short bodies only when they are complete. It is closed
// exactly once, by whoever carries it, with the error that ended it.
type flow interface {
	fasthttp.BodyWriterTo
	io.Reader // as fasthttp wants it; nobody reads
	CloseWithError(err error) error
	attach(f flowTarget)
}

// flowTarget says where a flow writes.
type flowTarget struct {
	server  *Server
	down    downstream
	chunked bool
}

func (t *flowTarget) attach(f flowTarget) { *t = f }

// SupportsBodyWriteTo makes fasthttp leave the writing to the flow.
func (t *flowTarget) SupportsBodyWriteTo() bool { return true }

func (t *flowTarget) Read([]byte) (int, error) { return 0, errNotRead }

func (t *flowTarget) write(p []byte) error { return t.down.write(p, t.chunked) }

// ended notes how the answer ended.
func (t *flowTarget) ended(broken bool) {
	t.server.stats.Streams.Add(-1)
	if broken {
		t.server.stats.Broken.Add(1)
		t.down.expect(nil)
		t.down.spoil()
	}
}

// send makes the body go out behind the answer's head.
func (x *exchange) send(body flow, length int) {
	x.server.stats.Streams.Add(1)
	body.attach(flowTarget{server: x.server, down: x.down, chunked: length < 0})
	x.down.carry(x.ctx, body, length)
}

func (s *Server) recoverStream() {
	if r := recover(); r != nil {
		s.notePanic("a stream", r)
	}
}

// notePanic counts and logs a panic, from where it is recovered.
func (s *Server) notePanic(what string, p any, details ...any) {
	s.stats.Panics.Add(1)
	s.log.Error(what+" panicked", append(details, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))...)
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
	taken  source
	header *fasthttp.ResponseHeader // where trailers go; nil for none
	broken bool
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

// WriteTo writes to the client; fasthttp's buffer for it is not used.
func (b *passBody) WriteTo(io.Writer) (total int64, err error) {
	defer func() {
		if r := recover(); r != nil { // nobody else would: it would end the process
			b.server.notePanic("passing a body on", r)
			b.broken, err = true, errPanic
		}
	}()
	for {
		part, err := b.taken.Next()
		if len(part) > 0 {
			if werr := b.write(part); werr != nil {
				return total, werr
			}
			total += int64(len(part))
		}
		switch {
		case err == io.EOF:
			b.trail()
			return total, nil
		case err != nil:
			b.broken = true
			return total, err
		}
	}
}

// CloseWithError ends the exchange with the origin.
func (b *passBody) CloseWithError(error) error {
	b.ended(b.broken)
	s, taken := b.server, b.taken
	*b = passBody{}
	s.passed.Put(b)
	return taken.Close()
}
