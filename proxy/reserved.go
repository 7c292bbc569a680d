package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/event"
)

var (
	errNotGzip  = errors.New("the body is not valid gzip")
	errCallSize = errors.New("the call is too large")
)

// serveReserved answers Sedge's own paths on the site; rest is what follows the
// prefix. They never reach the origin, and admin is never among them.
func (x *exchange) serveReserved(rest string) {
	name, ok := strings.CutPrefix(rest, "/v1/")
	if !ok {
		x.apiFail(fasthttp.StatusNotFound, "there is nothing here")
		return
	}
	_, call := event.Kind(name)
	switch {
	case name == "me" && (x.ctx.IsGet() || x.ctx.IsHead()):
		x.serveMe()
	case !call && name != "me":
		x.apiFail(fasthttp.StatusNotFound, "there is no such call")
	case x.ctx.IsOptions():
		x.servePreflight()
	case !call || !x.ctx.IsPost():
		x.apiFail(fasthttp.StatusMethodNotAllowed, "the method is not allowed here")
		x.ctx.Response.Header.Set(fasthttp.HeaderAllow, allowed(call))
	default:
		x.serveCall(name)
	}
}

func allowed(call bool) string {
	if call {
		return "POST, OPTIONS"
	}
	return "GET, HEAD, OPTIONS"
}

// serveCall takes events from a page or a server.
func (x *exchange) serveCall(kind string) {
	if !x.ownSite() {
		x.apiFail(fasthttp.StatusForbidden, "calls from other sites are not taken")
		return
	}
	body, err := x.readCall()
	if err != nil {
		x.apiFail(fasthttp.StatusBadRequest, err.Error())
		x.ctx.SetConnectionClose() // the rest of the body is not wanted
		return
	}
	events, err := event.Decode(kind, body, x.server.now(), x.server.random)
	var wrong *event.DecodeError
	switch {
	case errors.As(err, &wrong):
		x.apiFail(fasthttp.StatusBadRequest, wrong.Error())
		return
	case err != nil:
		x.server.log.Error("call not decoded", "request_id", x.id, "error", err.Error())
		x.apiFail(fasthttp.StatusInternalServerError, "internal error")
		return
	}
	if len(events) > 0 && x.callVisitor() {
		if err := x.keepCall(events); err != nil {
			x.refuseCall(err)
			return
		}
	}
	x.apiAnswer(fasthttp.StatusOK, map[string]any{"success": true})
}

// callVisitor finds whose events these are: the cookie's, or somebody new's. Bots
// and people who want no profile are answered alike, and nothing is kept.
func (x *exchange) callVisitor() bool {
	x.classify()
	x.recognize()
	if x.client.Bot || x.client.NoProfiling {
		return false
	}
	if x.visitor == "" {
		x.mint()
	}
	if x.visitor == "" {
		return false
	}
	x.segmentForRecord()
	return true
}

func (x *exchange) keepCall(events []event.Event) error {
	for i := range events {
		e := &events[i]
		e.Visitor, e.Segment, e.Minted = x.visitor, x.primary(), x.minted != ""
	}
	ctx := newBudget(acceptLimit)
	defer ctx.stop()
	return x.site.Recorder.Accept(ctx, events)
}

func (x *exchange) refuseCall(err error) {
	if errors.Is(err, event.ErrBusy) {
		x.apiFail(fasthttp.StatusTooManyRequests, "too many events at the moment")
	} else {
		x.server.log.Error("events not accepted", "request_id", x.id, "error", err.Error())
		x.apiFail(fasthttp.StatusServiceUnavailable, "events cannot be kept at the moment")
	}
	x.ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
}

// readCall reads and unpacks the body. Clients label it in many ways, so its own
// first bytes decide whether it is compressed.
func (x *exchange) readCall() ([]byte, error) {
	body := x.requestBody()
	if body == nil {
		return nil, nil
	}
	packed, err := readUpTo(body, event.MaxBatch)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(packed, []byte{0x1f, 0x8b}) {
		return packed, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, errNotGzip
	}
	unpacked, err := readUpTo(r, event.MaxBatch)
	if err != nil && err != errCallSize {
		return nil, errNotGzip
	}
	return unpacked, err
}

