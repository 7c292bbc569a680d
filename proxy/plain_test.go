package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// TestPlainRoute: a route that is not personalized identifies nobody, asks no engine,
// records nothing and changes nothing, whatever the visitor brings.
func TestPlainRoute(t *testing.T) {
	const page = "<!doctype html><h1>Title</h1>"
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"v1"`)
		_, _ = io.WriteString(w, page+r.Header.Get("Cookie"))
	})
	e := always(text("h1", "Personal"))
	n := start(t, o, setup{engines: e, routes: []Route{{Upstream: "origin", Personalize: new(bool)}}})
	_, cookie := n.visitor()
	f := func(status int, body string, header ...string) {
		t.Helper()
		a := n.get("/", append(header, "Sec-Fetch-Dest", "document")...)
		if a.StatusCode != status || a.body != body {
			t.Errorf("%v: got %d %q, want %d %q", header, a.StatusCode, a.body, status, body)
		}
		if status == 200 && (a.Header.Get("Cache-Control") != "max-age=60" || a.Header.Get("ETag") != `"v1"`) || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%v: headers changed: %v", header, a.Header)
		}
	}
	f(200, page)
	f(200, page, "Cookie", cookie) // which is no business of the origin's
	f(200, page+"a=b", "Cookie", "a=b; "+cookie)
	f(304, "", "Cookie", cookie, "If-None-Match", `"v1"`)
	if n := e.snapshots.Load() + e.plans.Load() + int64(len(e.kinds())); n > 0 {
		t.Errorf("%d profiles read, plans made and events recorded", n)
	}
}

// TestPlainStaysWithServer: pages, plain routes and upgrades of one visitor reach the
// same server, where one is chosen by visitor.
func TestPlainStaysWithServer(t *testing.T) {
	up := upstream.Config{Balance: upstream.ByVisitor}
	for i := range 4 {
		address := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
			for {
				head, err := readRequest(r)
				if err != nil {
					return
				}
				if strings.Contains(head, "Upgrade: echo") {
					fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nServer: %d\r\n\r\n", i)
					return
				}
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nServer: %d\r\n\r\n", i)
			}
		})
		up.Servers = append(up.Servers, upstream.Server{URL: "http://" + address})
	}
	n := start(t, "", setup{up: up, routes: []Route{{Name: "plain", Paths: []string{"/plain"}, Upstream: "origin", Personalize: new(bool)}, {Upstream: "origin"}}})
	used := map[string]bool{}
	for range 12 {
		_, cookie := n.visitor()
		page := n.get("/", "Cookie", cookie).Header.Get("Server")
		used[page] = true
		if plain := n.get("/plain", "Cookie", cookie).Header.Get("Server"); plain != page {
			t.Errorf("pages come from server %s, plain ones from %s", page, plain)
		}
		upgraded := n.raw("GET /ws HTTP/1.1\r\nHost: a\r\nCookie: " + cookie + "\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		if !strings.Contains(upgraded, "Server: "+page+"\r\n") {
			t.Errorf("pages come from server %s, and the upgrade got %s", page, upgraded)
		}
	}
	if len(used) < 2 {
		t.Errorf("all visitors are at one server")
	}
}
