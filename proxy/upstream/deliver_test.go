package upstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
		{"with www", "Location", "https://www.canonical.example/a", "https://www.shop.example/a"},
		{"port of the server behind the name", "Location", "https://canonical.example:8080/a", "https://www.shop.example/a"},
		{"return address in the query", "Location", "https://shop.internal/login?to=https%3A%2F%2Fshop.internal%2Fa&u=http://shop.internal/",
			"https://www.shop.example/login?to=https%3A%2F%2Fshop.internal%2Fa&u=http://shop.internal/"},
		{"elsewhere with a return address", "Location", "https://id.example/?to=https%3A%2F%2Fshop.internal%2F", "https://id.example/?to=https%3A%2F%2Fshop.internal%2F"},
		{"own origin may read", "Access-Control-Allow-Origin", "http://shop.internal:8080", "https://www.shop.example"},
		{"another origin may read", "Access-Control-Allow-Origin", "https://other.example", "https://other.example"},
		{"all may read", "Access-Control-Allow-Origin", "*", "*"},
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

func TestDeliverKnowsAllServers(t *testing.T) {
	u := newUpstream(t, "", func(c *Config) {
		c.Servers = []Server{{URL: "http://10.0.0.1:8080"}, {URL: "http://b.internal:8081"}, {URL: "http://shop.example"}}
	})
	for value, want := range map[string]string{
		"http://10.0.0.1:8080/a":      "https://client.example/a",
		"http://B.internal:8081/a":    "https://client.example/a",
		"http://www.shop.example/a":   "https://client.example/a",
		"http://b.internal:8080/a":    "http://b.internal:8080/a", // the port of another
		"http://10.0.0.2:8080/a":      "http://10.0.0.2:8080/a",
		"http://notshop.example/a":    "http://notshop.example/a",
		"http://www.www.shop.example": "http://www.www.shop.example",
	} {
		resp := &fasthttp.Response{}
		resp.Header.Set("Location", value)
		u.Deliver(resp, "https", "client.example", nil)
		if got := string(resp.Header.Peek("Location")); got != want {
			t.Errorf("%s became %s, want %s", value, got, want)
		}
	}
}

