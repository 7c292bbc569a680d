package upstream

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
)

// clock stands still unless a test moves it.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) forward(d time.Duration) { c.nanos.Add(int64(d)) }

// named serves each request with the server's name, and reads bodies.
func named(name string) func(p *peer) {
	return func(p *peer) {
		for {
			head, ok := p.request()
			if !ok {
				return
			}
			readBody(p, head)
			p.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(name), name))
		}
	}
}

// servers makes an upstream of several origins on a clock that stands still.
func servers(t *testing.T, c *clock, origins []*rawOrigin, change ...func(*Config)) *Upstream {
	t.Helper()
	change = append([]func(*Config){func(cfg *Config) {
		cfg.URL = ""
		for _, o := range origins {
			cfg.Servers = append(cfg.Servers, Server{URL: o.url()})
		}
	}}, change...)
	return newUpstreamIn(t, Deps{Now: c.now}, "", change...)
}

// ask fetches once and returns the body, or the kind of error.
func ask(t testing.TB, u *Upstream, opts Options) string {
	_, body, err := fetch(u, get(t), nil, opts)
	if err != nil {
		return kindOf(err).String()
	}
	return body
}

func (u *Upstream) states() (states []State) {
	for _, s := range u.Status().Servers {
		states = append(states, s.State)
	}
	return states
}

func wantStates(t *testing.T, u *Upstream, want ...State) {
	t.Helper()
	if diff := cmp.Diff(want, u.states()); diff != "" {
		t.Fatalf("states (-want +got):\n%s", diff)
	}
}

func TestServersTakeTurnsByWeight(t *testing.T) {
	origins := []*rawOrigin{newOrigin(t, named("a")), newOrigin(t, named("b"))}
	u := servers(t, newClock(), origins, func(c *Config) { c.Servers[0].Weight = new(3) })
	got := ""
	for range 8 {
		got += ask(t, u, Options{})
	}
	if got != "aabaaaba" {
		t.Errorf("turns %s, want each weight spread out", got)
	}
}

// The reason of retries: a server that is gone costs nobody a request that was not
// sent, whatever its method.
func TestUnsentRequestsGoToAnotherServer(t *testing.T) {
	gone := newOrigin(t, named("gone"))
	origins := []*rawOrigin{gone, newOrigin(t, named("b"))}
	gone.close()
	u := servers(t, newClock(), origins, func(c *Config) { c.Ejection.Disabled = true })
	for i := range 6 {
		content := strings.Repeat("x", 1+i*10_000) // small ones and streamed ones
		status, body, err := fetch(u, post(t, len(content)), strings.NewReader(content), Options{})
		if status != 200 || body != "b" || err != nil {
			t.Fatalf("POST of %d bytes: %d %q %v", len(content), status, body, err)
		}
	}
	if got := u.Status(); got.Retries != 3 || got.Servers[0].Errors[Dial] != 3 || got.Servers[1].Requests != 6 {
		t.Errorf("status %+v, want three of six requests moved", got)
	}
	last := origins[1].received()
	if want := "Host: " + strings.TrimPrefix(origins[1].url(), "http://"); !strings.Contains(last[0], want) {
		t.Errorf("the moved request says %q, want %q", last[0], want)
	}
}

