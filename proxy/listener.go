package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
)

// listener takes connections within the limits. Plain ones are ready at once and
// come out of Accept. Those that begin with a handshake or a PROXY header get a
// goroutine for that, and come out of the server's queues.
type listener struct {
	net.Listener
	server *Server
	tls    *tls.Config // nil: plain
}

// Answers to connections beyond a limit.
const (
	tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
	noRoom  = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
)

// prepares reports whether connections need something before they can be served.
func (l *listener) prepares() bool { return l.tls != nil || l.server.cfg.ProxyProtocol }

// Accept waits for the next connection that is within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.accept()
		if err != nil {
			return nil, err
		}
		if l.admit(nc, nc) {
			return newConn(nc, nc, l.server), nil
		}
	}
}

// Close stops taking connections. Whoever comes second finds it done.
func (l *listener) Close() error {
	if err := l.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// accept waits for the next connection that there is room for. A lack of file
// descriptors passes; the listener stays.
func (l *listener) accept() (net.Conn, error) {
	wait := 5 * time.Millisecond
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err == nil && l.server.conns.enter(nc):
			return nc, nil
		case err == nil:
			l.refuse(nc, noRoom)
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			time.Sleep(wait)
			wait = min(2*wait, time.Second)
		default:
			return nil, err
		}
	}
}

// admit counts a connection for the client's address, as nc knows it.
func (l *listener) admit(raw, nc net.Conn) bool {
	if l.server.conns.claim(raw, addrOf(nc)) {
		return true
	}
	l.server.conns.leave(raw)
	l.refuse(raw, tooMany)
	return false
}

func (l *listener) refuse(raw net.Conn, answer string) {
	l.server.stats.Refused.Add(1)
	if l.tls == nil {
		// The socket's empty buffer takes these few bytes at once.
		_ = raw.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = raw.Write([]byte(answer))
	}
	_ = raw.Close()
}

// run takes connections and prepares each, until the listener is closed.
func (l *listener) run() error {
	for {
		raw, err := l.accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go l.prepare(raw)
	}
}

// prepare gets a connection to where requests can be read. All of it has the time
// of one request's head.
func (l *listener) prepare(raw net.Conn) {
	s := l.server
	defer s.recoverStream()
	handed := false
	defer func() {
		if !handed {
			s.conns.leave(raw)
			_ = raw.Close()
		}
	}()
	if raw.SetDeadline(time.Now().Add(s.cfg.HeaderTimeout)) != nil {
		return
	}
	nc := raw
	if s.cfg.ProxyProtocol && (len(s.trusted) == 0 || s.trusts(addrOf(raw))) {
		announced := proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(0))
		if _, err := announced.Read(nil); err != nil {
			s.stats.BadRequests.Add(1)
			return
		}
		nc = announced
	}
	if !l.admit(raw, nc) {
		handed = true
		return
	}
	if l.tls == nil {
		handed = raw.SetDeadline(time.Time{}) == nil && s.plain.push(newConn(nc, raw, s))
		return
	}
	under := &socket{Conn: nc, raw: raw, server: s}
	secured := tls.Server(under, l.tls)
	if err := secured.Handshake(); err != nil {
		s.stats.FailedHandshakes.Add(1)
		return
	}
	if raw.SetDeadline(time.Time{}) != nil {
		return
	}
	switch secured.ConnectionState().NegotiatedProtocol {
	case "h2":
		under.counts = true
		handed = s.h2.conns.push(secured)
	case "", "http/1.1":
		handed = s.plain.push(newConn(secured, raw, s))
	}
}

// socket is what a TLS connection is made over.
type socket struct {
	net.Conn
	raw    net.Conn
	server *Server
	counts bool // bytes: over HTTP/2 nobody else does
}

// Write counts what is sent.
func (s *socket) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if s.counts {
		s.server.stats.Writes.Add(1)
		s.server.stats.BytesOut.Add(uint64(n))
	}
	return n, err
}

// Close gives the connection's place free.
func (s *socket) Close() error {
	s.server.conns.leave(s.raw)
	return s.Conn.Close()
}

// queue is a listener of connections that another one has taken.
type queue struct {
	ready  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue() *queue {
	return &queue{ready: make(chan net.Conn), closed: make(chan struct{})}
}

// push hands a connection over; false: nobody takes any more.
func (q *queue) push(nc net.Conn) bool {
	select {
	case q.ready <- nc:
		return true
	case <-q.closed:
		return false
	}
}

// Accept returns the next connection.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case nc := <-q.ready:
		return nc, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the queue.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr is the address of no socket: the connections come from several.
func (q *queue) Addr() net.Addr { return new(net.TCPAddr) }

// connections are all that clients have open, over all listeners, by the socket.
type connections struct {
	server *Server

	mu   sync.Mutex
	open map[net.Conn]netip.Addr
	ips  map[netip.Addr]int
}

// enter takes a connection if there is room for one more.
func (c *connections) enter(raw net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.server.cfg.MaxConnections {
		return false
	}
	c.open[raw] = netip.Addr{}
	c.server.stats.Connections.Add(1)
	return true
}

// claim counts the connection for an address, if that has room for one more.
func (c *connections) claim(raw net.Conn, ip netip.Addr) bool {
	limit := c.server.cfg.MaxConnectionsPerIP
	if limit == 0 || !ip.IsValid() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ips[ip] >= limit {
		return false
	}
	c.ips[ip]++
	c.open[raw] = ip
	return true
}

// leave notes that a connection is closed, once.
func (c *connections) leave(raw net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ip, open := c.open[raw]
	if !open {
		return
	}
	delete(c.open, raw)
	c.server.stats.Connections.Add(-1)
	if n, counted := c.ips[ip]; counted && n > 1 {
		c.ips[ip]--
	} else {
		delete(c.ips, ip)
	}
}

// closeAll cuts every connection. The goroutines that serve them notice, and close
// them properly.
func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for raw := range c.open {
		_ = raw.Close()
	}
}

func addrOf(nc net.Conn) netip.Addr {
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// Listen opens the site's plain listener.
func (s *Server) Listen() (net.Listener, error) { return listen(s.cfg.Listen) }

// ListenTLS opens the site's encrypted listener; nil if there are no certificates.
func (s *Server) ListenTLS() (net.Listener, error) {
	if !s.cfg.TLS.Enabled() {
		return nil, nil
	}
	return listen(s.cfg.TLS.Listen)
}

func listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	return ln, nil
}
