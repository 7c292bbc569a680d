package plan

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

// TestScope shows that a plugin gets what its scope names and nothing else, and
// that its answer is kept by exactly that.
func TestScope(t *testing.T) {
	base := decision.Query{
		Page: decision.Page{Host: "h", Path: "/p", Query: "q=a+b%21&other=1&q=second"}, Segment: "vip",
		Assignments: []decision.Assignment{in("x", "A")}, Attributes: []string{"de", "mobile"}, VisitorID: "v1",
	}
	changes := map[string]func(*decision.Query){
		"host":      func(q *decision.Query) { q.Page.Host = "h2" },
		"path":      func(q *decision.Query) { q.Page.Path = "/p2" },
		"q":         func(q *decision.Query) { q.Page.Query = "q=c" },
		"other":     func(q *decision.Query) { q.Page.Query = "q=a+b!&other=2" },
		"segment":   func(q *decision.Query) { q.Segment = "new" },
		"attribute": func(q *decision.Query) { q.Attributes = []string{"fr", "mobile"} },
		"device":    func(q *decision.Query) { q.Attributes = []string{"de", "tablet"} },
		"visitor":   func(q *decision.Query) { q.VisitorID = "v2" },
	}
	for _, c := range []struct {
		scope   decision.Scope
		request plugins.Request
		matters []string
	}{
		{decision.Scope{}, plugins.Request{}, nil},
		{decision.Scope{Page: true}, plugins.Request{Page: plugins.Page{Host: "h", Path: "/p"}}, []string{"host", "path"}},
		{decision.Scope{Query: []string{"q"}}, plugins.Request{Page: plugins.Page{Host: "h", Path: "/p", Query: "q=a+b%21"}, Query: map[string]string{"q": "a b!"}}, []string{"host", "path", "q"}},
		{decision.Scope{Segment: true}, plugins.Request{Segment: "vip"}, []string{"segment"}},
		{decision.Scope{Attributes: []string{"language"}}, plugins.Request{Attributes: map[string]string{"language": "de"}}, []string{"attribute"}},
		{decision.Scope{Visitor: true}, plugins.Request{VisitorID: "v1"}, []string{"visitor"}},
	} {
		f := says("x")
		f.scope = c.scope
		p := compile(t, Config{}, nil, bound("a", f, nil))
		run(p, &base)
		if diff := cmp.Diff(c.request, f.asked[0]); diff != "" {
			t.Errorf("scope %+v: %s", c.scope, diff)
		}
		for name, change := range changes {
			q := base
			change(&q)
			before := f.calls()
			run(p, &q)
			if again := f.calls() > before; again != slices.Contains(c.matters, name) {
				t.Errorf("scope %+v: asked again after a change of %s: %t", c.scope, name, again)
			}
		}
		before := f.calls()
		run(p, &base)
		if f.calls() != before {
			t.Errorf("scope %+v: the answer was not kept", c.scope)
		}
	}
}

// land waits until every answer is stored, so that the clock cannot run past one
// that is still on its way.
func land(t *testing.T, p *Planner) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		p.mu.Lock()
		n := len(p.flights)
		p.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d answers are still on their way", n)
		}
		runtime.Gosched()
	}
}

func TestAnswersExpire(t *testing.T) {
	c := new(clock)
	f := says("x")
	inner := f.answer
	f.answer = func(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
		a, err := inner(ctx, r)
		a.TTL = time.Minute
		return a, err
	}
	g := &fake{scope: decision.Scope{Segment: true}, answer: f.answer}
	p := compile(t, Config{}, c, bound("constant", f, nil), bound("kept", g, nil))
	for _, step := range []struct {
		wait time.Duration
		want int
	}{{0, 1}, {59 * time.Second, 1}, {2 * time.Second, 2}, {time.Second, 2}} {
		c.advance(step.wait)
		run(p, query(""))
		land(t, p)
		if f.calls() != step.want || g.calls() != step.want {
			t.Errorf("after %s: asked %d and %d times, want %d", step.wait, f.calls(), g.calls(), step.want)
		}
	}
}

func TestFailuresAreKeptForAMoment(t *testing.T) {
	c := new(clock)
	var well atomic.Bool
	f := &fake{answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) {
		if !well.Load() {
			return nil, errors.New("not well")
		}
		return &plugins.Answer{Edits: []plugins.Edit{edit("well")}}, nil
	}}
	p := compile(t, Config{RetryAfter: time.Second}, c, bound("a", f, nil))
	for range 5 {
		if got := show(run(p, query(""))); got != "skipped a: error" {
			t.Errorf("got %q", got)
		}
	}
	if f.calls() != 1 {
		t.Errorf("a failing plugin was asked %d times at once", f.calls())
	}
	well.Store(true)
	c.advance(time.Second)
	if got := show(run(p, query(""))); got != "+well" {
		t.Errorf("got %q", got)
	}
}

