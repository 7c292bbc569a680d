package host

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sedge-proxy/sedge/plugins/internal/wire"
)

// maxPause is the longest time for which a breaker opens.
const maxPause = 30 * time.Second

// gate bounds the calls to one plugin: how long, how many at a time, and none
// while it is sick.
type gate struct {
	timeout time.Duration
	slots   chan struct{}
	now     func() time.Time
	stuck   func(times int) // told when the breaker opens because no answers come, with how often it did in a row

	calls, failures, timeouts, refused atomic.Uint64

	mu      sync.Mutex
	breaker breaker
}

func newGate(c Config, now func() time.Time, stuck func(int)) *gate {
	return &gate{
		timeout: c.Timeout, slots: make(chan struct{}, c.MaxConcurrent), now: now, stuck: stuck,
		breaker: breaker{limit: c.BreakerFailures, pause: c.BreakerPause},
	}
}

// call runs one call. It returns when the call does: what runs must honour ctx.
func (g *gate) call(ctx context.Context, run func(context.Context) error) error {
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	default:
		g.refused.Add(1)
		return errBusy
	}
	if !g.allow() {
		g.refused.Add(1)
		return errOpen
	}
	g.calls.Add(1)
	bounded, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	err := run(bounded)
	g.note(ctx, err)
	return err
}

func (g *gate) allow() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.breaker.allow(g.now())
}

// note counts the outcome. A call that its caller gave up says nothing about the plugin.
func (g *gate) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		g.failures.Add(1)
		if errors.Is(err, context.DeadlineExceeded) {
			g.timeouts.Add(1)
		}
	}
	g.mu.Lock()
	before := g.breaker.opens
	switch {
	case err == nil:
		g.breaker.succeed()
	case ctx.Err() != nil || errors.Is(err, errBusy):
		g.breaker.forget()
	default:
		g.breaker.fail(g.now())
	}
	after := g.breaker.opens
	g.mu.Unlock()
	if after > before && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, wire.ErrUnavailable)) {
		g.stuck(after)
	}
}

// reset closes the breaker: another process serves the plugin now.
func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.breaker.succeed()
}

func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.breaker.opens > 0
}

// breaker counts failures in a row. Open, it lets nobody through for a while,
// then one caller to try.
type breaker struct {
	limit int
	pause time.Duration

	failures int
	opens    int // times it opened in a row; 0: closed
	until    time.Time
	trying   bool
}

func (b *breaker) allow(now time.Time) bool {
	switch {
	case b.opens == 0:
		return true
	case b.trying || now.Before(b.until):
		return false
	}
	b.trying = true
	return true
}

func (b *breaker) succeed() { b.failures, b.opens, b.trying = 0, 0, false }

func (b *breaker) forget() { b.trying = false }

func (b *breaker) fail(now time.Time) {
	b.failures++
	if b.opens == 0 && b.failures < b.limit || b.opens > 0 && !b.trying {
		return // not enough yet, or a call from before it opened
	}
	b.until = now.Add(min(b.pause<<min(b.opens, 10), maxPause))
	b.opens++
	b.trying = false
}
