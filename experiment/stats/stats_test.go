package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sedge-proxy/sedge/internal/corpus"
)

// reference holds values that scipy computed.
type reference struct {
	Proportions []struct {
		X1, N1, X2, N2 int64
		P              float64    `json:"p_pooled"`
		Diff           float64    `json:"diff"`
		Newcombe       [2]float64 `json:"newcombe95"`
		Wilson         [2]float64 `json:"wilson95_1"`
	} `json:"two_proportion"`
	Welch []struct {
		M1, SD1, M2, SD2 float64
		N1, N2           int64
		P                float64
		CI               [2]float64 `json:"ci95"`
		Lift             float64    `json:"rel_uplift"`
		LiftDeviation    float64    `json:"rel_uplift_delta_se"`
	}
	SRM []struct {
		Obs     []int64
		Weights []float64
		Chi2, P float64
	}
}

func load(t *testing.T) (ref reference) {
	t.Helper()
	if err := json.Unmarshal(corpus.Read(t, "ab", "stats-reference.json"), &ref); err != nil {
		t.Fatal(err)
	}
	return ref
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s = %.12g, want %.12g", what, got, want)
	}
}

// sample makes the sums of a sample from its mean and standard deviation.
func sample(mean, deviation float64, n int64) Sample {
	size := float64(n)
	return Sample{N: n, Sum: mean * size, SumSquares: deviation*deviation*(size-1) + mean*mean*size}
}

func TestReferenceProportions(t *testing.T) {
	ref := load(t)
	if len(ref.Proportions) == 0 || len(ref.Welch) == 0 || len(ref.SRM) == 0 {
		t.Fatal("no reference values")
	}
	for _, c := range ref.Proportions {
		control, treatment := Proportion{c.N1, c.X1}, Proportion{c.N2, c.X2}
		got := Proportions(control, treatment)
		near(t, "difference", got.Value, c.Diff, 1e-12)
		near(t, "low", got.Low, c.Newcombe[0], 1e-9)
		near(t, "high", got.High, c.Newcombe[1], 1e-9)
		near(t, "p", got.P, c.P, 1e-9)
		wilson := Wilson(control)
		near(t, "wilson low", wilson.Low, c.Wilson[0], 1e-9)
		near(t, "wilson high", wilson.High, c.Wilson[1], 1e-9)
	}
}

func TestReferenceMeans(t *testing.T) {
	for _, c := range load(t).Welch {
		control, treatment := sample(c.M1, c.SD1, c.N1), sample(c.M2, c.SD2, c.N2)
		got := Means(control, treatment)
		near(t, "difference", got.Value, c.M2-c.M1, 1e-9)
		near(t, "low", got.Low, c.CI[0], 1e-7)
		near(t, "high", got.High, c.CI[1], 1e-7)
		near(t, "p", got.P, c.P, 1e-7)
		lift := Lift(control, treatment)
		near(t, "lift", lift.Value, c.Lift, 1e-9)
		unit := interval(0, 1, welch(control, treatment))
		near(t, "lift deviation", (lift.High-lift.Value)/unit.High, c.LiftDeviation, 1e-7)
	}
}

func TestReferenceSampleRatio(t *testing.T) {
	for _, c := range load(t).SRM {
		got := SampleRatio(c.Obs, c.Weights)
		near(t, "chi-square", got.ChiSquare, c.Chi2, 1e-9)
		near(t, "p", got.P, c.P, 1e-9)
	}
}

// Published vectors of gbstats.
func TestPublishedLift(t *testing.T) {
	got := Lift(Sample{3407, 1396.87, 52377.9767}, Sample{3461, 2422.7, 134698.29})
	near(t, "lift", got.Value, 0.70732, 5e-6)
	near(t, "low", got.Low, -0.03526, 5e-6)
	near(t, "high", got.High, 1.44989, 5e-6)
	near(t, "p", got.P, 0.06191, 5e-6)
}

