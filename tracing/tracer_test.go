package tracing

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sedge-proxy/sedge/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector receives OTLP over HTTP as a real one does.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	got   []*tracepb.ResourceSpans
	path  string
	token string
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Error(err)
				return
			}
		}
		text, err := io.ReadAll(body)
		var request collectorpb.ExportTraceServiceRequest
		if err := errors.Join(err, proto.Unmarshal(text, &request)); err != nil {
			t.Errorf("the request is no OTLP: %v", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got, c.path, c.token = append(c.got, request.ResourceSpans...), r.URL.Path, r.Header.Get("Api-Key")
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func start(t *testing.T, endpoint string) *Tracer {
	t.Helper()
	tracer, err := New(proxy.Tracing{Endpoint: endpoint, ServiceName: "shop"}, "1.2", time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func closeIn(tracer *Tracer, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return tracer.Close(ctx)
}

// TestTracesReachTheCollector: what the proxy measured is what a collector reads.
func TestTracesReachTheCollector(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
	c := newCollector(t)
	tracer := start(t, c.URL)
	began := time.Unix(1000, 5)
	tracer.Keep(&proxy.Trace{ID: proxy.TraceID{1}, Spans: []proxy.Span{
		{
			Name: "GET all", Kind: proxy.SpanServer, ID: proxy.SpanID{2}, Parent: proxy.SpanID{9}, Began: began, Ended: began.Add(time.Second), Failed: true,
			Attributes: []slog.Attr{slog.String("http.request.method", "GET"), slog.Int("http.response.status_code", 500)},
		},
		{Name: "decide", Kind: proxy.SpanInternal, ID: proxy.SpanID{3}, Parent: proxy.SpanID{2}, Began: began, Ended: began},
		{Name: "GET", Kind: proxy.SpanClient, ID: proxy.SpanID{4}, Parent: proxy.SpanID{2}, Began: began, Ended: began},
	}})
	tracer.Keep(&proxy.Trace{ID: proxy.TraceID{7}, Spans: []proxy.Span{{Name: "root", Kind: proxy.SpanServer, ID: proxy.SpanID{8}, Began: began, Ended: began}}})
	if err := closeIn(tracer, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	id := func(size int, first byte) []byte { return append([]byte{first}, make([]byte, size-1)...) }
	at := uint64(began.UnixNano())
	span := func(trace, own, parent byte, name string, kind tracepb.Span_SpanKind) *tracepb.Span {
		s := &tracepb.Span{TraceId: id(16, trace), SpanId: id(8, own), Name: name, Kind: kind, StartTimeUnixNano: at, EndTimeUnixNano: at}
		if parent > 0 {
			s.ParentSpanId = id(8, parent)
		}
		return s
	}
	want := []*tracepb.Span{
		span(1, 2, 9, "GET all", tracepb.Span_SPAN_KIND_SERVER), span(1, 3, 2, "decide", tracepb.Span_SPAN_KIND_INTERNAL),
		span(1, 4, 2, "GET", tracepb.Span_SPAN_KIND_CLIENT), span(7, 8, 0, "root", tracepb.Span_SPAN_KIND_SERVER),
	}
	want[0].EndTimeUnixNano += uint64(time.Second)
	want[0].Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
	want[0].Attributes = attributes([]slog.Attr{slog.String("http.request.method", "GET"), slog.Int("http.response.status_code", 500)})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.got) != 1 || len(c.got[0].ScopeSpans) != 1 {
		t.Fatalf("the collector got %v", c.got)
	}
	if diff := cmp.Diff(want, c.got[0].ScopeSpans[0].Spans, protocmp.Transform()); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if a := want[0].Attributes; a[0].Value.GetStringValue() != "GET" || a[1].Value.GetIntValue() != 500 {
		t.Errorf("attributes: %v", a)
	}
	if service := c.got[0].Resource.Attributes[0]; service.Key != "service.name" || service.Value.GetStringValue() != "shop" {
		t.Errorf("the service is %v", service)
	}
	if c.path != "/v1/traces" || c.token != "secret" {
		t.Errorf("sent to %s with the key %q", c.path, c.token)
	}
	if sent := tracer.Stats().Sent.Load(); sent != 2 {
		t.Errorf("%d traces counted", sent)
	}
}

// TestDeadCollectorCostsNothing: traces for nobody are dropped and counted, nobody
// waits, and the end does not either.
func TestDeadCollectorCostsNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tracer := start(t, "http://"+ln.Addr().String()+"/v1/traces")
	const kept = 3 * queued
	for range kept {
		tracer.Keep(&proxy.Trace{Spans: make([]proxy.Span, 1)})
	}
	if dropped := tracer.Stats().Dropped.Load(); dropped < kept-queued-batch || dropped > kept-queued {
		t.Errorf("%d of %d traces dropped", dropped, kept)
	}
	ended := make(chan error, 1)
	go func() { ended <- closeIn(tracer, 50*time.Millisecond) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("close waits for the dead collector")
	}
	if s := tracer.Stats(); s.Sent.Load() != 0 || s.Failed.Load() == 0 {
		t.Errorf("%d sent, %d failed", s.Sent.Load(), s.Failed.Load())
	}
	tracer.Keep(&proxy.Trace{}) // a late one
}

// TestRefusingCollector: a failure is counted and logged without what was sent.
func TestRefusingCollector(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	t.Cleanup(refusing.Close)
	var log strings.Builder
	tracer, err := New(proxy.Tracing{Endpoint: refusing.URL}, "1", time.Now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	tracer.Keep(&proxy.Trace{Spans: []proxy.Span{{Name: "private", Began: time.Unix(1, 0), Ended: time.Unix(1, 0)}}})
	if err := closeIn(tracer, 10*time.Second); err != nil {
		t.Error(err)
	}
	if failed := tracer.Stats().Failed.Load(); failed != 1 || !strings.Contains(log.String(), "401") || strings.Contains(log.String(), "private") {
		t.Errorf("%d failed, log %s", failed, &log)
	}
}
