package dashboard

import (
	"math"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/experiment"
	"github.com/sedge-proxy/sedge/kpi"
)

func arm(name string, visitors, converted int64, units, squares float64) kpi.ArmSummary {
	revenue, _ := decision.MoneyOf(units)
	return kpi.ArmSummary{Arm: name, Confirmed: kpi.Group{Visitors: visitors, Any: kpi.GoalSums{
		Converted: converted, Conversions: converted, Revenue: revenue, RevenueSquares: squares,
	}}}
}

// The first arm of the configuration is the baseline, whatever its name; rates
// and revenue are compared arm minus baseline; shares are checked.
func TestReportComparesWithTheFirstArm(t *testing.T) {
	experiments, faults := experiment.Compile([]experiment.Config{
		{Name: "button", Arms: []experiment.Arm{{Name: "plain"}, {Name: "bold"}}},
	}, nil)
	if faults != nil {
		t.Fatal(faults)
	}
	sums := kpi.Summary{Experiments: []kpi.ExperimentSummary{{
		Experiment: "button",
		Arms:       []kpi.ArmSummary{arm("bold", 48, 15, 480, 14400), arm("plain", 56, 10, 280, 5600)},
	}}}
	e := BuildReport(sums, experiments, time.Now()).Experiments[0]
	if e.Baseline != "plain" || e.Arms[0].Arm != "plain" || e.SampleRatio == nil || e.SampleRatio.Mismatch || !e.SampleRatio.Enough {
		t.Fatalf("%+v", e)
	}
	// By hand: Wilson intervals of 10/56 (0.1000..0.2984) and 15/48 (0.1995..0.4533)
	// give Newcombe's method 10.
	rate := e.Differences[0]
	if rate.Arm != "bold" || rate.Metric != MetricConversionRate || math.Abs(float64(rate.Difference)-(15./48-10./56)) > 1e-12 ||
		math.Abs(float64(rate.Low)+0.030815) > 1e-6 || math.Abs(float64(rate.High)-0.295195) > 1e-6 {
		t.Errorf("%+v", rate)
	}
	if revenue := e.Differences[1]; revenue.Metric != MetricRevenuePerVisitor || float64(revenue.Difference) != 5 {
		t.Errorf("%+v", revenue)
	}
}

// What an experiment brought keeps its own arms when an experience with a
// hold-out has its name later.
func TestReportKeepsExperimentsAndHoldoutsOfOneNameApart(t *testing.T) {
	experiments, faults := experiment.Compile(nil, []experiment.Holdout{{Experience: "banner", Share: 0.2}})
	if faults != nil {
		t.Fatal(faults)
	}
	sums := kpi.Summary{Experiments: []kpi.ExperimentSummary{
		{Experiment: "banner", Arms: []kpi.ArmSummary{arm("a", 50, 5, 0, 0), arm("b", 50, 9, 0, 0)}},
		{Experiment: "banner", Holdout: true, Arms: []kpi.ArmSummary{arm(decision.ArmHeldOut, 20, 5, 0, 0), arm(decision.ArmTreated, 80, 9, 0, 0)}},
	}}
	r := BuildReport(sums, experiments, time.Now())
	if old := r.Experiments[0]; len(old.Arms) != 2 || old.Baseline != "a" || old.SampleRatio != nil {
		t.Errorf("experiment: %+v", old)
	}
	if now := r.Experiments[1]; len(now.Arms) != 2 || now.Baseline != decision.ArmHeldOut || now.SampleRatio == nil {
		t.Errorf("hold-out: %+v", now)
	}
}
