package proxy

import (
	"hash/maphash"
	"sync/atomic"
)

const (
	textSlots = 1024
	longText  = 128 // longer ones are not remembered
)

// texts remembers short texts that come again and again in requests, such as hosts and
// paths, so that one of them is made a string once and not for each request. A newer text
// takes the place of one that falls on the same slot.
type texts struct {
	seed  maphash.Seed
	slots [textSlots]atomic.Pointer[string]
}

func newTexts() *texts { return &texts{seed: maphash.MakeSeed()} }

// text returns b as a string.
func (t *texts) text(b []byte) string {
	if len(b) == 0 || len(b) > longText {
		return string(b)
	}
	slot := &t.slots[maphash.Bytes(t.seed, b)%textSlots]
	if known := slot.Load(); known != nil && *known == string(b) {
		return *known
	}
	s := string(b)
	slot.Store(&s)
	return s
}
