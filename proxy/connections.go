package proxy

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// connections are all that clients have open, over all listeners.
type connections struct {
	server *Server

	closing   atomic.Bool  // the server shuts down
	lingering atomic.Int64 // connections that are still read after that, for a moment

	mu   sync.Mutex
	open map[*place]struct{}
	ips  map[netip.Addr]int
}

// place is what one connection takes of the limits.
type place struct {
	raw   net.Conn // the socket
	ip    netip.Addr
	phase atomic.Pointer[atomic.Uint32] // what the connection is read for; nil before it can be
}

func newConnections(s *Server) *connections {
	return &connections{server: s, open: make(map[*place]struct{}), ips: make(map[netip.Addr]int)}
}

// enter takes a connection, or returns nil if there is no room for one more.
func (c *connections) enter(raw net.Conn) *place {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.server.cfg.MaxConnections && !c.makeRoom() {
		return nil
	}
	p := &place{raw: raw}
	c.open[p] = struct{}{}
	c.server.stats.Connections.Add(1)
	return p
}

// claim counts the connection for an address, if that has room for one more.
func (c *connections) claim(p *place, ip netip.Addr) bool {
	limit := c.server.cfg.MaxConnectionsPerIP
	if limit == 0 || !ip.IsValid() {
		return true
	}
	ip = household(ip)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ips[ip] >= limit {
		return false
	}
	if _, open := c.open[p]; open {
		c.ips[ip]++
		p.ip = ip
	}
	return true
}

// household is what one client can take its addresses from: over IPv6 a network of 64
// bits, of which a provider gives each at least one.
func household(ip netip.Addr) netip.Addr {
	if ip = ip.Unmap(); ip.Is4() {
		return ip
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().Addr()
}

// lookedAt is how many connections are looked at for one to close.
const lookedAt = 64

// makeRoom closes a connection that waits for its next request or, if there is
// none, one that is slow with the head of its request or with its handshake. The
// caller holds mu.
func (c *connections) makeRoom() bool {
	var slow *place
	n := 0
	for p := range c.open { // in no order
		phase := phaseHead
		if of := p.phase.Load(); of != nil {
			phase = of.Load()
		}
		switch phase {
		case phaseIdle:
			return c.evict(p)
		case phaseHead:
			slow = p
		}
		if n++; n == lookedAt {
			break
		}
	}
	return slow != nil && c.evict(slow)
}

// evict closes a connection that answers nothing at the moment. What serves it
// notices at its read.
func (c *connections) evict(p *place) bool {
	c.server.stats.Evicted.Add(1)
	c.forget(p)
	return p.raw.Close() == nil
}

// leave notes that a connection is closed.
func (c *connections) leave(p *place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(p)
}

// forget counts a connection no more. The caller holds mu.
func (c *connections) forget(p *place) {
	if _, open := c.open[p]; !open {
		return
	}
	delete(c.open, p)
	c.server.stats.Connections.Add(-1)
	if p.ip.IsValid() {
		if c.ips[p.ip]--; c.ips[p.ip] <= 0 {
			delete(c.ips, p.ip)
		}
	}
}

// closeAll cuts every connection. The goroutines that serve them notice, and close
// them properly.
func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.open {
		_ = p.raw.Close()
	}
}
