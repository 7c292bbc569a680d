package upstream

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// clientBody is a request body that comes when the test wants it to.
type clientBody struct {
	pieces chan string
	quit   chan struct{}
	once   sync.Once
	rest   string
	end    error
}

func newClientBody(end error) *clientBody {
	return &clientBody{pieces: make(chan string, 16), quit: make(chan struct{}), end: end}
}

func (b *clientBody) Read(p []byte) (int, error) {
	if b.rest == "" {
		select {
		case piece, more := <-b.pieces:
			if !more {
				return 0, b.end
			}
			b.rest = piece
		case <-b.quit:
			return 0, errors.New("interrupted")
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *clientBody) interrupt() { b.once.Do(func() { close(b.quit) }) }

func chunkedPost(t testing.TB) *fasthttp.Request {
	t.Helper()
	return prepared(t, "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", PrepareOptions{Host: "a"})
}

func TestUploadsArriveWhole(t *testing.T) {
	for _, size := range []int{0, 1, smallBody, smallBody + 1, copyBufferSize, 3_000_000} {
		content := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for _, chunked := range []bool{false, true} {
			got := make(chan string, 2)
			o := newOrigin(t, func(p *peer) {
				for {
					head, ok := p.request()
					if !ok {
						return
					}
					got <- readBody(p, head)
					p.send(okHello)
				}
			})
			u := newUpstream(t, o.url())
			for range 2 {
				req := post(t, size)
				if chunked {
					req = chunkedPost(t)
				}
				status, body, err := fetch(u, req, strings.NewReader(content), Options{})
				if status != 200 || body != "hello" || err != nil {
					t.Fatalf("size %d: %d %q %v", size, status, body, err)
				}
				if arrived := <-got; arrived != content {
					t.Fatalf("size %d, chunked %v: %d bytes arrived", size, chunked, len(arrived))
				}
			}
			if n := o.connections(); n != 1 {
				t.Errorf("size %d, chunked %v: %d connections, want 1", size, chunked, n)
			}
			o.close()
		}
	}
}

// readBody reads a request's body as its head frames it; a cut one ends in "!".
func readBody(p *peer, head string) string {
	var req fasthttp.Request
	if err := req.Header.Read(newReader(head + "\r\n")); err != nil {
		return "!" + err.Error()
	}
	if err := req.ContinueReadBody(p.br, 0, false); err != nil {
		return "!"
	}
	return string(req.Body())
}

func TestUploadStreams(t *testing.T) {
	seen := make(chan string)
	o := newOrigin(t, func(p *peer) {
		p.request()
		for range 2 {
			line, _ := p.br.ReadString('\n')
			data, _ := p.br.ReadString('\n')
			seen <- line + data
		}
		p.br.ReadString('\n')
		p.br.ReadString('\n')
		p.send(okHello)
		p.gone()
	})
	u := newUpstream(t, o.url())
	body := newClientBody(io.EOF)
	done := make(chan error)
	req := chunkedPost(t)
	go func() {
		_, _, err := fetch(u, req, body, Options{Interrupt: body.interrupt})
		done <- err
	}()
	for _, piece := range []string{"abc", "defgh"} {
		body.pieces <- piece
		if got := <-seen; !strings.HasSuffix(got, "\r\n"+piece+"\r\n") {
			t.Errorf("the origin got %q", got)
		}
	}
	close(body.pieces)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if u.Stats().Idle != 1 {
		t.Error("the connection was not kept")
	}
}

// DEPENDENCIES 1.2: an answer that comes during the upload reaches the client.
func TestEarlyAnswerIsNotLost(t *testing.T) {
	const tooLarge = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!"
	for name, serve := range map[string]func(p *peer){
		"and the origin reads on":   func(p *peer) { p.request(); p.send(tooLarge); p.gone() },
		"and the origin closes":     func(p *peer) { p.request(); p.send(tooLarge) },
		"and the origin just stops": func(p *peer) { p.request(); p.send(tooLarge); <-p.origin.held },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, serve)
			u := newUpstream(t, o.url())
			body := &endless{quit: make(chan struct{})}
			resp := &fasthttp.Response{}
			if err := u.Do(post(t, 1<<40), resp, body, Options{Interrupt: body.interrupt}); err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(resp.BodyStream())
			if resp.StatusCode() != 413 || string(content) != "no!" || err != nil {
				t.Errorf("got %d %q %v", resp.StatusCode(), content, err)
			}
			if !resp.ConnectionClose() {
				t.Error("the client is not told that its connection ends")
			}
			if u.Stats() != (Stats{}) {
				t.Errorf("connections %+v, want none", u.Stats())
			}
			if n := len(o.received()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// endless is a body without an end.
type endless struct {
	quit chan struct{}
	once sync.Once
}

func (e *endless) Read(p []byte) (int, error) {
	select {
	case <-e.quit:
		return 0, errors.New("interrupted")
	default:
		return len(p), nil
	}
}

func (e *endless) interrupt() { e.once.Do(func() { close(e.quit) }) }

func TestEarlyAnswerWhileTheClientIsSilent(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		p.gone()
	})
	u := newUpstream(t, o.url())
	body := newClientBody(io.EOF)
	resp := &fasthttp.Response{}
	if err := u.Do(chunkedPost(t), resp, body, Options{Interrupt: body.interrupt}); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode() != 401 || !resp.ConnectionClose() || u.Stats() != (Stats{}) {
		t.Errorf("got %d, close %v, connections %+v", resp.StatusCode(), resp.ConnectionClose(), u.Stats())
	}
}

func TestBothWaysAtOnce(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			line, _ := p.br.ReadString('\n')
			data, _ := p.br.ReadString('\n')
			p.send(line + data)
			if line == "0\r\n" {
				p.gone()
				return
			}
		}
	})
	u := newUpstream(t, o.url())
	body := newClientBody(io.EOF)
	resp := &fasthttp.Response{}
	if err := u.Do(chunkedPost(t), resp, body, Options{Interrupt: body.interrupt}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for _, piece := range []string{"one", "two", "three"} {
		body.pieces <- piece
		n, err := resp.BodyStream().Read(buf)
		if string(buf[:n]) != piece || err != nil {
			t.Fatalf("echo of %q: %q %v", piece, buf[:n], err)
		}
	}
	close(body.pieces)
	if n, err := resp.BodyStream().Read(buf); n != 0 || err != io.EOF {
		t.Errorf("the end: %d %v", n, err)
	}
	if u.Stats().Idle != 1 {
		t.Error("the connection was not kept")
	}
}

