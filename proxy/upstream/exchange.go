package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/valyala/fasthttp"
)

// smallBody is the size up to which a request body of known length is collected
// before the request is sent: one write, and nothing sent of a cut upload.
const smallBody = 16 << 10

// Options go with one exchange. All of them may be left out.
type Options struct {
	// Informational gets each 1xx answer but 100 and 101. The header is valid
	// during the call only.
	Informational func(status int, header *fasthttp.ResponseHeader)

	// Interrupt must make a Read of the request body that waits for the client
	// return with an error, soon and for good. It is called at most once, when the
	// exchange is over before the body is. Without it the end of the exchange
	// waits for the body's own time limit.
	Interrupt func()

	// Trailers returns what followed a chunked request body, once that has ended.
	Trailers func() []Trailer

	// Expect lets the origin say first whether it wants the body: that is not read
	// before the origin's 100, or a while without it. An answer that refuses comes
	// without a byte of the body being read.
	Expect bool

	// Gone reports whether the client has left. It is asked from time to time
	// while nothing comes of an answer, or of the rest of it, to a request that is
	// sent in one piece. Then that is given up.
	Gone func() bool

	// Context, in the place of Gone, ends when the client has left. It is heeded over
	// HTTP/2, also while a body is sent.
	Context context.Context

	// Scheme and Host are how the client knows the site, as "https" and its Host
	// header: headers that name it so are mapped to the origin's name.
	Scheme, Host string

	// Visitor is the verified id of who asks; it chooses the server where visitors
	// stay with theirs. It is sent nowhere.
	Visitor string

	// Client is the client's address, in the place of a visitor that is not known.
	Client netip.Addr
}

// exchange is one request and its answer on one connection.
type exchange struct {
	up     *Upstream
	server *server
	upload *upload // nil when the request went out in one piece
}

// end gives the connection back and reports whether the whole request was sent.
func (x *exchange) end(c *conn, reuse bool) bool {
	sent := x.upload == nil || x.upload.settle()
	c.release(reuse && sent)
	return sent
}

// Do sends req, which Prepare has made, and parses the head of the answer straight
// into resp. If the answer has a body, resp's body stream is a [*Body], which the
// caller must close with resp.CloseBodyStream, or take over with [Body.Take];
// otherwise the exchange is over and resp has no stream.
//
// The request body is read from body, framed as req's Content-Length or
// Transfer-Encoding says. It may still be read after Do has returned, until the
// answer's body has ended or is closed: an answer may come while the request is
// being sent. When such an answer is an error, sending stops, and resp says
// Connection: close.
//
// A request that was not sent, since no connection could be made, may go to another
// server. A GET, HEAD or OPTIONS without a body is sent again, over a new connection,
// if its connection closed without a byte of an answer: once to the same server if
// the connection was used before, and once to another. Nothing else is ever sent
// twice, save what a server of HTTP/2 says it has not touched, and all of it only
// within the budget for retries. On error resp has no body, and the error is an
// [*Error].
//
// resp keeps the origin's Date only if fasthttp adds none by itself
// (Server.NoDefaultDate); an answer without one gets the present time.
func (u *Upstream) Do(req *fasthttp.Request, resp *fasthttp.Response, body io.Reader, opts Options) error {
	s := u.acquireScratch()
	defer u.releaseScratch(s)
	if body == nil {
		opts.Expect = false
	}
	if opts.Expect {
		req.Header.Set(fasthttp.HeaderExpect, "100-continue")
	}
	length, err := s.readBody(req, body, opts.Expect)
	if err != nil {
		return err
	}
	probe, err := u.admit()
	if err != nil {
		return err
	}
	s.opts = opts // nobody keeps it beyond the exchange
	err = u.exchange(req, resp, s, body, length, &s.opts)
	u.conclude(probe, err)
	return err
}

// exchange sends the request until it is answered or may not be sent again. length
// is that of the body still to be sent, as readBody returns it.
func (u *Upstream) exchange(req *fasthttp.Request, resp *fasthttp.Response, s *scratch, body io.Reader, length int64, opts *Options) error {
	if u.HTTP2() {
		return u.exchangeStreams(req, resp, s, body, length, opts)
	}
	t := u.newTries(req, s, opts)
	t.sends = length != 0
	repeatable := isRepeatable(req, length)
	for {
		l, err := t.connect()
		if err != nil {
			return err
		}
		c := l.own
		x := exchange{up: u, server: t.to.server}
		before := c.BytesRead()
		if length != 0 {
			x.upload = u.startUpload(c, s.request, body, length, opts)
		} else {
			err = c.ask(s.request)
		}
		if err = x.receive(c, s, resp, req.Header.IsHead(), opts, err); err == nil {
			t.note(resp.StatusCode(), nil)
			return nil
		}
		if err == errStale {
			x.end(c, false)
			t.asked = true
			continue
		}
		unanswered := isClosed(err) && c.BytesRead() == before
		x.end(c, false)
		err = x.blame(err)
		if !repeatable || !unanswered || !t.again(c.reused) {
			t.note(0, err)
			return t.named(err)
		}
	}
}

