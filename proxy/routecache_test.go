package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
)

// asking is an origin that keeps the targets that it was asked for. Its answers tell
// nothing of freshness.
type asking struct {
	mu      sync.Mutex
	targets []string
}

func (a *asking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.targets = append(a.targets, r.RequestURI)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><h1 id=hero>Shop</h1><p>answer %d", len(a.targets))
}

// taken returns the targets since it was called last.
func (a *asking) taken() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.targets
	a.targets = nil
	return taken
}

func TestRouteCacheFaults(t *testing.T) {
	f := func(c RouteCache, want ...string) {
		t.Helper()
		var got []string
		for _, fault := range c.Validate() {
			got = append(got, fault.Path+": "+fault.Message)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c, diff)
		}
	}
	f(RouteCache{})
	f(RouteCache{TTL: time.Second, BypassCookies: []string{"wordpress", "session", "cart_*"}, IgnoreQuery: []string{"ads", "ref"}})
	f(RouteCache{TTL: 365 * 24 * time.Hour, KeyQuery: []string{"page", "filter_*"}})
	f(RouteCache{TTL: time.Millisecond}, "ttl: 1ms: expected 1s to 8760h (a year), as in 5m")
	f(RouteCache{TTL: -time.Minute}, "ttl: -1m0s: expected 1s to 8760h (a year), as in 5m")
	f(RouteCache{KeyQuery: []string{"a"}, IgnoreQuery: []string{"b"}}, "ignore_query: expected key_query or ignore_query, not both")
	f(RouteCache{BypassCookies: []string{"ok", "*", ""}, KeyQuery: []string{"a*b", "a=1"}},
		`bypass_cookies[1]: "*": expected a name, or the beginning of one with * behind it`,
		`bypass_cookies[2]: "": expected a name, or the beginning of one with * behind it`,
		`key_query[0]: "a*b": expected a name, or the beginning of one with * behind it`,
		`key_query[1]: "a=1": expected a name, or the beginning of one with * behind it`)
}

// TestRouteCacheQuery: what the answer does not depend on neither tells answers apart nor
// reaches the origin; the rest goes there as it came.
func TestRouteCacheQuery(t *testing.T) {
	key := func(names ...string) RouteCache { return RouteCache{KeyQuery: names} }
	ignore := func(names ...string) RouteCache { return RouteCache{IgnoreQuery: names} }
	f := func(c RouteCache, target, want string) {
		t.Helper()
		a := new(asking)
		c.TTL = time.Minute
		n := start(t, origin(t, a.ServeHTTP), setup{routes: []Route{{Upstream: "origin", Cache: c}}, now: stopped()})
		first, again := n.target(target), n.target(want)
		if diff := cmp.Diff([]string{want}, a.taken()); diff != "" {
			t.Errorf("%+v %s: the origin saw (-want +got):\n%s", c, target, diff)
		}
		if first.body != again.body {
			t.Errorf("%+v: %s and %s do not share an answer", c, target, want)
		}
	}
	f(ignore("ads"), "/p?b=2&utm_source=x&a=1&gclid=7", "/p?b=2&a=1")
	f(ignore("ads"), "/p?gclid=7&fbclid=8", "/p")
	f(ignore("ads"), "/p?GCLID=7", "/p?GCLID=7")               // names are told apart by case
	f(ignore("ads"), "/p?utm=7&gclids=1", "/p?utm=7&gclids=1") // and known as a whole
	f(ignore("ads"), "/p?q=gclid=7", "/p?q=gclid=7")
	f(ignore("ref"), "/p?a=1&ref=2&a=3&ref&a=1", "/p?a=1&a=3&a=1")
	f(ignore("ref"), "/p?r%65f=1&a=%31", "/p?a=%31")
	f(ignore("ref"), "/p?a=&b&ref=", "/p?a=&b")
	f(ignore("ref"), "/p?&a=1&&b=2&", "/p?&a=1&&b=2&")
	f(ignore("ref"), "/p?ref=1&", "/p")
	f(ignore("ref"), "/p?", "/p?")
	f(ignore("ref"), "/p?a=1;ref=2", "/p?a=1;ref=2")
	f(ignore("ref"), "/p?a=1?ref=2", "/p?a=1?ref=2")
	f(ignore("r*"), "/p?ref=1&r=2&a=r", "/p?a=r")
	f(ignore("ref"), "/p%3fref=1", "/p%3fref=1")
	f(key("page", "f_*"), "/p?x=1&page=2&f_a=1&f_a=2&f=3", "/p?page=2&f_a=1&f_a=2")
	f(key("page"), "/p?x=1", "/p")
	f(key("page"), "/p?p%61ge=2&PAGE=3", "/p?p%61ge=2")
	f(key("page"), "/p?page&&=1", "/p?page")
	f(key("page"), "/p?", "/p?")
	f(RouteCache{}, "/p?gclid=7&", "/p?gclid=7&")
}

