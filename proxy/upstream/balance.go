package upstream

import (
	"math"
	"math/bits"
	"net/netip"
	"time"
)

// set is some of the members, a bit each.
type set uint64

func (s set) has(i int) bool { return s>>i&1 != 0 }
func (s set) len() int       { return bits.OnesCount64(uint64(s)) }

// pick chooses a server that was not tried yet; there must be one.
func (u *Upstream) pick(tried set, visitor uint64) int {
	if len(u.members) == 1 {
		return 0
	}
	now := u.now()
	among := u.candidates(tried, now)
	if among.len() == 1 {
		return bits.TrailingZeros64(uint64(among))
	}
	switch u.cfg.Balance {
	case LeastConnections:
		return u.leastBusy(among, now)
	case ByVisitor:
		return u.ofVisitor(among, now, visitor)
	}
	return u.nextInTurn(among, now)
}

// candidates are the servers that are up and have room; else that are up; else the
// backups likewise; and when all are down, all, since an answer that may come is
// better than one that cannot.
func (u *Upstream) candidates(tried set, now time.Time) set {
	var all, up, room, backups set
	for i, m := range u.members {
		bit := set(1) << i
		if tried.has(i) {
			continue
		}
		all |= bit
		if m.backup {
			backups |= bit
		}
		if m.available(now) {
			up |= bit
		}
		if m.pool.hasRoom() {
			room |= bit
		}
	}
	for _, s := range [...]set{up & room &^ backups, up &^ backups, up & room, up} {
		if s != 0 {
			return s
		}
	}
	return all
}

func (u *Upstream) share(m *member, now time.Time) float64 {
	return m.weight * m.warmth(now, u.cfg.SlowStart)
}

// nextInTurn is a smooth weighted round robin: the turns of a heavy server are
// spread between those of the others.
func (u *Upstream) nextInTurn(among set, now time.Time) int {
	u.shared.mu.Lock()
	defer u.shared.mu.Unlock()
	best, total := -1, 0.0
	for i, m := range u.members {
		if !among.has(i) {
			continue
		}
		share := u.share(m, now)
		m.turn += share
		total += share
		if best < 0 || m.turn > u.members[best].turn {
			best = i
		}
	}
	u.members[best].turn -= total
	return best
}

// leastBusy looks at all servers; among equals chance decides, by weight.
func (u *Upstream) leastBusy(among set, now time.Time) int {
	best, least, equals := -1, 0.0, 0.0
	for i, m := range u.members {
		if !among.has(i) {
			continue
		}
		share := u.share(m, now)
		busy := float64(m.pool.active()) / share
		switch {
		case best < 0 || busy < least:
			best, least, equals = i, busy, share
		case busy == least:
			if equals += share; u.chance()*equals < share {
				best = i
			}
		}
	}
	return best
}

// ofVisitor is rendezvous hashing: each server draws a lot for the visitor, and the
// highest wins. A server that comes or goes, or changes its weight, moves only the
// visitors that it wins or loses. All nodes draw alike.
func (u *Upstream) ofVisitor(among set, now time.Time, visitor uint64) int {
	best, highest := -1, 0.0
	for i, m := range u.members {
		if !among.has(i) {
			continue
		}
		lot := u.share(m, now) / -math.Log(unit(mix(visitor^m.seed)))
		if best < 0 || lot > highest {
			best, highest = i, lot
		}
	}
	return best
}

// chance returns a random number in [0, 1).
func (u *Upstream) chance() float64 { return float64(u.deps.Random()>>11) / (1 << 53) }

// unit makes a number in (0, 1) of a hash.
func unit(hash uint64) float64 { return (float64(hash>>12) + 0.5) / (1 << 52) }

// hashText is FNV-1a, which is the same on every node and after every start.
func hashText[T string | []byte](s T) uint64 {
	hash := uint64(14695981039346656037)
	for i := range len(s) {
		hash = (hash ^ uint64(s[i])) * 1099511628211
	}
	return hash
}

// mix spreads every bit over all of them (SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Sticky reports whether it matters which visitor asks: there are servers to choose
// from, and each visitor stays with one.
func (u *Upstream) Sticky() bool { return u.cfg.Balance == ByVisitor && len(u.members) > 1 }

// visitorHash tells visitors apart, or clients where there is no visitor.
func (u *Upstream) visitorHash(visitor string, client netip.Addr) uint64 {
	switch {
	case !u.Sticky():
		return 0
	case visitor != "":
		return mix(hashText(visitor))
	}
	address := client.As16()
	return mix(hashText(address[:]))
}
