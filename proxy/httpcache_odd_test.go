package proxy

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// renewing is an origin whose pages may be used stale, and that shows what it is asked with.
func renewing(asked *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		w.Header().Set("Cache-Control", "public, max-age=60, stale-while-revalidate=3000")
		w.Header().Set("Content-Type", "text/plain")
		if r.Method != "HEAD" {
			_, _ = fmt.Fprintf(w, "%d %s %s %s", n, r.Method, r.Header.Get("X-Host"), r.Header.Get("X-Metadata"))
		} else {
			w.(http.Flusher).Flush() // an answer that does not know its length
		}
	}
}

// What is asked for behind is asked for as by anybody, by whatever request it comes.
func TestRefreshIsNobodys(t *testing.T) {
	for _, c := range []struct {
		name, method string
		header       []string
		refreshes    bool
	}{
		{"HEAD", "HEAD", nil, true},
		{"a condition", "GET", []string{"If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"}, true},
		{"a part", "GET", []string{"range", "bytes=0-1"}, true},
		{"a header that steers", "GET", []string{"X-Host", "evil"}, false},
		{"a large header", "GET", []string{"X-Metadata", strings.Repeat("evil", 4<<10)}, false},
		{"no-store", "GET", []string{"Cache-Control", "no-store"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			overEach(t, func(t *testing.T, over protocol) {
				var asked atomic.Int64
				clock := newCacheClock()
				n := start(t, origin(t, renewing(&asked)), setup{over: over, now: clock.Now})
				n.get("/")
				clock.move(90 * time.Second)
				if r := n.do(c.method, "/", nil, c.header...); r.StatusCode >= 400 {
					t.Fatal(r.Status)
				}
				if c.refreshes {
					eventually(t, "it is renewed", func() bool { return !strings.HasPrefix(n.get("/").body, "1 ") })
				}
				if r := n.get("/"); strings.Contains(r.body, "evil") || !strings.Contains(r.body, "GET") {
					t.Errorf("others see %d %.90q", r.StatusCode, r.body)
				}
				eventually(t, "all are answered", func() bool { return len(n.server.refreshes) == 0 })
				if r := n.get("/"); strings.Contains(r.body, "evil") || !strings.Contains(r.body, "GET") {
					t.Errorf("others see %d %.90q", r.StatusCode, r.body)
				}
			})
		})
	}
}

// What is renewed behind keeps the origin's Date, as what a visitor brings does.
func TestDateOfWhatIsRenewed(t *testing.T) {
	date := time.Now().Add(-10 * time.Second).UTC().Format(http.TimeFormat)
	var asked atomic.Int64
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=3000")
		w.Header().Set("Date", date)
		_, _ = fmt.Fprint(w, asked.Add(1))
	}), setup{})
	n.get("/")
	var r reply
	eventually(t, "it is renewed", func() bool { r = n.get("/"); return r.body != "1" })
	if got := r.Header["Date"]; len(got) != 1 || got[0] != date {
		t.Errorf("Date %q, of the origin %q", got, date)
	}
	eventually(t, "all are answered", func() bool { return len(n.server.refreshes) == 0 })
}

// The head of an answer that confirms what is kept is no more than the request's own if
// the request may have led the origin astray.
func TestPoisonedConfirmation(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		for _, header := range [][]string{{"X-Host", "evil"}, {"X-Host", "evil", "Cache-Control", "no-cache"}, {"X-Metadata", strings.Repeat("evil", 4<<10)}} {
			t.Run(fmt.Sprintf("%s %.20s", method, header), func(t *testing.T) {
				clock := newCacheClock()
				o := origin(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Cache-Control", "public, max-age=60")
					w.Header().Set("Date", clock.Now().UTC().Format(http.TimeFormat))
					w.Header().Set("Link", r.Header.Get("X-Host")+r.Header.Get("X-Metadata"))
					w.Header().Set("ETag", `"a"`)
					if r.Method == "GET" && r.Header.Get("If-None-Match") == `"a"` {
						w.WriteHeader(304)
						return
					}
					_, _ = io.WriteString(w, "page")
				})
				n := start(t, o, setup{now: clock.Now})
				n.get("/")
				clock.move(50 * time.Second)
				n.do(method, "/", nil, header...)
				if r := n.get("/"); r.Header.Get("Link") != "" {
					t.Errorf("others see Link %.20q", r.Header.Get("Link"))
				}
				clock.move(50 * time.Second)
				if r := n.do(method, "/", nil, header...); r.StatusCode != 200 || method == "GET" && r.body != "page" {
					t.Errorf("got %d %q", r.StatusCode, r.body)
				}
				if r := n.get("/"); r.Header.Get("Link") != "" || r.body != "page" {
					t.Errorf("others see Link %.20q", r.Header.Get("Link"))
				}
			})
		}
	}
}

