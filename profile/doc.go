// Package profile keeps what is known of each visitor.
//
// A [State] is what a visitor's events add up to. Its fields are merged so that
// neither the order of the events nor the node that saw them matters: counts
// add, first and last are the smallest and largest times, the last writer of a
// trait wins by event time and message id, an order counts once by its id, and
// sessions are the union of intervals. Lists are bounded; what each bound means
// stands at the bound.
//
// A [Store] keeps states on disk. [Live] keeps the states of visitors who are
// around in memory in front of a store: an accepted event changes the very next
// response, long before the ledger has written it.
package profile
