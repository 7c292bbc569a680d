package kpi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

func TestCompileGoalsReportsEverything(t *testing.T) {
	_, faults := CompileGoals([]Goal{
		{Name: "a", URL: "/x"},
		{Name: "a", Event: "E"},
		{URL: "x", Event: "E"},
		{Name: strings.Repeat("n", 101), Revenue: "query."},
	})
	want := decision.Faults{
		{Path: "[1].name", Message: `goal "a" is already at [0]`},
		{Path: "[2].name", Message: "a goal needs a name"},
		{Path: "[2]", Message: "a goal has url or event, not both"},
		{Path: "[3].name", Message: "101 bytes, at most 100 are allowed"},
		{Path: "[3]", Message: "a goal needs url or event"},
		{Path: "[3].revenue", Message: `"query." needs the name of a key`},
	}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Fatal(diff)
	}
}

func TestResolve(t *testing.T) {
	goals, faults := CompileGoals([]Goal{
		{Name: "thanks", URL: "/thanks", Revenue: "query.total", Order: "query.order"},
		{Name: "shop", URL: "/shop/**"},
		{Name: "purchase", Event: OrderCompleted},
		{Name: "lead", Event: "Lead", Revenue: "worth"},
		{Name: "ticket", Event: "Ticket", Revenue: "price", Order: "number"},
	})
	if faults != nil {
		t.Fatal(faults)
	}
	long := strings.Repeat("x", 200)
	for _, tc := range []struct {
		name        string
		e           event.Event
		conversions []event.Conversion
		order       *event.Order
	}{
		{
			"page", event.Event{Type: event.Page, Path: "/shop/a"},
			[]event.Conversion{{Goal: "shop"}}, nil,
		},
		{
			"page with order", event.Event{Type: event.Page, Path: "/thanks", Query: "a=1&order=A%2F7&total=12.50"},
			[]event.Conversion{{Goal: "thanks", Revenue: 12.5e6, OrderID: "A/7"}}, &event.Order{ID: "A/7", Revenue: 12.5e6},
		},
		{
			"page without its order", event.Event{Type: event.Page, Path: "/thanks", Query: "total=x"},
			[]event.Conversion{{Goal: "thanks"}}, nil,
		},
		{"other page", event.Event{Type: event.Page, Path: "/"}, nil, nil},
		{"track is not a page", event.Event{Type: event.Track, Name: "x", Path: "/thanks"}, nil, nil},
		{
			"order by the standard event", event.Event{Type: event.Track, Name: OrderCompleted, Properties: map[string]any{"order_id": 17.0, "revenue": 9.99, "total": 20.0}},
			[]event.Conversion{{Goal: "purchase", Revenue: 9.99e6, OrderID: "17"}}, &event.Order{ID: "17", Revenue: 9.99e6},
		},
		{
			"order without id and revenue", event.Event{ID: "m", Type: event.Track, Name: OrderCompleted, Properties: map[string]any{"total": "20"}},
			[]event.Conversion{{Goal: "purchase", Revenue: 20e6, OrderID: "m"}}, &event.Order{ID: "m", Revenue: 20e6},
		},
		{
			"revenue is not an order", event.Event{Type: event.Track, Name: "Lead", Properties: map[string]any{"worth": 5}},
			[]event.Conversion{{Goal: "lead", Revenue: 5e6}}, nil,
		},
		{
			"senseless amounts", event.Event{Type: event.Track, Name: "Ticket", Properties: map[string]any{"price": -5.0, "number": 1.5}},
			[]event.Conversion{{Goal: "ticket"}}, nil,
		},
		{
			"huge amount", event.Event{Type: event.Track, Name: "Ticket", Properties: map[string]any{"price": 1e300, "number": true}},
			[]event.Conversion{{Goal: "ticket"}}, nil,
		},
		{
			"forged results are replaced", event.Event{Type: event.Identify, Conversions: []event.Conversion{{Goal: "x"}}, Order: &event.Order{ID: long}},
			nil, nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			goals.Resolve(&tc.e)
			if diff := cmp.Diff(tc.conversions, tc.e.Conversions); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.order, tc.e.Order); diff != "" {
				t.Error(diff)
			}
		})
	}
	if id := orderID(long); len(id) != 64 || id == orderID(long+"y") {
		t.Errorf("a long order id became %q", id)
	}
	var none *Goals
	e := event.Event{Type: event.Track, Name: OrderCompleted, Properties: map[string]any{"order_id": "1"}}
	if none.Resolve(&e); e.Order == nil {
		t.Error("without goals an order is not known")
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("a=1&b=%zz&&=&c", "/a/**", "/a/b")
	f.Fuzz(func(t *testing.T, query, glob, path string) {
		goals, faults := CompileGoals([]Goal{{Name: "g", URL: glob, Revenue: "query.r", Order: "query.o"}})
		if faults != nil {
			return
		}
		e := event.Event{Type: event.Page, Path: path, Query: query}
		goals.Resolve(&e)
		if glob == path && len(e.Conversions) == 0 && !strings.Contains(path, "*") {
			t.Fatal("a path does not match itself")
		}
	})
}