// A cut upload must not look finished to the origin.
func TestCutUploadStaysCut(t *testing.T) {
	for name, test := range map[string]struct {
		req  func(t testing.TB) *fasthttp.Request
		sent string
		end  error
	}{
		"length":       {func(t testing.TB) *fasthttp.Request { return post(t, 1<<20) }, strings.Repeat("x", 1000), io.EOF},
		"length error": {func(t testing.TB) *fasthttp.Request { return post(t, 1<<20) }, "x", io.ErrUnexpectedEOF},
		"chunked":      {chunkedPost, "abc", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			rest := make(chan string, 1)
			o := newOrigin(t, func(p *peer) {
				p.request()
				all, _ := io.ReadAll(p.br)
				rest <- string(all)
			})
			u := newUpstream(t, o.url())
			body := newClientBody(test.end)
			body.pieces <- test.sent
			close(body.pieces)
			_, _, err := fetch(u, test.req(t), body, Options{Interrupt: body.interrupt})
			wantKind(t, err, Client)
			got := <-rest
			if strings.Contains(got, "0\r\n\r\n") || len(got) > len(test.sent)+10 {
				t.Errorf("the origin got %q", got)
			}
		})
	}
}

func TestCutSmallUploadIsNotSent(t *testing.T) {
	o := newOrigin(t, answering(okHello))
	u := newUpstream(t, o.url())
	_, _, err := fetch(u, post(t, 100), strings.NewReader("short"), Options{})
	wantKind(t, err, Client)
	_, _, err = fetch(u, post(t, 100), nil, Options{})
	wantKind(t, err, Client)
	if n := len(o.received()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func TestOriginThatDiesDuringTheUpload(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		io.CopyN(io.Discard, p.br, 100_000)
	})
	u := newUpstream(t, o.url())
	body := &endless{quit: make(chan struct{})}
	_, _, err := fetch(u, post(t, 1<<40), body, Options{Interrupt: body.interrupt})
	wantKind(t, err, Closed)
	if n := len(o.received()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestOriginThatNeverReads(t *testing.T) {
	o := newOrigin(t, func(p *peer) { <-p.origin.held })
	u := newUpstream(t, o.url(), func(c *Config) { c.IdleTimeout, c.HeaderTimeout = 60*time.Millisecond, 60*time.Millisecond })
	body := &endless{quit: make(chan struct{})}
	_, _, err := fetch(u, post(t, 1<<40), body, Options{Interrupt: body.interrupt})
	wantKind(t, err, Timeout)
}

func TestPanicInTheClientsBodyIsAnError(t *testing.T) {
	o := newOrigin(t, func(p *peer) { p.request(); p.gone() })
	u := newUpstream(t, o.url())
	_, _, err := fetch(u, post(t, 1<<20), panicking{}, Options{})
	wantKind(t, err, Client)
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("torn") }

// The same through a fasthttp server, as the proxy runs it: the client gets the
// 413 while it is still sending.
func TestEarlyAnswerThroughTheServer(t *testing.T) {
	o := newOrigin(t, func(p *peer) {
		p.request()
		p.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
		<-p.origin.held
	})
	u := newUpstream(t, o.url())
	client := serve(t, func(ctx *fasthttp.RequestCtx) {
		out := &fasthttp.Request{}
		Prepare(out, &ctx.Request, PrepareOptions{Host: "a"})
		conn := ctx.Conn()
		err := u.Do(out, &ctx.Response, ctx.RequestBodyStream(), Options{Interrupt: func() { conn.SetReadDeadline(time.Unix(1, 0)) }})
		if err != nil {
			ctx.SetStatusCode(err.(*Error).Kind.Status())
		}
	})
	io.WriteString(client, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
	client.Write(make([]byte, 20000))
	answer, err := io.ReadAll(client)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 413 ") || !strings.HasSuffix(string(answer), "no!") ||
		!strings.Contains(string(answer), "Connection: close") {
		t.Errorf("the client got %q %v", answer, err)
	}
}
