package experiment

import (
	"strconv"
)

// buckets is how finely the hash cuts the unit interval.
const buckets = 10000

// Hash places a unit on [0, 1) for a seed. It is version 2 of GrowthBook's
// published hash (specification 0.8.0), and hashes UTF-16 code units as JavaScript
// does, so that code in a browser computes the same place.
func Hash(seed, unit string) float64 {
	first := fnvText(fnvText(fnvOffset, seed), unit)
	var digits [10]byte
	second := fnvOffset
	for _, digit := range strconv.AppendUint(digits[:0], uint64(first), 10) {
		second = fnvUnit(second, uint32(digit))
	}
	return float64(second%buckets) / buckets
}

// FNV-1a with 32 bits over code units (http://www.isthe.com/chongo/tech/comp/fnv/).
const (
	fnvOffset uint32 = 2166136261
	fnvPrime  uint32 = 16777619
)

func fnvUnit(h, unit uint32) uint32 { return (h ^ unit) * fnvPrime }

// fnvText hashes invalid UTF-8 as U+FFFD, which is what a browser makes of it.
func fnvText(h uint32, text string) uint32 {
	for _, r := range text {
		if r < 0x10000 {
			h = fnvUnit(h, uint32(r))
			continue
		}
		h = fnvUnit(h, 0xD800+uint32(r-0x10000)>>10)
		h = fnvUnit(h, 0xDC00+uint32(r-0x10000)&0x3FF)
	}
	return h
}

// bucketRange is a part of [0, 1): from start up to, not including, end.
type bucketRange struct{ start, end float64 }

func (r bucketRange) holds(n float64) bool { return r.start <= n && n < r.end }

// bucketRanges gives each arm the first part, as large as coverage says, of a
// range as large as its weight. Raising the coverage therefore adds visitors to
// every arm and moves nobody from one arm to another. Weights must sum to 1.
func bucketRanges(coverage float64, weights []float64) []bucketRange {
	ranges := make([]bucketRange, len(weights))
	start := 0.0
	for i, weight := range weights {
		ranges[i] = bucketRange{start, start + coverage*weight}
		start += weight
	}
	return ranges
}
