package e2e

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// A browser reads what Sedge packs, in each coding: while the page is read and packed
// in pieces, when it is whole, and when it is kept.
func TestBrowserReadsCodings(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	large := strings.Builder{} // too large to be taken as a whole, even packed
	for large.Len() < 1<<20 {
		fmt.Fprintf(&large, "<p>%x</p>\n", random.Uint64())
	}
	content := map[string]string{"/whole": large.String()[:30_000], "/kept": large.String()[:20_000], "/streamed": large.String()}
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/kept" {
			w.Header().Set("Cache-Control", "max-age=600")
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, "<!doctype html><h1>Welcome</h1>"+content[r.URL.Path]+"<p id=end>end</p>")
		_ = z.Close()
	}))
	t.Cleanup(o.Close)
	p := protocol{"HTTP/2", true} // browsers ask for br and zstd over TLS alone
	f := p.open(t, map[string]any{
		"upstreams": []any{map[string]any{"name": "site", "url": o.URL}},
		"routes":    []any{map[string]any{"name": "all", "upstream": "site"}},
		"experiences": []any{map[string]any{"name": "hello", "pages": []string{"/**"},
			"edits": []any{map[string]any{"select": "h1", "op": "set_inner", "text": "Hello"}}}},
	})
	b := f.browser(t)
	for _, accepted := range []string{"", "br", "deflate"} {
		want, kept := accepted, accepted
		if accepted == "" {
			want, kept = "zstd", "br" // of all that browsers read
		} else {
			b.do("accept "+accepted, func(ctx context.Context, target *chromedp.Target) (none chromedp.Void, err error) {
				_, err = cdp.Call(ctx, target, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
					Headers: network.Headers{"Accept-Encoding": accepted},
				})
				return none, err
			})
		}
		for i, path := range []string{"/whole", "/streamed", "/kept", "/kept"} {
			said := fmt.Sprintf("%s in %s", path, want)
			answer := read(b, said, chromedp.NavigateResponse(f.url+path))
			coding := ""
			for name, value := range answer.Headers {
				if strings.EqualFold(name, "Content-Encoding") {
					coding = fmt.Sprint(value)
				}
			}
			// From memory it may come packed anew, or be the browser's copy, which still holds.
			if coding != want && (i < 3 || coding != kept) {
				t.Errorf("%s: the coding is %q", said, coding)
			}
			if got := b.text("h1") + ", " + b.text("#end"); got != "Hello, end" {
				t.Errorf("%s: %q", said, got)
			}
		}
	}
}
