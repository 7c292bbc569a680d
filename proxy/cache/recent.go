package cache

import (
	"container/list"
	"sync"
)

// Recent keeps the values that were used last, up to a fixed number. It is safe
// for concurrent use.
type Recent[K comparable, V any] struct {
	mu      sync.Mutex
	max     int
	entries map[K]*list.Element
	order   list.List // of recentEntry, last used first
}

type recentEntry[K comparable, V any] struct {
	key   K
	value V
}

// NewRecent makes a store of at most max values.
func NewRecent[K comparable, V any](max int) *Recent[K, V] {
	return &Recent[K, V]{max: max, entries: make(map[K]*list.Element)}
}

// Get returns the value under key.
func (r *Recent[K, V]) Get(key K) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	element := r.entries[key]
	if element == nil {
		return value, false
	}
	r.order.MoveToFront(element)
	return element.Value.(recentEntry[K, V]).value, true
}

// Put stores a value under key and lets go of the one that was not used for longest.
func (r *Recent[K, V]) Put(key K, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if element := r.entries[key]; element != nil {
		element.Value = recentEntry[K, V]{key, value}
		r.order.MoveToFront(element)
		return
	}
	r.entries[key] = r.order.PushFront(recentEntry[K, V]{key, value})
	for r.order.Len() > r.max {
		oldest := r.order.Back()
		delete(r.entries, oldest.Value.(recentEntry[K, V]).key)
		r.order.Remove(oldest)
	}
}

// Len returns the number of values.
func (r *Recent[K, V]) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.order.Len()
}
