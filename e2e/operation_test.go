package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func plainOrigin(t *testing.T) string {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><h1>Site</h1>")
	}))
	t.Cleanup(origin.Close)
	return origin.URL
}

// TestUnreadLogStopsNobody: a node whose log nobody reads answers as before, and one
// whose reader is gone lives on.
func TestUnreadLogStopsNobody(t *testing.T) {
	n := serveConfig(t, map[string]any{
		"upstreams": []any{map[string]any{"name": "site", "url": plainOrigin(t)}},
		"routes":    []any{map[string]any{"name": "all", "upstream": "site"}},
	})
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	n.spawnInto(writer)
	writer.Close()
	c := newClient(t, n.site)
	waitFor(t, startTimeout, "the node answers", func() error {
		_, err := c.try(http.MethodGet, "/", "")
		return err
	})
	// A pipe holds 64 KiB.
	for i := range 600 {
		c.page(fmt.Sprintf("/%d/%s", i, strings.Repeat("x", 200)))
	}
	reader.Close()
	for range 50 {
		c.page("/")
	}
}

// TestTracesReachACollector: a request that says that it is sampled is told of, and a
// last one as well, before the node ends.
func TestTracesReachACollector(t *testing.T) {
	const trace = "0af7651916cd43dd8448eb211c80319c"
	var mu sync.Mutex
	var got []byte
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(unpacked)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, body...)
	}))
	t.Cleanup(collector.Close)
	n := serveConfig(t, map[string]any{
		"server":    map[string]any{"tracing": map[string]any{"endpoint": collector.URL, "sample_ratio": 0}},
		"upstreams": []any{map[string]any{"name": "site", "url": plainOrigin(t)}},
		"routes":    []any{map[string]any{"name": "all", "upstream": "site"}},
	})
	id, err := hex.DecodeString(trace)
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return bytes.Count(got, id)
	}
	c := newClient(t, n.site)
	c.page("/", "Traceparent", "00-"+trace+"-b7ad6b7169203331-00")
	c.page("/", "Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	waitFor(t, 20*time.Second, "the trace is there", func() error {
		if n := count(); n != 2 { // the request and what was asked of the origin
			return fmt.Errorf("%d spans", n)
		}
		return nil
	})
	c.page("/", "Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 4 {
		t.Errorf("%d spans when the node has ended, want those of two requests", n)
	}
}
