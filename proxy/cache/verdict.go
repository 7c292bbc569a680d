package cache

import (
	"strconv"
	"time"
)

// Use says what becomes of a request for which there is a stored answer.
type Use byte

const (
	// UseValidate: the origin has to be asked, with [Validators.AppendConditions].
	UseValidate Use = iota
	// UseFresh: the answer is fresh, and answers the request.
	UseFresh
	// UseStale: the answer is stale, and may answer the request all the same.
	UseStale
)

// Verdict says what a stored answer may do for one request at one moment.
type Verdict struct {
	Use Use

	// Forward is why the origin has to be asked: [ForwardRequest] if only this request
	// wants it, else [ForwardStale]; [ForwardNone] if it need not.
	Forward Forward

	// Refresh says that the origin should be asked while the answer is used
	// (stale-while-revalidate).
	Refresh bool

	// OnError says that the answer may be used if the origin fails with a status of
	// 500, 502, 503 or 504, or cannot be reached (RFC 5861, section 4).
	OnError bool
	// OnDisconnect says that the answer may be used if the origin cannot be reached,
	// for which nobody's permission is needed (RFC 9111, 4.2.4). There is no bound to
	// how stale it is.
	OnDisconnect bool

	// Age is how old the answer is, and TTL for how long it is still fresh, which is
	// negative if it is stale.
	Age, TTL time.Duration
}

// At says what the answer may do for a request. It allocates nothing.
func (r *Rules) At(now time.Time, q *Request) Verdict {
	age := r.InitialAge + max(0, now.Sub(r.Received))
	v := Verdict{Forward: ForwardStale, Age: age, TTL: r.Lifetime - age}
	// max-age=0 is how a browser reloads, whatever the clock says.
	old := q.maxAge.Given && (q.maxAge.Seconds == 0 || age > q.maxAge.Duration())
	if v.TTL > 0 {
		soon := q.minFresh.Given && v.TTL < q.minFresh.Duration()
		v.OnError = !q.wantsValidation() // a wish for fresher answers yields to an error
		v.OnDisconnect = v.OnError
		v.Forward = ForwardRequest
		if v.OnError && !old && !soon {
			v.Use, v.Forward = UseFresh, ForwardNone
		}
		return v
	}
	if r.neverStale || q.wantsValidation() || !r.Kept() {
		return v
	}
	staleness := -v.TTL
	asked := q.maxStale.Given && !old && !q.minFresh.Given && staleness <= q.maxStale.Duration()
	v.Refresh = !q.wantsFresh() && r.staleWhile > 0 && staleness <= r.staleWhile
	if asked || v.Refresh {
		v.Use, v.Forward = UseStale, ForwardNone
	}
	// Freshness, as the request may want it, is no matter here: "regardless of other
	// freshness information" (RFC 5861, section 4).
	v.OnError = v.Use == UseStale || r.staleIf > 0 && staleness <= r.staleIf ||
		q.staleIfError.Given && staleness <= q.staleIfError.Duration()
	v.OnDisconnect = v.OnError || !q.wantsFresh() && !r.withinWindows
	return v
}

// Expire returns the rules of an answer that is to be stale from a moment on: its URL
// was purged softly, or an answer to HEAD shows that it has changed (RFC 9111, 4.3.5).
func (r *Rules) Expire(at time.Time) Rules {
	expired := *r
	expired.Lifetime = min(r.Lifetime, r.InitialAge+max(0, at.Sub(r.Received)))
	return expired
}

// Size returns the bytes in memory that the rules hold beside themselves.
func (r *Rules) Size() int {
	size := len(r.ETag) + len(r.LastModified)
	for _, list := range [...][]string{r.Vary, r.Tags} {
		size += cap(list) * 16
		for _, s := range list {
			size += len(s)
		}
	}
	return size
}

// AppendAge appends the value of Age (RFC 9111, 5.1).
func AppendAge(dst []byte, age time.Duration) []byte {
	return strconv.AppendInt(dst, min(wholeSeconds(max(0, age)), maxDelta), 10)
}

// wholeSeconds rounds down, so that what is stale by less than a second is -1.
func wholeSeconds(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d%time.Second < 0 {
		seconds--
	}
	return seconds
}
