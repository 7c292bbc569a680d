package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

const okHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func TestKeepAliveUsesOneConnection(t *testing.T) {
	o := newOrigin(t, answering(okHello))
	u := newUpstream(t, o.url())
	for range 5 {
		wantOK(t, u, "hello")
	}
	if got := u.Stats(); got.Idle != 1 || got.Active != 0 {
		t.Errorf("connections %+v, want one idle", got)
	}
	if n := o.connections(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

func TestAnswersReachTheResponseUnchanged(t *testing.T) {
	o := newOrigin(t, answering("HTTP/1.1 200 Very Fine\r\ndate: Tue, 01 Dec 2026 10:00:00 GMT\r\nx-lower: a\r\nX-UPPER: b\r\n"+
		"set-cookie: a=1; Path=/\r\nSet-Cookie: a=2; Path=/x\r\nLink: </a>; rel=preload\r\nLink: </b>; rel=preload\r\n"+
		"cache-control: max-age=5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: secret\r\nKeep-Alive: timeout=5\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
	u := newUpstream(t, o.url())
	resp := &fasthttp.Response{}
	if err := u.Do(get(t), resp, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.BodyStream())
	if string(body) != "abcde" || err != nil {
		t.Errorf("body %q %v", body, err)
	}
	head := resp.Header.String()
	for _, want := range []string{"HTTP/1.1 200 Very Fine\r\n", "x-lower: a\r\n", "X-UPPER: b\r\n", "Set-Cookie: a=1; Path=/\r\n",
		"Set-Cookie: a=2; Path=/x\r\n", "Link: </a>; rel=preload\r\n", "Link: </b>; rel=preload\r\n", "Cache-Control: max-age=5\r\n"} {
		if strings.Count(head, want) != 1 {
			t.Errorf("want once %q in\n%s", want, head)
		}
	}
	for _, never := range []string{"X-Hop", "Keep-Alive", "Connection", "Server", "Content-Type"} {
		if strings.Contains(head, never) {
			t.Errorf("found %q in\n%s", never, head)
		}
	}
	if got := string(resp.Header.Peek("Date")); got != "Tue, 01 Dec 2026 10:00:00 GMT" {
		t.Errorf("Date is %q", got)
	}
}

// A body that is packed twice may say so in two lines.
func TestAllCodingsOfAnAnswerPass(t *testing.T) {
	o := newOrigin(t, answering("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX: y\r\ncontent-encoding: br\r\nContent-Length: 0\r\n\r\n"))
	u := newUpstream(t, o.url())
	for range 2 { // the second time over a used connection
		resp := &fasthttp.Response{}
		if err := u.Do(get(t), resp, nil, Options{}); err != nil {
			t.Fatal(err)
		}
		if got := string(resp.Header.ContentEncoding()); got != "gzip, br" {
			t.Errorf("Content-Encoding is %q", got)
		}
	}
}

func TestAnswersWithoutBody(t *testing.T) {
	for _, test := range []struct{ name, method, answer, length string }{
		{"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", "1234"},
		{"head chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"204 with length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ""},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n", "77"},
		{"empty", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOrigin(t, answering(test.answer))
			u := newUpstream(t, o.url())
			for range 2 {
				req := prepared(t, test.method+" / HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"})
				resp := &fasthttp.Response{}
				if err := u.Do(req, resp, nil, Options{}); err != nil {
					t.Fatal(err)
				}
				if resp.IsBodyStream() || resp.ConnectionClose() {
					t.Errorf("stream %v, close %v", resp.IsBodyStream(), resp.ConnectionClose())
				}
				if got := string(resp.Header.Peek("Content-Length")); got != test.length {
					t.Errorf("Content-Length %q, want %q", got, test.length)
				}
			}
			if n := o.connections(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

func TestCloseDelimitedBodyEndsWithTheConnection(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\n\r\nall of it")
	})
	u := newUpstream(t, o.url())
	wantOK(t, u, "all of it")
	if got := u.Stats(); got.Idle != 0 || got.Active != 0 {
		t.Errorf("connections %+v, want none", got)
	}
}

// HAZARDS "Bad origins" and DEPENDENCIES 1.1.
func TestCutAtEveryByteIsABreak(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  okHello,
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for cut := range len(answer) + 1 {
				o := newOrigin(t, func(p *peer) {
					p.request()
					p.send(answer[:cut])
				})
				u := newUpstream(t, o.url())
				_, _, err := fetch(u, get(t), nil, Options{})
				o.close()
				if cut == len(answer) {
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("cut after %d bytes: %v, want an unexpected EOF", cut, err)
				}
				wantKind(t, err, Closed)
				if got := u.Stats(); got.Idle != 0 || got.Active != 0 {
					t.Fatalf("cut after %d bytes: connections %+v, want none", cut, got)
				}
			}
		})
	}
}

func TestOneByteAtATime(t *testing.T) {
	answer := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n"
	o := newOrigin(t, func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			for i := range len(answer) {
				p.send(answer[i : i+1])
			}
		}
	})
	u := newUpstream(t, o.url())
	wantOK(t, u, "abc0123456789")
	wantOK(t, u, "abc0123456789")
}

