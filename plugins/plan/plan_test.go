package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// fake is a plugin under the test's hand.
type fake struct {
	scope  decision.Scope
	answer func(ctx context.Context, r *plugins.Request) (*plugins.Answer, error)

	mu    sync.Mutex
	asked []plugins.Request
}

func (f *fake) Scope() decision.Scope { return f.scope }

func (f *fake) Plan(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, *r)
	f.mu.Unlock()
	return f.answer(ctx, r)
}

func (f *fake) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// says is a plugin that always sets the heading to the same text.
func says(text string) *fake {
	return &fake{answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Edits: []plugins.Edit{edit(text)}}, nil
	}}
}

// acts is a plugin that always wants the same request action.
func acts(a plugins.Action) *fake {
	return &fake{answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Action: a}, nil
	}}
}

func edit(text string) plugins.Edit {
	return plugins.Edit{Select: "h1", Op: decision.OpSetInner, Text: text}
}

func allow(e decision.Edit) error {
	if e.Select == "bad" {
		return errors.New("the selector is bad")
	}
	return nil
}

var testAttributes = []string{"language", "device"}

func compile(t testing.TB, cfg Config, c *clock, exps ...Bound) *Planner {
	t.Helper()
	if c == nil {
		c = new(clock)
	}
	p, err := Compile(exps, testAttributes, allow, cfg, c.now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func bound(name string, c Caller, change func(*Experience)) Bound {
	b := Bound{Experience: Experience{Name: name, Plugin: "p"}, Caller: c}
	if change != nil {
		change(&b.Experience)
	}
	return b
}

func query(segment string, assigned ...decision.Assignment) *decision.Query {
	return &decision.Query{
		Page: decision.Page{Host: "shop.example", Path: "/"}, Segment: segment, Assignments: assigned,
		Attributes: []string{"de", "mobile"}, VisitorID: "v1",
	}
}

func run(p *Planner, q *decision.Query) *decision.Plan {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return p.Plan(ctx, q)
}

// show writes a plan down in short: "+text" applied, "-text" only matched.
func show(p *decision.Plan) string {
	var out []string
	for _, e := range p.Edits {
		sign := "-"
		if e.Apply {
			sign = "+"
		}
		out = append(out, sign+e.Text)
	}
	if !p.Action.IsZero() {
		out = append(out, fmt.Sprintf("action %s%s%v", p.Action.Redirect, p.Action.Path, p.Action.Headers))
	}
	for _, t := range p.Triggers {
		out = append(out, fmt.Sprintf("trigger %s=%s %v always=%t holdout=%t in %q", t.Experiment, t.Arm, t.Edits, t.Always, t.Holdout, t.Segment))
	}
	for i, name := range p.Skipped {
		out = append(out, fmt.Sprintf("skipped %s: %s", name, p.Reasons[i]))
	}
	return strings.Join(out, "; ")
}

func in(experiment, arm string) decision.Assignment {
	return decision.Assignment{Experiment: experiment, Arm: arm}
}

func heldOut(experience, arm string) decision.Assignment {
	return decision.Assignment{Experiment: experience, Arm: arm, Holdout: true}
}

func TestPlan(t *testing.T) {
	arm := func(experiment, name string) func(*Experience) {
		return func(e *Experience) { e.Experiment, e.Arm = experiment, name }
	}
	segment := func(names ...string) func(*Experience) { return func(e *Experience) { e.Segments = names } }
	holdout := func(e *Experience) { e.Holdout = 0.1 }
	broken := &fake{answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) { return nil, errors.New("no") }}
	toArm := &fake{scope: decision.Scope{Experiments: []string{"x"}}, answer: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Edits: []plugins.Edit{edit("for " + r.Arms["x"])}}, nil
	}}
	deafToArm := &fake{scope: decision.Scope{Experiments: []string{"x"}}, answer: says("same").answer}
	toArmPath := &fake{scope: decision.Scope{Experiments: []string{"x"}}, answer: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Action: plugins.Action{Path: "/" + r.Arms["x"]}}, nil
	}}
	x := Config{Arms: map[string][]string{"x": {"A", "B"}}}
	for _, c := range []struct {
		name  string
		cfg   Config
		exps  []Bound
		query *decision.Query
		want  string
	}{
		{"in the order of the file", Config{}, []Bound{bound("b", says("1"), nil), bound("a", says("2"), nil)}, query(""), "+1; +2"},
		{"by segment", Config{}, []Bound{bound("a", says("1"), segment("vip", "new")), bound("b", says("2"), segment("lost"))}, query("vip"), "+1"},
		{"no segment is in no list", Config{}, []Bound{bound("a", says("1"), segment("vip"))}, query(""), ""},
		{"an arm is seen by those in it", Config{},
			[]Bound{bound("a", says("1"), arm("x", "A")), bound("b", says("2"), arm("x", "B"))}, query("vip", in("x", "B")),
			`-1; +2; trigger x=B [0 1] always=false holdout=false in "vip"`},
		{"the control arm", Config{}, []Bound{bound("a", says("1"), arm("x", "A"))}, query("", in("x", "control")),
			`-1; trigger x=control [0] always=false holdout=false in ""`},
		{"who is not counted sees no experiment", Config{},
			[]Bound{bound("a", says("1"), arm("x", "A")), bound("h", says("2"), holdout), bound("c", says("3"), nil)}, query(""), "+3"},
		{"treated", Config{}, []Bound{bound("h", says("1"), holdout)}, query("", heldOut("h", decision.ArmTreated)),
			`+1; trigger h=treated [0] always=false holdout=true in ""`},
		{"held out", Config{}, []Bound{bound("h", says("1"), holdout)}, query("", heldOut("h", decision.ArmHeldOut)),
			`-1; trigger h=held-out [0] always=false holdout=true in ""`},
		{"an experiment of the same name is another thing", Config{}, []Bound{bound("h", says("1"), holdout)}, query("", in("h", decision.ArmTreated)), ""},
		{"a broken plugin is left out alone", Config{}, []Bound{bound("a", broken, nil), bound("b", says("2"), nil)}, query(""), "+2; skipped a: error"},
		{"the first redirect wins", Config{},
			[]Bound{bound("a", acts(plugins.Action{Redirect: "/x"}), nil), bound("b", acts(plugins.Action{Path: "/y"}), nil)}, query(""),
			"action /x[]; skipped b: conflict"},
		{"headers of several", Config{},
			[]Bound{bound("a", acts(plugins.Action{Headers: [][2]string{{"A", "1"}}}), nil), bound("b", acts(plugins.Action{Headers: [][2]string{{"B", "2"}}}), nil), bound("c", acts(plugins.Action{Headers: [][2]string{{"a", "3"}}}), nil)},
			query(""), "action [[A 1] [B 2]]; skipped c: conflict"},
		{"a redirect to the page itself", Config{}, []Bound{bound("a", acts(plugins.Action{Redirect: "https://shop.example/"}), nil)}, query(""), "skipped a: loop"},
		{"an action triggers always, done", Config{}, []Bound{bound("a", acts(plugins.Action{Redirect: "/x"}), arm("x", "A"))}, query("", in("x", "A")),
			`action /x[]; trigger x=A [] always=true holdout=false in ""`},
		{"and not done", Config{}, []Bound{bound("a", acts(plugins.Action{Redirect: "/x"}), arm("x", "A"))}, query("", in("x", "B")),
			`trigger x=B [] always=true holdout=false in ""`},
		{"not if it never happens", Config{},
			[]Bound{bound("a", acts(plugins.Action{Path: "/y"}), nil), bound("b", acts(plugins.Action{Redirect: "/x"}), arm("x", "A"))}, query("", in("x", "B")),
			`action /y[]`},
		{"two arms with actions do not conflict", Config{},
			[]Bound{bound("a", acts(plugins.Action{Redirect: "/1"}), arm("x", "A")), bound("b", acts(plugins.Action{Redirect: "/2"}), arm("x", "B"))}, query("", in("x", "A")),
			`action /1[]; trigger x=A [] always=true holdout=false in ""`},
		{"a plugin that is told the arm", x, []Bound{bound("a", toArm, nil)}, query("", in("x", "A")),
			`+for A; -for B; trigger x=A [0 1] always=false holdout=false in ""`},
		{"a plugin that does not care", x, []Bound{bound("a", deafToArm, nil)}, query("", in("x", "A")), `+same`},
		{"a path by arm", x, []Bound{bound("a", toArmPath, nil)}, query("", in("x", "B")),
			`action /B[]; trigger x=B [] always=true holdout=false in ""`},
		{"told no arm", x, []Bound{bound("a", toArm, nil)}, query(""), `+for `},
		{"disabled", Config{}, []Bound{bound("a", says("1"), func(e *Experience) { e.Disabled = true })}, query(""), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := compile(t, c.cfg, nil, c.exps...)
			for range 3 { // computed, and kept
				if diff := cmp.Diff(c.want, show(run(p, c.query))); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestPages(t *testing.T) {
	p := compile(t, Config{}, nil,
		bound("a", says("a"), func(e *Experience) { e.Pages = []string{"/shop/**"}; e.Except = []string{"/shop/cart"} }),
		bound("b", says("b"), func(e *Experience) { e.Hosts = []string{"*.example"}; e.Pages = []string{"/b"} }))
	for _, c := range []struct {
		host, path string
		want       string
		concerned  bool
	}{
		{"x.example", "/shop/socks", "+a", true}, {"x.example", "/shop/cart", "", false},
		{"x.example", "/b", "+b", true}, {"x.y.example", "/b", "", false}, {"other", "/", "", false},
	} {
		q := &decision.Query{Page: decision.Page{Host: c.host, Path: c.path}}
		got := run(p, q)
		if show(got) != c.want || got.Concerned != c.concerned || p.Concerned(&q.Page) != c.concerned {
			t.Errorf("%s%s: got %q, concerned %t", c.host, c.path, show(got), got.Concerned)
		}
	}
}

func TestWrongAnswersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		answer *plugins.Answer
		reason string
	}{
		"edit":         {&plugins.Answer{Edits: []plugins.Edit{edit("ok"), {Select: "bad"}}}, "invalid"},
		"ttl":          {&plugins.Answer{TTL: -1}, "invalid"},
		"redirect":     {&plugins.Answer{Action: plugins.Action{Redirect: "javascript:alert(1)"}}, "invalid"},
		"header":       {&plugins.Answer{Action: plugins.Action{Headers: [][2]string{{"Cookie", "x"}}}}, "invalid"},
		"no answer":    {nil, ""},
		"many parts":   {&plugins.Answer{Edits: make([]plugins.Edit, maxPlanEdits+1)}, "too_many"},
		"empty but ok": {&plugins.Answer{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) { return c.answer, nil }}
			got := run(compile(t, Config{}, nil, bound("a", f, nil)), query(""))
			if reason := strings.Join(got.Reasons, ","); reason != c.reason || len(got.Edits) > 0 || !got.Action.IsZero() {
				t.Errorf("got %q", show(got))
			}
		})
	}
	t.Run("panic", func(t *testing.T) {
		f := &fake{answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) { panic("oh") }}
		if got := show(run(compile(t, Config{}, nil, bound("a", f, nil)), query(""))); got != "skipped a: panic" {
			t.Errorf("got %q", got)
		}
	})
}

