package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
)

// maxPlanEdits bounds the edits of one plan; an experience beyond it is left out.
const maxPlanEdits = 2000

// finish returns the plan of the answers: the kept one if they were merged before.
func (p *Planner) finish(s *scratch, q *decision.Query) *decision.Plan {
	p.planKey(s, q)
	plan := p.store.plan(s.key)
	if plan == nil {
		plan = merge(s.parts, q)
		p.store.keepPlan(s.key, plan)
	}
	for i := range plan.Skipped {
		p.countSkip(plan.Skipped[i], plan.Reasons[i])
	}
	return plan
}

func (p *Planner) countSkip(name, reason string) {
	for _, e := range p.exps {
		if e.name == name {
			e.counts.skip(reason)
			return
		}
	}
}

// planKey writes down everything that the merged plan depends on.
func (p *Planner) planKey(s *scratch, q *decision.Query) {
	s.key = s.key[:0]
	if slices.ContainsFunc(s.parts, func(p part) bool { return p.measured >= 0 || len(p.exp.vary) > 0 }) {
		s.key = appendText(s.key, q.Segment) // triggers hold it
	}
	for i := range s.parts {
		part := &s.parts[i]
		s.key = binary.AppendUvarint(s.key, uint64(part.exp.index))
		id := part.answer.id
		if part.answer.reason != "" {
			id = p.outcomes[part.answer.reason].id // one plan for all failures of a kind
		}
		s.key = binary.AppendUvarint(s.key, id)
		s.key = append(s.key, flags(part, q))
		if part.measured >= 0 {
			s.key = appendText(s.key, q.Assignments[part.measured].Arm)
		}
		for j := range part.exp.vary {
			s.key = appendText(s.key, part.armIn(part.exp.vary[j].experiment, q))
		}
	}
}

func flags(p *part, q *decision.Query) byte {
	f := byte(p.vary+1) << 2
	if p.apply {
		f |= 1
	}
	if p.answer.action.Redirect != "" && redirectsToSelf(p.answer.action.Redirect, &q.Page) {
		f |= 2
	}
	return f
}

// merge makes the plan of the parts, in their order.
func merge(parts []part, q *decision.Query) *decision.Plan {
	m := merger{q: q, plan: &decision.Plan{Concerned: true}, digest: sha256.New()}
	for i := range parts {
		m.part(&parts[i])
	}
	m.finishTriggers(parts)
	m.finishDigest()
	return m.plan
}

// merger is a plan in the making.
type merger struct {
	q        *decision.Query
	plan     *decision.Plan
	digest   hash.Hash
	triggers []trigger
	winner   *part // whose redirect or path the plan took
	own      *part // the last part with the visitor's own arms
}

// trigger is a trigger in the making.
type trigger struct {
	assigned int // which assignment
	edits    []int
	actions  bool // some arm has a request action that would be done
}

func (m *merger) part(p *part) {
	a := p.answer
	name := p.exp.name
	if p.vary < 0 {
		m.own = p
	} else if sameAnswer(a, m.own.answer) {
		return // the other arm sees the same
	}
	switch {
	case a.reason != "":
		m.skip(name, a.reason)
		return
	case len(m.plan.Edits)+len(a.edits) > maxPlanEdits:
		m.skip(name, reasonTooMany)
		return
	}
	first := len(m.plan.Edits)
	for _, e := range a.edits {
		m.plan.Edits = append(m.plan.Edits, decision.PlannedEdit{Edit: e, Experience: name, Apply: p.apply, Offer: a.offer})
	}
	done := m.action(p)
	for _, assigned := range m.measures(p) {
		t := m.trigger(assigned)
		for i := first; i < len(m.plan.Edits); i++ {
			t.edits = append(t.edits, i)
		}
		t.actions = t.actions || done
	}
}

// skip notes that an experience is left out, once.
func (m *merger) skip(name, reason string) {
	if !slices.Contains(m.plan.Skipped, name) {
		m.plan.Skipped = append(m.plan.Skipped, name)
		m.plan.Reasons = append(m.plan.Reasons, reason)
	}
}

// measures returns the assignments that the part's edits tell apart.
func (m *merger) measures(p *part) []int {
	var out []int
	if p.measured >= 0 {
		out = append(out, p.measured)
	}
	for j := range p.exp.vary {
		if p.vary >= 0 && p.vary != j {
			continue // this part varies another experiment
		}
		if i := find(m.q.Assignments, p.exp.vary[j].experiment, false); i >= 0 {
			out = append(out, i)
		}
	}
	return out
}

func (m *merger) trigger(assigned int) *trigger {
	for i := range m.triggers {
		if m.triggers[i].assigned == assigned {
			return &m.triggers[i]
		}
	}
	m.triggers = append(m.triggers, trigger{assigned: assigned})
	return &m.triggers[len(m.triggers)-1]
}

