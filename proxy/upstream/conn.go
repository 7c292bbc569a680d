package upstream

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// goneTime is how often a client who waits is looked for.
const goneTime = time.Second

var errGone = errors.New("the client left before the answer was complete")

// StrictConn limits the idle time of each read and write instead of the whole
// message, tells the end of a connection in the middle of a message from its end
// between messages, and counts bytes. One goroutine may read while another writes.
type StrictConn struct {
	net.Conn

	// ReadIdle bounds each Read; 0 leaves the read deadline as it is set.
	ReadIdle time.Duration
	// WriteIdle bounds each Write; 0 leaves the write deadline as it is set.
	WriteIdle time.Duration
	// InMessage makes an end of the stream an io.ErrUnexpectedEOF.
	// It belongs to the reading goroutine, as ReadIdle does.
	InMessage bool
	// Gone, if set, is asked each second of ReadIdle whether nobody wants any more
	// what is waited for.
	Gone func() bool

	in, out atomic.Int64
}

// Read reads what is there, waiting at most ReadIdle.
func (c *StrictConn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	c.in.Add(int64(n))
	if err == io.EOF && c.InMessage {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *StrictConn) read(p []byte) (int, error) {
	if c.ReadIdle == 0 {
		return c.Conn.Read(p)
	}
	for left := c.ReadIdle; ; left -= goneTime {
		wait := left
		if c.Gone != nil {
			wait = min(left, goneTime)
		}
		if err := c.Conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
		switch {
		case n > 0 || wait == left || !isTimeout(err):
			return n, err
		case c.Gone():
			return 0, &Error{Op: "read answer", Kind: Client, Err: errGone}
		}
	}
}

// Write writes p in pieces, so that a slow but living reader is not taken for a
// dead one: WriteIdle counts anew for each piece.
func (c *StrictConn) Write(p []byte) (int, error) {
	const piece = 256 << 10
	written := 0
	for {
		part := p[written:min(len(p), written+piece)]
		if c.WriteIdle > 0 {
			if err := c.Conn.SetWriteDeadline(time.Now().Add(c.WriteIdle)); err != nil {
				return written, err
			}
		}
		n, err := c.Conn.Write(part)
		c.out.Add(int64(n))
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// BytesRead returns how many bytes were read so far.
func (c *StrictConn) BytesRead() int64 { return c.in.Load() }

// BytesWritten returns how many bytes were written so far.
func (c *StrictConn) BytesWritten() int64 { return c.out.Load() }

const readBufferSize = 8 << 10

// conn is one connection to the origin with what belongs to it.
type conn struct {
	StrictConn
	lease    lease
	pool     *pool
	name     string // the client's host, where the certificate must hold that
	address  string // as it was dialed
	br       *bufio.Reader
	head     []byte // bytes of the answer's head as received
	raw      syscall.RawConn
	peek     func(fd uintptr) bool
	peekErr  error
	secure   bool
	reused   bool
	idleFrom time.Time
}

// release gives the connection back to its pool.
func (c *conn) release(reuse bool) { c.pool.release(c, reuse) }

func newConn(nc net.Conn, writeIdle time.Duration) *conn {
	c := &conn{StrictConn: StrictConn{Conn: nc, WriteIdle: writeIdle}}
	c.br = bufio.NewReaderSize(&c.StrictConn, readBufferSize)
	if secure, ok := nc.(*tls.Conn); ok {
		c.secure = true
		nc = secure.NetConn()
	}
	if socket, ok := nc.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw = raw
			c.peek = c.peekSocket
		}
	}
	return c
}

// quiet reports whether an unused connection is still open and the origin has
// sent nothing on it: bytes that no request asked for would be taken for the
// next request's answer.
func (c *conn) quiet() bool {
	if c.br.Buffered() > 0 {
		return false
	}
	if c.secure && !c.quietTLS() {
		return false
	}
	if c.raw == nil {
		return true
	}
	c.peekErr = nil
	if err := c.raw.Read(c.peek); err != nil {
		return false
	}
	return c.peekErr == syscall.EAGAIN
}

// quietTLS looks for a record that crypto/tls has read but not given out yet: a
// deadline in the past keeps it from waiting for the network.
func (c *conn) quietTLS() bool {
	if c.Conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	var b [1]byte
	n, err := c.Conn.Read(b[:])
	return n == 0 && isTimeout(err) && c.Conn.SetReadDeadline(time.Time{}) == nil
}

// closeWrite ends our direction only, if the transport can do that.
func closeWrite(nc net.Conn) bool {
	half, ok := nc.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