func TestMalformedAnswersAreRefused(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"HTTP/1.1 99 Low\r\n\r\n", "HTTP/1.1 099 Low\r\n\r\n", "HTTP/1.1 600 High\r\n\r\n", "HTTP/1.1 1000 High\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.2 200 OK\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n",
		"ICY 200 OK\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
		"HTTP/1.1 200 O\x00K\r\n\r\n", "HTTP/1.1 200 O\rK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", "HTTP/1.1 200 OK\r\nName : x\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\nA: x\r\n folded\r\n\r\n", "HTTP/1.1 200 OK\r\n A: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: x\x01\r\n\r\n", "HTTP/1.1 200 OK\r\nA: x\ry\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInterim+1) + okHello,
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxFields+1) + "\r\n",
		"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", maxHead) + "\r\n\r\n", strings.Repeat("x", 2*maxHead),
	} {
		o := newOrigin(t, answering(answer))
		u := newUpstream(t, o.url())
		status, _, err := fetch(u, get(t), nil, Options{})
		if e, ok := err.(*Error); !ok || e.Kind != Malformed {
			t.Errorf("%.80q: got %d %v, want it refused as malformed", answer, status, err)
		}
		if n := len(o.received()); n != 1 {
			t.Errorf("%.80q: %d requests, want 1", answer, n)
		}
		o.close()
	}
}

func TestMalformedChunksBreakTheBody(t *testing.T) {
	for _, body := range []string{
		"x\r\n", "\r\n", " 3\r\nabc\r\n0\r\n\r\n", "-1\r\n", "0x3\r\nabc\r\n", "3\nabc\n0\n\n", "3\r\nabcd\r\n0\r\n\r\n", "3\r\nab\r\n0\r\n\r\n",
		"1000000000000000\r\n", "ffffffffffffffff\r\n", "3 x\r\nabc\r\n0\r\n\r\n", "3\r\nabc0\r\n\r\n", "3;" + strings.Repeat("e", maxChunkLine) + "\r\nabc\r\n0\r\n\r\n",
		"0\r\nbad trailer\r\n\r\n", "0\r\n folded: x\r\n\r\n", "0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 20) + "\r\n",
		"3;\x00\r\nabc\r\n0\r\n\r\n",
	} {
		o := newOrigin(t, answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+body))
		u := newUpstream(t, o.url())
		_, got, err := fetch(u, get(t), nil, Options{})
		if e, ok := err.(*Error); !ok || e.Kind != Malformed {
			t.Errorf("%.60q: got %q %v, want a malformed body", body, got, err)
		}
		if s := u.Stats(); s.Idle != 0 {
			t.Errorf("%.60q: the connection was kept", body)
		}
		o.close()
	}
}

