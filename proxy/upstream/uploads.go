package upstream

import (
	"errors"
	"sync"
	"time"
)

const (
	// slowAge and slowRate are from when on, and below how many bytes a second on
	// average, a request body gives way to others, if there is no room for them.
	slowAge  = 10 * time.Second
	slowRate = 1 << 10
)

// ErrSlowBody says that a request body came so slowly that it had to make room.
var ErrSlowBody = errors.New("the request body came too slowly while others waited")

var errUploads = errors.New("as many request bodies as may be are on their way")

// uploads are the requests to one server whose bodies are sent as they come. They
// have at most half of its connections: clients that are slow with their bodies, by
// fate or by design, leave the other half to requests that hold none for long.
type uploads struct {
	room    chan struct{}
	waiting chan struct{}

	mu    sync.Mutex
	under map[sending]struct{}
}

// sending is a request body that is sent as it comes.
type sending interface {
	// progress tells since when, and how many bytes so far.
	progress() (began time.Time, sent int64)
	// giveUp ends it, since the client is too slow.
	giveUp()
}

func newUploads(maxConns, maxPending int) *uploads {
	return &uploads{
		room: make(chan struct{}, max(1, maxConns/2)), waiting: make(chan struct{}, max(1, maxPending/2)),
		under: make(map[sending]struct{}),
	}
}

// enter waits for room, and makes some if it can.
func (l *uploads) enter(limit time.Duration) error {
	select {
	case l.room <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.waiting <- struct{}{}:
		defer func() { <-l.waiting }()
	default:
		return errUploads
	}
	l.evict(time.Now())
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case l.room <- struct{}{}:
		return nil
	case <-timer.C:
		return errUploads
	}
}

func (l *uploads) leave() { <-l.room }

func (l *uploads) add(p sending) {
	l.mu.Lock()
	l.under[p] = struct{}{}
	l.mu.Unlock()
}

func (l *uploads) remove(p sending) {
	l.mu.Lock()
	delete(l.under, p)
	l.mu.Unlock()
}

// evict gives up the slowest body, if one is slow enough.
func (l *uploads) evict(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var slowest sending
	least := float64(slowRate)
	for p := range l.under {
		began, sent := p.progress()
		if age := now.Sub(began); age >= slowAge {
			if rate := float64(sent) / age.Seconds(); rate < least {
				slowest, least = p, rate
			}
		}
	}
	if slowest != nil {
		delete(l.under, slowest)
		slowest.giveUp()
	}
}
