package proxy

import (
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// pickRoute finds the route, and answers what never goes to an origin.
func (x *exchange) pickRoute() bool {
	if rest, ok := strings.CutPrefix(x.page.Path, x.server.cfg.ReservedPrefix); ok && (rest == "" || rest[0] == '/') {
		x.serveReserved(rest)
		return false
	}
	x.route = x.site.find(x.page.Host, x.page.Path)
	if x.route == nil {
		x.fail(fasthttp.StatusNotFound, "no site is configured for this address")
		return false
	}
	return true
}

// serveTunnel carries WebSockets and other upgrades.
func (x *exchange) serveTunnel() bool {
	if x.header("Upgrade") == nil || !upstream.IsUpgrade(&x.ctx.Request) {
		return false
	}
	x.prepare()
	stats := &x.server.stats
	stats.Streams.Add(1)
	began := x.server.now()
	err := x.route.upstream.Tunnel(x.ctx, x.out, func() { stats.Streams.Add(-1) })
	status := x.ctx.Response.StatusCode()
	if x.ctx.Hijacked() {
		status = fasthttp.StatusSwitchingProtocols
	}
	x.noteAsked(began, status, err)
	switch {
	case err == nil && x.ctx.Hijacked():
		x.tunnelled = true
		x.status = fasthttp.StatusSwitchingProtocols
		return true
	case err != nil:
		stats.Streams.Add(-1)
		x.failUpstream(err)
		return true
	}
	stats.Streams.Add(-1)
	x.delivered()
	if h := &x.ctx.Response.Header; isHTML(h.ContentType()) && x.isConcerned() {
		x.setPrivate(h, parseCacheControl(h)) // as every answer of the page
	}
	x.setStatusHeaders(&x.ctx.Response.Header, "")
	x.stream(nil)
	return true
}
