package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// fasthttp's own: the clock of its Date, and the sweeper of a server's workers.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// rawOrigin is an origin that does with each connection what a test says, and
// remembers what it received.
type rawOrigin struct {
	listener net.Listener
	wait     sync.WaitGroup
	held     chan struct{} // closed at the end of the test
	ended    sync.Once

	mu    sync.Mutex
	conns []net.Conn
	heads []string
}

// peer is a connection as the origin sees it.
type peer struct {
	net.Conn
	origin *rawOrigin
	br     *bufio.Reader
	number int // of the connection, from 1
}

func newOrigin(t *testing.T, serve func(p *peer)) *rawOrigin {
	t.Helper()
	return newOriginAt(t, "127.0.0.1:0", serve)
}

func newOriginAt(t *testing.T, address string, serve func(p *peer)) *rawOrigin {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	o := &rawOrigin{listener: listener, held: make(chan struct{})}
	o.wait.Go(func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns = append(o.conns, nc)
			select {
			case <-o.held:
				nc.Close() // close has seen those before it
			default:
			}
			p := &peer{Conn: nc, origin: o, br: bufio.NewReader(nc), number: len(o.conns)}
			o.mu.Unlock()
			o.wait.Go(func() {
				defer nc.Close()
				serve(p)
			})
		}
	})
	t.Cleanup(o.close)
	return o
}

func (o *rawOrigin) close() {
	o.listener.Close()
	o.ended.Do(func() { close(o.held) })
	o.mu.Lock()
	for _, c := range o.conns {
		c.Close()
	}
	o.mu.Unlock()
	o.wait.Wait()
}

func (o *rawOrigin) url() string { return "http://" + o.listener.Addr().String() }

// connections returns how many there were so far.
func (o *rawOrigin) connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

// received returns the heads of all requests so far.
func (o *rawOrigin) received() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.heads...)
}

// request reads a request's head; false means the connection ended first.
func (p *peer) request() (string, bool) {
	var head strings.Builder
	for {
		line, err := p.br.ReadString('\n')
		if err != nil {
			return "", false
		}
		if line == "\r\n" {
			break
		}
		head.WriteString(line)
	}
	p.origin.mu.Lock()
	p.origin.heads = append(p.origin.heads, head.String())
	p.origin.mu.Unlock()
	return head.String(), true
}

func (p *peer) send(s string) { io.WriteString(p, s) }

// gone waits until the other side has closed.
func (p *peer) gone() { io.Copy(io.Discard, p.br) }

// answering serves every request with the same bytes.
func answering(answer string) func(p *peer) {
	return func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			p.send(answer)
		}
	}
}

func newReader(s string) *bufio.Reader { return bufio.NewReaderSize(strings.NewReader(s), 64<<10) }

// serve runs a handler as the proxy does and returns a client's connection to it.
func serve(t *testing.T, handler fasthttp.RequestHandler) net.Conn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{
		Handler: handler, StreamRequestBody: true, NoDefaultDate: true, NoDefaultServerHeader: true, NoDefaultContentType: true,
		DisableHeaderNamesNormalizing: true, DisablePreParseMultipartForm: true, MaxRequestBodySize: 1 << 40,
		Logger: quiet{},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(listener)
	}()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Shutdown()
		<-done
	})
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func newUpstream(t testing.TB, url string, change ...func(*Config)) *Upstream {
	t.Helper()
	return newUpstreamIn(t, Deps{Now: time.Now}, url, change...)
}

// newUpstreamIn makes an upstream in a world of the test's own.
func newUpstreamIn(t testing.TB, deps Deps, url string, change ...func(*Config)) *Upstream {
	t.Helper()
	cfg := Config{Name: "test", URL: url, HeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second}
	for _, f := range change {
		f(&cfg)
	}
	if faults := cfg.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	u, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// parsed reads a request's head as the server does.
func parsed(t testing.TB, raw string) *fasthttp.Request {
	t.Helper()
	in := &fasthttp.Request{}
	in.Header.DisableNormalizing()
	if err := in.Header.Read(newReader(raw)); err != nil {
		t.Fatal(err)
	}
	return in
}

func prepared(t testing.TB, raw string, p PrepareOptions) *fasthttp.Request {
	t.Helper()
	out := &fasthttp.Request{}
	Prepare(out, parsed(t, raw), p)
	return out
}

func get(t testing.TB) *fasthttp.Request {
	t.Helper()
	return prepared(t, "GET /page?q=1 HTTP/1.1\r\nHost: shop.example\r\n\r\n", PrepareOptions{Host: "shop.example"})
}

func post(t testing.TB, length int) *fasthttp.Request {
	t.Helper()
	return prepared(t, fmt.Sprintf("POST /buy HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n", length),
		PrepareOptions{Host: "shop.example"})
}

// fetch does a whole exchange and returns status, body and how the body ended.
func fetch(u *Upstream, req *fasthttp.Request, body io.Reader, opts Options) (int, string, error) {
	resp := &fasthttp.Response{}
	if err := u.Do(req, resp, body, opts); err != nil {
		return 0, "", err
	}
	if !resp.IsBodyStream() {
		return resp.StatusCode(), "", nil
	}
	content, err := io.ReadAll(resp.BodyStream())
	resp.CloseBodyStream()
	return resp.StatusCode(), string(content), err
}

func wantOK(t *testing.T, u *Upstream, body string) {
	t.Helper()
	status, got, err := fetch(u, get(t), nil, Options{})
	if status != 200 || got != body || err != nil {
		t.Fatalf("got %d %q %v, want 200 %q", status, got, err, body)
	}
}

func wantKind(t *testing.T, err error, kind Kind) {
	t.Helper()
	e, ok := err.(*Error)
	if !ok || e.Kind != kind {
		t.Fatalf("got %v (%T), want an error of kind %s", err, err, kind)
	}
}

// eventually waits for something that happens in another goroutine.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be: %s", what)
		}
		<-ticker.C
	}
}
