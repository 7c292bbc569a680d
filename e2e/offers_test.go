package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

const offersConfig = `
server: {personalize_budget: 5s}
upstreams: [{name: site, url: %q}]
routes: [{name: all, upstream: site}]
segments: [{name: vip, when: 'request.header["x-shop"] == "vip"'}]
plugins: [{name: offers, in_process: %t}]
experiences:
  - name: deal
    pages: ["/"]
    plugin: offers
    settings:
      select: "#deal"
      html: <a class="deal" href="{{offer "link"}}"><b>{{offer "title"}}</b> {{offer "text" "Only today."}}</a>
      offers:
        - {name: all, value: 1, title: "Socks & hats", link: "/socks?size=1&new"}
        - {name: vip, value: 5, segments: [vip], title: "20 %% for you", text: "Until <Christmas>.", link: "/vip"}
`

// Visitors of two segments are shown their own offers in the owner's frame, from one
// page that is kept for both.
func TestOffersOfTwoSegmentsShareAPage(t *testing.T) {
	for _, inProcess := range []bool{true, false} {
		t.Run(fmt.Sprintf("in process %t", inProcess), func(t *testing.T) {
			var asked atomic.Int64
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				w.Header().Set("Cache-Control", "max-age=600")
				_, _ = io.WriteString(w, `<!doctype html><title>shop</title><div id="deal">Nothing.</div>`)
			}))
			t.Cleanup(origin.Close)
			path := filepath.Join(t.TempDir(), "offers.yaml")
			if err := os.WriteFile(path, fmt.Appendf(nil, offersConfig, origin.URL, inProcess), 0o600); err != nil {
				t.Fatal(err)
			}
			n := startServe(t, binary, path)
			etags := map[string]string{}
			for round := range 2 {
				for i, c := range []struct{ shop, want string }{
					{"", `<a class="deal" href="/socks?size=1&amp;new"><b>Socks &amp; hats</b> Only today.</a>`},
					{"vip", `<a class="deal" href="/vip"><b>20 % for you</b> Until &lt;Christmas&gt;.</a>`},
				} {
					a := newClient(t, n.site).page("/", "X-Shop", c.shop)
					if want := `<div id="deal">` + c.want + `</div>`; !strings.Contains(a.body, want) {
						t.Errorf("segment %q:\n got %s\nwant %s", c.shop, a.body, want)
					}
					if hit := strings.Contains(a.header.Get("Cache-Status"), "hit"); hit != (round+i > 0) {
						t.Errorf("round %d, segment %q: %s", round, c.shop, a.header.Get("Cache-Status"))
					}
					etags[c.shop] = a.header.Get("ETag")
				}
			}
			if asked.Load() != 1 {
				t.Errorf("the origin was asked %d times", asked.Load())
			}
			for _, of := range []string{"", "vip"} {
				a := newClient(t, n.site).do(http.MethodGet, "/", "", "X-Shop", "vip", "If-None-Match", etags[of])
				if notModified := a.status == http.StatusNotModified; notModified != (of == "vip") {
					t.Errorf("a vip with the ETag of %q: status %d", of, a.status)
				}
			}
		})
	}
}

// Nothing that an offer may be called runs in a page.
func TestBrowserRunsNothingFromOffers(t *testing.T) {
	const frame = `<div class="place"><b title="{{offer "title"}}">{{offer "title"}}</b><a href="/?q={{offer "title"}}">x</a>` +
		`<a href={{offer "title"}}>x</a><script>var a = "{{offer "title"}}";</script></div>`
	var experiences []any
	for i, payload := range readSlotCases(t).Payloads {
		if payload == "" || len(payload) > 512 { // refused by the plugin
			continue
		}
		experiences = append(experiences, map[string]any{
			"name": fmt.Sprint("payload ", i), "plugin": "offers",
			"settings": map[string]any{"select": "#slots", "op": "append", "html": frame, "offers": []any{map[string]any{"name": "x", "title": payload}}},
		})
	}
	n := serveConfig(t, map[string]any{
		"upstreams":   []any{map[string]any{"name": "site", "url": slotsSite(t)}},
		"routes":      []any{map[string]any{"name": "all", "upstream": "site"}},
		"plugins":     []any{map[string]any{"name": "offers"}},
		"experiences": experiences,
	})
	b := openBrowser(t)
	for _, way := range []string{"first", "again from memory"} {
		b.do("open the page", chromedp.Navigate(n.site+"/"), chromedp.WaitVisible(chromedp.CSS("#end")))
		if found := b.poke(); len(experiences) < 60 || !found.inert("/", len(experiences)) {
			t.Errorf("%s, %d payloads: %+v", way, len(experiences), found)
		}
	}
}
