package upstream

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// onlyConn returns the idle connection, of which there is one.
func onlyConn(t *testing.T, u *Upstream) *conn {
	t.Helper()
	p := u.members[0].pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) != 1 {
		t.Fatalf("%d connections are idle", len(p.idle))
	}
	return p.idle[0]
}

// A page that comes with its head is given out at once, without being copied, and
// its connection is free from then on.
func TestWholeBody(t *testing.T) {
	page := strings.Repeat("0123456789abcdef", 3800) // 60 KB
	o := newOrigin(t, answering(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(page), page)))
	u := newUpstream(t, o.url())
	for range 3 {
		var whole []byte
		taken := takeBody(t, u)
		eventually(t, "the page is there", func() bool {
			in := &taken.conn.inbox
			if in.Buffered() < len(page) {
				_, _ = in.Peek(in.Buffered() + 1)
			}
			whole = taken.Whole()
			return whole != nil
		})
		c := onlyConn(t, u)
		if c.inbox.lent != nil {
			t.Error("an idle connection holds a buffer")
		}
		// The connection is used again while the page is still in use.
		other := takeBody(t, u)
		if _, err := other.Next(); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if string(whole) != page {
			t.Error("the page has changed")
		}
		_, _ = other.Close(), taken.Close()
	}
}

func TestNoWholeBody(t *testing.T) {
	for name, rest := range map[string]string{
		"cut":     "Content-Length: 11\r\n\r\nhello worl",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"close":   "Connection: close\r\n\r\nhello",
	} {
		o := newOrigin(t, func(p *peer) {
			p.request()
			p.send("HTTP/1.1 200 OK\r\n" + rest)
			p.gone()
		})
		taken := takeBody(t, newUpstream(t, o.url()))
		if whole := taken.Whole(); whole != nil {
			t.Errorf("%s: %q", name, whole)
		}
		if part, _ := taken.Next(); !strings.HasPrefix(string(part), "hello") {
			t.Errorf("%s: then %q", name, part)
		}
		_ = taken.Close()
	}
}

// Bytes behind a body belong to no answer, so the connection is not used again.
func TestBytesBehindWholeBody(t *testing.T) {
	o := newOrigin(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n"))
	u := newUpstream(t, o.url())
	for range 2 {
		taken := takeBody(t, u)
		if part, err := taken.Next(); string(part) != "hello" || err != io.EOF {
			t.Errorf("%q, %v", part, err)
		}
		_ = taken.Close()
	}
	if n := o.connections(); n != 2 {
		t.Errorf("%d connections for two requests", n)
	}
}

// Chunks that came together are given out together.
func TestNextJoinsChunks(t *testing.T) {
	o := newOrigin(t, answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n6\r\n world\r\n0\r\n\r\n"))
	taken := takeBody(t, newUpstream(t, o.url()))
	defer taken.Close()
	part, err := taken.Next()
	if string(part) != "hello world" || err != nil {
		t.Errorf("%q, %v", part, err)
	}
	if part, err = taken.Next(); len(part) > 0 || err != io.EOF {
		t.Errorf("then %q, %v", part, err)
	}
}
