package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/sedge-proxy/sedge/config"
	"github.com/sedge-proxy/sedge/dashboard"
	"github.com/sedge-proxy/sedge/proxy"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// siteURL is where visitors reach the node from this machine.
func (n *node) siteURL() string { return baseURL(reachable(n.address)) }

// tlsURL is where visitors reach the node over TLS, "" if they cannot.
func (n *node) tlsURL() string {
	if n.tlsAddress == nil {
		return ""
	}
	return "https://" + reachable(n.tlsAddress)
}

// adminURL is where the admin listener is reached from this machine.
func (n *node) adminURL() string { return baseURL(reachable(n.admin.Addr())) }

// reachable writes the address of a listener that is open to all as one that can
// be called.
func reachable(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}).String()
	}
	return address.String()
}

// checks are what must hold for the node to be ready.
func (n *node) checks() []dashboard.Check {
	return []dashboard.Check{
		{Name: "configuration", Err: func() error {
			if n.current.Load() == nil {
				return errors.New("not loaded yet")
			}
			return nil
		}},
		{Name: "event log", Err: func() error { return n.events.Stats().Failure }},
		{Name: "ledger", Err: func() error {
			if failure := n.ledger.Stats().Failure; failure != "" {
				return errors.New(failure)
			}
			return nil
		}},
		// The node can do its part all the same: taking it out would only take its
		// cache, its error pages and its tries away, and all nodes see one origin.
		{Name: "upstreams", Advisory: true, Err: n.upstreamsAway},
	}
}

// upstreamsAway names the upstreams that cannot be reached at present.
func (n *node) upstreamsAway() error {
	var away []string
	for _, u := range n.upstreamStatus() {
		if !u.Available() {
			away = append(away, u.name)
		}
	}
	if len(away) > 0 {
		return fmt.Errorf("no server is up: %s", strings.Join(away, ", "))
	}
	return nil
}

// upstreamStatus tells how the upstreams of the current configuration are.
func (n *node) upstreamStatus() []namedStatus {
	g := n.current.Load()
	if g == nil {
		return nil
	}
	return n.upstreams.status(g.cfg.Upstreams)
}

// report is the ledger's sums as the analyst sees them. Events that were accepted
// a moment ago are waited for, so that a report holds what its reader has just done.
func (n *node) report(ctx context.Context) (*dashboard.Report, error) {
	n.settle(ctx)
	sums, err := n.ledger.Summary(ctx)
	if err != nil {
		return nil, err
	}
	report := dashboard.BuildReport(sums, n.current.Load().experiments, n.now())
	report.Switches = switches{n}.Off()
	return report, nil
}

// reloadShown is how the last reload went; nil before there was one.
func (n *node) reloadShown() *dashboard.Reload {
	last := n.lastReload.Load()
	if last == nil {
		return nil
	}
	shown := &dashboard.Reload{At: last.at, OK: last.err == nil}
	if last.err != nil {
		shown.Error = last.err.Error()
	}
	return shown
}

// settleTimeout bounds the wait of a report; after it the report shows what the
// ledger has.
const settleTimeout = 2 * time.Second

func (n *node) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	_ = n.ledger.Await(ctx) // what fails is shown by the status and repeated by the ledger
}

type statusReport struct {
	Version    string            `json:"version"`
	Generation uint64            `json:"generation"`
	File       string            `json:"file"`
	LastReload *dashboard.Reload `json:"last_reload,omitempty"`
	Switches   []dashboard.Off   `json:"switches"`
	Upstreams  []upstreamStatus  `json:"upstreams"`
	Segments   []string          `json:"segments"`
	Plugins    []pluginStatus    `json:"plugins"`
	EventLog   eventLogStatus    `json:"event_log"`

	Cache dashboard.CacheUsage `json:"cache"`
}

type upstreamStatus struct {
	Name        string         `json:"name"`
	BreakerOpen bool           `json:"breaker_open"`
	Retries     uint64         `json:"retries"`
	Servers     []serverStatus `json:"servers"`
}

