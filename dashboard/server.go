// Package dashboard is the operator's and the analyst's side of a node: health,
// metrics and the admin API, on a listener of its own. It runs on net/http, apart
// from the data plane, so that no fault of the one exposes or stops the other.
//
// Health and metrics are open to whoever reaches the listener. The API asks for
// the token that lies in the data directory, and it looks at Host and Origin
// first, so that a web page in the operator's browser cannot speak to it.
package dashboard

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Check is one thing that must hold for a node to be ready.
type Check struct {
	Name string
	Err  func() error // nil when it holds

	// Advisory shows the check to those who ask for details, and leaves the node
	// ready.
	Advisory bool
}

// Node is what the admin side asks of the running node.
type Node struct {
	Ready   []Check
	Report  func(ctx context.Context) (*Report, error)
	Status  func() any // what GET /api/v1/status shows; encodes as JSON
	Metrics http.Handler
	Version string

	Switches   Switches
	Cache      Cache          // nil: nothing is kept
	LastReload func() *Reload // nil before there was one
}

// Reload is how the last reload went.
type Reload struct {
	At    time.Time `json:"at"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
}

// Server is the admin listener and, where asked for, the status listener.
type Server struct {
	config   Config
	token    string
	node     Node
	logger   *slog.Logger
	draining atomic.Bool
	address  net.Addr // of the admin listener
	servers  []*http.Server
	done     chan error
}

// New prepares the listeners; Listen opens them.
func New(config Config, token string, node Node, logger *slog.Logger) *Server {
	return &Server{config: config, token: token, node: node, logger: logger, done: make(chan error, 2)}
}

// Listen opens the listeners and serves until Shutdown.
func (s *Server) Listen() error {
	var err error
	if s.address, err = s.serve(s.config.Listen, s.adminRoutes()); err != nil || s.config.StatusListen == "" {
		return err
	}
	_, err = s.serve(s.config.StatusListen, s.statusRoutes())
	return err
}

// Addr is the address of the admin listener, once it is open.
func (s *Server) Addr() net.Addr { return s.address }

func (s *Server) serve(address string, handler http.Handler) (net.Addr, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open the admin listener: %w", err)
	}
	server := &http.Server{
		Handler:           s.recovered(handler),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	s.servers = append(s.servers, server)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.done <- err
		}
	}()
	return listener.Addr(), nil
}

// Failed delivers the error of a listener that ended by itself.
func (s *Server) Failed() <-chan error { return s.done }

// Drain makes /readyz fail, so that balancers send no new visitors here.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown closes the listeners and waits for running requests until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	var errs []error
	for _, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, err, server.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Server) statusRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.node.Metrics)
	return mux
}

func (s *Server) adminRoutes() http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("GET /api/v1/report", s.report)
	api.HandleFunc("GET /api/v1/status", s.status)
	api.HandleFunc("GET /api/v1/switches", s.listSwitches)
	for _, path := range []string{"/api/v1/switches/{kind}", "/api/v1/switches/{kind}/{name...}"} {
		api.HandleFunc("PUT "+path, s.setSwitch)
		api.HandleFunc("DELETE "+path, s.liftSwitch)
	}
	api.HandleFunc("GET /api/v1/cache", s.listCache)
	api.HandleFunc("POST /api/v1/cache/purge", s.purgeCache)
	api.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "no such call; see GET / for what there is")
	})

	mux := s.statusRoutes()
	mux.Handle("/api/", s.authorized(api))
	mux.HandleFunc("GET /{$}", s.index)
	return s.guarded(mux)
}

// guarded refuses names that are not ours (DNS rebinding) and requests that
// another site's page sends (cross-site forgery).
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		w.Header().Set("Cache-Control", "no-store")
		if !s.ownHost(r.Host) {
			writeError(w, http.StatusMisdirectedRequest, "this name is not one of the admin listener's; add it to admin.hosts")
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) {
			writeError(w, http.StatusForbidden, "requests from other sites are refused")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) ownHost(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	listen, _, _ := net.SplitHostPort(s.config.Listen)
	return isLoopback(host) || host != "" && host == listen || slices.Contains(s.config.Hosts, host)
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}

func (s *Server) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sedge admin"`)
			writeError(w, http.StatusUnauthorized, "send the token as \"Authorization: Bearer …\"; it lies in "+TokenFile+" in the data directory")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				s.logger.Error("admin request panicked", "path", r.URL.Path, "panic", fmt.Sprint(p))
				writeError(w, http.StatusInternalServerError, "internal error; the log says more")
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

// readyz answers 200 when every check holds and the node is not draining. It may be
// open to anybody, so it says neither why something is off nor what a refused
// configuration holds.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	type result struct {
		Check string `json:"check"`
		OK    bool   `json:"ok"`
		Error string `json:"error,omitempty"`
	}
	results := make([]result, 0, len(s.node.Ready)+1)
	ready := true
	add := func(name string, err error, advisory bool) {
		item := result{Check: name, OK: err == nil}
		if err != nil {
			item.Error, ready = err.Error(), ready && advisory
		}
		results = append(results, item)
	}
	if s.draining.Load() {
		add("draining", errors.New("this node is shutting down"), false)
	}
	for _, check := range s.node.Ready {
		add(check.Name, check.Err(), check.Advisory)
	}
	code := http.StatusOK
	if !ready {
		code = http.StatusServiceUnavailable
	}
	if !r.URL.Query().Has("verbose") {
		w.WriteHeader(code)
		fmt.Fprintln(w, http.StatusText(code))
		return
	}
	answer := map[string]any{"ready": ready, "checks": results, "switches": s.openOffs()}
	if last := s.node.LastReload(); last != nil {
		answer["last_reload"] = Reload{At: last.At, OK: last.OK}
	}
	writeJSON(w, code, answer)
}

func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	report, err := s.node.Report(r.Context())
	if err != nil {
		s.logger.Error("admin report", "error", err)
		writeError(w, http.StatusInternalServerError, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, report)
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.node.Status())
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `Sedge %s, admin listener

GET /healthz            the process runs
GET /readyz[?verbose]   it can serve visitors
GET /metrics            Prometheus metrics
GET /api/v1/report      visitors, conversion and revenue per segment and arm
GET /api/v1/status      configuration, plugins, queues
GET /api/v1/switches    what is off: kill switches, and what the configuration disables
PUT /api/v1/switches/KIND[/NAME]      turn off everything, a route, a plugin or an
                        experience; with {"reason": "…"} if you like
DELETE /api/v1/switches/KIND[/NAME]   lift that switch
GET /api/v1/cache[?prefix=URL&limit=N]   what is kept of the origin's answers
POST /api/v1/cache/purge   let go of some of it: {"url": "…"}, {"prefix": "…"},
                        {"tag": "…"} or {"everything": true}, and "soft": true

The API asks for "Authorization: Bearer TOKEN"; the token lies in %s
in the data directory. "sedge report", "sedge bypass" and "sedge cache" find it
by themselves.
`, s.node.Version, TokenFile)
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// A failed write means that the client has gone.
	_ = encoder.Encode(value)
}

func writeError(w http.ResponseWriter, code int, message string) {
	writeJSON(w, code, map[string]string{"error": message})
}
