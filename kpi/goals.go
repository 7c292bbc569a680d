package kpi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// OrderCompleted is the track event that is an order even when no goal names it:
// its property order_id is the order's id (the message id if it has none), and
// its revenue is in the property revenue, else total.
const OrderCompleted = "Order Completed"

// The bounds of goals.
const (
	MaxGoals   = 200
	maxGoal    = 100 // bytes of a name
	maxOrderID = 100 // bytes; longer ids are replaced by their digest
)

// Goal is something that visitors should do.
type Goal struct {
	// Name stands in reports and must not change while results matter.
	Name string `mapstructure:"name"`

	// URL is the path of a page whose view reaches the goal: "*" stands for any
	// characters but "/", and "**" for any characters.
	URL string `mapstructure:"url"`

	// Event is the name of a track event that reaches the goal. A goal has
	// exactly one of URL and Event.
	Event string `mapstructure:"event"`

	// Revenue names the property with the amount, or "query.KEY" for a key in
	// the query of the page. For "Order Completed" it may be left out.
	Revenue string `mapstructure:"revenue"`

	// Order names the property or "query.KEY" with the order's id. An order
	// reaches the goal once, however often its page is loaded.
	Order string `mapstructure:"order"`
}

// Goals are compiled goals; safe for concurrent use.
type Goals struct {
	goals   []goal
	byEvent map[string][]int
	byURL   []int
}

type goal struct {
	Goal
	path decision.Glob // the URL
}

// CompileGoals makes goals usable and reports everything that is wrong.
func CompileGoals(list []Goal) (*Goals, decision.Faults) {
	var faults decision.Faults
	g := &Goals{byEvent: make(map[string][]int)}
	if len(list) > MaxGoals {
		faults.Add("", "%d goals, at most %d are allowed", len(list), MaxGoals)
	}
	first := make(map[string]int)
	for i, one := range list {
		at := fmt.Sprintf("[%d]", i)
		if before, ok := first[one.Name]; ok && one.Name != "" {
			faults.Add(at+".name", "goal %q is already at [%d]", one.Name, before)
		}
		first[one.Name] = i
		faults.Under(at, one.validate())
		compiled := goal{Goal: one}
		if one.URL != "" && utf8.ValidString(one.URL) {
			compiled.path = decision.CompileGlob(one.URL, '/')
			g.byURL = append(g.byURL, i)
		} else {
			g.byEvent[one.Event] = append(g.byEvent[one.Event], i)
		}
		g.goals = append(g.goals, compiled)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return g, nil
}

func (g Goal) validate() decision.Faults {
	var faults decision.Faults
	switch {
	case g.Name == "":
		faults.Add("name", "a goal needs a name")
	case len(g.Name) > maxGoal:
		faults.Add("name", "%d bytes, at most %d are allowed", len(g.Name), maxGoal)
	}
	switch {
	case g.URL == "" && g.Event == "":
		faults.Add("", "a goal needs url or event")
	case g.URL != "" && g.Event != "":
		faults.Add("", "a goal has url or event, not both")
	case !utf8.ValidString(g.URL):
		faults.Add("url", "expected UTF-8")
	case g.URL != "" && !strings.HasPrefix(g.URL, "/") && !strings.HasPrefix(g.URL, "*"):
		faults.Add("url", `expected a path that starts with "/", got %q`, g.URL)
	}
	if strings.ContainsAny(g.URL, "?#") {
		faults.Add("url", `a goal's url is the path of a page, without "?" and what follows, got %q`, g.URL)
	}
	for _, source := range [2][2]string{{"revenue", g.Revenue}, {"order", g.Order}} {
		if source[1] == "query." {
			faults.Add(source[0], `"query." needs the name of a key`)
		}
	}
	return faults
}

// Names returns the names of the goals in the order of the configuration.
func (g *Goals) Names() []string {
	names := make([]string, len(g.goals))
	for i := range g.goals {
		names[i] = g.goals[i].Name
	}
	return names
}

// Resolve fills in which goals the event reaches and which order it is, in the
// place of what stood there. It needs the event's Query. A nil Goals still knows
// orders.
func (g *Goals) Resolve(e *event.Event) {
	e.Conversions, e.Order = nil, nil
	if e.Type == event.Track && e.Name == OrderCompleted {
		e.Order = completedOrder(e)
	}
	if g == nil {
		return
	}
	switch e.Type {
	case event.Track:
		for _, i := range g.byEvent[e.Name] {
			g.goals[i].reach(e)
		}
	case event.Page:
		for _, i := range g.byURL {
			if g.goals[i].path.Match(e.Path) {
				g.goals[i].reach(e)
			}
		}
	}
}

// reach adds the conversion, and the order if the goal says where its id is.
func (g *goal) reach(e *event.Event) {
	c := event.Conversion{Goal: g.Name}
	if g.Revenue != "" {
		c.Revenue = amount(lookup(e, g.Revenue))
	} else if e.Order != nil {
		c.Revenue = e.Order.Revenue
	}
	if g.Order != "" {
		c.OrderID = orderID(lookup(e, g.Order))
	} else if e.Order != nil {
		c.OrderID = e.Order.ID
	}
	e.Conversions = append(e.Conversions, c)
	switch {
	case c.OrderID == "":
	case e.Order == nil:
		e.Order = &event.Order{ID: c.OrderID, Revenue: c.Revenue}
	case e.Order.ID == c.OrderID && e.Order.Revenue == 0:
		e.Order.Revenue = c.Revenue
	}
}

func completedOrder(e *event.Event) *event.Order {
	order := &event.Order{ID: orderID(e.Properties["order_id"]), Revenue: amount(e.Properties["revenue"])}
	if order.ID == "" {
		order.ID = e.ID
	}
	if _, ok := e.Properties["revenue"]; !ok {
		order.Revenue = amount(e.Properties["total"])
	}
	return order
}

// lookup returns a property, or the value of a key of the page's query.
func lookup(e *event.Event, source string) any {
	key, ok := strings.CutPrefix(source, "query.")
	if !ok {
		return e.Properties[source]
	}
	for query := e.Query; query != ""; {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err != nil || name != key {
			continue
		}
		if value, err := url.QueryUnescape(value); err == nil {
			return value
		}
	}
	return nil
}

// amount reads a revenue. What is not a number of currency units, or is
// negative or beyond 10^9, is 0: one such value would outweigh all others.
func amount(v any) decision.Money {
	var units float64
	switch v := v.(type) {
	case float64:
		units = v
	case int:
		units = float64(v)
	case int64:
		units = float64(v)
	case string:
		n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil {
			return 0
		}
		units = n
	}
	if !(units > 0 && units <= 1e9) {
		return 0
	}
	money, _ := decision.MoneyOf(units)
	return money
}

// orderID reads an order's id: a text or a whole number.
func orderID(v any) string {
	var id string
	switch v := v.(type) {
	case string:
		id = strings.TrimSpace(v)
	case float64:
		if v == math.Trunc(v) {
			id = strconv.FormatFloat(v, 'f', -1, 64)
		}
	case int:
		id = strconv.Itoa(v)
	case int64:
		id = strconv.FormatInt(v, 10)
	}
	if len(id) > maxOrderID {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])
	}
	return id
}
