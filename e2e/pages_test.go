package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// edited are the places of the home page that the demo's configuration edits:
// what stands between two neighbours that no edit touches.
var edited = []*regexp.Regexp{
	regexp.MustCompile(`(?s)(<section id="hero)"[^>]*(>)`),
	regexp.MustCompile(`(?s)(<section id="hero[^>]*>\n<div>\n<h1>).*?(</h1>)`),
	regexp.MustCompile(`(?s)(<section id="hero[^>]*>\n<div>\n<h1></h1>\n<p>).*?(\n<a class="cta")`),
	regexp.MustCompile(`(?s)(<a class="cta" href="/category/camp">).*?(</a>)`),
	regexp.MustCompile(`(?s)(<aside id="offers" aria-label="Offers">).*?(</aside>)`),
}

// outside returns a home page without the edited places. Everything that is left
// must be the origin's, byte for byte.
func outside(page string) string {
	for _, place := range edited {
		page = place.ReplaceAllString(page, "$1$2")
	}
	return page
}

func TestHomeDiffersBySegmentAndNowhereElse(t *testing.T) {
	n := startDemo(t, binary)
	shop := newClient(t, n.origin).page("/").body

	stranger, hunter, loyal := newClient(t, n.site), newClient(t, n.site), newClient(t, n.site)
	loyal.buy("kiln-mug")
	loyal.buy("fen-lantern")
	pages := map[string]string{
		"new visitor":   stranger.page("/").body,
		"sale campaign": hunter.page("/?utm_campaign=sale").body,
		"two orders":    loyal.page("/").body,
		"origin":        shop,
	}
	seen := map[string]string{}
	for who, page := range pages {
		line := headlineOf(page)
		if line == "" {
			t.Fatalf("%s: no headline in\n%s", who, page)
		}
		if other, taken := seen[line]; taken {
			t.Errorf("%s and %s both see %q", who, other, line)
		}
		seen[line] = who
		if got, want := outside(page), outside(shop); got != want {
			t.Errorf("%s: bytes outside the edits changed: %s", who, difference(got, want))
		}
	}

	// The same for gzip, for a plain curl without cookies, and again from the cache.
	for range 2 {
		packed := loyal.page("/", "Accept-Encoding", "gzip")
		if packed.header.Get("Content-Encoding") != "gzip" || packed.unpack(t) != pages["two orders"] {
			t.Errorf("gzip holds another page than identity (encoding %q)", packed.header.Get("Content-Encoding"))
		}
	}
	curl := []string{"User-Agent", "curl/8.14.1", "Accept", "*/*", "Sec-Fetch-Dest", ""}
	if got := headlineOf(newClient(t, n.site).page("/", curl...).body); got != headlineOf(pages["new visitor"]) {
		t.Errorf("curl as a new visitor sees %q", got)
	}
	if got := headlineOf(newClient(t, n.site).page("/?utm_campaign=sale", curl...).body); got != headlineOf(pages["sale campaign"]) {
		t.Errorf("curl with the campaign sees %q", got)
	}
	carry := append(curl, "Cookie", "sedge_vid="+loyal.cookie("sedge_vid"))
	if got := headlineOf(newClient(t, n.site).page("/", carry...).body); got != headlineOf(pages["two orders"]) {
		t.Errorf("curl with the cookie of a loyal visitor sees %q", got)
	}
	if got := headlineOf(hunter.page("/").body); got == headlineOf(pages["sale campaign"]) {
		t.Errorf("without the campaign the hunter still sees %q", got)
	}
}

// Whatever the demo does not name comes through as it is, whoever asks.
func TestOtherPagesAreTheOrigins(t *testing.T) {
	n := startDemo(t, binary)
	origin, visitor := newClient(t, n.origin), newClient(t, n.site)
	visitor.page("/")
	for _, path := range []string{
		"/product/kiln-mug", "/search?q=wool", "/about", "/login", "/api/products", "/robots.txt",
		"/images/hero.svg", "/images/kiln-mug.svg", "/favicon.ico", "/static/shop.css", "/static/cart.js", "/no/such/page",
	} {
		for _, encoding := range []string{"identity", "gzip"} {
			want := origin.do(http.MethodGet, path, "", "Accept-Encoding", encoding)
			got := visitor.do(http.MethodGet, path, "", "Accept-Encoding", encoding)
			if got.status != want.status || got.body != want.body {
				t.Errorf("%s (%s): status %d, want %d; %s", path, encoding, got.status, want.status, difference(got.body, want.body))
			}
			for _, name := range []string{"Content-Type", "Content-Encoding", "Cache-Control", "Etag", "Last-Modified", "X-Content-Type-Options"} {
				if got.header.Get(name) != want.header.Get(name) {
					t.Errorf("%s (%s): %s %q, want %q", path, encoding, name, got.header.Get(name), want.header.Get(name))
				}
			}
		}
	}
	tag := visitor.page("/product/kiln-mug").header.Get("ETag")
	if a := visitor.do(http.MethodGet, "/product/kiln-mug", "", "If-None-Match", tag); a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("If-None-Match: status %d", a.status)
	}
	if a := visitor.do(http.MethodHead, "/product/kiln-mug", ""); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: status %d", a.status)
	}
}

