package proxy

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// acceptLimit is how long a call may wait for its events to become durable.
const acceptLimit = 10 * time.Second

const maxRequestID = 64

var errBodyTooLarge = errors.New("the request body is too large")

// accept checks the head, and finds out who asks for what.
func (x *exchange) accept() bool {
	fields, frame, err := checkHead(x.fields, &x.ctx.Request.Header)
	x.fields = fields
	x.identifyRequest()
	if err != nil {
		x.server.stats.BadRequests.Add(1)
		x.fail(statusOf(err), err.Error())
		x.ctx.SetConnectionClose()
		return false
	}
	x.down.begin(&x.ctx.Request.Header, frame)
	authority, path, query := splitTarget(x.ctx.Request.Header.RequestURI())
	x.whoAsks(authority)
	x.rawPath = path
	if isPlainPath(path) {
		x.page.Path = x.server.texts.text(path)
	} else {
		x.page.Path = readPath(x.ctx.Request.URI(), path)
	}
	x.page.Query = x.server.texts.text(query)
	if limit := int64(x.server.cfg.MaxBody); limit > 0 && int64(x.ctx.Request.Header.ContentLength()) > limit {
		x.fail(fasthttp.StatusRequestEntityTooLarge, errBodyTooLarge.Error())
		x.ctx.SetConnectionClose()
		return false
	}
	return true
}

func statusOf(err error) int {
	switch err {
	case errVersion:
		return fasthttp.StatusHTTPVersionNotSupported
	case errExpectation:
		return fasthttp.StatusExpectationFailed
	case errMethod:
		return fasthttp.StatusNotImplemented
	case errLoop:
		return fasthttp.StatusLoopDetected
	case errTooMany:
		return fasthttp.StatusRequestHeaderFieldsTooLarge
	}
	return fasthttp.StatusBadRequest
}

// identifyRequest takes over a sane X-Request-Id or makes one.
func (x *exchange) identifyRequest() {
	given := x.header("X-Request-Id")
	if len(given) == 0 || len(given) > maxRequestID {
		x.id = x.server.newID()
		return
	}
	for _, b := range given {
		if !isAlnum(b) && b != '-' && b != '_' && b != '.' {
			x.id = x.server.newID()
			return
		}
	}
	x.id = string(given)
}

// whoAsks finds the client's address, scheme and host. What the request says of
// them counts only if the peer is trusted.
func (x *exchange) whoAsks(authority []byte) {
	x.peer, x.trusted = x.down.from()
	x.clientIP = x.peer
	x.scheme = "http"
	if x.down.secure() {
		x.scheme = "https"
	}
	host := x.server.texts.text(x.header(fasthttp.HeaderHost))
	if host == "" {
		host = x.server.texts.text(authority) // of HTTP/1.0; else they agree
	}
	if x.trusted {
		x.believe(&host)
	}
	x.host = strings.ToLower(host)
	x.page.Host = withoutPort(x.host)
}

func (x *exchange) believe(host *string) {
	switch proto := x.header("X-Forwarded-Proto"); {
	case equalFold(proto, "https"):
		x.scheme = "https"
	case equalFold(proto, "http"):
		x.scheme = "http"
	}
	if named := x.header("X-Forwarded-Host"); isAuthority(named) {
		*host = string(named)
	}
	// The last address that no trusted proxy has is the client's; what stands
	// before it the client may have made up.
	for i := len(x.fields) - 1; i >= 0; i-- {
		if f := &x.fields[i]; equalFold(f.name, "X-Forwarded-For") {
			list := strings.Split(string(f.value), ",")
			for j := len(list) - 1; j >= 0; j-- {
				addr, err := netip.ParseAddr(strings.TrimSpace(list[j]))
				if err != nil {
					return
				}
				x.clientIP = addr.Unmap()
				if !x.server.trusts(x.clientIP) {
					return
				}
			}
		}
	}
}

// peerOf returns the other end of a connection, and whether it may speak for others.
func (s *Server) peerOf(nc interface{ RemoteAddr() net.Addr }) (peer netip.Addr, trusted bool) {
	if addr, ok := nc.RemoteAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		peer = addr.AddrPort().Addr().Unmap()
	}
	return peer, s.trusts(peer)
}

func (s *Server) trusts(addr netip.Addr) bool {
	for _, prefix := range s.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func withoutPort(host string) string {
	if strings.HasPrefix(host, "[") {
		if end := strings.IndexByte(host, ']'); end > 0 {
			return host[:end+1]
		}
		return host
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}

// handleBroken answers what fasthttp could not parse.
func (s *Server) handleBroken(ctx *fasthttp.RequestCtx, err error) {
	status := fasthttp.StatusBadRequest
	var small *fasthttp.ErrSmallBuffer
	var network interface{ Timeout() bool }
	switch {
	case errors.As(err, &small):
		status = fasthttp.StatusRequestHeaderFieldsTooLarge
	case errors.As(err, &network) && network.Timeout():
		status = fasthttp.StatusRequestTimeout
	}
	s.stats.BadRequests.Add(1)
	s.stats.answered(status)
	id := s.newID()
	s.log.Debug("request not understood", "request_id", id, "status", status)
	ctx.Response.Reset()
	ctx.Response.Header.SetNoDefaultContentType(true)
	ctx.Response.Header.Set("X-Request-Id", id)
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(fasthttp.StatusMessage(status) + "\nRequest " + id + "\n")
}
