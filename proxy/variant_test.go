package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/proxy/cache"
)

// counting is an origin that counts and says how its page may be kept.
func counting(t testing.TB, asked *atomic.Int64, header ...string) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "text/html")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		_, _ = io.WriteString(w, shopPage)
	})
}

func TestVariantHit(t *testing.T) {
	var asked atomic.Int64
	n := start(t, counting(t, &asked, "Cache-Control", "s-maxage=60"), setup{engines: always(text("#hero", "Hi"))})
	_, cookie := n.visitor()
	first := n.get("/", "Cookie", cookie)
	if got := first.Header.Get("Cache-Status"); got != "sedge; fwd=uri-miss; stored" {
		t.Errorf("first Cache-Status %q", got)
	}
	second := n.get("/", "Cookie", cookie)
	if got := second.Header.Get("Cache-Status"); !strings.HasPrefix(got, "sedge; hit; ttl=") {
		t.Errorf("second Cache-Status %q", got)
	}
	if second.body != first.body || asked.Load() != 1 {
		t.Errorf("asked %d times; %q and %q", asked.Load(), first.body, second.body)
	}
	if second.Header.Get("Age") == "" || second.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("headers %v", second.Header)
	}
	etag := second.Header.Get("ETag")
	if !strings.HasPrefix(etag, `W/"`) {
		t.Fatalf("ETag %q", etag)
	}
	third := n.get("/", "Cookie", cookie, "If-None-Match", etag)
	if third.StatusCode != 304 || third.body != "" || third.Header.Get("ETag") != etag {
		t.Errorf("status %d %v", third.StatusCode, third.Header)
	}
	fourth := n.get("/", "Cookie", cookie, "Cache-Control", "no-cache")
	if got := fourth.Header.Get("Cache-Status"); got != "sedge; fwd=request; stored" {
		t.Errorf("forced Cache-Status %q", got)
	}
	if views := n.engines.recorded(event.Page); len(views) != 4 {
		t.Errorf("%d page views", len(views))
	}
	head := n.do("HEAD", "/", nil, "Cookie", cookie)
	if head.ContentLength != int64(len(first.body)) || head.body != "" {
		t.Errorf("HEAD says %d bytes, the page has %d", head.ContentLength, len(first.body))
	}
	n.get("/", "Cookie", cookie, "Accept-Encoding", "gzip") // it is packed for the first
	packed := n.get("/", "Cookie", cookie, "Accept-Encoding", "gzip")
	if decoded(t, packed) != first.body {
		t.Errorf("packed variant: %q", decoded(t, packed))
	}
}

func TestWhatIsNotKept(t *testing.T) {
	cases := []struct {
		name   string
		origin []string
		client []string
	}{
		{"nothing said", nil, nil},
		{"private", []string{"Cache-Control", "private, max-age=60"}, nil},
		{"no-store", []string{"Cache-Control", "no-store, max-age=60"}, nil},
		{"no-cache", []string{"Cache-Control", "no-cache, max-age=60"}, nil},
		{"max-age=0", []string{"Cache-Control", "max-age=0"}, nil},
		{"s-maxage=0", []string{"Cache-Control", "max-age=60, s-maxage=0"}, nil},
		{"nonsense", []string{"Cache-Control", "max-age=sixty"}, nil},
		{"set-cookie", []string{"Cache-Control", "max-age=60", "Set-Cookie", "session=1"}, nil},
		{"a page of somebody with cookies", []string{"Cache-Control", "max-age=60"}, []string{"Cookie", "session=1"}},
		{"vary star", []string{"Cache-Control", "max-age=60", "Vary", "*"}, nil},
		{"authorization", []string{"Cache-Control", "max-age=60"}, []string{"Authorization", "Basic eDp5"}},
		{"request no-store", []string{"Cache-Control", "max-age=60"}, []string{"Cache-Control", "no-store"}},
		{"old already", []string{"Cache-Control", "max-age=60", "Age", "61"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int64
			n := start(t, counting(t, &asked, c.origin...), setup{engines: always(text("#hero", "Hi"))})
			for range 2 {
				r := n.get("/", c.client...)
				if strings.Contains(r.Header.Get("Cache-Status"), "stored") || strings.Contains(r.Header.Get("Cache-Status"), "hit") {
					t.Errorf("Cache-Status %q", r.Header.Get("Cache-Status"))
				}
			}
			if asked.Load() != 2 || n.server.CacheUsage().Objects != 0 {
				t.Errorf("asked %d times, %d kept", asked.Load(), n.server.CacheUsage().Objects)
			}
		})
	}
}

// Two plans never share a page, whatever else is equal, and equal plans do.
func TestVariantsAreKeptApart(t *testing.T) {
	var asked atomic.Int64
	e := always(nil)
	e.plan = func(_ context.Context, q *decision.Query) *decision.Plan {
		name := q.Attributes[0] // the campaign stands for everything that may lead to another plan
		p := text("#hero", "secret of "+name)
		p.Digest = decision.Digest{}
		copy(p.Digest[:], name)
		if name == "headers" {
			p = text("#hero", "secret of plain")
			p.Digest = decision.Digest{}
			copy(p.Digest[:], "plain")
			p.Action.Headers = [][2]string{{"X-Segment", "vip"}}
		}
		return p
	}
	// The campaign is in the query, so every one has a URL of its own; the origin
	// answers alike, and the key must not rest on that.
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{engines: e})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 40 {
				name := fmt.Sprintf("v%d", (i+j)%5)
				r := n.get("/?utm_campaign=" + name)
				if !strings.Contains(r.body, "secret of "+name+"<") {
					t.Errorf("%s was shown %q", name, r.body)
				}
			}
		})
	}
	wg.Wait()
	before := asked.Load()
	n.get("/?utm_campaign=plain")
	n.get("/?utm_campaign=headers")
	n.get("/?utm_campaign=plain", "Host", "other.example")
	if asked.Load() != before+3 {
		t.Errorf("the origin was asked %d times for 3 different objects", asked.Load()-before)
	}
}

