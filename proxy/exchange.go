package proxy

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/proxy/coding"
	"github.com/sedge-proxy/sedge/visitor"
)

// exchange is one request on its way. It is pooled: nothing of it may be kept
// after the handler has returned.
type exchange struct {
	server *Server
	site   *Site
	ctx    *fasthttp.RequestCtx
	down   downstream
	began  time.Time

	// accept
	fields    []field
	id        string     // of the request
	peer      netip.Addr // the other end of the connection
	clientIP  netip.Addr
	scheme    string
	host      string // as the client asked, with port
	rawPath   []byte // as it came
	trusted   bool   // the peer may speak for others
	tunnelled bool
	accepted  coding.Accepts
	acceptsOK bool        // accepted is filled
	parent    traceParent // zero: none
	badParent bool        // what the client said of it is malformed
	trace     *Trace      // nil: not sampled

	// route
	page  decision.Page
	route *route

	// identify
	client  visitor.Client
	kind    pageKind
	visitor string // verified or minted id
	minted  string // cookie value for the answer
	counted bool

	// profile to plan
	concerned    bool
	bodies       decision.Bodies // that experiences of the page may edit
	budget       *budget
	attributes   []string
	facts        decision.Facts
	segmentation *decision.Segmentation
	segmented    bool
	assignments  []decision.Assignment
	query        decision.Query
	plan         *decision.Plan
	reason       Reason // why the origin's own page is shown

	// obtain, rewrite
	key         []byte
	target      string // as the origin gets it; "" for the client's, or the plan's
	lookup      lookup
	ready       ready
	from        source            // of the answer's body, if that is not in the response
	doubt       func()            // keeps the answer on its way from being kept; nil: it is not
	private     bool              // the answer has the cache headers of an edited page
	unpacked    bool              // a kept body leaves otherwise packed than it is kept
	tag         string            // ETag of the client's copy that the origin is asked about
	out         *fasthttp.Request // to the origin
	wholly      bool              // no part of the answer is asked for, since it is mapped or edited
	hasMapped   bool              // the client has a copy of the answer whose URLs are mapped
	body        *requestBody
	status      int
	cacheStatus string

	upstreamTook time.Duration // until the heads of the origin's answers were there

	// Bound once: x.header and x.inform.
	headerFunc  func(name string) []byte
	informFunc  func(status int, header *fasthttp.ResponseHeader)
	selectFunc  func(names []string) []byte
	spareBudget *budget
	addHeaders  [4][2]string // room for what the origin's request gets
	scratch     []byte

	watch *watch         // holds triggers that are recorded with the view of the page; nil: none
	event [1]event.Event // room for that view alone
}

// pageKind says what a request may become.
type pageKind struct {
	page       bool // GET or HEAD that may show HTML which is personalized
	explicit   bool // it asks for HTML in so many words
	navigation bool // a person goes to a page: it mints and counts

	// What a script, or a page for its parts, asks for: bodies of these kinds may
	// come that are personalized, and no page. Zero for what may become a page.
	parts decision.Bodies
}

// handle answers one request: the numbered list of the package's story.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	x := s.begin(ctx)
	if x == nil {
		return
	}
	defer x.end()
	if !x.accept() {
		return
	}
	x.beginTrace()
	if x.serveChallenge() || x.redirectToTLS() || !x.pickRoute() || x.serveTunnel() {
		return
	}
	if !x.route.personalize {
		x.passPlain()
		return
	}
	x.identify()
	if x.concerned {
		x.decide() // profile, segment, assign, plan: within the budget
		if x.redirect() {
			return
		}
	}
	if !x.obtain() { // from what is kept, or from the origin
		return
	}
	if x.concerned {
		x.rewrite()
	} else {
		x.passOn()
	}
	x.record()
}

// begin takes an exchange from the pool and pins the site.
func (s *Server) begin(ctx *fasthttp.RequestCtx) *exchange {
	if s.isRefused(ctx) {
		s.refuse(ctx)
		return nil
	}
	site := s.pinSite()
	if site == nil {
		ctx.Error("starting", fasthttp.StatusServiceUnavailable)
		ctx.SetConnectionClose()
		return nil
	}
	s.stats.InFlight.Add(1)
	x := s.exchanges.Get().(*exchange)
	x.site, x.ctx, x.began = site, ctx, s.now()
	x.down = ctx.Conn().(downstream)
	return x
}

