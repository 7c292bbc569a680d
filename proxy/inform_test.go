package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hinting is an origin that sends early hints before each answer.
func hinting(t testing.TB) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Link"] = []string{"</a.css>; rel=preload", "</b.js>; rel=preload"}
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "1")
		h.Set("Set-Cookie", "early=1")
		w.WriteHeader(http.StatusEarlyHints)
		clear(h)
		h.Set("Content-Type", "text/html")
		h.Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, shopPage)
	})
}

// Early hints reach HTTP/1.1 clients alone, in front of the answer.
func TestEarlyHintsByVersion(t *testing.T) {
	n := start(t, hinting(t), setup{})
	if answer := n.raw("GET / HTTP/1.0\r\nHost: x\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("HTTP/1.0: %q", answer)
	}
	const want = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"
	if answer := n.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(answer, want) {
		t.Errorf("HTTP/1.1: %q", answer)
	}
}

// A hint for a request that was there before the last answer had left must not
// overtake that answer.
func TestEarlyHintsInPipeline(t *testing.T) {
	n := start(t, hinting(t), setup{})
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 5))
	r := bufio.NewReader(c)
	for i := range 5 {
		resp, err := http.ReadResponse(r, nil)
		if err == nil && resp.StatusCode == 103 {
			resp, err = http.ReadResponse(r, nil)
		}
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || string(body) != shopPage {
			t.Fatalf("answer %d: %d %v", i, resp.StatusCode, err)
		}
	}
}
