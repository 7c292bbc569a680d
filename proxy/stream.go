package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// streamPiece is how much of a body is written under one idle limit.
const streamPiece = 64 << 10

// stream is one request over HTTP/2, and its downstream. The request is written
// out as HTTP/1.1 would have it and parsed by fasthttp, so that whatever looks at
// its head sees the same, and refuses the same, over both protocols.
type stream struct {
	net.Conn // none: a stream is only asked for its addresses
	server   *Server
	readers  *sync.Pool // of *bufio.Reader, to parse heads from
	ctx      fasthttp.RequestCtx
	head     []byte
	names    []string
	source   bytes.Reader
	content  streamBody

	w        http.ResponseWriter
	r        *http.Request
	peer     net.Addr
	limits   *streamLimits
	delivery *delivery
	receipt  *receipt
}

func newStream(s *Server, readers *sync.Pool) *stream {
	st := &stream{server: s, readers: readers}
	st.content.stream = st
	return st
}

// RemoteAddr returns the client's address.
func (s *stream) RemoteAddr() net.Addr { return s.peer }

func (s *stream) from() (peer netip.Addr, trusted bool) { return s.server.peerOf(s) }

// LocalAddr returns the address of no socket.
func (s *stream) LocalAddr() net.Addr { return new(net.TCPAddr) }

// serve answers the request. An error means that the client must see a break.
func (s *stream) serve(w http.ResponseWriter, r *http.Request) (err error) {
	err = errNoAnswer // by a panic
	defer func() { s.ended(err) }()
	s.w, s.r = w, r
	s.peer, _ = r.Context().Value(peerKey{}).(net.Addr)
	s.limits = &streamLimits{control: http.NewResponseController(w), idle: s.server.cfg.IdleTimeout}
	defer s.limits.end()
	s.ctx.Init2(s, quietLogger{s.server.log}, false)
	s.server.dateless.CopyTo(&s.ctx.Response.Header)
	s.ctx.Response.Header.DisableNormalizing()
	s.ctx.Response.Header.SetNoDefaultContentType(true)
	if err := s.readHead(); err != nil {
		s.server.handleBroken(&s.ctx, err)
	} else {
		s.server.handle(&s.ctx)
	}
	return s.answer()
}

// owe keeps the receipt until the answer has ended.
func (s *stream) owe(r *receipt) { s.receipt = r }

func (s *stream) spoil() {
	if s.receipt != nil {
		s.receipt.aborted = abortedUpstream
	}
}

// ended settles what the answer owes.
func (s *stream) ended(err error) {
	r := s.receipt
	if r == nil {
		return
	}
	s.receipt = nil
	if err != nil && r.aborted == "" {
		r.aborted = abortedClient
	}
	r.settle()
}

func (s *stream) release() {
	s.ctx.Request.Reset()
	s.ctx.Response.Reset()
	s.ctx.ResetUserValues()
	s.source.Reset(nil)
	clear(s.names)
	s.names = s.names[:0]
	s.w, s.r, s.peer, s.limits, s.delivery = nil, nil, nil, nil, nil
}

// readHead lets fasthttp parse the request.
func (s *stream) readHead() error {
	var err error
	if s.head, err = s.appendHead(s.head[:0]); err != nil {
		return err
	}
	s.source.Reset(s.head)
	reader := s.readers.Get().(*bufio.Reader) // not for as long as the answer takes
	reader.Reset(&s.source)
	h := &s.ctx.Request.Header
	h.DisableNormalizing()
	err = h.Read(reader)
	reader.Reset(nil)
	s.readers.Put(reader)
	if err != nil {
		return err
	}
	return s.checkEmpty()
}

// checkEmpty refuses a body that was said to be empty and is not: nobody would read
// it, and so learn of it.
func (s *stream) checkEmpty() error {
	if s.r.ContentLength != 0 || len(s.r.Header[fasthttp.HeaderContentLength]) == 0 {
		return nil
	}
	if _, err := s.content.Read(make([]byte, 1)); err != io.EOF {
		return errFraming
	}
	return nil
}