type serverStatus struct {
	Address      string         `json:"address"`
	State        upstream.State `json:"state"`
	Active       int            `json:"active_connections"`
	Idle         int            `json:"idle_connections"`
	Requests     uint64         `json:"requests"`
	Errors       uint64         `json:"errors"`
	Ejections    uint64         `json:"ejections"`
	FailedChecks uint64         `json:"failed_checks"`
}

type pluginStatus struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`
	PID       int       `json:"pid,omitempty"`
	Since     time.Time `json:"since"`
	Restarts  int       `json:"restarts"`
	LastDeath string    `json:"last_death,omitempty"`
	Calls     uint64    `json:"calls"`
	Failures  uint64    `json:"failures"`
	Timeouts  uint64    `json:"timeouts"`
}

type eventLogStatus struct {
	Bytes       int64  `json:"bytes"`
	QueuedBytes int    `json:"queued_bytes"`
	LedgerLag   int64  `json:"ledger_lag_bytes"`
	Durable     uint64 `json:"durable_offset"`
}

// status is what GET /api/v1/status shows.
func (n *node) status() any {
	g := n.current.Load()
	events := n.events.Stats()
	s := statusReport{
		Version: version, Generation: g.number, File: g.cfg.File(), LastReload: n.reloadShown(), Switches: switches{n}.Off(),
		Upstreams: []upstreamStatus{}, Segments: []string{}, Plugins: []pluginStatus{},
		EventLog: eventLogStatus{Bytes: events.Bytes, QueuedBytes: events.Queued, LedgerLag: n.ledger.Stats().Lag, Durable: uint64(events.Durable)},
		Cache:    n.cacheUsage(),
	}
	for _, segment := range g.cfg.Segments {
		s.Segments = append(s.Segments, segment.Name)
	}
	for _, u := range n.upstreamStatus() {
		s.Upstreams = append(s.Upstreams, showUpstream(u))
	}
	for _, p := range n.plugins.Status() {
		s.Plugins = append(s.Plugins, pluginStatus{
			Name: p.Name, State: string(p.State), PID: p.PID, Since: p.Since, Restarts: p.Restarts,
			LastDeath: p.LastDeath, Calls: p.Calls, Failures: p.Failures, Timeouts: p.Timeouts,
		})
	}
	return s
}

func showUpstream(u namedStatus) upstreamStatus {
	shown := upstreamStatus{Name: u.name, BreakerOpen: u.BreakerOpen, Retries: u.Retries}
	for _, s := range u.Servers {
		server := serverStatus{
			Address: s.Address, State: s.State, Active: s.Active, Idle: s.Idle,
			Requests: s.Requests, Ejections: s.Ejections, FailedChecks: s.FailedChecks,
		}
		for _, count := range s.Errors {
			server.Errors += count
		}
		shown.Servers = append(shown.Servers, server)
	}
	return shown
}

// warnOfFixedSettings says which changed settings wait for a restart.
func (n *node) warnOfFixedSettings(old, changed *config.Config) {
	var blocks []string
	for _, block := range []struct {
		name         string
		before, then any
	}{
		{"server", fixedServer(old), fixedServer(changed)}, {"admin", old.Admin, changed.Admin}, {"cache", old.Cache, changed.Cache},
		{"profile", old.Profile, changed.Profile}, {"events", old.Events, changed.Events},
		{"visitor key files", visitorKeys(old), visitorKeys(changed)},
	} {
		if !reflect.DeepEqual(block.before, block.then) {
			blocks = append(blocks, block.name)
		}
	}
	if len(blocks) > 0 {
		n.logger.Warn("some changed settings take effect after a restart only", "blocks", strings.Join(blocks, ", "))
	}
}

// fixedServer are the settings of the server that a reload leaves as they were.
func fixedServer(c *config.Config) proxy.Config {
	server := c.Server
	server.Bypass = false
	return server
}

func visitorKeys(c *config.Config) []string {
	return append([]string{c.Visitor.KeyFile}, c.Visitor.PreviousKeyFiles...)
}
