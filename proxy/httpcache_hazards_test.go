package proxy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// poison is a request that a hostile visitor sends so that others see what it says.
type poison struct {
	name           string
	method         string // "" for GET
	target, wanted string // below the vector's own path: what is sent, and what others ask for
	header         []string
	payload        string
	chunked        bool
}

// poisons are what origins let into their pages though no cache has it in its key.
func poisons() []poison {
	var list []poison
	for _, line := range []string{
		"X-Forwarded-Host: evil.example", "X-Forwarded-Scheme: evil", "X-Forwarded-Proto: evil", "X-Forwarded-Port: 666evil", "X-Forwarded-Prefix: /evil", "X-Forwarded-Server: evil.example",
		"X-Forwarded-For: evil", "X-Forwarded-SSL: evil", "X-Forwarded-Path: /evil", "X-Forwarded-Uri: /evil", "X-Forwarded: host=evil", "Forwarded: host=evil.example", "Forwarded: for=1.2.3.4;host=evil;proto=http",
		"Forwarded: for=evil", "Forwarded: for=1.2.3.4;proto=evil", "Forwarded: for=1.2.3.4, x=evil", "X-Forwarded-Host: evil.example/", "X-Forwarded-Host: evil.example, shop.example",
		"X-Host: evil.example", "X-Original-Host: evil.example", "X-HTTP-Host-Override: evil.example", "X-Original-URL: /evil", "X-Rewrite-URL: /evil", "X-Original-URI: /evil", "X-Rewrite-URI: /evil",
		"X-HTTP-Method-Override: EVIL", "X-HTTP-Method: EVIL", "X-Method-Override: EVIL", "X-Original-Method: EVIL",
		"True-Client-IP: evil", "X-Real-IP: evil", "X-Client-IP: evil", "CF-Connecting-IP: evil", "X-Cluster-Client-IP: evil", "Fastly-Client-IP: evil",
		"X-WAP-Profile: http://evil.example/", "Max-Forwards: 0evil", "Max-Forwards: 0", "Range: bytes=evil", "Range: bytes=0-3", "If-Range: evil",
		"X-Invoke-Path: /evil", "X-Invoke-Query: evil", "X-Invoke-Output: evil", "X-Invoke-Status: 500", "X-Matched-Path: /evil", "X-Now-Route-Matches: evil",
		"X-Middleware-Prefetch: evil", "X-Middleware-Rewrite: /evil", "X-Middleware-Subrequest: evil",
		"Sedge-Segment: evil", "Sedge-Experiments: evil", "X_Forwarded_Host: evil.example", "x-forwarded-host: evil.example",
	} {
		list = append(list, poison{name: line, header: []string{line}})
	}
	return append(list, []poison{
		{name: "a header twice", header: []string{"X-Forwarded-Host: shop.example", "X-Forwarded-Host: evil.example"}},
		{name: "a large header", header: []string{"X-Metadata: " + strings.Repeat("evil", 5<<10)}},
		{name: "many headers", header: slices.Repeat([]string{"X-Metadata: " + strings.Repeat("evil", 50)}, 90)},
		{name: "a GET with a body", payload: "x=evil"},
		{name: "a GET with a chunked body", payload: "x=evil", chunked: true},
		{name: "a GET with a form", payload: "x=evil", header: []string{"Content-Type: application/x-www-form-urlencoded"}},
		{name: "a HEAD with a body", method: "HEAD", payload: "x=evil"},
		{name: "another method", method: "EVIL"},
		{name: "a POST", method: "POST", payload: "x=evil"},
		{name: "a semicolon in the query", target: "/page?x=1;y=evil", wanted: "/page?x=1"},
		{name: "an encoded ampersand", target: "/page?x=1%26y=evil", wanted: "/page?x=1"},
		{name: "a parameter twice", target: "/page?x=1&x=evil", wanted: "/page?x=1"},
		{name: "a parameter in brackets", target: "/page?x=1&x[]=evil", wanted: "/page?x=1"},
		{name: "a parameter without a name", target: "/page?x=1&=evil", wanted: "/page?x=1"},
		{name: "two question marks", target: "/page?x=1?y=evil", wanted: "/page?x=1"},
		{name: "an advertising parameter", target: "/page?utm_content=evil", wanted: "/page"},
		{name: "a cloaked advertising parameter", target: "/page?x=1&utm_content=a;x=evil", wanted: "/page?x=1&utm_content=a"},
		{name: "two slashes", target: "//page", wanted: "/page"},
		{name: "an encoded dot", target: "/%2e/page", wanted: "/page"},
		{name: "up and down", target: "/evil/../page", wanted: "/page"},
		{name: "up and down, encoded", target: "/evil/%2e%2e/page", wanted: "/page"},
		{name: "up and down, all encoded", target: "/evil%2f..%2fpage", wanted: "/page"},
		{name: "a backslash", target: `/evil\..\page`, wanted: "/page"},
		{name: "an encoded backslash", target: "/evil%5c..%5cpage", wanted: "/page"},
		{name: "a path parameter", target: "/page;evil=1", wanted: "/page"},
		{name: "a path parameter above", target: "/x;evil=1/page", wanted: "/x/page"},
		{name: "an encoded question mark", target: "/page%3fx=evil", wanted: "/page?x=evil"},
		{name: "an encoded fragment", target: "/page%23evil", wanted: "/page"},
		{name: "a fragment", target: "/page#evil", wanted: "/page"},
		{name: "an encoded zero", target: "/page%00evil", wanted: "/page"},
		{name: "an encoded line end", target: "/page%0d%0aX:%20evil", wanted: "/page"},
		{name: "a letter encoded", target: "/p%61ge", wanted: "/page"},
		{name: "capitals", target: "/PAGE", wanted: "/page"},
		{name: "a dot at the end", target: "/page.", wanted: "/page"},
		{name: "another host", header: []string{"Host: evil.example"}},
		{name: "another port", header: []string{"Host: shop.example:666"}},
		{name: "the host in capitals", header: []string{"Host: SHOP.example"}},
	}...)
}

