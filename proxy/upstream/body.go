package upstream

import (
	"bufio"
	"errors"
	"io"

	"github.com/valyala/fasthttp"
)

const (
	// maxTrailers bounds the bytes of a trailer section.
	maxTrailers = 16 << 10
	// maxChunkLine bounds a chunk's size line with its extensions.
	maxChunkLine = 1 << 10
)

var errBodyClosed = errors.New("the body is closed")

type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
)

// Body is the stream of an answer's body. Read ends with io.EOF only where the
// origin's body ends; a break is an [*Error] that is io.ErrUnexpectedEOF or tells
// of the timeout. Close must be called, also after an error; it may be called
// again. A Body is for one goroutine at a time.
type Body struct {
	exchange exchange
	conn     *conn // nil after the end
	err      error // what Read returns after the end

	framing  framing
	reusable bool  // by the head of the answer
	left     int64 // of the body, or of the current chunk
	inChunk  bool  // a chunk was begun: its CRLF is still to be read

	header   *fasthttp.ResponseHeader // where trailers go; nil after Take
	trailers []Trailer
	taken    bool
}

// Trailer is a header that came after the body.
type Trailer struct{ Name, Value string }

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

// Close ends the exchange.
func (b *TakenBody) Close() error { return (*Body)(b).finish(errBodyClosed) }

// Framed reports whether the body says itself where it ends, so that one that was
// cut cannot pass for a whole one.
func (b *TakenBody) Framed() bool { return b.framing != byClose }

// Trailers returns what followed the body, once Read has returned io.EOF.
func (b *TakenBody) Trailers() []Trailer { return b.trailers }

// Trailers returns what followed the body, once Read has returned io.EOF.
func (b *Body) Trailers() []Trailer { return b.trailers }

// Read reads what has come, waiting for at least one byte.
func (b *Body) Read(p []byte) (int, error) {
	if b.conn == nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.read(p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		err = fail("read answer body", err)
	}
	b.finish(err)
	return n, err
}

func (b *Body) read(p []byte) (int, error) {
	switch b.framing {
	case byLength:
		n, err := b.conn.br.Read(p[:min(int64(len(p)), b.left)])
		if b.left -= int64(n); b.left == 0 {
			return n, io.EOF
		}
		return n, err
	case byClose:
		return b.conn.br.Read(p)
	}
	return b.readChunks(p)
}

// readChunks fills p from as many chunks as have already come, and waits only
// for the first byte.
func (b *Body) readChunks(p []byte) (int, error) {
	filled := 0
	for {
		if b.left == 0 {
			if filled > 0 && !lineBuffered(b.conn.br, b.inChunk) {
				return filled, nil
			}
			if err := b.nextChunk(); err != nil {
				return filled, err
			}
		}
		n, err := b.conn.br.Read(p[filled:min(int64(len(p)), int64(filled)+b.left)])
		filled += n
		b.left -= int64(n)
		if err != nil || filled == len(p) || b.left > 0 {
			return filled, err
		}
	}
}

// lineBuffered reports whether the next chunk's size line can be read without
// waiting.
func lineBuffered(br *bufio.Reader, afterChunk bool) bool {
	buffered, _ := br.Peek(min(br.Buffered(), 32))
	if afterChunk {
		if len(buffered) < 2 {
			return false
		}
		buffered = buffered[2:]
	}
	for i, c := range buffered {
		if c == '\n' {
			// The last chunk is left to a Read of its own: its trailers may wait.
			return buffered[0] != '0' && i+1 < len(buffered)
		}
	}
	return false
}

// nextChunk reads up to the next chunk's data. After the last chunk and its
// trailers it returns io.EOF.
func (b *Body) nextChunk() error {
	br := b.conn.br
	if b.inChunk {
		if err := expectCRLF(br); err != nil {
			return err
		}
		b.inChunk = false
	}
	line, err := readLine(br, maxChunkLine)
	if err != nil {
		return err
	}
	size, ok := parseChunkSize(line)
	if !ok {
		return errMalformed("a chunk has no valid size")
	}
	if size == 0 {
		return b.readTrailers()
	}
	b.left, b.inChunk = size, true
	return nil
}

func expectCRLF(br *bufio.Reader) error {
	for _, want := range []byte("\r\n") {
		c, err := br.ReadByte()
		if err != nil {
			return err
		}
		if c != want {
			return errMalformed("a chunk does not end where its size says")
		}
	}
	return nil
}

// readLine returns a line without its CRLF, valid until the next read.
func readLine(br *bufio.Reader, limit int) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if err == bufio.ErrBufferFull || err == nil && len(line) > limit {
		return nil, errMalformed("a line between chunks is too long")
	}
	if err != nil {
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, errMalformed("a line between chunks does not end in CRLF")
	}
	return line[:len(line)-2], nil
}

// parseChunkSize reads the hexadecimal size before any extension.
func parseChunkSize(line []byte) (int64, bool) {
	size, digits := int64(0), 0
	for i, c := range line {
		var digit byte
		switch {
		case c >= '0' && c <= '9':
			digit = c - '0'
		case c >= 'a' && c <= 'f':
			digit = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			digit = c - 'A' + 10
		default:
			rest := trimSpace(line[i:])
			return size, digits > 0 && (len(rest) == 0 || rest[0] == ';') && validValue(rest)
		}
		if digits++; digits > 15 {
			return 0, false
		}
		size = size<<4 | int64(digit)
	}
	return size, digits > 0
}

// readTrailers reads the trailer section and returns io.EOF at its end.
func (b *Body) readTrailers() error {
	for total := 0; ; {
		line, err := readLine(b.conn.br, maxTrailers)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		if total += len(line); total > maxTrailers {
			return errMalformed("the trailers are too large")
		}
		name, value, err := splitField(line)
		if err != nil {
			return err
		}
		b.keepTrailer(name, value)
	}
}

// keepTrailer puts a trailer where fasthttp writes it from. Names that must not
// be trailers are left out by fasthttp.
func (b *Body) keepTrailer(name, value []byte) {
	b.trailers = append(b.trailers, Trailer{Name: string(name), Value: string(value)})
	if b.header != nil && b.header.AddTrailerBytes(name) == nil {
		b.header.AddBytesKV(name, value)
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
	if b.conn == nil {
		return nil
	}
	c := b.conn
	b.conn, b.err, b.header = nil, cause, nil
	if e, ok := cause.(*Error); ok {
		e.Server = c.pool.origin.address
		b.exchange.server.errors[e.Kind].Add(1)
	}
	b.exchange.end(c, cause == io.EOF && b.reusable)
	return nil
}
