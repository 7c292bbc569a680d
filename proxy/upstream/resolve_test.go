package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// names is a resolver that a test teaches.
type names struct {
	mu        sync.Mutex
	addresses []netip.Addr
	err       error
	asked     int
}

func (n *names) lookUp(context.Context, string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.addresses, n.err
}

func (n *names) teach(err error, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err, n.addresses = err, nil
	for _, a := range addresses {
		n.addresses = append(n.addresses, netip.MustParseAddr(a))
	}
}

func (n *names) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// moving makes an upstream at a name whose addresses are the origins by this map.
func moving(t *testing.T, c *clock, n *names, at map[string]*rawOrigin, change ...func(*Config)) *Upstream {
	t.Helper()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(address)
		o := at[host]
		if o == nil {
			return nil, errors.New("connection refused")
		}
		return (&net.Dialer{}).DialContext(ctx, network, o.listener.Addr().String())
	}
	change = append(change, func(c *Config) { c.KeepAlive = time.Hour })
	return newUpstreamIn(t, Deps{Now: c.now, LookUp: n.lookUp, Dial: dial}, "http://origin.example:8080", change...)
}

func TestNamesAreLookedUpAnew(t *testing.T) {
	a, b := newOrigin(t, named("a")), newOrigin(t, named("b"))
	c, n := newClock(), &names{}
	u := moving(t, c, n, map[string]*rawOrigin{"192.0.2.1": a, "192.0.2.2": b})
	n.teach(nil, "192.0.2.1")
	if got := ask(t, u, Options{}); got != "a" {
		t.Fatalf("got %s", got)
	}
	// The address changes; the kept connection is used until the name is due.
	n.teach(nil, "192.0.2.2")
	if got := ask(t, u, Options{}); got != "a" || n.count() != 1 {
		t.Fatalf("got %s after %d look-ups", got, n.count())
	}
	c.forward(30 * time.Second)
	eventually(t, "the new address gets the requests", func() bool { return ask(t, u, Options{}) == "b" })
	if got := u.Stats(); got.Idle != 1 {
		t.Errorf("connections %+v, want the one to the old address closed", got)
	}
	// A look-up that fails, or finds nothing, changes nothing.
	for _, err := range []error{errors.New("no such host"), nil} {
		before := n.count()
		n.teach(err)
		// The look-up before may not have ended yet: then this is not the time of the next.
		eventually(t, "the name is looked up", func() bool {
			c.forward(30 * time.Second)
			ask(t, u, Options{})
			return n.count() > before
		})
		if got := ask(t, u, Options{}); got != "b" {
			t.Errorf("got %s", got)
		}
	}
}

func TestConnectionToAddressThatIsGoneIsNotKept(t *testing.T) {
	a, b := newOrigin(t, named("a")), newOrigin(t, named("b"))
	n := &names{}
	u := moving(t, newClock(), n, map[string]*rawOrigin{"192.0.2.1": a, "192.0.2.2": b})
	n.teach(nil, "192.0.2.1")
	p := u.members[0].pool
	c, err := p.acquire(false, false, "")
	if err != nil {
		t.Fatal(err)
	}
	ask(t, u, Options{}) // over another one, which is idle then
	n.teach(nil, "192.0.2.2")
	if err := p.names.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := u.Stats(); got != (Stats{Active: 1}) {
		t.Errorf("connections %+v, want the idle one closed", got)
	}
	c.release(true)
	if got := u.Stats(); got != (Stats{}) {
		t.Errorf("connections %+v", got)
	}
}

func TestAddressesShareAndReplaceOneAnother(t *testing.T) {
	a, b := newOrigin(t, named("a")), newOrigin(t, named("b"))
	at := map[string]*rawOrigin{"192.0.2.1": a, "2001:db8::2": b}
	c, n := newClock(), &names{}
	u := moving(t, c, n, at)
	n.teach(nil, "192.0.2.1", "2001:db8::2")
	closing := func() string { // over a connection of its own
		got := ask(t, u, Options{})
		u.members[0].pool.mu.Lock()
		u.members[0].pool.dropIdle(len(u.members[0].pool.idle))
		u.members[0].pool.mu.Unlock()
		return got
	}
	if x, y := closing(), closing(); x == y {
		t.Errorf("both connections went to %s", x)
	}
	delete(at, "192.0.2.1")
	for range 4 {
		if got := closing(); got != "b" {
			t.Errorf("got %s", got)
		}
	}
	// None can be reached: the name is looked up at once.
	delete(at, "2001:db8::2")
	at["192.0.2.3"] = a
	n.teach(nil, "192.0.2.3")
	if got := closing(); got != "dial" {
		t.Errorf("got %s within a second of the last look-up", got)
	}
	c.forward(time.Second)
	if got := closing(); got != "a" {
		t.Errorf("got %s", got)
	}
}

func TestNameThatIsUnknown(t *testing.T) {
	n := &names{}
	u := moving(t, newClock(), n, nil)
	for _, err := range []error{errors.New("no such host"), nil} {
		n.teach(err)
		if got := ask(t, u, Options{}); got != "dial" {
			t.Errorf("got %s", got)
		}
	}
}

func TestResolverThatPanics(t *testing.T) {
	n := &names{}
	c := newClock()
	o := newOrigin(t, named("a"))
	u := moving(t, c, n, map[string]*rawOrigin{"192.0.2.1": o})
	n.teach(nil, "192.0.2.1")
	ask(t, u, Options{})
	names := u.members[0].pool.names
	asked := make(chan struct{}, 1)
	names.lookUp = func(context.Context, string) ([]netip.Addr, error) { asked <- struct{}{}; panic("torn") }
	c.forward(time.Minute)
	if got := ask(t, u, Options{}); got != "a" {
		t.Errorf("got %s", got)
	}
	<-asked
	eventually(t, "the next look-up may begin", func() bool {
		names.mu.Lock()
		defer names.mu.Unlock()
		return !names.busy
	})
}