// A redirect that would be mapped to the very address that was asked for is none
// that a browser could follow for long.
func TestDeliverMakesNoCircles(t *testing.T) {
	for _, test := range []struct {
		asked, location, cookie string
		status                  int
		mapped                  bool
	}{
		{"/a?b", "https://www.shop.internal/a?b", "", 301, false},
		{"/", "https://www.shop.internal", "", 301, false},
		{"/?x", "https://shop.internal?x#y", "", 301, false},
		{"/a", "https://www.shop.internal/a/", "", 301, true},
		{"/a", "https://shop.internal/a", "seen=1", 302, true}, // a cookie changes the answer
		{"", "https://shop.internal/a", "", 302, true},         // after a POST
		{"/a", "https://shop.internal/a", "", 201, true},
	} {
		u := newUpstream(t, "http://shop.internal")
		resp := &fasthttp.Response{}
		resp.SetStatusCode(test.status)
		resp.Header.Set("Location", test.location)
		if test.cookie != "" {
			resp.Header.Add("Set-Cookie", test.cookie)
		}
		u.Deliver(resp, "https", "client.example", []byte(test.asked))
		if got := string(resp.Header.Peek("Location")); (got != test.location) != test.mapped {
			t.Errorf("%+v became %s", test, got)
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
	bad := Config{URL: "ftp://x", Protocol: "spdy", Balance: "best", MaxPending: -1, ServerName: "a:1", ClientCertFile: "c", Resolve: -1, SlowStart: -1,
		Health:   Health{Path: "x y", Host: " ", Interval: -1, Timeout: -1, Healthy: -1, Unhealthy: -1, Status: "2xx"},
		Ejection: Ejection{Failures: -1, Time: -1, MaxTime: -1, Statuses: []int{503, 404}},
		Breaker:  Breaker{Requests: -1, Pause: -1, MaxPause: -1}, Retry: Retry{MinPerSecond: new(-1)},
		Host: "a b", DialTimeout: -1, HeaderTimeout: -1, IdleTimeout: -1, KeepAlive: -1, MaxConns: -1, CAFile: "missing"}
	var paths []string
	for _, f := range bad.Validate() {
		paths = append(paths, f.Path)
	}
	want := []string{"name", "url", "protocol", "balance", "host", "server_name", "dial_timeout", "header_timeout", "idle_timeout", "keep_alive",
		"resolve", "slow_start", "health.interval", "health.timeout", "ejection.time", "ejection.max_time", "breaker.pause", "breaker.max_pause",
		"max_conns", "max_pending", "health.healthy", "health.unhealthy", "ejection.failures", "breaker.requests", "retry.min_per_second",
		"health.path", "health.host", "health.status", "ejection.statuses[1]", "ca_file", "client_key_file"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
	for url, ok := range map[string]bool{
		"http://a": true, "https://a.example:8443": true, "http://[::1]:80": true, "http://a/": true, "http://127.0.0.1:8080": true,
		"": false, "a:80": false, "//a": false, "http://": false, "http://a/base": false, "http://a?x": false, "http://a#x": false,
		"http://u:secret@a": false, "http://u:secret@a:x": false, "ftp://u:secret@a": false, "http://u:secret@": false, "http://u:secret@a/%zz": false, "http://a:0": false, "http://a:99999": false, "http://a b": false, "http://:80": false,
	} {
		if _, err := parseOrigin(url); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", url, err, ok)
		} else if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

func TestServerFaults(t *testing.T) {
	many := make([]Server, mostServers+1)
	for i := range many {
		many[i].URL = fmt.Sprintf("http://192.0.2.%d", i)
	}
	for _, test := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"two forms", Config{URL: "http://a", Servers: []Server{{URL: "http://b"}}}, []string{"servers"}},
		{"neither", Config{}, []string{"url"}},
		{"too many", Config{Servers: many}, []string{"servers"}},
		{"backups only", Config{Servers: []Server{{URL: "http://a", Backup: true}}}, []string{"servers"}},
		{"each", Config{Servers: []Server{{URL: "a"}, {URL: "http://b:80"}, {URL: "http://B"}, {URL: "https://c"}, {URL: "http://d", Weight: new(1001)}, {URL: "http://e", Weight: new(0)}}},
			[]string{"servers[0].url", "servers[2].url", "servers[3].url", "servers[4].weight", "servers[5].weight"}},
		{"times out of bounds", Config{URL: "http://a", DialTimeout: 1, StreamTimeout: 1000 * time.Hour, Health: Health{Path: "/", Interval: 1}},
			[]string{"dial_timeout", "stream_timeout", "health.interval"}},
		{"less than the first", Config{URL: "http://a", Ejection: Ejection{Time: time.Minute, MaxTime: time.Second}, Breaker: Breaker{Pause: time.Minute, MaxPause: time.Second}},
			[]string{"ejection.max_time", "breaker.max_pause"}},
		{"check without path", Config{URL: "http://a", Health: Health{Host: "a"}}, []string{"health.path"}},
		{"key without certificate", Config{URL: "http://a", ClientKeyFile: "k"}, []string{"client_cert_file"}},
		{"no certificate in the file", Config{URL: "http://a", ClientKeyFile: "deliver.go", ClientCertFile: "deliver.go"}, []string{"client_cert_file"}},
		{"HTTP/2 over TLS without TLS", Config{URL: "http://a", Protocol: HTTP2}, []string{"protocol"}},
		{"HTTP/2 without TLS over it", Config{Servers: []Server{{URL: "https://a"}, {URL: "https://b"}}, Protocol: HTTP2Clear}, []string{"protocol"}},
		{"HTTP/2", Config{URL: "https://a", Protocol: HTTP2}, nil},
		{"HTTP/2 without TLS", Config{Servers: []Server{{URL: "http://a"}, {URL: "http://b"}}, Protocol: HTTP2Clear}, nil},
		{"fine", Config{Servers: []Server{{URL: "http://a"}, {URL: "http://b", Weight: new(2)}, {URL: "http://c", Backup: true}}, Balance: ByVisitor,
			Host: "shop.example:8443", ServerName: "shop.example", Health: Health{Path: "/up?full", Status: "204"}}, nil},
	} {
		test.cfg.Name = "test"
		var paths []string
		for _, f := range test.cfg.Validate() {
			paths = append(paths, f.Path)
		}
		if diff := cmp.Diff(test.want, paths); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
