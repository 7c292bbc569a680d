package cache

import (
	"time"

	"github.com/valyala/fasthttp"
)

// Override is what the owner of a route says about caching there.
type Override struct {
	// TTL, if not 0, is how long answers are fresh from when they came, whatever their
	// max-age, Expires and Age. It holds for the statuses 200, 203, 301, 308, 404 and
	// 410, unless the answer says private, no-store or no-cache, sets a cookie, or is
	// not what its path looks like (see [ReasonMismatch]).
	TTL time.Duration

	// IgnoreClient takes no notice of what visitors ask for as to freshness (no-cache,
	// max-age, min-fresh, max-stale, Pragma), so that nobody can make the origin work
	// by reloading. By default it counts. no-store and only-if-cached always do.
	IgnoreClient bool
}

// Reason is a short word, a token, that says why an answer is not kept, or not used
// without asking the origin; for logs and the detail of Cache-Status.
type Reason string

// Why an answer is not kept.
const (
	ReasonMethod         Reason = "method"           // not an answer to GET
	ReasonStatus         Reason = "status"           // it answers this one request, and not for the resource
	ReasonIncomplete     Reason = "incomplete"       // it is a part, or its end cannot be told from a break
	ReasonAuthorization  Reason = "authorization"    // the request had credentials
	ReasonRequest        Reason = "request-no-store" // the request forbids it
	ReasonSetCookie      Reason = "set-cookie"
	ReasonNoStore        Reason = "no-store"
	ReasonPrivate        Reason = "private"
	ReasonMustUnderstand Reason = "must-understand" // and the status is not understood
	ReasonVary           Reason = "vary"            // no other request could match
	ReasonTags           Reason = "tags"            // more than can be kept

	// ReasonMismatch: the path names a file of a static type (.css, .png), and the
	// answer is a page or data. So a visitor can be lured to /account/x.css, where some
	// sites show the account, and a cache that goes by names keeps it for everybody.
	// Rules by file name can stand at the origin as well, and they add max-age and even
	// public; so what the origin says is not enough: such an answer is kept only if it is
	// fresh by the origin's own word and the origin was sent no cookie by which it could
	// know a visitor. [Override.TTL] never counts for it.
	ReasonMismatch Reason = "mismatch"
)

// Why an answer that may be kept is not used before the origin confirms it.
const (
	ReasonNoFreshness Reason = "no-freshness" // nothing says for how long it is fresh
	ReasonNoCache     Reason = "no-cache"
	ReasonStale       Reason = "stale" // it came stale
)

// Exchange is what is known of a request and its answer besides the answer's head.
type Exchange struct {
	Method  []byte
	Path    []byte   // of the request target, without the query
	Request *Request // nil: it said nothing
	Cookies bool     // the origin was sent cookies, or other headers by which it may know a visitor

	// Incomplete says that the body is not all there, or that nobody can tell whether
	// it is, as with one that ends with its connection.
	Incomplete bool

	Sent, Received time.Time // when the request went out and the head came
}

// Rules say what a shared cache may do with an answer. They are immutable, and
// everything about time is told to their methods. The zero value is not kept.
type Rules struct {
	// Storable says that the answer may be kept, and be used for a while, fresh or
	// stale, without asking.
	Storable bool
	// Revalidatable says that the answer may be kept, and has a validator: once it must
	// not be used as it is, the origin can confirm it.
	Revalidatable bool
	// Reason says why the answer is not Storable.
	Reason Reason

	// Shared says that the origin lets shared caches keep the answer in so many words,
	// whether or not we do, so that it must not be made one visitor's.
	Shared bool
	// MayBePersonal says that the answer is a page or data of which nobody has said that it
	// is the same for everybody: max-age alone is often meant for browsers. It is not for
	// requests with cookies, neither to be made of their answers nor to answer them.
	MayBePersonal bool

	// Control is Cache-Control as it came, though a targeted field may count in its place.
	Control Directives

	// Lifetime is how old the answer gets before it is stale, 0 if nothing says so.
	Lifetime time.Duration
	// InitialAge is how old the answer was when it came (RFC 9111, 4.2.3).
	InitialAge time.Duration
	Received   time.Time

	// The rest is only there if the answer may be kept.
	Validators
	Vary []string // selecting request headers: in lower case, sorted
	Tags []string // sorted

	withinWindows       bool // it may be used stale only as the answer says, whatever else fails
	neverStale          bool // it must not be used stale
	staleWhile, staleIf time.Duration
}

// Kept reports whether there is any use in keeping the answer.
func (r *Rules) Kept() bool { return r.Storable || r.Revalidatable }

