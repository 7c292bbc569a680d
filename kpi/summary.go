package kpi

import (
	"cmp"
	"slices"

	"github.com/sedge-proxy/sedge/decision"
)

// Summary is everything that reports and dashboards need.
type Summary struct {
	Site        SegmentSummary // all visitors; its Segment is ""
	Segments    []SegmentSummary
	Experiments []ExperimentSummary
}

// SegmentSummary is one segment: visitors who began a session in it, and what
// those sessions brought. A visitor can be in several segments over time.
type SegmentSummary struct {
	Segment     string // [decision.NoSegment] for visitors whom no rule matched
	Confirmed   Group  // visitors whose cookie came back
	Unconfirmed Group  // visitors whose cookie did not
}

// All returns confirmed and unconfirmed visitors together.
func (s SegmentSummary) All() Group { return s.Confirmed.Plus(s.Unconfirmed) }

// ExperimentSummary is one experiment, or one experience with a hold-out.
type ExperimentSummary struct {
	Experiment string
	Holdout    bool
	Arms       []ArmSummary
	Crossed    int64 // visitors who met two arms; they are in none of Arms
}

// Arm returns the sums of one arm, empty ones when nobody met it.
func (e ExperimentSummary) Arm(name string) ArmSummary {
	for _, arm := range e.Arms {
		if arm.Arm == name {
			return arm
		}
	}
	return ArmSummary{Arm: name}
}

// ArmSummary is one arm: its Visitors are those who triggered, their
// conversions those at or after the first trigger.
//
// Whether a cookie comes back is known only after the visitor met the arm, so
// leaving the unconfirmed out can bias a comparison of arms: [ArmSummary.All] is
// what lift is computed on, and a share of unconfirmed visitors that differs
// between arms is a finding of its own.
type ArmSummary struct {
	Arm         string
	Confirmed   Group
	Unconfirmed Group
	Segments    []SegmentSummary // by segment at first trigger
}

// All returns confirmed and unconfirmed visitors together.
func (a ArmSummary) All() Group { return a.Confirmed.Plus(a.Unconfirmed) }

// Group is what one group of visitors did.
type Group struct {
	Visitors  int64
	Sessions  int64 // of an arm: from the first trigger on, the one that it came in included
	Delivered int64 // of an arm: visitors whose answer passed the place where the arms differ

	Any   GoalSums   // any goal, or an order
	Goals []GoalSums // by name; goals that nobody reached are missing
}

// GoalSums is what one group of visitors did for one goal.
type GoalSums struct {
	Goal               string
	Converted          int64 // visitors
	ConvertingSessions int64 // 0 for an arm
	Conversions        int64
	Revenue            decision.Money
	RevenueSquares     float64 // sum of each visitor's squared revenue, in squared currency units
}

// Goal returns the sums of one goal, zeros when nobody reached it. [AnyGoal]
// names all of them together.
func (g Group) Goal(name string) GoalSums {
	if name == AnyGoal {
		return g.Any
	}
	for _, sums := range g.Goals {
		if sums.Goal == name {
			return sums
		}
	}
	return GoalSums{Goal: name}
}

// Plus returns the sums of two groups that share no visitor.
func (g Group) Plus(h Group) Group {
	sum := Group{
		Visitors: g.Visitors + h.Visitors, Sessions: g.Sessions + h.Sessions, Delivered: g.Delivered + h.Delivered,
		Any: g.Any.plus(h.Any), Goals: slices.Clone(g.Goals),
	}
	for _, one := range h.Goals {
		*sum.goal(one.Goal) = sum.Goal(one.Goal).plus(one)
	}
	return sum
}

func (s GoalSums) plus(t GoalSums) GoalSums {
	s.Converted += t.Converted
	s.ConvertingSessions += t.ConvertingSessions
	s.Conversions += t.Conversions
	s.Revenue += t.Revenue
	s.RevenueSquares += t.RevenueSquares
	return s
}

// goal returns the place of a goal's sums, made in the order of names.
func (g *Group) goal(name string) *GoalSums {
	if name == AnyGoal {
		return &g.Any
	}
	i, ok := slices.BinarySearchFunc(g.Goals, name, func(s GoalSums, name string) int { return cmp.Compare(s.Goal, name) })
	if !ok {
		g.Goals = slices.Insert(g.Goals, i, GoalSums{Goal: name})
	}
	return &g.Goals[i]
}

func (g *Group) add(goal string, s *Sums) {
	g.Visitors += s.Visitors
	g.Sessions += s.Sessions
	g.Delivered += s.Delivered
	if s.Conversions == 0 && s.Converted == 0 {
		return
	}
	place := g.goal(goal)
	*place = place.plus(GoalSums{
		Converted: s.Converted, ConvertingSessions: s.ConvertingSessions, Conversions: s.Conversions,
		Revenue: s.Revenue, RevenueSquares: s.Squares.Units(),
	})
}

// Summary arranges the sums for reports, everything by name.
func (t Totals) Summary() Summary {
	var out Summary
	keys := make([]Key, 0, len(t))
	for key, sums := range t {
		if !sums.IsZero() {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	for _, key := range keys {
		sums := t[key]
		switch key.Kind {
		case Site:
			pick(&out.Site.Confirmed, &out.Site.Unconfirmed, key).add(key.Goal, sums)
		case Segment:
			s := segmentOf(&out.Segments, key.Segment)
			pick(&s.Confirmed, &s.Unconfirmed, key).add(key.Goal, sums)
		case Experiment:
			arm := armOf(experimentOf(&out.Experiments, key), key.Arm)
			pick(&arm.Confirmed, &arm.Unconfirmed, key).add(key.Goal, sums)
			s := segmentOf(&arm.Segments, key.Segment)
			pick(&s.Confirmed, &s.Unconfirmed, key).add(key.Goal, sums)
		case Crossed:
			experimentOf(&out.Experiments, key).Crossed += sums.Visitors
		}
	}
	return out
}

func pick(confirmed, unconfirmed *Group, key Key) *Group {
	if key.Unconfirmed {
		return unconfirmed
	}
	return confirmed
}

// The keys come in order, so a group that is not the last one is a new one.
func segmentOf(list *[]SegmentSummary, name string) *SegmentSummary {
	if n := len(*list); n == 0 || (*list)[n-1].Segment != name {
		*list = append(*list, SegmentSummary{Segment: name})
	}
	return &(*list)[len(*list)-1]
}

func experimentOf(list *[]ExperimentSummary, key Key) *ExperimentSummary {
	i := slices.IndexFunc(*list, func(e ExperimentSummary) bool {
		return e.Experiment == key.Experiment && e.Holdout == key.Holdout
	})
	if i < 0 {
		i = len(*list)
		*list = append(*list, ExperimentSummary{Experiment: key.Experiment, Holdout: key.Holdout})
	}
	return &(*list)[i]
}

func armOf(e *ExperimentSummary, name string) *ArmSummary {
	if n := len(e.Arms); n == 0 || e.Arms[n-1].Arm != name {
		e.Arms = append(e.Arms, ArmSummary{Arm: name})
	}
	return &e.Arms[len(e.Arms)-1]
}

func compareKeys(a, b Key) int {
	holdout := func(k Key) int {
		if k.Holdout {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Experiment, b.Experiment), cmp.Compare(holdout(a), holdout(b)),
		cmp.Compare(a.Arm, b.Arm), cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Goal, b.Goal),
	)
}
