package proxy

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

type (
	object  = cache.Object[keptRules, *identity, *variant]
	objects = cache.Objects[keptRules, *identity, *variant]
	flights = cache.Flights[keptRules, *identity, *variant]
	flight  = cache.Flight[keptRules, *identity, *variant]
	filling = cache.Filling[keptRules, *identity, *variant]
)

// followTime is how long a request waits for what another one brings.
const followTime = time.Second

// lookup is what the cache knows of a request.
type lookup struct {
	request  cache.Request
	usable   bool // what is kept may answer the request
	storable bool // its answer may be kept
	shared   bool // others may wait for it
	renews   bool // its answer may renew what is kept
	asks     bool // the origin is asked whether stale holds
	ready    bool // the request to the origin is made
	values   []byte
	lines    [][]byte

	found   *object // answers the request
	stale   *object // is to be confirmed by the origin, or serves if that fails
	verdict cache.Verdict
	flight  *flight
	client  *detachable // nil: nobody else reads the answer
	sent    time.Time
	began   uint64 // see [cache.Object.Began]
	status  cache.Status
	again   bool // the origin is to be asked once more, for all of it
	aged    bool // the answer is not as new as the request
	silent  bool // the cache has nothing to do with the answer
}

// consider says whether the cache may be used, and makes the key.
func (x *exchange) consider() {
	l := &x.lookup
	for i := range x.fields {
		l.request.Add(x.fields[i].name, x.fields[i].value)
	}
	l.request.Apply(x.route.cache.override)
	h := &x.ctx.Request.Header
	switch {
	case x.server.objects == nil || x.route.cache.disabled:
		l.silent = !x.concerned
		l.status.Forward = cache.ForwardBypass
	case !x.ctx.IsGet() && !x.ctx.IsHead():
		l.status.Forward = cache.ForwardMethod
	case h.ContentLength() > 0 || h.ContentLength() == -1, l.request.Authorization, l.request.MustForward() && !x.concerned,
		x.route.cache.bypassed(x), x.actsAsAnother():
		l.status.Forward = cache.ForwardBypass
	default:
		l.usable = true
		x.makeKey()
		// What asks for a part, or about a copy, goes to the origin as it is. Of pages that
		// may be edited the origin is asked for all: the client's copies are ours.
		ours := x.concerned && x.kind.explicit
		l.renews = !l.request.NoStore && !x.steers()
		l.storable = x.ctx.IsGet() && l.renews && (ours || len(x.header("Range")) == 0)
		l.began = x.server.objects.Sequence()
		l.shared = l.storable && (ours || !l.request.IsConditional())
	}
}

// makeKey gathers all that the origin's answer depends on, save what Vary names. The
// parts are parted by NUL, which none of them can hold.
func (x *exchange) makeKey() {
	x.chooseTarget()
	key := append(x.key[:0], x.route.upstream.Identity()...)
	key = append(key, 0)
	key = append(key, x.scheme...)
	key = append(key, 0)
	key = append(key, x.host...)
	key = append(key, 0)
	key = x.appendTarget(key)
	if x.concerned && x.kind.explicit { // origins that answer a script otherwise than a visit need not say so
		key = append(key, 0, 1)
	}
	if x.plan != nil {
		for _, header := range x.plan.Action.Headers {
			key = append(key, 0)
			key = append(key, header[0]...)
			key = append(key, ':')
			key = append(key, header[1]...)
		}
	}
	x.key = key
}

// chooseTarget leaves out of the target what the route's answers do not depend on. Then
// the origin does not see it either: what it made of it would be shown to others.
func (x *exchange) chooseTarget() {
	if !x.route.cache.selects() || x.page.Query == "" {
		return
	}
	_, raw, _ := splitTarget(x.ctx.Request.Header.RequestURI())
	path := cmp.Or(string(raw), "/")
	if x.plan != nil && x.plan.Action.Path != "" {
		path = x.plan.Action.Path
	}
	x.target = x.route.cache.target(path, x.page.Query)
}

// appendTarget appends the request target as the origin gets it.
func (x *exchange) appendTarget(dst []byte) []byte {
	if x.target != "" {
		return append(dst, x.target...)
	}
	if x.plan != nil && x.plan.Action.Path != "" {
		dst = append(dst, x.plan.Action.Path...)
		if x.page.Query != "" {
			dst = append(append(dst, '?'), x.page.Query...)
		}
		return dst
	}
	return append(dst, x.ctx.Request.Header.RequestURI()...)
}

// overriding are headers by which some origins take a request for another one, although
// nothing in their answers says so. A request with one of them is the origin's alone.
var overriding = newFieldNames(
	"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method", "X-Original-URL", "X-Rewrite-URL",
	"X-Original-URI", "X-Rewrite-URI",
)

