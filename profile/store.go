package profile

import (
	"context"

	"github.com/sedge-proxy/sedge/event"
)

// Store keeps states durably.
type Store interface {
	// Load returns the state of a visitor, nil when nothing is known of them, and
	// the offset in the event log before which the store holds everything. Both
	// are of the same moment. The state belongs to the caller.
	Load(ctx context.Context, id string) (*State, event.Offset, error)
}
