package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// What the origin must not be asked when the page is going to be changed: for a
// part of it, or whether the client's copy, which has our edits, is still its own.
var (
	wholePage  = []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "Range", "If-Range"}
	wholeIfWas = wholePage[:4]
)

// fetch asks the origin. It reports false when it has answered with an error.
func (x *exchange) fetch() bool {
	x.prepare()
	if !x.ask() {
		return false
	}
	if x.lookup.again {
		x.lookup.again = false
		x.prepare()
		if !x.ask() {
			return false
		}
	}
	if x.lookup.found != nil {
		return true // what is kept serves in the origin's place, or holds
	}
	if !x.hasBody() && (x.concerned && x.isPartOfPage() || x.isPartOfMapped()) {
		// Offsets in the origin's page mean nothing in ours: ask for all of it.
		x.dropSource()
		x.kind.explicit, x.wholly = true, true
		x.prepare()
		return x.ask()
	}
	return true
}

// isPartOfPage reports whether a range was asked for, and the answer is of a kind that may be edited.
func (x *exchange) isPartOfPage() bool {
	resp := &x.ctx.Response
	switch resp.StatusCode() {
	case fasthttp.StatusPartialContent, fasthttp.StatusRequestedRangeNotSatisfiable:
		return !x.kind.explicit && (x.isEdited(resp.Header.ContentType()) || resp.StatusCode() == fasthttp.StatusRequestedRangeNotSatisfiable)
	}
	return false
}

// hasBody reports whether the request has a body, which can be sent only once.
func (x *exchange) hasBody() bool {
	length := x.ctx.Request.Header.ContentLength()
	return length > 0 || length == -1
}

// prepare makes the request that the origin gets.
func (x *exchange) prepare() {
	o := upstream.PrepareOptions{
		Peer:           x.peerAddress(),
		Scheme:         x.scheme,
		Host:           x.host,
		TrustForwarded: x.trusted,
		Via:            x.down.via(),
		OmitVia:        !x.route.upstream.TellsVia(),
		StripCookies:   x.site.cookieNames,
		AddHeaders:     x.requestIDHeader(),
	}
	o.ForceAcceptEncoding = x.forcedEncoding()
	if x.concerned {
		o.StripHeaders = wholeIfWas
		if x.kind.explicit || x.hasBody() {
			o.StripHeaders = wholePage
		}
		action := &x.plan.Action
		if action.Path != "" {
			o.Path = string(x.appendTarget(nil))
		}
		o.AddHeaders = append(o.AddHeaders, action.Headers...)
	}
	if x.target != "" {
		o.Path = x.target
	}
	x.prepareMapping(&o)
	x.prepareLookup(&o)
	x.passTrace(&o)
	upstream.Prepare(x.out, &x.ctx.Request, o)
	x.lookup.ready = true
}

// forcedEncoding is what the origin is asked for in Accept-Encoding if its answer may have
// to be read, "" for what the client asks for.
func (x *exchange) forcedEncoding() string {
	if !x.concerned && !x.mayBeMapped() {
		return ""
	}
	return x.accepts().Readable().Request()
}

// prepareLookup makes the origin say whether what is kept, or what the client has of a page
// that may be edited, still holds.
func (x *exchange) prepareLookup(o *upstream.PrepareOptions) {
	l := &x.lookup
	l.asks, x.tag = false, ""
	switch {
	case l.stale != nil:
		conditions := l.stale.Rules.AppendConditions(nil)
		l.asks = len(conditions) > 0
		switch {
		case l.asks || x.wholly:
			o.StripHeaders = wholePage
		case !x.concerned: // whether the client's copy holds says nothing of ours
			o.StripHeaders = wholeIfWas
		}
		o.AddHeaders = append(o.AddHeaders, conditions...)
	case x.concerned && !x.wholly:
		o.AddHeaders = append(o.AddHeaders, x.askByTag()...)
	}
}

func (x *exchange) requestIDHeader() [][2]string {
	return append(x.addHeaders[:0], [2]string{"X-Request-Id", x.id})
}

func (x *exchange) peerAddress() string {
	if !x.peer.IsValid() {
		return ""
	}
	return x.peer.String()
}

// ask sends the request and takes the head of the answer.
func (x *exchange) ask() bool {
	o := x.upstreamOptions()
	var body io.Reader // nil for none
	if b := x.requestBody(); b != nil {
		body = b
		o.Interrupt, o.Trailers, o.Expect = x.down.interrupt, b.stream.trailers, b.stream.awaited()
		if isCall(&x.ctx.Request.Header) && x.route.upstream.HTTP2() {
			x.down.unhurry()
		}
	}
	began := x.server.now()
	x.lookup.sent = began
	err := x.route.upstream.Do(x.out, &x.ctx.Response, body, o)
	x.noteAsked(began, x.ctx.Response.StatusCode(), err)
	if err != nil {
		if x.servesStale(err) {
			return true
		}
		x.failUpstream(err)
		return false
	}
	x.delivered()
	x.settle()
	return true
}

