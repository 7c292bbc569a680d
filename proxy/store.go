package proxy

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// asked is a request to the origin whose answer may be kept: a visitor's, or one by which
// Sedge renews what it has.
type asked struct {
	cache.Exchange
	override     cache.Override
	key          []byte
	scheme, host string
	out          *fasthttp.Request
	began        uint64
}

// exchanged says what the rules have to know of the request and of how its answer came.
func (x *exchange) exchanged(framed bool) cache.Exchange {
	l := &x.lookup
	return cache.Exchange{
		Method: x.ctx.Method(), Path: pathOf(x.out.Header.RequestURI()), Request: &l.request,
		Known: x.knownBy(), Odd: x.isOdd(), Incomplete: !framed, Sent: l.sent, Received: x.server.now(),
	}
}

// asked is for an answer that is kept.
func (x *exchange) asked(e cache.Exchange) *asked {
	a := &asked{
		Exchange: e, override: x.route.cache.override, key: x.key, scheme: x.scheme, host: x.host, out: x.out, began: x.lookup.began,
	}
	if f := x.lookup.flight; f != nil {
		a.began = f.Began()
	}
	return a
}

func pathOf(target []byte) []byte {
	path, _, _ := bytes.Cut(target, []byte{'?'})
	return path
}

// newObject makes an object of the answer's head.
func (s *Server) newObject(a *asked, rules *cache.Rules, h *fasthttp.ResponseHeader) *object {
	kept, size := newKeptRules(rules, h)
	o := &object{
		Key: string(a.key), Scheme: a.scheme, Host: strings.ToLower(a.host), Target: string(a.out.Header.RequestURI()),
		Status: h.StatusCode(), Rules: kept, RulesSize: size, Stored: a.Received,
		Vary: rules.Vary, Tags: rules.Tags, Began: a.began,
	}
	if len(rules.Vary) > 0 {
		values, _ := appendSelecting(nil, nil, a.out, rules.Vary)
		o.Selecting = string(values)
	}
	h.CopyTo(&o.Header)
	delFold(&o.Header, ofMoment[:]...)
	return o
}

// mayKeep reports whether an answer is kept.
func mayKeep(rules *cache.Rules, e *cache.Exchange) bool {
	return rules.Kept() && !rules.IsSomebodys(e.Known)
}

// ofMoment are headers that say something of one answer's way, and are not kept.
var ofMoment = [...]string{fasthttp.HeaderAge, fasthttp.HeaderTransferEncoding, fasthttp.HeaderConnection, fasthttp.HeaderTrailer, "X-Request-Id"}

// keep keeps the origin's answer if that may be, while it answers the request.
func (x *exchange) keep() {
	l := &x.lookup
	h := &x.ctx.Response.Header
	from := x.takeSource()
	x.from = from
	if l.flight == nil && l.stale == nil && !cache.MayBeStorable(h, x.route.cache.override) {
		return // nobody waits for it, and what must be confirmed each time is not worth much
	}
	e := x.exchanged(from == nil || from.Framed())
	rules := cache.ReadRules(&e, h, x.route.cache.override)
	kept := mayKeep(&rules, &e)
	length := max(-1, h.ContentLength())
	if l.stale != nil && !e.TellsNothing(h.StatusCode()) && (!kept || rules.ETag == l.stale.Rules.ETag && !rules.Storable) {
		x.server.objects.Drop(l.stale) // it does not hold any more, or the origin never says that it does
		kept = kept && rules.Storable
	}
	// What must be confirmed each time is not worth much, and nothing if it is not confirmed.
	useless := !rules.Storable && l.flight == nil
	if !kept || useless || int64(length) > x.server.objects.MaxObject() {
		x.refuse()
		if kept && !useless && l.stale != nil {
			x.server.objects.Drop(l.stale)
		}
		return
	}
	o := x.server.newObject(x.asked(e), &rules, h)
	if from == nil {
		if len(h.ContentEncoding()) > 0 {
			x.refuse() // nothing is packed as nothing
			return
		}
		o.Body = []byte{}
		x.complete(o)
		return
	}
	ahead := arrivedReader{from: from}
	whole := ahead.gather(length, wholeSize, x.server.wholeTime)
	begun := &begunSource{source: from, ahead: ahead}
	x.from = begun
	switch {
	case whole:
		if o.Body = ahead.own; len(ahead.own) == 0 {
			o.Body = bytes.Clone(ahead.kept) // which lies in the connection's buffer
		}
		o.Body = fitting(o.Body)
		x.complete(o)
		if len(from.Trailers()) == 0 {
			_ = from.Close()
			x.from = &keptSource{o.Body}
			h.SetContentLength(len(o.Body))
			if l.request.IsConditional() { // which was not sent on
				l.found = o
			}
		} else { // they are for this client alone
			h.SetContentLength(length)
		}
	case !rules.Storable || ahead.failed():
		x.refuse() // nobody could use it before it was confirmed, or it is broken
	default:
		x.fillFrom(begun, o, length)
	}
}

