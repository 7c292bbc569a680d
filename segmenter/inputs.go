package segmenter

import (
	"slices"
	"strconv"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// environment is what a compiled rule reads. Compiling has replaced every name
// of the rule language by one of its places: request.device by request[2],
// count("x") by count["x"], score("x") by score[0].
type environment struct {
	Request []string         `expr:"request"`
	Visitor visitorFacts     `expr:"visitor"`
	Traits  map[string]any   `expr:"traits"`
	Count   map[string]int64 `expr:"count"`
	Score   []float64        `expr:"score"`
}

// visitorFacts are the fields of "visitor" in rules.
type visitorFacts struct {
	PageViews          int64   `expr:"page_views"`
	Sessions           int64   `expr:"sessions"`
	Orders             int64   `expr:"orders"`
	Revenue            float64 `expr:"revenue"`
	AverageOrder       float64 `expr:"average_order"`
	DaysSinceFirstSeen int64   `expr:"days_since_first_seen"`
	DaysSinceLastOrder int64   `expr:"days_since_last_order"`
	New                bool    `expr:"new"`
}

// visitorField is one field of "visitor": its name, what of the profile it
// reads, and its value for people.
type visitorField struct {
	name  string
	reads func(p *decision.Profile) [2]int64
	value func(v *visitorFacts) any
	since func(p *decision.Profile) time.Time // of fields that time changes
}

var visitorFields = []visitorField{
	{name: "page_views", reads: func(p *decision.Profile) [2]int64 { return [2]int64{p.PageViews} },
		value: func(v *visitorFacts) any { return v.PageViews }},
	{name: "sessions", reads: func(p *decision.Profile) [2]int64 { return [2]int64{p.Sessions} },
		value: func(v *visitorFacts) any { return v.Sessions }},
	{name: "orders", reads: func(p *decision.Profile) [2]int64 { return [2]int64{p.Orders} },
		value: func(v *visitorFacts) any { return v.Orders }},
	{name: "revenue", reads: func(p *decision.Profile) [2]int64 { return [2]int64{int64(p.Revenue)} },
		value: func(v *visitorFacts) any { return v.Revenue }},
	{name: "average_order", reads: func(p *decision.Profile) [2]int64 { return [2]int64{int64(p.Revenue), p.Orders} },
		value: func(v *visitorFacts) any { return v.AverageOrder }},
	{name: "days_since_first_seen", reads: func(p *decision.Profile) [2]int64 { return moment(p.FirstSeen) },
		value: func(v *visitorFacts) any { return v.DaysSinceFirstSeen }, since: firstSeen},
	{name: "days_since_last_order", reads: func(p *decision.Profile) [2]int64 { return moment(p.LastOrder) },
		value: func(v *visitorFacts) any { return v.DaysSinceLastOrder }, since: lastOrder},
	{name: "new", reads: func(p *decision.Profile) [2]int64 { return truth(p.FirstSeen.IsZero()) },
		value: func(v *visitorFacts) any { return v.New }},
}

func moment(t time.Time) [2]int64 { return [2]int64{t.Unix(), int64(t.Nanosecond())} }

func truth(b bool) (n [2]int64) {
	if b {
		n[0] = 1
	}
	return n
}

func firstSeen(p *decision.Profile) time.Time { return p.FirstSeen }
func lastOrder(p *decision.Profile) time.Time { return p.LastOrder }

func visitorFieldNames() []string {
	names := make([]string, len(visitorFields))
	for i := range visitorFields {
		names[i] = visitorFields[i].name
	}
	return names
}

const day = 24 * time.Hour

// set fills the facts from a profile, for one moment.
func (v *visitorFacts) set(p *decision.Profile, now time.Time) {
	*v = visitorFacts{
		PageViews:          p.PageViews,
		Sessions:           p.Sessions,
		Orders:             p.Orders,
		Revenue:            p.Revenue.Units(),
		DaysSinceFirstSeen: daysSince(p.FirstSeen, now),
		DaysSinceLastOrder: daysSince(p.LastOrder, now),
		New:                p.FirstSeen.IsZero(),
	}
	if p.Orders > 0 {
		v.AverageOrder = v.Revenue / float64(p.Orders)
	}
}

// daysSince counts full days of 24 hours; -1 if it never happened, 0 for a
// moment that a wrong clock put into the future.
func daysSince(then, now time.Time) int64 {
	if then.IsZero() {
		return -1
	}
	return max(0, int64(now.Sub(then)/day))
}

// window is the time in which the passing of time alone changes no answer;
// zero ends are open.
type window struct{ from, until time.Time }

func (w *window) holds(now time.Time) bool {
	return (w.from.IsZero() || !now.Before(w.from)) && (w.until.IsZero() || now.Before(w.until))
}

// narrow cuts the window to the day, counted from then, that holds now.
func (w *window) narrow(then, now time.Time) {
	if then.IsZero() {
		return
	}
	days := daysSince(then, now)
	if from := then.Add(time.Duration(days) * day); days > 0 && from.After(w.from) {
		w.from = from
	}
	if until := then.Add(time.Duration(days+1) * day); w.until.IsZero() || until.Before(w.until) {
		w.until = until
	}
}

// inputs are all that a set of rules reads.
type inputs struct {
	request []string // attribute names, in the order of their first use
	visitor []int    // indexes into visitorFields
	counts  []string
	traits  []string
	scores  []int // of one rule only
}

func (in *inputs) addRequest(name string) int { return addString(&in.request, name) }

func addString(list *[]string, name string) int {
	if i := slices.Index(*list, name); i >= 0 {
		return i
	}
	*list = append(*list, name)
	return len(*list) - 1
}

func addInt(list *[]int, n int) {
	if !slices.Contains(*list, n) {
		*list = append(*list, n)
	}
}

// window returns the time for which an evaluation at now holds.
func (in *inputs) window(p *decision.Profile, now time.Time) (w window) {
	for _, i := range in.visitor {
		if since := visitorFields[i].since; since != nil {
			w.narrow(since(p), now)
		}
	}
	return w
}

// Input is an input of a rule with its value, for people.
type Input struct {
	Name  string // as in rules: `visitor.orders`
	Value any    // string, int64, float64, bool, or nil for a missing trait
}

// describe lists the values that a rule read.
func (in *inputs) describe(e *environment, all *inputs, scores []Score) (list []Input) {
	for _, name := range in.request {
		list = append(list, Input{ruleName(name), e.Request[slices.Index(all.request, name)]})
	}
	for _, i := range in.visitor {
		list = append(list, Input{"visitor." + visitorFields[i].name, visitorFields[i].value(&e.Visitor)})
	}
	for _, name := range in.traits {
		list = append(list, Input{"traits[" + strconv.Quote(name) + "]", e.Traits[name]})
	}
	for _, name := range in.counts {
		list = append(list, Input{"count(" + strconv.Quote(name) + ")", e.Count[name]})
	}
	for _, i := range in.scores {
		list = append(list, Input{"score(" + strconv.Quote(scores[i].Name) + ")", e.Score[i]})
	}
	return list
}
