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

// tooMany is the whole answer to a connection beyond the limit of its address.
const tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"

// Accept waits for the next connection within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := newConn(nc, l)
		if l.admit(c) {
			return c, nil
		}
		l.server.stats.Refused.Add(1)
		// The socket's empty buffer takes these few bytes at once.
		_ = nc.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = nc.Write([]byte(tooMany))
		_ = nc.Close()
	}
}

func (l *listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server.cfg.MaxConnectionsPerIP > 0 {
		ip := addrOf(c.Conn)
		if l.ips[ip] >= l.server.cfg.MaxConnectionsPerIP {
			return false
		}
		l.ips[ip]++
	}
	l.conns[c] = struct{}{}
	l.server.stats.Connections.Add(1)
	return true
}

// gone notes that a connection is closed.
func (l *listener) gone(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
