package dashboard

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/experiment"
	"github.com/sedge-proxy/sedge/experiment/stats"
	"github.com/sedge-proxy/sedge/kpi"
)

// Number is a figure of a report; one that the data cannot give is null in JSON.
type Number float64

// MarshalJSON writes a number with up to 6 decimals.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, math.Round(f*1e6)/1e6, 'f', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	*n = Number(f)
	return err
}

// Report says what segments and experiments were worth. Money is in units of the
// reporting currency, rates are shares of visitors, intervals have 95 % confidence.
type Report struct {
	GeneratedAt time.Time          `json:"generated_at"`
	Site        GroupReport        `json:"site"`
	Segments    []SegmentReport    `json:"segments"`
	Experiments []ExperimentReport `json:"experiments"`
	Switches    []Off              `json:"switches,omitempty"` // what is off at the moment
}

// GroupReport is what a group of visitors did.
type GroupReport struct {
	Visitors          int64        `json:"visitors"`
	Unconfirmed       int64        `json:"unconfirmed"` // of them: the cookie never came back
	Sessions          int64        `json:"sessions"`
	Converted         int64        `json:"converted"` // visitors who reached any goal or ordered
	ConversionRate    Number       `json:"conversion_rate"`
	Conversions       int64        `json:"conversions"`
	Revenue           Number       `json:"revenue"`
	RevenuePerVisitor Number       `json:"revenue_per_visitor"`
	Goals             []GoalReport `json:"goals"`
}

// GoalReport is what a group did for one goal.
type GoalReport struct {
	Goal              string `json:"goal"`
	Converted         int64  `json:"converted"`
	ConversionRate    Number `json:"conversion_rate"`
	Conversions       int64  `json:"conversions"`
	Revenue           Number `json:"revenue"`
	RevenuePerVisitor Number `json:"revenue_per_visitor"`
}

// SegmentReport is one segment: the visitors who began a session in it. A visitor
// who changed segments stands in each of them.
type SegmentReport struct {
	Segment string `json:"segment"`
	GroupReport
}

// ExperimentReport is one experiment, or one experience with a hold-out. Its
// visitors are those who triggered.
type ExperimentReport struct {
	Name        string             `json:"name"`
	Kind        string             `json:"kind"` // "experiment" or "holdout"
	Baseline    string             `json:"baseline"`
	Arms        []ArmReport        `json:"arms"`
	Differences []DifferenceReport `json:"differences"`
	Crossed     int64              `json:"crossed"` // met two arms; they are in none
	SampleRatio *SampleRatioReport `json:"sample_ratio,omitempty"`
}

// ArmReport is one arm.
type ArmReport struct {
	Arm string `json:"arm"`
	GroupReport
	Delivered     int64  `json:"delivered"`
	DeliveredRate Number `json:"delivered_rate"`
}

// DifferenceReport compares one arm with the baseline in one metric.
type DifferenceReport struct {
	Arm        string `json:"arm"`
	Goal       string `json:"goal"`
	Metric     string `json:"metric"` // "conversion_rate" or "revenue_per_visitor"
	Difference Number `json:"difference"`
	Low        Number `json:"low"`
	High       Number `json:"high"`
	P          Number `json:"p"`
}

// The metrics of a [DifferenceReport].
const (
	MetricConversionRate    = "conversion_rate"
	MetricRevenuePerVisitor = "revenue_per_visitor"
)

// SampleRatioReport says whether as many visitors came into each arm as its weight
// says. If not, the experiment is broken and its figures mean nothing.
type SampleRatioReport struct {
	P        Number `json:"p"`
	Enough   bool   `json:"enough"`
	Mismatch bool   `json:"mismatch"`
}

// BuildReport arranges the sums of the ledger. The experiments of the running
// configuration give order and weights of the arms; those that it no longer holds
// are reported without.
func BuildReport(sums kpi.Summary, experiments *experiment.Experiments, now time.Time) *Report {
	r := &Report{GeneratedAt: now.UTC(), Site: groupReport(sums.Site.Confirmed, sums.Site.Unconfirmed), Segments: []SegmentReport{}, Experiments: []ExperimentReport{}}
	for _, s := range sums.Segments {
		r.Segments = append(r.Segments, SegmentReport{Segment: s.Segment, GroupReport: groupReport(s.Confirmed, s.Unconfirmed)})
	}
	for _, e := range sums.Experiments {
		r.Experiments = append(r.Experiments, experimentReport(e, experiments))
	}
	return r
}

