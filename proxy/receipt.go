package proxy

import (
	"context"
	"encoding/hex"
	"log/slog"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// receipt is what is told of an answer when it has ended, which is after its handler:
// its line in the access log, and its trace. It outlives the exchange, so it holds
// copies.
type receipt struct {
	server *Server
	trace  *Trace // nil: not sampled

	began        time.Time
	upstreamTook time.Duration
	id           string
	traceID      TraceID
	method       string
	scheme       string
	protocol     string
	host, path   string
	route        string
	upstream     string
	status       int
	sent         int64 // bytes on the wire, head included
	cache        string
	segment      string
	experiments  string
	personalized bool
	bot          bool
	reason       Reason
	aborted      string // whose fault it is that the answer is not whole

	attrs []slog.Attr
}

// Who broke off an answer.
const (
	abortedClient   = "client"
	abortedUpstream = "upstream"
)

const maxLoggedAccessPath = 1024

// report gives the answer's receipt to the connection, which knows when it has ended.
func (x *exchange) report() {
	s := x.server
	logs := s.accessLog && s.access.Enabled(context.Background(), slog.LevelInfo)
	if !logs && x.trace == nil {
		return
	}
	r := s.receipts.Get().(*receipt)
	*r = receipt{
		server: s, trace: x.trace, began: x.began, upstreamTook: x.upstreamTook,
		id: x.id, traceID: x.parent.trace, method: knownMethod(x.ctx.Method()), scheme: x.scheme, protocol: x.protocol(),
		host: clean(x.page.Host, 255), path: clean(x.page.Path, maxLoggedAccessPath),
		status: x.status, cache: x.cacheStatus, segment: x.primary(), experiments: x.arms(),
		personalized: x.plan != nil && applies(x.plan), bot: x.client.Bot, reason: x.reason, attrs: r.attrs[:0],
	}
	if x.trace != nil {
		r.traceID = x.trace.ID
	}
	if x.route != nil {
		r.route, r.upstream = x.route.name, x.route.upstream.Name()
	}
	x.down.owe(r)
}

// protocol is the version of HTTP that the request came by.
func (x *exchange) protocol() string {
	version, _, _ := strings.Cut(x.down.via(), " ")
	if version == "1.1" && !x.ctx.Request.Header.IsHTTP11() {
		return "1.0"
	}
	return version
}

// arms lists the arms that the visitor is in, as in "hero=a,price=control".
func (x *exchange) arms() string {
	if len(x.assignments) == 0 {
		return ""
	}
	var list strings.Builder
	for i := range x.assignments {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(x.assignments[i].Experiment)
		list.WriteByte('=')
		list.WriteString(x.assignments[i].Arm)
	}
	return list.String()
}

// settle ends a receipt that is owed; nil is none.
func (r *receipt) settle() {
	if r != nil {
		r.end()
	}
}

// end writes what is to be told. The receipt is given back.
func (r *receipt) end() {
	s := r.server
	now := s.now()
	if s.accessLog && s.access.Enabled(context.Background(), slog.LevelInfo) {
		r.log(now)
	}
	if r.trace != nil {
		r.trace.end(r, now)
		s.tracer.Keep(r.trace)
	}
	attrs := r.attrs
	clear(attrs)
	*r = receipt{attrs: attrs[:0]}
	s.receipts.Put(r)
}

// log writes one line. What is empty is left out.
func (r *receipt) log(now time.Time) {
	add := func(key, value string) {
		if value != "" {
			r.attrs = append(r.attrs, slog.String(key, value))
		}
	}
	add("request_id", r.id)
	if r.traceID != (TraceID{}) {
		add("trace_id", hex.EncodeToString(r.traceID[:]))
	}
	add("method", r.method)
	add("host", r.host)
	add("path", r.path)
	add("protocol", r.protocol)
	r.attrs = append(r.attrs,
		slog.Int("status", r.status),
		slog.Int64("bytes", r.sent),
		slog.Float64("ms", milliseconds(now.Sub(r.began))))
	if r.upstreamTook > 0 {
		r.attrs = append(r.attrs, slog.Float64("upstream_ms", milliseconds(r.upstreamTook)))
	}
	add("upstream", r.upstream)
	add("route", r.route)
	add("cache", r.cache)
	add("segment", r.segment)
	add("experiments", r.experiments)
	if r.personalized {
		r.attrs = append(r.attrs, slog.Bool("personalized", true))
	}
	add("failed_open", string(r.reason))
	add("aborted", r.aborted)
	if r.bot {
		r.attrs = append(r.attrs, slog.Bool("bot", true))
	}
	line := slog.NewRecord(now, slog.LevelInfo, "request", 0)    // without asking where in the source it is
	line.AddAttrs(slog.Attr{Value: slog.GroupValue(r.attrs...)}) // in one, since a record has room for few
	// Who cannot log has nowhere to say so.
	_ = r.server.access.Handler().Handle(context.Background(), line)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// methods are those that are told as they are. Of others only the fact is: a client
// may send any word.
var methods = [...]string{
	fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodPost, fasthttp.MethodPut, fasthttp.MethodPatch,
	fasthttp.MethodDelete, fasthttp.MethodOptions, fasthttp.MethodConnect, fasthttp.MethodTrace,
}

func knownMethod(method []byte) string {
	for _, known := range methods {
		if string(method) == known {
			return known
		}
	}
	return "_OTHER" // OpenTelemetry's word for it
}

// clean bounds what came from a client before it is logged.
func clean(s string, max int) string {
	if len(s) > max {
		s = s[:max]
	}
	return strings.ToValidUTF8(s, "?")
}