// noteAsked notes how long the origin took until the head of its answer was there.
func (x *exchange) noteAsked(began time.Time, status int, err error) {
	ended := x.server.now()
	x.upstreamTook += ended.Sub(began)
	x.route.stats.Upstream.observe(ended.Sub(began))
	x.traceFetch(ended, status, err != nil)
}

// inform relays a 1xx answer, save to HTTP/1.0 clients, who know none. Cookies are
// left to the final answer.
func (x *exchange) inform(status int, header *fasthttp.ResponseHeader) {
	if x.ctx.Request.Header.IsHTTP11() {
		header.DelAllCookies()
		x.route.upstream.MapHints(header, x.scheme, x.host)
		x.down.inform(status, header)
	}
}

// upstreamOptions say who asks, and by which name of the site.
func (x *exchange) upstreamOptions() upstream.Options {
	gone := x.down.gone
	switch c, ok := x.down.(*conn); {
	case x.lookup.flight != nil && x.down.context() == nil:
		x.lookup.client = &detachable{down: x.down}
		gone = x.lookup.client.gone
	case ok:
		gone = c.goneFunc // bound once
	}
	return upstream.Options{
		Informational: x.informFunc, Gone: gone, Context: x.askContext(),
		Scheme: x.scheme, Host: x.host, Visitor: x.stickTo(), Client: x.clientIP,
	}
}

// askContext ends when the client leaves, until the answer goes on without them; nil where
// the client must be asked.
func (x *exchange) askContext() context.Context {
	client := x.down.context()
	if client == nil || x.lookup.flight == nil {
		return client
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(client))
	x.lookup.client = &detachable{stop: context.AfterFunc(client, cancel)}
	return ctx
}

// delivered maps the answer to what the client knows the site by. The origin
// cannot set the visitor cookie.
func (x *exchange) delivered() {
	resp := &x.ctx.Response
	var asked []byte
	if x.ctx.IsGet() || x.ctx.IsHead() {
		asked = x.ctx.RequestURI()
	}
	x.route.upstream.Deliver(resp, x.scheme, x.host, asked)
	resp.Header.DelCookie(x.site.Cookie.Name())
}

func (x *exchange) requestBody() *requestBody {
	if !x.hasBody() {
		return nil
	}
	body := &requestBody{stream: x.down.body(), left: -1}
	if limit := int64(x.server.cfg.MaxBody); limit > 0 {
		body.left = limit
	}
	x.body = body
	return body
}

// failUpstream answers for an origin that did not.
func (x *exchange) failUpstream(err error) {
	status, retryAfter := fasthttp.StatusBadGateway, time.Second
	var e *upstream.Error
	if errors.As(err, &e) {
		status = e.Kind.Status()
		retryAfter = max(retryAfter, e.RetryAfter)
	}
	if errors.Is(err, upstream.ErrSlowBody) {
		status = fasthttp.StatusRequestTimeout
	}
	if errors.Is(err, errBodyTooLarge) {
		status = fasthttp.StatusRequestEntityTooLarge
	}
	x.noteUpstream(err, status)
	x.fail(status, describe(status))
	if x.body != nil {
		x.ctx.SetConnectionClose()
	}
	if status == fasthttp.StatusServiceUnavailable {
		seconds := (retryAfter + time.Second - 1) / time.Second
		x.ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(int(seconds)))
	}
}

// noteUpstream counts and logs an origin that did not answer, and what the client got.
func (x *exchange) noteUpstream(err error, status int) {
	level := slog.LevelWarn
	var e *upstream.Error
	if errors.As(err, &e) && e.Kind == upstream.Client {
		level = slog.LevelDebug // who leaves or lies is no concern of the operator's
	} else if e != nil {
		x.server.stats.UpstreamErrors.Add(1)
	}
	x.server.log.Log(context.Background(), level, "upstream failed", "request_id", x.id, "upstream", x.route.upstream.Name(), "status", status, "error", err.Error())
}

func describe(status int) string {
	switch status {
	case fasthttp.StatusGatewayTimeout:
		return "the site took too long to answer"
	case fasthttp.StatusServiceUnavailable:
		return "the site is too busy at the moment"
	case fasthttp.StatusBadRequest:
		return "the request body broke off"
	case fasthttp.StatusRequestTimeout:
		return "the request body came too slowly"
	case fasthttp.StatusRequestEntityTooLarge:
		return errBodyTooLarge.Error()
	}
	return "the site could not be reached"
}

// isHTML reports whether a content type is a page.
func isHTML(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	media = trimSpace(media)
	return equalFold(media, "text/html") || equalFold(media, "application/xhtml+xml")
}