// ReadRules finds out what may be done with an answer that has just come. It decides by
// RFC 9111, sections 3 and 4.2, more strictly where Sedge promises more: answers to
// requests with Authorization, and such that set cookies, are never kept. Heuristics
// are not used: without explicit freshness nothing is fresh.
//
// For an answer that a 304 has freshened, h is what [Freshen] made and the exchange
// that of the 304.
func ReadRules(x *Exchange, h *fasthttp.ResponseHeader, o Override) Rules {
	a := readAnswer(h, x.Received)
	r := Rules{
		Received:   x.Received,
		InitialAge: a.initialAge(x.Sent, x.Received),
		Control:    a.control,
		Shared:     a.allowsShared(x.Received),
	}
	if r.Reason = a.forbidden(x); r.Reason != "" {
		return r
	}
	lifetime, explicit := a.lifetime(x.Received)
	if isMismatch(x.Path, h.ContentType()) {
		if lifetime <= 0 || a.policy.NoCache || x.Cookies {
			r.Reason = ReasonMismatch
			return r
		}
	} else if o.TTL > 0 && !a.policy.NoCache && !a.policy.NoStore && overridable(a.status) {
		// Counted from receipt, as age begins with what it was then.
		lifetime, explicit = o.TTL+r.InitialAge, true
	}
	if !explicit && !a.policy.Public && !heuristicallyCacheable(a.status) {
		r.Reason = ReasonNoFreshness // nothing says that it may be kept (section 3)
		return r
	}
	v := ReadValidators(h, x.Received)
	if !explicit && !a.policy.Public && !a.policy.NoCache && v.ETag == "" {
		r.Reason = ReasonNoFreshness // a date may be the same for answers that differ by visitor
		return r
	}
	var varies, tagged bool
	if r.Vary, varies = readVary(h); !varies {
		r.Reason = ReasonVary
		return r
	}
	if r.Tags, tagged = readTags(h); !tagged {
		r.Vary, r.Reason = nil, ReasonTags
		return r
	}
	r.MayBePersonal = !a.control.Public && !a.policy.SharedMaxAge.Given && !a.targeted && o.TTL == 0 && isPageOrData(h.ContentType())
	r.Lifetime = lifetime
	r.Validators = v
	r.limitUse(&a.policy)
	r.conclude(&a, explicit)
	return r
}

// limitUse notes what the directives say about use once the answer is stale.
func (r *Rules) limitUse(d *Directives) {
	r.staleWhile, r.staleIf = d.StaleWhileRevalidate.Duration(), d.StaleIfError.Duration()
	// s-maxage means what proxy-revalidate does to a shared cache (5.2.2.10), unless the
	// answer says in so many words when it may be used stale.
	r.withinWindows = d.SharedMaxAge.Given || r.staleIf > 0
	r.neverStale = d.MustRevalidate || d.ProxyRevalidate || d.SharedMaxAge.Given && r.staleWhile == 0 && r.staleIf == 0
	if d.NoCache {
		r.Lifetime, r.neverStale = 0, true
	}
}

// conclude says whether keeping the answer is of use.
func (r *Rules) conclude(a *answerHead, explicit bool) {
	usable := r.Lifetime
	if !r.neverStale {
		usable += max(r.staleWhile, r.staleIf)
	}
	r.Storable = usable > r.InitialAge
	// Only what would have been a 200 is ever confirmed by a 304 (RFC 9110, 13.2.1).
	r.Revalidatable = !r.isZero() && (a.status == fasthttp.StatusOK || a.status == fasthttp.StatusNonAuthoritativeInfo)
	switch {
	case r.Storable:
	case a.policy.NoCache:
		r.Reason = ReasonNoCache
	case !explicit:
		r.Reason = ReasonNoFreshness
	default:
		r.Reason = ReasonStale
	}
}

// answerHead is the head of an answer, as far as rules depend on it.
type answerHead struct {
	status     int
	control    Directives // Cache-Control
	policy     Directives // what counts: a targeted field, or Cache-Control
	targeted   bool       // Expires does not count
	addressed  bool       // some field speaks to caches of the site's owner
	setsCookie bool
	part       bool

	date    time.Time // zero: none, or an invalid one
	dates   int
	expires time.Time // zero if one is invalid
	expiry  bool      // Expires is there
	age     uint32
	aged    bool // Age is there
}

// readAnswer reads what is needed of a head in one pass.
func readAnswer(h *fasthttp.ResponseHeader, now time.Time) answerHead {
	a := answerHead{status: h.StatusCode()}
	for name, value := range h.All() {
		var buf [longestWord]byte
		switch string(lowered(name, &buf)) {
		case "cache-control":
			a.control.read(value)
		case ownControl, cdnControl:
			a.targeted, a.addressed = true, true
		case "surrogate-control":
			a.addressed = true
		case "set-cookie", "set-cookie2":
			a.setsCookie = true
		case "content-range":
			a.part = true
		case "date":
			a.readDate(value, now)
		case "expires":
			a.readExpires(value, now)
		case "age":
			a.readAge(value)
		}
	}
	a.policy = a.control
	if a.targeted {
		var d Directives
		if d, a.targeted = readTargeted(h); a.targeted {
			a.policy = d
		}
	}
	return a
}