// Bytes behind a body must never be the answer to another request, whether they
// come with the body or while the connection is idle.
func TestBytesBehindTheBodyReachNobody(t *testing.T) {
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	answers := map[string]string{
		"length":  okHello,
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	}
	for name, answer := range answers {
		t.Run(name+" at once", func(t *testing.T) {
			o := newOrigin(t, answering(answer+poison))
			u := newUpstream(t, o.url())
			for range 4 {
				wantOK(t, u, "hello")
			}
		})
		t.Run(name+" while idle", func(t *testing.T) {
			later, sent := make(chan struct{}), make(chan struct{})
			o := newOrigin(t, func(p *peer) {
				p.request()
				p.send(answer)
				if p.number == 1 {
					<-later
					p.send(poison)
					close(sent)
				}
				p.gone()
			})
			u := newUpstream(t, o.url())
			wantOK(t, u, "hello")
			if u.Stats().Idle != 1 {
				t.Fatal("the connection was not kept")
			}
			close(later)
			<-sent
			wantOK(t, u, "hello")
		})
	}
	for _, answer := range []string{"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"} {
		o := newOrigin(t, answering(answer+poison))
		u := newUpstream(t, o.url())
		for range 4 {
			if status, body, err := fetch(u, get(t), nil, Options{}); status == 200 || body != "" || err != nil {
				t.Fatalf("%q: got %d %q %v", answer, status, body, err)
			}
		}
	}
}

func TestConnectionCloseIsObeyed(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nconnection: foo, Close\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
	} {
		o := newOrigin(t, answering(answer))
		u := newUpstream(t, o.url())
		resp := &fasthttp.Response{}
		if err := u.Do(get(t), resp, nil, Options{}); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.BodyStream())
		if u.Stats().Idle != 0 {
			t.Errorf("%q: the connection was kept", answer)
		}
		if resp.ConnectionClose() {
			t.Errorf("%q: the client's connection must not be closed for this", answer)
		}
	}
}

func TestInformationalAnswersAreHandedOn(t *testing.T) {
	o := newOrigin(t, answering("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </s.css>; rel=preload\r\nContent-Length: 3\r\n\r\n"+
		"HTTP/1.1 102 Processing\r\n\r\n"+okHello))
	u := newUpstream(t, o.url())
	var seen []string
	_, body, err := fetch(u, get(t), nil, Options{Informational: func(status int, h *fasthttp.ResponseHeader) {
		seen = append(seen, fmt.Sprint(status, " ", string(h.Peek("Link"))))
	}})
	if body != "hello" || err != nil {
		t.Errorf("got %q %v", body, err)
	}
	if got := strings.Join(seen, "|"); got != "103 </s.css>; rel=preload|102 " {
		t.Errorf("seen %q", got)
	}
}

// Whatever goes wrong with a 1xx answer, its exchange ends.
func TestPanicOverInformationalAnswerLeaksNothing(t *testing.T) {
	o := newOrigin(t, answering("HTTP/1.1 103 Early Hints\r\n\r\n"+okHello))
	u := newUpstream(t, o.url())
	_, _, err := fetch(u, get(t), nil, Options{Informational: func(int, *fasthttp.ResponseHeader) { panic("BUG") }})
	if err == nil || !strings.Contains(err.Error(), "relay 1xx answer") {
		t.Errorf("got %v", err)
	}
	if n := u.members[0].pool.active(); n != 0 {
		t.Errorf("%d exchanges are still under way", n)
	}
}

