package proxy

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// listener wraps what a net.Listener accepts, counts connections per address and
// answers those beyond the limit.
type listener struct {
	net.Listener
	server *Server

	mu    sync.Mutex
	conns map[*conn]struct{}
	ips   map[netip.Addr]int
}

func newListener(ln net.Listener, s *Server) *listener {
	return &listener{Listener: ln, server: s, conns: make(map[*conn]struct{}), ips: make(map[netip.Addr]int)}
}

// tooMany is the whole answer to a connection beyond the limit of its address, and
// tooBusy to one beyond that of all.
const (
	tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
	tooBusy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
)

// Accept waits for the next connection within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := newConn(nc, l)
		refusal := l.admit(c)
		if refusal == "" {
			return c, nil
		}
		l.server.stats.Refused.Add(1)
		// The socket's empty buffer takes these few bytes at once.
		_ = nc.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = nc.Write([]byte(refusal))
		_ = nc.Close()
	}
}

// admit counts a connection, or returns what it is told instead.
func (l *listener) admit(c *conn) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server.stats.Connections.Load() >= int64(l.server.cfg.MaxConnections) && !l.makeRoom() {
		return tooBusy
	}
	if l.server.cfg.MaxConnectionsPerIP > 0 {
		ip := addrOf(c.Conn)
		if l.ips[ip] >= l.server.cfg.MaxConnectionsPerIP {
			return tooMany
		}
		l.ips[ip]++
	}
	l.conns[c] = struct{}{}
	l.server.stats.Connections.Add(1)
	return ""
}

// lookedAt is how many connections are looked at for one to close.
const lookedAt = 64

// makeRoom closes a connection that waits for its next request or, if there is
// none, one that is slow with the head of its request. The caller holds mu.
func (l *listener) makeRoom() bool {
	var slow *conn
	n := 0
	for c := range l.conns { // in no order
		switch c.phase.Load() {
		case phaseIdle:
			return l.evict(c)
		case phaseHead:
			slow = c
		}
		if n++; n == lookedAt {
			break
		}
	}
	return slow != nil && l.evict(slow)
}

// evict closes a connection that answers nothing at the moment. What serves it
// notices at its read.
func (l *listener) evict(c *conn) bool {
	l.server.stats.Evicted.Add(1)
	l.forget(c)
	return c.Conn.Close() == nil
}

// gone notes that a connection is closed.
func (l *listener) gone(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(c)
}

// forget counts a connection no more. The caller holds mu.
func (l *listener) forget(c *conn) {
	if _, open := l.conns[c]; !open {
		return
	}
	delete(l.conns, c)
	l.server.stats.Connections.Add(-1)
	if l.server.cfg.MaxConnectionsPerIP > 0 {
		ip := addrOf(c.Conn)
		if l.ips[ip]--; l.ips[ip] <= 0 {
			delete(l.ips, ip)
		}
	}
}

// closeAll cuts every connection.
func (l *listener) closeAll() {
	l.mu.Lock()
	all := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		// The goroutine that serves the connection notices and closes it properly.
		_ = c.Conn.Close()
	}
}

func addrOf(nc net.Conn) netip.Addr {
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
