package traffic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Where a visitor finds things on a page of the shop.
var (
	linkPattern   = regexp.MustCompile(`href="(/(?:product|category)/[a-z0-9-]+)"`)
	offersPattern = regexp.MustCompile(`(?s)<aside id="offers"[^>]*>(.*?)</aside>`)
	ctaPattern    = regexp.MustCompile(`(?s)<a [^>]*class="[^"]*\bcta\b[^"]*"[^>]*>(.*?)</a>`)
	savingPattern = regexp.MustCompile(`(?i)\bsales?\b|\bsave\b|\boffer\b|\boff\b|\d\s*%`)
)

// What seeing something adds to the probability of buying.
const (
	offerAppeal = 0.10 // an offer in the place for offers
	linkAppeal  = 0.08 // a main link that speaks of a saving
	loyalAppeal = 0.55 // a loyal customer buys anyway
)

// trackPath is where the proxy takes track events, see the Segment HTTP API.
const trackPath = "/_sedge/v1/track"

// visitor is somebody on the site.
type visitor struct {
	random  *rand.Rand
	persona persona
	target  string
	client  *http.Client

	referer   string   // the page they are on
	links     []string // products and categories that they have seen
	offer     bool     // an offer was shown
	saving    bool     // the main link spoke of a saving
	tempted   bool
	thanks    *url.URL // the last thank-you page they were sent to
	pages     int
	orders    int
	cents     int64 // what their orders cost
	answered  int
	errors    int
	lastError error
}

// play is a whole visit.
func (v *visitor) play(ctx context.Context) {
	landing := "/"
	if v.random.IntN(5) == 0 {
		landing = "/category/" + []string{"camp", "wear", "home", "garden"}[v.random.IntN(4)]
	}
	if v.persona.query != "" {
		landing += "?" + v.persona.query
	}
	v.referer = v.persona.referrer
	v.open(ctx, landing)
	for range v.persona.pages - 1 {
		v.browse(ctx)
	}
	if v.persona.crawler {
		return
	}
	if v.persona.reader {
		v.submit(ctx, "/newsletter", url.Values{"email": {"visitor@example.com"}})
		v.track(ctx, "Newsletter Signup")
	}
	if v.buys() {
		v.buy(ctx)
	}
	for v.persona.loyal && v.orders > 0 && v.orders < 3 && ctx.Err() == nil && v.lastError == nil {
		v.open(ctx, "/")
		v.browse(ctx)
		if v.random.Float64() > loyalAppeal+v.appeal() {
			break
		}
		v.buy(ctx)
	}
}

// buys decides whether this visitor orders something.
func (v *visitor) buys() bool {
	chance := v.persona.appetite + v.appeal()
	if v.persona.loyal {
		chance = loyalAppeal + v.appeal()
	}
	return v.random.Float64() < chance
}

// appeal is what the things they saw add.
func (v *visitor) appeal() float64 {
	sum := 0.0
	if v.offer {
		sum += offerAppeal
	}
	if v.saving {
		sum += linkAppeal
	}
	return sum
}

// browse opens something that the visitor has seen a link to.
func (v *visitor) browse(ctx context.Context) {
	if len(v.links) == 0 || v.random.IntN(6) == 0 {
		v.open(ctx, "/")
		return
	}
	v.open(ctx, v.links[v.random.IntN(len(v.links))])
}

// buy puts one or two things into the cart and goes through the checkout.
func (v *visitor) buy(ctx context.Context) {
	products := slices.DeleteFunc(slices.Clone(v.links), func(l string) bool { return !strings.HasPrefix(l, "/product/") })
	if len(products) == 0 {
		return
	}
	for range 1 + v.random.IntN(2) {
		page := products[v.random.IntN(len(products))]
		v.open(ctx, page)
		v.submit(ctx, "/cart/add", url.Values{"product": {strings.TrimPrefix(page, "/product/")}, "quantity": {"1"}})
	}
	v.open(ctx, "/checkout")
	v.thanks = nil
	v.submit(ctx, "/checkout", url.Values{
		"name": {"A Visitor"}, "email": {"visitor@example.com"}, "street": {"Mill Lane 1"},
		"postcode": {"1010"}, "city": {"Vienna"}, "payment": {"invoice"},
	})
	if v.thanks == nil {
		return
	}
	v.orders++
	if total, err := strconv.ParseFloat(v.thanks.Query().Get("total"), 64); err == nil {
		v.cents += int64(math.Round(100 * total))
	}
}

