package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// What a client's connection is being read for.
const (
	phaseIdle   uint32 = iota // the first byte of a request
	phaseHead                 // the rest of its head
	phaseBody                 // its body
	phaseDrain                // what nobody wanted of its body
	phaseTunnel               // whatever an upgraded connection carries
)

const (
	// lingerTime and lingerBytes bound how long a connection that is closed with
	// unread input is still read: closing at once would reset it, and the client
	// would lose the answer that tells why.
	// A client in the middle of an upload needs a round trip to notice.
	lingerTime  = time.Second
	lingerBytes = 128 << 20 // on a fast network a client sends that before it looks up

	// writePiece is how much may be written under one idle limit.
	writePiece = 256 << 10
)

// conn is the server's side of a client's connection. It sets deadlines per read
// and per write in the place of fasthttp's per message, tells an end of the
// stream in the middle of a message from one between messages, joins the head and
// the body of a buffered answer into one write, and knows what was really sent.
type conn struct {
	net.Conn
	place  *place
	out    net.Conn  // where to write: the socket, or TLS over it
	tls    *tls.Conn // nil: plain
	server *Server

	phase       atomic.Uint32
	interrupted atomic.Bool
	closed      atomic.Bool

	in       intake
	goneFunc func() bool

	peer    netip.Addr
	trusted bool // the peer may speak for others

	// Of the goroutine that reads.
	fresh     bool      // no request has come yet
	refused   bool      // the request is one too many
	headEnds  time.Time // deadline of the head that is being read, zero if none was needed yet
	readUntil time.Time // deadline that is set

	mu         sync.Mutex // what follows; a shutdown may close from elsewhere
	writeUntil time.Time
	reset      bool   // close with RST: the answer has no other sign of being cut
	failed     bool   // a write failed
	answered   bool   // a byte of the answer was written to a client who may still be sending
	hold       bool   // keep the next write until the one after it
	drop       bool   // the next write is a head in the place of which the body brings its own
	held       []byte // what is kept
	vector     [][]byte
	buffers    net.Buffers
	delivery   *delivery
	receipt    *receipt // of the answer under way
}

var (
	// errInterrupted ends a read of a request body that nobody needs any more.
	errInterrupted = errors.New("the request was answered before its body ended")

	crlf = []byte("\r\n")
)

// newConn makes the server's side of nc, which reads from the place's socket.
func newConn(nc net.Conn, p *place, s *Server) *conn {
	c := &conn{Conn: nc, place: p, out: p.raw, server: s, fresh: true}
	if c.tls, _ = nc.(*tls.Conn); c.tls != nil {
		c.out = nc
	}
	c.goneFunc = c.gone
	c.peer, c.trusted = s.peerOf(nc)
	p.phase.Store(&c.phase)
	c.watchSocket()
	return c
}

// Read reads heads for fasthttp with the deadline that belongs to the phase, and
// whatever comes over a tunnel.
func (c *conn) Read(p []byte) (int, error) {
	phase := c.phase.Load()
	switch phase {
	case phaseTunnel:
		if n := c.in.take(p); n > 0 {
			return n, nil
		}
		return c.Conn.Read(p)
	case phaseBody, phaseDrain:
		return 0, errUnread
	}
	if phase == phaseIdle {
		if err := c.gather(); err != nil {
			return 0, err
		}
		phase = phaseHead
	}
	n, err := c.readHead(p, phase)
	if err == io.EOF && phase != phaseIdle {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *conn) armRead(phase uint32) error {
	until := c.readUntil
	switch {
	case phase == phaseHead, phase == phaseDrain:
		if c.headEnds.IsZero() { // most heads come at once, and need none
			c.headEnds = time.Now().Add(c.server.cfg.HeaderTimeout)
		}
		until = c.headEnds
	case phase == phaseBody:
		until = extend(until, c.server.cfg.IdleTimeout)
	case c.fresh:
		until = extend(until, c.server.cfg.HeaderTimeout)
	default:
		until = extend(until, c.server.cfg.KeepAlive)
	}
	if !until.Equal(c.readUntil) {
		c.readUntil = until
		if err := c.Conn.SetReadDeadline(until); err != nil {
			return err
		}
	}
	// After the deadline is set, so that an interrupt is not undone by it.
	if c.interrupted.Load() {
		return errInterrupted
	}
	return nil
}

// extend returns a deadline limit from now, or the present one if it is nearly
// that: setting a deadline costs more than looking at the clock.
func extend(present time.Time, limit time.Duration) time.Time {
	want := time.Now().Add(limit)
	if slack := want.Sub(present); slack >= 0 && slack < limit/8 {
		return present
	}
	return want
}

// SetReadDeadline is, before a tunnel, how fasthttp tells that a head is complete:
// the server sets no other read limit than that of its HeaderReceived callback.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.phase.Load() == phaseTunnel {
		return c.Conn.SetReadDeadline(t)
	}
	if !t.IsZero() {
		c.phase.Store(phaseBody)
	}
	return nil
}

