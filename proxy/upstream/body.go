package upstream

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

var errBodyClosed = errors.New("the body is closed")

type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
	byStream // of HTTP/2
)

// Body is the stream of an answer's body. Read ends with io.EOF only where the
// origin's body ends; a break is an [*Error] that is io.ErrUnexpectedEOF or tells
// of the timeout. Close must be called, also after an error; it may be called
// again. A Body is for one goroutine at a time.
type Body struct {
	exchange exchange
	conn     *conn   // over HTTP/1.1
	stream   *stream // over HTTP/2
	err      error   // what Read returns after the end; nil before

	framing  framing
	reusable bool  // by the head of the answer
	left     int64 // of a body whose length is known
	chunks   Chunks
	read     int          // bytes, up to largeAnswer
	handed   atomic.Int64 // when the client was given the last of a large one, Unix nanoseconds; 0: it waits for more

	lent *[]byte // what Next and Whole have given lies in it; nil: in the inbox, or nowhere

	header *fasthttp.ResponseHeader // where trailers go; nil after Take
	taken  bool
}

// Take returns the body for use apart from the Response that Do put it into:
// closing or resetting that Response then leaves it alone. fasthttp closes the old
// stream in SetBodyStream, so a stream that wraps this one needs Take first.
func (b *Body) Take() *TakenBody {
	b.taken, b.header = true, nil
	return (*TakenBody)(b)
}

// TakenBody is a [Body] that no longer belongs to a Response.
type TakenBody Body

// Read reads as [Body.Read] does.
func (b *TakenBody) Read(p []byte) (int, error) { return (*Body)(b).Read(p) }

// Next returns what has come of the body, waiting for at least one byte, without
// copying it where it can. Like Read it may return the last of it with io.EOF. What
// it returns is valid until the next call of any method.
func (b *TakenBody) Next() ([]byte, error) { return (*Body)(b).next() }

// Whole returns the rest of the body, valid until Close, if all of it is there
// already and has a known length; the exchange is then over. Otherwise it returns nil.
func (b *TakenBody) Whole() []byte {
	if b.err != nil || b.framing != byLength || int64(b.conn.inbox.Buffered()) < b.left {
		return nil
	}
	part, _ := (*Body)(b).next()
	return part
}

// Close ends the exchange.
func (b *TakenBody) Close() error {
	err := (*Body)(b).finish(errBodyClosed)
	(*Body)(b).drop()
	return err
}

// Framed reports whether the body says itself where it ends, so that one that was
// cut cannot pass for a whole one.
func (b *TakenBody) Framed() bool { return b.framing != byClose }

// Trailers returns what followed the body, once Read has returned io.EOF.
func (b *TakenBody) Trailers() []Trailer { return (*Body)(b).Trailers() }

// Trailers returns what followed the body, once Read has returned io.EOF.
func (b *Body) Trailers() []Trailer {
	if b.stream != nil {
		return b.stream.trailers
	}
	return b.chunks.trailers
}

// Read reads what has come, waiting for at least one byte.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.read >= largeAnswer {
		b.handed.Store(0)
	}
	n, err := b.receive(p)
	if err == nil {
		b.hand(n)
		return n, nil
	}
	if err == io.EOF {
		b.keepTrailers()
	} else {
		err = fail("read answer body", err)
	}
	b.finish(err)
	return n, err
}

// next is the Next of TakenBody.
func (b *Body) next() ([]byte, error) {
	b.drop()
	if b.err != nil {
		return nil, b.err
	}
	if b.read >= largeAnswer {
		b.handed.Store(0)
	}
	part, err := b.receivePart()
	if err == nil {
		b.hand(len(part))
		return part, nil
	}
	if err == io.EOF {
		b.keepTrailers()
		if b.conn != nil && b.lent == nil {
			b.reusable = b.reusable && b.conn.inbox.isEmpty()
			b.lent = b.conn.inbox.detach() // the part lies in it
		}
	} else {
		err = fail("read answer body", err)
	}
	b.finish(err)
	return part, err
}

// receivePart reads a part. Over HTTP/1.1 that lies in the inbox.
func (b *Body) receivePart() ([]byte, error) {
	if b.framing == byStream {
		b.lent = copyBuffers.Get().(*[]byte)
		n, err := b.receive(*b.lent)
		return (*b.lent)[:n], err
	}
	in := &b.conn.inbox
	if in.Buffered() == 0 {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	switch b.framing {
	case byLength:
		part := in.take(int(min(int64(in.Buffered()), b.left)))
		if b.left -= int64(len(part)); b.left == 0 {
			return part, io.EOF
		}
		return part, nil
	case byClose:
		return in.take(in.Buffered()), nil
	}
	return b.chunks.part(in)
}

// drop gives back what Next has given.
func (b *Body) drop() {
	giveBack(b.lent)
	b.lent = nil
}

// hand notes that the client has something to take.
func (b *Body) hand(n int) {
	if b.read < largeAnswer {
		if b.read += n; b.read < largeAnswer {
			return
		}
		b.lease().pool.answers.add(b)
	}
	b.handed.Store(time.Now().UnixNano())
}

// lease is valid until the end of the body.
func (b *Body) lease() *lease {
	if b.stream != nil {
		return &b.stream.lease
	}
	return &b.conn.lease
}

func (b *Body) receive(p []byte) (int, error) {
	switch b.framing {
	case byLength:
		n, err := b.conn.inbox.Read(p[:min(int64(len(p)), b.left)])
		if b.left -= int64(n); b.left == 0 {
			return n, io.EOF
		}
		return n, err
	case byClose:
		return b.conn.inbox.Read(p)
	case byStream:
		return b.stream.read(p)
	}
	return b.chunks.Read(p)
}

// keepTrailers puts the trailers where fasthttp writes them from. Names that must
// not be trailers are left out by fasthttp.
func (b *Body) keepTrailers() {
	if b.header == nil {
		return
	}
	for _, t := range b.Trailers() {
		if b.header.AddTrailer(t.Name) == nil {
			b.header.Add(t.Name, t.Value)
		}
	}
}

// Close ends the exchange. Before the end of the body this closes the connection.
// After [Body.Take] it does nothing.
func (b *Body) Close() error {
	if b.taken {
		return nil
	}
	return b.finish(errBodyClosed)
}

// finish gives the connection back, for use again only if the body came to its
// end and so did the request.
func (b *Body) finish(cause error) error {
	if b.err != nil {
		return nil
	}
	if b.read >= largeAnswer {
		b.lease().pool.answers.remove(b)
	}
	c := b.conn
	b.conn, b.err, b.header = nil, cause, nil
	if e, ok := cause.(*Error); ok {
		e.Server = b.exchange.server.origin.address
		b.exchange.server.errors[e.Kind].Add(1)
	}
	if b.stream != nil {
		b.stream.end()
		return nil
	}
	b.exchange.end(c, cause == io.EOF && b.reusable)
	return nil
}
