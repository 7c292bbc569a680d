package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

var (
	errClosed = errors.New("the upstream is shut down")
	errBusy   = errors.New("all connections are in use")
)

// spareWaiters is how many more than MaxConns may wait for a connection, so that
// a small limit does not refuse what would be served at once.
const spareWaiters = 256

// pool lends out connections. An exchange holds a slot for as long as it lasts,
// and a connection is dialed only when none is idle, so there are never more
// connections than slots.
type pool struct {
	cfg     *Config
	origin  origin
	tls     *tls.Config
	now     func() time.Time
	connect func(ctx context.Context, network, address string) (net.Conn, error)
	slots   chan struct{}
	waiting chan struct{}

	mu      sync.Mutex
	idle    []*conn // the most recently used last
	sweeper *time.Timer
	closed  bool
}

func newPool(cfg *Config, o origin, settings *tls.Config, now func() time.Time) *pool {
	dialer := &net.Dialer{KeepAlive: 30 * time.Second}
	return &pool{
		cfg: cfg, origin: o, tls: settings, now: now, connect: dialer.DialContext,
		slots:   make(chan struct{}, cfg.MaxConns),
		waiting: make(chan struct{}, cfg.MaxConns+spareWaiters),
	}
}

// acquire waits for a slot, then takes an idle connection, or dials one if there
// is none or fresh is asked for.
func (p *pool) acquire(fresh bool) (*conn, error) {
	if err := p.takeSlot(); err != nil {
		return nil, err
	}
	if fresh {
		p.makeRoom()
	} else {
		for c := p.pop(); c != nil; c = p.pop() {
			if c.quiet() {
				c.reused = true
				return c, nil
			}
			c.Close()
		}
	}
	c, err := p.dial()
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

// makeRoom keeps a connection that is dialed beside idle ones within the limit.
func (p *pool) makeRoom() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if over := len(p.idle) + len(p.slots) - p.cfg.MaxConns; over > 0 {
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
		return &Error{Op: "wait for a connection", Kind: Busy, Err: errBusy}
	}
	timer := time.NewTimer(p.cfg.DialTimeout)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return &Error{Op: "wait for a connection", Kind: Busy, Err: errBusy}
	}
}

// pop returns nil when no connection is idle for a shorter time than KeepAlive.
func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	if p.now().Sub(c.idleFrom) >= p.cfg.KeepAlive {
		p.dropIdle(n)
		return nil
	}
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
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

// dial looks the name up anew each time, so that a moved origin is found.
func (p *pool) dial() (*conn, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, &Error{Op: "dial", Kind: Dial, Err: errClosed}
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.DialTimeout)
	defer cancel()
	nc, err := p.connect(ctx, "tcp", p.origin.address)
	if err != nil {
		return nil, &Error{Op: "dial", Kind: dialKind(err), Err: err}
	}
	if p.tls != nil {
		secure := tls.Client(nc, p.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, &Error{Op: "TLS handshake", Kind: dialKind(err), Err: err}
		}
		nc = secure
	}
	return newConn(nc, p.cfg.IdleTimeout), nil
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
	if !reuse || c.br.Buffered() > 0 || c.Conn.SetDeadline(time.Time{}) != nil || !p.push(c) {
		c.Close()
	}
	<-p.slots
}

func (p *pool) push(c *conn) bool {
	c.ReadIdle, c.InMessage = 0, false
	if cap(c.head) > readBufferSize {
		c.head = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	c.idleFrom = p.now()
	p.idle = append(p.idle, c)
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.cfg.KeepAlive, p.sweep)
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
	for n < len(p.idle) && now.Sub(p.idle[n].idleFrom) >= p.cfg.KeepAlive {
		n++
	}
	p.dropIdle(n)
	if len(p.idle) == 0 {
		p.sweeper = nil
		return
	}
	left := p.cfg.KeepAlive - now.Sub(p.idle[0].idleFrom)
	p.sweeper.Reset(max(left, time.Millisecond))
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.dropIdle(len(p.idle))
}

func (p *pool) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Active: len(p.slots), Idle: len(p.idle)}
}
