package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/sedge-proxy/sedge/plugins/internal/wire"
)

// Kind says in one word why a plugin gave no answer.
type Kind string

// The kinds of an [Error].
const (
	Down    Kind = "down"    // no process is running; it is being restarted
	Open    Kind = "open"    // it failed too often in a row and is left alone for a while
	Busy    Kind = "busy"    // too many calls are running already
	Timeout Kind = "timeout" // it took longer than its timeout
	Failed  Kind = "error"   // it answered with an error
	Invalid Kind = "invalid" // its answer breaks the contract
	Panic   Kind = "panic"   // its code panicked
	Closed  Kind = "closed"  // the handle was closed
)

// Error says which plugin gave no answer, and why.
type Error struct {
	Plugin string
	Kind   Kind
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("plugin %q: %s", e.Plugin, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reason returns the kind as a word for counters.
func (e *Error) Reason() string { return string(e.Kind) }

var (
	errDown   = errors.New("its process is not running; it is being restarted")
	errOpen   = errors.New("it failed too often in a row and is left alone for a while")
	errBusy   = errors.New("too many calls are running already")
	errClosed = errors.New("its handle was closed")

	errHostClosed = errors.New("the host is closed")
)

// kindOf sorts the error of a call.
func kindOf(err error) Kind {
	switch {
	case errors.Is(err, errDown), errors.Is(err, wire.ErrUnavailable), errors.Is(err, wire.ErrNoInstance):
		return Down
	case errors.Is(err, errOpen):
		return Open
	case errors.Is(err, errBusy):
		return Busy
	case errors.Is(err, errClosed):
		return Closed
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, wire.ErrInvalid), errors.Is(err, wire.ErrForeign):
		return Invalid
	case errors.Is(err, wire.ErrPanic):
		return Panic
	}
	return Failed
}
