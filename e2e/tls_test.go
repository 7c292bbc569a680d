package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// A browser over TLS speaks HTTP/2 and sees the edited page; plain HTTP leads there.
func TestHTTPSSite(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><h1>Welcome</h1><p>%s by %s</p>", r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Via"))
	}))
	t.Cleanup(origin.Close)
	files := newCertificate(t, "127.0.0.1")
	address := freePorts(t, 1)[0]
	n := serveConfig(t, map[string]any{
		"server": map[string]any{"tls": map[string]any{
			"listen": address, "redirect": true,
			"certificates": []any{map[string]any{"cert_file": files.cert, "key_file": files.key}},
		}},
		"upstreams": []any{map[string]any{"name": "site", "url": origin.URL}},
		"routes":    []any{map[string]any{"name": "all", "upstream": "site"}},
		"segments":  []any{map[string]any{"name": "everybody", "priority": 1, "when": "true"}},
		"experiences": []any{map[string]any{"name": "hello", "segment": "everybody", "pages": []any{"/"},
			"edits": []any{map[string]any{"select": "h1", "op": "set_inner", "text": "Hello"}}}},
	})
	base := "https://" + address

	c := newClient(t, n.site)
	if a := c.do(http.MethodGet, "/x?y", ""); a.status != http.StatusPermanentRedirect || a.header.Get("Location") != base+"/x?y" {
		t.Errorf("plain HTTP: %d to %q", a.status, a.header.Get("Location"))
	}

	const want = "<!doctype html><h1>Hello</h1><p>https by 2.0 sedge</p>"
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: files.roots(t)}}
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", agent)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Proto != "HTTP/2.0" || string(body) != want {
		t.Errorf("%s %q, %v", resp.Proto, body, err)
	}
	if cookies := resp.Header.Values("Set-Cookie"); len(cookies) != 1 || !strings.Contains(cookies[0], "; Secure") {
		t.Errorf("cookies %q", cookies)
	}

	out, err := exec.CommandContext(t.Context(), program(t, "curl"), "-sS", "--http2", "--cacert", files.ca, "-A", agent, "-w", " %{http_version}", base+"/").CombinedOutput()
	if err != nil || string(out) != want+" 2" {
		t.Errorf("curl: %q, %v", out, err)
	}
}
