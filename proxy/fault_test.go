package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// The bad network stands between two parties: relay carries their bytes and does one
// thing wrong with them when it is told to.
type relay struct {
	listener net.Listener
	target   string
	wait     sync.WaitGroup
	fault    atomic.Pointer[fault]

	mu     sync.Mutex
	closed bool
	conns  map[*net.TCPConn]struct{}
}

// direction is that of requests or that of answers.
type direction int

const (
	requests direction = iota
	answers
)

func (d direction) String() string { return [...]string{"requests", "answers"}[d] }

// fault is what goes wrong, once so many bytes have passed in one direction.
type fault struct {
	kind  faultKind
	way   direction
	left  atomic.Int64
	seen  [2]atomic.Int64 // bytes of both directions
	after chan struct{}   // closed when the fault is over
}

type faultKind string

const (
	sound     faultKind = "sound"
	cutOff    faultKind = "cut"        // both directions end
	resetOff  faultKind = "reset"      // with RST
	halfClose faultKind = "half-close" // this direction ends, the other goes on
	stall     faultKind = "stall"      // nothing more comes, nothing ends
	delay     faultKind = "delay"      // a pause
	drip      faultKind = "drip"       // one byte at a time
)

// stalled is the idle limit of nodes that wait for what never comes.
const stalled = 1500 * time.Millisecond

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: ln, target: target, conns: map[*net.TCPConn]struct{}{}}
	r.arm(sound, requests, 0)
	r.wait.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				nc.Close()
				continue
			}
			a, b := nc.(*net.TCPConn), to.(*net.TCPConn)
			if !r.keep(a, b) {
				return
			}
			r.wait.Go(func() { r.carry(requests, a, b) })
			r.wait.Go(func() { r.carry(answers, b, a) })
		}
	})
	t.Cleanup(r.close)
	return r
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) keep(conns ...*net.TCPConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.closed {
			c.Close()
		}
		r.conns[c] = struct{}{}
	}
	return !r.closed
}

func (r *relay) close() {
	r.arm(sound, requests, 0)
	r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.wait.Wait()
}

// arm ends the fault before and sets the next one.
func (r *relay) arm(kind faultKind, way direction, after int64) *fault {
	f := &fault{kind: kind, way: way, after: make(chan struct{})}
	f.left.Store(after)
	if old := r.fault.Swap(f); old != nil {
		close(old.after)
	}
	return f
}

// carry carries one direction of a connection.
func (r *relay) carry(way direction, from, to *net.TCPConn) {
	defer func() {
		r.mu.Lock()
		delete(r.conns, from)
		r.mu.Unlock()
		from.Close()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !r.pass(way, buffer[:n], from, to) {
			return
		}
		if err != nil {
			_ = to.CloseWrite()
			// from is closed when the other direction has ended too.
			if errors.Is(err, io.EOF) {
				_, _ = io.Copy(io.Discard, from)
			}
			return
		}
	}
}

// pass hands bytes on, or does what is wrong with them. It reports false when the
// direction has ended.
func (r *relay) pass(way direction, p []byte, from, to *net.TCPConn) bool {
	f := r.fault.Load()
	f.seen[way].Add(int64(len(p)))
	if f.kind == sound || f.way != way {
		_, err := to.Write(p)
		return err == nil
	}
	if f.kind == drip {
		return f.drip(p, to)
	}
	left := f.left.Add(-int64(len(p)))
	if left > 0 {
		_, err := to.Write(p)
		return err == nil
	}
	if left+int64(len(p)) < 0 {
		left = -int64(len(p)) // all of it comes after the fault
	}
	whole := int64(len(p)) + left
	if _, err := to.Write(p[:whole]); err != nil {
		return false
	}
	switch f.kind {
	case delay:
		if whole > 0 {
			<-time.After(20 * time.Millisecond) // the fault itself
		}
		_, err := to.Write(p[whole:])
		return err == nil
	case resetOff:
		_ = from.SetLinger(0)
		_ = to.SetLinger(0)
		from.Close()
		to.Close()
	case cutOff:
		_ = to.CloseWrite()
		from.Close()
		to.Close()
	case halfClose:
		_ = to.CloseWrite()
		_, _ = io.Copy(io.Discard, from)
	case stall:
		<-f.after
		from.Close()
		to.Close()
	}
	return false
}

