package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/certificate"
	"github.com/sedge-proxy/sedge/proxy/coding"
	"github.com/sedge-proxy/sedge/rewrite"
	"github.com/sedge-proxy/sedge/visitor/attributes"
)

// maxPrograms bounds how many compiled plans are kept.
const maxPrograms = 1024

// closingConns is room for connections that are closed, but not yet ended: the
// listener holds the limit.
const closingConns = 1024

// Options are what a server is made of.
type Options struct {
	Config Config
	Cache  cache.Config
	Logger *slog.Logger
	Access *slog.Logger // for one line per request; nil: Logger
	Tracer Tracer       // nil: nothing is traced
	Now    func() time.Time
	Random io.Reader // safe for concurrent use, as crypto/rand.Reader is
}

// Server answers the visitors of the current [Site].
type Server struct {
	cfg       Config
	log       *slog.Logger
	accessLog bool
	access    *slog.Logger
	tracer    Tracer
	now       func() time.Time
	random    io.Reader
	trusted   []netip.Prefix
	http      *fasthttp.Server
	plain     *handover // of connections for http that had to be prepared
	h2        *http2
	conns     *connections
	stats     Stats

	certificates *certificate.Store      // nil: there is no TLS
	challenge    fasthttp.RequestHandler // nil: ACME is off
	tlsPort      atomic.Int32            // of the encrypted listener

	overload   *overload
	objects    *objects
	flights    *flights
	refreshes  chan struct{} // one for each answer that is being renewed
	lookalikes *lookalikes
	programs   *cache.Recent[decision.Digest, *program]
	largePages atomic.Int32             // that are held as a whole
	bodies     *cache.Bodies[*seenPage] // pages seen before, by the origin's bytes; nil for those that cannot be compiled
	texts      *texts
	dateless   *fasthttp.ResponseHeader // what answers begin with that fasthttp itself does not make
	exchanges  sync.Pool
	pages      sync.Pool // *pageBody
	madeBodies sync.Pool // *madeBody
	passed     sync.Pool // *passBody
	codings    coding.Pool
	ids        sync.Pool // *idSource
	watches    sync.Pool // *watch
	quiet      [len(reasons)]everySecond
	wholeTime  time.Duration // how long a page may take to be taken as a whole

	quietPolicy  everySecond // lines of the log on a policy
	quietAccept  everySecond // likewise on connections that could not be taken
	receipts     sync.Pool   // *receipt
	quietMapping everySecond // likewise on a body whose URLs cannot be mapped

	traceSecond, traced atomic.Int64 // how many requests are traced in this second

	site atomic.Pointer[Site]

	mu        sync.Mutex
	routes    map[string]*RouteStats
	unrouted  *RouteStats // of them: for what has no route
	listeners []*listener
	draining  atomic.Bool    // changes under mu
	preparing sync.WaitGroup // listeners and connections that may still fill the queues
}

// program is what a plan's edits compile to, or why they do not.
type program struct {
	*rewrite.Program
	attributes *attributes.Extractor // what the slots name of the request, in their order; nil for nothing
	err        error
	reported   atomic.Bool // its conflicts are logged
}

