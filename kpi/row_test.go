package kpi

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/event/pack"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// draw draws events of a few visitors. The segment is a function of visitor
// and time, as events of the same moment agree on it.
func draw(t *rapid.T) []event.Event {
	list := make([]event.Event, rapid.IntRange(0, 60).Draw(t, "events"))
	for i := range list {
		minute := rapid.IntRange(0, 30).Draw(t, "time") * 10
		e := event.Event{
			ID: fmt.Sprint(i), Type: event.Page, Visitor: rapid.SampledFrom([]string{"u", "v", "w"}).Draw(t, "visitor"),
			Time: start.Add(time.Duration(minute) * time.Minute), Minted: rapid.IntRange(0, 5).Draw(t, "minted") > 0,
		}
		e.Segment = []string{"", "new", "vip"}[(minute/60+int(e.Visitor[0]))%3]
		switch rapid.IntRange(0, 4).Draw(t, "type") {
		case 0:
			e.Type = event.Trigger
			e.Exposure = drawExposure(t, &e)
		case 1:
			e.Type = event.Delivery
			e.Exposure = drawExposure(t, &e)
		case 2:
			e.Type = event.Track
			e.Conversions = []event.Conversion{{
				Goal:    rapid.SampledFrom([]string{"signup", "lead"}).Draw(t, "goal"),
				Revenue: decision.Money(rapid.Int64Range(0, 9e9).Draw(t, "revenue")),
			}}
		case 3:
			// The same order is worth the same wherever it is seen.
			id := rapid.SampledFrom([]string{"o1", "o2", "o3"}).Draw(t, "order")
			e.Type, e.Order = event.Track, &event.Order{ID: id, Revenue: decision.Money(id[1]) * 1e6}
			if rapid.Bool().Draw(t, "purchase") {
				e.Conversions = []event.Conversion{{Goal: "purchase", Revenue: e.Order.Revenue, OrderID: id}}
			}
		}
		list[i] = e
	}
	return list
}

func drawExposure(t *rapid.T, e *event.Event) *decision.Exposure {
	arm := "a"
	if rapid.IntRange(0, 9).Draw(t, "arm") == 0 {
		arm = "b"
	}
	return &decision.Exposure{
		Assignment: decision.Assignment{Experiment: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "experiment"), Arm: arm},
		Segment:    e.Segment,
	}
}

// ledgerTotals does what the ledger does: rows that are decoded, changed and
// encoded, and sums that are only ever changed.
func ledgerTotals(t *rapid.T, events []event.Event) Totals {
	rows, totals := map[string][]byte{}, Totals{}
	for i := range events {
		row := &Row{}
		if b, ok := rows[events[i].Visitor]; ok {
			var err error
			if row, err = DecodeRow(b); err != nil {
				t.Fatal(err)
			}
		}
		row.TakeFrom(totals)
		row.Apply(&events[i])
		row.AddTo(totals)
		rows[events[i].Visitor] = row.Append(nil)
	}
	return totals
}

func TestTotalsEqualANaiveRecount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := draw(t)
		got, want := ledgerTotals(t, events), recount(events)
		drop := func(key Key, s *Sums) bool { return s.IsZero() }
		if diff := cmp.Diff(want, got, cmpopts.IgnoreMapEntries(drop)); diff != "" {
			t.Fatal(diff)
		}
		for key, sums := range got {
			k, err := DecodeKey(key.Append(nil))
			s, err2 := DecodeSums(sums.Append(nil))
			if err != nil || err2 != nil || k != key || s != *sums {
				t.Fatalf("%+v became %+v (%v), %+v became %+v (%v)", key, k, err, sums, s, err2)
			}
		}
	})
}

// recount counts each visitor's whole history from the beginning, with none of
// the row's means.
func recount(events []event.Event) Totals {
	totals := Totals{}
	byVisitor := map[string][]event.Event{}
	for _, e := range events {
		byVisitor[e.Visitor] = append(byVisitor[e.Visitor], e)
	}
	for _, list := range byVisitor {
		recountVisitor(totals, list)
	}
	return totals
}

