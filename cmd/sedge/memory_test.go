package main

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// TestLimitMemory: the collector's limit is below the one at which requests are
// refused, wherever that comes from. If they were the same, a node that has been at
// its limit once would refuse requests for ever, since the runtime gives back only
// what is above 95 % of the collector's.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	const limit = 8 << 30
	f := func(environment int64, setting, want decision.Size, collector int64) {
		t.Helper()
		debug.SetMemoryLimit(environment)
		if got := limitMemory(setting); got != want {
			t.Errorf("limit %d, want %d", got, want)
		}
		if got := debug.SetMemoryLimit(-1); got != collector {
			t.Errorf("limit of the collector %d, want %d", got, collector)
		}
	}
	early := func(n float64) int64 { return int64(collectEarly * n) }
	f(math.MaxInt64, 0, 0, math.MaxInt64)
	f(math.MaxInt64, limit, limit, early(limit))
	f(limit, 0, limit, early(limit))
	f(limit, limit/2, limit/2, early(limit/2))
}
