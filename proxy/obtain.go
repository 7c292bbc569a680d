package proxy

import (
	"errors"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/coding"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// obtain gets the answer's head and body, from what is kept or from the origin. It
// reports false when it has answered with an error.
func (x *exchange) obtain() bool {
	x.consider()
	l := &x.lookup
	if !l.usable {
		if !l.silent {
			x.server.stats.CacheBypass.Add(1)
		}
		return x.fetch()
	}
	if x.find() || !l.request.OnlyIfCached && l.shared && x.follow() {
		x.server.stats.CacheHits.Add(1)
		return true
	}
	x.server.stats.CacheMisses.Add(1)
	if l.request.OnlyIfCached {
		x.fail(fasthttp.StatusGatewayTimeout, "nothing is kept that could answer the request")
		return false
	}
	return x.fetch()
}

// follow lets the request wait for another one for the same, or lead others itself. It
// reports true if the other one brought an answer.
func (x *exchange) follow() bool {
	l := &x.lookup
	if x.server.flights.IsUnshared(x.key, x.selectFunc) {
		return false
	}
	flight, follower := x.server.flights.Join(x.key, x.selectFunc)
	if follower != nil {
		outcome := follower.Wait(followTime, x.concerned, nil)
		l.status.Collapsed = cache.CollapsedInVain
		if o := outcome.Object; o != nil && (x.judgeFollowed(o, outcome.Body) || outcome.Stale && x.followsStale(o, outcome.Away)) {
			return true
		}
		flight = outcome.Flight
	}
	l.flight = flight
	if flight != nil && flight.Leads() && x.find() { // it came in the meantime
		flight.Found(l.found)
		return true
	}
	return false
}

// judgeFollowed uses what another request brought, if it suits this one.
func (x *exchange) judgeFollowed(o *object, body *cache.Reader) bool {
	l := &x.lookup
	if body == nil {
		if !x.judge(o) {
			return false
		}
	} else {
		if layers, readable := coding.ParseLayers(o.Header.ContentEncoding()); x.isSomebodys(o) || !readable || !x.acceptsAll(layers) {
			return false
		}
		if l.verdict = o.Rules.At(x.server.now(), &l.request); l.verdict.Use != cache.UseFresh {
			return false
		}
		x.useHead(o)
		l.found = nil // it is not complete
		x.ctx.Response.Header.SetContentLength(body.Length())
		x.from = &followSource{reader: body}
	}
	l.status.Forward, l.status.Collapsed = cache.ForwardMiss, cache.Collapsed
	return true
}

// followsStale answers with what is kept although it is stale, since the origin has just
// failed another request for it. It reports false if this one may not have it.
func (x *exchange) followsStale(o *object, away bool) bool {
	l := &x.lookup
	if l.stale != o || !l.verdict.OnError && !(away && l.verdict.OnDisconnect) {
		return false
	}
	x.use(o)
	l.status.Collapsed = cache.Collapsed
	x.server.stats.CacheStale.Add(1)
	return true
}

// settle says what the origin's answer means to the cache.
func (x *exchange) settle() {
	l := &x.lookup
	resp := &x.ctx.Response
	status := resp.StatusCode()
	switch {
	case !x.ctx.IsGet() && !x.ctx.IsHead(): // also where nothing is kept for now: a switch may be lifted
		x.invalidate()
	case !l.usable:
	case l.stale != nil && l.asks && status == fasthttp.StatusNotModified:
		x.confirmed()
	case l.stale != nil && l.verdict.OnError && failsFor(status):
		x.useStale(status)
	case l.storable:
		x.keep()
	case x.ctx.IsHead() && l.stale != nil && l.renews:
		x.judgeHead()
	}
}

// failsFor reports whether a status is one for which an older answer may serve
// (RFC 5861, section 4).
func failsFor(status int) bool {
	switch status {
	case fasthttp.StatusInternalServerError, fasthttp.StatusBadGateway, fasthttp.StatusServiceUnavailable, fasthttp.StatusGatewayTimeout:
		return true
	}
	return false
}

// useStale answers with what is kept although it is stale, since the origin fails.
func (x *exchange) useStale(status int) {
	l := &x.lookup
	x.dropSource()
	l.status.ForwardStatus = status
	x.use(l.stale)
	x.server.stats.CacheStale.Add(1)
	if l.flight != nil {
		l.flight.FoundStale(l.stale, status == 0)
	}
}

// servesStale answers in the place of an origin that did not, if that may be.
func (x *exchange) servesStale(err error) bool {
	l := &x.lookup
	if l.stale == nil || !l.verdict.OnDisconnect {
		return false
	}
	var e *upstream.Error
	if errors.As(err, &e) && e.Kind == upstream.Client {
		return false
	}
	x.noteUpstream(err, x.ctx.Response.StatusCode())
	x.useStale(0)
	return true
}
