// Package cache holds what the proxy keeps in memory between requests: the
// variants of personalized pages, and the compiled edits of plans.
//
// A variant is a whole answer. Its key holds everything that it depends on (the
// object at the origin, the digest of the resolved plan, the generation of the
// configuration), the full key is compared at each look-up, and what was stored
// is found by the next look-up. The memory is bounded by a budget that counts
// keys, headers and bodies.
//
// Both are indexes of our own and no general cache: a variant that was just
// stored must be found, and one that was evicted must be gone.
package cache