// SetDeadline is how fasthttp hands a connection over to a tunnel.
func (c *conn) SetDeadline(t time.Time) error {
	c.phase.Store(phaseTunnel)
	return c.Conn.SetDeadline(t)
}

// CloseWrite ends our direction of a tunnel, if the transport can do that.
func (c *conn) CloseWrite() error {
	if half, ok := c.out.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// idle tells that an answer is complete and the next request may come.
func (c *conn) idle() {
	if c.phase.Load() == phaseTunnel {
		return
	}
	c.mu.Lock()
	_ = c.flush() // an error shows at the next read
	c.settle()
	r := c.takeReceipt()
	c.mu.Unlock()
	r.settle()
	if c.in.body.drain() { // else the next read says so
		c.mu.Lock()
		c.answered = false
		c.mu.Unlock()
		c.phase.Store(phaseIdle)
	}
}

// interrupt makes a read of the request body return, now and later.
func (c *conn) interrupt() {
	c.interrupted.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// join tells that the next answer is written as a head and a body, which are to
// leave as one.
func (c *conn) join() {
	c.mu.Lock()
	c.hold = true
	c.mu.Unlock()
}

func (c *conn) from() (peer netip.Addr, trusted bool) { return c.peer, c.trusted }

func (c *conn) secure() bool { return c.tls != nil }

func (c *conn) via() string { return "1.1 sedge" }

func (c *conn) context() context.Context { return nil }

func (c *conn) unhurry() {} // calls come over HTTP/2 alone

// inform sends a 1xx answer. fasthttp holds no answer back that it could overtake,
// since it never sees a request before it has asked for it.
func (c *conn) inform(status int, header *fasthttp.ResponseHeader) {
	head := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", status, fasthttp.StatusMessage(status))
	for name, value := range header.All() {
		head = append(append(append(append(head, name...), ": "...), value...), crlf...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.send(append(head, crlf...)) // an error shows at the final answer
}

// carry lets fasthttp send the body with the answer's head.
func (c *conn) carry(ctx *fasthttp.RequestCtx, body flow, length int) {
	if length < 0 && !ctx.Request.Header.IsHTTP11() {
		c.carryToEnd(ctx, body)
		return
	}
	ctx.Response.SetBodyStream(body, length)
	// The head must have left fasthttp's buffer when the body begins. A body that
	// may begin late does not keep it waiting.
	ctx.Response.ImmediateHeaderFlush = true
	if made, ok := body.(*madeBody); ok && len(made.head) > 0 {
		c.mu.Lock()
		c.drop = true
		c.mu.Unlock()
		return
	}
	if _, isPage := body.(*pageBody); isPage || length >= 0 {
		c.join()
	}
}

// undrop makes the next head leave after all: the body that brings its own has not left, and
// another answer takes its place.
func (c *conn) undrop() {
	c.mu.Lock()
	c.drop = false
	c.mu.Unlock()
}

// carryToEnd sends a body of unknown length to an HTTP/1.0 client, who knows no
// chunks: the end of the connection is the end of the body, and a reset the sign
// that it broke.
func (c *conn) carryToEnd(ctx *fasthttp.RequestCtx, body flow) {
	resp := &ctx.Response
	resp.ResetBody()
	resp.Header.Del(fasthttp.HeaderTransferEncoding)
	resp.Header.Del(fasthttp.HeaderContentLength)
	resp.Header.SetConnectionClose()
	head := append([]byte(nil), resp.Header.Header()...)
	body.attach(flowTarget{server: c.server, down: c})
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(net.Conn) {
		defer c.server.recoverStream()
		c.phase.Store(phaseBody) // it is no tunnel
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

// cut makes the connection close with a reset.
func (c *conn) cut() {
	c.mu.Lock()
	c.reset = true
	c.mu.Unlock()
}

// Write sends p, or keeps it to be sent with what follows.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = true
	switch {
	case c.drop:
		c.drop = false
		return len(p), nil
	case c.hold:
		c.hold = false
		c.held = append(c.held[:0], p...)
		return len(p), nil
	}
	if err := c.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// write sends data as a part of a body: as one chunk, or as it is.
func (c *conn) write(data []byte, chunked bool) error {
	if !chunked {
		_, err := c.Write(data)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var line [18]byte
	at := len(line) - 2
	copy(line[at:], crlf)
	for n := len(data); n > 0; n >>= 4 {
		at--
		line[at] = "0123456789abcdef"[n&15]
	}
	// The line goes behind the kept head, since what is sent lives on the heap.
	c.held = append(c.held, line[at:]...)
	return c.send(data, crlf)
}

// writeAll sends a body that is there, with the head that is kept, in one call to the
// kernel if it is not large.
func (c *conn) writeAll(parts [][]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = true
	return c.send(parts...)
}

// flush sends what is kept. The caller holds mu.
func (c *conn) flush() error { return c.send() }

// send writes what is kept and then the parts, in one call to the kernel where the
// connection allows and they are not large. The caller holds mu.
func (c *conn) send(parts ...[]byte) error {
	c.hold = false
	n := 0
	if need := len(parts) + 1; len(c.vector) < need {
		c.vector = make([][]byte, max(need, 4))
	}
	if len(c.held) > 0 {
		c.vector[0] = c.held
		n = 1
	}
	for _, part := range parts {
		if len(part) > 0 {
			c.vector[n] = part
			n++
		}
	}
	defer c.releaseSent()
	for rest := c.vector[:n]; len(rest) > 0; {
		count, cut := pieceOf(rest)
		last := rest[count-1]
		rest[count-1] = last[:len(last)-cut]
		if err := c.writePiece(rest[:count]); err != nil {
			return err
		}
		rest = rest[count:]
		if cut > 0 {
			rest = c.vector[n-len(rest)-1 : n]
			rest[0] = last[len(last)-cut:]
		}
	}
	return nil
}

// pieceOf returns how many of the parts make a piece, and how many bytes of the last of
// them do not belong to it.
func pieceOf(parts [][]byte) (count, cut int) {
	size := 0
	for i, part := range parts {
		if size += len(part); size >= writePiece {
			return i + 1, size - writePiece
		}
	}
	return len(parts), 0
}

// writePiece writes parts under one idle limit: a slow reader that lives is not taken for
// a dead one. The caller holds mu.
func (c *conn) writePiece(parts [][]byte) error {
	first := parts[0]
	if err := c.armWrite(); err != nil {
		return c.account(first, 0, err)
	}
	if len(parts) > 1 && c.tls != nil {
		return c.seal(parts)
	}
	c.countWrite()
	if len(parts) == 1 {
		written, err := c.out.Write(first)
		return c.account(first, int64(written), err)
	}
	c.buffers = parts
	written, err := c.buffers.WriteTo(c.out)
	return c.account(first, written, err)
}

// sealed is how much one record of TLS holds.
const sealed = 16 << 10

// seal writes parts over TLS in as few records as they need. The caller holds mu.
func (c *conn) seal(parts [][]byte) error {
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	record, filled := (*buffer)[:sealed], 0
	for i, part := range parts {
		for len(part) > 0 {
			n := copy(record[filled:], part)
			filled, part = filled+n, part[n:]
			if filled < sealed && i < len(parts)-1 {
				continue
			}
			written, err := c.out.Write(record[:filled])
			if err := c.account(parts[0], int64(written), err); err != nil {
				return err
			}
			filled = 0
		}
	}
	return nil
}

// releaseSent lets go of what was sent. A large buffer is not kept for later.
func (c *conn) releaseSent() {
	clear(c.vector)
	c.buffers = nil
	if cap(c.held) > 16<<10 {
		c.held = nil
	}
	c.held = c.held[:0]
}

func (c *conn) armWrite() error {
	if c.phase.Load() == phaseTunnel {
		return nil
	}
	until := extend(c.writeUntil, c.server.cfg.IdleTimeout)
	if until.Equal(c.writeUntil) {
		return nil
	}
	c.writeUntil = until
	return c.Conn.SetWriteDeadline(until)
}

// countWrite counts a call to the kernel, before it is made: whoever has the answer
// finds it counted. Under TLS the socket counts.
func (c *conn) countWrite() {
	if c.tls == nil {
		c.server.stats.Writes.Add(1)
	}
}

// account notes what the kernel has taken, and tells a delivery that waits for it.
func (c *conn) account(first []byte, written int64, err error) error {
	if c.tls == nil {
		c.server.stats.BytesOut.Add(uint64(written))
	}
	if err != nil {
		c.failed = true
	}
	if c.receipt != nil {
		c.receipt.sent += written
	}
	if d := c.delivery; d != nil && written > 0 && d.passed(first, written) {
		c.delivery = nil
	}
	return err
}

// expect makes d learn what is sent from now on.
func (c *conn) expect(d *delivery) {
	c.mu.Lock()
	c.delivery = d
	c.mu.Unlock()
}

// settle tells a waiting delivery how the answer ended. The caller holds mu.
func (c *conn) settle() {
	if c.delivery != nil && !c.failed {
		c.delivery.complete()
	}
	c.delivery = nil
}

// owe makes the connection end r with the answer that is sent now.
func (c *conn) owe(r *receipt) {
	c.mu.Lock()
	before := c.takeReceipt() // of a request in the same pipe
	c.receipt = r
	c.mu.Unlock()
	before.settle()
}

// takeReceipt returns what is owed, nil for nothing. The caller holds mu.
func (c *conn) takeReceipt() *receipt {
	r := c.receipt
	c.receipt = nil
	if r != nil && r.aborted == "" && c.failed {
		r.aborted = abortedClient
	}
	return r
}

// spoil notes that the origin broke off the answer under way.
func (c *conn) spoil() {
	c.mu.Lock()
	if c.receipt != nil && !c.failed {
		c.receipt.aborted = abortedUpstream
	}
	c.mu.Unlock()
}

// Close sends what is kept and closes. If the client has not been read to the end
// of its request, what it still sends is read for a moment.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.mu.Lock()
	phase := c.phase.Load()
	if phase != phaseTunnel && !c.reset {
		_ = c.flush()
		c.settle()
	}
	reset, unread := c.reset, c.answered && !c.failed && phase != phaseIdle && phase != phaseTunnel
	r := c.takeReceipt()
	c.mu.Unlock()
	r.settle()
	tcp, _ := c.place.raw.(*net.TCPConn)
	switch {
	case tcp == nil:
	case reset:
		_ = tcp.SetLinger(0)
		_ = tcp.Close() // also under TLS: no sign of an orderly end
	case unread && c.server.conns.closing.Load():
		// Whoever shuts down closes many connections one after the other.
		c.server.conns.lingering.Add(1)
		go func() {
			defer c.server.conns.lingering.Add(-1)
			c.linger(tcp)
			_ = c.leave()
		}()
		return nil
	case unread:
		c.linger(tcp)
	}
	return c.leave()
}

func (c *conn) leave() error {
	c.server.conns.leave(c.place)
	return c.Conn.Close()
}

func (c *conn) linger(tcp *net.TCPConn) {
	defer c.server.recoverStream()
	if c.tls != nil {
		_ = c.tls.CloseWrite()
	}
	if tcp.CloseWrite() == nil && tcp.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, readerOnly{tcp}, lingerBytes)
	}
}

// readerOnly hides the methods by which io.Copy would take short cuts.
type readerOnly struct{ io.Reader }

// headLength returns the length of the answer head at the beginning of p, or all
// of p if it does not end there.
func headLength(p []byte) int64 {
	if i := bytes.Index(p, []byte("\r\n\r\n")); i >= 0 {
		return int64(i + 4)
	}
	return int64(len(p))
}
