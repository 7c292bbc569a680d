package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

var (
	errClosed = errors.New("the upstream is shut down")
	errBusy   = errors.New("all connections are in use")
)

// longPerConn is how many exchanges there may be that last as long as the client
// likes, for each of the connections that others have.
const longPerConn = 16

// pool lends out connections to one server. An exchange holds a lease for as long as
// it lasts, and a connection is dialed only when none is idle, so there are never
// more connections than slots, but for those of exchanges that last long.
type pool struct {
	id          serverID
	origin      origin
	credentials *credentials // nil for a plain origin
	names       *addresses   // nil where the URL holds an address
	now         func() time.Time
	connect     func(ctx context.Context, network, address string) (net.Conn, error)
	slots       chan struct{}
	long        chan struct{} // of exchanges that last as long as the client likes
	waiting     chan struct{}
	uploads     *uploads
	answers     answers
	streams     *streamConns    // over HTTP/2, in the place of idle; nil over HTTP/1.1
	alive       context.Context // until close
	end         context.CancelFunc

	mu      sync.Mutex
	idle    []*conn // the most recently used last
	sweeper *time.Timer
	closed  bool
}

func newPool(cfg *Config, id serverID, o origin, deps *Deps) (*pool, error) {
	p := &pool{
		id: id, origin: o, now: deps.Now, connect: deps.Dial,
		slots:   make(chan struct{}, id.maxConns),
		long:    make(chan struct{}, longPerConn*id.maxConns),
		waiting: make(chan struct{}, id.maxPending),
		uploads: newUploads(id.maxConns, id.maxPending),
	}
	if o.secure {
		var err error
		if p.credentials, err = newCredentials(cfg, deps); err != nil {
			return nil, err
		}
	}
	if _, err := netip.ParseAddr(o.name); err != nil {
		p.names = &addresses{
			name: o.name, port: o.port, every: id.resolve, limit: id.dial, now: deps.Now, lookUp: deps.LookUp, changed: p.dropGone,
		}
	}
	p.alive, p.end = context.WithCancel(context.Background())
	if id.protocol != HTTP1 {
		p.streams = newStreamConns(p)
	}
	return p, nil
}

// acquire enters, then takes an idle connection, or dials one if there is none or
// fresh is asked for. name is the client's host, where the origin's certificate must
// hold that.
func (p *pool) acquire(fresh, sends bool, name string) (*conn, error) {
	l, now, err := p.enter(sends)
	if err != nil {
		return nil, err
	}
	if !fresh {
		for c := p.pop(now, name); c != nil; c = p.pop(now, name) {
			// Otherwise it shows when the request is sent.
			if !sends && c.waits() || c.quiet() {
				c.reused, c.lease = true, l
				return c, nil
			}
			c.Close()
		}
	}
	p.makeRoom()
	c, err := p.dial(context.Background(), name)
	if err != nil {
		l.leave()
		return nil, err
	}
	c.lease = l
	return c, nil
}

// lease is an exchange's place among those with a server.
type lease struct {
	pool  *pool
	sends bool // a body as it comes
	long  bool // it holds no slot
}

// enter waits for a slot, and returns since when there is one. sends says that it is for
// a body that is sent as it comes.
func (p *pool) enter(sends bool) (lease, time.Time, error) {
	if sends {
		if err := p.uploads.enter(p.id.dial); err != nil {
			return lease{}, time.Time{}, &Error{Op: "wait for a connection", Kind: Busy, Server: p.origin.address, Err: err}
		}
	}
	if err := p.takeSlot(); err != nil {
		if sends {
			p.uploads.leave()
		}
		return lease{}, time.Time{}, err
	}
	now := p.now()
	if p.names != nil {
		p.names.keepFresh(p.alive, now)
	}
	return lease{pool: p, sends: sends}, now, nil
}

