package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// streamWindow is how much of an answer may wait for a slow client in memory.
	streamWindow = 512 << 10

	// pingAfter is how long a connection may be silent until the server is asked for a
	// sign of life. Servers of gRPC hang up on those who ask within five minutes.
	pingAfter = 6 * time.Minute
)

var (
	errNoHTTP2   = errors.New("the server does not speak HTTP/2")
	errHTTP1     = errors.New("the server answers in HTTP/1.1, not in HTTP/2")
	errNoStreams = errors.New("the server hung up, or allows no requests")
)

// streamConns are the connections to one server over HTTP/2. The standard library
// speaks the protocol; whom to connect to, which connection a request takes and what
// may be sent again is decided here.
type streamConns struct {
	pool   *pool
	client *http.Transport // makes connections speak; keeps none

	mu      sync.Mutex
	conns   []*streamConn
	dialing map[string]*streamDial // by the name that the certificate must hold

	spreadFrom time.Time // when a spare one may be made again
}

// streamConn is one connection, which many requests share.
type streamConn struct {
	*http.ClientConn
	wire    *wire
	pool    *pool
	name    string
	address string      // as it was dialed
	used    atomic.Bool // it has carried an answer

	streams int  // guarded by the mu of streamConns
	retired bool // no more requests; likewise
}

// streamDial is a connection that is being made. Whoever needs one of that name
// waits for it.
type streamDial struct {
	done  chan struct{} // closed when it ended
	err   error         // valid then
	spare bool          // there are others already
}

// wireKey finds the connection that is to speak HTTP/2.
type wireKey struct{}

func newStreamConns(p *pool) *streamConns {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // TLS is the pool's affair
	return &streamConns{
		pool: p, dialing: map[string]*streamDial{},
		client: &http.Transport{
			Protocols: protocols,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return ctx.Value(wireKey{}).(*wire), nil
			},
			DisableCompression:     true,
			IdleConnTimeout:        p.id.keepAlive,
			MaxResponseHeaderBytes: 4 * maxHead, // a larger one ends the connection, and the others' answers too
			HTTP2: &http.HTTP2Config{
				MaxReceiveBufferPerStream: streamWindow,
				SendPingTimeout:           pingAfter,
				WriteByteTimeout:          p.id.idle,
			},
		},
	}
}

// acquire finds room for a request on a connection, or makes one. Requests that come
// together wait for one connection, and only those that it has no room for for the
// next.
func (s *streamConns) acquire(sends bool, name string) (*streamConn, lease, error) {
	l, _, err := s.pool.enter(sends)
	if err != nil {
		return nil, l, err
	}
	c, err := s.find(name)
	if err != nil {
		l.leave()
	}
	return c, l, err
}

func (s *streamConns) find(name string) (*streamConn, error) {
	for until := time.Now().Add(s.pool.id.dial); ; {
		addresses := s.pool.addresses()
		s.mu.Lock()
		d := s.dialing[name]
		c, connected := s.reserve(name)
		// A server with several addresses gets a connection to each, once there is more
		// than one request at a time.
		spread := c != nil && c.streams > 1 && len(connected) < addresses && time.Now().After(s.spreadFrom)
		mine := d == nil && (c == nil || spread)
		if mine {
			d = &streamDial{done: make(chan struct{}), spare: spread}
			s.dialing[name] = d
		}
		s.mu.Unlock()
		switch {
		case c != nil && mine:
			go s.spread(d, name, connected)
			return c, nil
		case c != nil:
			return c, nil
		case mine:
			return s.add(d, name, connected)
		}
		<-d.done // the dial has its limit
		switch {
		case d.err != nil && !d.spare:
			return nil, d.err
		case time.Now().After(until):
			return nil, &Error{Op: "wait for a connection", Kind: Busy, Server: s.pool.origin.address, Err: errBusy}
		}
	}
}

// reserve takes room on the connection that carries least; nil if there is none. It
// also returns where the connections that take requests lead. The caller holds mu.
func (s *streamConns) reserve(name string) (least *streamConn, connected []string) {
	s.conns = slices.DeleteFunc(s.conns, func(c *streamConn) bool { return c.Err() != nil })
	for _, c := range s.conns {
		if c.name != name || c.retired {
			continue
		}
		connected = append(connected, c.address)
		if c.Available() > 0 && (least == nil || c.streams < least.streams) {
			least = c
		}
	}
	if least == nil || least.Reserve() != nil { // ended this very moment
		return nil, connected
	}
	least.streams++
	return least, connected
}

