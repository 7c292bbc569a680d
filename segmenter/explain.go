package segmenter

import "github.com/sedge-proxy/sedge/decision"

// Explanation says how the rules came to an answer.
type Explanation struct {
	Segmentation *decision.Segmentation
	Scores       []ScoreExplanation
	Segments     []SegmentExplanation // highest priority first
}

// ScoreExplanation says how a score got its value.
type ScoreExplanation struct {
	decision.Score
	Threshold float64
	Points    []PointsExplanation
}

// PointsExplanation is one rule of a score.
type PointsExplanation struct {
	RuleExplanation
	Points float64 // added if the rule matched
}

// SegmentExplanation is one segment.
type SegmentExplanation struct {
	Name     string
	Priority int
	Member   bool
	Score    string // of a segment by score; the rule is then empty
	RuleExplanation
}

// RuleExplanation is one rule with the values that it read.
type RuleExplanation struct {
	When    string
	Matched bool
	Failure string // why the rule could not be evaluated, "" if it could
	Inputs  []Input
}

// Explain evaluates all rules afresh and says how each came out. It holds the
// visitor's own data: it is for them and the site's owner, never for logs.
func (s *Scorer) Explain(f *decision.Facts) (*Explanation, error) { return s.rules.Explain(f) }

// Explain evaluates all rules and says how each came out.
func (r *Rules) Explain(f *decision.Facts) (*Explanation, error) {
	result, err := r.Evaluate(f)
	if err != nil {
		return nil, err
	}
	m := new(machine)
	m.load(f, len(r.inputs.request), len(r.scores))
	x := &Explanation{Segmentation: result}
	for i, score := range result.Scores {
		m.env.Score[i] = score.Value
		own := ScoreExplanation{Score: score, Threshold: r.scores[i].Threshold}
		for j, rule := range r.points[i] {
			own.Points = append(own.Points, PointsExplanation{r.explain(m, rule), r.scores[i].Points[j].Points})
		}
		x.Scores = append(x.Scores, own)
	}
	for i := range r.segments {
		s := &r.segments[i]
		own := SegmentExplanation{Name: s.Name, Priority: s.Priority, Score: s.Score, Member: result.In(s.Name)}
		if s.rule != nil {
			own.RuleExplanation = r.explain(m, s.rule)
		}
		x.Segments = append(x.Segments, own)
	}
	return x, nil
}

func (r *Rules) explain(m *machine, rule *rule) RuleExplanation {
	matched, err := m.run(rule)
	x := RuleExplanation{When: rule.text, Matched: matched, Inputs: rule.inputs.describe(&m.env, &r.inputs, r.scores)}
	if err != nil {
		x.Failure = asRuleError(err).message
	}
	return x
}

// each calls f for every rule with its number and the name it belongs to.
func (r *Rules) each(f func(number int, name string, rule *rule)) {
	number := 0
	for i := range r.scores {
		for _, rule := range r.points[i] {
			f(number, r.scores[i].Name, rule)
			number++
		}
	}
	for i := range r.segments {
		if s := &r.segments[i]; s.rule != nil {
			f(s.number, s.Name, s.rule)
		}
	}
}
