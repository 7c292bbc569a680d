package cache

import (
	"time"

	"github.com/valyala/fasthttp"
)

// Reply says with what a stored answer answers a request.
type Reply struct {
	// Status is that of the answer: the stored one, with the whole body; 304; 206, with
	// Length bytes of the body from First; or 416.
	Status        int
	First, Length int64
}

// Evaluate judges the conditions and the range of a GET or HEAD request against a
// stored answer, in the order of RFC 9110, section 13.2.2. validators are those of what
// the client would get, status is the stored one, and length that of the body as it
// would be sent, -1 if that is not known. A request that [Request.MustForward] is not
// to be judged here. Evaluate allocates nothing.
func (r *Request) Evaluate(v *Validators, head bool, status int, length int64) Reply {
	whole := Reply{Status: status}
	if status < 200 || status > 299 {
		return whole // conditions are for what would have succeeded (13.2.1)
	}
	switch {
	case r.noneMatches > 0:
		if r.matchesNone(v) {
			return Reply{Status: fasthttp.StatusNotModified}
		}
	case r.unmodifiedFor(v):
		return Reply{Status: fasthttp.StatusNotModified}
	}
	value, once := r.bytes.get()
	if head || status != fasthttp.StatusOK || length <= 0 || !once || !r.rangeHolds(v) {
		return whole // nor would there be anything to send of an empty body (14.2)
	}
	part, ranges := parseRanges(value, length)
	switch ranges {
	case rangeOne:
		return Reply{fasthttp.StatusPartialContent, part.first, part.length}
	case rangeUnsatisfiable:
		return Reply{Status: fasthttp.StatusRequestedRangeNotSatisfiable}
	}
	return whole
}

// matchesNone reports whether If-None-Match is false, that is, whether it has the
// answer's tag (RFC 9110, 13.1.2). "*" does alone.
func (r *Request) matchesNone(v *Validators) bool {
	lines := r.noneMatch[:r.noneMatches]
	if len(lines) == 1 && string(trimBlanks(lines[0])) == "*" {
		return true
	}
	if v.ETag == "" {
		return false
	}
	own := weakly(v.ETag)
	for _, list := range lines {
		for len(list) > 0 {
			var tag []byte
			tag, list = cutTag(list)
			if len(tag) > 2 && string(tag[:2]) == "W/" {
				tag = tag[2:]
			}
			if len(tag) > 0 && string(tag) == own {
				return true
			}
		}
	}
	return false
}

// unmodifiedFor reports whether If-Modified-Since is false (RFC 9110, 13.1.3). An answer
// without Last-Modified is as old as its Date (RFC 9111, 4.3.2).
func (r *Request) unmodifiedFor(v *Validators) bool {
	value, once := r.modifiedSince.get()
	if !once {
		return false
	}
	modified := v.Modified
	if modified.IsZero() {
		modified = v.Date
	}
	since, ok := parseDate(value, v.Date)
	// Dates have whole seconds; the moment of receipt, if it stands in for one, has not.
	return ok && !modified.IsZero() && !modified.Truncate(time.Second).After(since)
}

// rangeHolds reports whether If-Range lets the range count (RFC 9110, 13.1.5): by the
// strong comparison of tags, or the very same, strong, date.
func (r *Request) rangeHolds(v *Validators) bool {
	if r.ifRange.lines == 0 {
		return true
	}
	value, once := r.ifRange.get()
	if !once {
		return false
	}
	if value = trimBlanks(value); len(value) > 0 && value[0] == '"' {
		return v.hasStrongTag() && string(value) == v.ETag
	}
	date, ok := parseDate(value, v.Date)
	return ok && v.hasStrongDate() && date.Equal(v.Modified)
}
