package shop

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// browser is a client with cookies that does not follow redirects by itself.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
}

func open(t *testing.T, cfg Config) *browser {
	t.Helper()
	server := httptest.NewServer(New(cfg))
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, base: server.URL, client: &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) do(method, path, body string, header ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequest(method, b.base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

func (b *browser) get(path string, header ...string) (*http.Response, string) {
	b.t.Helper()
	return b.do(http.MethodGet, path, "", header...)
}

func (b *browser) post(path string, form url.Values) (*http.Response, string) {
	b.t.Helper()
	return b.do(http.MethodPost, path, form.Encode())
}

// Every address that a page names leads somewhere.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	b := open(t, Config{})
	seen, queue := map[string]bool{"/": true}, []string{"/"}
	link := regexp.MustCompile(`(?:href|src)="(/[^"]*)"`)
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		resp, body := b.get(path)
		switch resp.StatusCode {
		case http.StatusOK, http.StatusSeeOther:
		default:
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(body, -1) {
			if target := strings.ReplaceAll(m[1], "&amp;", "&"); !seen[target] {
				seen[target] = true
				queue = append(queue, target)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d addresses found", len(seen))
	}
}

func TestPublicPagesAreTheSameForEveryone(t *testing.T) {
	fixed := func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }
	stranger, customer := open(t, Config{Now: fixed}), open(t, Config{Now: fixed})
	customer.post("/login", url.Values{"email": {"ada@example.com"}})
	customer.post("/cart/add", url.Values{"product": {"kiln-mug"}})
	for _, path := range []string{"/", "/category/camp", "/product/kiln-mug", "/about"} {
		first, want := stranger.get(path)
		if cc := first.Header.Get("Cache-Control"); cc != "public, max-age=60" {
			t.Errorf("%s: Cache-Control %q", path, cc)
		}
		if first.Header.Get("Vary") != "Accept-Encoding" || len(first.Cookies()) > 0 {
			t.Errorf("%s: Vary %q, cookies %v", path, first.Header.Get("Vary"), first.Cookies())
		}
		second, got := customer.get(path + "?utm_campaign=sale")
		if got != want || second.Header.Get("ETag") != first.Header.Get("ETag") {
			t.Errorf("%s differs between a stranger and a customer", path)
		}
		packed, body := customer.get(path, "Accept-Encoding", "br, gzip")
		if packed.Header.Get("Content-Encoding") != "gzip" || unzip(t, body) != want {
			t.Errorf("%s: gzip holds something else", path)
		}
	}
}

func TestDocumentAnswersConditionalRequests(t *testing.T) {
	b := open(t, Config{})
	plain, _ := b.get("/")
	packed, _ := b.get("/", "Accept-Encoding", "gzip")
	plainTag, packedTag := plain.Header.Get("ETag"), packed.Header.Get("ETag")
	if plainTag == packedTag {
		t.Fatalf("both encodings have the tag %s", plainTag)
	}
	later := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	earlier := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	f := func(want int, header ...string) {
		t.Helper()
		resp, body := b.get("/", header...)
		if resp.StatusCode != want {
			t.Errorf("%q: status %d, want %d", header, resp.StatusCode, want)
		}
		if want == http.StatusNotModified && body != "" {
			t.Errorf("%q: 304 with a body", header)
		}
	}
	f(304, "If-None-Match", plainTag)
	f(304, "If-None-Match", `"other", W/`+plainTag)
	f(304, "If-None-Match", "*")
	f(304, "If-None-Match", packedTag, "Accept-Encoding", "gzip")
	f(200, "If-None-Match", packedTag)
	f(200, "If-None-Match", `"other"`, "If-Modified-Since", later)
	f(304, "If-Modified-Since", later)
	f(200, "If-Modified-Since", earlier)
	f(200, "If-Modified-Since", "yesterday")

	if resp, body := b.do(http.MethodHead, "/", ""); body != "" || resp.ContentLength != plain.ContentLength {
		t.Errorf("HEAD: %d bytes announced, GET: %d", resp.ContentLength, plain.ContentLength)
	}
}

func TestAcceptsGzip(t *testing.T) {
	f := func(header string, want bool) {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Encoding", header)
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
	f("", false)
	f("gzip", true)
	f("GZip;q=0.5", true)
	f("br, gzip ; q=1", true)
	f("gzip;q=0", false)
	f("gzip; q = 0.000", false)
	f("gzip;q=x", false)
	f("identity, xgzip", false)
}

func TestBuying(t *testing.T) {
	b := open(t, Config{})
	step := func(path string, form url.Values, wantStatus int, wantLocation string) string {
		t.Helper()
		resp, _ := b.post(path, form)
		if resp.StatusCode != wantStatus || !strings.HasPrefix(resp.Header.Get("Location"), wantLocation) {
			t.Fatalf("%s: %d to %q", path, resp.StatusCode, resp.Header.Get("Location"))
		}
		if cc := resp.Header.Get("Cache-Control"); cc != "private, no-store" {
			t.Errorf("%s: Cache-Control %q", path, cc)
		}
		return resp.Header.Get("Location")
	}
	cart := func(items int, total string) {
		t.Helper()
		var got struct {
			Items int
			Total string
		}
		_, body := b.get("/api/cart")
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Items != items || got.Total != total {
			t.Errorf("cart %s, want %d for %s", body, items, total)
		}
	}
	address := url.Values{"name": {"Ada"}, "email": {"ada@example.com"}, "street": {"Mill Lane 1"}, "postcode": {"1010"}, "city": {"Vienna"}, "payment": {"invoice"}}

	cart(0, "0.00")
	step("/checkout", address, 303, "/cart") // nothing to buy
	step("/cart/add", url.Values{"product": {"kiln-mug"}, "quantity": {"2"}}, 303, "/cart")
	cart(2, "44.70") // with delivery
	step("/cart/add", url.Values{"product": {"kiln-mug"}}, 303, "/cart")
	step("/cart/add", url.Values{"product": {"fen-lantern"}, "quantity": {"x"}}, 303, "/cart")
	cart(4, "99.60") // delivery is free
	step("/cart/update", url.Values{"product": {"kiln-mug"}, "quantity": {"1"}}, 303, "/cart")
	cart(2, "64.70")
	step("/cart/remove", url.Values{"product": {"fen-lantern"}}, 303, "/cart")
	cart(1, "24.80")
	step("/cart/add", url.Values{"product": {"no-such-thing"}}, 404, "")

	step("/login", url.Values{"email": {"ada@example.com"}, "password": {"x"}}, 303, "/account")
	step("/checkout", url.Values{"name": {"Ada"}}, 422, "")
	first := step("/checkout", address, 303, "/thank-you?order=")
	if !regexp.MustCompile(`^/thank-you\?order=[A-Z2-7]{5}-1001&total=24\.80$`).MatchString(first) {
		t.Errorf("thank-you address %q", first)
	}
	cart(0, "0.00")
	step("/cart/add", url.Values{"product": {"kiln-mug"}}, 303, "/cart")
	if second := step("/checkout", address, 303, "/thank-you?order="); second == first {
		t.Errorf("two orders have the address %q", second)
	}

	for path, want := range map[string]string{first: "€24.80", "/account": "-1002", "/cart": "nothing in it"} {
		resp, body := b.get(path)
		if !strings.Contains(body, want) || resp.Header.Get("Cache-Control") != "private, no-store" {
			t.Errorf("%s lacks %q or is stored (%q)", path, want, resp.Header.Get("Cache-Control"))
		}
	}
	step("/logout", nil, 303, "/")
	if resp, _ := b.get("/account"); resp.Header.Get("Location") != "/login" {
		t.Errorf("account after signing out: %d", resp.StatusCode)
	}
}

func TestWhatVisitorsTypeIsEscapedAndBounded(t *testing.T) {
	b := open(t, Config{})
	evil := `"><script>alert(1)</script>`
	b.post("/cart/add", url.Values{"product": {"kiln-mug"}})
	_, searched := b.get("/search?q=" + url.QueryEscape(evil))
	_, thanked := b.get("/thank-you?order=" + url.QueryEscape(evil) + "&total=" + url.QueryEscape(evil))
	_, checked := b.post("/checkout", url.Values{"name": {evil}})
	for _, body := range []string{searched, thanked, checked} {
		if strings.Contains(body, "<script>alert") || !strings.Contains(body, "&lt;script&gt;") {
			t.Errorf("not escaped in %.80q…", body)
		}
	}
	if resp, _ := b.post("/cart/add", url.Values{"product": {strings.Repeat("x", maxBody)}}); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an oversized form: %d", resp.StatusCode)
	}
	for range 3 {
		b.post("/cart/add", url.Values{"product": {"kiln-mug"}, "quantity": {"999999"}})
	}
	if _, body := b.get("/api/cart"); !strings.Contains(body, `"items":20,`) {
		t.Errorf("quantity is not bounded: %s", body)
	}
	forged := "kiln-mug:3.kiln-mug:999.nothing:1.fen-lantern:-5.:.tarn-bottle:x"
	other := open(t, Config{})
	if _, body := other.get("/api/cart", "Cookie", "shop_cart="+forged); !strings.Contains(body, `"items":20,`) {
		t.Errorf("forged cart: %s", body)
	}
}

func TestSearch(t *testing.T) {
	c := newCatalogue()
	f := func(q string, want int) {
		t.Helper()
		if got := c.search(q); len(got) != want {
			t.Errorf("%q found %d, want %d", q, len(got), want)
		}
	}
	f("", 0)
	f("   ", 0)
	f("LANTERN", 1)
	f("waxed cotton", 1)
	f("garden & shed", 6)
	f("zeppelin", 0)
}

func TestCatalogueIsWhole(t *testing.T) {
	c := newCatalogue()
	if len(c.products) != 24 || len(c.bySlug) != 24 {
		t.Errorf("%d products, %d slugs", len(c.products), len(c.bySlug))
	}
	parcel := drawings("")
	for _, p := range c.products {
		if c.category(p.Category).Slug == "" || p.Price <= 0 || drawings(p.Picture) == parcel {
			t.Errorf("%s lacks a category, a price or a picture", p.Slug)
		}
		if got := len(c.related(p)); got != 4 {
			t.Errorf("%s has %d related products", p.Slug, got)
		}
		wellFormed(t, p.Slug, productPicture(p.Picture, p.Category))
	}
	wellFormed(t, "hero", heroPicture())
	wellFormed(t, "favicon", favicon())
}

func TestErrors(t *testing.T) {
	b := open(t, Config{Random: iotest.ErrReader(errors.New("no entropy"))})
	b.post("/cart/add", url.Values{"product": {"kiln-mug"}})
	address := url.Values{"name": {"Ada"}, "email": {"a@b"}, "street": {"s"}, "postcode": {"1"}, "city": {"c"}}
	if resp, _ := b.post("/checkout", address); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("order without randomness: %d", resp.StatusCode)
	}
	if resp, _ := b.post("/login", url.Values{"email": {"a@b"}}); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("session without randomness: %d", resp.StatusCode)
	}
	if resp, body := b.get("/no/such/page"); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "Nothing grows here") {
		t.Errorf("unknown page: %d", resp.StatusCode)
	}
	if resp, _ := b.do(http.MethodDelete, "/", ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", resp.StatusCode)
	}
	if resp, _ := b.post("/newsletter", url.Values{"email": {"nobody"}}); resp.Header.Get("Location") != "/#newsletter" {
		t.Errorf("bad newsletter address leads to %q", resp.Header.Get("Location"))
	}
	if resp, _ := b.post("/newsletter", url.Values{"email": {"a@b"}}); resp.Header.Get("Location") != "/newsletter/thanks" {
		t.Errorf("newsletter leads to %q", resp.Header.Get("Location"))
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := newSessions()
	random := rand.NewChaCha8([32]byte{})
	first, err := s.start(random, customer{Name: "first"})
	if err != nil {
		t.Fatal(err)
	}
	for range maxSessions {
		if _, err := s.start(random, customer{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.queue) != maxSessions || s.byID[first].Name != "" {
		t.Errorf("%d sessions, the first is %q", len(s.queue), s.byID[first].Name)
	}
}

// The places that the package promises exist, once each where they are ids.
func TestEditablePlaces(t *testing.T) {
	b := open(t, Config{})
	f := func(path string, ids ...string) {
		t.Helper()
		_, body := b.get(path)
		for _, id := range ids {
			if n := strings.Count(body, ` id="`+id+`"`); n != 1 {
				t.Errorf("%s: #%s occurs %d times", path, id, n)
			}
		}
		if strings.Count(body, `class="announcement"`) != 1 || strings.Count(body, "<main>") != 1 {
			t.Errorf("%s lacks .announcement or main", path)
		}
	}
	f("/", "hero", "offers", "categories", "featured", "newsletter")
	f("/category/wear", "offers", "products", "newsletter")
	f("/product/kiln-mug", "recommendations", "newsletter")
	f("/cart", "offers", "newsletter")
}

func unzip(t *testing.T, body string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func wellFormed(t *testing.T, name string, picture []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(picture))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("picture %s: %v", name, err)
			return
		}
	}
}
