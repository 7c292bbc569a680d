package main

import (
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// upstreamPool keeps upstreams, with their connections and health, over reloads: an
// entry of the configuration that did not change keeps its upstream, and one that did
// hands on the servers whose settings stay.
type upstreamPool struct {
	now func() time.Time
	log *slog.Logger

	mu    sync.Mutex
	known []*sharedUpstream // the newest last
}

type sharedUpstream struct {
	*upstream.Upstream
	config upstream.Config
	users  int // generations
}

func newUpstreamPool(now func() time.Time, log *slog.Logger) *upstreamPool {
	return &upstreamPool{now: now, log: log}
}

// take returns the upstreams of a configuration by name, for one generation. Each
// take is given back once.
func (p *upstreamPool) take(configs []upstream.Config) (map[string]*upstream.Upstream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	byName := make(map[string]*upstream.Upstream, len(configs))
	for i, c := range configs {
		shared := p.find(c)
		if shared == nil {
			u, err := p.open(c)
			if err != nil {
				p.releaseLocked(configs[:i])
				return nil, err
			}
			shared = &sharedUpstream{Upstream: u, config: c}
			p.known = append(p.known, shared)
		}
		shared.users++
		byName[c.Name] = shared.Upstream
	}
	return byName, nil
}

// find returns nil for an upstream that is new or has changed.
func (p *upstreamPool) find(c upstream.Config) *sharedUpstream {
	for _, shared := range p.known {
		if reflect.DeepEqual(shared.config, c) {
			return shared
		}
	}
	return nil
}

// open makes an upstream, out of the newest one of that name if there is one.
func (p *upstreamPool) open(c upstream.Config) (*upstream.Upstream, error) {
	for _, before := range slices.Backward(p.known) {
		if before.config.Name == c.Name {
			return before.With(c)
		}
	}
	return upstream.New(c, upstream.Deps{Now: p.now, Log: p.log})
}

// give back what a generation took; an upstream that no generation uses is closed.
func (p *upstreamPool) give(configs []upstream.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseLocked(configs)
}

func (p *upstreamPool) releaseLocked(configs []upstream.Config) {
	for _, c := range configs {
		shared := p.find(c)
		if shared.users--; shared.users == 0 {
			p.known = slices.DeleteFunc(p.known, func(s *sharedUpstream) bool { return s == shared })
			shared.Close()
		}
	}
}

// namedStatus is one upstream at one moment.
type namedStatus struct {
	name string
	upstream.Status
}

// status tells how the upstreams of a configuration are, in its order.
func (p *upstreamPool) status(configs []upstream.Config) (list []namedStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range configs {
		if shared := p.find(c); shared != nil {
			list = append(list, namedStatus{c.Name, shared.Status()})
		}
	}
	return list
}