// steering are headers that some origins write into their answers, although nothing says
// so. The answer to a request with one of them is not kept, as others might be led astray
// by it. Those that name the client or how it came are written by ourselves.
var steering = newFieldNames(
	"X-Host", "X-Original-Host", "X-HTTP-Host-Override", "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Port",
	"X-Forwarded-Scheme", "X-Forwarded-SSL", "X-Scheme", "X-URL-Scheme", "X-Forwarded-URI", "X-Forwarded-URL", "X-WAP-Profile", "Max-Forwards",
	"True-Client-IP", "CF-Connecting-IP", "Client-IP", "X-Client-IP", "X-Real-IP", "X-Cluster-Client-IP", "Fastly-Client-IP", "X-Originating-IP",
	"X-Remote-IP", "X-Remote-Addr", "X-ProxyUser-IP", "X-Custom-IP-Authorization", "X-Backend-Host", "Destination", "Proxy-Host", "Profile",
	"X-Forwarded", "If-Range",

	// What frameworks obey that take a proxy for their own.
	"X-Invoke-Path", "X-Invoke-Query", "X-Invoke-Output", "X-Invoke-Status", "X-Matched-Path", "X-Now-Route-Matches",
	"X-Middleware-Prefetch", "X-Middleware-Rewrite", "X-Middleware-Subrequest",
)

const (
	// usualHead and usualFields are how large a request's head is at most, without its
	// cookies, and how many fields it has, that cannot make the origin answer by an error
	// that says so only to this request.
	usualHead   = 8 << 10
	usualFields = 64
)

const (
	// plainHead and plainFields are how large the whole head of a request is at most, and how
	// many fields it has, that no origin fails by.
	plainHead   = 4 << 10
	plainFields = 48
)

// failing are how the names of headers begin by which some origins, as stores of files and
// frameworks, are told what to do, and which they fail by in a request of somebody who
// may not.
var failing = [...]string{"X-Amz-", "X-Goog-", "X-Ms-", "X-Oss-", "X-Middleware-", "X-Nextjs-", "X-Invoke-", "X-Matched-Path", "X-Http-", "X-Method"}

// isOdd reports whether the request could make the origin fail where others would not: by
// its size, by bytes that nobody sends, or by a header that some origins obey.
func (x *exchange) isOdd() bool {
	size := len(x.ctx.Request.Header.RequestURI())
	for i := range x.fields {
		f := &x.fields[i]
		size += len(f.name) + len(f.value) + 4
		if !isFieldText(f.value) {
			return true
		}
		for _, beginning := range failing {
			if len(f.name) >= len(beginning) && equalFold(f.name[:len(beginning)], beginning) {
				return true
			}
		}
	}
	return size > plainHead || len(x.fields) > plainFields
}

// actsAsAnother reports whether the request may be taken for another one.
func (x *exchange) actsAsAnother() bool {
	for i := range x.fields {
		if overriding.has(x.fields[i].name) {
			return true
		}
	}
	return false
}

// steers reports whether the request could put something into an answer that others get.
func (x *exchange) steers() bool {
	size := len(x.ctx.Request.Header.RequestURI())
	for i := range x.fields {
		f := &x.fields[i]
		if steering.has(f.name) {
			return true
		}
		if !equalFold(f.name, fasthttp.HeaderCookie) {
			size += len(f.name) + len(f.value) + 4
		}
	}
	return size > usualHead || len(x.fields) > usualFields || x.trusted && x.misleads()
}

// misleads reports whether what a trusted proxy has passed on of the client's way is
// none that it could have made itself.
func (x *exchange) misleads() bool {
	for i := range x.fields {
		f := &x.fields[i]
		switch {
		case equalFold(f.name, "X-Forwarded-Proto"):
			if !equalFold(f.value, "http") && !equalFold(f.value, "https") {
				return true
			}
		case equalFold(f.name, "X-Forwarded-For"):
			for list := f.value; len(list) > 0; {
				var item []byte
				item, list, _ = bytes.Cut(list, []byte{','})
				if _, err := netip.ParseAddr(string(trimSpace(item))); err != nil {
					return true
				}
			}
		case equalFold(f.name, "X-Forwarded-Host"): // it is in the key if it counts
			if !isAuthority(f.value) {
				return true
			}
		case equalFold(f.name, "Forwarded"):
			for list := f.value; len(list) > 0; {
				var pair []byte
				if at := bytes.IndexAny(list, ",;"); at < 0 {
					pair, list = list, nil
				} else {
					pair, list = list[:at], list[at+1:]
				}
				if !isPlainForwarded(trimSpace(pair)) {
					return true
				}
			}
		}
	}
	return false
}

// isPlainForwarded reports whether a pair of Forwarded (RFC 7239, section 4) says only what
// is no part of a page: an address, or a scheme that there is.
func isPlainForwarded(pair []byte) bool {
	name, value, _ := bytes.Cut(pair, []byte{'='})
	value = bytes.Trim(value, `"`)
	switch {
	case equalFold(name, "proto"):
		return equalFold(value, "http") || equalFold(value, "https")
	case equalFold(name, "for"), equalFold(name, "by"):
		if equalFold(value, "unknown") {
			return true
		}
		_, err := netip.ParseAddrPort(string(value))
		if err != nil {
			_, err = netip.ParseAddr(string(bytes.Trim(value, "[]")))
		}
		return err == nil
	}
	return len(pair) == 0
}