func TestTrailersAreKept(t *testing.T) {
	o := newOrigin(t, answering("HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 42\r\nGrpc-Status: 0\r\nContent-Length: 9\r\n\r\n"))
	u := newUpstream(t, o.url())
	resp := &fasthttp.Response{}
	if err := u.Do(get(t), resp, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	var wire bytes.Buffer
	if _, err := resp.WriteTo(&wire); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(wire.String(), "\r\nTrailer: X-Sum\r\n") || !strings.HasSuffix(wire.String(), "1\r\na\r\n0\r\nX-Sum: 42\r\nGrpc-Status: 0\r\n\r\n") {
		t.Errorf("on the wire\n%s", wire.String())
	}
	if u.Stats().Idle != 1 {
		t.Error("the connection was not kept")
	}
}

func TestTakenBodyOutlivesTheResponse(t *testing.T) {
	o := newOrigin(t, answering(okHello))
	u := newUpstream(t, o.url())
	resp := &fasthttp.Response{}
	if err := u.Do(get(t), resp, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	body := resp.BodyStream().(*Body).Take()
	resp.Reset()
	content, err := io.ReadAll(body)
	if string(content) != "hello" || err != nil {
		t.Errorf("got %q %v", content, err)
	}
	for range 2 {
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
	if u.Stats() != (Stats{Idle: 1}) {
		t.Errorf("connections %+v", u.Stats())
	}
}

func TestUnreadBodyClosesTheConnection(t *testing.T) {
	o := newOrigin(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n"+strings.Repeat("x", 500000)))
	u := newUpstream(t, o.url())
	resp := &fasthttp.Response{}
	if err := u.Do(get(t), resp, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	b := resp.BodyStream()
	resp.CloseBodyStream()
	if _, err := b.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a closed body reads %v", err)
	}
	if u.Stats() != (Stats{}) {
		t.Errorf("connections %+v", u.Stats())
	}
}

// DEPENDENCIES 1.3: a hung origin gets one request, whatever the method.
func TestTimeoutsAreNeverRetried(t *testing.T) {
	o := newOrigin(t, func(p *peer) { p.request(); p.gone() })
	u := newUpstream(t, o.url(), func(c *Config) { c.HeaderTimeout = 50 * time.Millisecond })
	for i, method := range []string{"GET", "HEAD", "PUT", "POST"} {
		req := prepared(t, method+" / HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"})
		_, _, err := fetch(u, req, nil, Options{})
		wantKind(t, err, Timeout)
		if n := len(o.received()); n != i+1 {
			t.Errorf("%s: %d requests in all, want %d", method, n, i+1)
		}
	}
}

// stale serves one answer per connection, then closes it as soon as the next
// request has come, without an answer.
func stale(p *peer) {
	p.request()
	p.send(okHello)
	if p.number == 1 {
		p.request()
		return
	}
	p.gone()
}

func TestRetryOnStaleConnection(t *testing.T) {
	for method, want := range map[string]int{"GET": 3, "HEAD": 2, "OPTIONS": 3, "POST": 2, "PUT": 2, "DELETE": 2} {
		t.Run(method, func(t *testing.T) {
			o := newOrigin(t, stale)
			u := newUpstream(t, o.url())
			wantOK(t, u, "hello")
			if method == "HEAD" {
				return // the stale origin answers with a body
			}
			req := prepared(t, method+" / HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"})
			_, body, err := fetch(u, req, nil, Options{})
			if want == 3 && (body != "hello" || err != nil) {
				t.Errorf("got %q %v, want a second try", body, err)
			}
			if want == 2 {
				wantKind(t, err, Closed)
			}
			if n := len(o.received()); n != want {
				t.Errorf("the origin got %d requests, want %d", n, want)
			}
		})
	}
}

func TestOnlyOneRetry(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		if p.number == 1 {
			p.send(okHello)
			p.request()
		}
	})
	u := newUpstream(t, o.url())
	wantOK(t, u, "hello")
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Closed)
	if n := len(o.received()); n != 3 {
		t.Errorf("the origin got %d requests, want 3", n)
	}
}

func TestNoRetryAfterAnAnswerByte(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send(okHello)
		p.request()
		p.send("H")
	})
	u := newUpstream(t, o.url())
	wantOK(t, u, "hello")
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Closed)
	if n := len(o.received()); n != 2 {
		t.Errorf("the origin got %d requests, want 2", n)
	}
}

func TestClosedIdleConnectionIsNotUsed(t *testing.T) {
	closed := make(chan struct{}, 1)
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send(okHello)
		p.Close()
		closed <- struct{}{}
	})
	u := newUpstream(t, o.url())
	wantOK(t, u, "hello")
	<-closed
	_, body, err := fetch(u, post(t, 2), strings.NewReader("hi"), Options{})
	if body != "hello" || err != nil {
		t.Errorf("a POST over a pool with a dead connection: %q %v", body, err)
	}
	if s := u.Status(); s.Retries != 0 || s.Servers[0].Requests != 2 {
		t.Errorf("%d requests and %d retries are counted", s.Servers[0].Requests, s.Retries)
	}
}

// DEPENDENCIES 1.4: a body may take longer than any limit, if it keeps coming.
func TestSlowBodyIsNotCut(t *testing.T) {
	const limit = time.Second // a busy machine is late by some tenths of it
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
		tick := time.NewTicker(limit / 10)
		defer tick.Stop()
		for range 12 {
			<-tick.C
			p.send("x")
		}
		p.gone()
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.IdleTimeout, c.HeaderTimeout = limit, limit })
	wantOK(t, u, "xxxxxxxxxxxx")
}

