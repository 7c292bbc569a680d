package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// TestUpstreamsOutliveReloads: what stays in an upstream's settings stays open.
func TestUpstreamsOutliveReloads(t *testing.T) {
	pool := newUpstreamPool(time.Now, slog.New(slog.DiscardHandler))
	config := func(name string, weights ...int) []upstream.Config {
		c := upstream.Config{Name: name}
		for i, w := range weights {
			c.Servers = append(c.Servers, upstream.Server{URL: fmt.Sprintf("http://192.0.2.%d", i+1), Weight: new(w)})
		}
		return []upstream.Config{c}
	}
	take := func(c []upstream.Config) *upstream.Upstream {
		byName, err := pool.take(c)
		if err != nil {
			t.Fatal(err)
		}
		return byName[c[0].Name]
	}
	first := take(config("site", 1, 1))
	if take(config("site", 1, 1)) != first {
		t.Error("equal settings make another upstream")
	}
	second, other := take(config("site", 1, 2)), take(config("other", 1, 1))
	if second == first || other == first {
		t.Error("other settings make no other upstream")
	}
	pool.give(config("site", 1, 1))
	if got := take(config("site", 1, 1)); got != first {
		t.Error("settings that are used still make another upstream")
	}
	if _, err := pool.take(append(config("new", 1), upstream.Config{Name: "wrong", URL: "ftp://a"})); err == nil {
		t.Error("wrong settings make an upstream")
	}
	if got := pool.status(append(config("site", 1, 2), config("gone", 1)...)); len(got) != 1 || len(got[0].Servers) != 2 {
		t.Errorf("status %+v", got)
	}
	for _, c := range [][]upstream.Config{config("site", 1, 1), config("site", 1, 1), config("site", 1, 2), config("other", 1, 1)} {
		pool.give(c)
	}
	if len(pool.known) != 0 {
		t.Errorf("%d upstreams are left", len(pool.known))
	}
}

// TestUpstreamsAreShown: metrics, status and readiness tell of each server, and a
// reload that changes weights alone keeps the connections.
func TestUpstreamsAreShown(t *testing.T) {
	var connections atomic.Int32
	good := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }))
	good.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	good.Start()
	t.Cleanup(good.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	tn := startNode(t, "")
	write := func(weight int) {
		tn.write("site", "")
		tn.serveBy(fmt.Sprintf("ejection: {failures: 1}, servers: [{url: %q, weight: %d}, {url: %q}]", good.URL, weight, gone.URL))
	}
	write(1)
	for range 4 {
		tn.page()
	}
	write(2)
	for range 4 {
		tn.page()
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections were made to the server that stays, want 1", n)
	}
	shown := tn.status().(statusReport).Upstreams
	if len(shown) != 1 || shown[0].Retries != 1 || len(shown[0].Servers) != 2 || shown[0].Servers[0].State != upstream.Up ||
		shown[0].Servers[1].State != upstream.Ejected || shown[0].Servers[1].Errors != 1 {
		t.Errorf("status %+v", shown)
	}
	w := httptest.NewRecorder()
	tn.metricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		fmt.Sprintf("sedge_upstream_server_up{server=%q,upstream=\"site\"} 1", strings.TrimPrefix(good.URL, "http://")),
		fmt.Sprintf("sedge_upstream_server_up{server=%q,upstream=\"site\"} 0", strings.TrimPrefix(gone.URL, "http://")),
		fmt.Sprintf("sedge_upstream_server_errors_total{kind=\"dial\",server=%q,upstream=\"site\"} 1", strings.TrimPrefix(gone.URL, "http://")),
		`sedge_upstream_retries_total{upstream="site"} 1`, `sedge_upstream_breaker_open{upstream="site"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if err := tn.upstreamsAway(); err != nil {
		t.Errorf("one server is up: %v", err)
	}
	good.CloseClientConnections()
	good.Close()
	for range 100 { // until nine of ten have failed
		tn.page()
	}
	if err := tn.upstreamsAway(); err == nil || !strings.Contains(err.Error(), "site") {
		t.Errorf("no server answers: %v", err)
	}
	response, err := http.Get(tn.siteURL() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" {
		t.Errorf("got %s, Retry-After %q", response.Status, response.Header.Get("Retry-After"))
	}
}

// serveBy puts settings in the place of the upstream's URL and takes them over.
func (tn *testNode) serveBy(settings string) {
	tn.t.Helper()
	text, err := os.ReadFile(tn.file)
	if err != nil {
		tn.t.Fatal(err)
	}
	changed := strings.Replace(string(text), fmt.Sprintf("url: %q", tn.origin), settings, 1)
	if err := os.WriteFile(tn.file, []byte(changed), 0o600); err != nil {
		tn.t.Fatal(err)
	}
	tn.reload(tn.t.Context(), tn.read, false)
	if last := tn.lastReload.Load(); last.err != nil {
		tn.t.Fatal(last.err)
	}
}

// TestVisitorsStayWithTheirServer: the signed cookie decides, on pages, on what is not
// personalized and for upgrades; from one address, visitors are spread.
func TestVisitorsStayWithTheirServer(t *testing.T) {
	name := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server-Name", name)
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<h1>page</h1>")
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	tn := startNode(t, fmt.Sprintf(greeting, "One"))
	tn.serveBy(fmt.Sprintf("balance: visitor, servers: [{url: %q}, {url: %q}]", name("a"), name("b")))
	seen := map[string]bool{}
	for range 20 {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar}
		at := ""
		for _, header := range []string{"text/html", "text/html", "image/png", "upgrade"} {
			request, err := http.NewRequest(http.MethodGet, tn.siteURL()+"/?"+header, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Accept", header)
			request.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0")
			if header == "upgrade" {
				request.Header.Set("Connection", "Upgrade")
				request.Header.Set("Upgrade", "websocket")
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			got := response.Header.Get("Server-Name")
			if at != "" && got != at {
				t.Errorf("%s came from %q, the page from %q", header, got, at)
			}
			at = got
			seen[got] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("visitors are with %v only", seen)
	}
}