func recountVisitor(totals Totals, list []event.Event) {
	unconfirmed := !slices.ContainsFunc(list, func(e event.Event) bool { return !e.Minted })
	hits := naiveHits(list)
	byTime := slices.Clone(list)
	slices.SortFunc(byTime, func(a, b event.Event) int { return a.Stamp().Compare(b.Stamp()) })
	segments := map[string]map[string]*naive{} // by segment and goal
	group := func(segment, goal string) *naive {
		if segments[segment] == nil {
			segments[segment] = map[string]*naive{}
		}
		if segments[segment][goal] == nil {
			segments[segment][goal] = &naive{sessions: map[int]bool{}}
		}
		return segments[segment][goal]
	}
	session, last, segment := 0, time.Time{}, ""
	var ends []time.Time
	for i, e := range byTime {
		if i == 0 || e.Time.Sub(last) > SessionIdle {
			session++
			segment = e.Segment
			if segment == "" {
				segment = decision.NoSegment
			}
			ends = append(ends, e.Time)
		}
		last = e.Time
		ends[len(ends)-1] = last
		for _, s := range []string{segment, "site"} {
			group(s, "visited").sessions[session] = true
			for _, h := range hits[e.ID] {
				g := group(s, h.goal)
				g.sessions[session] = true
				g.conversions++
				g.revenue += h.revenue
			}
		}
	}
	for s, goals := range segments {
		key := Key{Kind: Segment, Segment: s, Unconfirmed: unconfirmed}
		if s == "site" {
			key = Key{Kind: Site, Unconfirmed: unconfirmed}
		}
		for name, n := range goals {
			if name == "visited" {
				totals.change(key, &Sums{Visitors: 1, Sessions: int64(len(n.sessions))}, true)
				continue
			}
			at := key
			at.Goal = name
			totals.change(at, &Sums{
				Converted: 1, ConvertingSessions: int64(len(n.sessions)), Conversions: n.conversions,
				Revenue: n.revenue, Squares: squareOf(n.revenue),
			}, true)
		}
	}
	for _, x := range []string{"x", "y"} {
		recountExperiment(totals, x, unconfirmed, list, hits, ends)
	}
}

type naive struct {
	sessions    map[int]bool
	conversions int64
	revenue     decision.Money
}

type naiveHit struct {
	goal    string
	revenue decision.Money
}

// naiveHits returns what each event converts, by its id.
func naiveHits(list []event.Event) map[string][]naiveHit {
	hits := map[string][]naiveHit{}
	seen := map[string]bool{}
	for _, e := range list {
		for _, c := range e.Conversions {
			if c.OrderID == "" || !seen[c.Goal+c.OrderID] {
				hits[e.ID] = append(hits[e.ID], naiveHit{c.Goal, c.Revenue})
			}
			seen[c.Goal+c.OrderID] = true
		}
		switch {
		case e.Order != nil && !seen[e.Order.ID]:
			seen[e.Order.ID] = true
			hits[e.ID] = append(hits[e.ID], naiveHit{AnyGoal, e.Order.Revenue})
		case e.Order == nil && len(e.Conversions) > 0:
			hits[e.ID] = append(hits[e.ID], naiveHit{AnyGoal, e.Conversions[0].Revenue})
		}
	}
	return hits
}