// TestRouteCacheQueryAbsolute: a target with scheme and host loses them on the way, also
// where parameters are left out of it.
func TestRouteCacheQueryAbsolute(t *testing.T) {
	a := new(asking)
	n := start(t, origin(t, a.ServeHTTP), setup{routes: []Route{{Upstream: "origin", Cache: RouteCache{TTL: time.Minute, IgnoreQuery: []string{"ads"}}}}})
	n.raw("GET http://shop.example/p?gclid=1&a=2 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
	n.raw("GET http://shop.example?gclid=1 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
	if diff := cmp.Diff([]string{"/p?a=2", "/"}, a.taken()); diff != "" {
		t.Errorf("the origin saw (-want +got):\n%s", diff)
	}
}

// TestRouteCacheQueryInvalidation: a request that changes something lets go of the answer
// under the name that it is kept by.
func TestRouteCacheQueryInvalidation(t *testing.T) {
	a := new(asking)
	n := start(t, origin(t, a.ServeHTTP), setup{routes: []Route{{Upstream: "origin", Cache: RouteCache{TTL: time.Minute, IgnoreQuery: []string{"ads"}}}}})
	n.get("/p?a=1&gclid=1")
	n.do("POST", "/p?gclid=2&a=1", strings.NewReader("x"))
	n.get("/p?a=1")
	n.raw("POST http://" + n.address() + "/p?a=1 HTTP/1.1\r\nHost: " + n.address() + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	n.get("/p?a=1")
	n.get("/p?a=1&gclid=3")
	if diff := cmp.Diff([]string{"/p?a=1", "/p?gclid=2&a=1", "/p?a=1", "/p?a=1", "/p?a=1"}, a.taken()); diff != "" {
		t.Errorf("the origin saw (-want +got):\n%s", diff)
	}
}

// TestRouteCacheQueryPurge: an operator names a URL as visitors do, with parameters that
// the route leaves out or without.
func TestRouteCacheQueryPurge(t *testing.T) {
	f := func(c RouteCache, target, purged string, want int) {
		t.Helper()
		a := new(asking)
		c.TTL = time.Minute
		n := start(t, origin(t, a.ServeHTTP), setup{routes: []Route{
			{Name: "shop", Hosts: []string{"shop.example"}, Paths: []string{"/a b/**"}, Upstream: "origin", Cache: c},
			{Name: "rest", Upstream: "origin", Cache: RouteCache{TTL: time.Minute}},
		}, now: stopped()})
		req, _ := http.NewRequest("GET", n.base, nil)
		req.URL.Opaque, req.Host = target, "shop.example:8080"
		resp, err := n.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := n.server.Cache().PurgeURL("shop.example:8080", purged, cache.PurgeHard); got != want {
			t.Errorf("%+v: %s purged %d of %s, want %d", c, purged, got, target, want)
		}
	}
	f(RouteCache{IgnoreQuery: []string{"ads"}}, "/a%20b/c?x=1&gclid=2", "/a%20b/c?x=1&gclid=3", 1)
	f(RouteCache{IgnoreQuery: []string{"ads"}}, "/a%20b/c?gclid=2", "/a%20b/c?utm_source=x", 1)
	f(RouteCache{IgnoreQuery: []string{"ads"}}, "/a%20b/c?x=1&gclid=2", "/a%20b/c?x=1", 1)
	f(RouteCache{IgnoreQuery: []string{"ads"}}, "/a%20b/c?x=1", "/a%20b/c?x=2", 0)
	f(RouteCache{KeyQuery: []string{"page"}}, "/a%20b/c?page=1", "/a%20b/c?sort=x&page=1", 1)
	f(RouteCache{KeyQuery: []string{"page"}}, "/a%20b/c?page=1", "/a%20b/c", 0)
	f(RouteCache{IgnoreQuery: []string{"ads"}}, "/elsewhere?x=1", "/elsewhere?x=1&gclid=3", 0) // another route
}

// TestRouteCacheCookies: whoever has one of the cookies is answered by the origin, and
// nobody else gets that answer.
func TestRouteCacheCookies(t *testing.T) {
	f := func(list []string, cookies string, bypassed bool) {
		t.Helper()
		a := new(asking)
		n := start(t, origin(t, a.ServeHTTP), setup{routes: []Route{{Upstream: "origin", Cache: RouteCache{TTL: time.Minute, BypassCookies: list}}}, now: stopped()})
		kept := n.get("/")
		own := n.get("/", "Cookie", cookies)
		others := n.get("/")
		if got := own.body != kept.body; got != bypassed {
			t.Errorf("%v, %q: asked the origin %v, want %v", list, cookies, got, bypassed)
		}
		if want := "sedge; fwd=bypass"; bypassed && own.Header.Get("Cache-Status") != want {
			t.Errorf("%v, %q: Cache-Status %q, want %q", list, cookies, own.Header.Get("Cache-Status"), want)
		}
		if others.body != kept.body {
			t.Errorf("%v, %q: others got the answer that was somebody's own", list, cookies)
		}
	}
	f(nil, "session=1", true) // nobody has said what it is
	f(nil, "_ga=1; _ga_X1=2; _fbp=3; OptanonConsent=x", false)
	f(nil, "_ga=1; session=2", true)
	f(nil, "_gadget=1", true)
	f(nil, "session", true)
	f(nil, " ; ;", false)
	f([]string{"none"}, "session=1", false)
	f([]string{"none"}, "none=1", false)
	f([]string{"none", "mine"}, "mine=1", true)
	f([]string{"session"}, "session=1", true)
	f([]string{"session"}, "a=1; session=; b=2", true)
	f([]string{"session"}, "a=1;session", true)
	f([]string{"session"}, "Session=1; my_session=1; session2=1; a=session", false)
	f([]string{"cart_*"}, "cart_=1", true)
	f([]string{"cart_*"}, "cart=1", false)
	f([]string{"wordpress"}, "wordpress_logged_in_0123=me", true)
	f([]string{"wordpress"}, "wp-settings-time-1=1; wordpress_test_cookie=1", false)
	f([]string{"wordpress"}, "woocommerce_items_in_cart=1", true)
	f([]string{"magento"}, "X-Magento-Vary=a", true)
	f([]string{"php", "mine"}, "PHPSESSID=a", true)
	f([]string{"php", "mine"}, "mine=a", true)
	f([]string{"php"}, "magento=a", false)
}

// TestRouteCacheDisabled keeps nothing, whatever the origin says.
func TestRouteCacheDisabled(t *testing.T) {
	a := new(asking)
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=600")
		a.ServeHTTP(w, r)
	}), setup{routes: []Route{{Upstream: "origin", Cache: RouteCache{Disabled: true}}}})
	n.get("/")
	if r := n.get("/"); len(a.taken()) != 2 || r.Header.Get("Cache-Status") != "" {
		t.Errorf("something was kept, or the cache speaks of itself: %q", r.Header.Get("Cache-Status"))
	}
}