func TestWhatWasSentIsSentAgainOnlyIfHarmless(t *testing.T) {
	closing := func(p *peer) {
		if _, ok := p.request(); ok {
			return
		}
	}
	for _, test := range []struct {
		name, request, want string
		bad                 func(p *peer)
	}{
		{"GET, closed without an answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "b", closing},
		{"HEAD, closed without an answer", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "", closing},
		{"DELETE", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "closed", closing},
		{"POST", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "closed", closing},
		{"GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "closed", closing},
		{"GET, half an answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "closed", func(p *peer) { p.request(); p.send("HTTP/1.1") }},
		{"GET, wrong answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed", func(p *peer) { p.request(); p.send("HTTP/3 200\r\n\r\n") }},
		{"GET, silence", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "timeout", func(p *peer) { p.request(); p.gone() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			origins := []*rawOrigin{newOrigin(t, test.bad), newOrigin(t, named("b"))}
			u := servers(t, newClock(), origins, func(c *Config) {
				if test.want == "timeout" { // the others may take their time
					c.HeaderTimeout = 60 * time.Millisecond
				}
			})
			_, got, err := fetch(u, prepared(t, test.request, PrepareOptions{Host: "a"}), strings.NewReader("x"), Options{})
			if err != nil {
				got = kindOf(err).String()
			}
			if got != test.want {
				t.Errorf("got %q %v, want %q", got, err, test.want)
			}
			var e *Error
			if errors.As(err, &e) && !strings.Contains(origins[0].url(), e.Server) {
				t.Errorf("the error names %q", e.Server)
			}
		})
	}
}

func TestRequestIsSentTwiceAtMost(t *testing.T) {
	closing := func(p *peer) { p.request() }
	origins := []*rawOrigin{newOrigin(t, closing), newOrigin(t, closing), newOrigin(t, closing)}
	u := servers(t, newClock(), origins)
	if got := ask(t, u, Options{}); got != "closed" {
		t.Errorf("got %s", got)
	}
	total := 0
	for _, o := range origins {
		total += len(o.received())
	}
	if total != 2 {
		t.Errorf("sent %d times, want twice", total)
	}
}

// A kept connection that breaks may just have been idle for too long, so its server
// is asked again; a server that breaks the new one too is left.
func TestDyingServerIsLeft(t *testing.T) {
	dying := newOrigin(t, func(p *peer) {
		if _, ok := p.request(); ok && p.number == 1 {
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
			p.request()
		}
	})
	other := newOrigin(t, named("b"))
	u := servers(t, newClock(), []*rawOrigin{dying, other}, func(c *Config) { c.Servers[1].Backup = true })
	if a, b := ask(t, u, Options{}), ask(t, u, Options{}); a != "a" || b != "b" {
		t.Errorf("got %s, then %s", a, b)
	}
	if n := len(dying.received()); n != 3 || len(other.received()) != 1 {
		t.Errorf("the dying server got %d requests, the other %d", n, len(other.received()))
	}
}

func TestFailingServerIsEjectedAndComesBackSlowly(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	good := named("a")
	origins := []*rawOrigin{
		newOrigin(t, func(p *peer) {
			if broken.Load() {
				p.request()
				return
			}
			good(p)
		}),
		newOrigin(t, named("b")), newOrigin(t, named("c")),
	}
	c := newClock()
	u := servers(t, c, origins, func(c *Config) { c.Ejection.Failures = 2 })
	for range 9 {
		if got := ask(t, u, Options{}); got != "b" && got != "c" {
			t.Fatalf("got %s", got)
		}
	}
	wantStates(t, u, Ejected, Up, Up)
	if n := len(origins[0].received()); n != 2 {
		t.Errorf("the ejected server got %d requests, want as many as it may fail", n)
	}
	// Still broken after its time: one more failure is enough, and it is longer out.
	c.forward(10 * time.Second)
	for range 60 {
		ask(t, u, Options{})
	}
	wantStates(t, u, Ejected, Up, Up)
	if n := len(origins[0].received()); n != 3 {
		t.Errorf("the ejected server got %d requests, want one more", n)
	}
	c.forward(10 * time.Second)
	wantStates(t, u, Ejected, Up, Up)
	broken.Store(false)
	c.forward(10 * time.Second)
	wantStates(t, u, SlowStart, Up, Up)
	count := func() (n int) {
		for range 210 {
			if ask(t, u, Options{}) == "a" {
				n++
			}
		}
		return n
	}
	if n := count(); n < 8 || n > 12 {
		t.Errorf("%d of 210 requests just after it is back, want a tenth of its share", n)
	}
	c.forward(5 * time.Second)
	if n := count(); n < 40 || n > 44 {
		t.Errorf("%d of 210 requests half-way, want half of its share", n)
	}
	c.forward(5 * time.Second)
	wantStates(t, u, Up, Up, Up)
	if n := count(); n < 69 || n > 71 {
		t.Errorf("%d of 210 requests in the end, want a third", n)
	}
	if n := u.Status().Servers[0].Ejections; n != 2 {
		t.Errorf("%d ejections are counted", n)
	}
}

func TestNotAllServersAreEjected(t *testing.T) {
	var origins []*rawOrigin
	for range 4 {
		origins = append(origins, newOrigin(t, func(p *peer) { p.request(); p.gone() }))
	}
	c := newClock()
	u := servers(t, c, origins, func(c *Config) {
		c.HeaderTimeout, c.Ejection.Failures = 20*time.Millisecond, 1
		c.Breaker.Disabled = true
	})
	for range 2 {
		ask(t, u, Options{})
	}
	wantStates(t, u, Ejected, Ejected, Up, Up)
	for range 2 {
		ask(t, u, Options{})
	}
	wantStates(t, u, Ejected, Ejected, Up, Up) // half of them, as the settings say
}

func TestWhenTheLastServerFailsAllAreTried(t *testing.T) {
	a, b := newOrigin(t, named("a")), newOrigin(t, named("b"))
	u := servers(t, newClock(), []*rawOrigin{a, b}, func(c *Config) { c.Ejection.Failures = 1; c.Retry.Disabled = true })
	a.close()
	for range 2 {
		ask(t, u, Options{})
	}
	wantStates(t, u, Ejected, Up)
	b.close()
	if got := ask(t, u, Options{}); got != "dial" {
		t.Errorf("got %s", got)
	}
	for _, s := range u.states() {
		if s == Ejected {
			t.Errorf("states %v, want both tried", u.states())
		}
	}
}

func TestStatusesThatEject(t *testing.T) {
	bad := "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
	origins := []*rawOrigin{newOrigin(t, answering(bad)), newOrigin(t, named("b"))}
	for _, test := range []struct {
		statuses []int
		want     State
	}{{nil, Up}, {[]int{500}, Up}, {[]int{502, 503}, Ejected}} {
		u := servers(t, newClock(), origins, func(c *Config) { c.Ejection.Failures, c.Ejection.Statuses = 2, test.statuses })
		for range 6 {
			ask(t, u, Options{})
		}
		wantStates(t, u, test.want, Up)
	}
}

func TestBackupsWaitForTheOthers(t *testing.T) {
	a, b := newOrigin(t, named("a")), newOrigin(t, named("b"))
	u := servers(t, newClock(), []*rawOrigin{b, a}, func(c *Config) { c.Servers[0].Backup, c.Ejection.Failures = true, 2 })
	for range 4 {
		if got := ask(t, u, Options{}); got != "a" {
			t.Fatalf("got %s", got)
		}
	}
	a.close()
	for range 4 {
		if got := ask(t, u, Options{}); got != "b" {
			t.Fatalf("got %s", got)
		}
	}
}

// Backups are for servers that are down, not for busy ones.
func TestBackupsAreNoRelief(t *testing.T) {
	u := balanced(t, RoundRobin, nil, 1, 1)
	u.members[1].backup = true
	for range cap(u.members[0].pool.slots) {
		u.members[0].pool.slots <- struct{}{}
	}
	if got := u.pick(0, 0); got != 0 {
		t.Errorf("picked %d", got)
	}
}

func TestUnsentRequestsTryFewServers(t *testing.T) {
	var origins []*rawOrigin
	for range 5 {
		o := newOrigin(t, named("gone"))
		o.close()
		origins = append(origins, o)
	}
	u := servers(t, newClock(), origins)
	if got := ask(t, u, Options{}); got != "dial" {
		t.Errorf("got %s", got)
	}
	if got := u.Status().Retries; got != mostMoves {
		t.Errorf("%d retries", got)
	}
}

// A full server is passed over while another has room.
func TestFullServersArePassedOver(t *testing.T) {
	release := make(chan struct{})
	slow := newOrigin(t, func(p *peer) {
		if _, ok := p.request(); ok {
			<-release
			p.send(okHello)
		}
	})
	u := servers(t, newClock(), []*rawOrigin{slow, newOrigin(t, named("b"))}, func(c *Config) { c.MaxConns = 1 })
	done, req := make(chan struct{}), get(t)
	go func() {
		defer close(done)
		fetch(u, req, nil, Options{})
	}()
	eventually(t, "the slow server is full", func() bool { return len(slow.received()) == 1 })
	for range 4 {
		if got := ask(t, u, Options{}); got != "b" {
			t.Errorf("got %s", got)
		}
	}
	close(release)
	<-done
}

func TestRetriesAreBounded(t *testing.T) {
	gone := newOrigin(t, named("gone"))
	origins := []*rawOrigin{gone, newOrigin(t, named("b"))}
	gone.close()
	c := newClock()
	u := servers(t, c, origins, func(c *Config) {
		c.Ejection.Disabled, c.Retry.Budget, c.Retry.MinPerSecond = true, new(decision.Share(0.1)), new(1)
	})
	failed := 0
	for range 200 {
		if ask(t, u, Options{}) != "b" {
			failed++
		}
	}
	// A hundred find the dead server; ten seconds allow ten retries, and a tenth of
	// the requests so far.
	s := u.Status()
	if s.Retries < 27 || s.Retries > 31 || failed != 100-int(s.Retries) || s.OverBudget != uint64(failed) {
		t.Errorf("%d retries, %d refused, %d failed", s.Retries, s.OverBudget, failed)
	}
	c.forward(10 * time.Second)
	for range 10 {
		if got := ask(t, u, Options{}); got != "b" {
			t.Fatalf("ten seconds later: %s", got)
		}
	}
}

// One of three servers is killed under load and comes back: nobody notices.
func TestKilledServerCostsNoRequest(t *testing.T) {
	names := []string{"a", "b", "c"}
	origins := make([]*rawOrigin, len(names))
	for i, name := range names {
		origins[i] = newOrigin(t, named(name))
	}
	cfg := func(c *Config) { c.Ejection.Time, c.SlowStart = 50*time.Millisecond, 50*time.Millisecond }
	for _, balance := range []string{RoundRobin, LeastConnections, ByVisitor} {
		t.Run(balance, func(t *testing.T) {
			victim := newOrigin(t, named("victim"))
			address := victim.listener.Addr().String()
			u := servers(t, newClock(), append(origins[:2:2], victim), cfg, func(c *Config) { c.Balance = balance })
			u.now = time.Now
			var load sync.WaitGroup
			var stop atomic.Bool
			var asked, byVictim atomic.Int64
			for worker := range 8 {
				load.Go(func() {
					for i := 0; !stop.Load(); i++ {
						resp, req := &fasthttp.Response{}, get(t)
						err := u.Do(req, resp, nil, Options{Visitor: fmt.Sprint(worker, i)})
						if err != nil {
							t.Errorf("a request failed: %v", err)
							return
						}
						body, _ := io.ReadAll(resp.BodyStream())
						resp.CloseBodyStream()
						asked.Add(1)
						if string(body) == "victim" {
							byVictim.Add(1)
						}
					}
				})
			}
			defer load.Wait()
			defer stop.Store(true)
			eventually(t, "all get their share", func() bool { return byVictim.Load() > 50 || t.Failed() })
			victim.close()
			before := asked.Load()
			eventually(t, "the load goes on", func() bool { return asked.Load() > before+300 || t.Failed() })
			again := newOriginAt(t, address, named("victim"))
			eventually(t, "it gets its share again", func() bool { return len(again.received()) > 50 || t.Failed() })
		})
	}
}

func TestSuccessorKeepsConnectionsAndHealth(t *testing.T) {
	origins := []*rawOrigin{newOrigin(t, named("a")), newOrigin(t, named("b")), newOrigin(t, named("c"))}
	c := newClock()
	first := servers(t, c, origins, func(c *Config) { c.Ejection.Failures = 1 })
	for range 3 {
		ask(t, first, Options{})
	}
	first.blamed(first.members[0])
	wantStates(t, first, Ejected, Up, Up)

	// The weights change, and the last server goes.
	cfg := first.cfg
	cfg.Servers = []Server{{URL: origins[0].url()}, {URL: origins[1].url(), Weight: new(5)}}
	second, err := first.With(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	wantStates(t, second, Ejected, Up)
	if got := second.Stats(); got.Idle != 2 {
		t.Errorf("connections %+v, want those of the servers that stay", got)
	}
	first.Close()
	if got := ask(t, second, Options{}); got != "b" {
		t.Errorf("got %s", got)
	}
	if n := origins[1].connections(); n != 1 {
		t.Errorf("%d connections were made, want the first kept", n)
	}
	if got := first.members[2].pool.stats(); got != (Stats{}) {
		t.Errorf("the server that went has connections %+v", got)
	}
	// Another time limit makes other connections.
	cfg.KeepAlive = time.Second
	third, err := second.With(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if third.Stats() != (Stats{}) || second.Stats() == (Stats{}) {
		t.Error("a server with other settings shares connections")
	}
}