// refuse lets those who wait for the answer ask for themselves, and those who come within
// the next minutes not wait at all.
func (x *exchange) refuse() {
	if x.lookup.flight != nil {
		x.lookup.flight.Refuse(true)
	}
}

// complete stores an answer that is all there.
func (x *exchange) complete(o *object) {
	l := &x.lookup
	stored := x.server.objects.Put(o)
	l.status.Stored = stored
	if stored {
		x.server.stats.CacheStores.Add(1)
	}
	switch {
	case l.flight == nil:
		if stored {
			x.server.flights.Shared(x.key, x.selectFunc)
		}
	case stored && o.Rules.Storable:
		l.flight.Found(o)
	default:
		l.flight.Refuse(!stored || !o.Rules.Storable)
	}
	l.stale = nil
	_ = x.ctx.Response.CloseBodyStream() // it is taken
	server := x.server
	x.doubt = func() { server.objects.Drop(o) }
}

// fillFrom makes the answer go into the cache as it comes.
func (x *exchange) fillFrom(from source, o *object, length int) {
	l := &x.lookup
	if l.flight == nil {
		return
	}
	to := l.flight.Open(o, length)
	if to == nil {
		return
	}
	if l.client != nil {
		l.client.detach()
	}
	s := &fillingSource{reader: to.Reader(nil), origin: from, ended: make(chan struct{})}
	x.from = s
	server := x.server // the exchange ends before
	x.doubt = func() {
		to.Fail(cache.ErrOverflow) // as if it were too large: the client may still want the rest
		server.objects.Drop(o)
	}
	l.status.Stored = true
	go s.fill(x.server, to)
}

// confirmed renews a stale answer that the origin says still holds, and answers with it.
func (x *exchange) confirmed() {
	l := &x.lookup
	x.dropSource()
	if !confirms(&x.ctx.Response.Header, l.stale, x.server.now()) {
		l.stale, l.again = nil, true
		return
	}
	o := l.stale
	if l.renews { // else the head is for this request alone, and the next one asks again
		o = x.server.renew(x.asked(x.exchanged(true)), o, &x.ctx.Response.Header)
	}
	l.status.ForwardStatus = fasthttp.StatusNotModified
	if l.flight != nil {
		l.flight.Found(o)
	}
	x.server.stats.CacheConfirmed.Add(1)
	l.verdict = o.Rules.At(x.server.now(), &cache.Request{})
	l.stale = nil
	x.use(o)
}

// confirms reports whether a 304 is about a kept answer. It was asked about this very one,
// so one that names no version is.
func confirms(h *fasthttp.ResponseHeader, o *object, received time.Time) bool {
	v := cache.ReadValidators(h, received)
	return v.ETag == "" && v.Modified.IsZero() || len(cache.SelectFreshened(&v, []cache.Validators{o.Rules.Validators})) > 0
}