// TestRouteCacheSegmentsSeeAll: visitors who come by different advertisements share the
// origin's answer, which never saw how they came, and their segments do.
func TestRouteCacheSegmentsSeeAll(t *testing.T) {
	a := new(asking)
	sale := text("#hero", "Sale")
	n := start(t, origin(t, a.ServeHTTP), setup{
		routes: []Route{{Upstream: "origin", Cache: RouteCache{TTL: time.Minute, IgnoreQuery: []string{"ads"}}}},
		engines: &engines{
			concerned: func(*decision.Page) bool { return true },
			plan: func(_ context.Context, q *decision.Query) *decision.Plan {
				if q.Attributes[0] == "sale" { // utm.campaign
					return sale
				}
				return &decision.Plan{Concerned: true}
			},
		},
	})
	for _, visit := range []struct{ target, want string }{
		{"/p?id=1&gclid=1&utm_campaign=sale", "Sale"},
		{"/p?id=1&gclid=2&utm_campaign=other", "Shop"},
		{"/p?gclid=3&utm_campaign=sale&id=1", "Sale"},
		{"/p?id=1", "Shop"},
	} {
		if r := n.get(visit.target); !strings.Contains(r.body, ">"+visit.want+"<") || !strings.Contains(r.body, "answer 1") {
			t.Errorf("%s: got %s, want %s of the first answer", visit.target, r.body, visit.want)
		}
	}
	if diff := cmp.Diff([]string{"/p?id=1"}, a.taken()); diff != "" {
		t.Errorf("the origin saw (-want +got):\n%s", diff)
	}
}

// TestCacheOff: a server that keeps nothing has no cache to speak of.
func TestCacheOff(t *testing.T) {
	a := origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
	var s setup
	if n := start(t, a, s); n.server.Cache() == nil {
		t.Error("nil for a cache that is on")
	}
	s.cache.Disabled = true
	if n := start(t, a, s); n.server.Cache() != nil {
		t.Error("a cache that is off is not nil")
	}
}
