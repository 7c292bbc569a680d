package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sedge-proxy/sedge/bypass"
	"github.com/sedge-proxy/sedge/config"
	"github.com/sedge-proxy/sedge/dashboard"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/ledger"
	"github.com/sedge-proxy/sedge/plugins/host"
	"github.com/sedge-proxy/sedge/profile"
	"github.com/sedge-proxy/sedge/proxy"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/tracing"
	"github.com/sedge-proxy/sedge/visitor"
)

// node is a running Sedge. Its fields outlive a reload; what a reload changes is
// one generation.
type node struct {
	logger *slog.Logger
	logs   *nodeLogs
	now    func() time.Time
	dir    string

	signer    *visitor.Signer
	events    *event.Log
	ledger    *ledger.Ledger
	live      *profile.Live
	intake    *ledger.Intake
	plugins   *host.Host
	sockets   string // directory of the plugins' sockets
	upstreams *upstreamPool
	proxy     *proxy.Server
	admin     *dashboard.Server
	switches  *bypass.Store
	tracer    *tracing.Tracer // nil: nothing is traced
	kept      cache.Config    // how much of the origin's answers; a reload does not change it

	address    net.Addr   // of the site's listener
	changing   sync.Mutex // held while another site is put in place
	tlsAddress net.Addr   // of its encrypted listener; nil without certificates
	current    atomic.Pointer[generation]
	lastReload atomic.Pointer[reloadResult]
	lastGood   atomic.Pointer[time.Time] // the last reload that was taken over
	started    time.Time
	failed     chan error // a part ended by itself

	stopLedger context.CancelFunc
	ledgerDone chan struct{}
	undo       []func() // how to take back a start that failed half-way, last first
}

type reloadResult struct {
	at  time.Time
	err error // nil: the configuration was taken over
}

// openNode starts everything that a configuration names. On an error nothing is left
// running.
func openNode(ctx context.Context, cfg *config.Config, logs *nodeLogs) (_ *node, err error) {
	n := &node{
		logger:     logs.Logger,
		logs:       logs,
		now:        time.Now,
		started:    time.Now(),
		dir:        cfg.Server.DataDir,
		failed:     make(chan error, 4),
		ledgerDone: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			for i := len(n.undo) - 1; i >= 0; i-- {
				n.undo[i]()
			}
		}
	}()
	n.upstreams = newUpstreamPool(n.now, logs.Logger)
	if err := n.openState(ctx, cfg); err != nil {
		return nil, err
	}
	if err := n.openPlugins(); err != nil {
		return nil, err
	}
	first, err := n.compile(ctx, cfg, 1)
	if err != nil {
		return nil, err
	}
	first.bound.trial.Keep()
	n.undo = append(n.undo, first.release)
	if err := n.openSite(first); err != nil {
		return nil, err
	}
	return n, n.openAdmin(cfg)
}

// openState opens what is kept on disk, and brings profiles and sums up to date.
func (n *node) openState(ctx context.Context, cfg *config.Config) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w (choose another with --data-dir)", err)
	}
	var err error
	if n.switches, err = bypass.Open(n.dir, n.now); err != nil {
		n.logger.Error("kill switches", "error", err)
	}
	keys, err := visitor.LoadKeys(cfg.Visitor, n.dir, rand.Reader)
	if err != nil {
		return err
	}
	if n.signer, err = visitor.NewSigner(keys, rand.Reader); err != nil {
		return err
	}
	if n.events, err = event.OpenLog(filepath.Join(n.dir, "events"), cfg.Events, n.now, n.logger); err != nil {
		return err
	}
	n.undo = append(n.undo, func() { n.events.Close() })
	if n.ledger, err = ledger.Open(n.dir, n.events, ledger.Config{}, n.now, n.logger); err != nil {
		return err
	}
	n.undo = append(n.undo, func() { n.ledger.Close() })
	if err := n.ledger.CatchUp(ctx); err != nil {
		return err
	}
	n.live = profile.NewLive(n.ledger.Profiles(), cfg.Profile)
	n.ledger.Tell(n.live)
	n.intake, err = ledger.NewIntake(n.events, n.live, n.goals, ledger.IntakeConfig{}, n.now, n.logger)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stopLedger = stop
	n.undo = append(n.undo, n.endLedger)
	go n.runLedger(running)
	return nil
}

func (n *node) goals() *kpi.Goals {
	if g := n.current.Load(); g != nil {
		return g.goals
	}
	return nil
}

func (n *node) runLedger(ctx context.Context) {
	defer close(n.ledgerDone)
	defer n.recovered("apply events")
	if err := n.ledger.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		n.failed <- fmt.Errorf("apply events: %w", err)
	}
}

func (n *node) endLedger() {
	n.stopLedger()
	<-n.ledgerDone
}

// openPlugins makes the plugins' host. Their sockets lie in the data directory,
// which no other node uses, so what a killed node left there can go.
func (n *node) openPlugins() error {
	dir, err := filepath.Abs(n.dir)
	if err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	n.sockets = filepath.Join(dir, "sockets")
	if err := errors.Join(os.RemoveAll(n.sockets), os.Mkdir(n.sockets, 0o700)); err != nil {
		return fmt.Errorf("make the directory for plugin sockets: %w", err)
	}
	n.plugins = newPluginHost(n.sockets, n.logger)
	n.undo = append(n.undo, func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if err := n.closePlugins(ctx); err != nil {
			n.logger.Warn("stop plugins", "error", err)
		}
	})
	return nil
}

