package proxy

import (
	"io"
	"net/http"
	"testing"
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
