package plan

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// Config bounds a [Planner].
type Config struct {
	// CacheSize bounds the memory for answers and plans; 32MiB by default.
	CacheSize decision.Size `mapstructure:"cache_size"`

	// RetryAfter is for how long a plugin's failure to answer a question stands
	// before it is asked again; 500ms by default.
	RetryAfter time.Duration `mapstructure:"retry_after"`

	// MaxCalls bounds the calls to all plugins at a time; 256 by default.
	MaxCalls int `mapstructure:"max_calls"`

	// Arms are the arms of every experiment. Needed for plugins whose scope names
	// an experiment: all its arms are planned.
	Arms map[string][]string `mapstructure:"-"`
}

func (c Config) withDefaults() Config {
	if c.CacheSize <= 0 {
		c.CacheSize = 32 << 20
	}
	if c.RetryAfter <= 0 {
		c.RetryAfter = 500 * time.Millisecond
	}
	if c.MaxCalls <= 0 {
		c.MaxCalls = 256
	}
	return c
}

// Planner plans pages. It is immutable but for its caches; its methods may be
// called concurrently.
type Planner struct {
	*shared
	exps []*experience
}

// shared is what a planner has in common with those made by [Planner.Without].
type shared struct {
	check  func(decision.Edit) error
	cfg    Config
	now    func() time.Time
	logger *slog.Logger
	store  *store
	pool   sync.Pool

	answerIDs atomic.Uint64
	outcomes  map[string]*answer // one answer for every reason why there is none

	unconcerned, bare *decision.Plan

	mu      sync.Mutex
	flights map[string]*flight
	flying  int // of them: calls that run
	said    map[complaint]time.Time
}

// experience is an [Experience], compiled.
type experience struct {
	name, plugin, at     string // at: its place in the configuration
	index                int    // among all that were compiled
	hosts, pages, except decision.Globs
	segments             []string // nil: everyone
	experiment, arm      string
	holdout              bool

	caller   Caller
	scope    decision.Scope
	bodies   decision.Bodies // that the plugin's edits are for
	attrs    []int           // where the scope's attributes stand in a query
	vary     []varied        // experiments in the scope that the experience does not belong to
	constant bool            // the scope is empty
	held     atomic.Pointer[answer]

	counts counters
}

// varied is an experiment whose arm a plugin's answer depends on.
type varied struct {
	experiment string
	arms       []string
}

