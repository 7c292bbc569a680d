package plan

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

func TestMultiplying(t *testing.T) {
	arms := func(n int) (arms []string) {
		for i := range n {
			arms = append(arms, fmt.Sprint(i))
		}
		return arms
	}
	population := Population{
		Segments:    []string{"vip", "new"},
		Experiments: []Split{{Name: "two", Arms: arms(2)}, {Name: "large", Arms: arms(101)}, {Name: "ofNew", Segment: "new", Arms: arms(200)}},
	}
	with := func(s decision.Scope, pages ...string) Bound {
		return bound("e", &fake{scope: s}, func(e *Experience) { e.Pages = pages })
	}
	f := func(what string, want string, exps ...Bound) {
		t.Helper()
		var got []string
		for _, w := range Multiplying(exps, population) {
			n, _, _ := strings.Cut(w.Message, ",")
			got = append(got, w.Path+" "+n)
		}
		if diff := cmp.Diff(want, strings.Join(got, "; ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	many := func(n int, pages ...string) (exps []Bound) {
		for range n {
			exps = append(exps, bound("e", &fake{}, func(e *Experience) { e.Pages, e.Holdout = pages, 0.1 }))
		}
		return exps
	}
	three := decision.Scope{Attributes: []string{"device", "language", "referrer"}}
	f("nothing", "")
	f("one for all", "", with(decision.Scope{}))
	f("by page and segment", "", with(decision.Scope{Page: true, Segment: true, Query: []string{"a", "b", "c"}}))
	f("by two attributes", "", with(decision.Scope{Attributes: []string{"device", "language"}}))
	f("by three attributes", "[0].pages[0] up to 1000 variants of one page", with(three, "/", "/a"))
	f("by three attributes that two ask for", "[0] up to 1000 variants of one page", with(three), with(three))
	f("by three attributes and segment", "[0] up to 3000 variants of one page", with(decision.Scope{Attributes: three.Attributes, Segment: true}))
	f("by visitor", "[1].plugin the plugin answers for each visitor", with(decision.Scope{}), with(decision.Scope{Visitor: true}))
	f("six hold-outs", "", many(6)...)
	f("seven hold-outs", "[0] up to 128 variants of one page", many(7)...)
	f("more than are counted", "[0] more than 1000000000 variants of one page", many(40)...)
	f("on other pages", "", append(many(4, "/a"), many(4, "/b")...)...)
	f("where a narrow pattern meets a wide one", "[4].pages[0] up to 128 variants of one page", append(many(4, "/**"), many(3, "/a/*/b")...)...)
	f("an exception", "", append(many(6), bound("e", &fake{}, func(e *Experience) { e.Holdout, e.Except = 0.1, []string{"/**"} }))...)
	f("by an experiment's arm", "[0] up to 101 variants of one page", with(decision.Scope{Experiments: []string{"large"}}))
	f("an arm that is all", "", bound("e", &fake{}, func(e *Experience) { e.Experiment, e.Arm = "large", "1" }))
	f("an experiment of one segment", "[0] up to 201 variants of one page", with(decision.Scope{Experiments: []string{"ofNew"}}))
	f("disabled", "", bound("e", &fake{scope: three}, func(e *Experience) { e.Disabled = true }))
	hosts := func(n int, hosts ...string) (exps []Bound) {
		exps = many(n)
		for i := range exps {
			exps[i].Hosts = hosts
		}
		return exps
	}
	f("on other hosts", "", append(hosts(4, "a.example"), hosts(4, "b.example")...)...)
	f("on a host that is one of many", "[4] up to 128 variants of one page", append(hosts(4, "*.example"), hosts(3, "a.example")...)...)
	f("on all hosts and on one", "[0] up to 128 variants of one page", append(many(4), hosts(3, "a.example")...)...)
}

// TestVariantsAreNoMoreThanCounted: no page has more plans than are counted, whoever asks.
func TestVariantsAreNoMoreThanCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := Population{Segments: []string{"s1", "s2"}, Experiments: []Split{
			{Name: "x", Arms: []string{"a", "b", "c"}}, {Name: "y", Segment: "s1", Arms: []string{"a", "b"}},
		}}
		var exps []Bound
		for i := range rapid.IntRange(1, 5).Draw(t, "experiences") {
			scope := decision.Scope{Segment: rapid.Bool().Draw(t, "by segment")}
			if rapid.Bool().Draw(t, "by attribute") {
				scope.Attributes = testAttributes[:1]
			}
			e := bound(fmt.Sprint("e", i), &fake{scope: scope, answer: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
				return &plugins.Answer{Edits: []plugins.Edit{edit(fmt.Sprint(i, r.Segment, r.Arms, r.Attributes))}}, nil
			}}, nil)
			e.Segment = rapid.SampledFrom([]string{"", "", "s1", "s2"}).Draw(t, "segment")
			switch rapid.IntRange(0, 3).Draw(t, "measured") {
			case 1:
				e.Holdout = 0.5
			case 2:
				e.Experiment, e.Arm = "x", rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "arm")
			case 3:
				e.Experiment, e.Arm = "y", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "arm")
			}
			if e.Experiment != "x" && rapid.Bool().Draw(t, "by experiment") {
				e.Caller.(*fake).scope.Experiments = []string{"x"}
			}
			exps = append(exps, e)
		}
		p, err := Compile(exps, testAttributes, allow, Config{Arms: map[string][]string{"x": {"a", "b", "c"}, "y": {"a", "b"}}}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		plans := map[decision.Digest]bool{}
		for _, segment := range []string{"", "s1", "s2"} {
			for _, assigned := range assignments(exps, all, segment) {
				for _, value := range []string{"one", "other"} {
					q := &decision.Query{Page: decision.Page{Path: "/"}, Segment: segment, Assignments: assigned, Attributes: []string{value, ""}}
					plans[p.Plan(context.Background(), q).Digest] = true
				}
			}
		}
		c := newCounter(exps, all)
		met := c.meeting(decision.Page{Path: "/"})
		if n, _ := c.count(met); len(plans) > n {
			t.Fatalf("%d plans, and %d are counted", len(plans), n)
		}
	})
}

// assignments returns all that counted visitors of a segment may have.
func assignments(exps []Bound, all Population, segment string) [][]decision.Assignment {
	every := [][]decision.Assignment{nil}
	split := func(name string, holdout bool, arms ...string) {
		var more [][]decision.Assignment
		for _, assigned := range every {
			for _, arm := range arms {
				more = append(more, append(assigned[:len(assigned):len(assigned)], decision.Assignment{Experiment: name, Arm: arm, Holdout: holdout}))
			}
		}
		every = more
	}
	for _, x := range all.Experiments {
		if x.Segment == "" || x.Segment == segment {
			split(x.Name, false, x.Arms...)
		}
	}
	for _, e := range exps {
		if e.Holdout > 0 && (e.Segment == "" || e.Segment == segment) {
			split(e.Name, true, decision.ArmTreated, "held out")
		}
	}
	return every
}