func TestSilentBodyTimesOut(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nx")
		p.gone()
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.IdleTimeout = 50 * time.Millisecond })
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Timeout)
}

func TestDrippingHeadIsBounded(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nX: ")
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			<-tick.C
			if _, err := p.Write([]byte("x")); err != nil {
				return
			}
		}
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.HeaderTimeout = 60 * time.Millisecond })
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Timeout)
}

func TestOriginDown(t *testing.T) {
	o := newOrigin(t, answering(okHello))
	o.close()
	_, _, err := fetch(newUpstream(t, o.url()), get(t), nil, Options{})
	wantKind(t, err, Dial)
}

func TestDialTimeout(t *testing.T) {
	u := newUpstream(t, "http://192.0.2.1", func(c *Config) { c.DialTimeout = 20 * time.Millisecond })
	u.members[0].pool.connect = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Timeout)
	if u.Stats() != (Stats{}) {
		t.Errorf("connections %+v", u.Stats())
	}
}

func TestMaxConnsWaitsThenIsBusy(t *testing.T) {
	free := make(chan struct{})
	o := newOrigin(t, func(p *peer) {
		p.request()
		<-free
		p.send(okHello)
		p.gone()
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.MaxConns, c.DialTimeout = 1, 30*time.Millisecond })
	var first atomic.Value
	done := make(chan struct{})
	req := get(t)
	go func() {
		defer close(done)
		_, body, err := fetch(u, req, nil, Options{})
		first.Store(fmt.Sprint(body, err))
	}()
	eventually(t, "the first request arrives", func() bool { return len(o.received()) == 1 })
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Busy)
	close(free)
	<-done
	if got := first.Load(); got != "hello<nil>" {
		t.Errorf("the first request got %v", got)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	gone := make(chan struct{})
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send(okHello)
		p.gone()
		close(gone)
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.KeepAlive = 30 * time.Millisecond })
	wantOK(t, u, "hello")
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Fatal("the idle connection stays open")
	}
	if u.Stats() != (Stats{}) {
		t.Errorf("connections %+v", u.Stats())
	}
}

// Many at once over few connections, some of which break: each gets its own
// answer or an error, never another's.
func TestAnswersAreNeverMixedUp(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		for i := 0; ; i++ {
			head, ok := p.request()
			if !ok {
				return
			}
			id := strings.Fields(head)[1]
			switch {
			case p.number%5 == 4 && i == 3:
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + id)
				return
			case p.number%5 == 3 && i == 3:
				return
			case i%2 == 0:
				p.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id))
			default:
				p.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(id), id))
			}
		}
	})
	u := newUpstream(t, o.url(), func(c *Config) { c.MaxConns = 4 })
	var all sync.WaitGroup
	var good atomic.Int32
	for worker := range 8 {
		all.Go(func() {
			for i := range 50 {
				id := fmt.Sprintf("/%d/%d", worker, i)
				req := prepared(t, "GET "+id+" HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"})
				_, body, err := fetch(u, req, nil, Options{})
				if err == nil && body != id {
					t.Errorf("%s got %s", id, body)
				}
				switch {
				case err == nil:
					good.Add(1)
				case !isClosed(err):
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	all.Wait()
	if good.Load() < 200 {
		t.Errorf("only %d of 400 succeeded", good.Load())
	}
	if s := u.Stats(); s.Active != 0 || s.Idle > 4 {
		t.Errorf("connections %+v", s)
	}
}

func TestConnectionsStayWithinTheLimit(t *testing.T) {
	o := newOrigin(t, answering(okHello))
	u := newUpstream(t, o.url(), func(c *Config) { c.MaxConns = 1 })
	wantOK(t, u, "hello")
	c, err := u.members[0].pool.acquire(true, false, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Stats(); got != (Stats{Active: 1}) {
		t.Errorf("connections %+v, want one in all", got)
	}
	if c.BytesRead() != 0 || c.BytesWritten() != 0 {
		t.Error("a new connection has counted bytes")
	}
	u.Close()
	c.release(true)
	_, _, err = fetch(u, get(t), nil, Options{})
	wantKind(t, err, Dial)
	if got := u.Stats(); got != (Stats{}) {
		t.Errorf("connections %+v after Close", got)
	}
}
