package proxy

import (
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/decision"
)

const (
	traceA       = "0af7651916cd43dd8448eb211c80319c"
	sampledA     = "00-" + traceA + "-b7ad6b7169203331-01"
	unsampledA   = "00-" + traceA + "-b7ad6b7169203331-00"
	unsampledOdd = "00-" + traceA + "-b7ad6b7169203331-fe"
)

func TestParseTraceParent(t *testing.T) {
	f := func(text string, ok bool) {
		t.Helper()
		p, got := parseTraceParent([]byte(text))
		if got != ok {
			t.Errorf("%q: got %v, want %v", text, got, ok)
		}
		if ok && strings.HasPrefix(text, "00") && p.header() != text {
			t.Errorf("%q is written as %q", text, p.header())
		}
	}
	f(sampledA, true)
	f(unsampledA, true)
	f("00-"+traceA+"-b7ad6b7169203331-ff", true)
	f("cc-"+traceA+"-b7ad6b7169203331-01", true)
	f("cc-"+traceA+"-b7ad6b7169203331-01-what the future brings", true)
	f("cc-"+traceA+"-b7ad6b7169203331-01.what", false)
	f(sampledA+"-", false)
	f("ff-"+traceA+"-b7ad6b7169203331-01", false)
	f("00-"+strings.ToUpper(traceA)+"-b7ad6b7169203331-01", false)
	f("00-"+strings.Repeat("0", 32)+"-b7ad6b7169203331-01", false)
	f("00-"+traceA+"-0000000000000000-01", false)
	f("00-"+traceA+"-b7ad6b7169203331-0g", false)
	f("00-"+traceA+"_b7ad6b7169203331-01", false)
	for cut := range len(sampledA) {
		f(sampledA[:cut], false)
	}
}

// FuzzParseTraceParent: what is taken is written as it was read.
func FuzzParseTraceParent(f *testing.F) {
	f.Add([]byte(sampledA))
	f.Add([]byte("cc-" + traceA + "-b7ad6b7169203331-01-x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, ok := parseTraceParent(text); ok && p.header()[3:] != string(text[3:55]) {
			t.Errorf("%q is written as %q", text, p.header())
		}
	})
}

// keptTraces is a tracer that keeps traces for a test.
type keptTraces struct {
	mu     sync.Mutex
	traces []*Trace
}

func (k *keptTraces) Keep(t *Trace) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.traces = append(k.traces, t)
}

func (k *keptTraces) take() []*Trace {
	k.mu.Lock()
	defer k.mu.Unlock()
	taken := k.traces
	k.traces = nil
	return taken
}

