package main

import (
	"math"
	"runtime/debug"

	"github.com/sedge-proxy/sedge/decision"
)

// collectEarly is the share of the memory limit at which the garbage collector
// begins to work harder. What lies between the two is for a burst.
const collectEarly = 0.9

// limitMemory sets the garbage collector's limit for the memory that the process may
// use, and returns that memory. Without a setting GOMEMLIMIT counts; 0 is no limit.
func limitMemory(setting decision.Size) decision.Size {
	if setting > 0 {
		debug.SetMemoryLimit(int64(collectEarly * float64(setting)))
		return setting
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return decision.Size(limit)
	}
	return 0
}
