package plan

import (
	"context"
	"fmt"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

func benchmarkPlanner(b testing.TB, n int) *Planner {
	var exps []Bound
	for i := range n {
		f := says("x")
		switch i % 3 {
		case 1:
			f.scope = decision.Scope{Segment: true}
		case 2:
			f.scope = decision.Scope{Page: true, Segment: true, Attributes: []string{"language"}}
		}
		exps = append(exps, bound(fmt.Sprint("e", i), f, func(e *Experience) {
			e.Pages = []string{"/", fmt.Sprintf("/category-%d/**", i)}
			e.Experiment, e.Arm = "x", "A"
		}))
	}
	for i := range 100 {
		exps = append(exps, bound(fmt.Sprint("other", i), says("x"), func(e *Experience) { e.Pages = []string{fmt.Sprintf("/other-%d/**", i)} }))
	}
	return compile(b, Config{}, nil, exps...)
}

func TestKeptPlansCostNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates; checked without it")
		return
	}
	p := benchmarkPlanner(t, 6)
	q, ctx := query("vip", in("x", "A")), context.Background()
	var allocations float64
	for range 10 { // a plan need not be kept: on a busy machine its first making may be late or dropped
		run(p, q)
		p.store.plans.Wait()
		if allocations = testing.AllocsPerRun(200, func() { p.Plan(ctx, q) }); allocations == 0 {
			return
		}
	}
	t.Errorf("%v allocations", allocations)
}

func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1, 6} {
		b.Run(fmt.Sprintf("kept/%d_of_%d", n, n+100), func(b *testing.B) {
			p := benchmarkPlanner(b, n)
			q, ctx := query("vip", in("x", "A")), context.Background()
			run(p, q)
			b.ReportAllocs()
			for b.Loop() {
				p.Plan(ctx, q)
			}
		})
	}
	b.Run("merge/6", func(b *testing.B) {
		p := benchmarkPlanner(b, 6)
		q := query("vip", in("x", "A"))
		run(p, q)
		s := new(scratch)
		p.collect(s, q)
		p.lookUp(s, q)
		b.ReportAllocs()
		for b.Loop() {
			merge(s.parts, q)
		}
	})
	b.Run("not_concerned", func(b *testing.B) {
		p := benchmarkPlanner(b, 6)
		q, ctx := query("vip"), context.Background()
		q.Page.Path = "/nowhere"
		b.ReportAllocs()
		for b.Loop() {
			p.Plan(ctx, q)
		}
	})
}
