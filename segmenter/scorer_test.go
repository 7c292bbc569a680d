package segmenter

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var shop = Config{Segments: []Segment{
	{Name: "sale", When: `request.utm.campaign == "sale"`, Priority: 3},
	{Name: "recent", When: "visitor.days_since_last_order >= 0 and visitor.days_since_last_order < 7", Priority: 2},
	{Name: "loyal", When: `visitor.orders >= 2 and traits.plan == "gold"`, Priority: 1},
	{Name: "signed up", When: `count("Newsletter Signup") > 0`},
}}

func newScorer(t testing.TB, cfg Config) *Scorer {
	t.Helper()
	s, err := NewScorer(compileOK(t, cfg), cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// settle makes what was computed visible to the next look-up.
func settle(s *Scorer) { s.cache.Wait() }

// change returns a copy of a profile with a change.
func change(p *decision.Profile, f func(*decision.Profile)) *decision.Profile {
	own := *p
	f(&own)
	return &own
}

func (s *Scorer) expect(t *testing.T, f *decision.Facts, primary string, computed uint64) {
	t.Helper()
	before := s.Stats()
	got := s.Segment(f)
	after := s.Stats()
	settle(s)
	if got.Primary != primary || after.Computed-before.Computed != computed || after.Hits+after.Computed-before.Hits-before.Computed != 1 {
		t.Errorf("primary %q with %d computed, want %q with %d", got.Primary, after.Computed-before.Computed, primary, computed)
	}
	if want, err := s.rules.Evaluate(f); err != nil || !cmp.Equal(want.Members, got.Members) {
		t.Errorf("members %v, a fresh evaluation says %v, %v", got.Members, want.Members, err)
	}
}

// An answer for ?utm_campaign=sale must not be reused for a plain request, nor
// the other way round.
func TestCampaignIsNotReused(t *testing.T) {
	s := newScorer(t, shop)
	plain := facts(s.rules, nil, nil)
	sale := facts(s.rules, map[string]string{"utm.campaign": "sale"}, nil)
	s.expect(t, sale, "sale", 1)
	s.expect(t, plain, "", 1)
	s.expect(t, sale, "sale", 0)
	s.expect(t, plain, "", 0)
}

func TestVisitorsAreApart(t *testing.T) {
	s := newScorer(t, shop)
	f := facts(s.rules, nil, regular())
	s.expect(t, f, "recent", 1)
	stranger := *f
	stranger.VisitorID, stranger.Profile = "v2", nil
	s.expect(t, &stranger, "", 1)
	nobody := stranger
	nobody.VisitorID = ""
	s.expect(t, &nobody, "", 1)
	s.expect(t, f, "recent", 0)
}

// A page view that no rule names recomputes nothing; what a rule names does.
func TestOnlyNamedInputsRecompute(t *testing.T) {
	s := newScorer(t, shop)
	f := facts(s.rules, nil, regular())
	s.expect(t, f, "recent", 1)
	f.Profile = change(f.Profile, func(p *decision.Profile) {
		p.PageViews++
		p.Sessions++
		p.LastSeen = p.LastSeen.Add(time.Minute)
		p.Counts = map[string]int64{"Newsletter Signup": 1, "Product Viewed": 12}
		p.Traits = map[string]any{"plan": "gold", "mood": "good"}
	})
	s.expect(t, f, "recent", 0)
	for i, named := range []func(*decision.Profile){
		func(p *decision.Profile) { p.Orders++ },
		func(p *decision.Profile) { p.LastOrder = p.LastOrder.Add(time.Second) },
		func(p *decision.Profile) { p.Counts = map[string]int64{"Newsletter Signup": 2} },
		func(p *decision.Profile) { p.Counts = nil },
		func(p *decision.Profile) { p.Traits = map[string]any{"plan": "silver"} },
		func(p *decision.Profile) { p.Traits = map[string]any{"plan": 1.0} },
		func(p *decision.Profile) { p.Traits = map[string]any{"plan": true} },
		func(p *decision.Profile) { p.Traits = nil },
	} {
		f.Profile = change(f.Profile, named)
		before := s.Stats().Computed
		s.expect(t, f, "recent", 1)
		if s.Stats().Computed != before+1 {
			t.Errorf("change %d of a named input was not seen", i)
		}
	}
}

// A visitor leaves a "last 7 days" segment on time, and an answer of later is
// not given for earlier.
func TestTimeWindow(t *testing.T) {
	s := newScorer(t, shop)
	f := facts(s.rules, nil, change(regular(), func(p *decision.Profile) { p.Orders = 1; p.Counts = nil }))
	s.expect(t, f, "recent", 1)
	f.Now = f.Profile.LastOrder.Add(2*day - time.Nanosecond)
	s.expect(t, f, "recent", 0)
	f.Now = f.Profile.LastOrder.Add(7*day - time.Nanosecond)
	s.expect(t, f, "recent", 1)
	f.Now = f.Now.Add(time.Nanosecond)
	s.expect(t, f, "", 1)
	f.Now = f.Now.Add(-time.Nanosecond)
	s.expect(t, f, "recent", 1)
}

// A write of ristretto that is not visible yet costs a computation, and an older
// answer that is written after a newer one is not given.
func TestLateWrites(t *testing.T) {
	s := newScorer(t, shop)
	older := facts(s.rules, nil, regular())
	for range 3 {
		if got := s.Segment(older); got.Primary != "recent" {
			t.Fatalf("primary %q", got.Primary)
		}
	}
	settle(s)
	newer := *older
	newer.Profile = change(older.Profile, func(p *decision.Profile) { p.LastOrder = time.Time{} })
	s.Segment(&newer)
	s.Segment(older) // a slow request still holds the older profile
	settle(s)
	if got := s.Segment(&newer); got.Primary != "loyal" {
		t.Errorf("primary %q: an older answer was given", got.Primary)
	}
}

// The cache keeps nothing of the caller's buffers.
func TestAttributesAreCopied(t *testing.T) {
	s := newScorer(t, shop)
	f := facts(s.rules, map[string]string{"utm.campaign": "sale"}, nil)
	s.expect(t, f, "sale", 1)
	f.Attributes[0] = "other"
	s.expect(t, f, "", 1)
	f.Attributes[0] = "sale"
	s.expect(t, f, "sale", 0)
}

// The scorer agrees with a fresh evaluation, whatever is asked in whatever order.
func TestScorerProperty(t *testing.T) {
	s := newScorer(t, shop)
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(1, 30).Draw(t, "requests") {
			f := &decision.Facts{
				Now:        noon.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "hours")) * 12 * time.Hour),
				VisitorID:  rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "visitor"),
				Attributes: []string{rapid.SampledFrom([]string{"", "sale"}).Draw(t, "campaign"), "of a plugin"},
				Profile: &decision.Profile{
					Orders: rapid.Int64Range(0, 3).Draw(t, "orders"), PageViews: rapid.Int64().Draw(t, "views"),
					LastOrder: noon.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "order")) * 24 * time.Hour),
					Traits:    map[string]any{"plan": rapid.SampledFrom([]any{"gold", "silver", 1.0, nil}).Draw(t, "plan")},
				},
			}
			want, _ := s.rules.Evaluate(f)
			got := s.Segment(f)
			if rapid.Bool().Draw(t, "settle") {
				settle(s)
			}
			if !cmp.Equal(want.Members, got.Members) {
				t.Fatalf("%+v: got %v, want %v", f, got.Members, want.Members)
			}
		}
	})
}

