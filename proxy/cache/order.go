package cache

import (
	"math"
	"sync"
	"sync/atomic"
)

// node is a place in an [order]. It is part of what it orders, so that ordering
// allocates nothing.
type node[T any] struct {
	prev, next *node[T]
	value      T
}

// order holds what was used last in front. The zero order is empty.
type order[T any] struct{ front, back *node[T] }

func (o *order[T]) pushFront(n *node[T]) {
	n.prev, n.next = nil, o.front
	if o.front != nil {
		o.front.prev = n
	}
	o.front = n
	if o.back == nil {
		o.back = n
	}
}

func (o *order[T]) remove(n *node[T]) {
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		o.front = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		o.back = n.prev
	}
	n.prev, n.next = nil, nil
}

func (o *order[T]) toFront(n *node[T]) {
	if o.front == n {
		return
	}
	o.remove(n)
	o.pushFront(n)
}

// budget bounds bytes that several shards hold together. A share for each shard
// would be simpler, but a few large objects that meet in one shard would push each
// other out while the others are empty.
type budget struct {
	max     int64
	used    atomic.Int64
	evicted atomic.Uint64

	// arrivals counts what came in. Its value is the moment of a use: only what
	// comes in pushes out, so nothing finer is needed, and hits write nothing shared.
	arrivals atomic.Uint64

	evicting sync.Mutex
}

// shrink evicts what was not used for longest until the budget holds. The functions get
// the number of a shard: oldest returns when its last in order was used, evict drops it.
func (b *budget) shrink(oldest func(shard int) (used uint64, ok bool), evict func(shard int)) {
	if b.used.Load() <= b.max {
		return
	}
	b.evicting.Lock()
	defer b.evicting.Unlock()
	for b.used.Load() > b.max {
		shard, when := -1, uint64(math.MaxUint64)
		for i := range objectShards {
			if used, ok := oldest(i); ok && (shard < 0 || used < when) {
				shard, when = i, used
			}
		}
		if shard < 0 {
			return
		}
		evict(shard)
	}
}

// allocated returns about how much memory the allocator takes for n bytes, rounded
// up as it does: to a size class at most an eighth larger, or to whole pages.
func allocated(n int) int64 {
	const (
		largestClass = 32 << 10
		page         = 8 << 10
	)
	switch {
	case n == 0:
		return 0
	case n <= largestClass:
		return int64(n+n/8+15) &^ 15
	}
	return int64(n+page-1) &^ (page - 1)
}
