package plan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

// maxFlight ends a call whose plugin has no timeout of its own.
const maxFlight = 30 * time.Second

// landedPerCall bounds the answers that wait to be stored, for each call that may run.
const landedPerCall = 16

// complainEvery is how often the log repeats one complaint about one experience.
const complainEvery = time.Minute

// flight is a question on its way; whoever has the same question waits for it too.
type flight struct {
	done   chan struct{}
	answer *answer // set before done is closed
}

// useful reports whether the flight is on its way, or has just landed with an
// answer that still holds.
func (f *flight) useful(now time.Time) bool {
	select {
	case <-f.done:
		return f.answer.usable(now)
	default:
		return true
	}
}

// complaint is what the log says once in a while.
type complaint struct{ experience, reason string }

// lookUp fills in the answers that are kept and returns how many are missing.
func (p *Planner) lookUp(s *scratch, q *decision.Query) (missing int) {
	for i := range s.parts {
		part := &s.parts[i]
		if part.exp.constant {
			part.answer = p.kept(part, nil)
		}
		if part.answer == nil {
			part.from = len(s.keys)
			s.keys = part.appendKey(s.keys, q)
			part.to = len(s.keys)
		}
		if part.answer == nil && !part.exp.constant {
			part.answer = p.kept(part, s.keyOf(part))
		}
		if part.answer == nil {
			missing++
		} else {
			part.exp.counts.hits.Add(1)
		}
	}
	return missing
}

// fetch asks for the missing answers, all at once, and waits until ctx ends.
func (p *Planner) fetch(ctx context.Context, s *scratch, q *decision.Query) {
	for i := range s.parts {
		if part := &s.parts[i]; part.answer == nil {
			part.flight = p.board(part, s.keyOf(part), q)
			if part.flight == nil {
				part.answer = p.outcomes[reasonBusy]
			}
		}
	}
	for i := range s.parts {
		part := &s.parts[i]
		if part.flight == nil {
			continue
		}
		select {
		case <-part.flight.done:
			part.answer = part.flight.answer
			continue
		default:
		}
		select {
		case <-part.flight.done:
			part.answer = part.flight.answer
		case <-ctx.Done():
			part.answer = p.outcomes[reasonLate]
			p.complain(part.exp, reasonLate, errLate)
		}
	}
}

var errLate = errors.New("the page could not wait for the plugin's answer")

// board joins the flight for the key, or starts one. It returns nil when too many
// are in the air.
func (p *Planner) board(part *part, key []byte, q *decision.Query) *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flights[string(key)]; f != nil && f.useful(p.now()) {
		return f
	}
	// A flight ends when its answer is stored, which may have been since this page
	// looked for it.
	if a := p.kept(part, key); a != nil {
		f := &flight{done: make(chan struct{}), answer: a}
		close(f.done)
		return f
	}
	if p.flying >= p.cfg.MaxCalls || len(p.flights) >= p.cfg.MaxCalls*landedPerCall {
		return nil
	}
	p.flying++
	f := &flight{done: make(chan struct{})}
	k := string(key)
	p.flights[k] = f
	go p.fly(f, part.exp, k, part.request(q))
	return f
}

// kept returns the stored answer, nil when there is none that still holds.
func (p *Planner) kept(part *part, key []byte) *answer {
	if !part.exp.constant {
		return p.store.answer(key, p.now)
	}
	if a := part.exp.held.Load(); a != nil && a.usableAt(p.now) {
		return a
	}
	return nil
}

// fly asks the plugin. It does not end with the page that asked.
func (p *Planner) fly(f *flight, e *experience, key string, r *plugins.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), maxFlight)
	defer cancel()
	a, ttl := p.ask(ctx, e, r)
	a.id, a.key = p.answerIDs.Add(1), key
	f.answer = a
	p.mu.Lock()
	p.flying-- // storing the answer is no call any more, and takes its time under load
	if e.constant {
		e.held.Store(a)
	}
	p.mu.Unlock()
	close(f.done)
	if !e.constant {
		p.store.keep(a, ttl)
	}
	p.mu.Lock()
	if p.flights[key] == f {
		delete(p.flights, key)
	}
	p.mu.Unlock()
}

// ask calls the plugin and checks its answer. ttl 0 means for ever.
func (p *Planner) ask(ctx context.Context, e *experience, r *plugins.Request) (a *answer, ttl time.Duration) {
	e.counts.calls.Add(1)
	raw, err := p.call(ctx, e, r)
	if err != nil {
		reason := reasonOf(err)
		e.counts.failures.Add(1)
		p.complain(e, reason, err)
		return &answer{reason: reason, err: err, expires: p.now().Add(p.cfg.RetryAfter)}, p.cfg.RetryAfter
	}
	a = &answer{edits: slices.Clone(raw.Edits), offer: maps.Clone(raw.Offer), action: raw.Action}
	a.action.Headers = slices.Clone(raw.Action.Headers)
	if raw.TTL > 0 {
		a.expires = p.now().Add(raw.TTL)
	}
	return a, raw.TTL
}

// call asks the caller. A panic on the way is an error like any other.
func (p *Planner) call(ctx context.Context, e *experience, r *plugins.Request) (a *plugins.Answer, err error) {
	defer func() {
		if value := recover(); value != nil {
			stack := debug.Stack()
			err = worded{fmt.Errorf("panic: %v\n%s", value, stack[:min(len(stack), 2048)]), reasonPanic}
		}
	}()
	a, err = e.caller.Plan(ctx, r)
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return new(plugins.Answer), nil
	}
	if err := p.checkAnswer(e, a); err != nil {
		return nil, worded{err, reasonInvalid}
	}
	return a, nil
}

// worded is an error with its reason.
type worded struct {
	error
	reason string
}

func (w worded) Reason() string { return w.reason }

func (p *Planner) checkAnswer(e *experience, a *plugins.Answer) error {
	if a.TTL < 0 {
		return fmt.Errorf("the answer has the negative TTL %s", a.TTL)
	}
	for i := range a.Edits {
		if kind := a.Edits[i].Kind(); decision.BodiesOf(kind) != 0 && !e.bodies.Has(kind) {
			return fmt.Errorf("edits[%d] is for %s bodies, which the plugin's scope does not name", i, kind)
		}
		if err := p.check(a.Edits[i]); err != nil {
			return fmt.Errorf("edits[%d]: %w", i, err)
		}
	}
	return checkAction(&a.Action)
}

func reasonOf(err error) string {
	var with interface{ Reason() string }
	if errors.As(err, &with) && slices.Contains(reasons[:], with.Reason()) {
		return with.Reason()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return reasonTimeout
	}
	return reasonError
}

// complain logs what went wrong, but not again and again.
func (p *Planner) complain(e *experience, reason string, err error) {
	now := p.now()
	key := complaint{e.name, reason}
	p.mu.Lock()
	last, said := p.said[key]
	quiet := said && now.Sub(last) < complainEvery
	if !quiet {
		p.said[key] = now
	}
	p.mu.Unlock()
	if !quiet {
		p.logger.Warn("experience is left out", "experience", e.name, "reason", reason, "error", err)
	}
}
