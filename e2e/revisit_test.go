package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// revisitConfig has a page for each segment, and a coupon by a plugin.
func revisitConfig(origin, plugin string) map[string]any {
	config := behind(origin, true)
	headline := func(name string) []any {
		return []any{map[string]any{"select": "h1", "op": "set_inner", "html": name + ` for {{trait "name" "you"}}`}}
	}
	config["server"] = map[string]any{"personalize_budget": "5s", "access_log": false}
	config["plugins"] = []any{map[string]any{"name": "coupons", "command": []string{plugin}}, map[string]any{"name": "content", "in_process": true}}
	config["segments"] = []any{
		map[string]any{"name": "buyers", "priority": 2, "when": "visitor.orders >= 1"},
		map[string]any{"name": "red", "priority": 1, "when": `traits["tier"] == "red"`},
		map[string]any{"name": "green", "priority": 1, "when": `traits["tier"] == "green"`},
	}
	config["experiences"] = []any{
		map[string]any{"name": "buyers", "segment": "buyers", "pages": []string{"/"}, "edits": headline("Thanks")},
		map[string]any{"name": "red", "segment": "red", "pages": []string{"/"}, "edits": headline("Red")},
		map[string]any{"name": "green", "segment": "green", "pages": []string{"/"}, "edits": headline("Green")},
		map[string]any{"name": "coupon", "pages": []string{"/coupon"}, "plugin": "coupons", "settings": map[string]any{"key": "k", "prefix": "SUMMER-"}},
	}
	return config
}

