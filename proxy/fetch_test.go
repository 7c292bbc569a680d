package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// A body can be sent once only, so a part of a page is never asked for with one.
func TestRangeWithBody(t *testing.T) {
	for _, length := range []int64{-1, 4} {
		address := origin(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "text/html")
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 0-1/9")
				w.WriteHeader(http.StatusPartialContent)
			}
			_, _ = w.Write(body)
		})
		n := start(t, address, setup{engines: always(text("#hero", "new"))})
		req, _ := http.NewRequest("GET", "http://"+n.addr+"/", io.NopCloser(strings.NewReader("body")))
		req.ContentLength = length
		req.Header.Set("Range", "bytes=0-1")
		resp, err := n.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(body) != "body" {
			t.Errorf("length %d: %d %q", length, resp.StatusCode, body)
		}
	}
}

// A request that offers an upgrade gets the page's headers for caching too.
func TestUpgradeOfferToPage(t *testing.T) {
	n := start(t, pages(t, "text/html", `<div id=hero>x</div>`, "Cache-Control", "public, max-age=60"), setup{engines: always(text("#hero", "new"))})
	r := n.get("/", "Connection", "Upgrade", "Upgrade", "websocket")
	if got := r.Header.Get("Cache-Control"); got != "private, no-cache" {
		t.Errorf("Cache-Control %q", got)
	}
}