func (n *node) closePlugins(ctx context.Context) error {
	return errors.Join(n.plugins.Close(ctx), os.RemoveAll(n.sockets))
}

// openSite puts the first generation behind the site's listener.
func (n *node) openSite(first *generation) error {
	site, err := n.site(first)
	if err != nil {
		return err
	}
	server := first.cfg.Server
	server.MaxMemory = limitMemory(server.MaxMemory)
	options := proxy.Options{
		Config: server, Cache: first.cfg.Cache, Logger: n.logger, Access: n.logs.access, Now: n.now, Random: rand.Reader,
	}
	if tracing := server.WithDefaults().Tracing; tracing.Endpoint != "" {
		if err := n.openTracer(tracing); err != nil {
			return err
		}
		options.Tracer = n.tracer
	}
	n.kept = options.Cache.WithDefaults()
	n.proxy, err = proxy.New(options)
	if err != nil {
		return err
	}
	n.current.Store(first)
	n.proxy.SetSite(site)
	listener, secure, err := passedListeners()
	if err != nil {
		return err
	}
	if listener == nil {
		if listener, err = n.proxy.Listen(); err != nil {
			return listenError(err, "--listen", "server.listen")
		}
	}
	n.undo = append(n.undo, func() { listener.Close() })
	if secure == nil {
		if secure, err = n.proxy.ListenTLS(); err != nil {
			return listenError(err, "--tls-listen", "server.tls.listen")
		}
	} else if !server.TLS.Enabled() {
		return fmt.Errorf("a socket named %s was passed on, but server.tls has no certificates", secureSocket)
	}
	n.address = listener.Addr()
	go n.serveSite(n.proxy.Serve, listener)
	if secure != nil {
		n.tlsAddress = secure.Addr()
		n.undo = append(n.undo, func() { secure.Close() })
		go n.serveSite(n.proxy.ServeTLS, secure)
	}
	return nil
}

// tracesTimeout bounds the sending of the last traces.
const tracesTimeout = 2 * time.Second

func (n *node) openTracer(cfg proxy.Tracing) (err error) {
	if n.tracer, err = tracing.New(cfg, version, n.now, n.logger); err == nil {
		n.undo = append(n.undo, n.closeTracer)
	}
	return err
}

// closeTracer sends the last traces; a collector that does not take them keeps no node from ending.
func (n *node) closeTracer() {
	if n.tracer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tracesTimeout)
	defer cancel()
	if err := n.tracer.Close(ctx); err != nil {
		n.logger.Warn("the last traces are lost", "error", err)
	}
}

func (n *node) serveSite(serve func(net.Listener) error, listener net.Listener) {
	defer n.recovered("serve the site")
	if err := serve(listener); err != nil {
		n.failed <- fmt.Errorf("serve the site: %w", err)
	}
}

// listenError says how to choose another address.
func listenError(err error, flag, setting string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: another program is there; choose another address with %s (%s)", err, flag, setting)
	}
	return fmt.Errorf("%w (the address is %s, %s)", err, flag, setting)
}

func (n *node) openAdmin(cfg *config.Config) error {
	token, err := dashboard.LoadOrCreateToken(n.dir, rand.Reader)
	if err != nil {
		return err
	}
	n.admin = dashboard.New(cfg.Admin, token, dashboard.Node{
		Ready:   n.checks(),
		Report:  n.report,
		Status:  n.status,
		Metrics: n.metricsHandler(),
		Version: version,

		Switches:   switches{n},
		Cache:      n.cache(),
		LastReload: n.reloadShown,
	}, n.logger)
	if err := n.admin.Listen(); err != nil {
		return listenError(err, "--admin-listen", "admin.listen")
	}
	go func() {
		defer n.recovered("watch the admin listener")
		n.failed <- fmt.Errorf("serve the admin listener: %w", <-n.admin.Failed())
	}()
	return nil
}

// change puts a new generation in the place of the current one, or leaves
// everything as it is. What only a restart can change is said.
func (n *node) change(ctx context.Context, cfg *config.Config) error {
	old := n.current.Load()
	next, err := n.compile(ctx, cfg, old.number+1)
	if err != nil {
		return err
	}
	if err := n.takeOver(next); err != nil {
		next.abandon()
		return err
	}
	n.warnOfFixedSettings(old.cfg, cfg)
	return nil
}

// takeOver makes a generation the one that requests see.
func (n *node) takeOver(next *generation) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	site, err := n.site(next)
	if err != nil {
		return err
	}
	next.bound.trial.Keep()
	n.current.Store(next)
	n.proxy.SetSite(site)
	return nil
}

// close ends the node in order: balancers first learn of it, requests run to their
// end, then what they recorded is written.
func (n *node) close(ctx context.Context) error {
	n.logger.Info("shutting down")
	n.admin.Drain()
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	note("drain the site", n.proxy.Shutdown(ctx))
	n.closeTracer()
	n.endLedger()
	note("apply events", n.ledger.CatchUp(ctx))
	note("close the ledger", n.ledger.Close())
	note("close the event log", n.events.Close())
	note("stop plugins", n.closePlugins(ctx))
	note("close the admin listener", n.admin.Shutdown(ctx))
	return errors.Join(errs...)
}
