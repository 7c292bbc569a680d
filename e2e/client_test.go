package e2e

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"

// client asks for pages as a browser does, but shows answers as they are: it
// unpacks nothing and follows no redirect.
type client struct {
	t    *testing.T
	base string
	http *http.Client
}

// answer is one response, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	length int64 // as declared, -1 if it is not
}

func newClient(t *testing.T, base string) *client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return clientOver(t, base, transport)
}

func clientOver(t *testing.T, base string, transport http.RoundTripper) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, base: base, http: &http.Client{
		Jar: jar, Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// try makes a request with the headers of a navigation; header holds names and
// values that replace them, and "" removes one.
func (c *client) try(method, path, body string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	req.Header.Set("Sec-Fetch-Dest", "document")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text), resp.ContentLength}, err
}

func (c *client) do(method, path, body string, header ...string) answer {
	c.t.Helper()
	a, err := c.try(method, path, body, header...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// page gets a page that must be there.
func (c *client) page(path string, header ...string) answer {
	c.t.Helper()
	a := c.do(http.MethodGet, path, "", header...)
	if a.status != http.StatusOK {
		c.t.Fatalf("GET %s: status %d", path, a.status)
	}
	return a
}

// submit sends a form and returns where it leads.
func (c *client) submit(path string, form url.Values) string {
	c.t.Helper()
	a := c.do(http.MethodPost, path, form.Encode())
	if a.status != http.StatusSeeOther {
		c.t.Fatalf("POST %s: status %d", path, a.status)
	}
	return a.header.Get("Location")
}

// buy goes through cart and checkout to the thank-you page.
func (c *client) buy(product string) {
	c.t.Helper()
	c.submit("/cart/add", url.Values{"product": {product}, "quantity": {"1"}})
	thanks := c.submit("/checkout", url.Values{"name": {"Ada"}, "email": {"ada@example.com"}, "street": {"Mill Lane 1"}, "postcode": {"1010"}, "city": {"Vienna"}, "payment": {"invoice"}})
	if !strings.HasPrefix(thanks, "/thank-you?order=") {
		c.t.Fatalf("checkout leads to %q", thanks)
	}
	c.page(thanks)
}

// cookie returns the value of a cookie of the site, "" if there is none.
func (c *client) cookie(name string) string {
	u, err := url.Parse(c.base)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, cookie := range c.http.Jar.Cookies(u) {
		if cookie.Name == name {
			return cookie.Value
		}
	}
	return ""
}

// unpack returns the body of an answer without its content encoding.
func (a answer) unpack(t *testing.T) string {
	t.Helper()
	switch encoding := a.header.Get("Content-Encoding"); encoding {
	case "":
		return a.body
	case "gzip":
		z, err := gzip.NewReader(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return string(plain)
	default:
		t.Fatalf("unasked content encoding %q", encoding)
		return ""
	}
}

var headline = regexp.MustCompile(`(?s)<section id="hero"[^>]*>.*?<h1>(.*?)</h1>`)

// headlineOf returns the headline of the shop's home page.
func headlineOf(page string) string {
	if m := headline.FindStringSubmatch(page); m != nil {
		return m[1]
	}
	return ""
}
