package upstream

import (
	"sync"
	"time"
)

const (
	// largeAnswer is from how many bytes on a client may be slow with an answer: less
	// is in the buffers of its socket.
	largeAnswer = 64 << 10
	// slowTurn is how long nothing of an answer is asked for when its client counts as
	// slow.
	slowTurn = time.Second
)

// answers are the large answers of one server on their way. The slot of one whose
// client is slow goes to a request that waits for one, as it is the client, and not
// the server, that has to do there.
type answers struct {
	mu    sync.Mutex
	under map[*Body]struct{}
}

func (a *answers) add(b *Body) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.under == nil {
		a.under = make(map[*Body]struct{})
	}
	a.under[b] = struct{}{}
}

func (a *answers) remove(b *Body) {
	a.mu.Lock()
	delete(a.under, b)
	a.mu.Unlock()
}

// giveWay prolongs the exchange whose client is slowest, if one is slow enough.
func (a *answers) giveWay(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var slowest *Body
	least := now.Add(-slowTurn).UnixNano()
	for b := range a.under {
		if at := b.handed.Load(); at != 0 && at <= least && !b.lease().long {
			slowest, least = b, at
		}
	}
	if slowest != nil {
		slowest.lease().prolong()
	}
}
