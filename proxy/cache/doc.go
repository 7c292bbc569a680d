// Package cache holds what the proxy keeps in memory between requests: the
// variants of personalized pages, the compiled edits of plans, and what was made of
// bodies that the origin sent before.
//
// A variant is a whole answer. Its key holds everything that it depends on (the
// object at the origin, the digest of the resolved plan, the generation of the
// configuration), the full key is compared at each look-up, and what was stored
// is found by the next look-up. The memory is bounded by a budget that counts
// keys, headers and bodies.
//
// Variants and plans have indexes of our own and no general cache: a variant that
// was just stored must be found, and one that was evicted must be gone. [Bodies] is
// built on ristretto: what it holds can be made again from the body at hand.
package cache
