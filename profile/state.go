package profile

import (
	"math"
	"slices"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// SessionIdle is the time without events that ends a session.
const SessionIdle = 30 * time.Minute

// The bounds of one visitor's state. Within them the order of events does not
// matter.
const (
	// MaxIntervals sessions are kept with their times. Of an older one only the
	// fact that it was is kept; an event older than all that are kept belongs to
	// those.
	MaxIntervals = 16

	// MaxOrders newest orders are remembered by id. An older order that comes
	// once more counts once more.
	MaxOrders = 64

	// MaxCounts track event names are counted, the first that come.
	MaxCounts = 128

	// MaxTraits traits are kept, those that were set last.
	MaxTraits = 64

	// MaxTraitText bytes of a text trait are kept, to the last whole character.
	MaxTraitText = 512

	// MaxName bytes is the longest name of a trait or track event; longer ones
	// are left out.
	MaxName = 200
)

// State is what the events of one visitor add up to. It is not safe for
// concurrent use; the zero State is a visitor of whom nothing is known.
type State struct {
	firstSeen int64 // milliseconds since 1970, 0 for none
	lastSeen  int64
	lastOrder int64

	pageViews int64

	intervals []interval // by time, apart by more than SessionIdle
	folded    int64      // sessions older than all intervals
	foldedEnd int64      // end of the last of them

	orders    int64
	revenue   decision.Money
	recent    []order // newest by stamp, ascending
	counts    []count // in the order in which their names came
	traits    []trait // by name
	traitsCut bool    // more than MaxTraits were set

	snapshot    *decision.Profile // of this state, nil when it changed since
	countsShown map[string]int64  // as in the last snapshot, nil when they changed since
	traitsShown map[string]any    // likewise
}

type interval struct{ start, end int64 }

type order struct {
	id      uint64
	stamp   event.Stamp
	revenue decision.Money
}

type count struct {
	name string
	n    int64
}

type trait struct {
	name  string
	stamp event.Stamp
	value any // string, float64, bool, or nil for a trait that was removed
}

// Apply adds one event, which must not have been added before.
func (s *State) Apply(e *event.Event) {
	s.snapshot = nil
	at := e.Milli()
	if s.firstSeen == 0 || at < s.firstSeen {
		s.firstSeen = at
	}
	s.lastSeen = max(s.lastSeen, at)
	s.visit(at)
	switch e.Type {
	case event.Page:
		s.pageViews++
	case event.Track:
		s.count(e.Name)
	case event.Identify:
		stamp := e.Stamp()
		for name, value := range e.Traits {
			s.setTrait(name, stamp, value)
		}
		s.boundTraits()
	}
	if e.Order != nil {
		s.addOrder(order{id: event.Hash(e.Order.ID), stamp: e.Stamp(), revenue: e.Order.Revenue})
	}
}

// visit makes the moment part of a session.
func (s *State) visit(at int64) {
	idle := SessionIdle.Milliseconds()
	if s.folded > 0 && at <= s.foldedEnd+idle {
		s.foldedEnd = max(s.foldedEnd, at)
		s.foldReached()
		return
	}
	if n := len(s.intervals); n > 0 { // nearly all moments go on with the last session
		if v := &s.intervals[n-1]; at >= v.start && at <= v.end+idle {
			v.end = max(v.end, at)
			return
		}
	}
	i, _ := slices.BinarySearchFunc(s.intervals, at, func(v interval, at int64) int {
		if v.end+idle < at {
			return -1
		}
		return 1
	})
	switch {
	case i == len(s.intervals) || at < s.intervals[i].start-idle:
		s.intervals = slices.Insert(s.intervals, i, interval{at, at})
	default:
		v := &s.intervals[i]
		v.start, v.end = min(v.start, at), max(v.end, at)
		if i+1 < len(s.intervals) && s.intervals[i+1].start-idle <= v.end {
			v.end = s.intervals[i+1].end
			s.intervals = slices.Delete(s.intervals, i+1, i+2)
		}
	}
	if len(s.intervals) > MaxIntervals {
		s.folded++
		s.foldedEnd = s.intervals[0].end
		s.intervals = slices.Delete(s.intervals, 0, 1)
	}
}

// foldReached joins the last folded session with an interval that it now touches.
func (s *State) foldReached() {
	for len(s.intervals) > 0 && s.intervals[0].start-SessionIdle.Milliseconds() <= s.foldedEnd {
		s.foldedEnd = max(s.foldedEnd, s.intervals[0].end)
		s.intervals = slices.Delete(s.intervals, 0, 1)
	}
}

func (s *State) count(name string) {
	if name == "" || len(name) > MaxName {
		return
	}
	s.countsShown = nil
	for i := range s.counts {
		if s.counts[i].name == name {
			s.counts[i].n++
			return
		}
	}
	if len(s.counts) < MaxCounts {
		s.counts = append(s.counts, count{name, 1})
	}
}

func (s *State) setTrait(name string, stamp event.Stamp, value any) {
	value, ok := scalar(value)
	if !ok || name == "" || len(name) > MaxName {
		return
	}
	s.traitsShown = nil
	i, found := slices.BinarySearchFunc(s.traits, name, func(t trait, name string) int { return compareText(t.name, name) })
	switch {
	case !found:
		s.traits = slices.Insert(s.traits, i, trait{name, stamp, value})
	case s.traits[i].stamp.Before(stamp):
		s.traits[i].stamp, s.traits[i].value = stamp, value
	}
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// scalar makes a trait's value one of the kinds that are kept. Lists and
// objects are not.
func scalar(v any) (any, bool) {
	switch v := v.(type) {
	case nil, bool:
		return v, true
	case string:
		return cutText(v, MaxTraitText), true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	}
	return nil, false
}

// cutText keeps up to limit bytes of s, without cutting through a character.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xC0 == 0x80 {
		limit--
	}
	return s[:limit]
}

