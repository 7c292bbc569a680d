package upstream

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	upgradeRequest = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
	switching      = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nconnection: upgrade\r\nSec-WebSocket-Accept: s\r\n\r\n"
)

// tunnelThrough is a client's connection to a server that tunnels to u.
func tunnelThrough(t *testing.T, u *Upstream, done *atomic.Int32) net.Conn {
	t.Helper()
	return serve(t, func(ctx *fasthttp.RequestCtx) {
		out := &fasthttp.Request{}
		Prepare(out, &ctx.Request, PrepareOptions{Host: "a"})
		if err := u.Tunnel(ctx, out, Options{}, func() { done.Add(1) }); err != nil {
			ctx.SetStatusCode(err.(*Error).Kind.Status())
		}
	})
}

// DEPENDENCIES 1.12.
func TestTunnelKeepsTheBytesBehindThe101(t *testing.T) {
	early := make(chan int, 1)
	o := newOrigin(t, func(p *peer) {
		p.request()
		early <- p.br.Buffered()
		p.send(switching + "right behind")
		for {
			line, err := p.br.ReadString('\n')
			if err != nil {
				return
			}
			p.send("echo " + line)
		}
	})
	u := newUpstream(t, o.url())
	var done atomic.Int32
	client := tunnelThrough(t, u, &done)
	io.WriteString(client, upgradeRequest+"too early\n")
	br := bufio.NewReader(client)
	head := ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		head += line
	}
	for _, want := range []string{"HTTP/1.1 101 Switching Protocols\r\n", "\r\nUpgrade: websocket\r\n", "\r\nConnection: Upgrade\r\n", "\r\nSec-WebSocket-Accept: s\r\n"} {
		if strings.Count(head, want) != 1 {
			t.Errorf("want once %q in\n%s", want, head)
		}
	}
	if n := <-early; n != 0 {
		t.Errorf("%d bytes reached the origin before its 101", n)
	}
	got := make([]byte, len("right behind"))
	if _, err := io.ReadFull(br, got); string(got) != "right behind" {
		t.Errorf("got %q %v", got, err)
	}
	for _, want := range []string{"echo too early\n", "echo more\n"} {
		if want == "echo more\n" {
			io.WriteString(client, "more\n")
		}
		if line, err := br.ReadString('\n'); line != want {
			t.Errorf("got %q %v, want %q", line, err, want)
		}
	}
	if u.Stats().Active != 1 {
		t.Errorf("connections %+v", u.Stats())
	}
	client.Close()
	eventually(t, "the tunnel ends", func() bool { return done.Load() == 1 && u.Stats() == Stats{} })
	request := o.received()[0]
	if strings.Count(request, "Upgrade: websocket\r\n") != 1 || strings.Count(request, "Connection: Upgrade\r\n") != 1 {
		t.Errorf("the origin got\n%s", request)
	}
}

func TestTunnelEndsWhenTheOriginEnds(t *testing.T) {
	o := newOrigin(t, func(p *peer) { p.request(); p.send(switching + "bye") })
	u := newUpstream(t, o.url())
	var done atomic.Int32
	client := tunnelThrough(t, u, &done)
	io.WriteString(client, upgradeRequest)
	all, err := io.ReadAll(client)
	if !strings.HasSuffix(string(all), "\r\n\r\nbye") || err != nil {
		t.Errorf("got %q %v", all, err)
	}
	client.Close()
	eventually(t, "the tunnel ends", func() bool { return done.Load() == 1 && u.Stats() == Stats{} })
}

func TestSilentTunnelIsClosed(t *testing.T) {
	o := newOrigin(t, func(p *peer) { p.request(); p.send(switching); p.gone() })
	u := newUpstream(t, o.url(), func(c *Config) { c.StreamTimeout = 50 * time.Millisecond })
	var done atomic.Int32
	client := tunnelThrough(t, u, &done)
	io.WriteString(client, upgradeRequest)
	if _, err := io.ReadAll(client); err != nil {
		t.Error(err)
	}
	eventually(t, "the tunnel ends", func() bool { return done.Load() == 1 && u.Stats() == Stats{} })
}

func TestTunnelRefused(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		status string
	}{
		"other answer":       {"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 403 Forbidden"},
		"101 to nothing":     {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 502 "},
		"no HTTP":            {"hello\r\n", "HTTP/1.1 502 "},
		"interim, then 101s": {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), "HTTP/1.1 502 "},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, answering(test.answer))
			u := newUpstream(t, o.url())
			var done atomic.Int32
			client := tunnelThrough(t, u, &done)
			io.WriteString(client, upgradeRequest)
			line, err := bufio.NewReader(client).ReadString('\n')
			if !strings.HasPrefix(line, test.status) {
				t.Errorf("got %q %v", line, err)
			}
			if done.Load() != 0 {
				t.Error("a tunnel that never was has ended")
			}
			eventually(t, "no connection is left in use", func() bool { return u.Stats().Active == 0 })
		})
	}
}

func TestTunnelThatIsNeverHandedOver(t *testing.T) {
	o := newOrigin(t, func(p *peer) { p.request(); p.send(switching); p.gone() })
	u := newUpstream(t, o.url())
	var done atomic.Int32
	tun := &tunnel{up: u, onDone: func() { done.Add(1) }}
	c, err := u.members[0].pool.acquire(true, false, "")
	if err != nil {
		t.Fatal(err)
	}
	tun.origin = c
	tun.end()
	tun.end()
	if done.Load() != 1 || u.Stats() != (Stats{}) {
		t.Errorf("ended %d times, connections %+v", done.Load(), u.Stats())
	}
}

func TestIsUpgrade(t *testing.T) {
	for head, want := range map[string]bool{
		"Connection: Upgrade\r\nUpgrade: websocket\r\n":                          true,
		"connection: keep-alive, upgrade\r\nupgrade: websocket\r\n":              true,
		"Upgrade: websocket\r\n":                                                 false,
		"Connection: Upgrade\r\n":                                                false,
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n":                false,
		"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n":                     false,
		"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n":                            false,
		"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n":                           false,
		"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n":     false,
		"Connection: Upgrade\r\nUpgrade: spdy\r\nTransfer-Encoding: chunked\r\n": false,
	} {
		if got := IsUpgrade(parsed(t, "GET / HTTP/1.1\r\nHost: a\r\n"+head+"\r\n")); got != want {
			t.Errorf("%q: %v, want %v", head, got, want)
		}
	}
}
