package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"

	// maxTraces bounds the requests of one second that are traced: whether a trace
	// is sampled is said by whoever asks.
	maxTraces = 1000

	flagSampled = 1
)

// TraceID names a trace, SpanID a piece of work within it. All zero is no id.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

// Tracer takes the traces of sampled requests.
type Tracer interface {
	// Keep takes over a finished trace. It never blocks; it may drop the trace.
	Keep(t *Trace)
}

// Trace is what became of one sampled request. The first span is the request as a
// whole, and the parent of the others.
type Trace struct {
	ID    TraceID
	Spans []Span
}

// Span is one piece of work, as OpenTelemetry means it.
type Span struct {
	Name         string
	Kind         SpanKind
	ID, Parent   SpanID
	Began, Ended time.Time
	Failed       bool
	Attributes   []slog.Attr
}

// SpanKind says whose work a span is.
type SpanKind int

// The kinds of spans.
const (
	SpanInternal SpanKind = iota + 1 // work of our own
	SpanServer                       // a request to us
	SpanClient                       // a request of ours
)

// traceParent is the header of W3C Trace Context.
type traceParent struct {
	trace TraceID
	span  SpanID
	flags byte
}

// parseTraceParent reads a traceparent. Of versions to come it reads what version
// 00 has.
func parseTraceParent(text []byte) (p traceParent, ok bool) {
	const size = 55
	if len(text) < size || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return p, false
	}
	var version, flags [1]byte
	if !unhexLower(version[:], text[:2]) || version[0] == 0xff || version[0] == 0 && len(text) != size || len(text) > size && text[size] != '-' {
		return p, false
	}
	if !unhexLower(p.trace[:], text[3:35]) || !unhexLower(p.span[:], text[36:52]) || !unhexLower(flags[:], text[53:55]) {
		return p, false
	}
	p.flags = flags[0]
	return p, p.trace != TraceID{} && p.span != SpanID{}
}

// unhexLower decodes hexadecimal digits, of which the header knows small ones only.
func unhexLower(dst, src []byte) bool {
	for _, b := range src {
		if b >= 'A' && b <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(dst, src)
	return err == nil
}

func (p traceParent) header() string {
	text := append(make([]byte, 0, 55), "00-"...)
	text = hex.AppendEncode(text, p.trace[:])
	text = hex.AppendEncode(append(text, '-'), p.span[:])
	return string(hex.AppendEncode(append(text, '-'), []byte{p.flags}))
}

// beginTrace reads the trace that the request belongs to, and decides whether it is
// sampled: as its parent says, else by the share of the configuration.
func (x *exchange) beginTrace() {
	given := 0
	for i := range x.fields {
		if f := &x.fields[i]; equalFold(f.name, headerTraceParent) {
			given++
			x.parent, x.badParent = traceParent{}, true
			if p, ok := parseTraceParent(f.value); ok && given == 1 {
				x.parent, x.badParent = p, false
			}
		}
	}
	s := x.server
	if s.tracer == nil {
		return
	}
	parent := x.parent
	if parent.trace == (TraceID{}) {
		s.fillRandom(parent.trace[:])
		if !s.sampled(parent.trace) {
			return
		}
		parent.flags = flagSampled
	}
	if parent.flags&flagSampled == 0 || !s.mayTrace() {
		return
	}
	x.trace = &Trace{ID: parent.trace, Spans: make([]Span, 0, 4)}
	x.addSpan(Span{Kind: SpanServer, Parent: parent.span, Began: x.began})
}

// sampled decides by the trace's random id, so that all who see it decide alike.
func (s *Server) sampled(id TraceID) bool {
	ratio := float64(*s.cfg.Tracing.SampleRatio)
	return ratio >= 1 || float64(binary.BigEndian.Uint64(id[8:])>>1) < ratio*math.MaxInt64
}

func (s *Server) mayTrace() bool {
	second := s.now().Unix()
	if s.traceSecond.Swap(second) != second {
		s.traced.Store(0)
	}
	return s.traced.Add(1) <= maxTraces
}

// addSpan adds a span to a sampled request, and gives it an id.
func (x *exchange) addSpan(span Span) *Span {
	x.server.fillRandom(span.ID[:])
	x.trace.Spans = append(x.trace.Spans, span)
	return &x.trace.Spans[len(x.trace.Spans)-1]
}

// traceDecision notes how long deciding took.
func (x *exchange) traceDecision(began time.Time) {
	if x.trace == nil {
		return
	}
	span := x.addSpan(Span{Name: "decide", Kind: SpanInternal, Parent: x.trace.Spans[0].ID, Began: began, Ended: x.server.now()})
	span.Failed = x.reason != ""
}

// passTrace hands the trace on to the origin: the client's words as they came, or
// in a sampled request our own span as the parent. What is malformed goes.
func (x *exchange) passTrace(o *upstream.PrepareOptions) {
	if x.badParent {
		o.StripHeaders = slices.Concat(o.StripHeaders, []string{headerTraceParent, headerTraceState})
	}
	if x.trace == nil {
		return
	}
	span := x.addSpan(Span{Kind: SpanClient, Parent: x.trace.Spans[0].ID, Began: x.server.now()})
	p := traceParent{trace: x.trace.ID, span: span.ID, flags: flagSampled}
	if x.parent.trace == p.trace {
		p.flags = x.parent.flags
	}
	o.AddHeaders = append(o.AddHeaders, [2]string{headerTraceParent, p.header()})
}

// traceFetch notes how the request to the origin went, which passTrace has begun.
func (x *exchange) traceFetch(ended time.Time, status int, failed bool) {
	if x.trace == nil {
		return
	}
	span := &x.trace.Spans[len(x.trace.Spans)-1]
	method := knownMethod(x.ctx.Method())
	span.Name, span.Ended, span.Failed = method, ended, failed || status >= 500
	span.Attributes = []slog.Attr{
		slog.String("http.request.method", method),
		slog.String("sedge.upstream", x.route.upstream.Name()),
	}
	if !failed {
		span.Attributes = append(span.Attributes, slog.Int("http.response.status_code", status))
	}
}

// end completes the trace of an answer, by the names of OpenTelemetry's conventions
// for HTTP. Neither address nor visitor are told.
func (t *Trace) end(r *receipt, ended time.Time) {
	t.Spans = slices.DeleteFunc(t.Spans, func(s Span) bool { return s.Kind != SpanServer && s.Ended.IsZero() }) // never came so far
	span := &t.Spans[0]
	span.Name, span.Ended = r.method, ended
	span.Failed = r.status >= fasthttp.StatusInternalServerError || r.aborted == abortedUpstream
	span.Attributes = []slog.Attr{
		slog.String("http.request.method", r.method),
		slog.Int("http.response.status_code", r.status),
		slog.String("url.scheme", r.scheme),
		slog.String("server.address", r.host),
		slog.String("network.protocol.version", r.protocol),
	}
	add := func(key, value string) {
		if value != "" {
			span.Attributes = append(span.Attributes, slog.String(key, value))
		}
	}
	if r.route != "" {
		span.Name += " " + r.route
	}
	add("http.route", r.route)
	add("sedge.segment", r.segment)
	add("sedge.cache", r.cache)
	add("sedge.failed_open", string(r.reason))
	add("sedge.aborted", r.aborted)
}
