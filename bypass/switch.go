// Package bypass keeps the kill switches of a node: what its owner turned off in an
// emergency, for as long as they say, whatever the configuration says meanwhile.
//
// A switch can only turn off. Lifting it brings back what the configuration says.
package bypass

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind says what a switch turns off.
type Kind string

// The kinds of switches.
const (
	Everything Kind = "everything" // every route
	Route      Kind = "route"      // is proxied as it is
	Plugin     Kind = "plugin"     // its experiences are off; it is not called
	Experience Kind = "experience" // concerns no page and counts nobody
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{Everything, Route, Plugin, Experience} }

const (
	maxName     = 255
	maxReason   = 200
	maxSwitches = 1000
)

// Switch turns one thing off.
type Switch struct {
	Kind   Kind      `json:"kind"`
	Name   string    `json:"name,omitempty"` // of the route, plugin or experience
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"` // what people shall know of it
}

// Check reports what is wrong with a switch.
func (s Switch) Check() error {
	switch {
	case !slices.Contains(Kinds(), s.Kind):
		return fmt.Errorf("kind %q: expected everything, route, plugin or experience", bounded(string(s.Kind)))
	case s.Kind == Everything && s.Name != "":
		return fmt.Errorf("name %q: everything has no name", bounded(s.Name))
	case s.Kind != Everything && s.Name == "":
		return fmt.Errorf("name: missing, expected that of a %s", s.Kind)
	case !isPrintable(s.Name, maxName):
		return fmt.Errorf("name: expected at most %d bytes of printable text", maxName)
	case !isPrintable(s.Reason, maxReason):
		return fmt.Errorf("reason: expected at most %d bytes of printable text in one line", maxReason)
	}
	return nil
}

func isPrintable(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// bounded cuts what may come from anybody before it is repeated.
func bounded(s string) string { return s[:min(len(s), 64)] }

// String names what is off, as in "route checkout".
func (s Switch) String() string { return strings.TrimSuffix(string(s.Kind)+" "+s.Name, " ") }

// Set are the switches that are set, in the order of kind and name. It is never changed.
type Set []Switch

// Off reports whether a switch of this kind and name is set.
func (s Set) Off(kind Kind, name string) bool { return s.find(kind, name) >= 0 }

func (s Set) find(kind Kind, name string) int {
	return slices.IndexFunc(s, func(each Switch) bool { return each.Kind == kind && each.Name == name })
}

// with returns the set with one more switch. One that is set keeps its time, and
// its reason unless there is a new one.
func (s Set) with(added Switch) Set {
	next := slices.Clone(s)
	if i := next.find(added.Kind, added.Name); i >= 0 {
		next[i].Reason = cmp.Or(added.Reason, next[i].Reason)
		return next
	}
	next = append(next, added)
	slices.SortFunc(next, func(a, b Switch) int {
		return cmp.Or(slices.Index(Kinds(), a.Kind)-slices.Index(Kinds(), b.Kind), strings.Compare(a.Name, b.Name))
	})
	return next
}

// without returns the set less one switch.
func (s Set) without(kind Kind, name string) Set {
	return slices.DeleteFunc(slices.Clone(s), func(each Switch) bool { return each.Kind == kind && each.Name == name })
}
