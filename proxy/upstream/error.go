package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// Kind sorts what went wrong by what the client should be told.
type Kind uint8

const (
	// Dial: no connection could be made (502).
	Dial Kind = iota + 1
	// Timeout: the origin took too long (504).
	Timeout
	// Closed: the connection ended before the message did (502).
	Closed
	// Malformed: the answer breaks the rules of HTTP (502).
	Malformed
	// Busy: all connections are in use (503).
	Busy
	// Client: the client's own request body broke off or lies about its length;
	// nobody may be left to answer (400).
	Client
	// Open: the upstream failed so often that it is not asked for now (503).
	Open

	numKinds = int(Open) + 1
)

func (k Kind) String() string {
	switch k {
	case Dial:
		return "dial"
	case Timeout:
		return "timeout"
	case Closed:
		return "closed"
	case Malformed:
		return "malformed"
	case Busy:
		return "busy"
	case Client:
		return "client"
	case Open:
		return "open"
	}
	return "unknown"
}

// Status is the HTTP status that tells a client of this kind of error.
func (k Kind) Status() int {
	switch k {
	case Timeout:
		return 504
	case Busy, Open:
		return 503
	case Client:
		return 400
	}
	return 502
}

// Error is what every operation of this package fails with. Its text names no
// part of the request and no byte of the answer, so it may be logged.
type Error struct {
	// Op is what was being done, as "read answer".
	Op string
	// Kind sorts the error.
	Kind Kind
	// Server is the host and port of the server that was asked, by the settings; ""
	// if none was.
	Server string
	// RetryAfter is when the client should come again; 0 if there is nothing to
	// say of it.
	RetryAfter time.Duration
	// Err is the cause; errors.Is(err, io.ErrUnexpectedEOF) tells a cut body.
	Err error
}

func (e *Error) Error() string {
	if e.Server != "" {
		return "upstream: " + e.Op + " (" + e.Server + "): " + e.Err.Error()
	}
	return "upstream: " + e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// errMalformed marks the errors of the parsers here.
type errMalformed string

func (e errMalformed) Error() string { return string(e) }

// fail sorts the cause of a failed operation.
func fail(op string, err error) *Error {
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	var wrong errMalformed
	kind := Closed
	switch {
	case errors.As(err, &wrong):
		kind = Malformed
	case isTimeout(err):
		kind = Timeout
	}
	return &Error{Op: op, Kind: kind, Err: err}
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout()
}
