// Package stats compares the arms of an experiment.
//
// All inputs are plain sums (how many, sum, sum of squares), so that they can be
// kept per arm, added over nodes and days, and compared at any time. All results
// are exact formulas of published methods, named at each function; intervals
// are two-sided with 95 % confidence. A result that the data cannot give is NaN:
// nothing is guessed.
package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Level is the confidence of all intervals.
const Level = 0.95

// tail is the probability above the upper end of an interval.
const tail = (1 - Level) / 2

// Proportion is how many of N units did something, such as convert.
type Proportion struct {
	N, X int64
}

// Rate returns X/N, NaN for an empty sample.
func (p Proportion) Rate() float64 { return float64(p.X) / float64(p.N) }

func (p Proportion) valid() bool { return p.N > 0 && p.X >= 0 && p.X <= p.N }

// Sample is the sums of a quantity, such as revenue, over N units. Units without
// any count with 0.
type Sample struct {
	N          int64
	Sum        float64
	SumSquares float64
}

// Mean returns the mean, NaN for an empty sample.
func (s Sample) Mean() float64 { return s.Sum / float64(s.N) }

// Variance returns the unbiased variance (divided by N-1), NaN below two units.
func (s Sample) Variance() float64 {
	if s.N < 2 {
		return math.NaN()
	}
	n := float64(s.N)
	// Rounding can leave a tiny negative rest where all values are alike.
	return max(0, (s.SumSquares-s.Sum*s.Sum/n)/(n-1))
}

// Sample returns the proportion as a sample of ones and zeros.
func (p Proportion) Sample() Sample {
	return Sample{N: p.N, Sum: float64(p.X), SumSquares: float64(p.X)}
}

// Estimate is a value with its interval.
type Estimate struct {
	Value, Low, High float64

	// P is the two-sided probability of a value at least as far from no
	// difference, if there is none.
	P float64
}

var unknown = Estimate{math.NaN(), math.NaN(), math.NaN(), math.NaN()}

// Wilson returns the score interval of one proportion, without P (E. B. Wilson,
// "Probable inference", JASA 22, 1927).
func Wilson(p Proportion) Estimate {
	if !p.valid() {
		return unknown
	}
	z := distuv.UnitNormal.Quantile(1 - tail)
	n, rate := float64(p.N), p.Rate()
	center := (rate + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(rate*(1-rate)/n+z*z/(4*n*n))
	return Estimate{Value: rate, Low: max(0, center-half), High: min(1, center+half), P: math.NaN()}
}

// Proportions returns the difference of rates, treatment minus control. The
// interval is Newcombe's hybrid score interval without continuity correction
// (R. G. Newcombe, "Interval estimation for the difference between independent
// proportions", Statistics in Medicine 17, 1998, method 10), which holds its
// level with few conversions too; P is of the pooled z test.
func Proportions(control, treatment Proportion) Estimate {
	if !control.valid() || !treatment.valid() {
		return unknown
	}
	c, t := Wilson(control), Wilson(treatment)
	difference := t.Value - c.Value
	return Estimate{
		Value: difference,
		Low:   difference - math.Hypot(t.Value-t.Low, c.High-c.Value),
		High:  difference + math.Hypot(t.High-t.Value, c.Value-c.Low),
		P:     pooledP(control, treatment),
	}
}

func pooledP(control, treatment Proportion) float64 {
	n1, n2 := float64(control.N), float64(treatment.N)
	pooled := float64(control.X+treatment.X) / (n1 + n2)
	deviation := math.Sqrt(pooled * (1 - pooled) * (1/n1 + 1/n2))
	if deviation == 0 { // all or nobody in both arms
		return 1
	}
	return 2 * distuv.UnitNormal.Survival(math.Abs(treatment.Rate()-control.Rate())/deviation)
}

// Means returns the difference of means, treatment minus control, by Welch's t
// test, which does not take the variances for equal (B. L. Welch, "The
// generalization of Student's problem", Biometrika 34, 1947).
func Means(control, treatment Sample) Estimate {
	if control.N < 2 || treatment.N < 2 {
		return unknown
	}
	variance := control.Variance()/float64(control.N) + treatment.Variance()/float64(treatment.N)
	return interval(treatment.Mean()-control.Mean(), math.Sqrt(variance), welch(control, treatment))
}

// Lift returns the relative difference of means, (treatment-control)/|control|,
// with a variance by the delta method,
//
//	varC*meanT²/(meanC⁴*nC) + varT/(meanC²*nT)
//
// and Welch's degrees of freedom (A. Deng et al., "Applying the delta method in
// metric analytics", KDD 2018). It is NaN for a control mean of 0. Rates are
// compared by [Proportion.Sample].
func Lift(control, treatment Sample) Estimate {
	mean := math.Abs(control.Mean())
	if control.N < 2 || treatment.N < 2 || mean == 0 {
		return unknown
	}
	ratio := treatment.Mean() / mean
	variance := control.Variance()*ratio*ratio/(mean*mean*float64(control.N)) +
		treatment.Variance()/(mean*mean*float64(treatment.N))
	return interval((treatment.Mean()-control.Mean())/mean, math.Sqrt(variance), welch(control, treatment))
}

// welch returns the Welch-Satterthwaite degrees of freedom.
func welch(a, b Sample) float64 {
	va, vb := a.Variance()/float64(a.N), b.Variance()/float64(b.N)
	return (va + vb) * (va + vb) / (va*va/float64(a.N-1) + vb*vb/float64(b.N-1))
}

func interval(value, deviation, freedom float64) Estimate {
	if deviation == 0 { // no spread at all: t has no distribution
		p := 0.0
		if value == 0 {
			p = 1
		}
		return Estimate{value, value, value, p}
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}
	half := t.Quantile(1-tail) * deviation
	return Estimate{value, value - half, value + half, 2 * t.Survival(math.Abs(value)/deviation)}
}

// SRM is the outcome of a sample-ratio check: did as many units come into each
// arm as its weight says? If not, something in the experiment is broken, and its
// other numbers mean nothing.
type SRM struct {
	ChiSquare float64
	P         float64
	Enough    bool // at least 8 units for each arm, below which nothing can be said
	Mismatch  bool // Enough, and P below 0.001
}

const (
	srmThreshold = 0.001
	srmUnits     = 8
)

// SampleRatio checks the units in each arm against the arms' weights (of any
// sum) by Pearson's chi-square test over the arms with a weight. Units in an arm
// without weight are a mismatch by themselves. Lists of different lengths give NaN.
func SampleRatio(units []int64, weights []float64) SRM {
	if len(units) != len(weights) {
		return SRM{ChiSquare: math.NaN(), P: math.NaN()}
	}
	total, weight, arms := 0.0, 0.0, 0
	stray := false
	for i, w := range weights {
		if w > 0 {
			total += float64(units[i])
			weight += w
			arms++
		} else if units[i] > 0 {
			stray = true
		}
	}
	srm := SRM{P: 1, Enough: arms > 1 && total >= float64(srmUnits*arms)}
	if arms > 1 && total > 0 {
		for i, w := range weights {
			if w > 0 {
				expected := total * w / weight
				srm.ChiSquare += (float64(units[i]) - expected) * (float64(units[i]) - expected) / expected
			}
		}
		srm.P = distuv.ChiSquared{K: float64(arms - 1)}.Survival(srm.ChiSquare)
	}
	srm.Mismatch = stray || srm.Enough && srm.P < srmThreshold
	return srm
}
