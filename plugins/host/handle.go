package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/internal/wire"
)

// Handle is a plugin configured for one experience. It survives restarts of the
// plugin's process. Its methods may be called concurrently.
type Handle struct {
	member      *member
	settings    json.RawMessage
	scope       decision.Scope
	description plugins.Description

	bound  atomic.Pointer[binding]
	rebind chan struct{} // held by the one who binds anew

	mu     sync.Mutex
	users  int
	closed bool
}

// binding is an instance in one running session.
type binding struct {
	session  *session
	instance *plugins.Instance
}

// Scope says what answers may depend on.
func (h *Handle) Scope() decision.Scope { return h.scope }

// Description says what plugin this is.
func (h *Handle) Description() plugins.Description { return h.description }

// Plan asks the plugin. Its error is an [*Error]. It returns at the plugin's
// timeout or at the end of ctx, whichever is first.
func (h *Handle) Plan(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
	if !h.enter() {
		return nil, &Error{Plugin: h.member.cfg.Name, Kind: Closed, Err: errClosed}
	}
	defer h.leave()
	var answer *plugins.Answer
	err := h.member.gate.call(ctx, func(ctx context.Context) error {
		var err error
		answer, err = h.plan(ctx, r)
		return err
	})
	if err != nil {
		return nil, &Error{Plugin: h.member.cfg.Name, Kind: kindOf(err), Err: err}
	}
	return answer, nil
}

func (h *Handle) plan(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
	b, err := h.bind(ctx, nil)
	if err != nil {
		return nil, err
	}
	answer, err := b.instance.Plan(ctx, r)
	if !errors.Is(err, wire.ErrNoInstance) {
		return answer, err
	}
	if b, err = h.bind(ctx, b); err != nil {
		return nil, err
	}
	return b.instance.Plan(ctx, r)
}

// bind returns the instance in the running session, and configures it there if it
// is not yet, or if it is the lost one.
func (h *Handle) bind(ctx context.Context, lost *binding) (*binding, error) {
	s := h.member.source.current()
	if s == nil {
		return nil, errDown
	}
	if b := h.bound.Load(); b != lost && b != nil && b.session == s {
		return b, nil
	}
	select {
	case h.rebind <- struct{}{}:
		defer func() { <-h.rebind }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b := h.bound.Load(); b != lost && b != nil && b.session == s {
		return b, nil
	}
	instance, err := s.plugin.Configure(ctx, h.settings)
	if err != nil {
		return nil, fmt.Errorf("configure again after a restart: %w", err)
	}
	if !reflect.DeepEqual(normal(instance.Scope), normal(h.scope)) {
		release(instance)
		return nil, errors.New("its scope changed with a restart: reload the configuration")
	}
	b := &binding{session: s, instance: instance}
	h.bound.Store(b)
	return b, nil
}

// normal makes scopes comparable: an empty list and none are the same.
func normal(s decision.Scope) decision.Scope {
	for _, list := range []*[]string{&s.Query, &s.Experiments, &s.Attributes} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(s.Bodies) == 0 {
		s.Bodies = nil
	}
	return s
}

func release(i *plugins.Instance) {
	defer func() { _ = recover() }()
	if i.Close != nil {
		i.Close()
	}
}

func (h *Handle) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.users++
	return true
}

func (h *Handle) leave() {
	h.mu.Lock()
	h.users--
	last := h.closed && h.users == 0
	h.mu.Unlock()
	if last {
		h.end()
	}
}

// Close lets the instance go when its last call has ended. It does not wait.
// Closing twice is harmless.
func (h *Handle) Close() {
	h.mu.Lock()
	last := !h.closed && h.users == 0
	h.closed = true
	h.mu.Unlock()
	if last {
		h.end()
	}
}

// end runs aside: releasing speaks to the process.
func (h *Handle) end() {
	go func() {
		if b := h.bound.Load(); b != nil && b.session == h.member.source.current() {
			release(b.instance)
		}
		h.member.unref()
	}()
}