// drip hands bytes on one at a time, and later a few, so that it ends today.
func (f *fault) drip(p []byte, to net.Conn) bool {
	for len(p) > 0 {
		n := 1
		if f.left.Add(-1) < 0 && !soaking() {
			n = min(len(p), 1+int(-f.left.Load()%97))
		}
		if _, err := to.Write(p[:n]); err != nil {
			return false
		}
		p = p[n:]
	}
	return true
}

// faultOrigin serves every kind of message, and keeps what came of uploads.
type faultOrigin struct {
	mu      sync.Mutex
	uploads map[string][]upload
}

type upload struct {
	body  string
	whole bool
}

var (
	faultBytes = func() string {
		r := rand.New(rand.NewPCG(3, 4))
		b := make([]byte, 70_000)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}()
	faultPage   = shopPage + strings.Repeat("<p>Lorem ipsum dolor sit amet.</p>\n", 1500)
	faultEdited = strings.Replace(faultPage, "Welcome", "Hi", 1)
)

func (o *faultOrigin) serve(r *bufio.Reader, c net.Conn) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if req.Method == "POST" {
			o.mu.Lock()
			o.uploads[req.URL.Path] = append(o.uploads[req.URL.Path], upload{string(body), err == nil})
			o.mu.Unlock()
		}
		if err != nil {
			return
		}
		const head = "HTTP/1.1 200 OK\r\nX-Origin: yes\r\n"
		kind := strings.Split(req.URL.Path, "/")[1]
		switch kind {
		case "length":
			_, err = fmt.Fprintf(c, head+"Content-Length: %d\r\n\r\n%s", len(faultBytes), faultBytes)
		case "chunks":
			_, err = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n"+inChunks(faultBytes))
		case "page":
			_, err = io.WriteString(c, head+"Content-Type: text/html\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"+inChunks(faultPage))
		case "close":
			_, _ = io.WriteString(c, head+"Connection: close\r\n\r\n"+faultBytes)
			return
		default:
			text := fmt.Sprint("got ", len(body))
			_, err = fmt.Fprintf(c, head+"Content-Length: %d\r\n\r\n%s", len(text), text)
		}
		if err != nil {
			return
		}
	}
}

func inChunks(body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(len(body), 9000)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// faultBench is a node with a bad network on both sides.
type faultBench struct {
	t       *testing.T
	node    *node
	origin  *faultOrigin
	relays  [2]*relay // before and behind Sedge
	cookie  string
	counter *atomic.Int64
	idle    time.Duration
}

func newFaultBench(t *testing.T, over protocol, counter *atomic.Int64, idle time.Duration) *faultBench {
	b := &faultBench{t: t, origin: &faultOrigin{uploads: map[string][]upload{}}, counter: counter, idle: idle}
	b.relays[1] = newRelay(t, rawOrigin(t, b.origin.serve))
	p := text("#hero", "Hi")
	p.Triggers = []decision.Trigger{{Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "hero", Arm: "a"}}, Edits: []int{0}}}
	e := always(p)
	e.concerned = func(p *decision.Page) bool { return strings.HasPrefix(p.Path, "/page") }
	s := setup{over: over, engines: e, config: Config{IdleTimeout: idle, HeaderTimeout: idle, KeepAlive: 10 * time.Second}}
	s.up.IdleTimeout, s.up.HeaderTimeout = idle, idle
	b.node = start(t, b.relays[1].address(), s)
	b.relays[0] = newRelay(t, b.node.address())
	_, b.cookie = b.node.visitor()
	return b
}

// outcome is what a client saw.
type outcome struct {
	status int
	ours   bool // not the origin's answer
	body   string
	err    error
}

// whole reports whether the client takes it for the origin's complete answer.
func (o outcome) whole() bool { return o.err == nil && o.status == 200 && !o.ours }

// askThrough asks over the network before Sedge, with a connection of its own.
func (b *faultBench) askThrough(kind, path string, limit time.Duration) outcome {
	client := b.node.clientAt(b.t, b.relays[0].address())
	defer client.CloseIdleConnections()
	return b.ask(client, kind, path, limit)
}