// gated is an origin whose answers, of 512 KiB, pause in the middle until they may go on.
func gated(asked *atomic.Int64, goOn chan struct{}, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		half := strings.Repeat(cmp.Or(r.Header.Get("Cookie"), "nobody"), 1000)
		w.Header().Set("Content-Length", fmt.Sprint(2*len(half)))
		_, _ = io.WriteString(w, half)
		w.(http.Flusher).Flush()
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, half)
	}
}

// Who has cookies does not get what is on its way for somebody without, if nobody said
// that it is for all.
func TestFollowersWithCookies(t *testing.T) {
	overEach(t, func(t *testing.T, over protocol) {
		var asked atomic.Int64
		goOn := make(chan struct{})
		n := start(t, origin(t, gated(&asked, goOn, "Cache-Control", "max-age=60", "Content-Type", "text/html")), setup{over: over, now: stopped()})
		bodies := make(chan string, 2)
		ask := func(cookie string) {
			req, _ := http.NewRequest("GET", n.base+"/", nil)
			if cookie != "" {
				req.Header.Set("Cookie", cookie)
			}
			resp, err := n.client.Do(req)
			if err != nil {
				bodies <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			bodies <- fmt.Sprintf("%.8s %v", body, err)
		}
		go ask("")
		eventually(t, "one is on its way", func() bool { return asked.Load() == 1 && n.server.flights.Usage().Bytes > 0 })
		go ask("user=x")
		eventually(t, "the other is answered", func() bool { return asked.Load() == 2 || n.server.flights.Usage().Served > 0 })
		close(goOn)
		seen := <-bodies + "," + <-bodies
		if !strings.Contains(seen, "user=x") || !strings.Contains(seen, "nobody") {
			t.Errorf("the two got %s", seen)
		}
	})
}

// Who does not read the coding of what is on its way gets something else.
func TestFollowersWithOtherCodings(t *testing.T) {
	var asked atomic.Int64
	goOn := make(chan struct{})
	n := start(t, origin(t, gated(&asked, goOn, "Cache-Control", "public, max-age=60", "Content-Type", "text/plain", "Content-Encoding", "gzip")), setup{now: stopped()})
	got := make(chan string, 2)
	ask := func(accept string) {
		req, _ := http.NewRequest("GET", n.base+"/", nil)
		req.Header.Set("Accept-Encoding", accept)
		resp, err := n.client.Do(req)
		if err != nil {
			got <- err.Error()
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		got <- resp.Header.Get("Cache-Status")
	}
	go ask("gzip")
	eventually(t, "one is on its way", func() bool { return asked.Load() == 1 && n.server.flights.Usage().Bytes > 0 })
	go ask("identity")
	eventually(t, "the other is answered", func() bool { return asked.Load() == 2 || n.server.flights.Usage().Served > 0 })
	close(goOn)
	if seen := <-got + "," + <-got; strings.Contains(seen, "collapsed") && !strings.Contains(seen, "collapsed=?0") {
		t.Errorf("the two got %s", seen)
	}
}

// A purge concerns what is on its way, whoever asked for it.
func TestPurgeDuringAnyRequest(t *testing.T) {
	for name, header := range map[string][]string{
		"a request": nil, "a condition": {"If-None-Match", `"other"`}, "a reload": {"Cache-Control", "no-cache", "If-None-Match", `"other"`},
	} {
		for _, state := range []string{"nothing", "stale"} {
			t.Run(name+" on "+state, func(t *testing.T) {
				clock := newCacheClock()
				var asked atomic.Int64
				reached, goOn := make(chan struct{}, 8), make(chan struct{})
				o := origin(t, func(w http.ResponseWriter, r *http.Request) {
					asked.Add(1)
					if r.Header.Get("X-Waits") != "" {
						reached <- struct{}{}
						<-goOn
					}
					w.Header().Set("Cache-Control", "public, max-age=60")
					w.Header().Set("Date", clock.Now().UTC().Format(http.TimeFormat))
					w.Header().Set("ETag", `"a"`)
					if r.Header.Get("If-None-Match") == `"a"` {
						w.WriteHeader(304)
						return
					}
					_, _ = io.WriteString(w, "page")
				})
				n := start(t, o, setup{now: clock.Now})
				if state == "stale" {
					n.get("/", "Host", "shop.example")
					clock.move(70 * time.Second)
				}
				done := make(chan reply)
				go func() { done <- n.get("/", append(header, "X-Waits", "1", "Host", "shop.example")...) }()
				<-reached
				n.server.objects.PurgeURL("shop.example", "/", cache.PurgeHard)
				close(goOn)
				if r := <-done; r.StatusCode != 200 || r.body != "page" {
					t.Errorf("got %d %q", r.StatusCode, r.body)
				}
				before := asked.Load()
				n.get("/", "Host", "shop.example")
				if asked.Load() == before {
					t.Error("what was purged is used")
				}
			})
		}
	}
}

// Whether a client's copy holds says nothing of what is kept.
func TestConditionsOfTheClientsConfirmNothing(t *testing.T) {
	clock := newCacheClock()
	var asked atomic.Int64
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("Date", clock.Now().UTC().Format(http.TimeFormat))
		if r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(304)
			return
		}
		_, _ = fmt.Fprintf(w, "page %d", n)
	})
	n := start(t, o, setup{now: clock.Now})
	n.get("/")
	clock.move(70 * time.Second)
	n.get("/", "If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT")
	if r := n.get("/"); r.body == "page 1" {
		t.Errorf("got %q, confirmed by a client's condition", r.body)
	}
}

