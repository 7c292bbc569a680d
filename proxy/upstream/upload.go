package upstream

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var errStopped = errors.New("the answer came first")

// settleTime is how long the end of an exchange waits for the last write of a
// request body before it gives the connection up.
const settleTime = time.Second

// continueTime is how long a request waits for the origin's 100 before its body is
// sent unasked, as RFC 9110 section 10.1.1 wants it for origins that know none.
const continueTime = time.Second

const crlf = "\r\n"

// upload sends a request whose body is streamed, in a goroutine of its own, so
// that the answer can be read meanwhile.
type upload struct {
	up        *Upstream
	conn      *conn
	head      []byte
	body      io.Reader
	left      int64 // -1: in chunks
	interrupt func()

	trailers func() []Trailer // of the body, once it has ended; nil for none
	proceed  chan struct{}    // closed when the origin wants the body; nil: it is sent unasked
	once     sync.Once        // closes proceed

	began  time.Time
	before int64       // bytes that the connection had carried then
	slow   atomic.Bool // it makes room for others

	tail atomic.Bool // the client's part is done, the last write is under way
	stop atomic.Bool // send no more
	done chan struct{}
	err  error // valid once done is closed

	mu       sync.Mutex
	answered bool      // an answer has begun: its deadlines are the reader's affair
	sent     time.Time // when the last byte of the request was written
	patience time.Duration
}

func (u *Upstream) startUpload(c *conn, head []byte, body io.Reader, length int64, opts *Options) *upload {
	up := &upload{
		up: u, conn: c, began: time.Now(), before: c.BytesWritten(), body: body, left: length, interrupt: opts.Interrupt, done: make(chan struct{}),
		trailers: opts.Trailers,
		head:     append([]byte(nil), head...), // the scratch goes back before the upload ends
	}
	if opts.Expect {
		up.proceed = make(chan struct{})
	}
	c.pool.uploads.add(up)
	go up.run()
	return up
}

func (p *upload) progress() (time.Time, int64) { return p.began, p.conn.BytesWritten() - p.before }

// giveUp ends an upload whose client is too slow.
func (p *upload) giveUp() {
	p.slow.Store(true)
	if p.interrupt != nil {
		p.interrupt()
	}
}

func (p *upload) run() {
	defer close(p.done)
	defer p.conn.pool.uploads.remove(p)
	defer func() {
		if r := recover(); r != nil {
			p.err = &Error{Op: "send request", Kind: Client, Err: fmt.Errorf("panic: %v", r)}
			p.conn.Close()
		}
	}()
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	p.err = p.send(*buf)
	p.conn.pool.uploads.remove(p)
	if p.slow.Load() && isClient(p.err) {
		p.err = clientError(ErrSlowBody)
	}
	switch {
	case p.err == nil:
		p.finish(p.up.cfg.HeaderTimeout)
	case p.stop.Load():
	case isClient(p.err):
		// The origin must not take what it got for the whole.
		p.conn.Close()
	default:
		// It may have answered before it closed.
		p.finish(min(p.up.cfg.HeaderTimeout, settleTime))
	}
}

func isClient(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Client
}

// finish starts the time limit for the answer.
func (p *upload) finish(patience time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent, p.patience = time.Now(), patience
	if !p.answered {
		_ = p.conn.Conn.SetReadDeadline(p.sent.Add(patience))
	}
}

// await prepares the wait for the first byte of an answer: without limit while
// the request is being sent, since each of its reads and writes has its own.
func (p *upload) await() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = false
	var deadline time.Time
	if !p.sent.IsZero() {
		deadline = time.Now().Add(p.patience)
	}
	_ = p.conn.Conn.SetReadDeadline(deadline)
	p.conn.readUntil = time.Time{} // finish may set another
}

// answer notes that an answer has begun.
func (p *upload) answer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = true
}

