package proxy

import (
	"context"
	"sync"
	"time"
)

// budget is the context of the steps that share one limit of time. Most requests
// never wait in them, so the timer is only made when somebody asks for Done.
type budget struct {
	until time.Time

	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
}

func newBudget(limit time.Duration) *budget { return &budget{until: time.Now().Add(limit)} }

// Deadline returns the end of the budget.
func (b *budget) Deadline() (time.Time, bool) { return b.until, true }

// Done is closed at the end of the budget.
func (b *budget) Done() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inner == nil {
		b.inner, b.cancel = context.WithDeadline(context.Background(), b.until)
	}
	return b.inner.Done()
}

// Err tells whether the budget is used up.
func (b *budget) Err() error {
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
func (b *budget) Value(any) any { return nil }

func (b *budget) spent() bool { return !time.Now().Before(b.until) }

// stop ends the timer. Who still waits is told that the request is over.
func (b *budget) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel != nil {
		b.cancel()
	}
}