// reflecting is an origin that shows whatever it is told, and lets caches keep it, also
// what it says of a request that is too large, or of a method that it does not know.
func reflecting(asked *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		payload, _ := io.ReadAll(r.Body)
		var page strings.Builder
		fmt.Fprintf(&page, "<html><body><h1 id=\"hero\">Welcome</h1><pre>\n%s\n%s\n%s\n%s\n", r.Method, r.Host, r.RequestURI, payload)
		size := 0
		for name, values := range r.Header {
			size += len(strings.Join(values, ""))
			if name != "User-Agent" && name != "X-Request-Id" {
				fmt.Fprintf(&page, "%s: %s\n", name, values)
			}
		}
		status := 200
		switch {
		case size > 8<<10:
			status = 400
		case r.Method == "EVIL" || strings.Contains(fmt.Sprint(r.Header), "EVIL"):
			status = 405
		case r.Header.Get("Range") == "bytes=evil":
			status = 416
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, page.String()+"</pre></body></html>")
	}
}

// TestHTTPCachePoisoning sends what could get into a page that others are shown. The
// next visitor must see the page as the origin makes it for them; and that one is then
// shared, so that it is no answer to this test to keep nothing.
func TestHTTPCachePoisoning(t *testing.T) {
	setups := map[string]setup{
		"a page of the origin":      {},
		"a page with an experience": {engines: always(text("#hero", "Hi"))},
		"behind trusted proxies":    {config: Config{TrustedProxies: []string{"127.0.0.0/8"}}},
	}
	for name, o := range setups {
		t.Run(name, func(t *testing.T) {
			overEach(t, func(t *testing.T, over protocol) {
				var asked atomic.Int64
				o.over, o.now, o.up.Host = over, stopped(), "client"
				n := start(t, origin(t, reflecting(&asked)), o)
				for i, p := range poisons() {
					t.Run(p.name, func(t *testing.T) {
						under := fmt.Sprintf("/v%d", i)
						for range 2 { // some caches keep what they see again
							n.hostile(under, p)
						}
						n.clean(t, under, p)
						before := asked.Load()
						n.clean(t, under, p)
						if asked.Load() != before {
							t.Error("the page of those who send nothing odd is not shared")
						}
					})
				}
			})
		})
	}
}

// hostile sends the poison. Whether it is answered, refused or cut does not matter.
func (n *node) hostile(under string, p poison) {
	req, err := http.NewRequest(cmp.Or(p.method, "GET"), n.base, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.URL.Opaque = under + cmp.Or(p.target, "/page")
	req.Host = "shop.example"
	for _, line := range p.header {
		if name, value, _ := strings.Cut(line, ": "); name == "Host" {
			req.Host = value
		} else {
			req.Header[name] = append(req.Header[name], value)
		}
	}
	if p.payload != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(p.payload)), int64(len(p.payload))
		if p.chunked {
			req.ContentLength = -1
		}
	}
	if resp, err := n.client.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// clean asks as somebody who sends nothing odd.
func (n *node) clean(t *testing.T, under string, p poison) {
	t.Helper()
	target := under + cmp.Or(p.wanted, "/page")
	r := n.get(target, "Host", "shop.example")
	sent, shown := strings.Replace(r.body, target, "", 1), strings.Contains(r.body, "\nshop.example\n"+target+"\n")
	if r.StatusCode != 200 || strings.Contains(strings.ToLower(sent), "evil") || !shown {
		t.Errorf("others see %d %q", r.StatusCode, r.body)
	}
}

// account is an origin whose router takes whatever begins with /account for the page of
// the account, and which forgot to say that it is private.
func account(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/account"):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<p>secret of %s", r.Header.Get("Cookie"))
	case strings.HasSuffix(r.URL.Path, ".css"):
		w.Header().Set("Content-Type", "text/css")
		fmt.Fprintf(w, "p {} /* %d */", time.Now().UnixNano())
	default:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<p>%d", time.Now().UnixNano())
	}
}

