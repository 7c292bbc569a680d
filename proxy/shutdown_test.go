package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Clients that are slow cannot keep a node from ending: neither those in the middle of
// a head nor those that owe a body, however many there are.
func TestShutdownBesideSlowClients(t *testing.T) {
	for name, rest := range map[string]string{
		"head": "GET / HTTP/1.1\r\nHost:",
		"body": "GET /_sedge/v1/me HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, pages(t, "text/plain", "ok"), setup{routes: []Route{{Upstream: "origin"}}})
			for range 20 {
				c, err := net.Dial("tcp", n.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_, _ = io.WriteString(c, "GET /_sedge/v1/me HTTP/1.1\r\nHost: shop.example\r\n\r\n")
				if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(c, rest)
			}
			eventually(t, "the server has read what came", func() bool {
				n.server.conns.mu.Lock()
				defer n.server.conns.mu.Unlock()
				for p := range n.server.conns.open {
					if p.phase.Load().Load() == phaseIdle {
						return false
					}
				}
				return len(n.server.conns.open) == 20
			})
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := n.server.Shutdown(ctx); err != nil || ctx.Err() != nil {
				t.Errorf("not in time: %v, %v", err, ctx.Err())
			}
		})
	}
}
