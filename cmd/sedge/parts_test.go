package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/config"
	"github.com/sedge-proxy/sedge/dashboard"
)

func TestBaseURL(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		if got := baseURL(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
	f(":8090", "http://127.0.0.1:8090")
	f("0.0.0.0:8090", "http://127.0.0.1:8090")
	f("10.0.0.0:8090", "http://10.0.0.0:8090")
	f("[::]:8090", "http://[::1]:8090")
	f("[fe80::]:8090", "http://[fe80::]:8090")
	f("localhost:8090", "http://localhost:8090")
	f("https://admin.example.com/", "https://admin.example.com")
}

func TestCanonicalRedirect(t *testing.T) {
	f := func(site, location string, want bool) {
		t.Helper()
		from, err := url.Parse(site)
		if err != nil {
			t.Fatal(err)
		}
		to, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		if got := canonicalRedirect(from, to); got != want {
			t.Errorf("%s to %s: got %t, want %t", site, location, got, want)
		}
	}
	f("http://example.com", "https://example.com/", true)
	f("http://example.com", "https://www.example.com/", true)
	f("http://www.example.com", "https://example.com/de/", true)
	f("http://Example.com", "http://example.com:8080/start", true)
	f("http://example.com", "https://shop.example.net/", true) // the whole site has moved
	f("http://example.com", "https://login.example.net/oauth?next=%2F", false)
}

// TestInitFollowsTheSite to its canonical address, and to nowhere else.
func TestInitFollowsTheSite(t *testing.T) {
	proper := httptest.NewServer(http.NotFoundHandler())
	defer proper.Close()
	f := func(location string, status int, want func(site string) string) {
		t.Helper()
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
		}))
		defer site.Close()
		code, out, errs := command(t, "init", "--upstream", site.URL)
		if line := "    url: " + want(site.URL) + "\n"; code != 0 || !bytes.Contains([]byte(out), []byte(line)) {
			t.Errorf("%d to %q: got %d, without %q:\n%s%s", status, location, code, line, out, errs)
		}
	}
	same := func(site string) string { return site }
	f("", 200, same)
	f("/de/", 302, same)
	f(proper.URL+"/", 301, func(string) string { return proper.URL })
	f("ftp://127.0.0.1/", 302, same)
	f("", 302, same)
	f("http://127.0.0.1:1/", 301, same) // nothing is there: what was given stays
}

// TestInitHidesVia from a site that compresses nothing for proxies, and only from that.
func TestInitHidesVia(t *testing.T) {
	f := func(compresses func(via string) bool, want bool) {
		t.Helper()
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") == "gzip" && compresses(r.Header.Get("Via")) {
				w.Header().Set("Content-Encoding", "gzip")
			}
		}))
		defer site.Close()
		code, out, errs := command(t, "init", "--upstream", site.URL)
		if got := strings.Contains(out, "\n    via: false "); code != 0 || got != want {
			t.Errorf("got %d, via hidden %v, want %v:\n%s%s", code, got, want, out, errs)
		}
		if _, err := config.Parse("sedge.yaml", []byte(out), config.Options{}); err != nil {
			t.Errorf("%v", err)
		}
	}
	f(func(via string) bool { return via == "" }, true)
	f(func(string) bool { return true }, false)
	f(func(string) bool { return false }, false)
}

// TestInitMapsURLs of a site whose first page leads on by full addresses, and only then.
func TestInitMapsURLs(t *testing.T) {
	f := func(page string, want bool) {
		t.Helper()
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.ReplaceAll(page, "SITE", r.Host))
		}))
		defer site.Close()
		code, out, errs := command(t, "init", "--upstream", site.URL)
		if got := strings.Contains(out, "\n    map_urls: [html] "); code != 0 || got != want {
			t.Errorf("%s: got %d, mapped %v, want %v:\n%s%s", page, code, got, want, out, errs)
		}
		if n := strings.Count(out, "map_urls"); n != 1 {
			t.Errorf("map_urls is there %d times:\n%s", n, out)
		}
		if _, err := config.Parse("sedge.yaml", []byte(out), config.Options{}); err != nil {
			t.Errorf("%v", err)
		}
	}
	f(`<a href="http://SITE/about">About</a>`, true)
	f(`<A HREF=' //SITE'>Home</A>`, true)
	f(`<form action="http://SITE/search"><input name=q></form>`, true)
	f(`<a href="/about">About</a>`, false)
	f(`<link rel="canonical" href="http://SITE/"><meta property="og:url" content="http://SITE/">`, false)
	f(`<a href="http://other.example/?from=http://SITE/">elsewhere</a>`, false)
	f(`<!-- <a href="http://SITE/"> --><script>"<a href='http://SITE/'>"</script>`, false)
}

// TestReadme holds the README's configurations, and its message about a mistake, true.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	const site = "upstreams: [{name: site, url: http://127.0.0.1:3000}]\nroutes: [{name: everything, upstream: site}]\n"
	blocks := strings.Split(string(readme), "```yaml\n")[1:]
	if len(blocks) != 3 {
		t.Fatalf("the README has %d configurations, want the site owner's, that of JSON and the plugin's", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		if _, err := config.Parse("sedge.yaml", []byte(text+site), config.Options{Builtins: []string{"content", "offers"}}); err != nil {
			t.Errorf("%s%v", text, err)
		}
	}
	text, _, _ := strings.Cut(blocks[0], "```")
	_, err = config.Parse("sedge.yaml", []byte(strings.Replace(text, "visitor.orders", "visitor.order", 1)+site), config.Options{Builtins: []string{"content"}})
	_, shown, _ := strings.Cut(string(readme), "```\nsedge.yaml:")
	shown, _, _ = strings.Cut("sedge.yaml:"+shown, "...")
	if err == nil || !strings.HasPrefix(err.Error(), shown) {
		t.Errorf("the README shows %q, the program says %v", shown, err)
	}
}

func TestSelfCommand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{self, pluginProcess, "offers"}, selfCommand("offers")); diff != "" {
		t.Error(diff)
	}
}

// TestPrintReport holds the table of a report that has everything in it.
func TestPrintReport(t *testing.T) {
	for _, name := range []string{"full", "empty"} {
		text, err := os.ReadFile(filepath.Join("testdata", "report", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		report := new(dashboard.Report)
		if err := json.Unmarshal(text, report); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := printReport(&out, report); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "report", name+".golden")
		if *update {
			if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