func (b *faultBench) ask(client http.RoundTripper, kind, path string, limit time.Duration) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	method, body := "GET", io.Reader(nil)
	if strings.HasPrefix(kind, "upload") {
		method, body = "POST", io.MultiReader(strings.NewReader(faultBytes))
	}
	req, err := http.NewRequestWithContext(ctx, method, b.node.base+path, body)
	if err != nil {
		return outcome{err: err}
	}
	if kind == "upload" {
		req.ContentLength = int64(len(faultBytes))
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 Firefox/130.0")
	req.Header.Set("Cookie", b.cookie)
	resp, err := client.RoundTrip(req)
	if err != nil {
		return outcome{err: err}
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return outcome{resp.StatusCode, resp.Header.Get("X-Origin") == "", string(read), err}
}

func truth(kind string) string {
	switch kind {
	case "page":
		return faultEdited
	case "upload", "upload-chunks":
		return fmt.Sprint("got ", len(faultBytes))
	}
	return faultBytes
}

// faultCase is one thing that goes wrong.
type faultCase struct {
	kind  string // of message
	fault faultKind
	side  int // 0: before Sedge, 1: behind it
	way   direction
	at    int   // which of the places
	all   int64 // length of the message
}

// place returns after how many bytes of the message the fault comes.
func (c faultCase) place() int64 {
	return max(0, [...]int64{0, 10, c.all / 3, c.all / 2, c.all - 7, c.all - 1, c.all}[c.at])
}

func (c faultCase) String() string {
	return fmt.Sprintf("%s, %s of %s, %s, place %d", c.kind, c.fault, c.way, [...]string{"before Sedge", "behind Sedge"}[c.side], c.at)
}

func (b *faultBench) path(kind string) string {
	return fmt.Sprintf("/%s/%d", kind, b.counter.Add(1))
}

// length returns how many bytes a message has in the direction of a case. They are
// counted on a sound way: all messages of a kind are nearly alike.
func (b *faultBench) length(c faultCase) int64 {
	counted := b.relays[c.side].arm(sound, c.way, 0)
	got := b.askThrough(c.kind, b.path(c.kind), 20*time.Second)
	if !got.whole() || got.body != truth(c.kind) {
		b.t.Errorf("%s: %d %v, %d bytes", c, got.status, got.err, len(got.body))
	}
	return counted.seen[c.way].Load()
}

// run lets one thing go wrong and compares what both ends saw with the truth.
func (b *faultBench) run(c faultCase) {
	t := b.t
	path, limit := b.path(c.kind), 20*time.Second
	if c.fault == stall {
		limit = 2 * stalled // a stalled answer is all with the network
	}
	b.relays[c.side].arm(c.fault, c.way, c.place())
	before := b.deliveries()
	got := b.askThrough(c.kind, path, limit)
	b.relays[c.side].arm(sound, c.way, 0)
	b.check(c, path, got)
	b.checkDelivery(c, got, before)

	// Nothing of it is left: neither in the cache nor on a connection.
	for _, again := range []string{path, b.path("length")} {
		kind := strings.Split(again, "/")[1]
		if strings.HasPrefix(kind, "upload") {
			continue // once is enough to have a look at
		}
		got := b.ask(b.node.client.Transport, kind, again, 20*time.Second)
		for tries := 0; !got.whole() && b.idle == stalled && tries < 5; tries++ {
			// On a busy machine a sound message may take too long for this node.
			got = b.ask(b.node.client.Transport, kind, again, 20*time.Second)
		}
		if !got.whole() || got.body != truth(kind) {
			t.Errorf("%s: after it %s came as %d %v, %d bytes", c, kind, got.status, got.err, len(got.body))
		}
	}
}

func (b *faultBench) check(c faultCase, path string, got outcome) {
	t := b.t
	want := truth(c.kind)
	// Such a body ends where the connection does; only a reset tells a break.
	endless := c.kind == "close" && c.side == 1 && c.way == answers && (c.fault == cutOff || c.fault == halfClose)
	switch {
	case got.ours && got.status < 400 && got.err == nil:
		t.Errorf("%s: %d by us", c, got.status)
	case got.ours:
	case !strings.HasPrefix(want, got.body):
		t.Errorf("%s: the client got other bytes, %d of them", c, len(got.body))
	case got.whole() && got.body != want && !endless:
		t.Errorf("%s: %d of %d bytes came as a whole", c, len(got.body), len(want))
	}
	if (c.fault == sound || c.fault == drip || c.fault == delay) && (!got.whole() || got.body != want) {
		t.Errorf("%s: %d %v, %d bytes", c, got.status, got.err, len(got.body))
	}
	b.origin.mu.Lock()
	defer b.origin.mu.Unlock()
	uploads := b.origin.uploads[path]
	if len(uploads) > 1 {
		t.Errorf("%s: the origin got it %d times", c, len(uploads))
	}
	for _, u := range uploads {
		if u.whole && u.body != faultBytes || !strings.HasPrefix(faultBytes, u.body) {
			t.Errorf("%s: the origin got %d bytes, whole %v", c, len(u.body), u.whole)
		}
	}
	if strings.HasPrefix(c.kind, "upload") && got.whole() && len(uploads) != 1 {
		t.Errorf("%s: answered, and the origin has it %d times", c, len(uploads))
	}
}

// deliveries returns how many pages count as delivered, once nothing is under way.
func (b *faultBench) deliveries() int {
	stats := b.node.server.Stats()
	eventually(b.t, "nothing is under way", func() bool { return stats.Streams.Load() == 0 && stats.InFlight.Load() == 0 })
	return len(b.node.engines.recorded(event.Delivery))
}

// checkDelivery holds what counts as delivered against what came. On a sound way to
// the client that is the same; where the way breaks, one end cannot know of the other.
func (b *faultBench) checkDelivery(c faultCase, got outcome, before int) {
	if c.kind != "page" {
		return
	}
	seen := !got.ours && strings.Contains(got.body, "Hi")
	counted := b.deliveries() - before
	if seen != (counted == 1) && (c.side == 1 || got.whole()) || counted > 1 {
		b.t.Errorf("%s: %d deliveries, the edit came: %v, %d bytes, %v", c, counted, seen, len(got.body), got.err)
	}
}

func (b *faultBench) settle() {
	stats := b.node.server.Stats()
	b.node.client.CloseIdleConnections()
	eventually(b.t, "all is given back", func() bool {
		return stats.Connections.Load() == 0 && stats.Streams.Load() == 0 && stats.InFlight.Load() == 0 && b.node.site.Upstreams["origin"].Stats().Active == 0
	})
}

// Whatever the network does, on either side: the client sees exactly the origin's
// bytes or an error, the origin exactly the client's or a cut, and nothing of what
// broke is left anywhere.
func TestFaults(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, over protocol) {
		places := []int{0, 1, 3, 5}
		if soaking() {
			places = []int{0, 1, 2, 3, 4, 5, 6}
		}
		var counter atomic.Int64
		benches := faultBenches(4, func() *faultBench { return newFaultBench(t, over, &counter, 10*time.Second) })
		var quick, slow []faultCase
		for _, kind := range []string{"length", "chunks", "close", "page", "upload", "upload-chunks"} {
			for side := range 2 {
				for way := range 2 {
					c := faultCase{kind: kind, fault: sound, side: side, way: direction(way)}
					c.all = benches[0].length(c)
					for _, c.fault = range []faultKind{cutOff, resetOff, halfClose} {
						for _, c.at = range places {
							quick = append(quick, c)
						}
					}
					for _, c.fault = range []faultKind{delay, drip} {
						c.at = 2
						quick = append(quick, c)
					}
					for _, c.at = range []int{0, 3} {
						c.fault = stall
						slow = append(slow, c)
					}
				}
			}
		}
		waiting := faultBenches(len(slow), func() *faultBench { return newFaultBench(t, over, &counter, stalled) })
		var both sync.WaitGroup
		both.Go(func() { runFaults(quick, benches) })
		both.Go(func() { runFaults(slow, waiting) })
		both.Wait()
		for _, b := range append(benches, waiting...) {
			b.settle()
		}
	})
}

func faultBenches(n int, bench func() *faultBench) (all []*faultBench) {
	for range n {
		all = append(all, bench())
	}
	return all
}

// runFaults shares cases out to benches of their own.
func runFaults(cases []faultCase, benches []*faultBench) {
	var wait sync.WaitGroup
	var next atomic.Int64
	for _, b := range benches {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(cases)); i = next.Add(1) - 1 {
				b.run(cases[i])
			}
		})
	}
	wait.Wait()
}
