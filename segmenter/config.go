package segmenter

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/sedge-proxy/sedge/decision"
)

// DefaultCacheSize is the default of [Config.CacheSize].
const DefaultCacheSize = decision.Size(32 << 20)

// Bounds of a configuration.
const (
	MaxSegments   = 500
	MaxScores     = 100
	MaxPoints     = 100  // of one score
	MaxExpression = 4096 // bytes of one rule
	maxNodes      = 200  // operators, operands and calls of one rule
	maxName       = 100
	minCacheSize  = decision.Size(64 << 10)
	maxCacheSize  = decision.Size(64 << 30)
)

// Config holds a site's segments.
type Config struct {
	// Segments are the named rules.
	Segments []Segment `mapstructure:"segments"`

	// Scores are the named sums of points.
	Scores []Score `mapstructure:"scores"`

	// CacheSize is the memory that the scorer's answers may take; 32 MiB by default.
	CacheSize decision.Size `mapstructure:"cache_size"`
}

// Segment is a group of visitors; exactly one of When and Score says who is in it.
type Segment struct {
	// Name is how experiences and reports call the segment.
	Name string `mapstructure:"name"`

	// Description is for people.
	Description string `mapstructure:"description"`

	// When is the rule that members match.
	When string `mapstructure:"when"`

	// Score names the score whose threshold members reach.
	Score string `mapstructure:"score"`

	// Priority decides which of a visitor's segments is the primary one: the
	// highest, and of equal ones the first in the file.
	Priority int `mapstructure:"priority"`
}

// Score is a sum of points.
type Score struct {
	// Name is how segments call the score.
	Name string `mapstructure:"name"`

	// Threshold is the value, above 0, from which the score is reached.
	Threshold float64 `mapstructure:"threshold"`

	// Points are the rules whose points are summed.
	Points []Points `mapstructure:"points"`
}

// Points are added to a score while a rule matches. They may be negative.
type Points struct {
	// When is the rule.
	When string `mapstructure:"when"`

	// Points are added while the rule matches; not 0.
	Points float64 `mapstructure:"points"`
}

// check reports what is wrong apart from the rules themselves.
func (c *Config) check(faults *decision.Faults) {
	if len(c.Segments) > MaxSegments {
		faults.Add("segments", "%d segments, at most %d are possible", len(c.Segments), MaxSegments)
	}
	if len(c.Scores) > MaxScores {
		faults.Add("scores", "%d scores, at most %d are possible", len(c.Scores), MaxScores)
	}
	if c.CacheSize != 0 && (c.CacheSize < minCacheSize || c.CacheSize > maxCacheSize) {
		faults.Add("cache_size", "expected 64KiB to 64GiB")
	}
	scores := checkScores(c.Scores, faults)
	names := make(map[string]bool)
	for i, s := range c.Segments {
		path := fmt.Sprintf("segments[%d]", i)
		checkName(path+".name", s.Name, names, faults)
		switch {
		case s.When == "" && s.Score == "":
			faults.Add(path, "segment %q: expected when (a rule) or score (the name of a score)", s.Name)
		case s.When != "" && s.Score != "":
			faults.Add(path, "segment %q has when and score: expected one of them", s.Name)
		case s.Score != "" && !slices.Contains(scores, s.Score):
			faults.Add(path+".score", "unknown score %q%s", s.Score, didYouMean(s.Score, scores))
		}
	}
}

func checkScores(all []Score, faults *decision.Faults) (names []string) {
	seen := make(map[string]bool)
	for i, s := range all {
		path := fmt.Sprintf("scores[%d]", i)
		checkName(path+".name", s.Name, seen, faults)
		names = append(names, s.Name)
		if !(s.Threshold > 0) || math.IsInf(s.Threshold, 0) {
			faults.Add(path+".threshold", "score %q: expected a number above 0", s.Name)
		}
		if len(s.Points) == 0 || len(s.Points) > MaxPoints {
			faults.Add(path+".points", "score %q has %d rules with points: expected 1 to %d", s.Name, len(s.Points), MaxPoints)
		}
		for j, p := range s.Points {
			if p.Points == 0 || math.IsNaN(p.Points) || math.Abs(p.Points) > 1e9 {
				faults.Add(fmt.Sprintf("%s.points[%d].points", path, j), "expected a number other than 0, up to 10^9")
			}
		}
	}
	return names
}

func checkName(path, name string, seen map[string]bool, faults *decision.Faults) {
	switch {
	case name == "":
		faults.Add(path, "expected a name")
	case name == decision.NoSegment:
		faults.Add(path, "%q is what reports call visitors without a segment: choose another name", name)
	case len(name) > maxName || name != strings.TrimSpace(name) || strings.ContainsFunc(name, unicode.IsControl):
		faults.Add(path, "name %q: expected up to %d characters, without blanks around", name, maxName)
	case seen[name]:
		faults.Add(path, "name %q is used twice", name)
	}
	seen[name] = true
}

func didYouMean(name string, known []string) string {
	if meant := decision.Suggest(name, known); meant != "" {
		return fmt.Sprintf("; did you mean %q?", meant)
	}
	return ""
}