// TestTraceContext: what the origin gets of the trace, and what is recorded.
func TestTraceContext(t *testing.T) {
	var mu sync.Mutex
	var seen http.Header
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = r.Header.Clone()
		mu.Unlock()
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/fails" {
			w.WriteHeader(500)
		}
		_, _ = io.WriteString(w, "<!doctype html><h1>Title</h1>")
	})
	passed := func(name string) string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(seen[name], "|")
	}
	e := always(text("h1", "Personal"))
	e.concerned = func(p *decision.Page) bool { return p.Path != "/plain" }
	start := func(tracer Tracer, ratio decision.Share) *node {
		return start(t, o, setup{engines: e, tracer: tracer, config: Config{Tracing: Tracing{SampleRatio: &ratio}}})
	}

	t.Run("not traced", func(t *testing.T) {
		n := start(nil, 1)
		f := func(parent, state, wantParent, wantState string) {
			t.Helper()
			n.get("/", "traceparent", parent, "tracestate", state)
			if got := passed("Traceparent"); got != wantParent {
				t.Errorf("traceparent %q is passed on as %q, want %q", parent, got, wantParent)
			}
			if got := passed("Tracestate"); got != wantState {
				t.Errorf("traceparent %q: tracestate is passed on as %q, want %q", parent, got, wantState)
			}
		}
		f(sampledA, "a=b", sampledA, "a=b")
		f(unsampledOdd, "a=b,c=d", unsampledOdd, "a=b,c=d")
		f("cc-"+traceA+"-b7ad6b7169203331-01-x", "a=b", "cc-"+traceA+"-b7ad6b7169203331-01-x", "a=b")
		f("nonsense", "a=b", "", "")
		n.raw("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: " + sampledA + "\r\ntraceparent: " + unsampledA + "\r\nConnection: close\r\n\r\n")
		if got := passed("Traceparent"); got != "" {
			t.Errorf("two parents are passed on as %q", got)
		}
		if log := n.log.String(); !strings.Contains(log, `"trace_id":"`+traceA+`"`) {
			t.Errorf("the access log does not name the trace: %s", log)
		}
	})

	kept := &keptTraces{}
	f := func(n *node, path, parent, state, want string) *Trace {
		t.Helper()
		header := []string{"Accept", "text/html"}
		if parent != "" {
			header = append(header, "traceparent", parent, "tracestate", state)
		}
		n.get(path, header...)
		var traces []*Trace
		eventually(t, "the request is told of", func() bool { traces = append(traces, kept.take()...); return len(traces) > 0 || want == "" })
		if want == "" {
			if len(traces) > 0 {
				t.Errorf("%s %q: traced", path, parent)
			}
			return nil
		}
		var spans []string
		for _, s := range traces[0].Spans {
			spans = append(spans, s.Name)
			if s.Ended.Before(s.Began) || s.Began.IsZero() {
				t.Errorf("%s %q: span %+v ends before it begins", path, parent, s)
			}
		}
		if diff := cmp.Diff(strings.Split(want, ","), spans); diff != "" {
			t.Errorf("%s %q: spans (-want +got):\n%s", path, parent, diff)
		}
		trace := traces[0]
		last := trace.Spans[len(trace.Spans)-1]
		if got, want := passed("Traceparent"), (traceParent{trace.ID, last.ID, 1}).header(); got != want {
			t.Errorf("%s %q: the origin's parent is %q, want our own span %q", path, parent, got, want)
		}
		return trace
	}
	t.Run("by its parent", func(t *testing.T) {
		n := start(kept, 0)
		f(n, "/", "", "", "")
		f(n, "/", unsampledA, "", "")
		f(n, "/", "nonsense", "", "")
		trace := f(n, "/", sampledA, "a=b", "GET origin,decide,GET")
		if got := hex.EncodeToString(trace.ID[:]); got != traceA || hex.EncodeToString(trace.Spans[0].Parent[:]) != "b7ad6b7169203331" {
			t.Errorf("trace %s with the parent %x", got, trace.Spans[0].Parent)
		}
		if got := passed("Tracestate"); got != "a=b" {
			t.Errorf("tracestate %q", got)
		}
		f(n, "/plain", sampledA, "", "GET origin,GET")
		if trace := f(n, "/fails", sampledA, "", "GET origin,decide,GET"); !trace.Spans[0].Failed || !trace.Spans[2].Failed || trace.Spans[1].Failed {
			t.Errorf("failures: %+v", trace.Spans)
		}
		for _, s := range trace.Spans {
			for _, a := range s.Attributes {
				if strings.ContainsAny(a.Value.String(), "?") || a.Key == "url.path" {
					t.Errorf("an attribute tells too much: %v", a)
				}
			}
		}
	})
	t.Run("all", func(t *testing.T) {
		n := start(kept, 1)
		a, b := f(n, "/", "", "", "GET origin,decide,GET"), f(n, "/", "nonsense", "a=b", "GET origin,decide,GET")
		if a.ID == b.ID || a.Spans[0].Parent != (SpanID{}) || passed("Tracestate") != "" {
			t.Errorf("traces without a parent: %v, %v, tracestate %q", a, b, passed("Tracestate"))
		}
		f(n, "/", unsampledA, "", "")
	})
}

// TestSampled: a share of 0 is nobody, of 1 everybody.
func TestSampled(t *testing.T) {
	f := func(ratio decision.Share, last byte, want bool) {
		t.Helper()
		s := &Server{cfg: Config{Tracing: Tracing{SampleRatio: &ratio}}}
		if got := s.sampled(TraceID{8: last, 15: 1}); got != want {
			t.Errorf("%v of a trace that begins with %x: %v", ratio, last, got)
		}
	}
	f(0, 0, false)
	f(1, 0xff, true)
	f(0.5, 0x7f, true)
	f(0.5, 0x80, false)
}
