package host

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/sedge-proxy/sedge/plugins/internal/wire"
)

// source is where a plugin runs: in a process, or inside this one.
type source interface {
	current() *session // nil while none runs
	await(ctx context.Context) (*session, error)
	kick()
	stop(ctx context.Context)
}

// member is one plugin of a configuration. Retired by a later configuration, it
// lives until its last handle is closed.
type member struct {
	cfg    Config
	print  string
	host   *Host
	source source
	gate   *gate

	mu      sync.Mutex
	refs    int
	retired bool
}

func (m *member) ref() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retired {
		return false
	}
	m.refs++
	return true
}

func (m *member) unref() {
	m.mu.Lock()
	m.refs--
	last := m.retired && m.refs == 0
	m.mu.Unlock()
	if last {
		m.host.drop(m)
	}
}

func (m *member) retire() {
	m.mu.Lock()
	m.retired = true
	last := m.refs == 0
	m.mu.Unlock()
	if last {
		go m.host.drop(m)
	}
}

// configure makes a handle.
func (m *member) configure(ctx context.Context, settings json.RawMessage) (*Handle, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.StartTimeout)
	defer cancel()
	if len(settings) > wire.MaxSettings {
		return nil, fmt.Errorf("settings have %d bytes, at most %d are allowed", len(settings), wire.MaxSettings)
	}
	if len(settings) == 0 {
		settings = json.RawMessage("{}")
	}
	s, err := m.source.await(ctx)
	if err != nil {
		return nil, err
	}
	instance, err := s.plugin.Configure(ctx, settings)
	if err != nil {
		return nil, err
	}
	h := &Handle{
		member: m, settings: settings, scope: instance.Scope,
		description: s.plugin.Describe(), rebind: make(chan struct{}, 1),
	}
	h.bound.Store(&binding{session: s, instance: instance})
	return h, nil
}

// inside is the source of a plugin that runs in this process.
type inside struct {
	mu      sync.Mutex
	session *session
}

func (i *inside) current() *session {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.session
}

func (i *inside) await(context.Context) (*session, error) {
	if s := i.current(); s != nil {
		return s, nil
	}
	return nil, errClosed
}

func (i *inside) kick() {}

func (i *inside) stop(context.Context) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.session = nil
}
