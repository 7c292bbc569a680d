package kpi

import "slices"

// AddTo adds what the row contributes to the sums.
func (r *Row) AddTo(t Totals) { r.contribute(t, true) }

// TakeFrom takes away what the row contributes to the sums.
func (r *Row) TakeFrom(t Totals) { r.contribute(t, false) }

func (r *Row) contribute(t Totals, add bool) {
	parts := r.parts()
	if len(parts) == 0 {
		return
	}
	all := part{}
	for _, p := range parts {
		key := Key{Kind: Segment, Segment: p.segment, Unconfirmed: !r.confirmed}
		contributeGroup(t, key, Sums{Visitors: 1, Sessions: p.sessions}, p.reached, add)
		all.sessions += p.sessions
		all.reached = join(all.reached, p.reached)
	}
	key := Key{Kind: Site, Unconfirmed: !r.confirmed}
	contributeGroup(t, key, Sums{Visitors: 1, Sessions: all.sessions}, all.reached, add)
	for i := range r.exposures {
		r.contributeExposure(t, &r.exposures[i], add)
	}
}

func (r *Row) contributeExposure(t Totals, x *exposure, add bool) {
	key := Key{Kind: Experiment, Experiment: x.experiment, Holdout: x.holdout, Unconfirmed: !r.confirmed}
	if x.crossed {
		key.Kind = Crossed
		t.change(key, &Sums{Visitors: 1}, add)
		return
	}
	if x.first == 0 {
		return
	}
	key.Arm, key.Segment = x.arm, x.segment
	group := Sums{Visitors: 1, Sessions: x.sessions}
	for _, s := range r.sessions {
		if s.end >= x.first {
			group.Sessions++
		}
	}
	if x.delivered {
		group.Delivered = 1
	}
	contributeGroup(t, key, group, x.reached, add)
}

func contributeGroup(t Totals, key Key, group Sums, reached []reach, add bool) {
	t.change(key, &group, add)
	for _, one := range reached {
		key.Goal = one.goal
		t.change(key, &Sums{
			Converted: 1, ConvertingSessions: one.sessions, Conversions: one.conversions,
			Revenue: one.revenue, Squares: squareOf(one.revenue),
		}, add)
	}
}

// parts sums all sessions by segment.
func (r *Row) parts() []part {
	parts := make([]part, 0, len(r.folded)+len(r.sessions))
	for _, p := range r.folded {
		p.reached = slices.Clone(p.reached)
		parts = append(parts, p)
	}
	for _, s := range r.sessions {
		i := slices.IndexFunc(parts, func(p part) bool { return p.segment == s.segment })
		if i < 0 {
			i = len(parts)
			parts = append(parts, part{segment: s.segment})
		}
		parts[i].sessions++
		parts[i].reached = join(parts[i].reached, s.reached)
	}
	return parts
}