func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, errors.New("the body broke off")
	}
	if int64(len(body)) > limit {
		return nil, errCallSize
	}
	return body, nil
}

// ownSite reports whether a browser says that the call comes from the site's own
// pages, or nothing says anything, as servers do.
func (x *exchange) ownSite() bool {
	if equalFold(x.header("Sec-Fetch-Site"), "cross-site") {
		return false
	}
	origin := x.header(fasthttp.HeaderOrigin)
	return len(origin) == 0 || x.isOwnOrigin(origin) || equalFold(x.header("Sec-Fetch-Site"), "same-site")
}

func (x *exchange) isOwnOrigin(origin []byte) bool {
	_, host, ok := strings.Cut(string(origin), "://")
	return ok && withoutPort(strings.ToLower(host)) == x.page.Host
}

func (x *exchange) servePreflight() {
	if !x.isOwnOrigin(x.header(fasthttp.HeaderOrigin)) {
		x.apiFail(fasthttp.StatusForbidden, "calls from other sites are not taken")
		return
	}
	h := &x.answer(fasthttp.StatusNoContent).Header
	x.allowOrigin(h)
	h.Set(fasthttp.HeaderAccessControlAllowMethods, "POST, GET, OPTIONS")
	h.Set(fasthttp.HeaderAccessControlAllowHeaders, "Authorization, Content-Type, Content-Encoding")
	h.Set(fasthttp.HeaderAccessControlMaxAge, "600")
	h.Set("X-Request-Id", x.id)
}

func (x *exchange) allowOrigin(h *fasthttp.ResponseHeader) {
	if origin := x.header(fasthttp.HeaderOrigin); len(origin) > 0 && x.isOwnOrigin(origin) {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
		h.Set(fasthttp.HeaderAccessControlAllowCredentials, "true")
		addVary(h, fasthttp.HeaderOrigin)
	}
}

// serveMe tells visitors what is known of them, without the id, which stays in
// the cookie.
func (x *exchange) serveMe() {
	x.classify()
	x.recognize()
	if x.visitor == "" && !x.client.Bot && !x.client.NoProfiling && !x.client.Prefetch && x.ownSite() {
		x.mint()
	}
	x.segmentForRecord()
	x.apiAnswer(fasthttp.StatusOK, x.me())
}

type score struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Reached bool    `json:"reached"`
}

type me struct {
	Known     bool     `json:"known"` // the visitor came with a valid cookie
	Segment   string   `json:"segment"`
	Segments  []string `json:"segments"`
	Scores    []score  `json:"scores"`
	PageViews int64    `json:"page_views"`
	Sessions  int64    `json:"sessions"`
	Orders    int64    `json:"orders"`
	Revenue   float64  `json:"revenue"`
}

func (x *exchange) me() me {
	m := me{Known: x.visitor != "" && x.minted == "", Segment: x.primary(), Segments: []string{}, Scores: []score{}}
	if s := x.segmentation; s != nil {
		m.Segments = append(m.Segments, s.Members...)
		for _, each := range s.Scores {
			m.Scores = append(m.Scores, score{each.Name, each.Value, each.Reached})
		}
	}
	if p := x.facts.Profile; p != nil {
		m.PageViews, m.Sessions, m.Orders, m.Revenue = p.PageViews, p.Sessions, p.Orders, p.Revenue.Units()
	}
	return m
}

// apiAnswer answers a call in JSON.
func (x *exchange) apiAnswer(status int, value any) {
	resp := x.answer(status)
	h := &resp.Header
	h.SetContentType("application/json")
	h.Set(fasthttp.HeaderCacheControl, "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", x.id)
	x.allowOrigin(h)
	x.giveCookie(h)
	body, err := json.Marshal(value)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	resp.SetBodyRaw(append(body, '\n'))
}

func (x *exchange) apiFail(status int, message string) {
	x.minted = ""
	x.apiAnswer(status, map[string]any{"success": false, "error": message, "request_id": x.id})
}
