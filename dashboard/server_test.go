package dashboard

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testToken = "0123456789abcdef0123456789abcdef"

func testServer(checks ...Check) *Server {
	return New(DefaultConfig(), testToken, Node{
		Ready:   checks,
		Report:  func(context.Context) (*Report, error) { return &Report{}, nil },
		Status:  func() any { return map[string]int{"generation": 1} },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "sedge_up 1\n") }),
		Version: "test",

		Switches:   &fakeSwitches{},
		LastReload: func() *Reload { return &Reload{OK: false, Error: "secret"} },
	}, slog.New(slog.DiscardHandler))
}

// TestAdminRefusesStrangers: the API wants a name of ours, a page of ours and the token.
func TestAdminRefusesStrangers(t *testing.T) {
	routes := testServer().adminRoutes()
	f := func(host, origin, authorization, path string, want int) {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "http://"+host+path, nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s %s origin %q authorization %q: got %d, want %d: %s", host, path, origin, authorization, w.Code, want, w.Body)
		}
	}
	const token = "Bearer " + testToken
	f("127.0.0.1:8090", "", token, "/api/v1/report", 200)
	f("localhost:8090", "", token, "/api/v1/status", 200)
	f("[::1]:8090", "http://[::1]:8090", token, "/api/v1/report", 200)
	f("127.0.0.1:8090", "", "", "/api/v1/report", 401)
	f("127.0.0.1:8090", "", "Bearer ", "/api/v1/report", 401)
	f("127.0.0.1:8090", "", "Bearer "+testToken[1:], "/api/v1/report", 401)
	f("127.0.0.1:8090", "", "Basic "+testToken, "/api/v1/report", 401)
	f("127.0.0.1:8090", "", "", "/api/v1/absent", 401) // strangers do not learn what there is
	f("127.0.0.1:8090", "", token, "/api/v1/absent", 404)
	f("evil.example:8090", "", token, "/api/v1/report", 421) // DNS rebinding
	f("evil.example", "", "", "/healthz", 421)
	f("127.0.0.1.evil.example", "", token, "/api/v1/report", 421)
	f("127.0.0.1:8090", "https://evil.example", token, "/api/v1/report", 403)
	f("127.0.0.1:8090", "null", token, "/api/v1/report", 403)
	f("127.0.0.1:8090", "", "", "/healthz", 200)
	f("127.0.0.1:8090", "", "", "/metrics", 200)
	f("127.0.0.1:8090", "", "", "/", 200)
	f("127.0.0.1:8090", "", "", "/absent", 404)
}

func TestReadyTellsEachCheck(t *testing.T) {
	broken := errors.New("disk is full")
	s := testServer(
		Check{Name: "events", Err: func() error { return nil }},
		Check{Name: "ledger", Err: func() error { return broken }},
		Check{Name: "upstreams", Err: func() error { return errors.New("all away") }, Advisory: true})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.adminRoutes().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8090"+path, nil))
		return w
	}
	if w := get("/readyz?verbose"); w.Code != 503 || !strings.Contains(w.Body.String(), "disk is full") {
		t.Errorf("a broken check: got %d %s", w.Code, w.Body)
	}
	if w := get("/readyz?verbose"); !strings.Contains(w.Body.String(), `"last_reload"`) || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("the last reload: got %s", w.Body)
	}
	broken = nil
	if w := get("/readyz?verbose"); w.Code != 200 || !strings.Contains(w.Body.String(), "all away") {
		t.Errorf("only what is told beside does not hold: got %d %s", w.Code, w.Body)
	}
	s.Drain()
	if w := get("/readyz?verbose"); w.Code != 503 || !strings.Contains(w.Body.String(), "shutting down") {
		t.Errorf("draining: got %d %s", w.Code, w.Body)
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadOrCreateToken(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateToken(dir, rand.Reader)
	if err != nil || again != first {
		t.Errorf("second start: got %q, %v; want the same token", again, err)
	}
	path := filepath.Join(dir, TokenFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v; want 0600", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateToken(dir, rand.Reader); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a token that others may read: got %v", err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("short\n"), 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateToken(dir, rand.Reader); err == nil || !strings.Contains(err.Error(), "too short") {
		t.Errorf("a short token: got %v", err)
	}
}
