package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// stream is one request and its answer over HTTP/2. Heads are written out as HTTP/1.1
// has them, so that what is looked at, refused and left out is the same over both.
type stream struct {
	exchange
	conn   *streamConn
	call   bool // of gRPC: its silence is that of both directions together
	lease  lease
	began  time.Time
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   *streamUpload // nil: the request has none
	unhook func() bool   // the body from ctx; nil without it

	interims chan interim
	informed int           // of them
	sent     chan struct{} // closed when the last byte of the request is written
	wrote    atomic.Bool   // something of the request is

	launched bool // the library has the request
	answer   *http.Response
	raw      []byte     // its head
	ahead    *aheadRead // nil: none is under way
	trailers []Trailer

	gone  func() bool // nil: the client's leaving shows by itself
	limit time.Duration
	since atomic.Int64 // when something last came, Unix nanoseconds; 0: nothing is waited for
	timer *time.Timer  // looks whether that is too long ago
}

// interim is a 1xx answer.
type interim struct {
	status int
	header textproto.MIMEHeader
}

// exchangeStreams sends the request over HTTP/2 until it is answered or may not be sent
// again. A request that the server says it has done nothing of may be, whatever its
// method, as long as its body is still at hand.
func (u *Upstream) exchangeStreams(req *fasthttp.Request, resp *fasthttp.Response, s *scratch, body io.Reader, length int64, opts *Options) error {
	t := u.newTries(req, s, opts)
	call := isCall(req)
	t.sends = length != 0 && !call
	repeatable := isRepeatable(req, length)
	for {
		l, err := t.connect()
		if err != nil {
			return err
		}
		x := newStream(u, t.to.server, l.shared, opts)
		x.call, x.lease = call, l.lease
		switch {
		case length != 0:
			x.gone = nil // reading the body shows it
			x.body = newStreamUpload(x, body, length, opts)
		case len(s.small) > 0:
			x.body = newStreamUpload(x, bytes.NewReader(bytes.Clone(s.small)), int64(len(s.small)), &Options{})
		}
		if err = x.do(s, resp, req.Header.IsHead(), opts); err == nil {
			t.note(resp.StatusCode(), nil)
			return nil
		}
		refused, unanswered := x.untouched(err), x.unanswered(err)
		err = x.explain("read answer", err)
		x.end()
		if refused && length != 0 {
			body, refused = x.body.again()
		}
		reused := x.conn.used.Load() && !t.fresh
		if !(refused || repeatable && unanswered) || !t.again(reused) {
			t.note(0, err)
			return t.named(err)
		}
	}
}

// isCall reports whether a request is a call of gRPC.
func isCall(req *fasthttp.Request) bool {
	return req.Header.IsPost() && IsGRPC(req.Header.Peek(fasthttp.HeaderContentType)) // spelled as HTTP/2 clients' are
}

func newStream(u *Upstream, to *server, c *streamConn, opts *Options) *stream {
	x := &stream{
		exchange: exchange{up: u, server: to}, conn: c, began: time.Now(),
		interims: make(chan interim, maxInterim), sent: make(chan struct{}), limit: u.cfg.StreamTimeout,
	}
	x.timer = stoppedTimer(x.look)
	parent := opts.Context
	if parent == nil {
		parent = context.Background()
		x.gone = opts.Gone
	}
	x.ctx, x.cancel = context.WithCancelCause(parent)
	return x
}

// stoppedTimer makes a timer that runs from its first Reset on.
func stoppedTimer(f func()) *time.Timer {
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return t
}

// do sends the request and takes the head of the answer. Meanwhile 1xx answers are
// handed on, and the time is watched.
func (x *stream) do(s *scratch, resp *fasthttp.Response, headOnly bool, opts *Options) error {
	req, err := x.request(s)
	if err != nil {
		return err
	}
	if x.call {
		x.expect()
	}
	if x.body != nil {
		// The library does not look at ctx while it reads a body.
		x.unhook = context.AfterFunc(x.ctx, func() { x.body.stop() })
	}
	x.launched = true
	answered := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			if r := recover(); r != nil {
				err = fail("send request", fmt.Errorf("panic: %v", r))
			}
			answered <- err
		}()
		x.answer, err = x.conn.RoundTrip(req)
	}()
	if err := x.await(answered, s, opts); err != nil {
		return err
	}
	x.conn.used.Store(true)
	return x.take(s, resp, headOnly)
}

