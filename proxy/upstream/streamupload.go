package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"
)

// streamUpload is a request's body as the library reads it, in a goroutine of its
// own. It ends with io.EOF only where the client's body does; whatever else ends it
// resets the stream, so that the server does not take a part for the whole.
type streamUpload struct {
	stream    *stream
	body      io.Reader
	left      int64 // -1: only its end will tell
	trailers  func() []Trailer
	into      http.Header // where trailers go
	interrupt func()

	proceed chan struct{} // closed when the origin wants the body; nil: it is sent unasked
	once    sync.Once     // closes proceed
	over    chan struct{} // closed by stop
	stall   *time.Timer   // runs while what was read is not taken

	began time.Time
	count atomic.Int64
	slow  atomic.Bool // it makes room for others
	kept  []byte      // what was read, to be sent again; nil if it was too much

	mu      sync.Mutex
	ended   sync.Cond // of reading
	begun   bool      // something of the client's body was asked for
	reading bool
	stopped bool
	cut     bool // a read of it was interrupted, and so would be the next
	whole   bool // it came to its end
	err     error
}

func newStreamUpload(x *stream, body io.Reader, length int64, opts *Options) *streamUpload {
	b := &streamUpload{
		stream: x, body: body, left: length, trailers: opts.Trailers, interrupt: opts.Interrupt,
		over: make(chan struct{}), began: x.began, kept: []byte{},
	}
	b.ended.L = &b.mu
	if opts.Expect {
		b.proceed = make(chan struct{})
	}
	if !x.call {
		b.stall = stoppedTimer(func() { x.giveUp("send request") })
	}
	if x.lease.sends {
		x.conn.pool.uploads.add(b)
	}
	return b
}

func (b *streamUpload) progress() (time.Time, int64) { return b.began, b.count.Load() }

// giveUp ends an upload whose client is too slow.
func (b *streamUpload) giveUp() {
	b.slow.Store(true)
	if b.interrupt != nil {
		b.interrupt()
	}
}

// goOn ends the wait for the origin's word.
func (b *streamUpload) goOn() {
	if b.proceed != nil {
		b.once.Do(func() { close(b.proceed) })
	}
}

// Read reads what has come from the client.
func (b *streamUpload) Read(p []byte) (int, error) {
	b.mu.Lock()
	switch {
	case b.stopped:
		b.mu.Unlock()
		return 0, errStopped
	case b.err != nil:
		defer b.mu.Unlock()
		return 0, b.err
	}
	b.reading = true
	b.mu.Unlock()
	b.written() // the last part is, since more is asked for
	n, err := b.read(p)
	b.count.Add(int64(n))
	if b.stream.call {
		b.stream.touch()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped && err != nil && err != io.EOF {
		err = errStopped // by the interrupt
	}
	b.reading, b.err, b.whole = false, err, err == io.EOF
	b.keep(p[:n])
	b.ended.Broadcast()
	if b.stall != nil && !b.stopped {
		b.stall.Reset(b.stream.up.cfg.IdleTimeout)
	}
	return n, err
}

func (b *streamUpload) read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, clientError(fmt.Errorf("panic: %v", r))
		}
	}()
	awaitContinue(b.proceed, b.over)
	b.goOn() // whether it said so or not
	if !b.begin() {
		return 0, errStopped
	}
	if b.left >= 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	for idle := 0; ; idle++ {
		n, err = b.body.Read(p)
		if n > 0 || err != nil {
			break
		}
		if idle > 100 {
			return 0, clientError(io.ErrNoProgress)
		}
	}
	if b.left >= 0 {
		if b.left -= int64(n); b.left == 0 {
			return n, io.EOF
		}
	}
	switch {
	case err == nil:
		return n, nil
	case b.slow.Load():
		return n, clientError(ErrSlowBody)
	case err != io.EOF || b.left > 0:
		return n, clientError(err)
	}
	b.trail()
	return n, io.EOF
}

// begin reports whether the client's body may be asked for something.
func (b *streamUpload) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun = b.begun || !b.stopped
	return !b.stopped
}

// trail hands on what followed the body and may.
func (b *streamUpload) trail() {
	if b.trailers == nil {
		return
	}
	for _, t := range b.trailers() {
		if mayTrail([]byte(t.Name)) && validValue([]byte(t.Value)) {
			key := textproto.CanonicalMIMEHeaderKey(t.Name)
			b.into[key] = append(b.into[key], t.Value)
		}
	}
}

// keep keeps a small body, should the server refuse to look at it. The caller holds
// mu.
func (b *streamUpload) keep(p []byte) {
	if b.kept != nil && len(b.kept)+len(p) <= smallBody {
		b.kept = append(b.kept, p...)
	} else {
		b.kept = nil
	}
}

// again returns the body once more after stop, if what was read of it is still at hand
// and the rest can be read on.
func (b *streamUpload) again() (io.Reader, bool) {
	switch {
	case !b.begun:
		return b.body, true
	case b.kept == nil:
		return nil, false
	case b.whole:
		return bytes.NewReader(b.kept), true
	}
	return io.MultiReader(bytes.NewReader(b.kept), b.body), !b.cut && (b.err == nil || b.err == errStopped)
}

// written notes that what was read is on its way.
func (b *streamUpload) written() {
	if b.stall != nil {
		b.stall.Stop()
	}
}

// stop makes Read return now and later, waits until it has, and reports whether the
// body had come to its end.
func (b *streamUpload) stop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped {
		b.stopped = true
		b.written()
		close(b.over)
		if b.stream.lease.sends {
			b.stream.conn.pool.uploads.remove(b)
		}
		if b.reading && b.begun && b.interrupt != nil {
			b.cut = true
			b.interrupt()
		}
	}
	for b.reading {
		b.ended.Wait()
	}
	return b.whole
}

// Close is how the library says that it wants no more of the body.
func (b *streamUpload) Close() error {
	b.stop()
	return nil
}

// broken returns what the client did wrong, nil for nothing.
func (b *streamUpload) broken() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var e *Error
	if errors.As(b.err, &e) && e.Kind == Client {
		return e
	}
	return nil
}
