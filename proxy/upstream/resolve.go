package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// mostAddresses bounds what is kept of one look-up.
const mostAddresses = 64

// addresses are those of one server's name. They are looked up by whoever needs
// them first, and then in the background while the server is used.
type addresses struct {
	name, port string
	every      time.Duration // from one look-up to the next
	limit      time.Duration // of one
	now        func() time.Time
	lookUp     func(ctx context.Context, name string) ([]netip.Addr, error)
	changed    func()

	mu    sync.Mutex
	known []place
	at    time.Time // of the last look-up, good or bad
	busy  bool      // one is under way in the background
	next  int       // whose turn it is
}

type place struct {
	address string // host:port
	bad     bool   // could not be reached: tried after the others until the next look-up
}

// order returns the addresses in the order to try them: each is first in its turn,
// those to avoid come after the others, and what could not be reached last.
func (a *addresses) order(ctx context.Context, avoid []string) ([]string, error) {
	a.mu.Lock()
	known := len(a.known) > 0
	a.mu.Unlock()
	if !known {
		if err := a.refresh(ctx); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	var good, avoided, bad []string
	for i := range a.known {
		p := a.known[(a.next+i)%len(a.known)]
		switch {
		case p.bad:
			bad = append(bad, p.address)
		case slices.Contains(avoid, p.address):
			avoided = append(avoided, p.address)
		default:
			good = append(good, p.address)
		}
	}
	return slices.Concat(good, avoided, bad), nil
}

// reachable is how many addresses are not known to be out of reach.
func (a *addresses) reachable() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.known {
		if !a.known[i].bad {
			n++
		}
	}
	return n
}

// refresh looks the name up. An error leaves what is known.
func (a *addresses) refresh(ctx context.Context) error {
	found, err := a.lookUp(ctx, a.name)
	if err == nil && len(found) == 0 {
		err = &net.DNSError{Err: "no address", Name: a.name, IsNotFound: true}
	}
	var known []place
	for _, ip := range found[:min(len(found), mostAddresses)] {
		known = append(known, place{address: net.JoinHostPort(ip.Unmap().String(), a.port)})
	}
	a.mu.Lock()
	a.at = a.now()
	if err == nil {
		a.known = known
	}
	a.mu.Unlock()
	if err != nil {
		return fmt.Errorf("look up: %w", err)
	}
	a.changed()
	return nil
}

// keepFresh starts a look-up if the last one is long ago.
func (a *addresses) keepFresh(ctx context.Context, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy || len(a.known) == 0 || now.Sub(a.at) < a.every {
		return
	}
	a.busy = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, a.limit)
		defer cancel()
		defer func() {
			_ = recover() // the addresses known stay
			a.mu.Lock()
			a.busy, a.at = false, a.now()
			a.mu.Unlock()
		}()
		_ = a.refresh(ctx)
	}()
}

// failed puts an address behind the others.
func (a *addresses) failed(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.known {
		if a.known[i].address == address {
			a.known[i].bad = true
		}
	}
}

func (a *addresses) has(address string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.known, func(p place) bool { return p.address == address })
}

// stale reports whether nothing was looked up lately, so that a server that cannot
// be reached may have moved.
func (a *addresses) stale() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now().Sub(a.at) >= time.Second
}