// A page that cannot be read after all leaves as the origin sent it, also if it was about
// to be kept.
func TestDamagedPageOnItsWayToTheCache(t *testing.T) {
	for _, sized := range []bool{true, false} {
		t.Run(fmt.Sprint(sized), func(t *testing.T) {
			overEach(t, func(t *testing.T, over protocol) {
				damaged := append([]byte("no gzip at all"), bytes.Repeat([]byte("x"), 512<<10)...)
				goOn := make(chan struct{})
				o := origin(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/html")
					w.Header().Set("Content-Encoding", "gzip")
					w.Header().Set("Cache-Control", "public, max-age=60")
					if sized {
						w.Header().Set("Content-Length", fmt.Sprint(len(damaged)))
					}
					_, _ = w.Write(damaged[:1000])
					w.(http.Flusher).Flush()
					select {
					case <-goOn:
					case <-time.After(300 * time.Millisecond):
					}
					_, _ = w.Write(damaged[1000:])
				})
				n := start(t, o, setup{over: over, engines: always(text("#hero", "Hi")), now: stopped()})
				for range 2 {
					if r := n.get("/", "Accept", "text/html", "Accept-Encoding", "gzip"); r.body != string(damaged) {
						t.Errorf("got %d bytes of %d, %s", len(r.body), len(damaged), r.Header.Get("Cache-Status"))
					}
				}
				close(goOn)
			})
		})
	}
}

// Of a page that is not edited a part can be asked for, also one that there is not.
func TestRangeOfAPageThatIsJustKept(t *testing.T) {
	overEach(t, func(t *testing.T, over protocol) {
		n := start(t, pages(t, "text/html", "<p>page", "Cache-Control", "public, max-age=60, no-transform"), setup{over: over, engines: always(text("#hero", "Hi")), now: stopped()})
		for range 2 {
			if r := n.get("/", "Accept", "text/html", "Range", "bytes=100-"); r.StatusCode != 416 {
				t.Errorf("got %d %q", r.StatusCode, r.body)
			}
			if r := n.get("/", "Accept", "text/html", "Range", "bytes=0-1"); r.StatusCode != 206 || r.body != "<p" {
				t.Errorf("got %d %q", r.StatusCode, r.body)
			}
		}
	})
}

// A POST lets go of what is kept under the address, without the parameters that do not
// count.
func TestInvalidationWithoutParameters(t *testing.T) {
	var asked atomic.Int64
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "public, max-age=60")
	})
	n := start(t, o, setup{now: stopped(), routes: []Route{{Upstream: "origin", Cache: RouteCache{IgnoreQuery: []string{"ads"}}}}})
	n.get("/?utm_source=a")
	n.do("POST", "/?utm_source=b", strings.NewReader("x"))
	n.get("/?utm_source=c")
	if asked.Load() != 3 {
		t.Errorf("the origin was asked %d times", asked.Load())
	}
}

// Trailers are for the client that the answer came for, though it is kept.
func TestTrailersOfWhatIsKept(t *testing.T) {
	overEach(t, func(t *testing.T, over protocol) {
		n := start(t, origin(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=60")
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "page")
			w.Header().Set("X-Sum", "42")
		}), setup{over: over, now: stopped()})
		for _, want := range []string{"42", ""} {
			if r := n.get("/"); r.body != "page" || r.Trailer.Get("X-Sum") != want {
				t.Errorf("got %q and the trailer %q, want %q", r.body, r.Trailer.Get("X-Sum"), want)
			}
		}
	})
}

