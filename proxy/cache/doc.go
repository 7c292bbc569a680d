// Package cache holds what the proxy keeps in memory between requests: answers of the
// origin, with what is made of them, the compiled edits of plans, and what was made of bodies
// that the origin sent before.
//
// [Objects] is the index of stored answers. A key holds all that an answer depends on but for
// the headers that Vary names, and is compared in full; what was stored is found by the next
// look-up, and what was purged is not. On an object hang the page that is compiled from its body,
// made once, and its variants: an object as one plan makes it, by the digest of the resolved
// plan and the generation of the configuration. [Flights] make one request to the origin
// of many for the same object. Memory is bounded by budgets that count keys, headers, bodies
// and all that hangs on them.
//
// Objects, variants and plans have indexes of our own and no general cache: what was just stored
// must be found, and what was evicted must be gone. [Bodies] is built on ristretto: what it
// holds can be made again from the body at hand.
//
// The rules of HTTP caching (RFC 9111 and those around it) stand beside them as pure
// functions. [Request.Add] reads a request, header by header, and [ReadRules] an answer
// once, when it has come. From then on nothing is parsed: [Rules.At] says what a stored
// answer may do for a request, [AppendSelecting] and [Rules.Vary] which of several it
// is, and [Request.Evaluate] whether all of it is sent. A stale one is asked about with
// [Validators.AppendConditions]; a 304 makes it fresh again by [SelectFreshened],
// [Freshen] and [ReadRules].
package cache