// TestLateAnswers shows that a page does not wait longer than it may, and that the
// answer serves the next page.
func TestLateAnswers(t *testing.T) {
	release := make(chan struct{})
	slow := &fake{scope: decision.Scope{Segment: true}, answer: func(ctx context.Context, _ *plugins.Request) (*plugins.Answer, error) {
		select {
		case <-release:
			return &plugins.Answer{Edits: []plugins.Edit{edit("slow")}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	p := compile(t, Config{}, nil, bound("slow", slow, nil), bound("quick", says("quick"), nil))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if got := show(p.Plan(ctx, query("vip"))); got != "+quick; skipped slow: late" {
		t.Errorf("got %q", got)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s", took)
	}
	if stats := p.Stats(); stats[0].Skipped["late"] != 1 {
		t.Errorf("stats are %+v", stats)
	}
	close(release)
	if got := show(run(p, query("vip"))); got != "+slow; +quick" {
		t.Errorf("got %q", got)
	}
	if slow.calls() != 1 {
		t.Errorf("the plugin was asked %d times", slow.calls())
	}
}

func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	gate := make(chan struct{})
	f := &fake{scope: decision.Scope{Page: true}, answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) {
		<-gate
		return &plugins.Answer{Edits: []plugins.Edit{edit("x")}}, nil
	}}
	p := compile(t, Config{}, nil, bound("a", f, nil))
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if got := show(run(p, query(""))); got != "+x" {
				t.Errorf("got %q", got)
			}
		})
	}
	for f.calls() == 0 {
		<-time.After(time.Millisecond)
	}
	close(gate)
	wait.Wait()
	if f.calls() != 1 {
		t.Errorf("asked %d times", f.calls())
	}
}

func TestCallsAreBounded(t *testing.T) {
	gate := make(chan struct{})
	f := &fake{scope: decision.Scope{Page: true}, answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) {
		<-gate
		return nil, nil
	}}
	p := compile(t, Config{MaxCalls: 2}, nil, bound("a", f, nil))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var got []string
	for i := range 4 {
		q := query("")
		q.Page.Path = fmt.Sprint("/", i)
		got = append(got, p.Plan(ctx, q).Reasons...)
	}
	if diff := cmp.Diff([]string{"late", "late", "busy", "busy"}, got); diff != "" {
		t.Error(diff)
	}
	close(gate)
}

func TestPlanAfterClose(t *testing.T) {
	p := compile(t, Config{}, nil, bound("a", says("1"), nil), bound("b", &fake{scope: decision.Scope{Page: true}, answer: says("2").answer}, nil))
	p.Close()
	p.Close()
	if got := show(run(p, query(""))); got != "+1; +2" {
		t.Errorf("got %q", got)
	}
}

// TestManyAtOnce: no more than two calls of each worker run at a time, so none is
// refused, however long the answers take to be stored. It is for the race detector too.
func TestManyAtOnce(t *testing.T) {
	f := &fake{scope: decision.Scope{Page: true, Segment: true}, answer: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Edits: []plugins.Edit{edit(r.Page.Path + r.Segment)}, TTL: time.Millisecond}, nil
	}}
	p := compile(t, Config{CacheSize: 1 << 16, MaxCalls: 32}, nil, bound("a", f, nil), bound("b", says("b"), func(e *Experience) { e.Holdout = 0.5 }))
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for i := range 300 {
				q := query(fmt.Sprint("s", i%7), heldOut("b", decision.ArmTreated))
				q.Page.Path = fmt.Sprint("/", (i*worker)%50)
				got := run(p, q)
				if len(got.Edits) != 2 || got.Edits[0].Text != q.Page.Path+q.Segment || got.Triggers[0].Segment != q.Segment {
					t.Errorf("got %q for %+v", show(got), q)
				}
			}
		})
	}
	wait.Wait()
}

// TestBodies: what asks for JSON or text concerns the experiences with such edits
// alone, and no plugin answers with edits of a kind that its scope does not name.
func TestBodies(t *testing.T) {
	edits := func(e ...plugins.Edit) func(context.Context, *plugins.Request) (*plugins.Answer, error) {
		return func(context.Context, *plugins.Request) (*plugins.Answer, error) {
			return &plugins.Answer{Edits: e}, nil
		}
	}
	scope := func(kinds ...decision.Body) decision.Scope { return decision.Scope{Bodies: kinds} }
	api := func(e *Experience) { e.Pages = []string{"/api"} }
	p := compile(t, Config{}, nil,
		bound("page", says("page"), nil),
		bound("json", &fake{scope: scope(decision.BodyJSON), answer: edits(plugins.Edit{Pointer: "/a", Op: "remove", Text: "json"})}, api),
		bound("both", &fake{scope: scope(decision.BodyHTML, decision.BodyText), answer: edits(edit("both"))}, api),
		bound("undeclared", &fake{answer: edits(plugins.Edit{Pointer: "/a", Op: "remove"})}, api),
	)
	for _, c := range []struct {
		path   string
		bodies decision.Bodies
		has    string
		want   string
	}{
		{"/", 0, "html", "+page"},
		{"/", decision.BodiesOf(decision.BodyJSON, decision.BodyText), "html", ""},
		{"/api", decision.BodiesOf(decision.BodyJSON), "html json text", "+json"},
		{"/api", decision.BodiesOf(decision.BodyText), "html json text", "+both"},
		{"/api", decision.AllBodies, "html json text", "+page; +json; +both; skipped undeclared: invalid"},
	} {
		q := query("")
		q.Page.Path, q.Bodies = c.path, c.bodies
		var has []string
		for _, kind := range []decision.Body{decision.BodyHTML, decision.BodyJSON, decision.BodyText} {
			if p.Bodies(&q.Page).Has(kind) {
				has = append(has, string(kind))
			}
		}
		if got := strings.Join(has, " "); got != c.has {
			t.Errorf("%s has %s, want %s", c.path, got, c.has)
		}
		if got := show(run(p, q)); got != c.want {
			t.Errorf("%s %b: got %q, want %q", c.path, c.bodies, got, c.want)
		}
	}
}
