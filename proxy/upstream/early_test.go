package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

// However an origin pauses, ReadBefore loses nothing: neither of the data nor of
// what stands between chunks.
func TestReadBeforeLosesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	body := strings.Repeat("0123456789abcdef", 40)
	chunked := ""
	for rest := body; rest != ""; {
		n := min(len(rest), 1+random.IntN(60))
		chunked += fmt.Sprintf("%x;x=y\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	for name, answer := range map[string]string{
		"length":   fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		"chunked":  "Transfer-Encoding: chunked\r\n\r\n" + chunked + "0\r\n\r\n",
		"trailers": "Transfer-Encoding: chunked\r\n\r\n" + chunked + "000\r\nx-sum: 1\r\n\r\n",
		"close":    "Connection: close\r\n\r\n" + body,
	} {
		t.Run(name, func(t *testing.T) {
			next := make(chan int)
			done := sync.OnceFunc(func() { close(next) })
			head := strings.Index(answer, "\r\n\r\n") + 4
			o := newOrigin(t, func(p *peer) {
				p.request()
				p.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + answer[:head])
				rest := answer[head:]
				for n := range next {
					n = min(n, len(rest))
					p.send(rest[:n])
					if rest = rest[n:]; rest == "" {
						return
					}
				}
			})
			taken := takeBody(t, newUpstream(t, o.url()))
			defer func() { done(); _ = taken.Close() }()
			sent, late := head, 0
			more := func() {
				if n := 1 + random.IntN(3); sent < len(answer) {
					sent += n
					next <- n
				}
			}
			var got strings.Builder
			buffer := make([]byte, 100)
			for {
				n, err := taken.ReadBefore(buffer[:1+random.IntN(len(buffer))], time.Now().Add(100*time.Microsecond))
				got.Write(buffer[:n])
				if errors.Is(err, ErrLate) {
					late++
					more()
					continue
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("after %d bytes: %v", got.Len(), err)
				}
			}
			done()
			if got.String() != body {
				t.Errorf("%d bytes, want %d", got.Len(), len(body))
			}
			if late < 20 {
				t.Errorf("late %d times only", late)
			}
		})
	}
}

// inPieces writes as many bytes as it is told to, one time after the other.
type inPieces struct {
	net.Conn
	next chan int
	slow bool
}

func (c *inPieces) Write(p []byte) (int, error) {
	for rest := p; c.slow && len(rest) > 0; {
		n := min(<-c.next, len(rest))
		if n == 0 {
			break // nobody asks any more
		}
		if _, err := c.Conn.Write(rest[:n]); err != nil {
			return 0, err
		}
		if rest = rest[n:]; len(rest) == 0 {
			return len(p), nil
		}
	}
	return c.Conn.Write(p)
}

// A pause in the middle of a TLS record loses nothing either.
func TestReadBeforeInRecords(t *testing.T) {
	certificate, ca := selfSigned(t, "origin.example")
	pieces := &inPieces{next: make(chan int)}
	o := newOrigin(t, func(p *peer) {
		pieces.Conn = p.Conn
		p.Conn = tls.Server(pieces, &tls.Config{Certificates: []tls.Certificate{certificate}})
		p.br.Reset(p.Conn)
		p.request()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		pieces.slow = true
		p.send("5\r\nhel")
		p.send("lo\r\n6\r\n world\r")
		p.send("\n0\r\nx: y\r\n\r\n")
	})
	_, port, _ := net.SplitHostPort(o.listener.Addr().String())
	taken := takeBody(t, newUpstream(t, "https://127.0.0.1:"+port, func(c *Config) { c.Host, c.CAFile = "origin.example", ca }))
	defer taken.Close()
	defer close(pieces.next)
	var got strings.Builder
	buffer := make([]byte, 4)
	for late := 0; ; {
		n, err := taken.ReadBefore(buffer, time.Now().Add(time.Millisecond))
		got.Write(buffer[:n])
		switch {
		case err == ErrLate:
			late++
			select {
			case pieces.next <- 3:
			case <-time.After(10 * time.Millisecond): // all is under way
			}
		case err == io.EOF && got.String() == "hello world" && late > 10:
			return
		case err != nil:
			t.Fatalf("%q, late %d times, %v", got.String(), late, err)
		}
	}
}

