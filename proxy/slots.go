package proxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sedge-proxy/sedge/rewrite"
	"github.com/sedge-proxy/sedge/visitor/attributes"
)

// slotAttributes compiles what slots name of the request; nil for nothing.
func slotAttributes(slots []rewrite.Slot, cookie string) (*attributes.Extractor, error) {
	var names []string
	for _, s := range slots {
		if s.Kind == rewrite.SlotAttribute && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	if slices.Contains(names, "cookie."+cookie) {
		return nil, fmt.Errorf("a slot names the cookie %q, which is the visitor's own signed id", cookie)
	}
	x, faults := attributes.Compile(names)
	return x, faults.Err()
}

// slotValues returns this visitor's values for the slots of a program; nil when it
// has none. Bots, and people who want no profile, get the fallbacks of traits and
// attributes. The values outlive the exchange.
func (x *exchange) slotValues(p *program) []string {
	slots := p.Slots()
	if len(slots) == 0 {
		return nil
	}
	values := make([]string, len(slots))
	stateless := x.client.Bot || x.client.NoProfiling
	var found []string
	if p.attributes != nil && !stateless {
		found = p.attributes.Extract(nil, x)
	}
	for i, s := range slots {
		switch {
		case s.Kind == rewrite.SlotSegment:
			values[i] = strings.Clone(x.primary())
		case s.Kind == rewrite.SlotOffer:
			// A plugin was told no more of the stateless than they may see.
			values[i] = x.plan.Edits[s.Edit].Offer[s.Name]
		case stateless:
		case s.Kind == rewrite.SlotTrait && x.facts.Profile != nil:
			values[i] = traitText(x.facts.Profile.Traits[s.Name])
		case s.Kind == rewrite.SlotAttribute:
			if n := slices.Index(p.attributes.Names(), s.Name); n >= 0 && n < len(found) {
				values[i] = found[n]
			}
		}
	}
	return values
}

// traitText writes a trait as people read it.
func traitText(trait any) string {
	switch v := trait.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}
