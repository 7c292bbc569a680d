package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

func errLeft() error { return &Error{Op: "read answer", Kind: Client, Err: errGone} }

// reset is how the library tells of a stream that was reset; errors.As fills it in.
type reset struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (r reset) Error() string { return "the stream was reset, code " + strconv.Itoa(int(r.Code)) }

// Codes of RFC 9113, section 7.
const (
	codeProtocol = 1
	codeRefused  = 7
)

// goneAway is how the library says that the server has announced to do nothing of the
// request.
const goneAway = "graceful shutdown GOAWAY"

// untouched reports whether the server has done nothing of the request, by its own
// word or since nothing was sent.
func (x *stream) untouched(err error) bool {
	if !x.failed(err) {
		return false
	}
	var r reset
	if errors.As(err, &r) {
		return r.Code == codeRefused
	}
	return !x.wrote.Load() || strings.HasSuffix(err.Error(), goneAway)
}

// unanswered reports whether the connection closed without a word of an answer.
func (x *stream) unanswered(err error) bool {
	var r reset
	return x.failed(err) && !errors.As(err, &r)
}

// failed reports whether it is for the server, or the way to it, that no answer came.
func (x *stream) failed(err error) bool {
	return x.answer == nil && x.informed+len(x.interims) == 0 && x.ctx.Err() == nil && !isOwn(err) && !isUnfit(err)
}

// isOwn reports whether an error is one of this package's already.
func isOwn(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// isUnfit reports whether the library refuses to send the request's head: above all
// when it is larger than the server takes.
func isUnfit(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "http: ") || errors.Unwrap(err) != nil && strings.HasPrefix(text, "http2: ")
}

// explain sorts an error of the library. Its own words are not passed on, since they
// may hold bytes of the answer.
func (x *stream) explain(op string, err error) error {
	if cause := context.Cause(x.ctx); cause != nil && cause != context.Canceled {
		return cause
	}
	if x.body != nil {
		if broken := x.body.broken(); broken != nil {
			return broken
		}
	}
	var r reset
	switch {
	case isOwn(err):
		return err
	case x.ctx.Err() != nil:
		return errLeft()
	case !x.wrote.Load() && isUnfit(err):
		return &Error{Op: "send request", Kind: Client, Err: errMalformed("the head is too large for the origin, or cannot be sent over HTTP/2")}
	case errors.As(err, &r) && r.Code == codeProtocol:
		return fail(op, errMalformed("the answer breaks the rules of HTTP/2"))
	case errors.As(err, &r):
		return fail(op, fmt.Errorf("%w: %w", r, io.ErrUnexpectedEOF))
	}
	return fail(op, fmt.Errorf("the connection broke: %w", io.ErrUnexpectedEOF))
}