// open navigates to a path and reads the page.
func (v *visitor) open(ctx context.Context, path string) {
	v.navigate(ctx, http.MethodGet, path, "")
}

// submit sends a form and follows to where it leads.
func (v *visitor) submit(ctx context.Context, path string, form url.Values) {
	v.navigate(ctx, http.MethodPost, path, form.Encode())
}

func (v *visitor) navigate(ctx context.Context, method, path, body string) {
	if ctx.Err() != nil {
		return
	}
	page, err := v.request(ctx, method, path, body, "document")
	if err != nil {
		v.failed(err)
		return
	}
	v.pages++
	v.look(page)
	if v.persona.crawler || !strings.Contains(page, "data-cart-count") {
		return
	}
	// As the script of the shop does on every page.
	if _, err := v.request(ctx, http.MethodGet, "/api/cart", "", "empty"); err != nil {
		v.failed(err)
	}
}

// track reports an event as the tag of a shop's analytics would. A site that
// takes no events answers 404, which is no error of the visit.
func (v *visitor) track(ctx context.Context, event string) {
	if ctx.Err() != nil {
		return
	}
	if _, err := v.request(ctx, http.MethodPost, trackPath, fmt.Sprintf(`{"event":%q}`, event), "empty"); err != nil {
		v.failed(err)
	}
}

// look notes what a page shows.
func (v *visitor) look(page string) {
	for _, m := range linkPattern.FindAllStringSubmatch(page, -1) {
		if !slices.Contains(v.links, m[1]) {
			v.links = append(v.links, m[1])
		}
	}
	if m := offersPattern.FindStringSubmatch(page); m != nil && strings.TrimSpace(m[1]) != "" {
		v.offer = true
	}
	if m := ctaPattern.FindStringSubmatch(page); m != nil && savingPattern.MatchString(m[1]) {
		v.saving = true
	}
	v.tempted = v.offer || v.saving
}

// request makes one request as a browser would, and follows redirects.
func (v *visitor) request(ctx context.Context, method, path, body, destination string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, v.target+path, strings.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", method, withoutQuery(path), err)
	}
	v.dress(req, destination)
	resp, err := v.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // its text would repeat the address with the query
		}
		return "", fmt.Errorf("%s %s: %w", method, withoutQuery(path), err)
	}
	defer resp.Body.Close()
	v.answered++
	page, err := readPage(resp.Body)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s %s: read the answer: %w", method, withoutQuery(path), err)
	case resp.StatusCode >= http.StatusInternalServerError:
		return "", fmt.Errorf("%s %s: answered with %s", method, withoutQuery(path), resp.Status)
	}
	if destination == "document" {
		v.referer = v.target + withoutQuery(resp.Request.URL.Path)
	}
	return page, nil
}

// dress sets the headers that a browser sends. Accept-Encoding is the
// transport's, so that bodies travel packed.
func (v *visitor) dress(req *http.Request, destination string) {
	h := req.Header
	h.Set("User-Agent", v.persona.agent)
	h.Set("Accept", "*/*")
	if destination == "document" {
		h.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	}
	if v.persona.language != "" {
		h.Set("Accept-Language", v.persona.language)
	}
	if req.Method == http.MethodPost {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		if destination == "empty" {
			h.Set("Content-Type", "text/plain")
		}
		h.Set("Origin", v.target)
	}
	if v.referer != "" {
		h.Set("Referer", v.referer)
	}
	if v.persona.crawler {
		return
	}
	h.Set("Sec-Fetch-Dest", destination)
	h.Set("Sec-Fetch-Mode", map[string]string{"document": "navigate", "empty": "cors"}[destination])
	site := "same-origin"
	switch {
	case v.referer == "":
		site = "none"
	case !strings.HasPrefix(v.referer, v.target):
		site = "cross-site"
	}
	h.Set("Sec-Fetch-Site", site)
}

// redirected follows a redirect and notes a thank-you page, which says what an
// order was worth.
func (v *visitor) redirected(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("more than five redirects")
	}
	if req.URL.Path == "/thank-you" {
		v.thanks = req.URL
	}
	return nil
}

// failed counts an error; the last one stands for all of a visitor.
func (v *visitor) failed(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	v.errors++
	v.lastError = err
}

// withoutQuery keeps query strings, which may name people, out of messages.
func withoutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}
