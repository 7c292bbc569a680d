package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hinting is an origin that sends early hints before each answer.
func hinting(t testing.TB) string {
	return rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\nSet-Cookie: early=1\r\n\r\n"+
				"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\nContent-Length: "+fmt.Sprint(len(shopPage))+"\r\n\r\n"+shopPage)
		}
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
