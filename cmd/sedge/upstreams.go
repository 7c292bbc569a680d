package main

import (
	"sync"
	"time"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// upstreamPool keeps upstreams, with their connections, over reloads: an entry of
// the configuration that did not change keeps its upstream.
type upstreamPool struct {
	now func() time.Time

	mu    sync.Mutex
	known map[upstream.Config]*sharedUpstream
}

type sharedUpstream struct {
	*upstream.Upstream
	users int // generations
}

func newUpstreamPool(now func() time.Time) *upstreamPool {
	return &upstreamPool{now: now, known: map[upstream.Config]*sharedUpstream{}}
}

// take returns the upstreams of a configuration by name, for one generation. Each
// take is given back once.
func (p *upstreamPool) take(configs []upstream.Config) (map[string]*upstream.Upstream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	byName := make(map[string]*upstream.Upstream, len(configs))
	for i, c := range configs {
		shared := p.known[c]
		if shared == nil {
			u, err := upstream.New(c, p.now)
			if err != nil {
				p.releaseLocked(configs[:i])
				return nil, err
			}
			shared = &sharedUpstream{Upstream: u}
			p.known[c] = shared
		}
		shared.users++
		byName[c.Name] = shared.Upstream
	}
	return byName, nil
}

// give back what a generation took; an upstream that no generation uses is closed.
func (p *upstreamPool) give(configs []upstream.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseLocked(configs)
}

func (p *upstreamPool) releaseLocked(configs []upstream.Config) {
	for _, c := range configs {
		shared := p.known[c]
		if shared.users--; shared.users == 0 {
			delete(p.known, c)
			shared.Close()
		}
	}
}
