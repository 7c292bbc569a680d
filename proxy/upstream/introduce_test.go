package upstream

import (
	"strings"
	"testing"
)

// The origin is told one name of the site: what the browser says of it in Origin,
// Referer and Destination agrees with Host, and nothing else changes.
func TestRequestsNameTheSiteAsTheOriginKnowsIt(t *testing.T) {
	for _, test := range []struct {
		name, host, scheme, sent string
		want                     []string
		forwarded                bool // X-Forwarded-Host is there
	}{
		{"own", "shop.internal", "https", "Origin: https://www.shop.example\r\nReferer: https://www.shop.example/login?to=https://www.shop.example/\r\n",
			[]string{"Origin: https://shop.internal\r\n", "Referer: https://shop.internal/login?to=https://www.shop.example/\r\n"}, false},
		{"as HTTP/2 spells it", "shop.internal", "https", "origin: https://WWW.shop.example\r\nreferer: https://www.shop.example\r\n",
			[]string{"origin: https://shop.internal\r\n", "referer: https://shop.internal\r\n"}, false},
		{"by http", "shop.internal", "http", "Origin: http://www.shop.example\r\n", []string{"Origin: http://shop.internal\r\n"}, false},
		{"WebDAV", "shop.internal", "https", "Destination: https://www.shop.example/b\r\n", []string{"Destination: https://shop.internal/b\r\n"}, true},
		{"another scheme", "shop.internal", "https", "Origin: http://www.shop.example\r\n", []string{"Origin: http://www.shop.example\r\n"}, true},
		{"a stranger", "shop.internal", "https", "Origin: https://evil.example\r\nReferer: https://www.shop.example.evil.example/\r\n",
			[]string{"Origin: https://evil.example\r\n", "Referer: https://www.shop.example.evil.example/\r\n"}, true},
		{"a longer port", "shop.internal", "https", "Origin: https://www.shop.example:8443\r\n", []string{"Origin: https://www.shop.example:8443\r\n"}, true},
		{"none", "shop.internal", "https", "Origin: null\r\nReferer: /a\r\n", []string{"Origin: null\r\n", "Referer: /a\r\n"}, true},
		{"the client's host is sent", HostClient, "https", "Origin: https://www.shop.example\r\n", []string{"Origin: https://www.shop.example\r\n"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOrigin(t, answering(okHello))
			u := newUpstream(t, o.url(), func(c *Config) { c.Host = test.host })
			raw := "GET / HTTP/1.1\r\nHost: www.shop.example\r\nCookie: a=1; b=2\r\n" + test.sent + "\r\n"
			req := prepared(t, raw, PrepareOptions{Host: "www.shop.example", Scheme: test.scheme})
			if _, _, err := fetch(u, req, nil, Options{Scheme: test.scheme, Host: "www.shop.example"}); err != nil {
				t.Fatal(err)
			}
			head := o.received()[0]
			for _, want := range append(test.want, "Cookie: a=1; b=2\r\n") {
				if strings.Count(head, want) != 1 {
					t.Errorf("want %q in\n%s", want, head)
				}
			}
			if got := strings.Contains(head, "X-Forwarded-Host: www.shop.example\r\n"); got != test.forwarded {
				t.Errorf("X-Forwarded-Host is there: %v in\n%s", got, head)
			}
		})
	}
}

// A request that moves to another server is introduced there anew.
func TestMovedRequestsNameTheNextServer(t *testing.T) {
	closing := newOrigin(t, func(p *peer) { p.request() })
	next := newOrigin(t, answering(okHello))
	u := servers(t, newClock(), []*rawOrigin{closing, next})
	req := prepared(t, "GET / HTTP/1.1\r\nHost: www.shop.example\r\nOrigin: https://www.shop.example\r\n\r\n", PrepareOptions{Host: "www.shop.example"})
	if _, _, err := fetch(u, req, nil, Options{Scheme: "https", Host: "www.shop.example"}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*rawOrigin{closing, next} {
		host := o.listener.Addr().String()
		if head := o.received()[0]; !strings.Contains(head, "Host: "+host+"\r\n") || !strings.Contains(head, "Origin: https://"+host+"\r\n") {
			t.Errorf("want %s in\n%s", host, head)
		}
	}
}
