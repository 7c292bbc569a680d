package cache

import (
	"bytes"
	"slices"
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

	// CookiesNamed says that the owner knows by which cookies the site knows people, so
	// that what is kept for TTL is the same for all others; see [Rules.MayBePersonal].
	CookiesNamed bool

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
	ReasonIncomplete     Reason = "incomplete"       // its end cannot be told from a break
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
	Known   []string // headers that the origin was sent and may know a visitor by, such as cookies; in lower case

	// Odd says that there is something in the request by which it alone may have made the
	// origin fail.
	Odd bool

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
	// MayBePersonal says that the answer is of no type that files have alone, as images and
	// scripts, and nobody has said that it is the same for everybody: max-age alone is often
	// meant for browsers. See [Rules.IsSomebodys] and [Rules.MayDiffer].
	MayBePersonal bool

	// Control is Cache-Control as it came, though a targeted field may count in its place.
	Control Directives

	// Lifetime is how old the answer gets before it is stale, 0 if nothing says so.
	Lifetime time.Duration
	Received time.Time

	// The rest is only there if the answer may be kept.

	// InitialAge is how old the answer was when it came (RFC 9111, 4.2.3).
	InitialAge time.Duration
	Validators
	Vary []string // selecting request headers: in lower case, sorted
	Tags []string // sorted

	plainText           bool // it is text/plain
	withinWindows       bool // it may be used stale only as the answer says, whatever else fails
	neverStale          bool // it must not be used stale
	staleWhile, staleIf time.Duration
}

// Kept reports whether there is any use in keeping the answer.
func (r *Rules) Kept() bool { return r.Storable || r.Revalidatable }

// IsSomebodys reports whether the answer must not be kept of a request that has the known
// headers (see [Exchange.Known]), since it may be one visitor's.
// A header that Vary names is none: requests that differ in it do not share anything.
func (r *Rules) IsSomebodys(known []string) bool {
	if r.MayBePersonal {
		for _, name := range known {
			if !slices.Contains(r.Vary, name) {
				return true
			}
		}
	}
	return false
}

// MayDiffer reports whether a request that has the known headers may have another answer
// than this one, which was kept of others, and so does not get it. Plain text, as in
// robots.txt, is the same for all if the origin lets it be kept.
func (r *Rules) MayDiffer(known []string) bool { return !r.plainText && r.IsSomebodys(known) }

