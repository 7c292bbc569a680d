package segmenter

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// regular is a visitor with a history.
func regular() *decision.Profile {
	return &decision.Profile{
		FirstSeen: noon.Add(-100 * day), LastSeen: noon, LastOrder: noon.Add(-36 * time.Hour),
		PageViews: 40, Sessions: 7, Orders: 2, Revenue: 90_000_000,
		Counts: map[string]int64{"Newsletter Signup": 1},
		Traits: map[string]any{"plan": "gold", "age": 42.0, "vip": true, "first name": "Ada"},
	}
}

func compileOK(t testing.TB, cfg Config) *Rules {
	t.Helper()
	rules, faults := Compile(cfg)
	if err := faults.Err(); err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return rules
}

// facts makes facts with the attributes that rules read, by name.
func facts(rules *Rules, attributes map[string]string, p *decision.Profile) *decision.Facts {
	f := &decision.Facts{Now: noon, VisitorID: "v1", Profile: p}
	for _, name := range rules.RequestInputs() {
		f.Attributes = append(f.Attributes, attributes[name])
	}
	return f
}

func when(rule string) Config { return Config{Segments: []Segment{{Name: "s", When: rule}}} }

func TestRules(t *testing.T) {
	attributes := map[string]string{
		"utm.campaign": "sale", "device": "mobile", "path": "/shop/shoes", "query.ref": "partner-7",
		"query.n": "12", "cookie.seen": "1", "header.x-plan": "pro", "language": "de", "locale": "de-AT",
	}
	for rule, want := range map[string]bool{
		`true`:                                                         true,
		`request.utm.campaign == "sale"`:                               true,
		`request["utm"]["campaign"] == "sale"`:                         true,
		`request.utm.source == "sale"`:                                 false,
		`request.device in ["mobile", "tablet"]`:                       true,
		`request.device not in ["mobile", "tablet"]`:                   false,
		`request.path startsWith "/shop/"`:                             true,
		`request.path matches "^/shop/[a-z]+$"`:                        true,
		`request.query["ref"] startsWith "partner"`:                    true,
		`request.query.ref contains "7"`:                               true,
		`request.query["missing"] == ""`:                               true,
		`int(request.query.n) > 10`:                                    true,
		`int(request.query.missing) > 10`:                              false, // cannot be evaluated
		`request.cookie.seen == "1"`:                                   true,
		`request.header["X-Plan"] == "pro"`:                            true,
		`request.locale[0:2] == request.language`:                      true,
		`upper(request.language) == "DE"`:                              true,
		`visitor.orders >= 2 and visitor.revenue > 89.5`:               true,
		`visitor.average_order == 45`:                                  true,
		`visitor.page_views > 40`:                                      false,
		`visitor.sessions * 2 == 14`:                                   true,
		`visitor.new`:                                                  false,
		`visitor.days_since_first_seen == 100`:                         true,
		`visitor.days_since_last_order == 1`:                           true,
		`traits.plan == "gold"`:                                        true,
		`traits["first name"] == "Ada"`:                                true,
		`traits?.plan == "gold"`:                                       true,
		`traits.age >= 42`:                                             true,
		`18 < traits.age`:                                              true,
		`traits.age in [41, 42]`:                                       true,
		`traits.plan in ["gold", "silver"]`:                            true,
		`traits.vip`:                                                   true,
		`traits.vip and visitor.orders > 1`:                            true,
		`not traits.vip`:                                               false,
		`traits.vip ? traits.plan == "gold" : false`:                   true,
		`lower(traits.plan) == "gold"`:                                 true,
		`traits.nothing == nil`:                                        true,
		`(traits.plan ?? "none") == "gold"`:                            true,
		`count("Newsletter Signup") == 1`:                              true,
		`count("Other") > 0`:                                           false,
		`len(traits.plan) == 4`:                                        true,
		`(visitor.orders > 5 || traits.age > 40) && !(visitor.new)`:    true,
		"visitor.orders >= 2 // who bought twice\n and traits.age > 1": true,
		// A trait that is missing or of another type makes no rule fail.
		`traits.nothing > 18 or visitor.orders == 2`:             true,
		`traits.nothing < 18 or traits.nothing >= 18`:            false,
		`traits.plan > 18`:                                       false,
		`traits.nothing or visitor.orders == 2`:                  true,
		`traits.age and true`:                                    false,
		`traits.plan`:                                            false,
		`traits.age contains "x" or visitor.orders == 2`:         true,
		`traits.nothing matches "x" or visitor.orders == 2`:      true,
		`lower(traits.nothing) == "gold" or visitor.orders == 2`: true,
		`traits.age in ["a"] or visitor.orders == 2`:             true,
	} {
		rules := compileOK(t, when(rule))
		result, err := rules.Evaluate(facts(rules, attributes, regular()))
		if err != nil || result.In("s") != want {
			t.Errorf("%s: got %v, %v; want %v", rule, result.In("s"), err, want)
		}
	}
}

