// Package tracing sends the traces of sampled requests to a collector, by OTLP over
// HTTP. It stands apart from the proxy, which decides what is sampled and knows
// nothing of OpenTelemetry's libraries.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/sedge-proxy/sedge/proxy"
)

const (
	queued      = 2048             // traces that wait
	batch       = 256              // traces that are sent at a time
	gatherTime  = time.Second      // for how long a batch is gathered
	sendTimeout = 10 * time.Second // for one batch, retries included
	quietTime   = time.Minute      // between two log lines on failures
)

// Stats counts what became of traces.
type Stats struct {
	Sent    atomic.Uint64
	Dropped atomic.Uint64 // for lack of room
	Failed  atomic.Uint64 // the collector did not take them
}

// Tracer gathers traces and sends them in a goroutine of its own. What a slow or dead
// collector does not take is dropped.
type Tracer struct {
	client   sender
	resource resource
	log      *slog.Logger
	now      func() time.Time
	stats    Stats
	traces   chan *proxy.Trace
	cancel   context.CancelFunc
	done     chan struct{}
	lastSaid time.Time // when a failure was logged
}

// sender is what the tracer needs of otlptrace.Client.
type sender interface {
	UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error
	Stop(ctx context.Context) error
}

// New makes a tracer that sends to the configured endpoint until Close. Nothing needs
// to listen there. version is that of the program.
func New(cfg proxy.Tracing, version string, now func() time.Time, log *slog.Logger) (*Tracer, error) {
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = "/v1/traces"
	}
	client := otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(endpoint.String()),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithTimeout(sendTimeout),
	)
	ctx, cancel := context.WithCancel(context.Background())
	if err := client.Start(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("send traces to %q: %w", cfg.Endpoint, err)
	}
	t := &Tracer{
		client: client, resource: newResource(cfg.ServiceName, version), log: log, now: now,
		traces: make(chan *proxy.Trace, queued), cancel: cancel, done: make(chan struct{}),
	}
	go t.run(ctx)
	return t, nil
}

// Stats returns the tracer's counters.
func (t *Tracer) Stats() *Stats { return &t.stats }

// Keep implements [proxy.Tracer].
func (t *Tracer) Keep(trace *proxy.Trace) {
	select {
	case t.traces <- trace:
	default:
		t.stats.Dropped.Add(1)
	}
}

// Close sends what waits, as far as ctx allows. Keep may still be called; then nothing
// more is sent.
func (t *Tracer) Close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, t.cancel) // cuts what is being sent
	defer stop()
	select {
	case t.traces <- nil: // the end
	case <-ctx.Done():
	}
	<-t.done
	t.cancel()
	return errors.Join(ctx.Err(), t.client.Stop(context.WithoutCancel(ctx)))
}

func (t *Tracer) run(ctx context.Context) {
	defer close(t.done)
	for {
		gathered, last := t.gather(ctx)
		t.send(ctx, gathered)
		if last || ctx.Err() != nil {
			return
		}
	}
}

// gather waits for traces, and for a moment for more of them.
func (t *Tracer) gather(ctx context.Context) (gathered []*proxy.Trace, last bool) {
	var full <-chan time.Time
	for len(gathered) < batch {
		select {
		case trace := <-t.traces:
			if trace == nil {
				return gathered, true
			}
			if gathered = append(gathered, trace); full == nil {
				timer := time.NewTimer(gatherTime)
				defer timer.Stop()
				full = timer.C
			}
		case <-full:
			return gathered, false
		case <-ctx.Done():
			return gathered, true
		}
	}
	return gathered, false
}

func (t *Tracer) send(ctx context.Context, traces []*proxy.Trace) {
	if len(traces) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := t.upload(ctx, traces); err != nil {
		t.stats.Failed.Add(uint64(len(traces)))
		if now := t.now(); now.Sub(t.lastSaid) >= quietTime {
			t.lastSaid = now
			t.log.Warn("the collector does not take traces", "error", err.Error())
		}
		return
	}
	t.stats.Sent.Add(uint64(len(traces)))
}

// upload sends traces. A panic costs these and nothing else.
func (t *Tracer) upload(ctx context.Context, traces []*proxy.Trace) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return t.client.UploadTraces(ctx, t.resource.spans(traces))
}
