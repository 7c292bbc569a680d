package decision

import (
	"slices"
	"time"
)

// NoSegment is what reports call visitors whom no rule matches.
const NoSegment = "(none)"

// Segmentation says which segments a visitor is in at one moment.
type Segmentation struct {
	// Primary is the matching segment with the highest priority, "" when none matches.
	Primary string

	// Members are all matching segments, highest priority first.
	Members []string

	// Scores are the values of all configured scores, in the order of the configuration.
	Scores []Score

	// ValidUntil is the first moment at which the passing of time alone could
	// change the answer; zero means never.
	ValidUntil time.Time
}

// In reports whether the visitor is a member of the named segment.
func (s *Segmentation) In(segment string) bool { return slices.Contains(s.Members, segment) }

// Score is the value of one named score.
type Score struct {
	Name    string
	Value   float64
	Reached bool // Value is at or above the score's threshold
}