func recountExperiment(totals Totals, name string, unconfirmed bool, list []event.Event, hits map[string][]naiveHit, sessionEnds []time.Time) {
	arms := map[string]bool{}
	var first *event.Event
	delivered := map[string]bool{}
	arm := ""
	for i := range list {
		e := &list[i]
		if e.Exposure == nil || e.Exposure.Experiment != name {
			continue
		}
		if arm == "" {
			arm = e.Exposure.Arm
		}
		if e.Type == event.Delivery {
			delivered[e.Exposure.Arm] = true
			continue
		}
		arms[e.Exposure.Arm] = true
		if first == nil || e.Time.Before(first.Time) {
			first = e
		}
	}
	key := Key{Kind: Experiment, Experiment: name, Arm: arm, Unconfirmed: unconfirmed}
	if len(arms) > 1 || first != nil && !arms[arm] {
		totals.change(Key{Kind: Crossed, Experiment: name, Unconfirmed: unconfirmed}, &Sums{Visitors: 1}, true)
		return
	}
	if first == nil {
		return
	}
	key.Segment = first.Exposure.Segment
	if key.Segment == "" {
		key.Segment = decision.NoSegment
	}
	group := Sums{Visitors: 1}
	for _, end := range sessionEnds {
		if !end.Before(first.Time) {
			group.Sessions++
		}
	}
	if delivered[arm] {
		group.Delivered = 1
	}
	totals.change(key, &group, true)
	goals := map[string]*naive{}
	for _, e := range list {
		if e.Time.Before(first.Time) {
			continue
		}
		for _, h := range hits[e.ID] {
			if goals[h.goal] == nil {
				goals[h.goal] = &naive{}
			}
			goals[h.goal].conversions++
			goals[h.goal].revenue += h.revenue
		}
	}
	for goal, n := range goals {
		key.Goal = goal
		totals.change(key, &Sums{Converted: 1, Conversions: n.conversions, Revenue: n.revenue, Squares: squareOf(n.revenue)}, true)
	}
}