func TestSampleRatio(t *testing.T) {
	srm := SampleRatio([]int64{1000, 1200}, []float64{0.5, 0.5})
	near(t, "chi-square", srm.ChiSquare, 18.1818, 1e-4)
	near(t, "p", srm.P, 2.0e-5, 1e-6)
	for _, test := range []struct {
		units            []int64
		weights          []float64
		enough, mismatch bool
	}{
		{[]int64{1000, 1200}, []float64{1, 1}, true, true},
		{[]int64{1000, 1050}, []float64{1, 1}, true, false},
		{[]int64{15, 0}, []float64{1, 1}, false, false}, // 15 units of two arms say nothing
		{[]int64{16, 0}, []float64{1, 1}, true, true},
		{[]int64{100, 100, 1}, []float64{1, 1, 0}, true, true}, // one came into an arm that takes nobody
		{[]int64{100, 100, 0}, []float64{1, 1, 0}, true, false},
		{[]int64{0, 0}, []float64{1, 1}, false, false},
		{[]int64{5}, []float64{1}, false, false},
		{nil, nil, false, false},
		{[]int64{1}, []float64{1, 1}, false, false},
	} {
		if got := SampleRatio(test.units, test.weights); got.Enough != test.enough || got.Mismatch != test.mismatch {
			t.Errorf("%v at %v: %+v", test.units, test.weights, got)
		}
	}
}

func TestEdges(t *testing.T) {
	if got := Proportions(Proportion{10, 0}, Proportion{10, 0}); got.Value != 0 || got.P != 1 || !(got.Low < 0 && got.High > 0) {
		t.Errorf("nobody converts: %+v", got)
	}
	for name, got := range map[string]Estimate{
		"empty arm": Proportions(Proportion{0, 0}, Proportion{10, 1}), "more than all": Proportions(Proportion{5, 6}, Proportion{5, 1}),
		"one unit": Means(Sample{1, 5, 25}, Sample{10, 5, 25}), "lift over nothing": Lift(Sample{10, 0, 0}, Sample{10, 5, 25}),
	} {
		if !math.IsNaN(got.Value) || !math.IsNaN(got.Low) || !math.IsNaN(got.P) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	alike := Sample{N: 10, Sum: 1, SumSquares: 0.1}
	if got := Means(alike, alike); got != (Estimate{0, 0, 0, 1}) {
		t.Errorf("all alike: %+v", got)
	}
	if v := (Sample{3, 0.3, 0.03}).Variance(); v < 0 || v > 1e-15 {
		t.Errorf("variance of equal values: %v", v)
	}
	control, treatment := Proportion{1000, 100}, Proportion{1000, 140}
	lift := Lift(control.Sample(), treatment.Sample())
	near(t, "lift of rates", lift.Value, 0.4, 1e-12)
	if !(lift.Low > 0 && lift.P < 0.05) {
		t.Errorf("%+v", lift)
	}
}

// By simulation at a fixed seed: intervals hold the truth about 95 times in 100,
// and a test of two equal arms is significant about 5 times in 100.
func TestCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const runs, units = 3000, 400
	var proportions, means, lifts, alarms int
	for range runs {
		var c, d Proportion
		var s, u Sample
		for range units {
			c.N++
			d.N++
			if random.Float64() < 0.05 {
				c.X++
			}
			if random.Float64() < 0.08 {
				d.X++
			}
			x, y := random.ExpFloat64()*10, random.ExpFloat64()*12
			s = Sample{s.N + 1, s.Sum + x, s.SumSquares + x*x}
			u = Sample{u.N + 1, u.Sum + y, u.SumSquares + y*y}
		}
		count := func(n *int, e Estimate, truth float64) {
			if e.Low <= truth && truth <= e.High {
				*n++
			}
		}
		count(&proportions, Proportions(c, d), 0.03)
		count(&means, Means(s, u), 2)
		count(&lifts, Lift(s, u), 0.2)
		var a, b Sample
		for range 50 {
			x, y := random.NormFloat64(), 2*random.NormFloat64()
			a = Sample{a.N + 1, a.Sum + x, a.SumSquares + x*x}
			b = Sample{b.N + 1, b.Sum + y, b.SumSquares + y*y}
		}
		if Means(a, b).P < 0.05 {
			alarms++
		}
	}
	for name, n := range map[string]int{"proportions": proportions, "means": means, "lift": lifts, "false alarms": runs - alarms} {
		if rate := float64(n) / runs; rate < 0.937 || rate > 0.963 {
			t.Errorf("%s: %v of the runs, want about 0.95", name, rate)
		}
	}
}