// appendHead writes the head out as HTTP/1.1 has it. What the standard library has
// checked of it cannot break a line; method and target it has not, nor the spaces around
// a value, which HTTP/1.1 would drop and HTTP/2 forbids (RFC 9113, 8.2.1): they are let
// pass where nothing depends on the value.
func (s *stream) appendHead(dst []byte) ([]byte, error) {
	r := s.r
	switch {
	case !isToken(r.Method) || !isTarget(r.RequestURI, r.Method):
		return dst, errTarget
	case isPadded(r.Host):
		return dst, errHost
	}
	dst = append(append(append(append(dst, r.Method...), ' '), r.RequestURI...), " HTTP/1.1\r\n"...)
	if r.Host != "" {
		dst = appendField(dst, "Host", r.Host)
	}
	for name := range r.Header {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	for _, name := range s.names {
		for _, value := range r.Header[name] {
			if name == fasthttp.HeaderContentLength && isPadded(value) {
				return dst, errField
			}
			if name != fasthttp.HeaderHost || value != r.Host {
				dst = appendField(dst, name, value)
			}
		}
	}
	if r.ContentLength < 0 {
		dst = appendField(dst, fasthttp.HeaderTransferEncoding, "chunked")
	}
	return append(dst, crlf...), nil
}

// isPadded reports whether a value begins or ends with a space or a tab.
func isPadded(value string) bool { return value != strings.Trim(value, " \t") }

func appendField(dst []byte, name, value string) []byte {
	return append(append(append(append(dst, name...), ": "...), value...), crlf...)
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isTarget reports whether a path can stand in a request line. It is never a URL;
// a CONNECT has a host in its place.
func isTarget(path, method string) bool {
	for i := range len(path) {
		if path[i] <= ' ' || path[i] == 0x7f {
			return false
		}
	}
	return path != "" && (path[0] == '/' || path == "*" || method == http.MethodConnect)
}

// answer writes what the handler has left in the response.
func (s *stream) answer() error {
	resp := &s.ctx.Response
	defer func() { _ = resp.CloseBodyStream() }()
	status := resp.StatusCode()
	bodyless := s.r.Method == http.MethodHead || resp.SkipBody || status == http.StatusNoContent || status == http.StatusNotModified
	h := s.w.Header()
	s.copyHeader(h, bodyless && status != http.StatusNoContent)
	if bodyless {
		if resp.BodyStream() == nil && status != http.StatusNoContent && len(resp.Body()) > 0 {
			h.Set(fasthttp.HeaderContentLength, strconv.Itoa(len(resp.Body())))
		}
		s.w.WriteHeader(status)
		return s.settle()
	}
	from := resp.BodyStream()
	if from == nil {
		body := resp.Body()
		h.Set(fasthttp.HeaderContentLength, strconv.Itoa(len(body)))
		s.w.WriteHeader(status)
		if err := s.writePieces(body, s.delivery != nil); err != nil {
			return err
		}
		return s.settle()
	}
	body, ok := from.(flow)
	if !ok {
		return errNoFlow
	}
	if length := resp.Header.ContentLength(); length >= 0 {
		h.Set(fasthttp.HeaderContentLength, strconv.Itoa(length))
	}
	s.w.WriteHeader(status)
	if _, late := body.(*passBody); late {
		_ = s.limits.flush() // the head does not wait for the body
	}
	if _, err := body.WriteTo(nil); err != nil {
		return err
	}
	if passed, ok := body.(*passBody); ok {
		for _, t := range passed.taken.Trailers() {
			h.Add(http.TrailerPrefix+t.Name, t.Value)
		}
	}
	return s.settle()
}

// copyHeader hands the header lines over that HTTP/2 allows.
func (s *stream) copyHeader(h http.Header, length bool) {
	for name, value := range s.ctx.Response.Header.All() {
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		switch key {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
			continue
		case "Content-Length":
			if !length {
				continue
			}
		}
		h[key] = append(h[key], string(value))
	}
	if _, given := h["Content-Type"]; !given {
		h["Content-Type"] = nil // or it would be guessed
	}
}

// settle tells a waiting delivery that the answer has left.
func (s *stream) settle() error {
	if s.delivery == nil {
		return nil
	}
	if err := s.limits.flush(); err != nil {
		return err
	}
	s.delivery.complete()
	return nil
}

func (s *stream) secure() bool { return true }

func (s *stream) via() string { return "2.0 sedge" }

func (s *stream) inform(status int, header *fasthttp.ResponseHeader) {
	h := s.w.Header()
	for name, value := range header.All() {
		h.Add(string(name), string(value))
	}
	s.w.WriteHeader(status) // returns when it is written
	clear(h)
}

func (s *stream) begin(h *fasthttp.RequestHeader, frame framing) {
	h.SetContentLength(int(frame.length))
}

func (s *stream) body() content { return &s.content }

// reusable reports that other streams mind nothing of this one's body.
func (s *stream) reusable() bool { return true }

func (s *stream) gone() bool { return s.r.Context().Err() != nil }

func (s *stream) context() context.Context { return s.r.Context() }

func (s *stream) unhurry() { s.limits.unhurried = true }

func (s *stream) interrupt() { s.limits.cutRead() }

func (s *stream) expect(d *delivery) {
	if s.delivery = d; d != nil {
		d.head = 0 // only the body is counted
	}
}

func (s *stream) join() {}

func (s *stream) carry(ctx *fasthttp.RequestCtx, body flow, length int) {
	ctx.Response.SetBodyStream(body, length)
}

func (s *stream) write(p []byte, _ bool) error { return s.writePieces(p, true) }

func (s *stream) writeAll(parts [][]byte) error {
	for i, part := range parts {
		if err := s.writePieces(part, i == len(parts)-1); err != nil {
			return err
		}
	}
	return nil
}

// writePieces writes p so that the idle limit counts anew for each piece, and waits
// for it to leave if flush is set.
func (s *stream) writePieces(p []byte, flush bool) error {
	for len(p) > 0 {
		n := min(len(p), streamPiece)
		stop := s.limits.awaitWrite()
		written, err := s.w.Write(p[:n])
		if s.receipt != nil {
			s.receipt.sent += int64(written)
		}
		if err == nil && flush {
			err = s.limits.control.Flush()
		}
		stop()
		if err != nil {
			return err
		}
		if s.delivery != nil && s.delivery.passed(nil, int64(n)) {
			s.delivery = nil
		}
		p = p[n:]
	}
	return nil
}

// streamBody is the request's body.
type streamBody struct{ stream *stream }

// Read waits for what the client sends for at most the idle limit.
func (b *streamBody) Read(p []byte) (int, error) {
	if !b.stream.limits.unhurried {
		defer b.stream.limits.awaitRead()()
	}
	return b.stream.r.Body.Read(p)
}

// trailers returns what followed the body.
func (b *streamBody) trailers() (trailers []upstream.Trailer) {
	for _, name := range slices.Sorted(maps.Keys(b.stream.r.Trailer)) {
		for _, value := range b.stream.r.Trailer[name] {
			trailers = append(trailers, upstream.Trailer{Name: name, Value: value})
		}
	}
	return trailers
}

// awaited is false: the standard library tells the client to send at the first Read,
// and hides that it was asked.
func (b *streamBody) awaited() bool { return false }

// streamLimits bound each read and each write of one stream. HTTP/2's own
// deadlines run on while nobody reads or writes, so timers set them when they are due.
type streamLimits struct {
	control *http.ResponseController
	idle    time.Duration

	unhurried     bool // reads have no limit
	reads, writes *time.Timer

	mu   sync.Mutex
	over bool // the request is: its deadlines must not be touched
}

// awaitRead begins the wait for a read; the function that it returns ends it.
func (l *streamLimits) awaitRead() func() bool { return await(&l.reads, l.idle, l.cutRead) }

func (l *streamLimits) awaitWrite() func() bool { return await(&l.writes, l.idle, l.cutWrite) }

func await(timer **time.Timer, limit time.Duration, cut func()) func() bool {
	if *timer == nil {
		*timer = time.AfterFunc(limit, cut)
	} else {
		(*timer).Reset(limit)
	}
	return (*timer).Stop
}

func (l *streamLimits) flush() error {
	defer l.awaitWrite()()
	return l.control.Flush()
}

func (l *streamLimits) cutRead() { l.cut((*http.ResponseController).SetReadDeadline) }

func (l *streamLimits) cutWrite() { l.cut((*http.ResponseController).SetWriteDeadline) }

func (l *streamLimits) cut(set func(*http.ResponseController, time.Time) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		_ = set(l.control, time.Unix(1, 0))
	}
}

// end stops the timers. None of them may fire into the next request.
func (l *streamLimits) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for _, timer := range [...]*time.Timer{l.reads, l.writes} {
		if timer != nil {
			timer.Stop()
		}
	}
}
