package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/dgraph-io/ristretto/v2"
)

// Sight says how well a body is known.
type Sight byte

// The ways in which [Bodies.Find] knows a body.
const (
	FirstSeen Sight = iota // not seen before, as far as is known
	SeenAgain              // seen before; nothing is kept for it yet
	Kept                   // what was made of it is kept
)

const (
	// sightCost is charged for a body of which only its hash is noted, and bodyCost
	// for one that is kept, besides the body and what was made of it.
	sightCost = 96
	bodyCost  = 256

	usualBody = 16 << 10 // for the number of counters
)

// Bodies keeps what was made of bodies, and finds it by the bodies' bytes. What is
// kept may be missing at any time; what is found was made of these very bytes,
// which are compared one by one. It is safe for concurrent use; all methods of a
// nil store work and keep nothing.
type Bodies[V any] struct {
	seed maphash.Seed // random, so that nobody can make bodies that collide

	mu     sync.RWMutex // ristretto must not be used while it is closed
	closed bool
	store  *ristretto.Cache[uint64, *keptBody[V]]
}

// Kind is what a value depends on besides the body.
type Kind struct {
	// Reading is how the body was read.
	Reading uint32
	// Mapping names what became of its URLs, "" for nothing.
	Mapping string
}

// keptBody is a body with what was made of it; immutable.
type keptBody[V any] struct {
	kind  Kind
	body  []byte
	value V
	kept  bool
}

// NewBodies makes a store of at most budget bytes, or nil if that is 0.
func NewBodies[V any](budget int64) (*Bodies[V], error) {
	if budget <= 0 {
		return nil, nil
	}
	store, err := ristretto.NewCache(&ristretto.Config[uint64, *keptBody[V]]{
		NumCounters:        max(10*budget/usualBody, 10_000), // ten per body of the usual size
		MaxCost:            budget,
		BufferItems:        64,
		IgnoreInternalCost: true, // sightCost and bodyCost hold it
	})
	if err != nil {
		return nil, fmt.Errorf("make store of bodies: %w", err)
	}
	return &Bodies[V]{seed: maphash.MakeSeed(), store: store}, nil
}

// Find returns what is kept for a body. A body that is seen for the first time is noted, so that the work is done
// only for those that come again. It allocates nothing for a body that is kept.
func (b *Bodies[V]) Find(kind Kind, body []byte) (value V, sight Sight) {
	if b == nil {
		return value, FirstSeen
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return value, FirstSeen
	}
	key := b.key(kind, body)
	found, ok := b.store.Get(key)
	switch {
	case !ok:
		b.store.Set(key, &keptBody[V]{}, sightCost)
	case !found.kept:
		return value, SeenAgain
	case found.kind == kind && bytes.Equal(found.body, body):
		return found.value, Kept
	}
	return value, FirstSeen
}

// Keep keeps a value for a body, which must not change any more. Size is what the
// value takes besides the body.
func (b *Bodies[V]) Keep(kind Kind, body []byte, value V, size int) {
	if b == nil {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return
	}
	b.store.Set(b.key(kind, body), &keptBody[V]{kind, body, value, true}, int64(bodyCost+cap(body)+size))
}

func (b *Bodies[V]) key(kind Kind, body []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	var k [4]byte
	binary.LittleEndian.PutUint32(k[:], kind.Reading)
	_, _ = h.Write(k[:])
	_, _ = h.WriteString(kind.Mapping)
	_ = h.WriteByte(0)
	_, _ = h.Write(body)
	return h.Sum64()
}

// Wait returns when what was kept so far can be found.
func (b *Bodies[V]) Wait() {
	if b == nil {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !b.closed {
		b.store.Wait()
	}
}

// Clear forgets all bodies.
func (b *Bodies[V]) Clear() {
	if b == nil {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !b.closed {
		b.store.Clear()
	}
}

// Close ends the store; afterwards it keeps nothing.
func (b *Bodies[V]) Close() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		b.store.Close()
	}
}
