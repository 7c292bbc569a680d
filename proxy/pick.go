package proxy

import (
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// pickRoute finds the route, and answers what never goes to an origin.
func (x *exchange) pickRoute() bool {
	if rest, ok := x.server.reserved(x.page.Path); ok {
		x.serveReserved(rest)
		return false
	}
	x.route = x.site.find(x.page.Host, x.page.Path)
	if x.route == nil {
		x.fail(fasthttp.StatusNotFound, "no site is configured for this address")
		return false
	}
	if x.isAmbiguous() {
		x.fail(fasthttp.StatusBadRequest, errAmbiguous.Error())
		return false
	}
	return true
}

// reserved returns what follows the prefix of Sedge's own paths.
func (s *Server) reserved(path string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, s.cfg.ReservedPrefix)
	return rest, ok && (rest == "" || rest[0] == '/')
}

var errAmbiguous = errors.New("the path can be read in more than one way")

// isAmbiguous reports whether the path leads elsewhere when it is read as some
// origin might read it: a rule on paths must not be passed by spelling.
func (x *exchange) isAmbiguous() bool {
	for _, path := range otherReadings(x.rawPath, x.page.Path) {
		if _, ours := x.server.reserved(path); ours || x.site.find(x.page.Host, path) != x.route {
			return true
		}
	}
	return false
}

// serveTunnel carries WebSockets and other upgrades.
func (x *exchange) serveTunnel() bool {
	if x.header("Upgrade") == nil || !upstream.IsUpgrade(&x.ctx.Request) {
		return false
	}
	if x.route.upstream.HTTP2() {
		x.server.log.Warn("upgrade refused: an upstream that is spoken to in HTTP/2 carries none", "request_id", x.id, "upstream", x.route.upstream.Name())
		x.fail(fasthttp.StatusNotImplemented, "WebSockets and other upgrades are not carried here")
		return true
	}
	x.classify()
	x.recognize()
	x.prepare()
	stats := &x.server.stats
	stats.Streams.Add(1)
	began := x.server.now()
	err := x.route.upstream.Tunnel(x.ctx, x.out, x.upstreamOptions(), func() { stats.Streams.Add(-1) })
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
		control := cache.ReadControl(h)
		x.setPrivate(h, &control) // as every answer of the page
	}
	x.lookup.silent = true
	x.setStatusHeaders(&x.ctx.Response.Header)
	x.stream()
	return true
}