// boundTraits drops the traits that were set the longest time ago. As a stamp
// only grows, what is dropped would be dropped in any order of events.
func (s *State) boundTraits() {
	for len(s.traits) > MaxTraits {
		oldest := 0
		for i, t := range s.traits {
			o := s.traits[oldest]
			if c := t.stamp.Compare(o.stamp); c < 0 || c == 0 && t.name < o.name {
				oldest = i
			}
		}
		s.traits = slices.Delete(s.traits, oldest, oldest+1)
		s.traitsCut = true
	}
}

// addOrder counts an order once; of two events with the same order id the
// earlier one says what it was worth.
func (s *State) addOrder(o order) {
	s.lastOrder = max(s.lastOrder, o.stamp.Milli)
	i := slices.IndexFunc(s.recent, func(r order) bool { return r.id == o.id })
	if i >= 0 {
		if !o.stamp.Before(s.recent[i].stamp) {
			return
		}
		s.revenue -= s.recent[i].revenue
		s.orders--
		s.recent = slices.Delete(s.recent, i, i+1)
	}
	s.orders++
	s.revenue += o.revenue
	i, _ = slices.BinarySearchFunc(s.recent, o, func(a, b order) int { return a.stamp.Compare(b.stamp) })
	s.recent = slices.Insert(s.recent, i, o)
	if len(s.recent) > MaxOrders {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
}

// Snapshot returns what is known as an immutable value. It is made once after
// each change, and what has not changed is shared with the one before.
func (s *State) Snapshot() *decision.Profile {
	if s.snapshot != nil {
		return s.snapshot
	}
	p := &decision.Profile{
		FirstSeen: timeOf(s.firstSeen), LastSeen: timeOf(s.lastSeen), LastOrder: timeOf(s.lastOrder),
		PageViews: s.pageViews, Sessions: s.folded + int64(len(s.intervals)),
		Orders: s.orders, Revenue: s.revenue,
	}
	if s.countsShown == nil && len(s.counts) > 0 {
		s.countsShown = make(map[string]int64, len(s.counts))
		for _, c := range s.counts {
			s.countsShown[c.name] = c.n
		}
	}
	if s.traitsShown == nil {
		s.traitsShown = showTraits(s.traits)
	}
	p.Counts, p.Traits = s.countsShown, s.traitsShown
	s.snapshot = p
	return p
}

// showTraits returns the traits that have a value; nil for none.
func showTraits(traits []trait) map[string]any {
	var shown map[string]any
	for _, t := range traits {
		if t.value == nil {
			continue
		}
		if shown == nil {
			shown = make(map[string]any, len(traits))
		}
		shown[t.name] = t.value
	}
	return shown
}

func timeOf(milli int64) time.Time {
	if milli == 0 {
		return time.Time{}
	}
	return time.UnixMilli(milli).UTC()
}
