package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// findBrowser returns the Chromium to drive.
func findBrowser(t *testing.T) string {
	t.Helper()
	return program(t, os.Getenv("SEDGE_CHROMIUM"), "chromium-browser", "google-chrome", "google-chrome-stable", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "chromium")
}

// browser is one person's browser: its own profile, hence its own cookies.
type browser struct {
	t     *testing.T
	ctx   context.Context
	shots string
}

func openBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options,
		chromedp.ExecPath(findBrowser(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(1200, 1000),
		chromedp.NoSandbox, // the tests may run as root
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	options = append(options, more...)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, shots: os.Getenv("SEDGE_SCREENSHOTS")}
	if b.shots == "" {
		b.shots = t.TempDir()
	}
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as this context
		t.Fatalf("start the browser: %v", err)
	}
	return b
}

// browser opens one that takes the front's certificate for a good one: with an error
// that is only ignored, it would keep no copies of pages.
func (f *front) browser(t *testing.T, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	if f.key != "" {
		more = append(more, chromedp.Flag("ignore-certificate-errors-spki-list", f.key))
	}
	return openBrowser(t, more...)
}

// do runs browser actions within a minute.
func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// read runs one action that returns something.
func read[T any](b *browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return value
}

// text returns what an element says.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return strings.TrimSpace(read(b, "read "+selector, chromedp.TextContent(chromedp.CSS(selector))))
}

// seen is what a person finds at the top of the home page.
type seen struct{ Headline, Text, Link, Offers string }

// home opens the home page, keeps a picture of it, and returns what stands there.
func (b *browser) home(url, name string) seen {
	b.t.Helper()
	b.do("open "+url, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#hero h1")))
	s := seen{b.text("#hero h1"), b.text("#hero p"), b.text("#hero .cta"), b.text("#offers")}
	picture := read(b, "take a picture", chromedp.FullScreenshot(100))
	if len(picture) == 0 {
		b.t.Errorf("no picture of %s", url)
	}
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), picture, 0o644); err != nil {
		b.t.Error(err)
	}
	return s
}

// addToCart puts a product into the cart by the form of its page.
func (b *browser) addToCart(site, product string) {
	b.t.Helper()
	b.do("add "+product,
		chromedp.Navigate(site+"/product/"+product),
		chromedp.Click(chromedp.CSS("form.buy button")),
		chromedp.WaitVisible(chromedp.CSS("#cart")),
	)
}

// buy goes from a product's page to the thank-you page by the shop's own forms.
func (b *browser) buy(site, product string) {
	b.t.Helper()
	b.addToCart(site, product)
	b.do("check out",
		chromedp.Click(chromedp.CSS(".next a.button")),
		chromedp.WaitVisible(chromedp.CSS("#checkout")),
		chromedp.SendKeys(chromedp.CSS("#checkout [name=name]"), "Ada Marsh"),
		chromedp.SendKeys(chromedp.CSS("#checkout [name=email]"), "ada@example.com"),
		chromedp.SendKeys(chromedp.CSS("#checkout [name=street]"), "Mill Lane 1"),
		chromedp.SendKeys(chromedp.CSS("#checkout [name=postcode]"), "1010"),
		chromedp.SendKeys(chromedp.CSS("#checkout [name=city]"), "Vienna"),
		chromedp.Click(chromedp.CSS("#checkout button")),
		chromedp.WaitVisible(chromedp.CSS("#order")),
	)
	order, thanks := b.text("#order"), read(b, "read the address", chromedp.Location())
	if order == "" || !strings.Contains(thanks, "/thank-you?order="+order) {
		b.t.Errorf("order %q at %q", order, thanks)
	}
}

func TestBrowserSeesEachSegmentsPage(t *testing.T) {
	n := startDemo(t, binary)
	stranger, hunter := openBrowser(t), openBrowser(t)
	first := stranger.home(n.site+"/", "new-visitor")
	sale := hunter.home(n.site+"/?utm_campaign=sale", "sale")

	stranger.addToCart(n.site, "kiln-mug")
	stranger.do("wait for the count", chromedp.WaitVisible(chromedp.CSS("[data-cart-count]")))
	if badge := stranger.text("[data-cart-count]"); badge != "1" {
		t.Errorf("the cart shows %q", badge)
	}
	stranger.buy(n.site, "kiln-mug")
	stranger.buy(n.site, "fen-lantern")
	loyal := stranger.home(n.site+"/", "loyal")
	plain := openBrowser(t).home(n.origin+"/", "origin")

	for name, s := range map[string]seen{"new visitor": first, "sale": sale, "loyal": loyal} {
		if s.Headline == plain.Headline || s.Text == "" || s.Link == "" {
			t.Errorf("%s sees %+v", name, s)
		}
	}
	if first.Headline == sale.Headline || sale.Headline == loyal.Headline || first.Headline == loyal.Headline {
		t.Errorf("headlines: new %q, sale %q, loyal %q", first.Headline, sale.Headline, loyal.Headline)
	}
	if strings.TrimSpace(plain.Offers) != "" {
		t.Errorf("the shop itself shows offers: %q", plain.Offers)
	}

	waitFor(t, 20*time.Second, "the report knows both orders", func() error {
		if got := n.report().orders(); got != 2 {
			return fmt.Errorf("%d orders", got)
		}
		return nil
	})
}

// A browser buys in the shop, over each protocol.
func TestBrowserBuys(t *testing.T) {
	shop := startDemo(t, binary)
	overEach(t, func(t *testing.T, p protocol) {
		config := behind(shop.origin, true)
		config["experiences"] = []any{map[string]any{
			"name": "hello", "pages": []string{"/"},
			"edits": []any{map[string]any{"select": "#hero h1", "op": "set_inner", "text": "Changed"}},
		}}
		f := p.open(t, config)
		b := f.browser(t)
		if got := b.home(f.url+"/", "buys-"+strings.ReplaceAll(p.name, "/", "-")).Headline; got != "Changed" {
			t.Errorf("the headline is %q", got)
		}
		want := map[bool]string{false: "http/1.1", true: "h2"}[p.secure]
		if got := read(b, "read the protocol", chromedp.Evaluate[string](`performance.getEntriesByType("navigation")[0].nextHopProtocol`)); got != want {
			t.Errorf("the browser speaks %s", got)
		}
		b.buy(f.url, "kiln-mug")
	})
}
