package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// announce is what a load balancer puts in front of a connection.
func announce(t *testing.T, version byte, client string) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version,
		&net.TCPAddr{IP: net.ParseIP(client), Port: 1234}, &net.TCPAddr{IP: net.ParseIP(client), Port: 443})
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const forwardedGet = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// who is an origin that says who asked.
func who(t *testing.T) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"), " by ", r.Header.Get("X-Forwarded-Proto"))
	})
}

func TestProxyProtocol(t *testing.T) {
	n := start(t, who(t), setup{over: overTLS, config: Config{ProxyProtocol: true, HeaderTimeout: 300 * time.Millisecond}})
	for name, header := range map[string]string{"version 1": announce(t, 1, "192.0.2.1"), "version 2": announce(t, 2, "192.0.2.1")} {
		if answer := n.raw(header + forwardedGet); !strings.HasSuffix(answer, "192.0.2.1 by http") {
			t.Errorf("%s: %q", name, answer)
		}
		raw, err := net.Dial("tcp", n.tlsAddr)
		if err != nil {
			t.Fatal(err)
		}
		config := testAuthority().client()
		config.ServerName = "shop.example"
		c := tls.Client(raw, config)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(raw, header)
		_, _ = io.WriteString(c, forwardedGet)
		if answer, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(answer), "192.0.2.1 by https") {
			t.Errorf("%s over TLS: %q, %v", name, answer, err)
		}
		c.Close()
	}
	if answer := n.raw("PROXY UNKNOWN\r\n" + forwardedGet); !strings.HasSuffix(answer, "127.0.0.1 by http") {
		t.Errorf("of nobody: %q", answer)
	}
	for name, wire := range map[string]string{
		"none": forwardedGet, "broken": "PROXY TCP4 nonsense\r\n" + forwardedGet, "endless": "PROXY " + strings.Repeat("x", 1000), "part": "PROXY TCP4 ",
	} {
		if answer := n.raw(wire); answer != "" {
			t.Errorf("%s: %q", name, answer)
		}
	}
	eventually(t, "nothing is left over", func() bool { return n.server.Stats().Connections.Load() == 0 })
}

// A header counts only from trusted addresses; from others it is a broken request.
func TestProxyProtocolOfStrangers(t *testing.T) {
	s := setup{config: Config{ProxyProtocol: true, TrustedProxies: []string{"192.0.2.0/24"}}}
	n := start(t, who(t), s)
	if answer := n.raw(forwardedGet); !strings.HasSuffix(answer, "127.0.0.1 by http") {
		t.Errorf("without a header: %q", answer)
	}
	if answer := n.raw(announce(t, 1, "192.0.2.1") + forwardedGet); !strings.HasPrefix(answer, "HTTP/1.1 400") {
		t.Errorf("with a header: %q", answer)
	}
	s.config.TrustedProxies = []string{"127.0.0.1"}
	n = start(t, who(t), s)
	forged := strings.Replace(forwardedGet, "\r\n\r\n", "\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n", 1)
	if answer := n.raw(announce(t, 2, "203.0.113.9") + forged); !strings.HasSuffix(answer, "203.0.113.9 by http") {
		t.Errorf("what the client claims counts: %q", answer)
	}
}

// The limit of an address is the client's, not the load balancer's.
func TestProxyProtocolCountsClients(t *testing.T) {
	n := start(t, who(t), setup{config: Config{ProxyProtocol: true, MaxConnectionsPerIP: 1}})
	keep := func(client string) string {
		c, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_, _ = io.WriteString(c, announce(t, 1, client)+"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		line := make([]byte, 12)
		_, _ = io.ReadFull(c, line)
		return string(bytes.TrimPrefix(line, []byte("HTTP/1.1 ")))
	}
	for _, c := range []struct{ client, want string }{{"192.0.2.1", "200"}, {"192.0.2.2", "200"}, {"192.0.2.1", "429"}} {
		if got := keep(c.client); got != c.want {
			t.Errorf("%s: %s, want %s", c.client, got, c.want)
		}
	}
}
