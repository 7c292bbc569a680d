package decision

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Money is an amount in millionths of the reporting currency's unit. Sums of
// integers do not depend on their order, sums of floats do.
type Money int64

const moneyUnit = 1e6

// MoneyOf converts an amount in currency units. It reports false for an amount
// that is not finite or beyond 9 * 10^12 units.
func MoneyOf(units float64) (Money, bool) {
	if math.IsNaN(units) || math.Abs(units) > 9e12 {
		return 0, false
	}
	return Money(math.Round(units * moneyUnit)), true
}

// Units returns the amount in currency units.
func (m Money) Units() float64 { return float64(m) / moneyUnit }

// Size is a number of bytes, written as "512KB", "64MiB" or a plain number.
type Size int64

var sizeUnits = []struct {
	suffix string
	factor float64
}{
	{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

// ParseSize reads a size.
func ParseSize(s string) (Size, error) {
	text := strings.ToUpper(strings.TrimSpace(s))
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || n < 0 || n*unit.factor > math.MaxInt64/2 {
			break
		}
		return Size(n * unit.factor), nil
	}
	return 0, fmt.Errorf("size %q: expected a number with B, KB, MB, GB, KiB, MiB or GiB", s)
}

// Share is a part of a whole, from 0 to 1, written as "5%" or 0.05.
type Share float64

// ParseShare reads a share.
func ParseShare(s string) (Share, error) {
	text, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		n /= 100
	}
	if err != nil || !(n >= 0 && n <= 1) {
		return 0, fmt.Errorf("share %q: expected 0%% to 100%% or 0 to 1", s)
	}
	return Share(n), nil
}