func TestSameURLDifferentPlans(t *testing.T) {
	var asked atomic.Int64
	e := always(nil)
	e.plan = func(_ context.Context, q *decision.Query) *decision.Plan { return text("#hero", q.VisitorID[:8]) }
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{engines: e})
	for range 20 {
		id, cookie := n.visitor()
		for range 2 {
			if r := n.get("/", "Cookie", cookie); !strings.Contains(r.body, id[:8]) {
				t.Fatalf("another visitor's page: %q", r.body)
			}
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestGenerationsAreKeptApart(t *testing.T) {
	var asked atomic.Int64
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{engines: always(text("#hero", "Hi"))})
	n.get("/")
	next := n.site.SiteOptions
	next.Generation = 2
	released := make(chan struct{})
	n.site.Release = func() { close(released) }
	site, err := NewSite(next)
	if err != nil {
		t.Fatal(err)
	}
	n.server.SetSite(site)
	<-released
	variants := n.server.CacheUsage().Variants
	if r := n.get("/"); !strings.Contains(r.Header.Get("Cache-Status"), "hit") || asked.Load() != 1 {
		t.Errorf("what is kept of the origin is lost: %v", r.Header)
	}
	if got := n.server.CacheUsage().Variants; got != variants+1 {
		t.Errorf("%d variants after %d: that of the old generation was shown", got, variants)
	}
}

// A header that is not in the key must not change what is kept.
func TestPoisoningByUnkeyedHeaders(t *testing.T) {
	var mu sync.Mutex
	var reached []string
	classic := []string{
		"X-Forwarded-Host", "X-Forwarded-Scheme", "X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Prefix",
		"X-Forwarded-Port", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "X-Original-Host", "Sedge-Segment", "X_Forwarded_Host",
	}
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, ","), "evil") {
				reached = append(reached, name)
			}
		}
		mu.Unlock()
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, shopPage)
	})
	n := start(t, o, setup{engines: always(text("#hero", "Hi"))})
	for i, name := range classic {
		n.get(fmt.Sprintf("/%d", i), name, "evil")
	}
	if len(reached) > 0 {
		t.Errorf("these reached the origin: %v", reached)
	}
}

func TestVariantExpires(t *testing.T) {
	var asked atomic.Int64
	var offset atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{engines: always(text("#hero", "Hi")), now: now})
	n.get("/")
	offset.Store(int64(50 * time.Second))
	r := n.get("/")
	if asked.Load() != 1 || r.Header.Get("Age") < "50" {
		t.Errorf("asked %d times, Age %q", asked.Load(), r.Header.Get("Age"))
	}
	offset.Store(int64(61 * time.Second))
	if n.get("/"); asked.Load() != 2 {
		t.Errorf("a stale page was shown")
	}
}

func TestBudgetHolds(t *testing.T) {
	var asked atomic.Int64
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{
		engines: always(text("#hero", strings.Repeat("x", 20<<10))), cache: cache.Config{VariantMemory: 1 << 20},
	})
	for i := range 400 { // the second time it is edited as it is kept
		n.get(fmt.Sprintf("/%d", i/2))
	}
	u := n.server.CacheUsage()
	if u.VariantBytes > 1<<20 || u.VariantsEvicted == 0 || u.Objects == 0 {
		t.Errorf("usage %+v", u)
	}
}

// An answer from memory leaves in one call to the kernel, or in one for each record
// that TLS makes of it.
func TestOneWritePerHit(t *testing.T) {
	for over, writes := range map[protocol]uint64{plainHTTP1: 1, overTLS: 4} {
		var asked atomic.Int64
		n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{over: over, engines: always(text("#hero", strings.Repeat("word ", 12<<10)))})
		n.get("/")
		c := n.dial()
		before := n.server.stats.Writes.Load()
		const rounds = 20
		for range rounds {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+strings.TrimPrefix(strings.TrimPrefix(n.base, "http://"), "https://")+"\r\nUser-Agent: Mozilla/5.0\r\n\r\n")
			readAnswer(t, c)
		}
		if got := n.server.stats.Writes.Load() - before; got != rounds*writes {
			t.Errorf("%s: %d writes for %d hits", over, got, rounds)
		}
		if got := n.server.Stats().CacheHits.Load(); got != rounds {
			t.Errorf("%s: %d hits", over, got)
		}
	}
}

// A page that the origin sends at once leaves at once, edited or not.
func TestOneWritePerPage(t *testing.T) {
	page := "<html><h1>Title</h1>" + strings.Repeat("<p>text</p>", 2000) + "</html>"
	for name, e := range map[string]*engines{"passed on": {}, "edited": always(text("h1", "Hello"))} {
		o := rawOrigin(t, func(r *bufio.Reader, conn net.Conn) { serveFixed(r, conn, page, "no-store") })
		n := start(t, o, setup{engines: e})
		c := n.dial()
		before := n.server.stats.Writes.Load()
		const rounds = 5
		for range rounds {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0\r\n\r\n")
			readAnswer(t, c)
		}
		if got := n.server.stats.Writes.Load() - before; got != rounds {
			t.Errorf("%s: %d writes for %d pages", name, got, rounds)
		}
	}
}
