package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
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
	cert, key, roots := localhostCertificate(t)
	address := freePorts(t, 1)[0]
	n := serveConfig(t, map[string]any{
		"server": map[string]any{"tls": map[string]any{
			"listen": address, "redirect": true,
			"certificates": []any{map[string]any{"cert_file": cert, "key_file": key}},
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
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
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

	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl here")
	}
	out, err := exec.CommandContext(t.Context(), curl, "-sS", "--http2", "--cacert", cert, "-A", agent, "-w", " %{http_version}", base+"/").CombinedOutput()
	if err != nil || string(out) != want+" 2" {
		t.Errorf("curl: %q, %v", out, err)
	}
}

// localhostCertificate writes the certificate that httptest carries, which is for
// 127.0.0.1 and signed by itself, into files.
func localhostCertificate(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	pair := server.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return cert, key, roots
}
