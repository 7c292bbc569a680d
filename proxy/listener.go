package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
)

// listener takes connections within the limits. Plain ones are ready at once and
// come out of Accept. Those that begin with a handshake or a PROXY header get a
// goroutine for that, and come out of a [handover].
type listener struct {
	net.Listener
	server *Server
	tls    *tls.Config // nil: plain
}

// Answers to connections beyond a limit.
const (
	tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
	tooBusy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
)

// prepares reports whether connections need something before they can be served.
func (l *listener) prepares() bool { return l.tls != nil || l.server.cfg.ProxyProtocol }

// Accept waits for the next connection that is within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		place, err := l.accept()
		if err != nil {
			return nil, err
		}
		if l.admit(place, place.raw) {
			return newConn(place.raw, place, l.server), nil
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
// descriptors or memory passes, and what the network has to say of one connection;
// the listener stays.
func (l *listener) accept() (*place, error) {
	wait := 5 * time.Millisecond
	for {
		raw, err := l.Listener.Accept()
		switch {
		case err == nil:
			if place := l.server.conns.enter(raw); place != nil {
				return place, nil
			}
			l.refuse(raw, tooBusy)
		case passes(err):
			l.server.noteAccept(err)
			time.Sleep(wait)
			wait = min(2*wait, time.Second)
		default:
			return nil, err
		}
	}
}

// passes reports whether a listener may take connections again after an error.
func passes(err error) bool {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return false
	}
	switch number {
	case syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP: // it is no listener any more
		return false
	}
	return true
}

// noteAccept logs that a connection could not be taken, at most once a second.
func (s *Server) noteAccept(err error) {
	if s.quietAccept.due(s.now()) {
		s.log.Warn("connections cannot be taken at the moment", "error", err.Error())
	}
}

// admit counts a connection for the client's address, as nc knows it.
func (l *listener) admit(place *place, nc net.Conn) bool {
	if l.server.conns.claim(place, addrOf(nc)) {
		return true
	}
	l.server.conns.leave(place)
	l.refuse(place.raw, tooMany)
	return false
}

func (l *listener) refuse(raw net.Conn, answer string) {
	l.server.stats.Refused.Add(1)
	if l.tls == nil {
		// The socket's empty buffer takes these few bytes at once.
		_ = raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = raw.Write([]byte(answer))
	}
	_ = raw.Close()
}

// run takes connections and prepares each, until the listener is closed.
func (l *listener) run() error {
	for {
		place, err := l.accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		l.server.preparing.Go(func() { l.prepare(place) })
	}
}

// prepare gets a connection to where requests can be read. All of it has the time
// of one request's head.
func (l *listener) prepare(place *place) {
	s, raw := l.server, place.raw
	defer s.recoverStream()
	handed := false
	defer func() {
		if !handed {
			s.conns.leave(place)
			_ = raw.Close()
		}
	}()
	if raw.SetDeadline(time.Now().Add(s.cfg.HeaderTimeout)) != nil {
		return
	}
	nc, err := l.announced(raw)
	if err != nil {
		s.stats.BadRequests.Add(1)
		return
	}
	if !l.admit(place, nc) {
		return
	}
	if l.tls != nil {
		secured := tls.Server(&socket{Conn: nc, place: place, server: s}, l.tls)
		if err := secured.Handshake(); err != nil {
			s.stats.Handshakes.Add(1)
			return
		}
		nc = secured
	}
	if raw.SetDeadline(time.Time{}) == nil {
		handed = s.handOver(nc, place)
	}
}

// announced reads the PROXY header, if the connection must begin with one. The
// address of what it returns is the client's.
func (l *listener) announced(raw net.Conn) (net.Conn, error) {
	s := l.server
	if !s.cfg.ProxyProtocol || len(s.trusted) > 0 && !s.trusts(addrOf(raw)) {
		return raw, nil
	}
	nc := proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(0))
	_, err := nc.Read(nil)
	return nc, err
}

// handOver gives a connection that is ready to whoever speaks its protocol.
func (s *Server) handOver(nc net.Conn, place *place) bool {
	if secured, ok := nc.(*tls.Conn); ok {
		switch secured.ConnectionState().NegotiatedProtocol {
		case "h2":
			return s.h2.conns.push(nc)
		case "", "http/1.1":
		default: // an authority that asked for a challenge's certificate
			return false
		}
	}
	return s.plain.push(newConn(nc, place, s))
}

// socket is what a TLS connection is made over.
type socket struct {
	net.Conn
	place  *place
	server *Server
	phase  atomic.Uint32 // over HTTP/2
}

// Write counts what is sent.
func (s *socket) Write(p []byte) (int, error) {
	s.server.stats.Writes.Add(1) // before: whoever has the answer finds it counted
	n, err := s.Conn.Write(p)
	s.server.stats.BytesOut.Add(uint64(n))
	return n, err
}

// Close gives the connection's place free.
func (s *socket) Close() error {
	s.server.conns.leave(s.place)
	return s.Conn.Close()
}

// handover is a listener of connections that another one has taken.
type handover struct {
	ready  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandover() *handover {
	return &handover{ready: make(chan net.Conn), closed: make(chan struct{})}
}

// push hands a connection over; false: nobody takes any more.
func (h *handover) push(nc net.Conn) bool {
	select {
	case h.ready <- nc:
		return true
	case <-h.closed:
		return false
	}
}

// Accept returns the next connection.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case nc := <-h.ready:
		return nc, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends it.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr is the address of no socket: the connections come from several.
func (h *handover) Addr() net.Addr { return new(net.TCPAddr) }

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
