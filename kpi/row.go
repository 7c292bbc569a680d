package kpi

import (
	"slices"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// SessionIdle is the time without events that ends a session.
const SessionIdle = 30 * time.Minute

// The bounds of one visitor's row.
const (
	// MaxSessions newest sessions can still grow and join; what older ones
	// brought is kept as a sum per segment. An event older than all of them
	// belongs to the last of those.
	MaxSessions = 8

	// MaxHits newest conversions are kept with their times, for an experiment
	// whose trigger arrives late.
	MaxHits = 64

	// MaxOrders newest orders are remembered, per goal.
	MaxOrders = 256

	// MaxExposures experiments and MaxSegments segments are kept of one visitor.
	MaxExposures = 256
	MaxSegments  = 256
)

// Row is what one visitor contributes to the sums. The zero Row contributes
// nothing.
type Row struct {
	confirmed bool
	sessions  []session // by time, apart by more than SessionIdle
	folded    []part    // older sessions, by segment
	foldedAt  int       // index in folded of the newest of them
	foldedEnd int64
	exposures []exposure
	hits      []hit // newest by stamp, ascending
	orders    []uint64
}

type session struct {
	end     int64
	first   event.Stamp // of the event that began it
	segment string      // of that event
	reached []reach
}

// part is what some sessions of one segment brought.
type part struct {
	segment  string
	sessions int64
	reached  []reach
}

// reach is what became of one goal.
type reach struct {
	goal        string
	sessions    int64
	conversions int64
	revenue     decision.Money
}

type exposure struct {
	experiment string
	holdout    bool
	arm        string
	segment    string // at first trigger
	first      int64  // first trigger, 0 for none yet
	delivered  bool
	crossed    bool
	sessions   int64   // folded ones that lasted to the first trigger or began after it
	reached    []reach // at or after the first trigger
}

type hit struct {
	stamp   event.Stamp
	goal    string
	revenue decision.Money
}

// Apply adds one event, which must not have been added before.
func (r *Row) Apply(e *event.Event) {
	if !e.Minted {
		r.confirmed = true
	}
	at := r.visit(e)
	for _, h := range r.newHits(e) {
		r.hit(h, at)
	}
	if e.Exposure == nil {
		return
	}
	switch e.Type {
	case event.Trigger:
		r.trigger(e.Exposure, e.Milli())
	case event.Delivery:
		if x := r.exposure(e.Exposure); x != nil && x.arm == e.Exposure.Arm {
			x.delivered = true
		}
	}
}

func segmentName(s string) string {
	if s == "" {
		return decision.NoSegment
	}
	return s
}

// visit makes the event's moment part of a session and returns its index, -1 for the
// sessions that are folded.
func (r *Row) visit(e *event.Event) int {
	idle, at := SessionIdle.Milliseconds(), e.Milli()
	if len(r.folded) > 0 && at <= r.foldedEnd+idle {
		r.foldedEnd = max(r.foldedEnd, at)
		for len(r.sessions) > 0 && r.sessions[0].first.Milli-idle <= r.foldedEnd {
			r.foldedEnd = max(r.foldedEnd, r.sessions[0].end)
			r.folded[r.foldedAt].reached = join(r.folded[r.foldedAt].reached, r.sessions[0].reached)
			r.sessions = slices.Delete(r.sessions, 0, 1)
		}
		return -1
	}
	i := 0
	for i < len(r.sessions) && r.sessions[i].end+idle < at {
		i++
	}
	if i == len(r.sessions) || at < r.sessions[i].first.Milli-idle {
		r.sessions = slices.Insert(r.sessions, i, session{end: at, first: e.Stamp(), segment: segmentName(e.Segment)})
	} else {
		r.extend(i, e)
	}
	if len(r.sessions) > MaxSessions {
		r.fold()
		i--
	}
	return i
}

// extend makes a session contain the event's moment, and joins it with the next one
// if they now touch.
func (r *Row) extend(i int, e *event.Event) {
	s, at := &r.sessions[i], e.Milli()
	s.end = max(s.end, at)
	if at <= s.first.Milli { // else the whole stamp, which takes longer, says the same
		if stamp := e.Stamp(); stamp.Before(s.first) {
			s.first, s.segment = stamp, segmentName(e.Segment)
		}
	}
	if i+1 < len(r.sessions) && r.sessions[i+1].first.Milli-SessionIdle.Milliseconds() <= s.end {
		next := &r.sessions[i+1]
		s.end = max(s.end, next.end)
		s.reached = joinWithin(s.reached, next.reached)
		r.sessions = slices.Delete(r.sessions, i+1, i+2)
	}
}

// fold turns the oldest session into a sum.
func (r *Row) fold() {
	s := r.sessions[0]
	r.sessions = slices.Delete(r.sessions, 0, 1)
	r.foldedEnd = s.end
	for i := range r.exposures {
		if x := &r.exposures[i]; x.first != 0 && s.end >= x.first {
			x.sessions++
		}
	}
	i := slices.IndexFunc(r.folded, func(p part) bool { return p.segment == s.segment })
	if i < 0 {
		if len(r.folded) == MaxSegments {
			return
		}
		i = len(r.folded)
		r.folded = append(r.folded, part{segment: s.segment})
	}
	r.foldedAt = i
	r.folded[i].sessions++
	r.folded[i].reached = join(r.folded[i].reached, s.reached)
}

// newHits returns what the event converts, leaving out orders that did so before.
func (r *Row) newHits(e *event.Event) []hit {
	if len(e.Conversions) == 0 && e.Order == nil {
		return nil
	}
	stamp := e.Stamp()
	var hits []hit
	most := decision.Money(0)
	for _, c := range e.Conversions {
		if c.OrderID != "" && !r.newOrder(c.Goal, c.OrderID) {
			continue
		}
		hits = append(hits, hit{stamp, c.Goal, c.Revenue})
		most = max(most, c.Revenue)
	}
	switch {
	case e.Order != nil:
		if r.newOrder(AnyGoal, e.Order.ID) {
			hits = append(hits, hit{stamp, AnyGoal, e.Order.Revenue})
		}
	case len(hits) > 0:
		hits = append(hits, hit{stamp, AnyGoal, most})
	}
	return hits
}

func (r *Row) newOrder(goal, id string) bool {
	h := event.Hash(goal + "\x00" + id)
	if slices.Contains(r.orders, h) {
		return false
	}
	if len(r.orders) == MaxOrders {
		r.orders = slices.Delete(r.orders, 0, 1)
	}
	r.orders = append(r.orders, h)
	return true
}

// hit adds a conversion to its session and to every experiment that the visitor
// had triggered by then.
func (r *Row) hit(h hit, at int) {
	if at < 0 {
		f := &r.folded[r.foldedAt]
		f.reached = join(f.reached, []reach{{h.goal, 0, 1, h.revenue}})
	} else {
		s := &r.sessions[at]
		s.reached = joinWithin(s.reached, []reach{{h.goal, 1, 1, h.revenue}})
	}
	for i := range r.exposures {
		if x := &r.exposures[i]; x.first != 0 && h.stamp.Milli >= x.first {
			x.reached = join(x.reached, []reach{{h.goal, 0, 1, h.revenue}})
		}
	}
	i, _ := slices.BinarySearchFunc(r.hits, h, func(a, b hit) int { return a.stamp.Compare(b.stamp) })
	r.hits = slices.Insert(r.hits, i, h)
	if len(r.hits) > MaxHits {
		r.hits = slices.Delete(r.hits, 0, 1)
	}
}

func (r *Row) exposure(e *decision.Exposure) *exposure {
	for i := range r.exposures {
		if x := &r.exposures[i]; x.experiment == e.Experiment && x.holdout == e.Holdout {
			return x
		}
	}
	if len(r.exposures) == MaxExposures {
		return nil
	}
	r.exposures = append(r.exposures, exposure{experiment: e.Experiment, holdout: e.Holdout, arm: e.Arm})
	return &r.exposures[len(r.exposures)-1]
}

func (r *Row) trigger(e *decision.Exposure, at int64) {
	x := r.exposure(e)
	switch {
	case x == nil:
		return
	case x.arm != e.Arm:
		x.crossed = true
		return
	case x.first != 0 && x.first <= at:
		return
	}
	for _, h := range r.hits {
		if h.stamp.Milli >= at && (x.first == 0 || h.stamp.Milli < x.first) {
			x.reached = join(x.reached, []reach{{h.goal, 0, 1, h.revenue}})
		}
	}
	x.first, x.segment = at, segmentName(e.Segment)
}

// join adds what became of goals in other sessions.
func join(a, b []reach) []reach {
	for _, one := range b {
		i := slices.IndexFunc(a, func(r reach) bool { return r.goal == one.goal })
		if i < 0 {
			if len(a) <= MaxGoals {
				a = append(a, one)
			}
			continue
		}
		a[i].sessions += one.sessions
		a[i].conversions += one.conversions
		a[i].revenue += one.revenue
	}
	return a
}

// joinWithin adds what became of goals in the same session.
func joinWithin(a, b []reach) []reach {
	a = join(a, b)
	for i := range a {
		a[i].sessions = 1
	}
	return a
}