// The target in absolute form is the same as the other.
func TestAbsoluteFormWithoutParameters(t *testing.T) {
	var asked atomic.Int64
	targets := make(chan string, 8)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		targets <- r.RequestURI
		w.Header().Set("Cache-Control", "public, max-age=60")
	})
	n := start(t, o, setup{now: stopped(), routes: []Route{{Upstream: "origin", Cache: RouteCache{IgnoreQuery: []string{"ads"}}}}})
	for _, target := range []string{"http://shop.example/p?utm_source=a", "/p?utm_source=b"} {
		n.raw("GET " + target + " HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
	}
	if got := <-targets; got != "/p" || asked.Load() != 1 {
		t.Errorf("the origin was asked for %q, %d times", got, asked.Load())
	}
	n.raw("POST http://shop.example/p HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	n.raw("GET /p HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
	if asked.Load() != 3 {
		t.Error("a POST in absolute form let go of nothing")
	}
}

// What was kept under one setting of map_urls is not used under another.
func TestMappingChangesByReload(t *testing.T) {
	for _, concerned := range []bool{true, false} {
		var at string
		o := origin(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=600")
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `<h1 id="hero">x</h1><a href="http://`+at+`/a">a</a>`)
		})
		at = o
		e := &engines{}
		if concerned {
			e = always(text("#hero", "Hi"))
		}
		n := start(t, o, setup{engines: e, now: stopped()})
		n.get("/", "Accept", "text/html", "Host", "shop.example")
		up, err := upstream.New(upstream.Config{Name: "origin", URL: "http://" + o, MapURLs: []decision.Body{decision.BodyHTML}}, upstream.Deps{Now: stopped()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(up.Close)
		next := n.site.SiteOptions
		next.Generation, next.Upstreams = 2, map[string]*upstream.Upstream{"origin": up}
		site, err := NewSite(next)
		if err != nil {
			t.Fatal(err)
		}
		n.server.SetSite(site)
		if r := n.get("/", "Accept", "text/html", "Host", "shop.example"); strings.Contains(r.body, o) {
			t.Errorf("got %q", r.body)
		}
	}
}

// A host may be named with the port that the scheme has by default, and without.
func TestOtherSpelling(t *testing.T) {
	for _, c := range [][3]string{
		{"http", "a.example", "a.example:80"}, {"http", "a.example:80", "a.example"}, {"http", "a.example:443", ""}, {"https", "a.example:443", "a.example"},
		{"https", "a.example", "a.example:443"}, {"http", "[::1]", "[::1]:80"}, {"http", "[::1]:80", "[::1]"}, {"http", "[::80]:81", ""}, {"http", "a.example:8080", ""},
	} {
		if got := otherSpelling(c[0], c[1]); got != c[2] {
			t.Errorf("%s://%s: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// Data that was fetched with a key is nobody else's, unless it is said to be everybody's.
func TestKeysInHeadersAreAsCookies(t *testing.T) {
	for _, c := range []struct {
		control string
		shared  bool
	}{{"max-age=60", false}, {"public, max-age=60", true}} {
		var asked atomic.Int64
		n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			w.Header().Set("Cache-Control", c.control)
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, "%q", r.Header.Get("X-Api-Key"))
		}), setup{now: stopped()})
		for _, key := range []string{"one", "two", ""} {
			if r := n.get("/", "X-Api-Key", key); !c.shared && r.body != fmt.Sprintf("%q", key) {
				t.Errorf("%q: got %s", key, r.body)
			}
		}
		if c.shared != (asked.Load() == 1) {
			t.Errorf("%s: the origin was asked %d times", c.control, asked.Load())
		}
	}
}

// A page that some experience names is no one's copy by a date: what the client has of
// it may be edited.
func TestDateIsNoValidatorOfEditedPages(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage, "Cache-Control", "public, max-age=60"), setup{engines: always(text("#hero", "Hi"))})
	for range 3 {
		for _, header := range [][]string{{"Accept", "*/*", "Sec-Fetch-Dest", "empty"}, {"Accept", "text/html"}} {
			if r := n.get("/", append(header, "If-Modified-Since", time.Now().UTC().Format(http.TimeFormat))...); r.StatusCode != 200 {
				t.Errorf("%v: got %d", header, r.StatusCode)
			}
		}
	}
}