// New makes a server of a valid configuration. It answers 503 until it has a site.
func New(o Options) (*Server, error) {
	if o.Logger == nil || o.Now == nil || o.Random == nil {
		return nil, errors.New("make server: logger, clock and randomness are needed")
	}
	if err := errors.Join(o.Config.Validate().Err(), o.Cache.Validate().Err()); err != nil {
		return nil, fmt.Errorf("make server: %w", err)
	}
	cfg := o.Config.WithDefaults()
	trusted, err := parsePrefixes(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	kept := o.Cache.WithDefaults()
	if kept.Disabled {
		kept.PageMemory = 0
	}
	forAddresses := int64(kept.PageMemory) / lookalikeShare
	bodies, err := cache.NewBodies[*seenPage](int64(kept.PageMemory) - forAddresses)
	if err != nil {
		return nil, fmt.Errorf("make server: %w", err)
	}
	s := &Server{
		cfg: cfg, log: o.Logger, accessLog: *cfg.AccessLog, now: o.Now, random: o.Random, trusted: trusted,
		objects: cache.NewObjects[keptRules, *identity, *variant](o.Cache), refreshes: make(chan struct{}, maxRefreshes),
		programs: cache.NewRecent[decision.Digest, *program](maxPrograms),
		bodies:   bodies, lookalikes: newLookalikes(forAddresses), wholeTime: wholeTime,
		access: cmp.Or(o.Access, o.Logger), tracer: o.Tracer, routes: map[string]*RouteStats{},
	}
	s.texts, s.dateless = newTexts(), newDateless()
	s.flights = cache.NewFlights(s.objects, o.Now)
	s.madeBodies.New = func() any { return new(madeBody) }
	s.unrouted = s.routeStats(noRoute)
	s.conns = newConnections(s)
	if cfg.TLS.Enabled() {
		if err := s.loadCertificates(); err != nil {
			return nil, fmt.Errorf("make server: %w", err)
		}
	}
	s.overload = newOverload(&s.cfg, &s.stats.InFlight, s.relieveMemory)
	if err := s.overload.start(); err != nil {
		return nil, fmt.Errorf("make server: %w", err)
	}
	s.exchanges.New = func() any {
		x := &exchange{server: s, out: new(fasthttp.Request)}
		x.headerFunc, x.informFunc, x.selectFunc = x.header, x.inform, x.selecting
		return x
	}
	s.receipts.New = func() any { return new(receipt) }
	s.ids.New = func() any { return newIDSource(s.random) }
	s.watches.New = func() any { return new(watch) }
	s.pages.New = func() any { return newPageBody(s) }
	s.passed.New = func() any { return new(passBody) }
	s.http, s.plain, s.h2 = s.newHTTP(), newHandover(), newHTTP2(s)
	return s, nil
}

// newHTTP sets fasthttp up so that it changes nothing by itself: time limits are
// the connection's, names and paths stay as they came.
func (s *Server) newHTTP() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:        s.handle,
		ErrorHandler:   s.handleBroken,
		HeaderReceived: s.headerReceived,
		ConnState: func(nc net.Conn, state fasthttp.ConnState) {
			if c, ok := nc.(*conn); ok && state == fasthttp.StateIdle {
				c.idle()
			}
		},
		Logger:                        quietLogger{s.log},
		Concurrency:                   s.cfg.MaxConnections + closingConns,
		ReadBufferSize:                int(s.cfg.MaxHeader),
		ReduceMemoryUsage:             true, // by conn.gather
		LazyRequestTime:               true, // nobody asks for it
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: true,
		SecureErrorLogMessage:         true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		CloseOnShutdown:               true,
	}
}

// newDateless returns an empty header in the place of whose Date fasthttp puts none of its
// own. It makes such headers only for the requests of a server that is set up so, and what
// is kept of an answer gives this on: under a Date of the moment, Age would be wrong, and
// ways that make the same answer would differ.
func newDateless() *fasthttp.ResponseHeader {
	h := new(fasthttp.ResponseHeader)
	s := fasthttp.Server{NoDefaultDate: true, Handler: func(ctx *fasthttp.RequestCtx) { ctx.Response.Header.CopyTo(h) }}
	_ = s.ServeConn(&oneRequest{text: strings.NewReader("GET / HTTP/1.0\r\n\r\n")})
	return h
}

// oneRequest is a connection on which there is nothing but a request.
type oneRequest struct {
	net.Conn
	text *strings.Reader
}

func (c *oneRequest) Read(p []byte) (int, error)  { return c.text.Read(p) }
func (c *oneRequest) Write(p []byte) (int, error) { return len(p), nil }
func (c *oneRequest) Close() error                { return nil }
func (c *oneRequest) RemoteAddr() net.Addr        { return new(net.TCPAddr) }
func (c *oneRequest) LocalAddr() net.Addr         { return new(net.TCPAddr) }

// headerReceived tells the connection that the head is in: what is read from now
// on is the body, which has a limit per read. The value itself is not used. Bodies
// are read by the connection, so fasthttp is to see none; accept says again how the
// request is framed, which stands in the raw headers.
func (s *Server) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if h.ContentLength() > 0 || h.ContentLength() == -1 {
		h.SetContentLength(0)
	}
	h.Del(fasthttp.HeaderExpect)
	return fasthttp.RequestConfig{ReadTimeout: s.cfg.IdleTimeout}
}

// Stats returns the server's counters, which live as long as the server.
func (s *Server) Stats() *Stats { return &s.stats }

// CacheUsage returns what is kept at this moment.
func (s *Server) CacheUsage() cache.Usage { return s.objects.Usage() }

// FlightUsage returns which requests wait for another one's answer at this moment.
func (s *Server) FlightUsage() cache.FlightUsage { return s.flights.Usage() }

// ClearCache drops every kept answer and every compiled page.
func (s *Server) ClearCache() {
	s.objects.Clear()
	s.bodies.Clear()
	s.lookalikes.clear()
}

// relieveMemory drops what a node at its limit can do without.
func (s *Server) relieveMemory() {
	defer s.recoverStream()
	s.log.Warn("memory is at its limit: requests are refused, and what is kept of pages is dropped", "max_memory", int64(s.cfg.MaxMemory))
	s.ClearCache()
	debug.FreeOSMemory()
}

