package event

import "cmp"

// Stamp orders events by what they say themselves, whatever way they came: by
// time, then by id. Where two events contradict each other, the stamp decides.
type Stamp struct {
	Milli int64  // event time, milliseconds since 1970
	ID    uint64 // [Hash] of the event's id
}

// Stamp returns the event's place in time. What only asks when the event was has it
// cheaper by [Event.Milli].
func (e *Event) Stamp() Stamp { return Stamp{Milli: e.Milli(), ID: Hash(e.ID)} }

// Milli returns the event's time in milliseconds since 1970.
func (e *Event) Milli() int64 { return e.Time.UnixMilli() }

// Compare returns -1, 0 or 1 as s is before, the same as or after t.
func (s Stamp) Compare(t Stamp) int {
	if c := cmp.Compare(s.Milli, t.Milli); c != 0 {
		return c
	}
	return cmp.Compare(s.ID, t.ID)
}

// Before reports whether s is before t.
func (s Stamp) Before(t Stamp) bool { return s.Compare(t) < 0 }

// Hash is the 64-bit FNV-1a hash of s. It stands for ids in what is kept of a
// single visitor, where nobody gains by making two ids collide.
func Hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