// isRepeatable reports whether a request may be sent again of which nobody knows
// whether it was carried out.
func isRepeatable(req *fasthttp.Request, length int64) bool {
	h := &req.Header
	return h.ContentLength() <= 0 && length == 0 && (h.IsGet() || h.IsHead() || h.IsOptions())
}

func isClosed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Closed
}

// blame prefers the cause of a broken upload to its effect on the answer.
func (x *exchange) blame(err error) error {
	if x.upload != nil && x.upload.err != nil {
		var e *Error
		if errors.As(x.upload.err, &e) && e.Kind == Client {
			return e
		}
	}
	return err
}

// readBody checks the request's target and collects its body, if it is small and the
// origin is not to be asked for it. It returns the length of the body still to be
// sent: 0 for none, -1 if it is sent in chunks.
func (s *scratch) readBody(req *fasthttp.Request, body io.Reader, expect bool) (int64, error) {
	s.small = s.small[:0]
	for _, c := range req.Header.RequestURI() {
		if c <= ' ' || c == 0x7f {
			return 0, &Error{Op: "address request", Kind: Client, Err: errMalformed("the target holds a space or control character")}
		}
	}
	length := int64(req.Header.ContentLength())
	if length == 0 || length < -1 {
		return 0, nil
	}
	if body == nil {
		return 0, &Error{Op: "read request body", Kind: Client, Err: io.ErrUnexpectedEOF}
	}
	if length < 0 || length > smallBody || expect {
		return length, nil
	}
	s.small = slices.Grow(s.small, int(length))[:length]
	if _, err := io.ReadFull(body, s.small); err != nil {
		return 0, clientError(err)
	}
	return 0, nil
}

func clientError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &Error{Op: "read request body", Kind: Client, Err: err}
}

// receive reads heads up to the final one and puts that into resp. A request that
// could not be written whole may have been answered all the same.
func (x *exchange) receive(c *conn, s *scratch, resp *fasthttp.Response, headOnly bool, opts *Options, sendErr error) error {
	c.ReadIdle, c.InMessage = 0, true
	for interim := 0; ; interim++ {
		if err := x.readHead(c, s, opts, sendErr); err != nil {
			return err
		}
		if s.head.status >= 200 {
			return x.accept(c, s, resp, headOnly)
		}
		if err := x.inform(s, interim, opts); err != nil {
			return err
		}
	}
}

// readHead waits for a head for at most HeaderTimeout after the whole request is
// sent. What s.head then refers to is valid until the next read.
func (x *exchange) readHead(c *conn, s *scratch, opts *Options, sendErr error) error {
	limit := x.up.cfg.HeaderTimeout
	if c.unsent != nil {
		if err := c.await(limit, opts.Gone); c.sendErr == nil && err != nil {
			if err == errStale {
				return err
			}
			return fail("read answer", err)
		}
	}
	if sendErr == nil {
		sendErr = c.sendErr
	}
	if sendErr != nil {
		if isTimeout(sendErr) {
			return fail("send request", sendErr)
		}
		limit = min(limit, time.Second)
	}
	if x.upload != nil {
		x.upload.await()
		if _, err := c.inbox.Peek(1); err != nil {
			return fail("read answer", cutEOF(err))
		}
		x.upload.answer()
	} else if opts.Gone != nil {
		if err := c.await(limit, opts.Gone); err != nil {
			return fail("read answer", err)
		}
	}
	if length, err := parseHead(c.inbox.there(), &s.head); err == nil && length > 0 {
		c.inbox.take(length)
		return nil
	}
	return c.gatherHead(s, limit, sendErr)
}

// gatherHead reads a head that comes in parts, or that is not as it should be.
func (c *conn) gatherHead(s *scratch, limit time.Duration, sendErr error) error {
	err := c.setReadUntil(time.Now().Add(limit))
	if err != nil {
		return fail("read answer", err)
	}
	if c.head, err = readHead(&c.inbox, c.head); err != nil {
		if sendErr != nil {
			return fail("send request", sendErr)
		}
		return fail("read answer", cutEOF(err))
	}
	if _, err = parseHead(c.head, &s.head); err != nil {
		return fail("read answer", err)
	}
	return nil
}

// await waits for the first byte, while gone, nil for nobody, says that it is wanted.
func (c *conn) await(limit time.Duration, gone func() bool) error {
	c.ReadIdle, c.Gone = limit, gone
	_, err := c.inbox.Peek(1)
	c.ReadIdle = 0
	return err
}

func cutEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// inform handles an answer that is not the final one.
func (x *exchange) inform(s *scratch, interim int, opts *Options) error {
	switch {
	case s.head.status == fasthttp.StatusSwitchingProtocols:
		return fail("read answer", errSwitched)
	case interim >= maxInterim:
		return fail("read answer", errInterims)
	case s.head.status == fasthttp.StatusContinue:
		if x.upload != nil {
			x.upload.goOn()
		}
		return nil
	}
	return x.relay(s, opts)
}

var (
	errInterims = errMalformed("too many 1xx answers")
	errSwitched = errMalformed("the origin switched protocols without being asked")
)

// relay hands a 1xx answer on.
func (x *exchange) relay(s *scratch, opts *Options) (err error) {
	if opts.Informational == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil { // the exchange must still be ended
			err = fail("relay 1xx answer", fmt.Errorf("panic: %v", r))
		}
	}()
	var header fasthttp.ResponseHeader
	header.DisableNormalizing()
	header.SetNoDefaultContentType(true)
	status := s.head.status
	if err := x.parse(s, &header, false); err != nil {
		return err
	}
	opts.Informational(status, &header)
	return nil
}

// parse lets fasthttp parse the checked and cleaned head: only so a Date is kept.
func (x *exchange) parse(s *scratch, header *fasthttp.ResponseHeader, keepLength bool) error {
	s.clean = cleanHead{head: &s.head, keepLength: keepLength, now: x.up.now}
	reader := headReaders.Get().(*bufio.Reader)
	reader.Reset(&s.clean)
	err := header.Read(reader)
	reader.Reset(nil)
	headReaders.Put(reader)
	if err != nil {
		return &Error{Op: "read answer", Kind: Malformed, Err: errMalformed("the head cannot be parsed")}
	}
	header.ResetConnectionClose() // it is this hop's affair
	return nil
}

// fill makes the final head resp's. bodyless says that no body may follow it.
func (x *exchange) fill(s *scratch, resp *fasthttp.Response, headOnly bool) (bodyless bool, err error) {
	h := &s.head
	resp.ResetBody()
	resp.Header.DisableNormalizing()
	resp.Header.SetNoDefaultContentType(true)
	resp.SkipBody = headOnly
	keepLength := headOnly && h.status != fasthttp.StatusNoContent || h.status == fasthttp.StatusNotModified
	bodyless = headOnly || h.status == fasthttp.StatusNoContent || h.status == fasthttp.StatusNotModified
	return bodyless, x.parse(s, &resp.Header, keepLength)
}

// accept fills resp from the final head.
func (x *exchange) accept(c *conn, s *scratch, resp *fasthttp.Response, headOnly bool) error {
	h := &s.head
	bodyless, err := x.fill(s, resp, headOnly)
	if err != nil {
		return err
	}
	empty := bodyless || h.length == 0 && !h.chunked
	reuse := !h.close
	stopped := x.upload != nil && h.status >= 400 && x.upload.stopEarly()
	switch {
	case stopped:
		resp.Header.SetConnectionClose()
	case x.upload != nil:
		x.upload.goOn() // the answer says what a 100 would have
	}
	if empty {
		if !bodyless {
			resp.Header.SetContentLength(0)
		}
		if !x.end(c, reuse) {
			resp.Header.SetConnectionClose()
		}
		return nil
	}
	b := &Body{exchange: *x, conn: c, reusable: reuse, header: &resp.Header}
	size := -1
	switch {
	case h.chunked:
		b.framing = byChunks
		b.chunks.reset(&c.inbox, false)
		// Bad names are left out; trailers that are not announced still pass.
		_ = resp.Header.AddTrailerBytes(h.trailer)
	case h.length >= 0:
		b.framing, b.left, size = byLength, h.length, int(h.length)
	default:
		b.framing, b.reusable = byClose, false
		c.InMessage = false
	}
	c.ReadIdle = x.patience(resp)
	if isEventStream(resp.Header.ContentType()) {
		c.lease.prolong()
	}
	resp.SetBodyStream(b, size)
	return nil
}

// patience is how long the body of an answer may be silent.
func (x *exchange) patience(resp *fasthttp.Response) time.Duration {
	if isEventStream(resp.Header.ContentType()) {
		return x.up.cfg.StreamTimeout
	}
	return x.up.cfg.IdleTimeout
}

// isEventStream reports whether an answer is one that may be silent for long: one of
// events, or of gRPC in one of its forms.
func isEventStream(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	return equalFold(trimSpace(media), "text/event-stream") || hasPrefixFold(media, "application/grpc")
}

// IsGRPC reports whether a content type is that of gRPC itself, which only HTTP/2
// carries, and not one of its forms for the web.
func IsGRPC(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	media = trimSpace(media)
	const plain = "application/grpc"
	return hasPrefixFold(media, plain) && (len(media) == len(plain) || media[len(plain)] == '+')
}
