package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeCache notes what it is asked to do.
type fakeCache struct{ calls []string }

func (f *fakeCache) note(call string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(call, args...))
}

func (f *fakeCache) PurgeURL(host, target string, soft bool) int {
	f.note("url %s %s %t", host, target, soft)
	return 2
}
func (f *fakeCache) PurgePrefix(host, prefix string, soft bool) {
	f.note("prefix %s %s %t", host, prefix, soft)
}
func (f *fakeCache) PurgeTag(tag string, soft bool) { f.note("tag %s %t", tag, soft) }
func (f *fakeCache) PurgeAll(soft bool) int {
	f.note("all %t", soft)
	if soft {
		return 0
	}
	return 7
}

func (f *fakeCache) List(prefix string, limit int) ([]CachedAnswer, bool) {
	f.note("list %s %d", prefix, limit)
	return []CachedAnswer{{URL: "https://shop.example/", Hits: 3}}, true
}
func (f *fakeCache) Usage() CacheUsage { return CacheUsage{Answers: 5} }

// call makes an authorized call.
func call(routes http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8090"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+testToken)
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, r)
	return w
}

// TestPurge: what a call names is purged under every spelling that visitors have for it.
func TestPurge(t *testing.T) {
	f := func(body string, want Purged, calls ...string) {
		t.Helper()
		fake, server := &fakeCache{}, testServer()
		server.node.Cache = fake
		w := call(server.adminRoutes(), "POST", "/api/v1/cache/purge", body)
		var got Purged
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		if diff := cmp.Diff(want, got) + cmp.Diff(calls, fake.calls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	f(`{"url": "https://Shop.example/A?b=C#d"}`, Purged{Dropped: 4}, "url shop.example /A?b=C false", "url shop.example:443 /A?b=C false")
	f(`{"url": "http://shop.example:80"}`, Purged{Dropped: 4}, "url shop.example / false", "url shop.example:80 / false")
	f(`{"url": "http://shop.example:443/a"}`, Purged{Dropped: 2}, "url shop.example:443 /a false")
	f(`{"url": "HTTPS://127.0.0.1:8443/a", "soft": true}`, Purged{Stale: 2}, "url 127.0.0.1:8443 /a true")
	f(`{"url": "http://[::1]/"}`, Purged{Dropped: 4}, "url [::1] / false", "url [::1]:80 / false")
	f(`{"url": "https://shop.example:/?a"}`, Purged{Dropped: 4}, "url shop.example /?a false", "url shop.example:443 /?a false")
	f(`{"url": "https://shop.example:8443?a"}`, Purged{Dropped: 2}, "url shop.example:8443 /?a false")
	f(`{"url": "http://a:1/caf\u00e9 \"{x}'|%2f%C3?\"q={x}' \u00e9"}`, Purged{Dropped: 2}, `url a:1 /caf%C3%A9%20%22%7Bx%7D'|%2f%C3?%22q={x}%27%20%C3%A9 false`)
	f(`{"urls": ["http://a:1/1", "http://a:1/2"], "url": "http://a:1/0", "tags": ["x", " y z "]}`, Purged{Dropped: 6, Recorded: 2},
		"url a:1 /0 false", "url a:1 /1 false", "url a:1 /2 false", "tag x false", "tag y z false")
	f(`{"prefix": "/assets/"}`, Purged{Recorded: 1}, "prefix  /assets/ false")
	f(`{"prefix": "https://shop.example/assets/", "soft": true}`, Purged{Recorded: 1}, "prefix shop.example /assets/ true", "prefix shop.example:443 /assets/ true")
	f(`{"prefix": "http://shop.example:8080"}`, Purged{Recorded: 1}, "prefix shop.example:8080 / false")
	f(`{"tag": "product-7"}`, Purged{Recorded: 1}, "tag product-7 false")
	f(`{"everything": true}`, Purged{Dropped: 7}, "all false")
	f(`{"everything": true, "soft": true}`, Purged{Recorded: 1}, "all true")
}

// TestPurgeRefuses a call as a whole, says what was found and what was expected, and
// purges nothing.
func TestPurgeRefuses(t *testing.T) {
	fake, server := &fakeCache{}, testServer()
	server.node.Cache = fake
	routes := server.adminRoutes()
	f := func(body string, want ...string) {
		t.Helper()
		w := call(routes, "POST", "/api/v1/cache/purge", body)
		if w.Code != http.StatusBadRequest || len(fake.calls) > 0 {
			t.Errorf("%.200s: got %d %s, called %v", body, w.Code, w.Body, fake.calls)
		}
		var said struct{ Error string }
		_ = json.Unmarshal(w.Body.Bytes(), &said)
		for _, part := range want {
			if !strings.Contains(said.Error, part) {
				t.Errorf("%.200s: got %q, without %q", body, said.Error, part)
			}
		}
	}
	many := func(what string) string { return strings.TrimSuffix(strings.Repeat(`"`+what+`",`, maxPurged+1), ",") }
	f(``, "EOF", "expected")
	f(`{}`, "found nothing", "expected url")
	f(`{"soft": true}`, "found nothing")
	f(`{"everything": false}`, "found nothing")
	f(`{"url": ""}`, "found nothing")
	f(`{"everything": true, "tag": "a"}`, "beside other things")
	f(`{"uri": "https://shop.example/"}`, `"uri"`, "expected")
	f(`{"url": 7}`, "number", "expected")
	f(`{"everything": true} {"tag": "a"}`, "behind the object")
	f(`{"everything": true`, "EOF")
	f(`{"url": "/a"}`, `found "/a"`, "expected a URL, as in")
	f(`{"url": "shop.example/a"}`, `found "shop.example/a"`, "expected a URL, as in")
	f(`{"url": "ftp://shop.example/a"}`, "expected a URL, as in")
	f(`{"url": "https:///a"}`, "expected a host")
	f(`{"url": "https://me:secret@shop.example/a"}`, "expected a host")
	f(`{"url": "https://shop.example:port/a"}`, "expected a host")
	f(`{"url": "https://b\u00fccher.example/"}`, "xn--")
	f(`{"url": "https://shop.example/`+strings.Repeat("a", maxPurgeURL)+`"}`, "expected at most", "…")
	f(`{"prefix": "assets/"}`, `found "assets/"`, "expected the beginning of a URL, as in", "as in /assets/")
	f(`{"tag": " "}`, `found " "`, "expected 1 to")
	f(`{"tags": ["a", ""]}`, `found ""`)
	f(`{"urls": ["https://shop.example/", "x"]}`, `found "x"`)
	f(`{"urls": [`+many("http://a/")+`]}`, "found 1001", "at most 1000")
	f(`{"tags": [`+many("a")+`]}`, "found 1001", "at most 1000")
	f(`{"tag": "`+strings.Repeat("a", maxPurgeBody)+`"}`, "too large")
}

// TestCacheCallsOfStrangers are refused as those of all the API.
func TestCacheCallsOfStrangers(t *testing.T) {
	fake, server := &fakeCache{}, testServer()
	server.node.Cache = fake
	routes := server.adminRoutes()
	f := func(method, path, host, origin, token string, want int) {
		t.Helper()
		r := httptest.NewRequest(method, "http://"+host+path, strings.NewReader(`{"everything": true}`))
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		if w.Code != want || len(fake.calls) > 0 {
			t.Errorf("%s %s at %s from %q: got %d, called %v; want %d", method, path, host, origin, w.Code, fake.calls, want)
		}
	}
	const purge = "/api/v1/cache/purge"
	f("POST", purge, "127.0.0.1:8090", "", "", 401)
	f("POST", purge, "127.0.0.1:8090", "", "wrong", 401)
	f("POST", purge, "evil.example", "", testToken, 421)
	f("POST", purge, "127.0.0.1:8090", "https://evil.example", testToken, 403)
	f("GET", purge, "127.0.0.1:8090", "", testToken, 404)
	f("GET", "/api/v1/cache", "127.0.0.1:8090", "", "", 401)
}

func TestListCache(t *testing.T) {
	fake, server := &fakeCache{}, testServer()
	server.node.Cache = fake
	routes := server.adminRoutes()
	f := func(query string, code int, want string) {
		t.Helper()
		fake.calls = nil
		w := call(routes, "GET", "/api/v1/cache"+query, "")
		said := w.Body.String()
		if code == http.StatusOK {
			said = strings.Join(fake.calls, ", ")
		}
		if w.Code != code || !strings.Contains(said, want) {
			t.Errorf("%s: got %d %q, want %d %q", query, w.Code, said, code, want)
		}
	}
	f("", 200, "list  100")
	f("?prefix=HTTPS://Shop.Example/Assets/&limit=7", 200, "list https://shop.example/Assets/ 7")
	f("?prefix=/Assets&limit=0", 200, "list /Assets 0")
	f("?prefix=https://Shop.exa", 200, "list https://shop.exa 100")
	f("?prefix=shop.example", 400, "expected the beginning of a URL")
	f("?limit=x", 400, "expected 0 to 1000")
	f("?limit=-1", 400, "expected 0 to 1000")
	f("?limit=1001", 400, "expected 0 to 1000")
	var list CacheList
	if err := json.Unmarshal(call(routes, "GET", "/api/v1/cache", "").Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	want := CacheList{Usage: CacheUsage{Answers: 5}, Answers: []CachedAnswer{{URL: "https://shop.example/", Hits: 3}}, More: true}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCacheIsOff: where nothing is kept, calls say so, and do not fail.
func TestCacheIsOff(t *testing.T) {
	routes := testServer().adminRoutes()
	f := func(method, path, body string) {
		t.Helper()
		w := call(routes, method, path, body)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"disabled": true`) {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	f("GET", "/api/v1/cache", "")
	f("POST", "/api/v1/cache/purge", `{"everything": true}`)
}

// FuzzReadPlace: whatever is read can be in a request line, and reading it again changes
// nothing.
func FuzzReadPlace(f *testing.F) {
	for _, seed := range []string{"/a?b", "https://shop.example/a b?c'd#e", "http://[::1]:80", "https://a:/\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := readPlace(text)
		if err != nil {
			return
		}
		for i := range len(at.target) {
			if b := at.target[i]; b <= ' ' || b >= 0x7f {
				t.Fatalf("%q: the target is %q", text, at.target)
			}
		}
		if again, err := readPlace(at.target); err != nil || again.target != at.target {
			t.Fatalf("%q: %q, read again %q, %v", text, at.target, again.target, err)
		}
		for _, host := range at.hosts {
			if host == "" || strings.ToLower(host) != host || strings.ContainsAny(host, "/?#@ ") {
				t.Fatalf("%q: the host is %q", text, host)
			}
		}
	})
}
