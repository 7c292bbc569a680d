package proxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// budget is the context of the steps that share one limit of time. Most requests
// never wait in them, so the timer is only made when somebody asks for Done.
type budget struct {
	until time.Time
	lent  atomic.Bool // somebody may have made a context of it, and keep that

	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
}

func newBudget(limit time.Duration) *budget { return &budget{until: time.Now().Add(limit)} }

// startBudget is newBudget with room that was used before, if that is not nil.
func startBudget(room *budget, limit time.Duration) *budget {
	if room == nil {
		return newBudget(limit)
	}
	room.until = time.Now().Add(limit)
	return room
}

// reusable returns the budget for a later request, nil if somebody may still look at it.
func (b *budget) reusable() *budget {
	if b.lent.Load() {
		return nil
	}
	return b
}

// Deadline returns the end of the budget.
func (b *budget) Deadline() (time.Time, bool) {
	b.lent.Store(true)
	return b.until, true
}

// Done is closed at the end of the budget.
func (b *budget) Done() <-chan struct{} {
	b.lent.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inner == nil {
		b.inner, b.cancel = context.WithDeadline(context.Background(), b.until)
	}
	return b.inner.Done()
}

// Err tells whether the budget is used up.
func (b *budget) Err() error {
	b.lent.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inner != nil {
		return b.inner.Err()
	}
	if b.spent() {
		return context.DeadlineExceeded
	}
	return nil
}

// Value returns nil: nothing is handed on this way.
func (b *budget) Value(any) any {
	b.lent.Store(true)
	return nil
}

func (b *budget) spent() bool { return !time.Now().Before(b.until) }

// stop ends the timer. Who still waits is told that the request is over.
func (b *budget) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel != nil {
		b.cancel()
	}
}