// Room for the frame around a chunk: eight hexadecimal digits and CRLF before it,
// CRLF behind it.
const (
	chunkFront = 10
	chunkBack  = 2
)

func (p *upload) send(buf []byte) error {
	if _, err := p.conn.Write(p.head); err != nil {
		return fail("send request", err)
	}
	awaitContinue(p.proceed, nil)
	space := buf[chunkFront : len(buf)-chunkBack]
	for idle := 0; ; {
		if p.stop.Load() {
			return errStopped
		}
		room := space
		if p.left >= 0 && p.left < int64(len(room)) {
			room = room[:p.left]
		}
		n, err := p.body.Read(room)
		if n > 0 {
			idle = 0
			if werr := p.write(buf, n); werr != nil {
				return fail("send request", werr)
			}
		}
		switch {
		case p.left == 0:
			return nil
		case err == io.EOF && p.left < 0:
			p.tail.Store(true)
			if _, werr := p.conn.Write(p.lastChunk(buf[:0])); werr != nil {
				return fail("send request", werr)
			}
			return nil
		case err != nil:
			return clientError(err)
		case n == 0:
			if idle++; idle > 100 {
				return clientError(io.ErrNoProgress)
			}
		}
	}
}

// awaitContinue waits until the origin wants the body, or has said nothing for a
// while: it may be one that never does. It waits no longer than for over.
func awaitContinue(proceed, over <-chan struct{}) {
	if proceed == nil {
		return
	}
	timer := time.NewTimer(continueTime)
	defer timer.Stop()
	select {
	case <-proceed:
	case <-over:
	case <-timer.C:
	}
}

// goOn ends the wait for the origin's word.
func (p *upload) goOn() {
	if p.proceed != nil {
		p.once.Do(func() { close(p.proceed) })
	}
}

// halt tells the upload to send no more.
func (p *upload) halt() {
	p.stop.Store(true)
	p.goOn()
}

// lastChunk appends the last chunk and the trailers that may pass.
func (p *upload) lastChunk(dst []byte) []byte {
	dst = append(dst, "0\r\n"...)
	if p.trailers != nil {
		for _, t := range p.trailers() {
			if mayTrail([]byte(t.Name)) {
				dst = append(append(append(append(dst, t.Name...), ": "...), t.Value...), crlf...)
			}
		}
	}
	return append(dst, crlf...)
}

// write sends n bytes that stand in buf behind chunkFront.
func (p *upload) write(buf []byte, n int) error {
	begin, end := chunkFront, chunkFront+n
	if p.left >= 0 {
		if p.left -= int64(n); p.left == 0 {
			p.tail.Store(true)
		}
	} else {
		var digits [8]byte
		size := strconv.AppendUint(digits[:0], uint64(n), 16)
		begin -= len(size) + 2
		copy(buf[begin:], size)
		copy(buf[chunkFront-2:], "\r\n")
		copy(buf[end:], "\r\n")
		end += 2
	}
	_, err := p.conn.Write(buf[begin:end])
	return err
}

// sentSoon reports whether the request is sent whole, waiting only if nothing
// but its last write is open.
func (p *upload) sentSoon() bool {
	select {
	case <-p.done:
		return p.err == nil
	default:
	}
	if !p.tail.Load() {
		return false
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err == nil
	case <-timer.C:
		return false
	}
}

// stopEarly tells an unfinished upload to send no more, and reports whether it
// was unfinished.
func (p *upload) stopEarly() bool {
	if p.sentSoon() {
		return false
	}
	p.halt()
	return true
}

// settle ends the upload. It reports whether the request was sent whole; if not,
// the connection is closed. After it nothing reads the client's body.
func (p *upload) settle() bool {
	if p.sentSoon() {
		return true
	}
	p.halt()
	p.conn.Close()
	select {
	case <-p.done:
		return false
	default:
	}
	if p.interrupt != nil {
		p.interrupt()
	}
	<-p.done
	return false
}
