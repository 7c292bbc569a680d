package decision

import "time"

// Facts are everything that a rule may read at one request.
type Facts struct {
	// Now is the moment for which the rules are evaluated.
	Now time.Time

	// VisitorID is the verified id of the visitor, or "" for a request without
	// one (no cookie wanted, a bot, no consent).
	VisitorID string

	// Attributes are the values of the request attributes that the site's rules
	// and plugins name, in the order in which the site was compiled. A missing
	// attribute is "".
	Attributes []string

	// Profile is the visitor's profile at this moment; nil stands for an empty one.
	Profile *Profile
}

// Profile is an immutable snapshot of what is known of one visitor.
type Profile struct {
	FirstSeen time.Time // zero: never seen before
	LastSeen  time.Time
	LastOrder time.Time // zero: has not ordered

	PageViews int64
	Sessions  int64
	Orders    int64
	Revenue   Money // sum over orders

	Counts map[string]int64 // accepted track events by name
	Traits map[string]any   // string, float64 or bool by trait name
}
