package decision

// Page names the page that a plan is for.
type Page struct {
	Host  string // lower case, without port
	Path  string // decoded, starts with "/"
	Query string // raw, without "?"
}

// Digest identifies a resolved plan: equal digests mean equal edits, applied or
// only matched, in the same order, and an equal action.
type Digest [16]byte

// PlannedEdit is an edit of a plan with where it comes from.
type PlannedEdit struct {
	Edit
	Experience string

	// Apply is false for an edit of another arm or of a held-out experience:
	// the rewriter looks for its matches and changes nothing.
	Apply bool

	// Offer holds the values that the edit's plugin answered for its slots
	// {{offer "name"}}. They are not part of the plan's digest, so that visitors
	// with different offers share what is kept of a page.
	Offer map[string]string
}

// Trigger is an exposure that happens if one of its edits matches the page, or
// at once if Always is set (its arms differ in a request action).
type Trigger struct {
	Exposure
	Edits  []int // indexes into [Plan.Edits], of all arms
	Always bool
}

// Plan is what is to be done with one page for one visitor: the merged answers
// of all experiences that concern it.
type Plan struct {
	// Concerned reports that some experience names this page, whether or not the
	// visitor sees any of it. All answers of such a page carry the same cache headers.
	Concerned bool

	Edits    []PlannedEdit
	Action   Action
	Triggers []Trigger
	Digest   Digest

	// Skipped names the experiences that were left out because their plugin was
	// slow, dead or wrong; Reasons holds one word of reason for each.
	Skipped []string
	Reasons []string
}

// Scope says what an answer of a plugin may depend on. A plan call carries
// exactly what the scope names, and its answer is kept for exactly that; the
// zero Scope is a constant answer.
type Scope struct {
	Page        bool     `json:"page,omitempty"`        // host and path
	Query       []string `json:"query,omitempty"`       // values of these query keys (implies Page)
	Segment     bool     `json:"segment,omitempty"`     // primary segment
	Experiments []string `json:"experiments,omitempty"` // arm in these experiments
	Attributes  []string `json:"attributes,omitempty"`  // these request attributes
	Visitor     bool     `json:"visitor,omitempty"`     // the visitor's id: answers are kept per visitor

	// Bodies are the kinds of bodies that the edits of answers are for; none means
	// HTML alone. An answer may have no edit of another kind. What asks for a body
	// of these kinds, such as a script for JSON, is planned for too.
	Bodies []Body `json:"bodies,omitempty"`
}

// EditedBodies returns the kinds of bodies that answers may edit.
func (s *Scope) EditedBodies() Bodies {
	if len(s.Bodies) == 0 {
		return BodiesOf(BodyHTML)
	}
	return BodiesOf(s.Bodies...)
}

// Query asks the planner for the plan of one page.
type Query struct {
	Page        Page
	Segment     string       // primary segment, "" when none
	Assignments []Assignment // the visitor's arms; none for a visitor who is not counted
	Attributes  []string     // as in [Facts.Attributes]
	VisitorID   string

	// Bodies are the kinds of bodies that may come; experiences with edits of other
	// kinds alone are left out. Zero stands for all kinds.
	Bodies Bodies
}
