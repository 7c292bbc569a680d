package ledger

import (
	"hash/maphash"
	"time"

	"github.com/sedge-proxy/sedge/event"
)

const defaultIDs = 1_000_000

// memory remembers the ids of accepted events and where in the log they are. It
// has two halves: new ids go into the young one; when that is full or a day old
// it becomes the old one, and what was the old one is forgotten. An id is so
// remembered for one to two days, or for at least capacity/2 further ids.
//
// It keeps 64-bit hashes under a random seed: with a million ids, a new event is
// taken for an old one once in 10^13.
type memory struct {
	seed     maphash.Seed
	capacity int
	young    map[uint64]event.Offset
	old      map[uint64]event.Offset
	since    time.Time // when young began
}

func newMemory(capacity int, now time.Time) *memory {
	if capacity == 0 {
		capacity = defaultIDs
	}
	return &memory{
		seed: maphash.MakeSeed(), capacity: max(2, capacity), since: now,
		young: make(map[uint64]event.Offset), old: make(map[uint64]event.Offset),
	}
}

func (m *memory) get(id string) (event.Offset, bool) {
	h := maphash.String(m.seed, id)
	if end, ok := m.young[h]; ok {
		return end, true
	}
	end, ok := m.old[h]
	return end, ok
}

func (m *memory) add(id string, end event.Offset, now time.Time) {
	h := maphash.String(m.seed, id)
	if _, known := m.young[h]; !known && (len(m.young) >= m.capacity/2 || now.Sub(m.since) >= rememberFor) {
		m.old, m.young, m.since = m.young, make(map[uint64]event.Offset), now
	}
	m.young[h] = end
}

func (m *memory) remove(id string) {
	h := maphash.String(m.seed, id)
	delete(m.young, h)
	delete(m.old, h)
}

func (m *memory) size() int { return len(m.young) + len(m.old) }