// spread makes a connection that nobody waits for.
func (s *streamConns) spread(d *streamDial, name string, connected []string) {
	defer func() { _ = recover() }() // there are others
	c, err := s.add(d, name, connected)
	if err == nil {
		c.Release()
		s.drop(c)
		return
	}
	s.mu.Lock()
	s.spreadFrom = time.Now().Add(s.pool.id.resolve)
	s.mu.Unlock()
}

// add makes a connection, with room taken for whoever asked for it.
func (s *streamConns) add(d *streamDial, name string, connected []string) (c *streamConn, err error) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.dialing, name)
		d.err = err
		close(d.done)
	}()
	ctx, cancel := context.WithTimeout(s.pool.alive, s.pool.id.dial)
	defer cancel()
	if c, err = s.dial(ctx, name, connected); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Reserve() != nil {
		_ = c.Close()
		return nil, s.pool.fail("dial", errNoStreams)
	}
	c.streams = 1
	c.retired = s.pool.alive.Err() != nil
	s.conns = append(s.conns, c)
	return c, nil
}

// dial makes a connection, if possible to another address than those, and waits until
// the server has said what it allows.
func (s *streamConns) dial(ctx context.Context, name string, connected []string) (*streamConn, error) {
	nc, address, err := s.pool.open(ctx, name, connected)
	if err != nil {
		return nil, err
	}
	w := newWire(nc)
	client, err := s.client.NewClientConn(context.WithValue(ctx, wireKey{}, w), "http", s.pool.origin.address)
	if err != nil {
		_ = nc.Close()
		return nil, s.pool.fail("begin HTTP/2", err)
	}
	select {
	case <-w.ready:
		err = w.refusal()
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = client.Close()
		return nil, s.pool.fail("begin HTTP/2", err)
	}
	return &streamConn{ClientConn: client, wire: w, pool: s.pool, name: name, address: address}, nil
}

// drop gives a request's room on a connection back.
func (s *streamConns) drop(c *streamConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.streams--
	s.closeSpare(c)
}

// retire gives connections no more requests, and closes those that have none.
func (s *streamConns) retire(which func(*streamConn) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if which(c) {
			c.retired = true
			s.closeSpare(c)
		}
	}
}

// closeSpare closes a connection that carries nothing and will not. The caller holds
// mu.
func (s *streamConns) closeSpare(c *streamConn) {
	if c.retired && c.streams == 0 {
		_ = c.Close()
	}
}

func (s *streamConns) stats() (stats Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		switch {
		case c.streams > 0:
			stats.Active++
		case c.Err() == nil:
			stats.Idle++
		}
	}
	return stats
}

// wire is what the standard library reads from and writes to. It tells when the
// server has spoken first, and when last.
type wire struct {
	net.Conn
	ready chan struct{} // closed when what the server said first is dealt with
	once  sync.Once
	heard atomic.Int64 // when it last said something, Unix nanoseconds

	mu    sync.Mutex
	first []byte // of what the server said, no more than needed
}

const http1Head = "HTTP/1."

func newWire(nc net.Conn) *wire { return &wire{Conn: nc, ready: make(chan struct{})} }

// Read reads what has come. Whoever reads again has dealt with what came before.
func (w *wire) Read(p []byte) (int, error) {
	more := len(http1Head) - len(w.first)
	if more == 0 {
		w.once.Do(func() { close(w.ready) })
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	if more > 0 {
		w.mu.Lock()
		w.first = append(w.first, p[:min(n, more)]...)
		w.mu.Unlock()
	}
	return n, err
}

// Close closes the connection. One that was closed by what came first is of no use.
func (w *wire) Close() error {
	err := w.Conn.Close()
	w.once.Do(func() { close(w.ready) })
	return err
}

// refusal says by what came first that a connection is of no use; nil if it may be.
func (w *wire) refusal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.first) < len(http1Head):
		return errNoHTTP2
	case string(w.first) == http1Head:
		return errHTTP1
	}
	return nil
}
