package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// Clients that are slow with their bodies cannot take all connections: others are
// answered beside them, and a slow body makes room for the next one in time.
func TestSlowUploadsLeaveRoom(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		for {
			head, ok := p.request()
			if !ok {
				return
			}
			if strings.HasPrefix(head, "POST") {
				readBody(p, head)
			}
			p.send(okHello)
		}
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.MaxConns, c.DialTimeout = 4, 500*time.Millisecond })
	uploads := u.members[0].pool.uploads
	var bodies []*clientBody
	ended := make(chan error, 2)
	for range 2 {
		body := newClientBody(io.EOF)
		bodies = append(bodies, body)
		go func() {
			_, _, err := fetch(u, chunkedPost(t), body, Options{Interrupt: body.interrupt})
			ended <- err
		}()
		body.pieces <- "a"
	}
	eventually(t, "both are under way", func() bool { return uploads.count() == 2 })
	wantOK(t, u, "hello")
	_, _, err := fetch(u, chunkedPost(t), strings.NewReader("third"), Options{})
	wantKind(t, err, Busy)

	wantSlowOneReplaced(t, u, ended)
	if n := uploads.count(); n != 1 {
		t.Errorf("%d of two slow ones are left, and one had to go", n)
	}
	for _, body := range bodies {
		close(body.pieces)
	}
	if err := <-ended; err != nil {
		t.Errorf("the one that was left: %v", err)
	}
	eventually(t, "all room is given back", func() bool { return len(uploads.room) == 0 && uploads.count() == 0 })
}

// count returns how many bodies are on their way.
func (l *uploads) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.under)
}

// wantSlowOneReplaced makes the bodies on their way old, and wants one of them to make
// room for another.
func wantSlowOneReplaced(t *testing.T, u *Upstream, ended <-chan error) {
	t.Helper()
	uploads := u.members[0].pool.uploads
	uploads.mu.Lock()
	for p := range uploads.under {
		switch p := p.(type) {
		case *upload:
			p.began = p.began.Add(-2 * slowAge)
		case *streamUpload:
			p.began = p.began.Add(-2 * slowAge)
		}
	}
	uploads.mu.Unlock()
	if status, body, err := fetch(u, chunkedPost(t), strings.NewReader("third"), Options{}); status != 200 || body != "hello" || err != nil {
		t.Errorf("in the place of a slow one: %d %q %v", status, body, err)
	}
	if err := <-ended; !errors.Is(err, ErrSlowBody) {
		t.Errorf("the slow one ended with %v", err)
	}
}

// Event streams and tunnels live for as long as their clients like, and hardly need
// the origin: the connections for requests are not for them.
func TestLongExchangesLeaveRoom(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		for {
			head, ok := p.request()
			switch {
			case !ok:
				return
			case strings.Contains(head, "Upgrade:"):
				p.send(switching)
				p.gone()
				return
			case strings.HasPrefix(head, "GET /events"):
				p.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
				p.gone()
				return
			}
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.MaxConns, c.MaxPending, c.DialTimeout = 2, 1, 50*time.Millisecond })
	var done atomic.Int32
	var clients []net.Conn
	for range 3 {
		client := tunnelThrough(t, u, &done)
		io.WriteString(client, upgradeRequest)
		if line, err := bufio.NewReader(client).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 101 ") {
			t.Fatalf("tunnel: %q %v", line, err)
		}
		clients = append(clients, client)
	}
	var streams []*fasthttp.Response
	for range 3 {
		resp := &fasthttp.Response{}
		req := prepared(t, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"})
		if err := u.Do(req, resp, nil, Options{}); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, resp)
	}
	for range 3 {
		wantOK(t, u, "ok")
	}
	if got := u.Stats().Active; got != 6 {
		t.Errorf("%d active connections, want 6", got)
	}
	for i := range 3 {
		clients[i].Close()
		streams[i].CloseBodyStream()
	}
	eventually(t, "all of them are given back", func() bool { return u.Stats().Active == 0 && done.Load() == 3 })
	for range 2 * 16 * 2 { // more than there is room: what has ended takes none
		resp := &fasthttp.Response{}
		req := prepared(t, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"})
		if err := u.Do(req, resp, nil, Options{}); err != nil {
			t.Fatal(err)
		}
		resp.CloseBodyStream()
	}
}