// ways are how a person comes to a page that their browser has a copy of.
var ways = []struct {
	name string
	come func(b *browser, url string) *browser
}{
	{"by the button to reload", func(b *browser, _ string) *browser {
		b.do("reload", chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#end")))
		return b
	}},
	{"by the address", func(b *browser, url string) *browser {
		b.do("go to "+url, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#end")))
		return b
	}},
	{"by a link of another page", func(b *browser, url string) *browser {
		b.do("follow a link", chromedp.Navigate(url+"?elsewhere"), chromedp.Click(chromedp.CSS("#home")), chromedp.WaitVisible(chromedp.CSS("#end")))
		return b
	}},
	{"in another tab", func(b *browser, url string) *browser {
		ctx, closeTab := chromedp.NewContext(b.ctx)
		b.t.Cleanup(closeTab)
		if err := chromedp.Do(ctx); err != nil { // the tab lives as long as this context
			b.t.Fatalf("open a tab: %v", err)
		}
		tab := *b
		tab.ctx = ctx
		tab.do("open a tab", chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#end")))
		return &tab
	}},
}

// TestBrowserSeesWhatHolds: a browser has a copy of a page that says that it may be
// kept for long. Whatever changes for the visitor shows the next time that they come.
func TestBrowserSeesWhatHolds(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
			_, _ = io.WriteString(w, `<!doctype html><title>shop</title><h1>Shop</h1><p id="coupon">none</p><a id="home" href="`+r.URL.Path+`">home</a><p id="end">end</p>`)
		}))
		t.Cleanup(origin.Close)
		plugin := buildCoupons(t)
		f := p.open(t, revisitConfig(origin.URL, plugin))
		b := f.browser(t, chromedp.Flag("disable-features", "BackForwardCache"))
		b.do("open the site", chromedp.Navigate(f.url+"/"), chromedp.WaitVisible(chromedp.CSS("#end")))
		if got := b.text("h1"); got != "Shop" {
			t.Errorf("a stranger sees %q", got)
		}
		call := func(kind, body string) {
			t.Helper()
			answer := read(b, kind, chromedp.Evaluate[string](fmt.Sprintf(`fetch('/_sedge/v1/%s', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: %q}).then(r => r.text())`, kind, body), chromedp.EvalAwaitPromise))
			if !strings.Contains(answer, "true") {
				t.Fatalf("%s: %s", kind, answer)
			}
		}
		// In each way, after each change. From the copy that is right, answers are short.
		expect := func(what, want string) {
			t.Helper()
			for _, way := range ways {
				if got := way.come(b, f.url+"/").text("h1"); got != want {
					t.Errorf("%s, %s: %q, want %q", what, way.name, got, want)
				}
			}
		}
		for i, way := range ways { // the first visit after a change is what counts
			tier := []string{"red", "green"}[i%2]
			call("identify", fmt.Sprintf(`{"traits": {"tier": %q, "name": "Ada %d"}}`, tier, i))
			want := fmt.Sprintf("%s for Ada %d", map[string]string{"red": "Red", "green": "Green"}[tier], i)
			if got := way.come(b, f.url+"/").text("h1"); got != want {
				t.Errorf("identified as %s, %s: %q, want %q", tier, way.name, got, want)
			}
			f.turn(http.MethodPut, "experience/"+tier)
			if got := way.come(b, f.url+"/").text("h1"); got != "Shop" {
				t.Errorf("%s is off, %s: %q", tier, way.name, got)
			}
			f.turn(http.MethodDelete, "experience/"+tier)
			if got := way.come(b, f.url+"/").text("h1"); got != want {
				t.Errorf("%s is on again, %s: %q, want %q", tier, way.name, got, want)
			}
		}
		expect("nothing changed", "Green for Ada 3")
		call("track", `{"event": "Order Completed", "properties": {"order_id": "1", "revenue": 5}}`)
		expect("an order was made", "Thanks for Ada 3")
		if n := f.metric(`sedge_http_requests_total{code_class="3xx"}`); n < 2 {
			t.Errorf("%v answers said that the browser's copy holds: it kept none", n)
		}

		// By going back, a browser shows what was there (RFC 9111, section 6); reloading asks.
		b.do("leave", chromedp.Navigate(f.url+"/?elsewhere"), chromedp.WaitVisible(chromedp.CSS("#end")))
		f.turn(http.MethodPut, "experience/buyers")
		b.do("come back", chromedp.NavigateBack(), chromedp.WaitVisible(chromedp.CSS("#end")), chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#end")))
		if got := b.text("h1"); got != "Shop" {
			t.Errorf("back, and reloaded: %q", got)
		}
		f.turn(http.MethodDelete, "experience/buyers")
		expect("back again", "Thanks for Ada 3")

		// Without personalization pages are the origin's, and so is what it says of copies.
		f.turn(http.MethodPut, "everything")
		expect("everything is off", "Shop")
		f.turn(http.MethodDelete, "everything")
		for _, way := range ways[:1] {
			if got := way.come(b, f.url+"/").text("h1"); got != "Thanks for Ada 3" {
				t.Errorf("everything is on again, %s: %q", way.name, got)
			}
		}
		expect("and from then on", "Thanks for Ada 3")

		// A page that could not be changed is no longer right when it can be.
		if err := os.Rename(plugin, plugin+".away"); err != nil {
			t.Fatal(err)
		}
		for _, pid := range f.children() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			waitGone(t, []int{pid})
		}
		for _, way := range ways {
			if got := way.come(b, f.url+"/coupon").text("#coupon"); way.name != "by the button to reload" && got != "none" {
				t.Errorf("the plugin is dead, %s: %q", way.name, got)
			}
		}
		b.do("stay there", chromedp.Navigate(f.url+"/coupon"), chromedp.WaitVisible(chromedp.CSS("#end")))
		if err := os.Rename(plugin+".away", plugin); err != nil {
			t.Fatal(err)
		}
		for _, way := range ways {
			waitFor(t, 60*time.Second, "the plugin's page is there", func() error {
				if got := way.come(b, f.url+"/coupon").text("#coupon"); !strings.HasPrefix(got, "SUMMER-") {
					return fmt.Errorf("%s: %q", way.name, got)
				}
				return nil
			})
		}
	})
}

// turn sets a kill switch, or lifts it.
func (n *node) turn(method, which string) {
	n.t.Helper()
	req, err := http.NewRequest(method, n.admin+"/api/v1/switches/"+which, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		n.t.Fatalf("%s %s: %s %s", method, which, resp.Status, text)
	}
}