// Answers of a page that experiences name are never for a shared cache.
func TestPersonalAnswersStayPrivate(t *testing.T) {
	n := startDemo(t, binary)
	for _, path := range []string{"/", "/?utm_campaign=sale", "/category/camp"} {
		v := newClient(t, n.site)
		for range 2 { // minted, then known
			a := v.page(path)
			if got := a.header.Get("Cache-Control"); got != "private, no-cache" {
				t.Errorf("%s: Cache-Control %q", path, got)
			}
		}
		if v.cookie("sedge_vid") == "" {
			t.Errorf("%s: no visitor cookie", path)
		}
	}
	a := newClient(t, n.site).page("/product/kiln-mug")
	if strings.HasPrefix(a.header.Get("Cache-Control"), "public") && a.header.Get("Set-Cookie") != "" {
		t.Errorf("a cookie on an answer that shared caches may store: %v", a.header)
	}
}

// The origin sees nothing of the visitor cookie; the shop's own come through.
func TestShopKeepsItsOwnCookies(t *testing.T) {
	n := startDemo(t, binary)
	v := newClient(t, n.site)
	v.page("/")
	v.buy("kiln-mug")
	if v.cookie("shop_cart") != "" {
		t.Error("the cart outlived the order")
	}
	if to := v.submit("/login", map[string][]string{"email": {"ada@example.com"}}); to != "/account" {
		t.Errorf("login leads to %q", to)
	}
	if !strings.Contains(v.page("/account").body, "Hello, ada") {
		t.Error("the account does not know its customer")
	}
}

func TestReservedPathsAndAdmin(t *testing.T) {
	n := startDemo(t, binary)
	v := newClient(t, n.site)
	v.page("/")
	if a := v.do(http.MethodPost, "/_sedge/v1/track", `{"event":"Newsletter Signup"}`, "Content-Type", "text/plain"); a.status != http.StatusOK {
		t.Errorf("track: %d %s", a.status, a.body)
	}
	if a := v.do(http.MethodPost, "/_sedge/v1/track", `{"event":`, "Content-Type", "text/plain"); a.status != http.StatusBadRequest {
		t.Errorf("broken track: %d", a.status)
	}
	if a := v.do(http.MethodGet, "/_sedge/v1/me", ""); a.status != http.StatusOK || a.header.Get("Cache-Control") == "" {
		t.Errorf("me: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/metrics", "/api/v1/report", "/healthz", "/readyz"} {
		if a := v.do(http.MethodGet, path, ""); a.status != http.StatusNotFound || !strings.Contains(a.body, "Nothing grows here") {
			t.Errorf("the site's listener answers %s with %d", path, a.status)
		}
	}
	if a := newClient(t, n.admin).do(http.MethodGet, "/api/v1/report", ""); a.status != http.StatusUnauthorized {
		t.Errorf("the report without a token: %d", a.status)
	}
	if a := newClient(t, n.admin).do(http.MethodGet, "/metrics", ""); a.status != http.StatusOK || !strings.Contains(a.body, "sedge_") {
		t.Errorf("metrics: %d", a.status)
	}
}

func TestDemoSaysWhichPortIsTaken(t *testing.T) {
	n := startDemo(t, binary)
	address := func(base string) string { return strings.TrimPrefix(base, "http://") }
	f := func(flag, taken string) {
		t.Helper()
		free := freePorts(t, 3)
		args := []string{"demo", "--data-dir", t.TempDir(), "--listen", free[0], "--origin-listen", free[1], "--admin-listen", free[2]}
		for i, a := range args {
			if a == flag {
				args[i+1] = taken
			}
		}
		_, stderr, err := run(t, args...)
		if err == nil || !strings.Contains(stderr, flag) || !strings.Contains(stderr, taken) {
			t.Errorf("%s %s: %v, %s", flag, taken, err, stderr)
		}
	}
	f("--listen", address(n.site))
	f("--origin-listen", address(n.origin))
	f("--admin-listen", address(n.admin))
}

func TestDemoEndsCleanly(t *testing.T) {
	n := startDemo(t, binary)
	newClient(t, n.site).page("/")
	plugins := n.children()
	if len(plugins) == 0 {
		t.Error("the demo runs no plugin processes")
	}
	if err := n.stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	waitGone(t, plugins)
}

// waitGone waits until processes have ended.
func waitGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		waitFor(t, 10*time.Second, "the processes of the plugins are gone", func() error {
			if state, _ := processState(pid); state != "" && state != "Z" {
				return fmt.Errorf("process %d is in state %s", pid, state)
			}
			return nil
		})
	}
}

// difference shows where two texts part.
func difference(got, want string) string {
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	if at == len(got) && at == len(want) {
		return "the bodies are alike"
	}
	cut := func(s string) string { return s[max(0, min(at-40, len(s))):min(len(s), at+80)] }
	return fmt.Sprintf("at byte %d (lengths %d, %d)\n got: %q\nwant: %q", at, len(got), len(want), cut(got), cut(want))
}