// end is the outermost frame of every request: it catches panics, hands over what
// is to be told of the answer and gives everything back.
func (x *exchange) end() {
	if r := recover(); r != nil {
		x.server.notePanic("a request", r, "request_id", x.id)
		x.recordTriggers()
		x.fail(fasthttp.StatusInternalServerError, "internal error")
		x.ctx.SetConnectionClose()
	}
	if x.lookup.flight != nil {
		x.lookup.flight.Leave()
	}
	if x.from != nil { // nobody has sent it
		_ = x.from.Close()
	}
	if x.server.draining.Load() || !x.down.reusable() {
		x.ctx.SetConnectionClose()
	}
	if x.status == 0 {
		x.status = x.ctx.Response.StatusCode()
	}
	x.server.stats.answered(x.status)
	x.server.stats.InFlight.Add(-1)
	x.times().Requests[statusClass(x.status)].observe(x.server.now().Sub(x.began))
	x.report()
	x.site.unpin()
	x.reset()
	x.server.exchanges.Put(x)
}

// times are those of the request's route.
func (x *exchange) times() *RouteStats {
	if x.route == nil {
		return x.server.unrouted
	}
	return x.route.stats
}

func (x *exchange) reset() {
	spare := x.spareBudget
	if x.budget != nil {
		x.budget.stop()
		spare = x.budget.reusable()
	}
	clear(x.fields)
	clear(x.attributes)
	clear(x.assignments)
	*x = exchange{
		server: x.server, headerFunc: x.headerFunc, informFunc: x.informFunc, out: x.out, scratch: x.scratch[:0], key: x.key[:0],
		selectFunc: x.selectFunc, lookup: lookup{values: x.lookup.values[:0], lines: x.lookup.lines[:0]},
		spareBudget: spare, fields: x.fields[:0], attributes: x.attributes[:0], assignments: x.assignments[:0],
	}
}

// Header returns the first value of a request header, in any case.
func (x *exchange) Header(name string) []byte { return x.header(name) }

func (x *exchange) header(name string) []byte {
	for i := range x.fields {
		if f := &x.fields[i]; equalFold(f.name, name) {
			return f.value
		}
	}
	return nil
}

// Cookie returns the first cookie of that name.
func (x *exchange) Cookie(name string) []byte {
	for i := range x.fields {
		if f := &x.fields[i]; equalFold(f.name, "Cookie") {
			if value, ok := findCookie(f.value, name); ok {
				return value
			}
		}
	}
	return nil
}

func findCookie(header []byte, name string) ([]byte, bool) {
	for len(header) > 0 {
		pair, rest, _ := bytes.Cut(header, []byte{';'})
		header = rest
		key, value, ok := bytes.Cut(trimSpace(pair), []byte{'='})
		if ok && string(trimSpace(key)) == name {
			return bytes.Trim(trimSpace(value), `"`), true
		}
	}
	return nil, false
}

// Query returns the first value of a query key, decoded.
func (x *exchange) Query(name string) []byte {
	query := x.page.Query
	for len(query) > 0 {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if key == name || strings.ContainsAny(key, "%+") && string(x.unescape(key)) == name {
			return x.unescape(value)
		}
	}
	return nil
}

// unescape decodes into the scratch buffer; what is no escape stays as it is.
func (x *exchange) unescape(s string) []byte {
	x.scratch = appendUnescaped(x.scratch[:0], s)
	return x.scratch
}

func appendUnescaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			dst = append(dst, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func unhex(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return lower(b) - 'a' + 10
}

// Host returns the host without port.
func (x *exchange) Host() []byte { return []byte(x.page.Host) }

// Path returns the decoded path.
func (x *exchange) Path() []byte { return []byte(x.page.Path) }

// Method returns the method.
func (x *exchange) Method() []byte { return x.ctx.Method() }

// requestBody is the client's body on its way to the origin.
type requestBody struct {
	stream content
	left   int64 // -1: no limit
	over   bool
}

// Read reads up to the limit; beyond it the body is an error.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.stream.Read(p)
	if b.left >= 0 {
		if b.left -= int64(n); b.left < 0 {
			b.over = true
			return 0, errBodyTooLarge
		}
	}
	return n, err
}
