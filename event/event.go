// Package event holds what happened: the event type, its decoding from the
// Segment HTTP API, and the durable log that keeps accepted events until every
// consumer has seen them.
package event

import (
	"slices"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// Type says what kind of thing happened.
type Type string

// The types of events.
const (
	Page     Type = "page"     // a visitor was shown a page
	Track    Type = "track"    // a visitor did something, by Name
	Identify Type = "identify" // traits of a visitor became known
	Trigger  Type = "trigger"  // a visitor met a page on which an experiment's arms differ
	Delivery Type = "delivery" // the answer passed the first place where the arms differ
)

// Event is one thing that happened to one visitor. Everything that depends on
// the configuration (goals, orders, segment) is resolved when the event is
// accepted, so that a replay of the log gives the same totals under any
// configuration.
type Event struct {
	ID string `json:"id"` // message id; an event with an id seen before is not counted again

	// Observed says that Sedge itself saw the event in traffic and made its id,
	// so that nobody sends it again. The intake sets it.
	Observed bool `json:"observed,omitempty"`

	Type     Type      `json:"type"`
	Name     string    `json:"name,omitempty"`
	Visitor  string    `json:"visitor"`
	Time     time.Time `json:"time"`     // when it happened, at most 5 minutes after Received
	Received time.Time `json:"received"` // when Sedge got it

	// Minted says that the answer to this very request gave the visitor their
	// cookie, so that nobody knows yet whether it comes back.
	Minted bool `json:"minted,omitempty"`

	// Segment is the visitor's primary segment at this moment.
	Segment string `json:"segment,omitempty"`

	// Path is the decoded path of the page, without query.
	Path string `json:"path,omitempty"`

	// Query is the raw query of the page; goals read it, and it is not kept.
	Query string `json:"-"`

	Properties map[string]any `json:"properties,omitempty"`
	Traits     map[string]any `json:"traits,omitempty"`

	Conversions []Conversion       `json:"conversions,omitempty"`
	Order       *Order             `json:"order,omitempty"`
	Exposure    *decision.Exposure `json:"exposure,omitempty"` // of Trigger and Delivery
}

// Clone returns a copy that lasts when e is used for another event. Properties and
// traits are not copied.
func (e *Event) Clone() *Event {
	c := *e
	c.Conversions = slices.Clone(e.Conversions)
	if e.Order != nil {
		order := *e.Order
		c.Order = &order
	}
	if e.Exposure != nil {
		exposure := *e.Exposure
		c.Exposure = &exposure
	}
	return &c
}

// Conversion is a goal that an event reached.
type Conversion struct {
	Goal    string         `json:"goal"`
	Revenue decision.Money `json:"revenue,omitempty"`
	OrderID string         `json:"order_id,omitempty"` // the same order converts once
}

// Order is a purchase. The same id is the same order.
type Order struct {
	ID      string         `json:"id"`
	Revenue decision.Money `json:"revenue"`
}
