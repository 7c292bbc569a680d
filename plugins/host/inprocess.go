package host

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/internal/wire"
)

// contained runs a plugin inside this process as if it were outside: a panic is an
// error, and a call that does not heed its deadline is left behind. Calls left
// behind are bounded too.
type contained struct {
	plugins.Plugin
	slots chan struct{}
}

func contain(p plugins.Plugin, concurrent int) *contained {
	return &contained{Plugin: p, slots: make(chan struct{}, 2*concurrent)}
}

// Configure implements [plugins.Plugin].
func (c *contained) Configure(ctx context.Context, settings json.RawMessage) (*plugins.Instance, error) {
	instance, err := aside(ctx, c.slots, func() (*plugins.Instance, error) { return c.Plugin.Configure(ctx, settings) })
	if err != nil {
		return nil, err
	}
	if err := wire.CheckInstance(instance); err != nil {
		return nil, err
	}
	return &plugins.Instance{Scope: instance.Scope, Plan: c.plan(instance), Close: instance.Close}, nil
}

func (c *contained) plan(instance *plugins.Instance) func(context.Context, *plugins.Request) (*plugins.Answer, error) {
	return func(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
		r = wire.Repair(r)
		answer, err := aside(ctx, c.slots, func() (*plugins.Answer, error) { return instance.Plan(ctx, r) })
		if err != nil {
			return nil, err
		}
		if answer == nil {
			return &plugins.Answer{}, nil
		}
		if err := wire.CheckAnswer(answer); err != nil {
			return nil, fmt.Errorf("%w: %w", wire.ErrInvalid, err)
		}
		bounded := *answer
		bounded.TTL = min(bounded.TTL, wire.MaxTTL)
		return &bounded, nil
	}
}

// aside runs fn in a goroutine of its own and waits for it until ctx ends.
func aside[T any](ctx context.Context, slots chan struct{}, fn func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	select {
	case slots <- struct{}{}:
	default:
		return none, errBusy
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if value := recover(); value != nil {
				r = result{err: fmt.Errorf("%w: %v\n%s", wire.ErrPanic, value, firstFrames(debug.Stack()))}
			}
			<-slots
			done <- r
		}()
		r.value, r.err = fn()
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

func firstFrames(stack []byte) []byte { return stack[:min(len(stack), 2048)] }
