package plan

import (
	"slices"
	"sync/atomic"
)

// The reasons why an experience, or its request action, is left out of a plan.
const (
	reasonLate     = "late"     // the page could not wait
	reasonDown     = "down"     // no process is running
	reasonOpen     = "open"     // the breaker is open
	reasonBusy     = "busy"     // too many calls at a time
	reasonTimeout  = "timeout"  // the plugin took longer than its timeout
	reasonError    = "error"    // the plugin answered with an error
	reasonInvalid  = "invalid"  // the answer breaks the contract
	reasonPanic    = "panic"    // the plugin panicked
	reasonClosed   = "closed"   // the configuration is not used any more
	reasonConflict = "conflict" // an earlier experience's request action won
	reasonLoop     = "loop"     // it redirects the page to itself
	reasonTooMany  = "too_many" // the plan has too many edits
)

var reasons = [...]string{
	reasonLate, reasonDown, reasonOpen, reasonBusy, reasonTimeout, reasonError,
	reasonInvalid, reasonPanic, reasonClosed, reasonConflict, reasonLoop, reasonTooMany,
}

// Reasons returns all words that [decision.Plan.Reasons] may hold.
func Reasons() []string { return slices.Clone(reasons[:]) }

// counters count one experience.
type counters struct {
	hits, calls, failures atomic.Uint64
	skipped               [len(reasons)]atomic.Uint64
}

// Stats counts how one experience was answered since its planner was compiled.
type Stats struct {
	Experience string
	Hits       uint64            // answers that were at hand
	Calls      uint64            // questions to the plugin
	Failures   uint64            // of them without an answer
	Skipped    map[string]uint64 // plans that left it out, by reason
}

// Stats returns the counts of all experiences, in the order of the configuration.
func (p *Planner) Stats() []Stats {
	out := make([]Stats, len(p.exps))
	for i, e := range p.exps {
		c := &e.counts
		out[i] = Stats{
			Experience: e.name,
			Hits:       c.hits.Load(), Calls: c.calls.Load(), Failures: c.failures.Load(),
			Skipped: make(map[string]uint64),
		}
		for j := range c.skipped {
			if n := c.skipped[j].Load(); n > 0 {
				out[i].Skipped[reasons[j]] = n
			}
		}
	}
	return out
}

func (c *counters) skip(reason string) { c.skipped[slices.Index(reasons[:], reason)].Add(1) }
