package upstream

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var errOpen = errors.New("the upstream fails; it is asked again soon")

// shared is what an upstream's generations have in common.
type shared struct {
	retries, overBudget, refused, opened atomic.Uint64

	mu      sync.Mutex
	window  window
	breaker breaker
	servers map[serverID]*server
}

// windowSeconds is the time over which shares are counted.
const windowSeconds = 10

// window counts over the last ten seconds.
type window struct {
	seconds [windowSeconds]second
}

type second struct {
	at                          int64 // Unix seconds
	requests, failures, retries int
}

// present returns the counts of the second that it is.
func (w *window) present(now time.Time) *second {
	at := now.Unix()
	s := &w.seconds[uint64(at)%windowSeconds]
	if s.at != at {
		*s = second{at: at}
	}
	return s
}

func (w *window) sum(now time.Time) (total second) {
	for i := range w.seconds {
		s := &w.seconds[i]
		if age := now.Unix() - s.at; age >= 0 && age < windowSeconds {
			total.requests += s.requests
			total.failures += s.failures
			total.retries += s.retries
		}
	}
	return total
}

// breaker is closed as long as requests are answered. Open, it lets one through
// after each pause.
type breaker struct {
	open    bool
	pause   time.Duration
	probeAt time.Time
}

// admit counts a request, or refuses it when the breaker is open. A probe is one
// that is let through to see whether the upstream is well again.
func (u *Upstream) admit() (probe bool, err error) {
	now := u.now()
	s := u.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.breaker
	if b.open && !u.cfg.Breaker.Disabled {
		if left := b.probeAt.Sub(now); left > 0 {
			s.refused.Add(1)
			return false, &Error{Op: "ask upstream", Kind: Open, Err: errOpen, RetryAfter: left}
		}
		probe, b.probeAt = true, now.Add(b.pause)
	}
	s.window.present(now).requests++
	return probe, nil
}

// conclude notes what became of an admitted request in the end.
func (u *Upstream) conclude(probe bool, err error) {
	failure := err != nil && isUpstreams(err)
	if !failure && !probe {
		return
	}
	now := u.now()
	s, limit := u.shared, &u.cfg.Breaker
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.breaker
	switch {
	case !failure:
		if err != nil {
			return // the client broke off: nothing is known
		}
		*b, s.window = breaker{}, window{}
		u.deps.Log.Info("upstream is well again", "upstream", u.cfg.Name)
		return
	case probe:
		b.pause = min(2*b.pause, limit.MaxPause)
		b.probeAt = now.Add(b.pause)
	}
	s.window.present(now).failures++
	if b.open || limit.Disabled {
		return
	}
	total := s.window.sum(now)
	requests := max(total.requests, total.failures) // those of a timeout began long ago
	if requests >= limit.Requests && float64(total.failures) >= float64(limit.Failures)*float64(requests) {
		*b = breaker{open: true, pause: limit.Pause, probeAt: now.Add(limit.Pause)}
		s.opened.Add(1)
		u.deps.Log.Error("upstream fails: requests are refused until it answers", "upstream", u.cfg.Name, "requests", requests, "failures", total.failures)
	}
}

// isUpstreams reports whether an error is the upstream's failing.
func isUpstreams(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind != Client && e.Kind != Busy
}

// mayRetry asks the budget for one more attempt, and counts it.
func (u *Upstream) mayRetry() bool {
	limit := &u.cfg.Retry
	if limit.Disabled {
		return false
	}
	now := u.now()
	s := u.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	total := s.window.sum(now)
	if float64(total.retries) >= float64(*limit.Budget)*float64(total.requests)+float64(*limit.MinPerSecond*windowSeconds) {
		s.overBudget.Add(1)
		return false
	}
	s.window.present(now).retries++
	s.retries.Add(1)
	return true
}
