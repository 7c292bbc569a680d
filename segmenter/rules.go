package segmenter

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/expr-lang/expr/vm"

	"github.com/sedge-proxy/sedge/decision"
)

// Rules are a site's segments and scores, compiled. They are immutable and safe
// for concurrent use.
type Rules struct {
	segments []segment // highest priority first
	scores   []Score
	points   [][]*rule // by score
	inputs   inputs
	rules    int       // all of them; a rule's number is its place in reports
	machines sync.Pool // of *machine
}

type segment struct {
	Segment
	rule   *rule // nil: by score
	score  int
	number int
}

// Compile compiles the segments and scores of a configuration, or reports
// everything that is wrong with them. Paths are relative to cfg, columns are
// positions inside the rules.
func Compile(cfg Config) (*Rules, decision.Faults) {
	var faults decision.Faults
	cfg.check(&faults)
	r := &Rules{scores: cfg.Scores}
	r.machines.New = func() any { return new(machine) }
	var names []string
	for i, s := range cfg.Scores {
		names = append(names, s.Name)
		r.points = append(r.points, r.compilePoints(fmt.Sprintf("scores[%d]", i), s, &faults))
	}
	for i, s := range cfg.Segments {
		own := segment{Segment: s, score: slices.Index(names, s.Score), number: r.rules}
		if s.When != "" {
			own.rule = r.compile(fmt.Sprintf("segments[%d].when", i), s.When, names, &faults)
		}
		r.segments = append(r.segments, own)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	slices.SortStableFunc(r.segments, func(a, b segment) int { return cmp.Compare(b.Priority, a.Priority) })
	return r, nil
}

func (r *Rules) compilePoints(path string, s Score, faults *decision.Faults) (rules []*rule) {
	for j, p := range s.Points {
		at := fmt.Sprintf("%s.points[%d].when", path, j)
		if p.When == "" {
			faults.Add(at, "expected a rule")
			continue
		}
		rules = append(rules, r.compile(at, p.When, nil, faults))
	}
	return rules
}

func (r *Rules) compile(path, text string, scores []string, faults *decision.Faults) *rule {
	compiled, problem := compileRule(text, &r.inputs, scores)
	if problem != nil {
		faults.AddAt(path, problem.column, "%s", problem.message)
	}
	r.rules++
	return compiled
}

// RequestInputs names the request attributes that rules read. [decision.Facts]
// must hold their values first, in this order.
func (r *Rules) RequestInputs() []string { return slices.Clone(r.inputs.request) }

// SegmentNames returns the names of all segments, highest priority first.
func (r *Rules) SegmentNames() []string {
	names := make([]string, len(r.segments))
	for i := range r.segments {
		names[i] = r.segments[i].Name
	}
	return names
}

// Evaluate decides which segments the visitor is in. A rule that cannot be
// evaluated, as one that adds a number to a trait that is text, does not match.
func (r *Rules) Evaluate(f *decision.Facts) (*decision.Segmentation, error) {
	result, _, err := r.evaluate(f, nil)
	return result, err
}

// evaluate also returns the window of time for which the answer holds, and
// counts rules that could not be evaluated by their number.
func (r *Rules) evaluate(f *decision.Facts, failures []atomic.Uint64) (*decision.Segmentation, window, error) {
	if len(f.Attributes) < len(r.inputs.request) {
		return nil, window{}, fmt.Errorf("evaluate segments: %d request attributes given, rules read %d", len(f.Attributes), len(r.inputs.request))
	}
	m := r.machines.Get().(*machine)
	defer r.machines.Put(m)
	profile := m.load(f, len(r.inputs.request), len(r.scores))
	defer m.unload()

	valid := r.inputs.window(profile, f.Now)
	result := &decision.Segmentation{ValidUntil: valid.until}
	number := 0
	for i := range r.scores {
		sum := 0.0
		for j, rule := range r.points[i] {
			if m.matches(rule, failures, number) {
				sum += r.scores[i].Points[j].Points
			}
			number++
		}
		m.env.Score[i] = sum
		result.Scores = append(result.Scores, decision.Score{Name: r.scores[i].Name, Value: sum, Reached: sum >= r.scores[i].Threshold})
	}
	for i := range r.segments {
		s := &r.segments[i]
		if s.rule == nil && result.Scores[s.score].Reached || s.rule != nil && m.matches(s.rule, failures, s.number) {
			result.Members = append(result.Members, s.Name)
		}
	}
	if len(result.Members) > 0 {
		result.Primary = result.Members[0]
	}
	return result, valid, nil
}

// machine runs rules; it is used by one evaluation at a time.
type machine struct {
	vm  vm.VM
	env environment
}

var nobody decision.Profile // stands for a missing profile; never written

func (m *machine) load(f *decision.Facts, attributes, scores int) *decision.Profile {
	profile := profileOf(f)
	m.env.Request = f.Attributes[:attributes]
	m.env.Visitor.set(profile, f.Now)
	m.env.Traits = profile.Traits
	m.env.Count = profile.Counts
	m.env.Score = slices.Grow(m.env.Score[:0], scores)[:scores]
	return profile
}

// unload lets go of the visitor, so that a pooled machine keeps nobody's data.
func (m *machine) unload() {
	clear(m.vm.Stack[:cap(m.vm.Stack)])
	m.env = environment{Score: m.env.Score}
}

func (m *machine) matches(r *rule, failures []atomic.Uint64, number int) bool {
	matched, err := m.run(r)
	if err != nil && failures != nil {
		failures[number].Add(1)
	}
	return matched
}

func (m *machine) run(r *rule) (bool, error) {
	out, err := m.vm.Run(r.program, &m.env) // recovers from panics
	if err != nil {
		return false, err
	}
	matched, ok := out.(bool)
	if !ok {
		return false, fmt.Errorf("the rule gave %T, not true or false", out)
	}
	return matched, nil
}

func profileOf(f *decision.Facts) *decision.Profile {
	if f.Profile == nil {
		return &nobody
	}
	return f.Profile
}