// leave gives the place back.
func (l *lease) leave() {
	if l.sends {
		l.pool.uploads.leave()
	}
	if l.long {
		<-l.pool.long
	} else {
		<-l.pool.slots
	}
}

// prolong gives the slot of an exchange back that will last as long as the client
// likes, and needs little of the server: a few hundred of them would else leave no
// slot for anybody. Where there are too many of them already, it keeps its slot.
func (l *lease) prolong() {
	if l.long {
		return
	}
	select {
	case l.pool.long <- struct{}{}:
		l.long = true
		<-l.pool.slots
	default:
	}
}

// active is how many exchanges there are.
func (p *pool) active() int { return len(p.slots) + len(p.long) }

// hasRoom reports whether a connection can be had without waiting.
func (p *pool) hasRoom() bool { return len(p.slots) < cap(p.slots) }

// makeRoom keeps a connection that is dialed beside idle ones within the limit.
func (p *pool) makeRoom() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if over := len(p.idle) + len(p.slots) - p.id.maxConns; over > 0 {
		p.dropIdle(min(over, len(p.idle)))
	}
}

func (p *pool) takeSlot() error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.waiting <- struct{}{}:
		defer func() { <-p.waiting }()
	default:
		return &Error{Op: "wait for a connection", Kind: Busy, Server: p.origin.address, Err: errBusy}
	}
	for left := p.id.dial; left > 0; left -= slowTurn / 2 {
		p.answers.giveWay(time.Now())
		select {
		case p.slots <- struct{}{}:
			return nil
		case <-time.After(min(left, slowTurn/2)):
		}
	}
	return &Error{Op: "wait for a connection", Kind: Busy, Server: p.origin.address, Err: errBusy}
}

// pop returns nil when no connection for that name is idle for a shorter time than
// the origin may keep it.
func (p *pool) pop(now time.Time, name string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	for i := n - 1; i >= 0; i-- {
		c := p.idle[i]
		if now.Sub(c.idleFrom) >= p.id.keepAlive {
			p.dropIdle(i + 1)
			return nil
		}
		if c.name == name {
			p.idle = slices.Delete(p.idle, i, i+1)
			return c
		}
	}
	return nil
}

// dropIdle closes the n connections that are unused for longest. The caller
// holds mu.
func (p *pool) dropIdle(n int) {
	for _, c := range p.idle[:n] {
		c.Close()
	}
	left := copy(p.idle, p.idle[n:])
	clear(p.idle[left:])
	p.idle = p.idle[:left]
}

// dropGone closes idle connections to addresses that the server no longer has.
func (p *pool) dropGone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		gone := !p.names.has(c.address)
		if gone {
			c.Close()
		}
		return gone
	})
	if p.streams != nil {
		p.streams.retire(func(c *streamConn) bool { return !p.names.has(c.address) })
	}
}

// dial makes a connection, ready for requests.
func (p *pool) dial(ctx context.Context, name string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.id.dial)
	defer cancel()
	nc, address, err := p.open(ctx, name, nil)
	if err != nil {
		return nil, err
	}
	c := newConn(nc, p.id.idle)
	c.pool, c.name, c.address = p, name, address
	return c, nil
}

// open connects, with TLS if the origin wants it. Addresses to avoid are tried after
// the others; nil avoids none.
func (p *pool) open(ctx context.Context, name string, avoid []string) (net.Conn, string, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, "", p.fail("dial", errClosed)
	}
	nc, address, err := p.reach(ctx, avoid)
	if err != nil {
		return nil, "", p.fail("dial", err)
	}
	if p.credentials != nil {
		secure := tls.Client(nc, p.credentials.forName(p.serverName(name)))
		if err := secure.HandshakeContext(ctx); err != nil {
			nc.Close()
			if name != "" {
				err = hideName(err)
			}
			return nil, "", p.fail("TLS handshake", err)
		}
		nc = secure
	}
	return nc, address, nil
}

