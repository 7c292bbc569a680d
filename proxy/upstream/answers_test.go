package upstream

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// Clients that are slow with large answers cannot take all connections: the slot of
// one of them goes to a request that waits for one, and each still gets all of its
// answer.
func TestSlowReadersLeaveRoom(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // more than sockets take
	for name, protocol := range map[string]string{"HTTP/1.1": HTTP1, "HTTP/2": HTTP2Clear} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := handlerOrigin(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/large" {
					_, _ = w.Write(large)
					return
				}
				_, _ = io.WriteString(w, "hello")
			})
			const conns = 3
			u := newUpstream(t, origin, func(c *Config) {
				c.Protocol, c.MaxConns, c.DialTimeout = protocol, conns, 10*time.Second
			})
			pool := u.members[0].pool
			var readers []*TakenBody
			for range conns {
				var resp fasthttp.Response
				req := prepared(t, "GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n", PrepareOptions{})
				if err := u.Do(req, &resp, nil, Options{}); err != nil {
					t.Fatal(err)
				}
				body := resp.BodyStream().(*Body).Take()
				if _, err := io.CopyN(io.Discard, body, largeAnswer); err != nil {
					t.Fatal(err)
				}
				readers = append(readers, body)
			}
			if pool.hasRoom() {
				t.Fatal("there is room, so nobody has to make any")
			}
			wantOK(t, u, "hello")
			if n := len(pool.long); n != 1 {
				t.Errorf("%d gave way, and one was enough", n)
			}
			for _, body := range readers {
				rest, err := io.ReadAll(body)
				if err != nil || !bytes.Equal(rest, large[largeAnswer:]) {
					t.Errorf("a slow reader got %d bytes (%v), want %d", len(rest), err, len(large)-largeAnswer)
				}
			}
			if n := len(pool.answers.under); n != 0 {
				t.Errorf("%d answers are still listed", n)
			}
			eventually(t, "all room is given back", func() bool { return pool.active() == 0 })
		})
	}
}

// A slow server's answer does not make room: there the server has enough to do.
func TestSlowAnswersKeepTheirPlace(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
		p.send(string(make([]byte, largeAnswer)))
		p.gone()
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.MaxConns, c.DialTimeout = 1, 2*slowTurn })
	var resp fasthttp.Response
	if err := u.Do(get(t), &resp, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	body := resp.BodyStream().(*Body).Take()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, body)
	}()
	eventually(t, "the rest is waited for", func() bool {
		u.members[0].pool.answers.mu.Lock()
		defer u.members[0].pool.answers.mu.Unlock()
		return len(u.members[0].pool.answers.under) == 1 && body.handed.Load() == 0
	})
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Busy)
	o.close()
	<-ended
}