func TestScorerConcurrently(t *testing.T) {
	s := newScorer(t, shop)
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 500 {
				f := facts(s.rules, map[string]string{"utm.campaign": []string{"", "sale"}[i%2]}, regular())
				f.VisitorID = fmt.Sprint((i + w) % 20)
				if got, want := s.Segment(f).Primary, []string{"recent", "sale"}[i%2]; got != want {
					t.Errorf("primary %q, want %q", got, want)
				}
			}
		})
	}
	group.Go(func() { s.Close() }) // requests of the old generation go on
	group.Wait()
	if got := s.Segment(facts(s.rules, nil, regular())); got.Primary != "recent" {
		t.Errorf("after Close: primary %q", got.Primary)
	}
}

func TestBadFactsAndFailures(t *testing.T) {
	s := newScorer(t, Config{Segments: []Segment{
		{Name: "adds", When: `traits.plan + 1 > 2`}, {Name: "path", When: `request.path == "/"`},
	}})
	if got := s.Segment(&decision.Facts{Now: noon}); got.Primary != "" || s.Stats().Refused != 1 {
		t.Errorf("without attributes: %+v, %+v", got, s.Stats())
	}
	f := facts(s.rules, map[string]string{"path": "/"}, regular())
	s.expect(t, f, "path", 1)
	want := []RuleFailures{{Name: "adds", When: "traits.plan + 1 > 2", Count: 1}}
	if stats := s.Stats(); stats.Failed != 1 || !cmp.Equal(stats.Failing, want) {
		t.Errorf("stats %+v", stats)
	}
}

func BenchmarkSegmentCached(b *testing.B) {
	s := newScorer(b, shop)
	f := facts(s.rules, map[string]string{"utm.campaign": "sale"}, regular())
	s.Segment(f)
	settle(s)
	b.ReportAllocs()
	for b.Loop() {
		s.Segment(f)
	}
	if s.Stats().Computed != 1 {
		b.Fatalf("%+v", s.Stats())
	}
}

func BenchmarkSegmentComputed(b *testing.B) {
	s := newScorer(b, shop)
	f := facts(s.rules, map[string]string{"utm.campaign": "sale"}, regular())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.rules.Evaluate(f); err != nil {
			b.Fatal(err)
		}
	}
}