// A body that is late for good still breaks by the usual limit.
func TestReadBeforeLeavesTheLimit(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
		p.gone()
	})
	taken := takeBody(t, newUpstream(t, o.url(), func(c *Config) { c.IdleTimeout = 50 * time.Millisecond }))
	defer taken.Close()
	p := make([]byte, 100)
	n, err := taken.ReadBefore(p, time.Now().Add(time.Second))
	if n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := taken.ReadBefore(p, time.Now().Add(time.Millisecond)); err != ErrLate {
		t.Errorf("%v", err)
	}
	if _, err := taken.ReadBefore(p, time.Now().Add(-time.Millisecond)); err != ErrLate {
		t.Errorf("%v", err)
	}
	_, err = taken.Read(p)
	wantKind(t, err, Timeout)
}

// Trailers that are larger than the buffer are left to Read, which has the usual
// time for them.
func TestReadBeforeLeavesLongTrailers(t *testing.T) {
	long := strings.Repeat("x", 5000)
	next := make(chan struct{})
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: " + long + "\r\nx-b: " + long)
		<-next
		p.send("\r\n\r\n")
	})
	taken := takeBody(t, newUpstream(t, o.url()))
	defer taken.Close()
	buffer := make([]byte, 100)
	var got strings.Builder
	for {
		n, err := taken.ReadBefore(buffer, time.Now().Add(20*time.Millisecond))
		got.Write(buffer[:n])
		if err == ErrLate {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	close(next)
	if n, err := taken.Read(buffer); n != 0 || err != io.EOF || got.String() != "hello" || len(taken.Trailers()) != 2 {
		t.Errorf("%q, then %d bytes, %v and %d trailers", got.String(), n, err, len(taken.Trailers()))
	}
}

// drip gives one byte each millisecond.
type drip struct {
	net.Conn
	rest string
}

func (d *drip) SetReadDeadline(time.Time) error { return nil }

func (d *drip) Read(p []byte) (int, error) {
	<-time.After(time.Millisecond)
	n := copy(p[:1], d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// An origin that drips what stands between chunks gets no more time than any other.
func TestReadBeforeBoundsDrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := &TakenBody{conn: newConn(&drip{rest: "5;x=" + strings.Repeat("y", 500) + "\r\nhello\r\n"}, 0), framing: byChunks}
		taken.chunks.reset(&taken.conn.inbox, false)
		from, p := time.Now(), make([]byte, 100)
		if _, err := taken.ReadBefore(p, from.Add(2*time.Millisecond)); err != ErrLate {
			t.Fatal(err)
		}
		if took := time.Since(from); took > 3*time.Millisecond {
			t.Errorf("waited for %v", took)
		}
		if n, err := taken.Read(p); err != nil || string(p[:n]) != "h" {
			t.Errorf("%q, %v", p[:n], err)
		}
	})
}

// What has arrived is read although the time is over: a busy machine may have let it
// pass before it was this goroutine's turn.
func TestReadBeforeTakesWhatIsThere(t *testing.T) {
	const body = "0123456789abcdef"
	for name, rest := range map[string]string{
		"length":  fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		"chunked": "Transfer-Encoding: chunked\r\n\r\n8\r\n" + body[:8] + "\r\n8\r\n" + body[8:] + "\r\n0\r\n\r\n",
	} {
		head := strings.Index(rest, "\r\n\r\n") + 4
		next, sent := make(chan struct{}), make(chan struct{})
		o := newOrigin(t, func(p *peer) {
			p.request()
			p.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + rest[:head])
			<-next
			p.send(rest[head:])
			close(sent)
			p.gone()
		})
		taken := takeBody(t, newUpstream(t, o.url()))
		past, p := time.Now().Add(-time.Hour), make([]byte, 100)
		if _, err := taken.ReadBefore(p, past); err != ErrLate {
			t.Errorf("%s: before anything came: %v", name, err)
		}
		close(next)
		<-sent
		var got []byte
		eventually(t, "the body is there", func() bool {
			n, err := taken.ReadBefore(p, past)
			got = append(got, p[:n]...)
			return err == io.EOF
		})
		if string(got) != body {
			t.Errorf("%s: %q", name, got)
		}
		_ = taken.Close()
	}
}

// takeBody asks for a page and returns its body.
func takeBody(t *testing.T, u *Upstream) *TakenBody {
	t.Helper()
	resp := &fasthttp.Response{}
	if err := u.Do(get(t), resp, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	return resp.BodyStream().(*Body).Take()
}
