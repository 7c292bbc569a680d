package main

import (
	"math"
	"runtime/debug"

	"github.com/sedge-proxy/sedge/decision"
)

// collectEarly is the share of the memory limit at which the garbage collector
// begins to work harder. What lies between the two is for a burst. It is also the room
// that a node needs to come back from its limit: the runtime keeps what it has up to
// 95 % of the collector's limit, whether it needs that or not.
const collectEarly = 0.9

// limitMemory sets the garbage collector's limit for the memory that the process may
// use, and returns that memory. Without a setting GOMEMLIMIT counts; 0 is no limit.
// It may be called once.
func limitMemory(setting decision.Size) decision.Size {
	limit := int64(setting)
	if limit == 0 {
		if limit = debug.SetMemoryLimit(-1); limit == math.MaxInt64 {
			return 0
		}
	}
	debug.SetMemoryLimit(int64(collectEarly * float64(limit)))
	return decision.Size(limit)
}