// serverName is the name that the certificate must hold.
func (p *pool) serverName(client string) string {
	switch {
	case p.id.serverName != "":
		return p.id.serverName
	case client != "":
		return client
	case p.id.host == HostUpstream || p.id.host == HostClient:
		return p.origin.name
	}
	return hostOnly(p.id.host)
}

// clientName is the part of the client's host by which connections are kept apart:
// "" unless the certificate must hold it.
func (p *pool) clientName(host []byte) string {
	if p.credentials == nil || p.id.host != HostClient || p.id.serverName != "" {
		return ""
	}
	return hostOnly(string(host))
}

// reach connects to one of the server's addresses, trying one after the other. If
// none can be reached, the server may have moved: its name is looked up once more.
func (p *pool) reach(ctx context.Context, avoid []string) (net.Conn, string, error) {
	if p.names == nil {
		nc, err := p.connect(ctx, "tcp", p.origin.address)
		return nc, p.origin.address, err
	}
	stale := p.names.stale()
	nc, address, err := p.reachOneOf(ctx, avoid)
	if err == nil || !stale || ctx.Err() != nil || p.names.refresh(ctx) != nil {
		return nc, address, err
	}
	return p.reachOneOf(ctx, avoid)
}

func (p *pool) reachOneOf(ctx context.Context, avoid []string) (net.Conn, string, error) {
	order, err := p.names.order(ctx, avoid)
	if err != nil {
		return nil, "", err
	}
	for i, address := range order {
		var nc net.Conn
		if nc, err = p.connectWithin(ctx, address, len(order)-i); err == nil {
			return nc, address, nil
		}
		p.names.failed(address)
	}
	return nil, "", err
}

// addresses is how many there are to connect to.
func (p *pool) addresses() int {
	if p.names == nil {
		return 1
	}
	return p.names.reachable()
}

// connectWithin leaves time for the other addresses.
func (p *pool) connectWithin(ctx context.Context, address string, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return p.connect(ctx, "tcp", address)
}

// fail names the server in the error of a connection that was not made.
func (p *pool) fail(op string, err error) *Error {
	return &Error{Op: op, Kind: dialKind(err), Server: p.origin.address, Err: err}
}

func dialKind(err error) Kind {
	if isTimeout(err) {
		return Timeout
	}
	return Dial
}

// release takes a connection back. It is kept only if reuse says that both
// directions ended cleanly and the origin has sent nothing more.
func (p *pool) release(c *conn, reuse bool) {
	l := c.lease // before another exchange has the connection
	clean := c.inbox.isEmpty()
	c.inbox.release()
	if !reuse || l.long || c.sendErr != nil || !clean || !c.waits() && c.disarm() != nil || !p.push(c) {
		c.Close()
	}
	l.leave()
}

func (p *pool) push(c *conn) bool {
	c.ReadIdle, c.InMessage, c.Gone, c.unsent = 0, false, nil, nil
	if cap(c.head) > keptHead {
		c.head = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.names != nil && !p.names.has(c.address) {
		return false
	}
	c.idleFrom = p.now()
	p.idle = append(p.idle, c)
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.id.keepAlive, p.sweep)
	}
	return true
}

// sweep closes what was unused for KeepAlive, and comes back while anything is
// left.
func (p *pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	now, n := p.now(), 0
	for n < len(p.idle) && now.Sub(p.idle[n].idleFrom) >= p.id.keepAlive {
		n++
	}
	p.dropIdle(n)
	if len(p.idle) == 0 {
		p.sweeper = nil
		return
	}
	left := p.id.keepAlive - now.Sub(p.idle[0].idleFrom)
	p.sweeper.Reset(max(left, time.Millisecond))
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.end()
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.dropIdle(len(p.idle))
	if p.streams != nil {
		p.streams.retire(func(*streamConn) bool { return true })
	}
}

func (p *pool) stats() Stats {
	if p.streams != nil {
		return p.streams.stats()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Active: p.active(), Idle: len(p.idle)}
}
