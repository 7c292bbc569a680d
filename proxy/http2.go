package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// http2 serves the connections whose clients chose HTTP/2 in the handshake. The
// standard library speaks the protocol; each request becomes one of fasthttp's, so
// that the same handler answers it. See [stream].
type http2 struct {
	server  *Server
	http    *http.Server
	conns   *handover
	once    sync.Once
	done    chan struct{} // closed when serve has ended
	streams sync.Pool
	readers sync.Pool // see [stream]
}

// pingTimeout is how long a silent client may take to show that it is there.
const pingTimeout = 15 * time.Second

func newHTTP2(s *Server) *http2 {
	h := &http2{server: s, conns: newHandover(), done: make(chan struct{})}
	h.streams.New = func() any { return newStream(s, &h.readers) }
	// A head as HTTP/1.1 has it is no longer than what HTTP/2 counts of it, but for the
	// request line, and what says how the body comes.
	h.readers.New = func() any { return bufio.NewReaderSize(nil, int(s.cfg.MaxHeader)+8<<10) }
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	h.http = &http.Server{
		Handler:        h,
		Protocols:      protocols,
		MaxHeaderBytes: int(s.cfg.MaxHeader),
		IdleTimeout:    s.cfg.KeepAlive,
		ErrorLog:       log.New(io.Discard, "", 0), // its messages may hold bytes of an attacker
		ConnState:      h.note,
		// OPTIONS * is the origin's affair.
		DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, nc.RemoteAddr())
		},
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: s.cfg.MaxStreams,
			MaxReadFrameSize:     16 << 10,
			SendPingTimeout:      s.cfg.IdleTimeout,
			PingTimeout:          pingTimeout,
			WriteByteTimeout:     s.cfg.IdleTimeout,
		},
	}
	return h
}

// note keeps in mind whether a connection has streams under way.
func (h *http2) note(nc net.Conn, state http.ConnState) {
	secured, _ := nc.(*tls.Conn)
	if secured == nil {
		return
	}
	under := secured.NetConn().(*socket)
	switch state {
	case http.StateNew:
		under.place.phase.Store(&under.phase)
	case http.StateActive:
		under.phase.Store(phaseBody)
	case http.StateIdle:
		under.phase.Store(phaseIdle)
	}
}

// peerKey finds the client's address in a request's context.
type peerKey struct{}

// serve runs until shutdown, once for all listeners.
func (h *http2) serve() {
	h.once.Do(func() {
		defer close(h.done)
		_ = h.http.Serve(h.conns)
	})
	<-h.done
}

// shutdown lets the running streams end, and cuts what is left when ctx ends.
func (h *http2) shutdown(ctx context.Context) error {
	err := h.http.Shutdown(ctx)
	if err != nil {
		_ = h.http.Close()
	}
	return err
}

// ServeHTTP answers one request.
func (h *http2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				h.server.notePanic("a stream", p)
			}
			panic(http.ErrAbortHandler) // resets the stream: the client sees the break
		}
	}()
	s := h.streams.Get().(*stream)
	err := s.serve(w, r)
	s.release()
	h.streams.Put(s)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

var (
	errNoFlow   = errors.New("BUG: an answer's body that is none of ours")
	errNoAnswer = errors.New("the handler panicked")
)