func groupReport(confirmed, unconfirmed kpi.Group) GroupReport {
	all := confirmed.Plus(unconfirmed)
	g := GroupReport{
		Visitors:    all.Visitors,
		Unconfirmed: unconfirmed.Visitors,
		Sessions:    all.Sessions,
		Goals:       []GoalReport{},
	}
	whole := goalReport(all.Any, all.Visitors)
	g.Converted, g.ConversionRate, g.Conversions = whole.Converted, whole.ConversionRate, whole.Conversions
	g.Revenue, g.RevenuePerVisitor = whole.Revenue, whole.RevenuePerVisitor
	for _, goal := range all.Goals {
		g.Goals = append(g.Goals, goalReport(goal, all.Visitors))
	}
	return g
}

func goalReport(sums kpi.GoalSums, visitors int64) GoalReport {
	per := func(x float64) Number { return Number(x / float64(visitors)) }
	return GoalReport{
		Goal:              sums.Goal,
		Converted:         sums.Converted,
		ConversionRate:    per(float64(sums.Converted)),
		Conversions:       sums.Conversions,
		Revenue:           Number(sums.Revenue.Units()),
		RevenuePerVisitor: per(sums.Revenue.Units()),
	}
}

func experimentReport(e kpi.ExperimentSummary, experiments *experiment.Experiments) ExperimentReport {
	r := ExperimentReport{Name: e.Experiment, Kind: "experiment", Crossed: e.Crossed, Differences: []DifferenceReport{}}
	if e.Holdout {
		r.Kind = "holdout"
	}
	arms, weights := armsOf(e, experiments)
	r.Baseline = baseline(e, arms)
	var units []int64
	for _, arm := range arms {
		all := arm.All()
		units = append(units, all.Visitors)
		r.Arms = append(r.Arms, ArmReport{
			Arm:           arm.Arm,
			GroupReport:   groupReport(arm.Confirmed, arm.Unconfirmed),
			Delivered:     all.Delivered,
			DeliveredRate: Number(float64(all.Delivered) / float64(all.Visitors)),
		})
		if arm.Arm != r.Baseline {
			r.Differences = append(r.Differences, differences(e.Arm(r.Baseline).All(), all, arm.Arm)...)
		}
	}
	if weights != nil {
		srm := stats.SampleRatio(units, weights)
		r.SampleRatio = &SampleRatioReport{P: Number(srm.P), Enough: srm.Enough, Mismatch: srm.Mismatch}
	}
	return r
}

// armsOf lists the arms in the order of the configuration, those that nobody met
// included, and their weights; nil where the configuration does not know them.
func armsOf(e kpi.ExperimentSummary, experiments *experiment.Experiments) (arms []kpi.ArmSummary, weights []float64) {
	var configured []experiment.Arm
	// A name may have been an experiment's before it was an experience's.
	if experiments != nil && experiments.IsHoldout(e.Experiment) == e.Holdout {
		configured, _ = experiments.Arms(e.Experiment)
	}
	for _, arm := range configured {
		arms = append(arms, e.Arm(arm.Name))
		weights = append(weights, arm.Weight)
	}
	for _, arm := range e.Arms {
		if !slices.ContainsFunc(configured, func(a experiment.Arm) bool { return a.Name == arm.Arm }) {
			arms, weights = append(arms, arm), nil
		}
	}
	return arms, weights
}

// baseline is what the other arms are compared with: the held-out visitors, else
// the first arm of the configuration.
func baseline(e kpi.ExperimentSummary, arms []kpi.ArmSummary) string {
	if e.Holdout || len(arms) == 0 {
		return decision.ArmHeldOut
	}
	return arms[0].Arm
}

// differences compares an arm with the baseline, over all goals and for each.
func differences(base, arm kpi.Group, name string) []DifferenceReport {
	goals := []string{kpi.AnyGoal}
	for _, g := range base.Plus(arm).Goals {
		goals = append(goals, g.Goal)
	}
	var all []DifferenceReport
	for _, goal := range goals {
		b, a := base.Goal(goal), arm.Goal(goal)
		rate := stats.Proportions(stats.Proportion{N: base.Visitors, X: b.Converted}, stats.Proportion{N: arm.Visitors, X: a.Converted})
		all = append(all, difference(name, goal, MetricConversionRate, rate))
		if b.Revenue == 0 && a.Revenue == 0 {
			continue
		}
		revenue := stats.Means(revenueSample(base.Visitors, b), revenueSample(arm.Visitors, a))
		all = append(all, difference(name, goal, MetricRevenuePerVisitor, revenue))
	}
	return all
}

func revenueSample(visitors int64, sums kpi.GoalSums) stats.Sample {
	return stats.Sample{N: visitors, Sum: sums.Revenue.Units(), SumSquares: sums.RevenueSquares}
}

func difference(arm, goal, metric string, e stats.Estimate) DifferenceReport {
	return DifferenceReport{Arm: arm, Goal: goal, Metric: metric, Difference: Number(e.Value), Low: Number(e.Low), High: Number(e.High), P: Number(e.P)}
}