// TestDigest shows what a digest tells apart: what is done, not why.
func TestDigest(t *testing.T) {
	f := &fake{scope: decision.Scope{Segment: true}, answer: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Edits: []plugins.Edit{edit(strings.TrimRight(r.Segment, "12"))}}, nil
	}}
	p := compile(t, Config{}, nil, bound("a", f, nil))
	a1, a2, b := run(p, query("a1")), run(p, query("a2")), run(p, query("b"))
	if a1.Digest != a2.Digest || a1.Digest == b.Digest || a1.Digest == (decision.Digest{}) {
		t.Errorf("digests are %x, %x, %x", a1.Digest, a2.Digest, b.Digest)
	}
	arm := func(e *Experience) { e.Experiment, e.Arm = "x", "A" }
	x := compile(t, Config{}, nil, bound("a", says("1"), arm))
	shown, hidden := run(x, query("", in("x", "A"))), run(x, query("", in("x", "B")))
	if shown.Digest == hidden.Digest {
		t.Error("an edit that is only matched has the digest of one that is applied")
	}
	empty := compile(t, Config{}, nil, bound("a", acts(plugins.Action{}), nil))
	if d := run(empty, query("")).Digest; d != (decision.Digest{}) {
		t.Errorf("a plan that does nothing has the digest %x", d)
	}
}

