package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const apiConfig = `
upstreams: [{name: site, url: %q}]
routes: [{name: all, upstream: site}]
segments:
  - name: vip
    when: traits["plan"] == "gold"
experiences:
  - name: vip prices
    segment: vip
    pages: ["/api/**", "/app.css"]
    edits:
      - {pointer: /products/0/price, op: set, json: 9.95}
      - {pointer: /products/0, op: merge, json: {Badge: "For {{trait 'name' 'you'}}", secret: null}}
      - {body: text, op: replace_text, pattern: "red", text: "gold"}
`

// TestScriptsGetPersonalJSON: a shop whose prices come from an API.
func TestScriptsGetPersonalJSON(t *testing.T) {
	const products = `{ "products": [ { "id": 1, "price": 10.50, "secret": true } ], "currency": "EUR" }`
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, products)
		case r.URL.Path == "/app.css":
			w.Header().Set("Content-Type", "text/css")
			_, _ = io.WriteString(w, "h1 { color: red }")
		default:
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Cache-Control", "no-cache")
			_, _ = io.WriteString(w, "<!doctype html><h1>Shop</h1>")
		}
	}))
	t.Cleanup(origin.Close)
	path := filepath.Join(t.TempDir(), "api.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, apiConfig, origin.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startServe(t, binary, path)
	stranger, vip := newClient(t, n.site), newClient(t, n.site)
	vip.page("/")
	if a := vip.do("POST", "/_sedge/v1/identify", `{"traits": {"plan": "gold", "name": "A\"nn"}}`, "Content-Type", "application/json"); a.status != 200 {
		t.Fatalf("identify: %d %s", a.status, a.body)
	}
	fetch := []string{"Sec-Fetch-Dest", "empty", "Accept", "*/*"}
	for round := range 3 {
		own := vip.do("GET", "/api/products", "", fetch...)
		want := `{ "products": [ { "id": 1, "price": 9.95,"Badge":"For A\u0022nn" } ], "currency": "EUR" }`
		if own.body != want {
			t.Errorf("round %d: a vip got %s", round, own.body)
		}
		other := stranger.do("GET", "/api/products", "", fetch...)
		if other.body != products || len(other.header["Set-Cookie"]) > 0 {
			t.Errorf("round %d: a stranger got %s, %v", round, other.body, other.header)
		}
		for name, a := range map[string]answer{"vip": own, "stranger": other} {
			if got := a.header.Get("Cache-Control"); got != "private, no-cache" {
				t.Errorf("%s: Cache-Control %q", name, got)
			}
		}
	}
	if a := vip.do("GET", "/app.css", "", "Sec-Fetch-Dest", "style"); a.body != "h1 { color: gold }" {
		t.Errorf("a vip's style is %s", a.body)
	}
	if a := stranger.do("GET", "/app.css", "", "Sec-Fetch-Dest", "style"); a.body != "h1 { color: red }" {
		t.Errorf("a stranger's style is %s", a.body)
	}
}