// action takes the part's request action into the plan if it is the visitor's, and
// reports whether it is done, or would be in its arm.
func (m *merger) action(p *part) (done bool) {
	a := &p.answer.action
	if a.IsZero() {
		return false
	}
	if a.Redirect != "" && redirectsToSelf(a.Redirect, &m.q.Page) {
		m.skip(p.exp.name, reasonLoop)
		return false
	}
	if m.conflicts(p, a) {
		if p.apply {
			m.skip(p.exp.name, reasonConflict)
		}
		return false
	}
	if !p.apply {
		return true
	}
	if a.Redirect != "" || a.Path != "" {
		m.plan.Action.Redirect, m.plan.Action.Status, m.plan.Action.Path = a.Redirect, a.Status, a.Path
		m.winner = p
	}
	m.plan.Action.Headers = append(m.plan.Action.Headers, a.Headers...)
	return true
}

// conflicts reports whether an earlier action stands in the way: the first redirect
// or path wins, and the first value of a header. An action of the same experiment's
// other arm is no obstacle, since no visitor is in both.
func (m *merger) conflicts(p *part, a *decision.Action) bool {
	if m.winner != nil && !sameMeasure(m.winner, p) {
		if m.plan.Action.Redirect != "" || a.Redirect != "" || a.Path != "" {
			return true
		}
	}
	for _, h := range a.Headers {
		for _, taken := range m.plan.Action.Headers {
			if p.apply && strings.EqualFold(h[0], taken[0]) {
				return true
			}
		}
	}
	return false
}

// sameMeasure reports whether two parts are arms of the same experiment, so that
// one being shown means that the other is not.
func sameMeasure(a, b *part) bool {
	if a.apply && b.apply {
		return false
	}
	return a.measured >= 0 && a.measured == b.measured || a.exp == b.exp
}

// finishTriggers writes the triggers down. Without an edit or an action that tells
// its arms apart, an experiment has none.
func (m *merger) finishTriggers(parts []part) {
	for _, t := range m.triggers {
		assigned := m.q.Assignments[t.assigned]
		edits, actions := differences(parts, t.assigned, assigned.Experiment)
		actions = actions && t.actions
		if !actions && !(edits && len(t.edits) > 0) {
			continue
		}
		m.plan.Triggers = append(m.plan.Triggers, decision.Trigger{
			Exposure: decision.Exposure{
				Assignment: decision.Assignment{
					Experiment: strings.Clone(assigned.Experiment), Arm: strings.Clone(assigned.Arm), Holdout: assigned.Holdout,
				},
				Segment: strings.Clone(m.q.Segment),
			},
			Edits: t.edits, Always: actions,
		})
	}
}

// differences reports in what the arms of an experiment can be told apart. Those of
// an experience that belongs to it can in everything; those of a plugin that is
// only told the arm where its answers differ.
func differences(parts []part, measured int, experiment string) (edits, actions bool) {
	var own *part
	for i := range parts {
		p := &parts[i]
		if p.measured == measured {
			return true, true
		}
		if p.vary < 0 {
			own = p
			continue
		}
		if p.exp.vary[p.vary].experiment == experiment {
			edits = edits || !sameEdits(own.answer, p.answer)
			actions = actions || !sameAction(own.answer, p.answer)
		}
	}
	return edits, actions
}

func sameAnswer(a, b *answer) bool {
	return a.reason == b.reason && sameEdits(a, b) && sameAction(a, b)
}

// sameEdits reports whether two answers make a page look alike. What is offered shows
// in edits only.
func sameEdits(a, b *answer) bool {
	return slices.Equal(a.edits, b.edits) && (len(a.edits) == 0 || maps.Equal(a.offer, b.offer))
}

func sameAction(a, b *answer) bool {
	return a.action.Redirect == b.action.Redirect && a.action.Status == b.action.Status &&
		a.action.Path == b.action.Path && slices.Equal(a.action.Headers, b.action.Headers)
}

// finishDigest hashes what will be done. A plan that does nothing has the zero digest.
// What is offered stays out of it: the kept page has holes in those places.
func (m *merger) finishDigest() {
	if len(m.plan.Edits) == 0 && m.plan.Action.IsZero() {
		return
	}
	var b []byte
	for i := range m.plan.Edits {
		e := &m.plan.Edits[i]
		b = append(b[:0], 'e', flag(e.Apply), flag(e.Required))
		for _, s := range [...]string{e.Select, string(e.Op), e.Text, e.HTML, e.Name, e.Value, e.Pattern, string(e.Body), e.Pointer, string(e.JSON)} {
			b = appendText(b, s)
		}
		m.digest.Write(b)
	}
	a := &m.plan.Action
	b = append(b[:0], 'a')
	b = appendText(b, a.Redirect)
	b = binary.AppendVarint(b, int64(a.Status))
	b = appendText(b, a.Path)
	for _, h := range a.Headers {
		b = appendText(appendText(b, h[0]), h[1])
	}
	m.digest.Write(b)
	copy(m.plan.Digest[:], m.digest.Sum(nil))
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}