// ReadRules finds out what may be done with an answer that has just come. It decides by
// RFC 9111, sections 3 and 4.2, more strictly where Sedge promises more: answers to
// requests with Authorization, and such that set cookies, are never kept. Heuristics
// are not used: without explicit freshness nothing is fresh.
//
// For an answer that a 304 has freshened, h is what [Freshen] made and the exchange
// that of the 304.
func ReadRules(x *Exchange, h *fasthttp.ResponseHeader, o Override) Rules {
	a := answerHead{received: x.Received}
	a.read(h)
	r := Rules{
		Received: x.Received,
		Control:  a.control,
		Shared:   a.allowsShared(),
	}
	if r.Reason = a.forbidden(x); r.Reason != "" {
		return r
	}
	lifetime, explicit := a.lifetime()
	if isMismatch(x.Path, h.ContentType()) {
		if lifetime <= 0 || a.policy.NoCache || len(x.Known) > 0 {
			r.Reason = ReasonMismatch
			return r
		}
	} else if a.overridden(o) {
		// Counted from receipt, as age begins with what it was then.
		lifetime, explicit = o.TTL+a.initialAge(x.Sent), true
	}
	if !explicit && !a.policy.Public && !heuristicallyCacheable(a.status) {
		r.Reason = ReasonNoFreshness // nothing says that it may be kept (section 3)
		return r
	}
	if !explicit && !a.policy.Public && !a.policy.NoCache && len(a.tag) == 0 {
		r.Reason = ReasonNoFreshness // a date may be the same for answers that differ by visitor
		return r
	}
	var ok bool
	if a.varies {
		if r.Vary, ok = readVary(h); !ok {
			r.Reason = ReasonVary
			return r
		}
	}
	if a.tagged {
		if r.Tags, ok = readTags(h); !ok {
			r.Vary, r.Reason = nil, ReasonTags
			return r
		}
	}
	r.MayBePersonal = !a.control.Public && !a.policy.SharedMaxAge.Given && !a.targeted && !(o.TTL > 0 && o.CookiesNamed) && !isAsset(h.ContentType())
	r.plainText = isPlainText(h.ContentType())
	r.Lifetime, r.InitialAge = lifetime, a.initialAge(x.Sent)
	r.Validators = a.validators()
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

// MayBeStorable reports whether [ReadRules] can find an answer with this head to be
// Storable, whatever the exchange. It costs little, and is for those who have no use for
// any other answer.
func MayBeStorable(h *fasthttp.ResponseHeader, o Override) bool {
	var a answerHead
	a.read(h)
	d := &a.policy
	switch {
	case !storableStatus(a.status), a.setsCookie, d.Private, d.NoStore && !d.MustUnderstand, d.NoCache:
		return false
	case a.overridden(o), d.StaleWhileRevalidate.Seconds > 0, d.StaleIfError.Seconds > 0:
		return true
	case d.SharedMaxAge.Given:
		return d.SharedMaxAge.Seconds > 0
	case d.MaxAge.Given:
		return d.MaxAge.Seconds > 0
	}
	return a.expiry && !a.targeted
}

// answerHead is the head of an answer, as far as rules depend on it. Dates are read when
// they are asked for, since most answers are judged without.
type answerHead struct {
	status     int
	received   time.Time
	control    Directives // Cache-Control
	policy     Directives // what counts: a targeted field, or Cache-Control
	targeted   bool       // Expires does not count
	addressed  bool       // some field speaks to caches of the site's owner
	setsCookie bool
	varies     bool // Vary is there
	tagged     bool // there are tags to purge by

	age     uint32
	aged    bool   // Age is there
	expiry  bool   // Expires is there
	expires []byte // the line of Expires that counts
	tag     []byte // the ETag; nil for none, or two that differ
	tags    int    // lines of ETag

	modified []byte    // the line of Last-Modified that counts
	dateLine []byte    // the first line of Date
	dates    int       // lines of Date
	dated    bool      // date is read
	date     time.Time // see made
}

// read reads what is needed of a head in one pass, and points into it from then on.
func (a *answerHead) read(h *fasthttp.ResponseHeader) {
	a.status = h.StatusCode()
	for name, value := range h.All() {
		switch len(name) {
		case len("age"):
			if nameIs(name, "age") {
				a.readAge(value)
			}
		case len("date"): // and "etag", "vary"
			switch {
			case nameIs(name, "date"):
				a.readDate(value)
			case nameIs(name, "etag"):
				a.readTag(value)
			case nameIs(name, "vary"):
				a.varies = true
			}
		case len("expires"):
			if nameIs(name, "expires") {
				a.readExpires(value)
			}
		case len("cache-tag"):
			a.tagged = a.tagged || nameIs(name, "cache-tag")
		case len("set-cookie"):
			a.setsCookie = a.setsCookie || nameIs(name, "set-cookie")
		case len("set-cookie2"):
			a.setsCookie = a.setsCookie || nameIs(name, "set-cookie2")
		case len("cache-control"): // and "last-modified", "surrogate-key"
			switch {
			case nameIs(name, "cache-control"):
				a.control.read(value)
			case nameIs(name, "last-modified"):
				a.readModified(value)
			case nameIs(name, "surrogate-key"):
				a.tagged = true
			}
		case len(cdnControl): // and "surrogate-control"
			if nameIs(name, cdnControl) {
				a.targeted, a.addressed = true, true
			} else if nameIs(name, "surrogate-control") {
				a.addressed = true
			}
		case len(ownControl):
			if nameIs(name, ownControl) {
				a.targeted, a.addressed = true, true
			}
		}
	}
	a.policy = a.control
	if a.targeted {
		var d Directives
		if d, a.targeted = readTargeted(h); a.targeted {
			a.policy = d
		}
	}
}

// readDate takes in a line of Date. One that is invalid, or two that differ, are as
// none: the time of receipt counts (RFC 9110, 6.6.1).
func (a *answerHead) readDate(value []byte) {
	if a.dates++; a.dates == 1 {
		a.dateLine = value
		return
	}
	if date, _ := parseDate(value, a.received); !date.Equal(a.made()) {
		a.date = time.Time{}
	}
}

// made returns when the origin made the answer by its Date, zero if that says nothing.
func (a *answerHead) made() time.Time {
	if !a.dated {
		a.dated = true
		a.date, _ = parseDate(a.dateLine, a.received)
	}
	return a.date
}

// readExpires takes in a line of Expires. What is no date is in the past (RFC 9111,
// 5.3), and of several the earliest counts.
func (a *answerHead) readExpires(value []byte) {
	if a.expiry {
		before, _ := parseDate(a.expires, a.received)
		if expires, _ := parseDate(value, a.received); !expires.Before(before) {
			return
		}
	}
	a.expires, a.expiry = value, true
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

// readTag takes in a line of ETag. Of two that differ nobody knows which one holds.
func (a *answerHead) readTag(value []byte) {
	if a.tags++; a.tags > 1 && !bytes.Equal(a.tag, value) {
		value = nil
	}
	a.tag = value
}

// readModified takes in a line of Last-Modified: the first that is a date counts.
func (a *answerHead) readModified(value []byte) {
	if a.modified != nil {
		if _, ok := parseDate(a.modified, a.received); ok {
			return
		}
	}
	a.modified = value
}

// validators returns what tells this version of the answer from others.
func (a *answerHead) validators() Validators {
	v := Validators{ETag: string(a.tag), Date: a.made()}
	if v.Date.IsZero() {
		v.Date = a.received
	}
	if modified, ok := parseDate(a.modified, a.received); ok {
		v.LastModified, v.Modified = string(a.modified), modified
	}
	return v
}

// initialAge is RFC 9111's corrected_initial_age, by the more careful formula of
// section 4.2.3. Dates have whole seconds, so the time of receipt is cut to them:
// otherwise half of all answers would come half a second old.
func (a *answerHead) initialAge(sent time.Time) time.Duration {
	corrected := time.Duration(a.age)*time.Second + max(0, a.received.Sub(sent))
	made := a.made()
	if made.IsZero() {
		return corrected
	}
	apparent := a.received.Truncate(time.Second).Sub(made)
	return max(min(apparent, maxDelta*time.Second), corrected)
}

// lifetime is RFC 9111's freshness_lifetime (section 4.2.1). explicit is false if
// nothing is said of it.
func (a *answerHead) lifetime() (lifetime time.Duration, explicit bool) {
	return a.lifetimeBy(&a.policy, a.expiry && !a.targeted)
}

// lifetimeBy is the lifetime by some directives, and by Expires if that counts.
func (a *answerHead) lifetimeBy(d *Directives, expires bool) (lifetime time.Duration, explicit bool) {
	switch {
	case d.SharedMaxAge.Given:
		return d.SharedMaxAge.Duration(), true
	case d.MaxAge.Given:
		return d.MaxAge.Duration(), true
	case !expires:
		return 0, false
	}
	from := a.made()
	if from.IsZero() {
		from = a.received
	}
	until, _ := parseDate(a.expires, a.received)
	return min(max(0, until.Sub(from)), maxDelta*time.Second), true
}

// overridden reports whether [Override.TTL] is how long the answer is fresh, if its path
// does not speak against it.
func (a *answerHead) overridden(o Override) bool {
	return o.TTL > 0 && !a.policy.NoCache && !a.policy.NoStore && overridable(a.status)
}

// allowsShared reports whether any shared cache is told that it may keep the answer.
func (a *answerHead) allowsShared() bool {
	if a.control.Private || a.control.NoStore {
		return a.addressed
	}
	if a.addressed || a.control.Public {
		return true
	}
	if a.control.NoCache {
		return false
	}
	lifetime, _ := a.lifetimeBy(&a.control, a.expiry)
	return lifetime > 0
}

// forbidden says why the answer must not be kept, by what can be said of it without
// regard to freshness.
func (a *answerHead) forbidden(x *Exchange) Reason {
	q := x.Request
	switch {
	case string(x.Method) != fasthttp.MethodGet:
		return ReasonMethod
	case !storableStatus(a.status), x.Odd && isAccident(a.status):
		return ReasonStatus
	case x.Incomplete:
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
// one request alone, its condition, range, body, credentials, wishes, framing or time, and
// those that must not be kept (RFC 6585).
func storableStatus(status int) bool {
	switch status {
	case 206, 304, 401, 402, 406, 407, 409, 415, 422, 423, 424, 511:
		return false
	}
	return status >= 200 && status <= 599 && !refusesRequest(status)
}

// refusesRequest reports whether an answer with this status is about how or when it was
// asked, and tells nothing of what is there.
func refusesRequest(status int) bool {
	switch status {
	case 408, 411, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431:
		return true
	}
	return false
}

// isAccident reports whether an odd request may get this status where others get an
// answer: so can whoever likes make an origin fail for everybody. That a page is not there,
// or not any more, is hardly said of a header.
func isAccident(status int) bool {
	switch status {
	case 404, 410, 414, 451:
		return false
	}
	return status >= 400
}

// TellsNothing reports whether an answer with this status says nothing of whether an older
// one still holds, so that this is left alone: the origin failed, or did not like how or
// when it was asked.
func (x *Exchange) TellsNothing(status int) bool {
	return status >= 500 || refusesRequest(status) || x.Odd && isAccident(status)
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
