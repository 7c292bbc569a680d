package content

import (
	"errors"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/rewrite"
)

// refuseOffers finds slots for what a plugin offers: this one offers nothing, and they
// would show their fallbacks for ever. What else is wrong with an edit is said elsewhere.
func refuseOffers(at string, e decision.Edit, add func(string, string, ...any)) {
	offered := false
	err := rewrite.CheckSlots(e, func(s rewrite.Slot) error {
		offered = s.Kind == rewrite.SlotOffer
		return rewrite.RefuseOffers(s)
	})
	var wrong *rewrite.EditError
	if offered && errors.As(err, &wrong) {
		add(at+"."+wrong.Field, "character %d: %s", wrong.Column, wrong.Message)
	}
}
