package profile

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/event/pack"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// drawEvents draws events of one visitor that stay within every bound.
func drawEvents(t *rapid.T) []event.Event {
	n := rapid.IntRange(0, 40).Draw(t, "events")
	list := make([]event.Event, n)
	for i := range list {
		e := &list[i]
		e.ID = fmt.Sprintf("id-%d", i)
		e.Visitor = "v"
		e.Time = start.Add(time.Duration(rapid.IntRange(0, 20*12).Draw(t, "time")) * 5 * time.Minute)
		switch rapid.IntRange(0, 3).Draw(t, "type") {
		case 0:
			e.Type = event.Page
		case 1:
			e.Type = event.Track
			e.Name = rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "name")
		case 2:
			e.Type = event.Identify
			e.Traits = map[string]any{
				rapid.SampledFrom([]string{"plan", "age", "vip"}).Draw(t, "trait"): rapid.SampledFrom([]any{nil, "pro", 7.0, true, false}).Draw(t, "value"),
			}
		case 3:
			e.Type = event.Track
			e.Name = "Order Completed"
			e.Order = &event.Order{
				ID:      rapid.SampledFrom([]string{"o1", "o2", "o3", "o4"}).Draw(t, "order"),
				Revenue: decision.Money(rapid.Int64Range(0, 1e9).Draw(t, "revenue")),
			}
		}
	}
	return list
}

func stateOf(events []event.Event) *State {
	s := &State{}
	for i := range events {
		s.Apply(&events[i])
	}
	return s
}

func TestOrderOfEventsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		want := stateOf(events).Snapshot()
		shuffled := rapid.Permutation(events).Draw(t, "order")
		if diff := cmp.Diff(want, stateOf(shuffled).Snapshot()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestSnapshotEqualsANaiveCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		got := stateOf(events).Snapshot()
		want := &decision.Profile{Counts: map[string]int64{}}
		minutes := map[int64]bool{}
		first := map[string]*event.Event{}
		for i := range events {
			e := &events[i]
			minutes[e.Time.Unix()/300] = true
			if want.FirstSeen.IsZero() || e.Time.Before(want.FirstSeen) {
				want.FirstSeen = e.Time
			}
			if e.Time.After(want.LastSeen) {
				want.LastSeen = e.Time
			}
			switch e.Type {
			case event.Page:
				want.PageViews++
			case event.Track:
				want.Counts[e.Name]++
			}
			if e.Order == nil {
				continue
			}
			if e.Time.After(want.LastOrder) {
				want.LastOrder = e.Time
			}
			if f := first[e.Order.ID]; f == nil || e.Stamp().Before(f.Stamp()) {
				first[e.Order.ID] = e
			}
		}
		for _, e := range first {
			want.Orders++
			want.Revenue += e.Order.Revenue
		}
		idle := int64(1000)
		for m := start.Unix() / 300; m <= start.Add(24*time.Hour).Unix()/300; m++ {
			if idle++; minutes[m] {
				if idle > 6 {
					want.Sessions++
				}
				idle = 0
			}
		}
		if len(want.Counts) == 0 {
			want.Counts = nil
		}
		want.Traits = got.Traits
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEncodingKeepsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		cut := rapid.IntRange(0, len(events)).Draw(t, "cut")
		s := stateOf(events[:cut])
		back, err := Decode(s.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		for i := cut; i < len(events); i++ {
			back.Apply(&events[i])
		}
		whole := stateOf(events)
		if diff := cmp.Diff(whole.Snapshot(), back.Snapshot()); diff != "" {
			t.Fatal(diff)
		}
		if !bytes.Equal(whole.Append(nil), back.Append(nil)) {
			t.Fatal("the encoded states differ")
		}
	})
}

func TestSnapshotDoesNotChange(t *testing.T) {
	s := &State{}
	s.Apply(&event.Event{ID: "1", Type: event.Track, Name: "A", Time: start})
	before := s.Snapshot()
	if s.Snapshot() != before {
		t.Fatal("an unchanged state makes a new snapshot")
	}
	s.Apply(&event.Event{ID: "2", Type: event.Track, Name: "A", Time: start})
	if before.Counts["A"] != 1 || s.Snapshot().Counts["A"] != 2 {
		t.Fatalf("before %v, after %v", before.Counts, s.Snapshot().Counts)
	}
}

func TestStateIsBounded(t *testing.T) {
	s := &State{}
	for i := range 2000 {
		at := start.Add(time.Duration(i) * time.Hour)
		name := fmt.Sprintf("name-%d", i)
		s.Apply(&event.Event{ID: name, Type: event.Track, Name: name, Time: at, Order: &event.Order{ID: name, Revenue: 1e6}})
		s.Apply(&event.Event{ID: "t" + name, Type: event.Identify, Time: at, Traits: map[string]any{
			name: string(bytes.Repeat([]byte("ä"), 5000)), "list": []any{1}, "object": map[string]any{"a": 1},
		}})
	}
	p := s.Snapshot()
	if p.Sessions != 2000 || p.Orders != 2000 || p.Revenue != 2000e6 {
		t.Fatalf("sessions %d, orders %d, revenue %d", p.Sessions, p.Orders, p.Revenue)
	}
	if len(p.Counts) != MaxCounts || len(p.Traits) != MaxTraits || p.Traits["name-1999"] == nil {
		t.Fatalf("%d counts, %d traits", len(p.Counts), len(p.Traits))
	}
	if n := len(s.Append(nil)); n > 48<<10 {
		t.Fatalf("the state takes %d bytes", n)
	}
	// Whatever is older than all that is kept belongs to the oldest sessions.
	s.Apply(&event.Event{ID: "late", Type: event.Page, Time: start.Add(90 * time.Minute)})
	if n := s.Snapshot().Sessions; n != 2000 {
		t.Fatalf("a late event made session %d", n)
	}
}

func TestWhichTraitsAreKeptDoesNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var events []event.Event
		for i := range 2 * MaxTraits {
			at := start.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "time")) * time.Second)
			events = append(events, event.Event{
				ID: fmt.Sprint(i), Type: event.Identify, Time: at,
				Traits: map[string]any{fmt.Sprintf("t%d", rapid.IntRange(0, 90).Draw(t, "trait")): float64(i)},
			})
		}
		want := stateOf(events).Snapshot()
		got := stateOf(rapid.Permutation(events).Draw(t, "order")).Snapshot()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	s := stateOf([]event.Event{
		{ID: "1", Type: event.Page, Time: start},
		{ID: "2", Type: event.Track, Name: "A", Time: start, Order: &event.Order{ID: "o", Revenue: 5}},
		{ID: "3", Type: event.Identify, Time: start, Traits: map[string]any{"a": "x", "b": 1.5, "c": true, "d": nil}},
	})
	b := s.Append(nil)
	f.Add(b[:len(b)-4])
	f.Add([]byte{stateVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(pack.Seal(bytes.Clone(b), 0))
		if err != nil {
			return
		}
		s.Apply(&event.Event{ID: "x", Type: event.Page, Time: start})
		s.Snapshot()
		if _, err := Decode(s.Append(nil)); err != nil {
			t.Fatal(err)
		}
	})
}
