package upstream

import (
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

	readUntil  time.Time // the read deadline that is set; zero if that is not known
	writeUntil time.Time // the write deadline that is set; of whoever writes

	in, out atomic.Int64
}

// Read reads what is there, waiting at most ReadIdle.
func (c *StrictConn) Read(p []byte) (int, error) {
	return c.receive(func() (int, error) { return c.Conn.Read(p) })
}

// receive reads by a function.
func (c *StrictConn) receive(read func() (int, error)) (int, error) {
	n, err := c.patiently(read)
	c.in.Add(int64(n))
	if err == io.EOF && c.InMessage {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *StrictConn) patiently(read func() (int, error)) (int, error) {
	if c.ReadIdle == 0 {
		return read()
	}
	for left := c.ReadIdle; ; left -= goneTime {
		wait := left
		if c.Gone != nil {
			wait = min(left, goneTime)
		}
		if err := c.armRead(wait); err != nil {
			return 0, err
		}
		n, err := read()
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
		if err := c.armWrite(); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(part)
		c.out.Add(int64(n))
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// armRead sets the deadline of a read, unless there is one that leaves nearly as much
// time and no more: to set it costs more than to look at the clock.
func (c *StrictConn) armRead(wait time.Duration) error {
	now := time.Now()
	if left := c.readUntil.Sub(now); left <= wait && left > wait-wait/8 {
		return nil
	}
	return c.setReadUntil(now.Add(wait))
}

// setReadUntil sets the deadline of reads, for the goroutine that reads.
func (c *StrictConn) setReadUntil(t time.Time) error {
	c.readUntil = t
	return c.Conn.SetReadDeadline(t)
}

// armWrite does for a write what armRead does for a read.
func (c *StrictConn) armWrite() error {
	if c.WriteIdle <= 0 {
		return nil
	}
	now := time.Now()
	if c.writeUntil.Sub(now) > c.WriteIdle-c.WriteIdle/8 {
		return nil
	}
	c.writeUntil = now.Add(c.WriteIdle)
	return c.Conn.SetWriteDeadline(c.writeUntil)
}

// disarm takes all deadlines away.
func (c *StrictConn) disarm() error {
	c.readUntil, c.writeUntil = time.Time{}, time.Time{}
	return c.Conn.SetDeadline(time.Time{})
}

// BytesRead returns how many bytes were read so far.
func (c *StrictConn) BytesRead() int64 { return c.in.Load() }

// BytesWritten returns how many bytes were written so far.
func (c *StrictConn) BytesWritten() int64 { return c.out.Load() }

// keptHead is how large a buffer for heads an idle connection may keep.
const keptHead = 8 << 10

// conn is one connection to the origin with what belongs to it.
type conn struct {
	StrictConn
	lease     lease
	pool      *pool
	name      string // the client's host, where the certificate must hold that
	address   string // as it was dialed
	inbox     inbox
	head      []byte // bytes of an answer's head that came in parts
	raw       syscall.RawConn
	look      func(fd uintptr) // into the socket
	peekErr   error
	read      func(fd uintptr) bool // into the inbox
	readN     int
	readErr   error
	fillInbox func() (int, error)
	unsent    []byte // request that leaves when its answer is waited for
	sendErr   error  // of it
	secure    bool
	reused    bool
	idleFrom  time.Time
}

// waits reports whether the connection can wait for an answer without a buffer.
func (c *conn) waits() bool { return c.raw != nil && !c.secure && canReadSocket }

// errStale says that the origin has ended a connection that was idle, or said
// something on it that nobody asked for. Nothing was sent.
var errStale = errors.New("the connection is not quiet")

// ask sends a request that is there as a whole. Where it can be, it is sent while its
// answer is waited for: so the socket is looked at once, and not three times, before
// the answer comes.
func (c *conn) ask(request []byte) error {
	c.sendErr = nil
	if c.waits() {
		c.unsent = request
		return nil
	}
	_, err := c.Write(request)
	return err
}

// send sends what ask has left. It reports false if the answer need not be waited for.
func (c *conn) send(fd uintptr) bool {
	request := c.unsent
	c.unsent = nil
	c.peekSocket(fd)
	quiet := c.peekErr == syscall.EAGAIN
	if c.reused && !quiet {
		c.readN, c.readErr = 0, errStale
		return false
	}
	if _, c.sendErr = c.Write(request); c.sendErr != nil {
		c.readN, c.readErr = 0, c.sendErr
		return false
	}
	return true
}

// readInbox reads once into the inbox. Without a buffer it is waited for the first
// byte before one is borrowed.
func (c *conn) readInbox() (int, error) {
	if c.inbox.lent != nil || !c.waits() {
		return c.Conn.Read(c.inbox.room())
	}
	c.readErr = nil
	if err := c.raw.Read(c.read); err != nil {
		return 0, err
	}
	return c.readN, c.readErr
}

// release gives the connection back to its pool.
func (c *conn) release(reuse bool) { c.pool.release(c, reuse) }

func newConn(nc net.Conn, writeIdle time.Duration) *conn {
	c := &conn{StrictConn: StrictConn{Conn: nc, WriteIdle: writeIdle}}
	c.inbox.conn, c.fillInbox = c, c.readInbox
	if secure, ok := nc.(*tls.Conn); ok {
		c.secure = true
		nc = secure.NetConn()
	}
	if socket, ok := nc.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw = raw
			c.look, c.read = c.peekSocket, c.readSocket
		}
	}
	return c
}

// quiet reports whether an unused connection is still open and the origin has
// sent nothing on it: bytes that no request asked for would be taken for the
// next request's answer.
func (c *conn) quiet() bool {
	if !c.inbox.isEmpty() {
		return false
	}
	if c.secure && !c.quietTLS() {
		return false
	}
	if c.raw == nil {
		return true
	}
	// Unlike Read, Control minds no deadline: the last one is left as it was.
	if err := c.raw.Control(c.look); err != nil {
		return false
	}
	return c.peekErr == syscall.EAGAIN
}

// quietTLS looks for a record that crypto/tls has read but not given out yet: a
// deadline in the past keeps it from waiting for the network.
func (c *conn) quietTLS() bool {
	if c.setReadUntil(time.Unix(1, 0)) != nil {
		return false
	}
	var b [1]byte
	n, err := c.Conn.Read(b[:])
	return n == 0 && isTimeout(err) && c.setReadUntil(time.Time{}) == nil
}

// closeWrite ends our direction only, if the transport can do that.
func closeWrite(nc net.Conn) bool {
	half, ok := nc.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
