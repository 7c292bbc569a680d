package tracing

import (
	"log/slog"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/sedge-proxy/sedge/proxy"
)

// resource says whose spans these are.
type resource struct {
	of    *resourcepb.Resource
	scope *commonpb.InstrumentationScope
}

func newResource(service, version string) resource {
	return resource{
		of: &resourcepb.Resource{Attributes: attributes([]slog.Attr{
			slog.String("service.name", service), slog.String("service.version", version),
		})},
		scope: &commonpb.InstrumentationScope{Name: "sedge", Version: version},
	}
}

// spans writes traces as OTLP.
func (r resource) spans(traces []*proxy.Trace) []*tracepb.ResourceSpans {
	var spans []*tracepb.Span
	for _, t := range traces {
		for i := range t.Spans {
			spans = append(spans, encode(&t.ID, &t.Spans[i]))
		}
	}
	return []*tracepb.ResourceSpans{{
		Resource:   r.of,
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: r.scope, Spans: spans}},
	}}
}

func encode(trace *proxy.TraceID, s *proxy.Span) *tracepb.Span {
	span := &tracepb.Span{
		TraceId:           trace[:],
		SpanId:            s.ID[:],
		Name:              s.Name,
		Kind:              kind(s.Kind),
		StartTimeUnixNano: nanoseconds(s.Began),
		EndTimeUnixNano:   nanoseconds(s.Ended),
		Attributes:        attributes(s.Attributes),
	}
	if s.Parent != (proxy.SpanID{}) {
		span.ParentSpanId = s.Parent[:]
	}
	if s.Failed {
		span.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
	}
	return span
}

func kind(k proxy.SpanKind) tracepb.Span_SpanKind {
	switch k {
	case proxy.SpanServer:
		return tracepb.Span_SPAN_KIND_SERVER
	case proxy.SpanClient:
		return tracepb.Span_SPAN_KIND_CLIENT
	}
	return tracepb.Span_SPAN_KIND_INTERNAL
}

func nanoseconds(t time.Time) uint64 { return uint64(t.UnixNano()) }

func attributes(list []slog.Attr) []*commonpb.KeyValue {
	var encoded []*commonpb.KeyValue
	for _, a := range list {
		value := &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: a.Value.String()}}
		if a.Value.Kind() == slog.KindInt64 {
			value = &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: a.Value.Int64()}}
		}
		encoded = append(encoded, &commonpb.KeyValue{Key: a.Key, Value: value})
	}
	return encoded
}
