package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sedge-proxy/sedge/config"
)

// shutdownTimeout bounds all of the ending: draining requests, writing what is
// queued, stopping plugins.
const shutdownTimeout = 20 * time.Second

func (a *app) serveCommand() *cobra.Command {
	var flags nodeFlags
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "serve -c FILE",
		Short: "Run Sedge in front of a site",
		Long: `Run Sedge with a configuration file.

The file is read again when it changes and on SIGHUP; on any fault in it the old
configuration stays, and the log says what is wrong. SIGTERM and Ctrl-C end the
node in order: no new requests, running ones to their end, everything on disk. A
second one ends it at once, and loses nothing that was acknowledged.

Sockets that systemd passes on (LISTEN_FDS) take the place of server.listen, and
one named https that of server.tls.listen. They let a restart refuse nobody.`,
		Example: `  sedge serve -c sedge.yaml
  sedge serve -c sedge.yaml --listen :80 --data-dir /var/lib/sedge
  SEDGE_SERVER_LISTEN=:80 sedge serve -c sedge.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.open(a.stderr)
			if err != nil {
				return err
			}
			defer logger.close()
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			n, err := openNode(cmd.Context(), cfg, logger)
			if err != nil {
				return err
			}
			reread := func() (*config.Config, error) { return loadConfig(cfg.File(), flags.overrides()) }
			logger.Info("serving", "site", n.siteURL(), "tls", n.tlsURL(), "admin", n.adminURL(), "data_dir", cfg.Server.DataDir, "version", version)
			return n.run(cmd.Context(), reread)
		},
	}
	flags.register(cmd)
	logs.register(cmd, "info", "json")
	return cmd
}

// run serves until ctx ends or a listener fails, and then ends the node in order.
func (n *node) run(ctx context.Context, reread func() (*config.Config, error)) error {
	changed := make(chan struct{}, 1)
	noteChange := func() {
		select {
		case changed <- struct{}{}:
		default: // one is due already, and it will read what is there then
		}
	}
	signal.Ignore(syscall.SIGPIPE) // whoever read the log may end before us
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	go n.watch(watching, noteChange)

	var failure error
	for failure == nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-hangup: // whatever the file says: a plugin's program may be new
			n.reload(ctx, reread, false)
		case <-changed:
			n.reload(ctx, reread, true)
		case failure = <-n.failed:
			n.logger.Error("a part of the node ended", "error", failure)
		}
	}
	stopWatching()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := n.close(ending); err != nil {
		n.logger.Error("shutdown", "error", err)
	}
	n.logger.Info("stopped")
	return failure
}

func (n *node) watch(ctx context.Context, changed func()) {
	defer n.recovered("watch the configuration")
	if err := config.Watch(ctx, n.current.Load().cfg, changed); err != nil {
		n.logger.Warn("changes of the configuration file are not noticed; send SIGHUP instead", "error", err)
	}
}

// reload reads the configuration again and changes to it as a whole, or not at all.
// With skipSame, a file that says what is in force already is left alone.
func (n *node) reload(ctx context.Context, reread func() (*config.Config, error), skipSame bool) {
	started := n.now()
	cfg, err := reread()
	if err == nil && skipSame && cfg.SameText(n.current.Load().cfg) {
		n.forgiveReload(started)
		return
	}
	if err == nil {
		err = n.change(ctx, cfg)
	}
	if err != nil {
		n.lastReload.Store(&reloadResult{at: started, err: err})
		n.logger.Error("reload refused; the old configuration stays", "error", err)
		return
	}
	n.lastReload.Store(&reloadResult{at: started})
	n.lastGood.Store(&started)
	n.logger.Info("reloaded", "generation", n.current.Load().number, "took", n.now().Sub(started).Round(time.Millisecond).String())
}

// forgiveReload notes that a file whose change was refused says again what is in force.
func (n *node) forgiveReload(at time.Time) {
	if last := n.lastReload.Load(); last != nil && last.err != nil {
		n.lastReload.Store(&reloadResult{at: at})
		n.lastGood.Store(&at)
		n.logger.Info("the configuration file says again what is in force", "generation", n.current.Load().number)
	}
}

// recovered keeps a panic in a goroutine of ours from taking the site down.
func (n *node) recovered(what string) {
	if p := recover(); p != nil {
		n.logger.Error("panic", "in", what, "panic", fmt.Sprint(p))
	}
}