// readDate takes in a line of Date. One that is invalid, or two that differ, are as
// none: the time of receipt counts (RFC 9110, 6.6.1).
func (a *answerHead) readDate(value []byte, now time.Time) {
	date, _ := parseDate(value, now)
	if a.dates++; a.dates > 1 && !date.Equal(a.date) {
		date = time.Time{}
	}
	a.date = date
}

// readExpires takes in a line of Expires. What is no date is in the past (RFC 9111,
// 5.3), and of several the earliest counts.
func (a *answerHead) readExpires(value []byte, now time.Time) {
	expires, _ := parseDate(value, now)
	if !a.expiry || expires.Before(a.expires) {
		a.expires = expires
	}
	a.expiry = true
}

// readAge takes in a line of Age: the first member counts, unless it is no number
// (RFC 9111, 5.1).
func (a *answerHead) readAge(value []byte) {
	member, _ := cutMember(value)
	if a.aged || len(member) == 0 {
		return
	}
	a.aged = true
	if seconds, ok := parseDelta(member); ok {
		a.age = seconds
	}
}

// initialAge is RFC 9111's corrected_initial_age, by the more careful formula of
// section 4.2.3. Dates have whole seconds, so the time of receipt is cut to them:
// otherwise half of all answers would come half a second old.
func (a *answerHead) initialAge(sent, received time.Time) time.Duration {
	corrected := time.Duration(a.age)*time.Second + max(0, received.Sub(sent))
	if a.date.IsZero() {
		return corrected
	}
	apparent := received.Truncate(time.Second).Sub(a.date)
	return max(min(apparent, maxDelta*time.Second), corrected)
}

// lifetime is RFC 9111's freshness_lifetime (section 4.2.1). explicit is false if
// nothing is said of it.
func (a *answerHead) lifetime(received time.Time) (lifetime time.Duration, explicit bool) {
	switch {
	case a.policy.SharedMaxAge.Given:
		return a.policy.SharedMaxAge.Duration(), true
	case a.policy.MaxAge.Given:
		return a.policy.MaxAge.Duration(), true
	case !a.expiry || a.targeted:
		return 0, false
	}
	from := a.date
	if from.IsZero() {
		from = received
	}
	return min(max(0, a.expires.Sub(from)), maxDelta*time.Second), true
}

// allowsShared reports whether any shared cache is told that it may keep the answer.
func (a *answerHead) allowsShared(received time.Time) bool {
	if a.control.Private || a.control.NoStore {
		return a.addressed
	}
	if a.addressed || a.control.Public {
		return true
	}
	lifetime, _ := (&answerHead{policy: a.control, expiry: a.expiry, expires: a.expires, date: a.date}).lifetime(received)
	return lifetime > 0 && !a.control.NoCache
}

// forbidden says why the answer must not be kept, by what can be said of it without
// regard to freshness.
func (a *answerHead) forbidden(x *Exchange) Reason {
	q := x.Request
	switch {
	case string(x.Method) != fasthttp.MethodGet:
		return ReasonMethod
	case !storableStatus(a.status):
		return ReasonStatus
	case x.Incomplete || a.part:
		return ReasonIncomplete
	case q != nil && q.Authorization:
		return ReasonAuthorization
	case q != nil && q.NoStore:
		return ReasonRequest
	case a.setsCookie:
		return ReasonSetCookie
	case a.policy.Private:
		return ReasonPrivate
	case a.policy.MustUnderstand && !understood(a.status):
		return ReasonMustUnderstand
	case a.policy.NoStore && !a.policy.MustUnderstand:
		return ReasonNoStore
	}
	return ""
}

// storableStatus reports whether answers with this status may be kept if they are
// explicitly fresh. Not kept are those that are not final, those that say something of
// one request alone, its condition, range, body, credentials, framing or time, and
// those that must not be kept (RFC 6585).
func storableStatus(status int) bool {
	switch status {
	case 206, 304, 401, 407, 408, 411, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431, 511:
		return false
	}
	return status >= 200 && status <= 599
}

// understood reports whether all that a status demands of caches is done here, as
// must-understand requires (RFC 9111, 5.2.2.3).
func understood(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 406, 409, 410, 414, 415, 422, 451,
		500, 501, 502, 503, 504, 505:
		return true
	}
	return false
}

// heuristicallyCacheable reports whether an answer with this status may be kept without
// a word about freshness (RFC 9110, 15.1, and RFC 7725).
func heuristicallyCacheable(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501:
		return true
	}
	return false
}

// overridable reports whether [Override.TTL] holds for answers with this status:
// nobody wants an error to last for the time that pages do.
func overridable(status int) bool {
	switch status {
	case 200, 203, 301, 308, 404, 410:
		return true
	}
	return false
}

// ReadControl reads the Cache-Control of an answer.
func ReadControl(h *fasthttp.ResponseHeader) (d Directives) {
	for name, value := range h.All() {
		if nameIs(name, "cache-control") {
			d.read(value)
		}
	}
	return d
}