// selecting returns what the request to the origin has in the named headers.
func (x *exchange) selecting(names []string) []byte {
	l := &x.lookup
	if !l.ready {
		if asked := x.forcedEncoding(); asked != "" && len(names) == 1 && names[0] == "accept-encoding" {
			l.lines = append(l.lines[:0], []byte(asked))
			l.values = cache.AppendSelecting(l.values[:0], names[0], l.lines)
			return l.values // as most pages vary by nothing else, and need no request then
		}
		x.prepare()
	}
	l.values, l.lines = appendSelecting(l.values[:0], l.lines, x.out, names)
	return l.values
}

func appendSelecting(dst []byte, lines [][]byte, req *fasthttp.Request, names []string) ([]byte, [][]byte) {
	for _, name := range names {
		lines = lines[:0]
		for key, value := range req.Header.All() {
			if equalFold(key, name) {
				lines = append(lines, value)
			}
		}
		dst = cache.AppendSelecting(dst, name, lines)
	}
	return dst, lines
}

// find looks for a kept answer to the request. It reports true if there is one that may
// be used.
func (x *exchange) find() bool {
	l := &x.lookup
	l.stale = nil // it may have been purged since
	o, known := x.server.objects.Get(x.key, x.selectFunc)
	if o == nil {
		l.status.Forward = cache.ForwardURIMiss
		if known {
			l.status.Forward = cache.ForwardVaryMiss
		}
		return false
	}
	return x.judge(o)
}

// judge says what a kept answer may do for the request, and uses it if that is possible.
func (x *exchange) judge(o *object) bool {
	l := &x.lookup
	if x.isSomebodys(o) {
		return false
	}
	now := x.server.now()
	l.verdict = o.Rules.At(now, &l.request)
	if o.PurgedSoftly() {
		expired := o.Rules.Expire(o.Stored)
		l.verdict = expired.At(now, &l.request)
	}
	l.status.Forward = l.verdict.Forward
	if l.verdict.Use == cache.UseValidate {
		l.stale = o
		return false
	}
	if x.isReady(o) {
		l.take(o)
	} else {
		x.use(o)
	}
	if l.verdict.Refresh && l.renews {
		x.refresh(o)
	}
	return true
}

// isSomebodys reports whether the answer to this request may be another one than what is
// kept, as it has cookies or the like. Then it is not kept, and nobody waits for it.
func (x *exchange) isSomebodys(o *object) bool {
	if !o.Rules.MayBePersonal || !o.Rules.MayDiffer(x.knownBy()) {
		return false
	}
	l := &x.lookup
	l.status.Forward, l.storable, l.shared = cache.ForwardBypass, false, false
	return true
}

// knowing are headers by which origins know a visitor, beside Authorization.
var knowing = [...]string{
	"cookie", "x-api-key", "api-key", "x-api-token", "x-auth-token", "x-auth-key", "x-access-token", "access-token",
	"x-session-token", "x-session-id", "x-user-token", "x-user-id", "x-customer-token",
}

// knownBy returns the headers by which the origin may know the visitor; none for most
// requests without cookies. The request to the origin need not be made for it.
func (x *exchange) knownBy() (names []string) {
	for i := range x.fields {
		f := &x.fields[i]
		if name := knowingName(f.name); name != nil && (name[0] != "cookie" || x.tellsByCookies(f.value)) {
			names = append(name, names...)
		}
	}
	if x.plan != nil {
		for _, header := range x.plan.Action.Headers {
			names = append(knowingName([]byte(header[0])), names...)
		}
	}
	return names
}

// knowingName returns the header's name alone if it is one of those, without allocating.
func knowingName(name []byte) []string {
	for i, by := range knowing {
		if equalFold(name, by) {
			return knowing[i : i+1 : i+1]
		}
	}
	return nil
}

// tellsByCookies reports whether the origin sees a cookie by which it may know the visitor.
func (x *exchange) tellsByCookies(line []byte) bool {
	for name := range cookieNames(line) {
		if !slices.Contains(x.site.cookieNames, string(name)) && !x.route.cache.harmless.has(name) {
			return true
		}
	}
	return false
}

func (l *lookup) take(o *object) {
	l.found, l.status.HasTTL, l.status.TTL = o, true, l.verdict.TTL
}

// use makes a kept answer the one to this request.
func (x *exchange) use(o *object) {
	x.useHead(o)
	x.ctx.Response.Header.SetContentLength(len(o.Body))
	x.from = &keptSource{o.Body}
}

// useHead does so with all but the body, which may still be on its way.
func (x *exchange) useHead(o *object) {
	l := &x.lookup
	l.take(o)
	resp := &x.ctx.Response
	o.Header.CopyTo(&resp.Header)
	l.aged = true
	x.setAge(&resp.Header)
}

// setAge tells how old a kept answer is.
func (x *exchange) setAge(h *fasthttp.ResponseHeader) {
	if x.lookup.aged {
		x.scratch = cache.AppendAge(x.scratch[:0], x.lookup.verdict.Age)
		h.SetBytesV(fasthttp.HeaderAge, x.scratch)
	}
}