func TestMissingProfile(t *testing.T) {
	for rule, want := range map[string]bool{
		`visitor.new`:                         true,
		`visitor.orders == 0`:                 true,
		`visitor.average_order == 0`:          true,
		`visitor.days_since_last_order == -1`: true,
		`count("x") == 0`:                     true,
		`traits.plan == "gold"`:               false,
		`traits.age > 1`:                      false,
	} {
		rules := compileOK(t, when(rule))
		for name, p := range map[string]*decision.Profile{"nil": nil, "empty": {}} {
			result, err := rules.Evaluate(facts(rules, nil, p))
			if err != nil || result.In("s") != want {
				t.Errorf("%s with %s profile: got %v, %v; want %v", rule, name, result.In("s"), err, want)
			}
		}
	}
}

func TestRuleFaults(t *testing.T) {
	for rule, want := range map[string]struct {
		column  int
		message string
	}{
		`visitor.orders >`:                     {16, "unexpected token EOF"},
		`request.devcie == "x"`:                {9, `request has no field devcie; did you mean "device"?`},
		`visitor.order > 1`:                    {9, `visitor has no field order; did you mean "orders"?`},
		`visiter.orders > 1`:                   {1, `unknown name visiter; did you mean "visitor"?`},
		`request.device == 1`:                  {16, "mismatched types string and int"},
		`true and visitor.orders`:              {6, "mismatched types bool and int64"},
		`visitor.orders`:                       {0, "expected bool, but got int64"},
		`traits`:                               {1, "traits needs a name"},
		`request == nil`:                       {1, "request needs a field"},
		`"plan" in traits`:                     {11, "traits needs a name"},
		`traits[request.path] == "x"`:          {8, "expected a constant name"},
		`request.query[request.path] == "x"`:   {15, "expected a constant name"},
		`request.query == nil`:                 {9, `request.query needs a name`},
		`request.utm == nil`:                   {9, "expected request.utm.campaign"},
		`request.path.x == "x"`:                {14, "request.path is text"},
		`traits.address.city == "Graz"`:        {16, `trait "address" is a plain value`},
		`visitor.orders in 1..100`:             {20, "ranges are not possible"},
		`all([1], # > 0)`:                      {1, "the function all is not possible"},
		`any(request.query, true)`:             {1, "the function any is not possible"},
		`len(filter([1,2], true)) > 0`:         {5, "the function filter is not possible"},
		`let x = request.path; x + x == "x"`:   {5, "variables are not possible"},
		`now().Year() > 2020`:                  {1, "this is not a function"},
		`repeat("x", 1000000) == "x"`:          {1, "repeat is not a function of rules"},
		`$env == nil`:                          {1, "unknown name $env"},
		`$env["request"] == nil`:               {1, "unknown name $env"},
		`count(request.path) > 1`:              {1, "count takes one constant name"},
		`count([1], true) > 1`:                 {1, "count takes one constant name"},
		`count == nil`:                         {1, "count needs a name"},
		`score("x") > 1`:                       {7, `unknown score "x"`},
		`request.path matches request.host`:    {22, "expected a constant pattern"},
		`request.path matches "("`:             {14, "error parsing regexp"},
		`{"a": 1}.a == 1`:                      {1, "a field is read of something"},
		`foo(1)`:                               {1, "foo is not a function of rules"},
		`ünter == 1`:                           {1, "unknown name ünter"},
		`"äöü" == request.devise`:              {18, "did you mean"},
		strings.Repeat("true and ", 150) + "1": {0, "exceeds maximum allowed nodes"},
		strings.Repeat("x", 5000):              {0, "at most 4096"},
	} {
		_, faults := Compile(when(rule))
		if len(faults) != 1 {
			t.Errorf("%.40s: %d faults: %v", rule, len(faults), faults)
			continue
		}
		f := faults[0]
		if f.Path != "segments[0].when" || want.column != 0 && f.Column != want.column || !strings.Contains(f.Message, want.message) {
			t.Errorf("%.40s: got %s at column %d: %q; want column %d, %q", rule, f.Path, f.Column, f.Message, want.column, want.message)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	_, faults := Compile(Config{
		CacheSize: 5,
		Scores: []Score{
			{Name: "heat", Threshold: 0, Points: []Points{{When: "visitor.orders > 1"}}},
			{Name: "heat", Threshold: 5},
			{Name: "loop", Threshold: 5, Points: []Points{{When: `score("heat") > 1`, Points: 1}, {Points: 2}}},
		},
		Segments: []Segment{
			{When: "true"}, {Name: "(none)", When: "true"}, {Name: "a", When: "true"}, {Name: "a", When: "tru"},
			{Name: "both", When: "true", Score: "heat"}, {Name: "neither"}, {Name: "b", Score: "haet"}, {Name: " c", When: "true"},
		},
	})
	var got []string
	for _, f := range faults {
		got = append(got, f.Path)
	}
	want := []string{
		"cache_size", "scores[0].threshold", "scores[0].points[0].points", "scores[1].name", "scores[1].points",
		"segments[0].name", "segments[1].name", "segments[3].name", "segments[4]", "segments[5]", "segments[6].score", "segments[7].name",
		"scores[2].points[0].when", "scores[2].points[1].when", "segments[3].when",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths of faults (-want +got):\n%s\n%v", diff, faults)
	}
}

func TestPriority(t *testing.T) {
	rules := compileOK(t, Config{Segments: []Segment{
		{Name: "late", When: "true", Priority: -1}, {Name: "first", When: "true"}, {Name: "second", When: "true"},
		{Name: "top", When: "visitor.orders > 1", Priority: 10}, {Name: "not", When: "false", Priority: 100},
	}})
	result, _ := rules.Evaluate(facts(rules, nil, regular()))
	want := &decision.Segmentation{Primary: "top", Members: []string{"top", "first", "second", "late"}}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	result, _ = rules.Evaluate(facts(rules, nil, nil))
	if result.Primary != "first" {
		t.Errorf("primary = %q, want first", result.Primary)
	}
	none := compileOK(t, Config{})
	if result, err := none.Evaluate(facts(none, nil, nil)); err != nil || result.Primary != "" || len(result.Members) > 0 {
		t.Errorf("without rules: %+v, %v", result, err)
	}
}

func TestScores(t *testing.T) {
	rules := compileOK(t, Config{
		Scores: []Score{
			{Name: "engagement", Threshold: 10, Points: []Points{
				{When: "visitor.orders >= 2", Points: 8}, {When: `traits.plan == "gold"`, Points: 3}, {When: "visitor.new", Points: 50},
			}},
			{Name: "cold", Threshold: 1, Points: []Points{{When: "visitor.orders > 0", Points: -5}}},
		},
		Segments: []Segment{
			{Name: "engaged", Score: "engagement"}, {Name: "cold", Score: "cold"}, {Name: "mild", When: `score("engagement") in [11.0] and score("cold") < 0`},
		},
	})
	result, err := rules.Evaluate(facts(rules, nil, regular()))
	want := &decision.Segmentation{
		Primary: "engaged", Members: []string{"engaged", "mild"},
		Scores: []decision.Score{{Name: "engagement", Value: 11, Reached: true}, {Name: "cold", Value: -5}},
	}
	if diff := cmp.Diff(want, result); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestRequestInputs(t *testing.T) {
	cfg := Config{
		Scores:   []Score{{Name: "s", Threshold: 1, Points: []Points{{When: `request.header["X-A"] == "1"`, Points: 1}}}},
		Segments: []Segment{{Name: "a", When: `request.path == "/" or request.query["b.c"] == "1"`}, {Name: "b", When: `request.path == "/b" and request.header["x-a"] == ""`}},
	}
	want := []string{"header.x-a", "path", "query.b.c"}
	for range 3 {
		if diff := cmp.Diff(want, compileOK(t, cfg).RequestInputs()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if _, err := compileOK(t, cfg).Evaluate(&decision.Facts{Attributes: []string{"1"}}); err == nil {
		t.Error("facts with too few attributes were taken")
	}
}

// The answer must be the same at every moment of its window, and the window must
// end where a rule's answer does.
func TestWindow(t *testing.T) {
	rules := compileOK(t, when("visitor.days_since_last_order >= 3 and visitor.days_since_first_seen < 200"))
	p := regular()
	f := facts(rules, nil, p)
	result, valid, err := rules.evaluate(f, nil)
	if err != nil || !result.ValidUntil.Equal(noon.Add(12*time.Hour)) || !valid.from.Equal(noon) {
		t.Errorf("window %v, valid until %v, %v", valid, result.ValidUntil, err)
	}
	for f.Now = p.LastOrder; f.Now.Before(p.LastOrder.Add(3 * day)); f.Now = f.Now.Add(time.Hour) {
		if result, _, _ := rules.evaluate(f, nil); result.In("s") {
			t.Fatalf("in the segment after %v", f.Now.Sub(p.LastOrder))
		}
	}
	if result, _, _ := rules.evaluate(f, nil); !result.In("s") {
		t.Error("not in the segment after three days")
	}
	plain := compileOK(t, when("visitor.orders > 1"))
	if result, _ := plain.Evaluate(facts(plain, nil, regular())); !result.ValidUntil.IsZero() {
		t.Errorf("time bounds a rule that reads no time: %v", result.ValidUntil)
	}
}

func TestWindowProperty(t *testing.T) {
	rules := compileOK(t, when("visitor.days_since_last_order % 2 == 0 or visitor.days_since_first_seen % 3 == 1"))
	rapid.Check(t, func(t *rapid.T) {
		moment := func(label string) time.Time {
			if rapid.Bool().Draw(t, label+" never") {
				return time.Time{}
			}
			return noon.Add(time.Duration(rapid.Int64Range(-40*int64(day), int64(day)).Draw(t, label)))
		}
		f := &decision.Facts{Now: noon, Profile: &decision.Profile{FirstSeen: moment("first"), LastOrder: moment("order")}}
		result, valid, err := rules.evaluate(f, nil)
		if err != nil || !valid.holds(noon) {
			t.Fatalf("window %v does not hold its own moment (%v)", valid, err)
		}
		f.Now = noon.Add(time.Duration(rapid.Int64Range(-2*int64(day), 2*int64(day)).Draw(t, "other")))
		other, _, _ := rules.evaluate(f, nil)
		if valid.holds(f.Now) && other.In("s") != result.In("s") {
			t.Fatalf("the answer changed inside its window %v at %v", valid, f.Now)
		}
	})
}

func TestExplain(t *testing.T) {
	rules := compileOK(t, Config{
		Scores: []Score{{Name: "heat", Threshold: 2, Points: []Points{{When: `count("Newsletter Signup") > 0`, Points: 3}}}},
		Segments: []Segment{
			{Name: "hot", Score: "heat", Priority: 1},
			{Name: "rich", When: `visitor.revenue > 50 and traits.plan == "gold" and request.query["q"] == "x"`},
			{Name: "odd", When: `traits.plan + 1 > 2 or score("heat") > 5`},
		},
	})
	x, err := rules.Explain(facts(rules, map[string]string{"query.q": "y"}, regular()))
	if err != nil {
		t.Fatal(err)
	}
	want := []SegmentExplanation{
		{Name: "hot", Priority: 1, Member: true, Score: "heat"},
		{Name: "rich", RuleExplanation: RuleExplanation{
			When:   `visitor.revenue > 50 and traits.plan == "gold" and request.query["q"] == "x"`,
			Inputs: []Input{{`request.query["q"]`, "y"}, {"visitor.revenue", 90.0}, {`traits["plan"]`, "gold"}},
		}},
		{Name: "odd", RuleExplanation: RuleExplanation{
			When: `traits.plan + 1 > 2 or score("heat") > 5`, Failure: "invalid operation: string + int",
			Inputs: []Input{{`traits["plan"]`, "gold"}, {`score("heat")`, 3.0}},
		}},
	}
	if diff := cmp.Diff(want, x.Segments); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(x.Scores) != 1 || x.Scores[0].Value != 3 || !x.Scores[0].Points[0].Matched || x.Segmentation.Primary != "hot" {
		t.Errorf("scores: %+v", x.Scores)
	}
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{`request.utm.campaign == "sale"`, `traits?.a?.b ?? 1`, `count("x") > 0 ? true : visitor.new`, `request.query["a"][0:1] in ["b"]`, `if true { 1 } else { 2 }`, `[1,2] | filter(# > 1)`, `-traits.x ** 2 > 1`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, faults := Compile(when(text))
		if (rules == nil) == (len(faults) == 0) {
			t.Fatalf("rules %v, faults %v", rules, faults)
		}
		if rules == nil {
			return
		}
		attributes := make([]string, len(rules.RequestInputs()))
		start := time.Now()
		for _, p := range []*decision.Profile{nil, regular()} {
			if _, err := rules.Evaluate(&decision.Facts{Now: noon, Attributes: attributes, Profile: p}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("evaluating %q took %v", text, took)
		}
	})
}
