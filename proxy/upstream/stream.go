package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
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
	sends  bool // a body as it comes, that counts as such
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
		x.call, x.sends = call, t.sends
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
			var whole bool
			if body, whole = x.body.again(); !whole {
				refused = false
			}
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

func errLeft() error { return &Error{Op: "read answer", Kind: Client, Err: errGone} }

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
	reason, err := x.parseHead(i.status, http.Header(i.header), s)
	if err != nil {
		return err
	}
	return x.relay(x.raw, s, reason, opts)
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

// request makes the request from the head that HTTP/1.1 would have.
func (x *stream) request(s *scratch) (*http.Request, error) {
	line, rest := cutLine(s.request)
	method, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	origin := &x.conn.pool.origin
	u := &url.URL{Scheme: "http", Host: origin.host}
	if origin.secure {
		u.Scheme = "https"
	}
	req := &http.Request{Method: string(method), URL: u, Header: http.Header{}, ProtoMajor: 2, Proto: "HTTP/2.0"}
	req.Header["User-Agent"] = nil // or it would be Go's
	for {
		if line, rest = cutLine(rest); len(line) == 0 {
			break
		}
		name, value, err := splitField(line)
		if err != nil {
			return nil, &Error{Op: "send request", Kind: Client, Err: err}
		}
		addField(req, name, value)
	}
	// The target goes out as it came. What begins with "//" would be taken for a host.
	if u.Opaque = string(target); strings.HasPrefix(u.Opaque, "//") {
		host := req.Host
		if host == "" {
			host = u.Host
		}
		u.Opaque = u.Scheme + "://" + host + u.Opaque
	}
	if x.body != nil {
		req.Body, req.ContentLength = x.body, x.body.left
		if x.body.trailers != nil && req.Trailer == nil {
			req.Trailer = http.Header{} // they may follow unannounced
		}
		x.body.into = req.Trailer
	}
	return req.WithContext(httptrace.WithClientTrace(x.ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			select {
			case x.interims <- interim{status, header}:
				return nil
			default:
				return errInterims
			}
		},
		WroteHeaders: func() { x.wrote.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if x.body != nil {
				x.body.written()
			}
			if info.Err == nil {
				close(x.sent)
			}
		},
	})), nil
}

// addField gives the request a header, save those that HTTP/2 has other means for.
func addField(req *http.Request, name, value []byte) {
	var buf [longestKnown]byte
	switch string(lower(name, &buf)) {
	case "host":
		req.Host = string(value)
	case "content-length", "transfer-encoding", "connection":
	case "trailer":
		if req.Trailer == nil {
			req.Trailer = http.Header{}
		}
		for name := range tokens(value) {
			req.Trailer[textproto.CanonicalMIMEHeaderKey(string(name))] = nil
		}
	default:
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		req.Header[key] = append(req.Header[key], string(value))
	}
}

// parseHead writes a head out, keeps it in raw, and checks it.
func (x *stream) parseHead(status int, header http.Header, s *scratch) (reason []byte, err error) {
	if status < 100 || status > 599 {
		return nil, fail("read answer", errMalformed("the status is not between 100 and 599"))
	}
	x.raw = append(append(x.raw[:0], "HTTP/1.1 "...), strconv.Itoa(status)...)
	x.raw = append(append(append(x.raw, ' '), http.StatusText(status)...), crlf...)
	fields := 0
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if name == fasthttp.HeaderTransferEncoding {
			continue // frames tell where a body ends
		}
		for _, value := range header[name] {
			if fields++; fields > maxFields || len(x.raw)+len(value) > maxHead || !validValue([]byte(value)) {
				return nil, fail("read answer", errMalformed("the head of the answer is too large, or holds control characters"))
			}
			x.raw = append(append(append(append(x.raw, name...), ": "...), value...), crlf...)
		}
	}
	x.raw = append(x.raw, crlf...)
	if reason, err = parseHead(x.raw, &s.head); err != nil {
		return nil, fail("read answer", err)
	}
	return reason, nil
}

// take fills resp from the final head.
func (x *stream) take(s *scratch, resp *fasthttp.Response, headOnly bool) error {
	reason, err := x.parseHead(x.answer.StatusCode, x.answer.Header, s)
	if err != nil {
		return err
	}
	if s.head.status < 200 {
		return fail("read answer", errMalformed("the final answer has the status of one that is not"))
	}
	bodyless, err := x.fill(x.raw, s, resp, reason, headOnly)
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
	x.conn.pool.streams.release(x.conn, x.sends)
	return sent
}

// expect begins to wait for what comes next.
func (x *stream) expect() {
	x.since.Store(time.Now().UnixNano())
	x.timer.Reset(x.pause(x.limit))
}

// pause is the time until the next look.
func (x *stream) pause(left time.Duration) time.Duration {
	if x.gone != nil {
		return min(left, goneTime)
	}
	return left
}

// touch notes that something came or went. A call goes on waiting; else the wait is
// over.
func (x *stream) touch() {
	if x.call {
		x.since.Store(time.Now().UnixNano())
	} else {
		x.since.Store(0)
		x.timer.Stop()
	}
}

// look ends the exchange if nothing came for too long, or nobody waits for it.
func (x *stream) look() {
	since := x.since.Load()
	if since == 0 {
		return
	}
	left := x.limit - time.Since(time.Unix(0, since))
	switch {
	case x.gone != nil && x.gone():
		x.cancel(errLeft())
	case left <= 0:
		x.giveUp("read answer body")
	default:
		x.timer.Reset(x.pause(left))
	}
}