func TestOrderOfEventsDoesNotMatterForTotals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := draw(t)
		for i := range events {
			events[i].Order, events[i].ID = nil, fmt.Sprint(i) // of an order, the first to come counts
			for c := range events[i].Conversions {
				events[i].Conversions[c].OrderID = ""
			}
			if x := events[i].Exposure; x != nil {
				x.Arm = "a" // of a delivery before any trigger, too
			}
		}
		want := ledgerTotals(t, events)
		got := ledgerTotals(t, rapid.Permutation(events).Draw(t, "order"))
		drop := func(key Key, s *Sums) bool { return s.IsZero() }
		if diff := cmp.Diff(want, got, cmpopts.IgnoreMapEntries(drop)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRowIsBoundedAndTotalsStayWhole(t *testing.T) {
	totals, row := Totals{}, &Row{}
	for i := range 3000 {
		row.TakeFrom(totals)
		row.Apply(&event.Event{
			ID: fmt.Sprint(i), Type: event.Track, Visitor: "v", Segment: []string{"a", "b"}[i%2],
			Time:  start.Add(time.Duration(i) * time.Hour),
			Order: &event.Order{ID: fmt.Sprint(i), Revenue: 2e6},
		})
		row.AddTo(totals)
	}
	s := totals.Summary()
	for _, segment := range s.Segments {
		g := segment.Confirmed
		if g.Visitors != 1 || g.Sessions != 1500 || g.Any.ConvertingSessions != 1500 || g.Any.Revenue != 3000e6 || g.Any.RevenueSquares != 9e6 {
			t.Fatalf("%+v", segment)
		}
	}
	if len(s.Segments) != 2 || s.Site.Confirmed.Sessions != 3000 || s.Site.Confirmed.Any.RevenueSquares != 36e6 {
		t.Fatalf("%+v", s)
	}
	if n := len(row.Append(nil)); n > 8<<10 {
		t.Fatalf("the row takes %d bytes", n)
	}
}

func TestSummary(t *testing.T) {
	row := func(visitor string, minted bool, events ...event.Event) *Row {
		r := &Row{}
		for i := range events {
			events[i].ID, events[i].Minted = fmt.Sprint(visitor, i), minted
			events[i].Time = start.Add(time.Duration(i) * time.Minute)
			r.Apply(&events[i])
		}
		return r
	}
	exposure := func(arm string) *decision.Exposure {
		return &decision.Exposure{Assignment: decision.Assignment{Experiment: "banner", Arm: arm}, Segment: "new"}
	}
	buy := event.Event{
		Type: event.Track, Segment: "new", Order: &event.Order{ID: "1", Revenue: 10e6},
		Conversions: []event.Conversion{{Goal: "purchase", Revenue: 10e6, OrderID: "1"}},
	}
	totals := Totals{}
	for _, r := range []*Row{
		row("a", false, event.Event{Type: event.Trigger, Segment: "new", Exposure: exposure("A")}, event.Event{Type: event.Delivery, Exposure: exposure("A")}, buy),
		row("b", true, event.Event{Type: event.Trigger, Segment: "new", Exposure: exposure("A")}),
		row("c", false, event.Event{Type: event.Trigger, Exposure: exposure("A")}, event.Event{Type: event.Trigger, Exposure: exposure("B")}),
	} {
		r.AddTo(totals)
	}
	bought := GoalSums{Converted: 1, ConvertingSessions: 1, Conversions: 1, Revenue: 10e6, RevenueSquares: 100}
	named := func(g GoalSums, goal string, sessions int64) GoalSums {
		g.Goal, g.ConvertingSessions = goal, sessions
		return g
	}
	a := Group{Visitors: 1, Sessions: 1, Any: bought, Goals: []GoalSums{named(bought, "purchase", 1)}}
	arm := Group{Visitors: 1, Sessions: 1, Delivered: 1, Any: named(bought, "", 0), Goals: []GoalSums{named(bought, "purchase", 0)}}
	site := a
	site.Visitors, site.Sessions = 2, 2
	want := Summary{
		Site: SegmentSummary{Confirmed: site, Unconfirmed: Group{Visitors: 1, Sessions: 1}},
		Segments: []SegmentSummary{
			{Segment: decision.NoSegment, Confirmed: Group{Visitors: 1, Sessions: 1}},
			{Segment: "new", Confirmed: a, Unconfirmed: Group{Visitors: 1, Sessions: 1}},
		},
		Experiments: []ExperimentSummary{{
			Experiment: "banner", Crossed: 1,
			Arms: []ArmSummary{{
				Arm: "A", Confirmed: arm, Unconfirmed: Group{Visitors: 1, Sessions: 1},
				Segments: []SegmentSummary{{Segment: "new", Confirmed: arm, Unconfirmed: Group{Visitors: 1, Sessions: 1}}},
			}},
		}},
	}
	got := totals.Summary()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	all := got.Experiments[0].Arm("A").All()
	if all.Visitors != 2 || all.Goal("purchase").Revenue != 10e6 || all.Goal("other").Conversions != 0 || all.Goal(AnyGoal).Converted != 1 {
		t.Fatalf("%+v", all)
	}
}

func FuzzDecodeRow(f *testing.F) {
	r := &Row{}
	for i := range 20 {
		r.Apply(&event.Event{
			ID: fmt.Sprint(i), Type: event.Trigger, Time: start.Add(time.Duration(i) * time.Hour), Order: &event.Order{ID: fmt.Sprint(i), Revenue: 1},
			Exposure: &decision.Exposure{Assignment: decision.Assignment{Experiment: "x", Arm: "a"}},
		})
	}
	b := r.Append(nil)
	f.Add(b[:len(b)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRow(pack.Seal(bytes.Clone(b), 0))
		if err != nil {
			return
		}
		if again, err := DecodeRow(r.Append(nil)); err != nil || !bytes.Equal(again.Append(nil), r.Append(nil)) {
			t.Fatal(err)
		}
		r.Apply(&event.Event{ID: "x", Type: event.Page, Time: start, Order: &event.Order{ID: "o"}})
		r.AddTo(Totals{})
	})
}