// Compile binds experiences to a planner. attributeNames says what
// [decision.Query.Attributes] will hold; check says whether an edit can run, and is
// asked once for every edit of every answer. The error is [decision.Faults] with
// paths like "[2].pages[0]".
func Compile(exps []Bound, attributeNames []string, check func(decision.Edit) error, cfg Config, now func() time.Time, logger *slog.Logger) (*Planner, error) {
	plain := make([]Experience, len(exps))
	for i := range exps {
		plain[i] = exps[i].Experience
	}
	faults := Validate(plain)
	p := &Planner{shared: &shared{
		check: check, cfg: cfg.withDefaults(), now: now, logger: logger,
		outcomes:    make(map[string]*answer),
		flights:     make(map[string]*flight),
		said:        make(map[complaint]time.Time),
		unconcerned: &decision.Plan{}, bare: &decision.Plan{Concerned: true},
	}}
	p.pool.New = func() any { return new(scratch) }
	for _, reason := range reasons {
		p.outcomes[reason] = &answer{id: p.answerIDs.Add(1), reason: reason}
	}
	for i := range exps {
		if !exps[i].Disabled {
			p.add(&exps[i], fmt.Sprintf("[%d]", i), attributeNames, &faults)
		}
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	var err error
	p.store, err = newStore(int64(p.cfg.CacheSize))
	return p, err
}

func (p *Planner) add(b *Bound, at string, attributeNames []string, faults *decision.Faults) {
	if b.Caller == nil {
		faults.Add(at+".plugin", "no plugin is bound to the experience")
		return
	}
	plugin, _ := b.Source()
	e := &experience{
		name: b.Name, plugin: plugin, at: at, index: len(p.exps),
		hosts: decision.CompileGlobs(b.Hosts, '.'), pages: decision.CompileGlobs(b.Pages, '/'), except: decision.CompileGlobs(b.Except, '/'),
		segments:   slices.Clone(b.Segments),
		experiment: b.Experiment, arm: b.Arm, holdout: b.Holdout > 0,
		caller: b.Caller, scope: b.Caller.Scope(),
	}
	p.exps = append(p.exps, e)
	e.bodies = e.scope.EditedBodies()
	if b.Segment != "" {
		e.segments = []string{b.Segment}
	}
	for _, name := range e.scope.Attributes {
		index := slices.Index(attributeNames, name)
		if index < 0 {
			faults.Add(at+".plugin", "the plugin asks for the attribute %q, which is not extracted", name)
		}
		e.attrs = append(e.attrs, index)
	}
	for _, name := range e.scope.Experiments {
		if name == e.experiment {
			continue
		}
		arms, ok := p.cfg.Arms[name]
		if !ok {
			faults.Add(at+".plugin", "the plugin asks for the arm in the experiment %q, which does not exist", name)
		}
		e.vary = append(e.vary, varied{experiment: name, arms: arms})
	}
	s := &e.scope
	e.constant = !s.Page && !s.Segment && !s.Visitor && len(s.Query)+len(s.Experiments)+len(s.Attributes) == 0
}

// Concerned reports whether some experience names the page, whoever asks for it.
func (p *Planner) Concerned(page *decision.Page) bool {
	for _, e := range p.exps {
		if e.names(page) {
			return true
		}
	}
	return false
}

// Bodies returns the kinds of bodies that the experiences which name the page may
// edit, whoever asks for it.
func (p *Planner) Bodies(page *decision.Page) (bodies decision.Bodies) {
	for _, e := range p.exps {
		if e.bodies&^bodies != 0 && e.names(page) {
			bodies |= e.bodies
		}
	}
	return bodies
}

func (e *experience) names(page *decision.Page) bool {
	return e.pages.Match(page.Path) && e.hosts.Match(page.Host) &&
		(len(e.except) == 0 || !e.except.Match(page.Path))
}

func (e *experience) shownTo(segment string) bool {
	return e.segments == nil || segment != "" && slices.Contains(e.segments, segment)
}

// measure finds the visitor's assignment to what measures the experience. -1: it
// is not measured.
func (e *experience) measure(assigned []decision.Assignment) (index int, counted bool) {
	switch {
	case e.experiment != "":
		index = find(assigned, e.experiment, false)
	case e.holdout:
		index = find(assigned, e.name, true)
	default:
		return -1, true
	}
	return index, index >= 0
}

func find(assigned []decision.Assignment, experiment string, holdout bool) int {
	for i := range assigned {
		if assigned[i].Experiment == experiment && assigned[i].Holdout == holdout {
			return i
		}
	}
	return -1
}

// part is one answer's place in a plan.
type part struct {
	exp      *experience
	measured int    // which assignment measures the experience; -1: none
	vary     int    // which experiment of the scope has another arm than the visitor's; -1: none
	arm      string // that arm
	apply    bool

	from, to int // the answer's key in scratch.keys
	answer   *answer
	flight   *flight
}

// scratch is what one call of Plan works with.
type scratch struct {
	parts []part
	keys  []byte
	key   []byte
}

func (s *scratch) keyOf(p *part) []byte { return s.keys[p.from:p.to] }

func (p *Planner) putBack(s *scratch) {
	clear(s.parts)
	s.parts, s.keys, s.key = s.parts[:0], s.keys[:0], s.key[:0]
	if cap(s.keys) < 64<<10 {
		p.pool.Put(s)
	}
}

// Plan returns what is to be done with the page. It never fails: what has no
// answer until ctx ends is left out. The plan is shared and must not be changed.
func (p *Planner) Plan(ctx context.Context, q *decision.Query) *decision.Plan {
	s := p.pool.Get().(*scratch)
	defer p.putBack(s)
	concerned := p.collect(s, q)
	switch {
	case !concerned:
		return p.unconcerned
	case len(s.parts) == 0:
		return p.bare
	}
	if p.lookUp(s, q) > 0 {
		p.fetch(ctx, s, q)
	}
	return p.finish(s, q)
}

// collect lists the answers that the plan consists of.
func (p *Planner) collect(s *scratch, q *decision.Query) (concerned bool) {
	for _, e := range p.exps {
		if !e.names(&q.Page) || q.Bodies != 0 && q.Bodies&e.bodies == 0 {
			continue
		}
		concerned = true
		if !e.shownTo(q.Segment) {
			continue
		}
		measured, counted := e.measure(q.Assignments)
		if !counted {
			continue
		}
		apply := true
		switch {
		case e.experiment != "":
			apply = q.Assignments[measured].Arm == e.arm
		case e.holdout:
			apply = q.Assignments[measured].Arm == decision.ArmTreated
		}
		own := part{exp: e, measured: measured, vary: -1, apply: apply}
		s.parts = append(s.parts, own)
		for j := range e.vary {
			p.collectOthers(s, own, j, q)
		}
	}
	return concerned
}

// collectOthers lists the answers of the arms that the visitor is not in.
func (p *Planner) collectOthers(s *scratch, own part, j int, q *decision.Query) {
	v := &own.exp.vary[j]
	mine := find(q.Assignments, v.experiment, false)
	if mine < 0 {
		return
	}
	for _, arm := range v.arms {
		if arm != q.Assignments[mine].Arm {
			other := own
			other.vary, other.arm, other.apply = j, arm, false
			s.parts = append(s.parts, other)
		}
	}
}

// primeAtOnce is how many questions Prime asks at a time: a site may have more
// experiences than a plugin takes calls.
const primeAtOnce = 16

// Prime asks every plugin whose answer depends on nothing, so that the first page
// finds it, and reports those that do not answer or whose answer is wrong, as
// [decision.Faults] with paths like those of [Compile].
func (p *Planner) Prime(ctx context.Context) error {
	var faults decision.Faults
	var constant []*experience
	for _, e := range p.exps {
		if e.constant {
			constant = append(constant, e)
		}
	}
	for few := range slices.Chunk(constant, primeAtOnce) {
		s := new(scratch)
		for _, e := range few {
			s.parts = append(s.parts, part{exp: e, measured: -1, vary: -1})
		}
		if q := new(decision.Query); p.lookUp(s, q) > 0 {
			p.fetch(ctx, s, q)
		}
		for _, part := range s.parts {
			if a := part.answer; a.reason != "" {
				faults.Add(part.exp.at, "%s", a.explain())
			}
		}
	}
	return faults.Err()
}

// Without returns a planner for the experiences that off does not name, as if the
// others were disabled: they concern no page, their plugins are not asked, and no
// plan holds them. It shares caches and counts with p, and is closed with it.
func (p *Planner) Without(off func(experience, plugin string) bool) *Planner {
	return &Planner{shared: p.shared, exps: slices.DeleteFunc(slices.Clone(p.exps), func(e *experience) bool { return off(e.name, e.plugin) })}
}

// Close lets the caches go. Plan may still be called; it then asks plugins anew.
func (p *Planner) Close() { p.store.close() }