// deceptions are addresses that a victim is lured to, and that look like those of files.
var deceptions = [...]string{
	"/account/x.css", "/account;x.css", "/account%2fx.css", "/account/..%2fx.css", "/account/x.css?y", "/account/x.js", "/account/a/b/x.png", "/account/x.CSS", "/account/x.css;y", "/account/x.css%3fy",
	"/account/x.css%23", "/account/.css", "/account%3bx.css", "/account%00x.css", "/account/%2e%2e/x.css", "/account.css", "/account/x.css/", "/account/x.woff2", "/account/x.jpg?x.css", "/account%0ax.css", "/account/robots.txt", "/account/x%2ecss",
}

// TestHTTPCacheDeception lures a victim to an address that looks like a file's, and asks
// for it as somebody else.
func TestHTTPCacheDeception(t *testing.T) {
	deceive := func(t *testing.T, n *node) {
		for _, target := range deceptions {
			for _, header := range [][]string{{}, {"Sec-Fetch-Dest", "style"}, {"Accept", "text/html"}} {
				victim := n.target(target, append(header, "Cookie", "user=victim")...)
				if r := n.target(target, header...); strings.Contains(r.body, "victim") {
					t.Errorf("%s %v: others are shown %q; the victim got %d", target, header, r.body, victim.StatusCode)
				}
			}
		}
	}
	overEach(t, func(t *testing.T, over protocol) {
		t.Run("without a rule", func(t *testing.T) {
			deceive(t, start(t, origin(t, account), setup{over: over, now: stopped()}))
		})
		t.Run("with a lifetime of the route", func(t *testing.T) {
			n := start(t, origin(t, account), setup{over: over, now: stopped(), routes: keptFor(5 * time.Minute)})
			deceive(t, n)
			for _, honest := range []string{"/style.css", "/page", "/"} { // else this would be no test
				if first, second := n.target(honest), n.target(honest); first.body != second.body {
					t.Errorf("%s is not kept", honest)
				}
			}
		})
	})
}

// target asks for a target as it is written.
func (n *node) target(target string, header ...string) reply {
	n.t.Helper()
	req, err := http.NewRequest("GET", n.base, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.URL.Opaque = target
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatalf("%s: %v", target, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s: %v", target, err)
	}
	return reply{resp, string(body)}
}

// keptFor makes a route whose answers are kept for a time, whatever the origin says.
func keptFor(ttl time.Duration) []Route {
	return []Route{{Upstream: "origin", Cache: RouteCache{TTL: ttl}}}
}

// The scheme is part of the key: pages differ by it, if only in the addresses in them.
func TestHTTPCacheTellsSchemesApart(t *testing.T) {
	var asked atomic.Int64
	n := start(t, origin(t, reflecting(&asked)), setup{over: overTLS, now: stopped()})
	for range 2 {
		for _, base := range []string{"http://" + n.addr, n.base} {
			req, _ := http.NewRequest("GET", base+"/page", nil)
			req.Host = "shop.example"
			resp, err := n.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if scheme, _, _ := strings.Cut(base, ":"); !strings.Contains(string(body), "X-Forwarded-Proto: ["+scheme+"]") {
				t.Errorf("%s got %s", base, body)
			}
		}
	}
	if asked.Load() != 2 {
		t.Errorf("the origin was asked %d times, want 2", asked.Load())
	}
}

// Who waits for an answer that somebody else asked for gets it when they leave.
func TestHTTPCacheLeaderLeaves(t *testing.T) {
	overEach(t, func(t *testing.T, over protocol) {
		var asked atomic.Int64
		goOn := make(chan struct{})
		o := origin(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = io.WriteString(w, "page")
		})
		n := start(t, o, setup{over: over, now: stopped()})
		ctx, leave := context.WithCancel(context.Background())
		left := make(chan struct{})
		go func() {
			defer close(left)
			req, _ := http.NewRequestWithContext(ctx, "GET", n.base+"/", nil)
			if resp, err := n.clientAt(t, n.address()).RoundTrip(req); err == nil {
				resp.Body.Close()
			}
		}()
		eventually(t, "the first one asks the origin", func() bool { return asked.Load() == 1 })
		const others = 4
		bodies := make([]string, others)
		var waiting sync.WaitGroup
		for i := range others {
			waiting.Go(func() {
				resp, err := n.client.Get(n.base + "/")
				if err != nil {
					bodies[i] = err.Error()
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				bodies[i] = fmt.Sprintf("%d %s %v", resp.StatusCode, body, err)
			})
		}
		eventually(t, "the others wait", func() bool { return n.server.Stats().InFlight.Load() == others+1 })
		leave()
		<-left
		close(goOn)
		waiting.Wait()
		for _, body := range bodies {
			if body != "200 page <nil>" {
				t.Errorf("one of the others got %q", body)
			}
		}
		if got := asked.Load(); got > 2 {
			t.Errorf("the origin was asked %d times", got)
		}
	})
}