// renew returns the object as a 304 has freshened it. One that sets a cookie is one
// visitor's, with all that it says, and freshens nothing: the next request asks again.
func (s *Server) renew(a *asked, o *object, h *fasthttp.ResponseHeader) *object {
	if len(peekFold(h, fasthttp.HeaderSetCookie)) > 0 {
		return o
	}
	var header fasthttp.ResponseHeader
	if err := cache.Freshen(&header, &o.Header, h); err != nil {
		s.log.Warn("kept answer not freshened", "error", err.Error())
		return o
	}
	a.Request = nil // its wishes were met by asking
	a.Method = []byte(fasthttp.MethodGet)
	rules := cache.ReadRules(&a.Exchange, &header, a.override)
	if !mayKeep(&rules, &a.Exchange) || !slices.Equal(rules.Vary, o.Vary) {
		// The answer holds for this request alone.
		s.objects.Drop(o)
		return o
	}
	fresh := o.Renew(samePolicy(&header, &o.Header) && bytes.Equal(header.ContentType(), o.Header.ContentType()))
	header.CopyTo(&fresh.Header)
	delFold(&fresh.Header, ofMoment[:]...)
	fresh.Rules, fresh.RulesSize = newKeptRules(&rules, &fresh.Header)
	fresh.Stored, fresh.Began = a.Received, a.began
	fresh.Tags = rules.Tags
	s.objects.Put(fresh)
	return fresh
}

// samePolicy reports whether two heads say the same of what may be inserted into a page.
func samePolicy(a, b *fasthttp.ResponseHeader) bool {
	return bytes.Equal(policyLines(a), policyLines(b))
}

func policyLines(h *fasthttp.ResponseHeader) (lines []byte) {
	for name, value := range h.All() {
		if equalFold(name, fasthttp.HeaderContentSecurityPolicy) {
			lines = append(append(lines, value...), '\n')
		}
	}
	return lines
}

// judgeHead notes what an answer to HEAD tells of the kept answer to GET.
func (x *exchange) judgeHead() {
	l := &x.lookup
	now := x.server.now()
	switch cache.JudgeHead(&l.stale.Rules.Validators, int64(len(l.stale.Body)), &x.ctx.Response.Header, now) {
	case cache.HeadExpires:
		x.server.objects.Drop(l.stale)
	case cache.HeadFreshens:
		x.server.renew(x.asked(x.exchanged(true)), l.stale, &x.ctx.Response.Header)
	}
}

// invalidate lets go of what an unsafe request has changed (RFC 9111, section 4.4).
func (x *exchange) invalidate() {
	method, h := x.ctx.Method(), &x.ctx.Response.Header
	if x.server.objects == nil || !cache.Invalidates(method, h.StatusCode()) {
		return
	}
	host, target := strings.ToLower(x.host), string(x.out.Header.RequestURI())
	x.purge(host, target)
	for _, other := range cache.InvalidatedTargets(x.scheme, x.host, target, h) {
		x.purge(host, other)
	}
}

// purge lets go of what is kept for a target, under the names that the route keeps it by:
// whoever asks may name the port that the scheme has by default.
func (x *exchange) purge(host, target string) {
	target = x.route.cache.keptAs(target)
	x.server.objects.PurgeURL(host, target, cache.PurgeHard)
	if other := otherSpelling(x.scheme, host); other != "" {
		x.server.objects.PurgeURL(other, target, cache.PurgeHard)
	}
}

// otherSpelling returns the host without the port that the scheme has by default, or with
// it if there is no port; "" for one with another port.
func otherSpelling(scheme, host string) string {
	usual := ":80"
	if scheme == "https" {
		usual = ":443"
	}
	bare := withoutPort(host)
	switch host[len(bare):] {
	case usual:
		return bare
	case "":
		return host + usual
	}
	return ""
}

// fitting returns the bytes without much unused memory behind them.
func fitting(b []byte) []byte {
	if cap(b)-len(b) > len(b)/16 {
		b = slices.Clone(b)
	}
	return slices.Clip(b)
}
