package plan

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/decision"
)

// TestWithoutIsDisabled: what is left out of a planner is as if it were disabled,
// whatever the planner has kept before, and nothing is lost when it comes back.
func TestWithoutIsDisabled(t *testing.T) {
	f := func(what string, off func(experience, plugin string) bool, disabled ...int) {
		t.Helper()
		exps := []Bound{
			bound("all", says("all"), nil),
			bound("vip", says("vip"), func(e *Experience) { e.Segment = "vip" }),
			bound("warm", says("warm"), func(e *Experience) { e.Experiment, e.Arm = "greeting", "warm" }),
			bound("held", says("held"), func(e *Experience) { e.Plugin, e.Holdout = "other", 0.5 }),
		}
		whole := compile(t, Config{}, nil, exps...)
		reduced := whole.Without(off)
		for _, i := range disabled {
			exps[i].Disabled = true
		}
		want := compile(t, Config{}, nil, exps...)
		assigned := []decision.Assignment{{Experiment: "greeting", Arm: "warm"}, {Experiment: "held", Arm: decision.ArmTreated, Holdout: true}}
		for _, q := range []*decision.Query{query(""), query("vip"), query("vip", assigned...)} {
			before := whole.Plan(context.Background(), q)
			got, wanted := reduced.Plan(context.Background(), q), want.Plan(context.Background(), q)
			if diff := cmp.Diff(wanted, got); diff != "" {
				t.Errorf("%s: segment %q: the plan is not that without them (-want +got):\n%s", what, q.Segment, diff)
			}
			if reduced.Concerned(&q.Page) != want.Concerned(&q.Page) || reduced.Bodies(&q.Page) != want.Bodies(&q.Page) {
				t.Errorf("%s: it concerns other pages or bodies", what)
			}
			if diff := cmp.Diff(before, whole.Plan(context.Background(), q)); diff != "" {
				t.Errorf("%s: the whole planner plans otherwise afterwards (-want +got):\n%s", what, diff)
			}
		}
	}
	f("nothing", func(string, string) bool { return false })
	f("one", func(e, _ string) bool { return e == "all" }, 0)
	f("one of an experiment", func(e, _ string) bool { return e == "warm" }, 2)
	f("one with a hold-out", func(e, _ string) bool { return e == "held" }, 3)
	f("a plugin", func(_, p string) bool { return p == "p" }, 0, 1, 2)
	f("everything", func(string, string) bool { return true }, 0, 1, 2, 3)
}

// TestWithoutAsksNobody: a plugin that is off is not called.
func TestWithoutAsksNobody(t *testing.T) {
	answering := says("hello")
	answering.scope.Visitor = true // nothing is kept over visitors
	p := compile(t, Config{}, nil, bound("all", answering, nil))
	p.Without(func(string, string) bool { return true }).Plan(context.Background(), query(""))
	if n := answering.calls(); n != 0 {
		t.Errorf("called %d times", n)
	}
}
