package proxy

import (
	"bytes"
	"net/http"
	"testing"
	"time"
)

// A compressed page that proves damaged after a part of it was taken in at once passes
// as it came, every byte of it.
func TestDamagedPageThatComesInParts(t *testing.T) {
	page := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff"), bytes.Repeat([]byte("0123456789abcdef"), 2000)...)
	o := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(page[:20000])
		_ = http.NewResponseController(w).Flush()
		time.Sleep(20 * time.Millisecond) // longer than a whole page is waited for
		_, _ = w.Write(page[20000:])
	})
	n := start(t, o, setup{engines: always(text("#hero", "x"))})
	_, cookie := n.visitor()
	r := n.get("/", "Cookie", cookie, "Accept-Encoding", "gzip")
	if r.body != string(page) {
		t.Errorf("%d bytes came, want %d; the same at the beginning: %v", len(r.body), len(page), bytes.HasPrefix(page, []byte(r.body[:min(4096, len(r.body))])))
	}
}
