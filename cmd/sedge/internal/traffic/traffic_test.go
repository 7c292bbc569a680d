package traffic_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/cmd/sedge/internal/shop"
	"github.com/sedge-proxy/sedge/cmd/sedge/internal/traffic"
)

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func run(t *testing.T, o traffic.Options) traffic.Summary {
	t.Helper()
	s, err := traffic.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVisitorsBrowseAndBuy(t *testing.T) {
	site := serve(t, shop.New(shop.Config{}))
	var calls []int
	o := traffic.Options{Target: site, Visitors: 100, Seed: 7, Progress: func(done, total int) { calls = append(calls, done) }}
	s := run(t, o)
	if s.Visitors+s.Crawlers != 100 || s.Crawlers == 0 || s.Crawlers > 15 {
		t.Errorf("%d visitors and %d crawlers", s.Visitors, s.Crawlers)
	}
	if s.Errors != 0 || s.PageViews < 2*s.Visitors || s.Buyers == 0 || s.Orders <= s.Buyers || s.Revenue < 20*float64(s.Orders) {
		t.Errorf("implausible: %s", s)
	}
	if s.Tempted != 0 {
		t.Errorf("%d visitors saw an offer on the plain shop", s.Tempted)
	}
	if len(calls) != 100 || calls[99] != 100 {
		t.Errorf("progress was told %d times", len(calls))
	}
	o.Progress, o.Concurrency = nil, 1
	if again := run(t, o); again.Orders != s.Orders || again.PageViews != s.PageViews || again.Revenue != s.Revenue {
		t.Errorf("the same seed did something else:\n%s\n%s", s, again)
	}
}

func TestOffersSell(t *testing.T) {
	plain := shop.New(shop.Config{})
	personalized := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding")
		record := httptest.NewRecorder()
		plain.ServeHTTP(record, r)
		h := w.Header()
		for name, values := range record.Header() {
			h[name] = values
		}
		h.Del("Content-Length")
		w.WriteHeader(record.Code)
		page := strings.Replace(record.Body.String(), `aria-label="Offers"></aside>`, `aria-label="Offers"><p>Two mugs for one</p></aside>`, 1)
		_, _ = w.Write([]byte(strings.Replace(page, "Explore the collection", "Shop the sale", 1)))
	})
	without := run(t, traffic.Options{Target: serve(t, plain), Visitors: 120, Seed: 1})
	with := run(t, traffic.Options{Target: serve(t, personalized), Visitors: 120, Seed: 1})
	if with.Tempted < with.Visitors*9/10 || with.Buyers <= without.Buyers {
		t.Errorf("with offers %s\nwithout    %s", with, without)
	}
}

// What arrives looks like browsers: navigations say so, cookies come back.
func TestRequestsLookLikeBrowsers(t *testing.T) {
	plain := shop.New(shop.Config{})
	var mu sync.Mutex
	seen := map[string]int{}
	site := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen["dest:"+r.Header.Get("Sec-Fetch-Dest")]++
		seen["site:"+r.Header.Get("Sec-Fetch-Site")]++
		seen["campaign:"+r.URL.Query().Get("utm_campaign")]++
		if _, err := r.Cookie("known"); err == nil {
			seen["cookie"]++
		}
		if r.UserAgent() == "" || r.Header.Get("Accept") == "" {
			seen["bare"]++
		}
		http.SetCookie(w, &http.Cookie{Name: "known", Value: "1"})
		plain.ServeHTTP(w, r)
	}))
	run(t, traffic.Options{Target: site, Visitors: 60, Seed: 3})
	for _, want := range []string{"dest:document", "dest:empty", "dest:", "site:none", "site:same-origin", "site:cross-site", "campaign:sale", "campaign:", "cookie"} {
		if seen[want] == 0 {
			t.Errorf("no request with %s", want)
		}
	}
	if seen["bare"] > 0 {
		t.Errorf("%d requests without User-Agent or Accept", seen["bare"])
	}
}

func TestErrorsAreCounted(t *testing.T) {
	broken := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	s, err := traffic.Run(t.Context(), traffic.Options{Target: broken, Visitors: 20})
	if err != nil || s.Errors < 20 || s.PageViews != 0 {
		t.Errorf("%v, %s", err, s)
	}
	if !strings.Contains(s.String(), "requests failed") {
		t.Errorf("errors are not reported: %s", s)
	}

	gone := httptest.NewServer(nil)
	gone.Close()
	if _, err := traffic.Run(t.Context(), traffic.Options{Target: gone.URL, Visitors: 3}); err == nil || !strings.Contains(err.Error(), "no request was answered") {
		t.Errorf("a dead target: %v", err)
	}
	for _, bad := range []string{"", "localhost:8080", "ftp://x", "http://", "://"} {
		if _, err := traffic.Run(t.Context(), traffic.Options{Target: bad, Visitors: 1}); err == nil {
			t.Errorf("target %q was accepted", bad)
		}
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	site := serve(t, shop.New(shop.Config{}))
	done := 0
	_, err := traffic.Run(ctx, traffic.Options{Target: site, Visitors: 1 << 20, Progress: func(int, int) {
		if done++; done == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || done > 5+8 {
		t.Errorf("%v after %d visitors", err, done)
	}
}

func TestProgress(t *testing.T) {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tick := func() time.Time { clock = clock.Add(20 * time.Millisecond); return clock }
	f := func(total int, terminal bool, wantLines int, want string) {
		t.Helper()
		var out strings.Builder
		report := traffic.NewProgress(&out, terminal, tick)
		for n := range total {
			report(n+1, total)
		}
		if got := out.String(); strings.Count(got, "\n") != wantLines || !strings.Contains(got, want) {
			t.Errorf("%d visitors, terminal %v: %q", total, terminal, got)
		}
	}
	f(100, false, 10, "30 of 100 visitors (30 %)")
	f(3, false, 3, "3 of 3 visitors (100 %)")
	f(1, false, 1, "1 of 1 visitors (100 %)")
	f(100, true, 1, "\r100 of 100 visitors (100 %)")
}
