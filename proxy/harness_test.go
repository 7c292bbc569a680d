package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/plugins/sdk"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/visitor"
	"github.com/sedge-proxy/sedge/visitor/attributes"
)

func TestMain(m *testing.M) {
	if sdk.Started() { // by a test that needs a plugin's process
		sdk.Serve(coupons{})
		return
	}
	// fasthttp refreshes its date for ever, and its pool of workers notices a stop
	// only when it wakes up.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// engines are stand-ins for all engines, which a test fills as it needs.
type engines struct {
	mu       sync.Mutex
	events   []event.Event
	calls    []int // how many came at a time
	forget   bool  // keep no events
	profiles map[string]*decision.Profile

	snapshot  func(ctx context.Context, id string) (*decision.Profile, error)
	segment   func(f *decision.Facts) *decision.Segmentation
	assign    func(dst []decision.Assignment, unit, segment string) []decision.Assignment
	concerned func(p *decision.Page) bool
	bodies    decision.Bodies
	plan      func(ctx context.Context, q *decision.Query) *decision.Plan
	accept    func(events []event.Event) error
	snapshots atomic.Int64
	plans     atomic.Int64
}

func (e *engines) Snapshot(ctx context.Context, id string) (*decision.Profile, error) {
	e.snapshots.Add(1)
	if e.snapshot != nil {
		return e.snapshot(ctx, id)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.profiles[id], nil
}

func (e *engines) Segment(f *decision.Facts) *decision.Segmentation {
	if e.segment != nil {
		return e.segment(f)
	}
	return unsegmented
}

var unsegmented = &decision.Segmentation{}

func (e *engines) Assign(dst []decision.Assignment, unit, segment string) []decision.Assignment {
	if e.assign != nil && unit != "" {
		return e.assign(dst, unit, segment)
	}
	return dst
}

func (e *engines) Concerned(p *decision.Page) bool { return e.concerned != nil && e.concerned(p) }

func (e *engines) Bodies(p *decision.Page) decision.Bodies {
	if !e.Concerned(p) {
		return 0
	}
	return e.bodies
}

func (e *engines) Plan(ctx context.Context, q *decision.Query) *decision.Plan {
	e.plans.Add(1)
	return e.plan(ctx, q)
}

func (e *engines) Record(events []event.Event) int {
	if e.forget {
		return len(events)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, len(events))
	for i := range events {
		e.events = append(e.events, *events[i].Clone())
	}
	return len(events)
}

func (e *engines) Accept(_ context.Context, events []event.Event) error {
	if e.accept != nil {
		return e.accept(events)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, events...)
	return nil
}

// kinds returns the types of the events so far.
func (e *engines) kinds() []event.Type {
	e.mu.Lock()
	defer e.mu.Unlock()
	var types []event.Type
	for _, ev := range e.events {
		types = append(types, ev.Type)
	}
	return types
}

func (e *engines) recorded(t event.Type) []event.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []event.Event
	for _, ev := range e.events {
		if ev.Type == t {
			found = append(found, ev)
		}
	}
	return found
}

// text is a plan that writes text into the element that the selector names.
func text(selector, text string) *decision.Plan {
	p := &decision.Plan{Concerned: true, Edits: []decision.PlannedEdit{{
		Edit: decision.Edit{Select: selector, Op: decision.OpSetInner, Text: text}, Experience: "test", Apply: true,
	}}}
	copy(p.Digest[:], "digest of "+text)
	return p
}

// always makes every page concerned with this plan.
func always(p *decision.Plan) *engines {
	return &engines{
		concerned: func(*decision.Page) bool { return true },
		plan:      func(context.Context, *decision.Query) *decision.Plan { return p },
	}
}

type setup struct {
	config  Config
	cache   cache.Config
	engines *engines
	routes  []Route
	up      upstream.Config
	now     func() time.Time
	tracer  Tracer
	listen  string   // another address than a free one
	over    protocol // what the client speaks
}

// protocol is how a client comes.
type protocol string

const (
	plainHTTP1 protocol = ""
	overTLS    protocol = "h1-tls"
	overHTTP2  protocol = "h2"

	// toHTTP2 behind one of these says that the origin is spoken to in HTTP/2.
	toHTTP2 protocol = " to h2c"
)

// client is the protocol without what is said of the origin's.
func (p protocol) client() protocol { return protocol(strings.TrimSuffix(string(p), string(toHTTP2))) }

// node is a running server with its origin.
type node struct {
	t       testing.TB
	server  *Server
	site    *Site
	signer  *visitor.Signer
	engines *engines
	addr    string // of the plain listener
	base    string // URL of the listener that client talks to
	tlsAddr string // "" without TLS
	client  *http.Client
	log     *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

var names = []string{"utm.campaign", "device"}

// start runs a server in front of the origin at address.
func start(t testing.TB, origin string, o setup) *node {
	t.Helper()
	n := &node{t: t, engines: o.engines, log: &syncBuffer{}}
	if n.engines == nil {
		n.engines = &engines{}
	}
	if o.config.PersonalizeBudget == 0 {
		o.config.PersonalizeBudget = 10 * time.Second // the machine may be busy; tests of the budget set it
	}
	if o.config.MaxQueueDelay == 0 {
		o.config.MaxQueueDelay = time.Minute // likewise; nothing is refused for it
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.over != o.over.client() {
		o.over, o.up.Protocol = o.over.client(), upstream.HTTP2Clear
	}
	if o.over != plainHTTP1 && !o.config.TLS.Enabled() {
		o.config.TLS.Certificates = testAuthority().issue(t, "shop.example")
	}
	o.up.Name = "origin"
	if len(o.up.Servers) == 0 {
		o.up.URL = "http://" + origin
	}
	up, err := upstream.New(o.up, upstream.Deps{Now: o.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	key := bytes.Repeat([]byte("0123456789abcdef"), 2)
	if n.signer, err = visitor.NewSigner([][]byte{key}, rand.Reader); err != nil {
		t.Fatal(err)
	}
	extractor, faults := attributes.Compile(names)
	if faults.Err() != nil {
		t.Fatal(faults.Err())
	}
	if o.routes == nil {
		o.routes = []Route{{Upstream: "origin"}}
	}
	options := SiteOptions{
		Generation: 1, Routes: o.routes, Upstreams: map[string]*upstream.Upstream{"origin": up},
		Cookie: visitor.NewCookie(visitor.Config{}), Signer: n.signer, Attributes: extractor,
		Profiles: n.engines, Segmenter: n.engines, Experiments: n.engines, Planner: n.engines, Recorder: n.engines,
	}
	if n.site, err = NewSite(options); err != nil {
		t.Fatal(err)
	}
	n.server, err = New(Options{
		Config: o.config, Cache: o.cache, Now: o.now, Random: rand.Reader, Tracer: o.tracer,
		Logger: slog.New(slog.NewJSONHandler(n.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.server.SetSite(n.site)
	if o.listen == "" {
		o.listen = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", o.listen)
	if err != nil {
		t.Fatal(err)
	}
	n.addr = ln.Addr().String()
	n.base = "http://" + n.addr
	served := make(chan error, 2)
	go func() { served <- n.server.Serve(ln) }()
	transport := &http.Transport{DisableCompression: true}
	if !n.server.cfg.TLS.Enabled() {
		served <- nil
	} else {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n.tlsAddr = ln.Addr().String()
		go func() { served <- n.server.ServeTLS(ln) }()
		transport.TLSClientConfig = testAuthority().client()
	}
	if o.over != plainHTTP1 {
		n.base = "https://" + n.tlsAddr
		transport.ForceAttemptHTTP2 = o.over == overHTTP2
	}
	n.client = &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		n.server.settle()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := n.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for range cap(served) {
			if err := <-served; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	})
	return n
}

// settle ends what ends by itself. When fasthttp shuts down and something is left, it
// looks again after a tenth of a second, which is much over all tests.
func (s *Server) settle() {
	s.mu.Lock()
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	_ = s.plain.Close()
	const none = -1 // one less for the listeners
	for range 50 {
		if s.http.GetOpenConnectionsCount() == none {
			return
		}
		time.Sleep(time.Millisecond) // nothing depends on it
	}
}

// origin runs an http.Handler as the origin.
func origin(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: h, Protocols: protocols}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return ln.Addr().String()
}

// pages is an origin with one page for every path.
func pages(t testing.TB, contentType, body string, header ...string) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		_, _ = io.WriteString(w, body)
	})
}

type reply struct {
	*http.Response
	body string
}

// get asks for a path with headers given as name and value.
func (n *node) get(path string, header ...string) reply { return n.do("GET", path, nil, header...) }

func (n *node) do(method, path string, body io.Reader, header ...string) reply {
	n.t.Helper()
	req, err := http.NewRequest(method, n.base+path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0")
	for i := 0; i+1 < len(header); i += 2 {
		if strings.EqualFold(header[i], "Host") {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s %s: read body: %v", method, path, err)
	}
	return reply{resp, string(read)}
}

// overEach runs a test once over each version of HTTP that browsers speak: what it
// says of requests and answers must hold over both.
func overEach(t *testing.T, test func(t *testing.T, over protocol)) {
	for _, over := range []protocol{plainHTTP1, overHTTP2} {
		t.Run(cmp.Or(string(over), "h1"), func(t *testing.T) { test(t, over) })
	}
}

// clientAt makes a client with connections of its own, as the node's client speaks,
// that finds the node at an address.
func (n *node) clientAt(t testing.TB, address string) *http.Transport {
	transport := n.client.Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// address is where the node's client finds it.
func (n *node) address() string {
	_, address, _ := strings.Cut(n.base, "://")
	return address
}

// visitor makes a cookie header for a new visitor.
func (n *node) visitor() (id, cookie string) {
	id, value, err := n.signer.Mint()
	if err != nil {
		n.t.Fatal(err)
	}
	return id, n.site.Cookie.Name() + "=" + value
}

// raw sends bytes over a connection of its own and returns all that comes back.
func (n *node) raw(request string) string {
	n.t.Helper()
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		return ""
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// dialNode opens a connection that lives no longer than the test.
func dialNode(t testing.TB, n *node) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// dial opens a connection for HTTP/1.1, as the node's client comes.
func (n *node) dial() net.Conn {
	n.t.Helper()
	if strings.HasPrefix(n.base, "https:") {
		secured, err := tls.Dial("tcp", n.tlsAddr, testAuthority().client())
		if err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { secured.Close() })
		_ = secured.SetDeadline(time.Now().Add(10 * time.Second))
		return secured
	}
	return dialNode(n.t, n)
}

// readAll reads until the other side closes.
func readAll(c net.Conn) string {
	defer c.Close()
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// soaking reports whether tests are to be as long as they can be.
func soaking() bool { return os.Getenv("SEDGE_SOAK") == "1" }

// long chooses how often something is tried.
func long(usual, soak int) int {
	if soaking() {
		return soak
	}
	return usual
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond) // between two looks; the condition decides
	}
}

// rawOrigin answers each connection with a function of its reader and writer.
func rawOrigin(t testing.TB, serve func(r *bufio.Reader, c net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			conns.Go(func() {
				defer c.Close()
				serve(bufio.NewReader(c), c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		conns.Wait()
	})
	return ln.Addr().String()
}

// answerHead reads a request's head from a raw connection.
func readRequest(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}

// stopped is a clock that stands still, so that no age passes between two answers. It
// shows a whole second, as the dates of origins do, so that none of them is past.
func stopped() func() time.Time {
	now := time.Now().Truncate(time.Second)
	return func() time.Time { return now }
}

func headerSet(h http.Header, ignore ...string) string {
	var lines []string
	for name, values := range h {
		if slices.Contains(ignore, name) {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s", name, strings.Join(values, "|")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