// TestDigestHoldsEveryField: plans that differ in any field of an edit differ in
// their digest, or one would be served for the other.
func TestDigestHoldsEveryField(t *testing.T) {
	digest := func(e decision.Edit) decision.Digest {
		answer := func(context.Context, *plugins.Request) (*plugins.Answer, error) {
			return &plugins.Answer{Edits: []plugins.Edit{e}}, nil
		}
		return run(compile(t, Config{}, nil, bound("a", &fake{answer: answer}, nil)), query("")).Digest
	}
	base := digest(decision.Edit{})
	for i := range reflect.TypeFor[decision.Edit]().NumField() {
		var e decision.Edit
		field := reflect.ValueOf(&e).Elem().Field(i)
		if field.Kind() == reflect.Bool {
			field.SetBool(true)
		} else {
			field.SetString("x")
		}
		if digest(e) == base {
			t.Errorf("the digest leaves out %s", reflect.TypeFor[decision.Edit]().Field(i).Name)
		}
	}
}

func TestCompileFaults(t *testing.T) {
	wants := &fake{scope: decision.Scope{Attributes: []string{"geo"}, Experiments: []string{"nope"}}}
	_, err := Compile([]Bound{
		{Experience: Experience{Pages: []string{"nope"}, Edits: []decision.Edit{{}}, Plugin: "p"}, Caller: says("")},
		bound("a", wants, nil), bound("a", says(""), func(e *Experience) { e.Segment = "x"; e.Segments = []string{"y", ""} }),
		bound("b", says(""), func(e *Experience) { e.Experiment = "x"; e.Holdout = 0.5 }),
		bound("c", nil, func(e *Experience) { e.Plugin = ""; e.Hosts = []string{"UPPER", "a/b"}; e.Holdout = 1 }),
	}, testAttributes, allow, Config{}, time.Now, slog.New(slog.DiscardHandler))
	var faults decision.Faults
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	want := []string{
		"[0].edits", "[0].name", "[0].pages[0]", "[1].plugin", "[1].plugin", "[2].name", "[2].segments", "[2].segments",
		"[3].arm", "[4].holdout", "[4].hosts[0]", "[4].hosts[1]", "[4].plugin", "[4].plugin",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("%s\n%v", diff, err)
	}
}

func TestPrime(t *testing.T) {
	good, bad := says("1"), says("2")
	bad.answer = func(context.Context, *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Edits: []plugins.Edit{{Select: "bad"}}}, nil
	}
	p := compile(t, Config{}, nil, bound("good", good, nil), bound("bad", bad, nil))
	err := p.Prime(context.Background())
	if err == nil || err.Error() != "[1]: edits[0]: the selector is bad" {
		t.Errorf("got %v", err)
	}
	run(p, query(""))
	if good.calls() != 1 {
		t.Errorf("asked %d times", good.calls())
	}
}

func TestSource(t *testing.T) {
	e := Experience{Edits: []decision.Edit{{Select: "h1", Op: "remove"}}}
	name, settings := e.Source()
	if name != "content" || string(settings) != `{"edits":[{"select":"h1","op":"remove"}]}` {
		t.Errorf("got %s %s", name, settings)
	}
	e = Experience{Plugin: "p", Settings: json.RawMessage(`{"a":1}`)}
	if name, settings = e.Source(); name != "p" || string(settings) != `{"a":1}` {
		t.Errorf("got %s %s", name, settings)
	}
}
