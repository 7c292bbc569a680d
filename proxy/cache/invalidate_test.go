package cache_test

import (
	"fmt"
	"testing"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

func TestInvalidates(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		want   bool
	}{
		{"POST", 200, true}, {"PUT", 204, true}, {"DELETE", 200, true}, {"PATCH", 303, true},
		{"M-SEARCH", 200, true}, {"post", 200, true}, {"get", 200, true}, {"POST", 399, true},
		{"POST", 400, false}, {"PUT", 500, false}, {"POST", 199, false},
		{"GET", 200, false}, {"HEAD", 200, false}, {"OPTIONS", 200, false}, {"TRACE", 200, false},
		{"QUERY", 200, false}, {"PROPFIND", 207, false}, {"REPORT", 200, false}, {"SEARCH", 200, false},
	} {
		if got := cache.Invalidates([]byte(c.method), c.status); got != c.want {
			t.Errorf("RFC 9111, 4.4: %s answered by %d invalidates: %v", c.method, c.status, got)
		}
	}
}

func TestInvalidatedTargets(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"9111 4.4: Location", "Location: /new?x=1", "[/new?x=1]"},
		{"9111 4.4: Content-Location", "content-location: https://Shop.example/new", "[/new]"},
		{"9111 4.4: both", "Location: /a\nContent-Location: /b", "[/a /b]"},
		{"9111 4.4: both the same", "Location: /a\nContent-Location: /a#x", "[/a]"},
		{"9111 4.4: the target itself", "Location: /list/item?a=b", "[]"},
		{"9111 4.4: another host", "Location: https://other.example/a", "[]"},
		{"9111 4.4: another host without a scheme", "Location: //other.example/a", "[]"},
		{"9111 4.4: another scheme", "Location: http://shop.example/a", "[]"},
		{"9111 4.4: another port", "Location: https://shop.example:8443/a", "[]"},
		{"9110 4.2.3: the default port is none", "Location: HTTPS://shop.example:443/a", "[/a]"},
		{"3986 5.2: relative", "Location: other?c", "[/list/other?c]"},
		{"3986 5.2: a query alone", "Location: ?c", "[/list/item?c]"},
		{"3986 5.2: dots", "Location: ../x", "[/x]"},
		{"9110 4.2.3: no path", "Location: https://shop.example", "[/]"},
		{"9110 4.2.3: an empty query is one", "Location: /x?", "[/x?]"},
		{"9110 4.2.3: escapes stay as they are", "Location: /a%2fb%20c", "[/a%2fb%20c]"},
		{"9111 4.4: what is no URI", "Location: http://[::1", "[]"},
		{"9111 4.4: nothing", "X: y", "[]"},
	} {
		var lines []string
		for line := range splitLines(c.lines) {
			lines = append(lines, line)
		}
		got := fmt.Sprint(cache.InvalidatedTargets("https", "shop.example", "/list/item?a=b", head(t, 201, lines...)))
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf("Location: /%d", i))
	}
	if got := cache.InvalidatedTargets("https", "shop.example", "/", head(t, 201, lines...)); len(got) != 8 {
		t.Errorf("%d targets", len(got))
	}
}
