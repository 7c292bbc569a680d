package wire

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

// The bounds of what crosses.
const (
	MaxEdits       = 500     // edits of one answer
	MaxAnswerBytes = 1 << 20 // bytes of all strings of one answer
	MaxHeaders     = 32      // headers of one action
	MaxOffer       = 64      // values of one answer's offer
	MaxSettings    = 1 << 20 // bytes of the settings of one experience
	MaxErrors      = 100     // setting errors of one Configure
	MaxErrorBytes  = 4096    // bytes of one error message
	MaxScopeNames  = 64      // names in one list of a scope
	MaxMessage     = 4 << 20 // bytes of one gRPC message

	// MaxTTL is the longest time to live; a longer one is cut to it.
	MaxTTL = 365 * 24 * time.Hour
)

// CheckAnswer reports whether an answer keeps the bounds and is valid UTF-8.
func CheckAnswer(a *plugins.Answer) error {
	switch {
	case len(a.Edits) > MaxEdits:
		return fmt.Errorf("answer has %d edits, at most %d are allowed", len(a.Edits), MaxEdits)
	case len(a.Action.Headers) > MaxHeaders:
		return fmt.Errorf("answer has %d headers, at most %d are allowed", len(a.Action.Headers), MaxHeaders)
	case len(a.Offer) > MaxOffer:
		return fmt.Errorf("answer offers %d values, at most %d are allowed", len(a.Offer), MaxOffer)
	case a.TTL < 0:
		return fmt.Errorf("answer has the negative TTL %s", a.TTL)
	}
	total := 0
	for i := range a.Edits {
		e := &a.Edits[i]
		for _, f := range [...]struct{ name, value string }{
			{"select", e.Select}, {"op", string(e.Op)}, {"text", e.Text},
			{"html", e.HTML}, {"name", e.Name}, {"value", e.Value}, {"pattern", e.Pattern},
			{"body", string(e.Body)}, {"pointer", e.Pointer}, {"json", string(e.JSON)},
		} {
			if !utf8.ValidString(f.value) {
				return fmt.Errorf("edits[%d].%s of the answer is not valid UTF-8", i, f.name)
			}
			total += len(f.value)
		}
	}
	for name, value := range a.Offer {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return errors.New("offer of the answer is not valid UTF-8")
		}
		total += len(name) + len(value)
	}
	if !utf8.ValidString(a.Action.Redirect) || !utf8.ValidString(a.Action.Path) {
		return errors.New("the action of the answer is not valid UTF-8")
	}
	total += len(a.Action.Redirect) + len(a.Action.Path)
	for i, h := range a.Action.Headers {
		if !utf8.ValidString(h[0]) || !utf8.ValidString(h[1]) {
			return fmt.Errorf("action.headers[%d] of the answer is not valid UTF-8", i)
		}
		total += len(h[0]) + len(h[1])
	}
	if total > MaxAnswerBytes {
		return fmt.Errorf("answer has %d bytes, at most %d are allowed", total, MaxAnswerBytes)
	}
	return nil
}

// CheckDescription reports whether a plugin's description can be used.
func CheckDescription(d plugins.Description) error {
	if d.Name == "" || len(d.Name) > 64 {
		return fmt.Errorf("plugin describes itself with the name %q: expected 1 to 64 characters", clip(d.Name, 80))
	}
	for _, c := range d.Name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return fmt.Errorf("plugin describes itself with the name %q: expected lower case letters, digits, - and _", d.Name)
		}
	}
	if d.Version == "" || len(d.Version) > 64 {
		return fmt.Errorf("plugin %q describes itself with the version %q: expected something like 1.0.0", d.Name, clip(d.Version, 80))
	}
	return nil
}

// CheckScope reports whether a scope can be used.
func CheckScope(s plugins.Scope) error {
	for _, list := range [...]struct {
		what  string
		names []string
	}{{"query", s.Query}, {"experiments", s.Experiments}, {"attributes", s.Attributes}} {
		if len(list.names) > MaxScopeNames {
			return fmt.Errorf("scope names %d %s, at most %d are allowed", len(list.names), list.what, MaxScopeNames)
		}
		for i, name := range list.names {
			if name == "" || !utf8.ValidString(name) {
				return fmt.Errorf("scope.%s[%d] is empty or not valid UTF-8", list.what, i)
			}
		}
	}
	if len(s.Bodies) > MaxScopeNames {
		return fmt.Errorf("scope names %d bodies, at most %d are allowed", len(s.Bodies), MaxScopeNames)
	}
	for i, kind := range s.Bodies {
		if decision.BodiesOf(kind) == 0 {
			return fmt.Errorf("scope.bodies[%d]: found %q, expected html, json or text", i, kind)
		}
	}
	return nil
}

// text makes a string fit to cross.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// clip cuts a string for people to at most n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return text(s)
	}
	return text(s[:n]) + "…"
}