// await waits for the final head.
func (x *stream) await(answered chan error, s *scratch, opts *Options) error {
	var late, gone <-chan time.Time
	sent := x.sent
	if x.gone != nil {
		ticker := time.NewTicker(goneTime)
		defer ticker.Stop()
		gone = ticker.C
	}
	for {
		select {
		case err := <-answered:
			for len(x.interims) > 0 { // they came before
				if err := x.inform(<-x.interims, s, opts); err != nil {
					return err
				}
			}
			if err == nil {
				err = context.Cause(x.ctx)
			}
			return err
		case i := <-x.interims:
			if err := x.inform(i, s, opts); err != nil {
				x.cancel(err)
			}
		case <-sent:
			sent = nil
			if x.call {
				continue
			}
			timer := time.NewTimer(x.up.cfg.HeaderTimeout)
			defer timer.Stop()
			late = timer.C
		case <-late:
			x.giveUp("read answer")
		case <-gone:
			if x.gone() {
				x.cancel(errLeft())
			}
		}
	}
}

// inform handles an answer that is not the final one.
func (x *stream) inform(i interim, s *scratch, opts *Options) error {
	x.informed++
	switch {
	case i.status == fasthttp.StatusSwitchingProtocols:
		return fail("read answer", errSwitched)
	case x.informed > maxInterim:
		return fail("read answer", errInterims)
	case i.status == fasthttp.StatusContinue:
		x.goOn()
		return nil
	}
	if err := x.parseHead(i.status, http.Header(i.header), s); err != nil {
		return err
	}
	return x.relay(s, opts)
}

// goOn lets the body be sent.
func (x *stream) goOn() {
	if x.body != nil {
		x.body.goOn()
	}
}

// giveUp ends the request since nothing came for too long. If the whole connection
// was silent meanwhile it may be dead, so the next request takes another one.
func (x *stream) giveUp(op string) {
	if x.conn.wire.heard.Load() < x.began.UnixNano() {
		x.conn.pool.streams.retire(func(c *streamConn) bool { return c == x.conn })
	}
	x.cancel(&Error{Op: op, Kind: Timeout, Err: os.ErrDeadlineExceeded})
}

// take fills resp from the final head.
func (x *stream) take(s *scratch, resp *fasthttp.Response, headOnly bool) error {
	if err := x.parseHead(x.answer.StatusCode, x.answer.Header, s); err != nil {
		return err
	}
	if s.head.status < 200 {
		return fail("read answer", errMalformed("the final answer has the status of one that is not"))
	}
	bodyless, err := x.fill(s, resp, headOnly)
	if err != nil {
		return err
	}
	if x.body != nil && s.head.status > 299 && !x.body.stop() {
		resp.Header.SetConnectionClose() // the library sends no more of it
	}
	x.goOn() // the answer says what a 100 would have
	if bodyless || x.answer.ContentLength == 0 {
		if !bodyless {
			resp.Header.SetContentLength(0)
		}
		if !x.end() {
			resp.Header.SetConnectionClose()
		}
		return nil
	}
	if !x.call {
		x.limit = x.patience(resp)
	}
	if isEventStream(resp.Header.ContentType()) {
		x.lease.prolong()
	}
	size := -1
	if s.head.length > 0 {
		size = int(s.head.length)
	}
	resp.SetBodyStream(&Body{exchange: x.exchange, stream: x, framing: byStream, header: &resp.Header}, size)
	return nil
}

// end ends the exchange, for the server too if it has not come to its end, and
// reports whether the whole request was sent. After it nothing reads the client's
// body.
func (x *stream) end() (sent bool) {
	sent = x.body == nil || x.body.stop()
	if x.unhook != nil {
		x.unhook()
	}
	x.timer.Stop()
	x.cancel(nil)
	if x.answer != nil {
		_ = x.answer.Body.Close()
	}
	if !x.launched {
		x.conn.Release()
	}
	x.conn.pool.streams.drop(x.conn)
	x.lease.leave()
	return sent
}