// read reads what has come of the answer's body.
func (x *stream) read(p []byte) (int, error) {
	if !x.call {
		x.expect()
	}
	if x.ahead != nil {
		<-x.ahead.done
		return x.takeAhead(p)
	}
	return x.got(x.answer.Body.Read(p))
}

// got notes what a read came to.
func (x *stream) got(n int, err error) (int, error) {
	x.touch()
	switch {
	case err == io.EOF:
		x.keepTrailers()
	case err != nil:
		err = x.explain("read answer body", err)
	}
	return n, err
}

func (x *stream) keepTrailers() {
	for _, name := range slices.Sorted(maps.Keys(x.answer.Trailer)) {
		for _, value := range x.answer.Trailer[name] {
			if validName([]byte(name)) && validValue([]byte(value)) {
				x.trailers = append(x.trailers, Trailer{Name: name, Value: value})
			}
		}
	}
}

// aheadRead is a read that goes on while nobody waits for it.
type aheadRead struct {
	done chan struct{} // closed when it ended
	left []byte        // valid then
	err  error
}

// readWithin reads, waiting only so long; what comes later is kept for the next read.
func (x *stream) readWithin(p []byte, wait time.Duration) (int, error) {
	if x.ahead == nil {
		x.readAhead(len(p))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-x.ahead.done:
		return x.takeAhead(p)
	case <-timer.C:
		return 0, os.ErrDeadlineExceeded
	}
}

func (x *stream) readAhead(size int) {
	a := &aheadRead{done: make(chan struct{})}
	x.ahead = a
	go func() {
		defer close(a.done)
		defer func() {
			if r := recover(); r != nil {
				a.err = fmt.Errorf("panic: %v", r)
			}
		}()
		buf := make([]byte, size)
		n, err := x.answer.Body.Read(buf)
		a.left, a.err = buf[:n], err
	}()
}

// takeAhead returns what a read that has ended has read.
func (x *stream) takeAhead(p []byte) (int, error) {
	n := copy(p, x.ahead.left)
	if x.ahead.left = x.ahead.left[n:]; len(x.ahead.left) > 0 {
		return n, nil
	}
	err := x.ahead.err
	x.ahead = nil
	return x.got(n, err)
}

// reset is how the library tells of a stream that was reset; errors.As fills it in.
type reset struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (r reset) Error() string { return "the stream was reset, code " + strconv.Itoa(int(r.Code)) }

// Codes of RFC 9113, section 7.
const (
	codeProtocol = 1
	codeRefused  = 7
)

// goneAway is how the library says that the server has announced to do nothing of the
// request.
const goneAway = "graceful shutdown GOAWAY"

// untouched reports whether the server has done nothing of the request, by its own
// word or since nothing was sent.
func (x *stream) untouched(err error) bool {
	if !x.failed(err) {
		return false
	}
	var r reset
	if errors.As(err, &r) {
		return r.Code == codeRefused
	}
	return !x.wrote.Load() || strings.HasSuffix(err.Error(), goneAway)
}

// unanswered reports whether the connection closed without a word of an answer.
func (x *stream) unanswered(err error) bool {
	var r reset
	return x.failed(err) && !errors.As(err, &r)
}

// failed reports whether it is for the server, or the way to it, that no answer came.
func (x *stream) failed(err error) bool {
	return x.answer == nil && x.informed+len(x.interims) == 0 && x.ctx.Err() == nil && !isOwn(err) && !isUnfit(err)
}

// isOwn reports whether an error is one of this package's already.
func isOwn(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// isUnfit reports whether the library refuses to send the request's head: above all
// when it is larger than the server takes.
func isUnfit(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "http: ") || errors.Unwrap(err) != nil && strings.HasPrefix(text, "http2: ")
}

// explain sorts an error of the library. Its own words are not passed on, since they
// may hold bytes of the answer.
func (x *stream) explain(op string, err error) error {
	if cause := context.Cause(x.ctx); cause != nil && cause != context.Canceled {
		return cause
	}
	if x.body != nil {
		if broken := x.body.broken(); broken != nil {
			return broken
		}
	}
	var r reset
	switch {
	case isOwn(err):
		return err
	case x.ctx.Err() != nil:
		return errLeft()
	case !x.wrote.Load() && isUnfit(err):
		return &Error{Op: "send request", Kind: Client, Err: errMalformed("the head is too large for the origin, or cannot be sent over HTTP/2")}
	case errors.As(err, &r) && r.Code == codeProtocol:
		return fail(op, errMalformed("the answer breaks the rules of HTTP/2"))
	case errors.As(err, &r):
		return fail(op, fmt.Errorf("%w: %w", r, io.ErrUnexpectedEOF))
	}
	return fail(op, fmt.Errorf("the connection broke: %w", io.ErrUnexpectedEOF))
}

// ask sends a GET over a connection of its own and returns the status of the answer.
func (s *streamConns) ask(ctx context.Context, host, path string) (int, error) {
	c, err := s.dial(ctx, s.pool.clientName([]byte(host)), nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	u := &url.URL{Scheme: "http", Host: host, Opaque: path}
	if s.pool.origin.secure {
		u.Scheme = "https"
	}
	header := http.Header{fasthttp.HeaderUserAgent: {healthAgent}, fasthttp.HeaderVia: {via}}
	resp, err := c.RoundTrip((&http.Request{Method: http.MethodGet, URL: u, Header: header}).WithContext(ctx))
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}
