package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sedge-proxy/sedge/plugins"
)

// maxSocketDir keeps the paths of sockets below the limit of the system, 104 bytes
// on some, with the two names that go-plugin appends.
const maxSocketDir = 104 - len("/plugin-dir0123456789/plugin0123456789") - 1

// Options are what a host is made of.
type Options struct {
	// Logger gets what the host and its plugins say. Nil: nothing is logged.
	Logger *slog.Logger

	// Builtins are the plugins that ship with this program, by name.
	Builtins map[string]plugins.Plugin

	// SelfCommand returns the command that starts this program again so that it
	// serves the built-in plugin of that name with package sdk. Nil: built-in
	// plugins can only run in process.
	SelfCommand func(name string) []string

	// SocketDir is where sockets are made; it should be short and is made with
	// mode 0700. By default, and if it is too long, a temporary one is used.
	SocketDir string

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Host runs the plugins of a configuration. Its methods may be called concurrently.
type Host struct {
	options Options
	logger  *slog.Logger
	thread  *thread

	reconcile sync.Mutex // one at a time

	mu      sync.Mutex
	members map[string]*member   // by name, of the last configuration
	all     map[*member]struct{} // these and retired ones that still serve
	sockets string
	remove  bool // the directory of sockets is ours
	closed  bool
}

// New makes a host that runs nothing yet.
func New(o Options) *Host {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Host{
		options: o, logger: o.Logger, thread: newThread(),
		members: make(map[string]*member), all: make(map[*member]struct{}),
	}
}

// Builtins returns the names of the built-in plugins, sorted.
func (h *Host) Builtins() []string {
	names := make([]string, 0, len(h.options.Builtins))
	for name := range h.options.Builtins {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Reconcile brings the host to the plugins of cfgs. New and changed ones are
// started first; if any cannot be started, nothing changes and the error says
// everything that is wrong: [decision.Faults] of the entries, or one [*Error] for
// each plugin that did not start, joined. Replaced and removed ones go on serving the handles
// that they have.
func (h *Host) Reconcile(ctx context.Context, cfgs []Config) error {
	trial, err := h.Try(ctx, cfgs)
	if err == nil {
		trial.Keep()
	}
	return err
}

// Trial is a change of the host's plugins that can still be taken back. Exactly one
// of its methods is called, before the next change.
type Trial struct {
	host     *Host
	old, new map[string]*member
}

// Try is Reconcile for whoever may yet find that the configuration cannot be used:
// what it replaces is retired by [Trial.Keep] only.
func (h *Host) Try(ctx context.Context, cfgs []Config) (*Trial, error) {
	h.reconcile.Lock()
	defer h.reconcile.Unlock()
	if err := Validate(cfgs, h.Builtins()).Err(); err != nil {
		return nil, err
	}
	next, started, err := h.startMissing(ctx, cfgs)
	if err != nil {
		for _, m := range started {
			h.drop(m)
		}
		return nil, err
	}
	h.mu.Lock()
	trial := &Trial{host: h, old: h.members, new: next}
	h.members = next
	h.mu.Unlock()
	return trial, nil
}

// Keep retires what the change replaced.
func (t *Trial) Keep() { retireOthers(t.old, t.new) }

// Undo goes back to what was before, and retires what the change started.
func (t *Trial) Undo() {
	t.host.mu.Lock()
	if !t.host.closed {
		t.host.members = t.old
	}
	t.host.mu.Unlock()
	retireOthers(t.new, t.old)
}

// retireOthers retires the members that are not among those that stay.
func retireOthers(members, stay map[string]*member) {
	for name, m := range members {
		if stay[name] != m {
			m.retire()
		}
	}
}

// startMissing returns the members of the next configuration, and which of them are new.
func (h *Host) startMissing(ctx context.Context, cfgs []Config) (map[string]*member, []*member, error) {
	made := make([]*member, len(cfgs))
	errs := make([]error, len(cfgs))
	reused := make([]bool, len(cfgs))
	var wait sync.WaitGroup
	for i, cfg := range cfgs {
		cfg = cfg.withDefaults()
		print := cfg.fingerprint()
		h.mu.Lock()
		old := h.members[cfg.Name]
		h.mu.Unlock()
		if old != nil && old.cfg.same(cfg) && old.print == print {
			made[i], reused[i] = old, true
			old.source.kick()
			continue
		}
		wait.Go(func() {
			made[i], errs[i] = h.start(ctx, cfg, print)
		})
	}
	wait.Wait()
	next := make(map[string]*member)
	var started []*member
	for i, m := range made {
		if m == nil {
			continue
		}
		next[m.cfg.Name] = m
		if !reused[i] {
			started = append(started, m)
		}
	}
	return next, started, errors.Join(errs...)
}

// start starts one plugin.
func (h *Host) start(ctx context.Context, cfg Config, print string) (*member, error) {
	m := &member{cfg: cfg, print: print, host: h}
	source, err := h.source(ctx, m)
	if err != nil {
		return nil, &Error{Plugin: cfg.Name, Kind: Down, Err: err}
	}
	m.source = source
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.all[m] = struct{}{}
	}
	h.mu.Unlock()
	if closed {
		source.stop(ctx)
		return nil, &Error{Plugin: cfg.Name, Kind: Closed, Err: errHostClosed}
	}
	return m, nil
}

func (h *Host) source(ctx context.Context, m *member) (source, error) {
	cfg := m.cfg
	if cfg.InProcess {
		p := contain(h.options.Builtins[cfg.Builtin], cfg.MaxConcurrent)
		m.gate = newGate(cfg, h.options.Now, func(int) {})
		return &inside{session: &session{plugin: p, started: h.options.Now()}}, nil
	}
	command := cfg.Command
	if len(command) == 0 {
		if h.options.SelfCommand == nil {
			return nil, errors.New("a built-in plugin needs in_process here")
		}
		command = h.options.SelfCommand(cfg.Builtin)
	}
	dir, err := h.socketDir()
	if err != nil {
		return nil, err
	}
	var p *process
	m.gate = newGate(cfg, h.options.Now, func(opens int) { p.suspect(opens) })
	p, err = startProcess(ctx, launcher{
		cfg: cfg, command: command, env: cfg.environment(os.LookupEnv), dir: dir,
		thread: h.thread, logger: h.logger.With("plugin", cfg.Name), now: h.options.Now,
	}, m.gate.reset)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// socketDir makes the directory of sockets at the first need.
func (h *Host) socketDir() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sockets != "" {
		return h.sockets, nil
	}
	if h.closed {
		return "", errHostClosed
	}
	if dir := h.options.SocketDir; dir != "" && len(dir) <= maxSocketDir {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("make directory of sockets: %w", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return "", fmt.Errorf("make directory of sockets: %w", err)
		}
		h.sockets = dir
		return dir, nil
	}
	base := os.TempDir()
	if len(base) > maxSocketDir-len("/sedge-0123456789") {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "sedge-")
	if err != nil {
		return "", fmt.Errorf("make directory of sockets: %w", err)
	}
	h.sockets, h.remove = filepath.Clean(dir), true
	return h.sockets, nil
}

// Configure makes an instance of the named plugin for one experience. A wrong
// setting is a [*plugins.SettingError], possibly several joined; any other failure
// is an [*Error]. While the plugin's
// process is being restarted, Configure waits for it until ctx ends, at most for
// the plugin's start_timeout.
func (h *Host) Configure(ctx context.Context, plugin string, settings json.RawMessage) (*Handle, error) {
	h.mu.Lock()
	m := h.members[plugin]
	names := make([]string, 0, len(h.members))
	for name := range h.members {
		names = append(names, name)
	}
	h.mu.Unlock()
	if m == nil || !m.ref() {
		slices.Sort(names)
		return nil, fmt.Errorf("plugin %q is not configured; there are: %s", plugin, strings.Join(names, ", "))
	}
	handle, err := m.configure(ctx, slices.Clone(settings))
	if err != nil {
		m.unref()
		if len(plugins.SettingErrors(err)) > 0 {
			return nil, err // it speaks of the experience, not of the plugin
		}
		if kindOf(err) == Timeout && ctx.Err() == nil {
			err = fmt.Errorf("it did not check these settings within %s: %w", m.cfg.StartTimeout, err)
		}
		return nil, &Error{Plugin: plugin, Kind: kindOf(err), Err: err}
	}
	return handle, nil
}

// Close stops everything, in order until ctx ends and by force then. Handles fail
// from now on.
func (h *Host) Close(ctx context.Context) error {
	h.reconcile.Lock()
	defer h.reconcile.Unlock()
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	all := make([]*member, 0, len(h.all))
	for m := range h.all {
		all = append(all, m)
	}
	h.members = make(map[string]*member)
	h.mu.Unlock()
	var wait sync.WaitGroup
	for _, m := range all {
		wait.Go(func() { m.source.stop(ctx) })
	}
	wait.Wait()
	h.thread.close()
	if h.remove {
		return os.RemoveAll(h.sockets)
	}
	return nil
}

// drop stops a member that nothing uses.
func (h *Host) drop(m *member) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*stopGrace)
	defer cancel()
	m.source.stop(ctx)
	h.mu.Lock()
	delete(h.all, m)
	h.mu.Unlock()
}
