package upstream

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"
)

func TestDeliverMapsReferences(t *testing.T) {
	for _, test := range []struct{ name, header, value, want string }{
		{"own host", "Location", "http://shop.internal:8080/a?b#c", "https://www.shop.example/a?b#c"},
		{"own host, https", "Location", "https://shop.internal:8080/a", "https://www.shop.example/a"},
		{"own host, no port", "Location", "http://SHOP.internal", "https://www.shop.example"},
		{"own host, usual port", "Location", "http://shop.internal:80/", "https://www.shop.example/"},
		{"own host, usual port", "Location", "https://shop.internal:443/", "https://www.shop.example/"},
		{"own host, other port", "Location", "http://shop.internal:9090/", "http://shop.internal:9090/"},
		{"the name it is told", "Location", "https://canonical.example/a", "https://www.shop.example/a"},
		{"no scheme", "Location", "//shop.internal/a", "//www.shop.example/a"},
		{"other host", "Location", "https://pay.example/a", "https://pay.example/a"},
		{"longer host", "Location", "https://shop.internal.evil/a", "https://shop.internal.evil/a"},
		{"user", "Location", "https://shop.internal@evil/a", "https://shop.internal@evil/a"},
		{"backslash", "Location", "https://shop.internal\\@evil/a", "https://www.shop.example\\@evil/a"},
		{"relative", "Location", "/a?next=http://shop.internal/", "/a?next=http://shop.internal/"},
		{"empty", "Location", "a/b", "a/b"},
		{"content location", "Content-Location", "http://shop.internal:8080/a", "https://www.shop.example/a"},
		{"refresh", "Refresh", "0; url=http://shop.internal:8080/a", "0; url=https://www.shop.example/a"},
		{"refresh quoted", "Refresh", "0;URL='http://shop.internal:8080/a'", "0;URL='https://www.shop.example/a'"},
		{"refresh elsewhere", "Refresh", "0;url=https://other.example/", "0;url=https://other.example/"},
		{"refresh here", "Refresh", "5", "5"},
	} {
		u := newUpstream(t, "http://shop.internal:8080", func(c *Config) { c.Host = "canonical.example" })
		resp := &fasthttp.Response{}
		resp.Header.DisableNormalizing()
		resp.Header.Set(test.header, test.value)
		u.Deliver(resp, "https", "www.shop.example", nil)
		if got := string(resp.Header.Peek(test.header)); got != test.want {
			t.Errorf("%s: %q became %q, want %q", test.name, test.value, got, test.want)
		}
	}
}

func TestDeliverMapsCookies(t *testing.T) {
	for _, test := range []struct {
		name, url, scheme, host string
		cookies, want           []string
	}{
		{"foreign domains are dropped, lines stay apart", "https://shop.internal", "https", "www.shop.example",
			[]string{"a=1; Domain=shop.internal; Path=/; Secure", "b=2; path=/; domain=.internal; HttpOnly", "c=3; Domain=other.example", "a=4;Domain=shop.internal"},
			[]string{"a=1; Path=/; Secure", "b=2; path=/; HttpOnly", "c=3; Domain=other.example", "a=4"}},
		{"a domain that fits stays", "https://origin.shop.example", "https", "www.shop.example",
			[]string{"a=1; Domain=.shop.example; Secure"}, []string{"a=1; Domain=.shop.example; Secure"}},
		{"Secure cannot stay when https is shown over http", "https://shop.internal", "http", "localhost:8080",
			[]string{"a=1; Secure; SameSite=None; Path=/", "b=secure; SameSite=Lax; secure"}, []string{"a=1; Path=/", "b=secure; SameSite=Lax"}},
		{"Secure stays when the origin itself speaks http", "http://shop.internal", "http", "localhost:8080",
			[]string{"a=1; Secure"}, []string{"a=1; Secure"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUpstream(t, test.url)
			resp := &fasthttp.Response{}
			for _, c := range test.cookies {
				resp.Header.Add("Set-Cookie", c)
			}
			u.Deliver(resp, test.scheme, test.host, nil)
			var got []string
			for _, c := range resp.Header.Cookies() {
				got = append(got, string(c))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigFaults(t *testing.T) {
	bad := Config{URL: "ftp://x", Host: "a b", DialTimeout: -1, HeaderTimeout: -1, IdleTimeout: -1, KeepAlive: -1, MaxConns: -1, CAFile: "missing"}
	var paths []string
	for _, f := range bad.Validate() {
		paths = append(paths, f.Path)
	}
	want := []string{"name", "url", "host", "dial_timeout", "header_timeout", "idle_timeout", "keep_alive", "max_conns", "ca_file"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
	for url, ok := range map[string]bool{
		"http://a": true, "https://a.example:8443": true, "http://[::1]:80": true, "http://a/": true, "http://127.0.0.1:8080": true,
		"": false, "a:80": false, "//a": false, "http://": false, "http://a/base": false, "http://a?x": false, "http://a#x": false,
		"http://u:p@a": false, "http://a:0": false, "http://a:99999": false, "http://a b": false, "http://:80": false,
	} {
		if _, err := parseOrigin(url); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", url, err, ok)
		}
	}
}
