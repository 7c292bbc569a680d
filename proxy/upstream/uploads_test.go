package upstream

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
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
	u := newUpstream(t, o.url(), func(c *Config) { c.MaxConns, c.DialTimeout = 4, 50*time.Millisecond })
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
	under := func() int {
		uploads.mu.Lock()
		defer uploads.mu.Unlock()
		return len(uploads.under)
	}
	eventually(t, "both are under way", func() bool { return under() == 2 })
	wantOK(t, u, "hello")
	_, _, err := fetch(u, chunkedPost(t), strings.NewReader("third"), Options{})
	wantKind(t, err, Busy)

	uploads.mu.Lock()
	for p := range uploads.under {
		p := p.(*upload)
		p.began = p.began.Add(-2 * slowAge)
	}
	uploads.mu.Unlock()
	if status, body, err := fetch(u, chunkedPost(t), strings.NewReader("third"), Options{}); status != 200 || body != "hello" || err != nil {
		t.Errorf("in the place of a slow one: %d %q %v", status, body, err)
	}
	if err := <-ended; !errors.Is(err, ErrSlowBody) {
		t.Errorf("the slow one ended with %v", err)
	}
	if n := under(); n != 1 {
		t.Errorf("%d of two slow ones are left, and one had to go", n)
	}
	for _, body := range bodies {
		close(body.pieces)
	}
	if err := <-ended; err != nil {
		t.Errorf("the one that was left: %v", err)
	}
	eventually(t, "all room is given back", func() bool { return len(uploads.room) == 0 && under() == 0 })
}