// Config returns the settings with their defaults.
func (s *Server) Config() Config { return s.cfg }

// SetSite makes site the current one for all requests that begin from now on. The
// one before is released when its last request ends.
func (s *Server) SetSite(site *Site) {
	if site != nil {
		for i := range site.routes {
			site.routes[i].stats = s.routeStats(site.routes[i].name)
		}
	}
	if old := s.site.Swap(site); old != nil {
		old.unpin()
	}
}

// pinSite returns the current site, pinned, or nil before there is one.
func (s *Server) pinSite() *Site {
	for {
		site := s.site.Load()
		if site == nil || site.pin() {
			return site
		}
	}
}

// Serve answers the connections of a plain listener until Shutdown; then it returns nil.
func (s *Server) Serve(ln net.Listener) error { return s.serve(&listener{Listener: ln, server: s}) }

// ServeTLS answers the connections of the encrypted listener until Shutdown; then
// it returns nil. HTTP/2 is offered to them unless it is switched off.
func (s *Server) ServeTLS(ln net.Listener) error {
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		s.tlsPort.Store(int32(addr.Port))
	}
	return s.serve(&listener{Listener: ln, server: s, tls: s.tlsConfig()})
}

func (s *Server) serve(l *listener) error {
	if !s.register(l) {
		return nil
	}
	var err error
	if l.prepares() {
		err = s.serveHandovers(l)
	} else {
		err = s.http.Serve(l)
	}
	if err != nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// serveHandovers answers what is handed over while l takes connections.
func (s *Server) serveHandovers(l *listener) error {
	var served sync.WaitGroup
	served.Go(func() { _ = s.http.Serve(s.plain) }) // ends when the handover does
	served.Go(s.h2.serve)
	err := l.run()
	s.preparing.Done()
	if err != nil {
		return err
	}
	served.Wait()
	return nil
}

// register notes a listener that Shutdown has to close; false: it closes already.
func (s *Server) register(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		_ = l.Close()
		return false
	}
	s.listeners = append(s.listeners, l)
	if l.prepares() {
		s.preparing.Add(1)
	}
	return true
}

// lastRequests is how long idle connections stay open for a request that may be on
// its way: it is answered, with word that it was the last one there.
const lastRequests = time.Second

// Shutdown accepts no more connections, lets requests and streams end, and cuts
// what is left when ctx ends. The current site is released.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	listeners := s.listeners
	s.mu.Unlock()
	s.conns.closing.Store(true)
	for _, l := range listeners {
		_ = l.Close()
	}
	last, cancel := context.WithTimeout(ctx, lastRequests)
	defer cancel()
	s.awaitPrepared(last)
	_ = s.plain.Close()
	drained := make(chan error, 1)
	go func() { drained <- s.h2.shutdown(ctx) }()
	_ = until(last, func() bool { return s.stats.Connections.Load() == 0 })
	err := errors.Join(s.http.ShutdownWithContext(ctx), <-drained)
	if err == nil {
		// Tunnels, which fasthttp does not count, and clients who have not read their
		// last answer.
		err = until(ctx, func() bool { return s.stats.Streams.Load() == 0 && s.conns.lingering.Load() == 0 })
	}
	s.conns.closeAll()
	s.SetSite(nil)
	s.overload.stop()
	s.bodies.Close()
	if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// awaitPrepared lets connections that were taken come to where they are served.
func (s *Server) awaitPrepared(ctx context.Context) {
	done := make(chan struct{})
	go func() { defer close(done); s.preparing.Wait() }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// until polls until ok is true or ctx ends.
func until(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// noteFailOpen counts that a page was not personalized, and logs it at most once
// a second per reason: a dead plugin must not fill the disk.
func (x *exchange) noteFailOpen(reason Reason, details ...any) {
	x.reason = reason
	s := x.server
	s.stats.failOpen(reason)
	for i, r := range reasons {
		if r == reason && !s.quiet[i].due(s.now()) {
			return
		}
	}
	s.log.Warn("page not personalized", append([]any{"reason", string(reason), "request_id", x.id, "path", clean(x.page.Path, 256)}, details...)...)
}

// everySecond is for log lines that come once a second at most, however often there
// is cause for them: they must not fill the disk.
type everySecond struct{ last atomic.Int64 }

// due reports whether there was no line in this second yet, and notes that there is.
func (e *everySecond) due(now time.Time) bool { return e.last.Swap(now.Unix()) != now.Unix() }

// quietLogger takes what fasthttp wants to say. Its messages may hold bytes of an
// attacker, so only the fact is logged.
type quietLogger struct{ log *slog.Logger }

// Printf logs that fasthttp had something to say.
func (l quietLogger) Printf(format string, _ ...any) {
	l.log.Debug("fasthttp", "message", format)
}
