package proxy

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"
)

// cacheControl is what an answer says about being stored.
type cacheControl struct {
	present                          bool
	public, private, noStore         bool
	noCache, noTransform, mustRevali bool
	maxAge, sMaxAge                  time.Duration // -1: not given
}

// parseCacheControl reads all Cache-Control lines of an answer. A directive that
// cannot be understood counts as the strictest that it could be.
func parseCacheControl(h *fasthttp.ResponseHeader) cacheControl {
	c := cacheControl{maxAge: -1, sMaxAge: -1}
	for name, value := range h.All() {
		if equalFold(name, fasthttp.HeaderCacheControl) {
			c.read(value)
		}
	}
	return c
}

func (c *cacheControl) read(list []byte) {
	c.present = true
	for len(list) > 0 {
		item, rest := cutDirective(list)
		list = rest
		name, value, _ := bytes.Cut(trimSpace(item), []byte{'='})
		name = trimSpace(name)
		switch {
		case equalFold(name, "public"):
			c.public = true
		case equalFold(name, "private"):
			c.private = true
		case equalFold(name, "no-store"):
			c.noStore = true
		case equalFold(name, "no-cache"):
			c.noCache = true
		case equalFold(name, "no-transform"):
			c.noTransform = true
		case equalFold(name, "must-revalidate"), equalFold(name, "proxy-revalidate"):
			c.mustRevali = true
		case equalFold(name, "max-age"):
			c.maxAge = seconds(value, c.maxAge)
		case equalFold(name, "s-maxage"):
			c.sMaxAge = seconds(value, c.sMaxAge)
		}
	}
}

// cutDirective cuts at the next comma that is not inside a quoted string.
func cutDirective(list []byte) (item, rest []byte) {
	quoted := false
	for i, b := range list {
		switch {
		case b == '"':
			quoted = !quoted
		case b == ',' && !quoted:
			return list[:i], list[i+1:]
		}
	}
	return list, nil
}

// seconds reads a delta; of two the smaller counts, and nonsense is stale.
func seconds(value []byte, before time.Duration) time.Duration {
	value = bytes.Trim(trimSpace(value), `"`)
	n := time.Duration(0)
	for _, b := range value {
		if b < '0' || b > '9' {
			return 0
		}
		if n = n*10 + time.Duration(b-'0'); n > 1<<31 {
			n = 1 << 31
		}
	}
	n *= time.Second
	if before >= 0 {
		return min(n, before)
	}
	return n
}

// sharedLifetime returns for how long a shared cache may use the answer because
// the origin says so outright; 0 for anything less than that.
func (c *cacheControl) sharedLifetime() time.Duration {
	switch {
	case c.private, c.noStore, c.noCache:
		return 0
	case c.sMaxAge >= 0:
		return c.sMaxAge
	}
	return max(c.maxAge, 0)
}

// allowsShared reports whether the origin lets shared caches keep the answer
// explicitly, so that no visitor's cookie may be in it.
func allowsShared(c *cacheControl, h *fasthttp.ResponseHeader, now time.Time) bool {
	if c.private || c.noStore {
		return false
	}
	if c.public || c.sharedLifetime() > 0 || c.sMaxAge > 0 {
		return true
	}
	for _, name := range [...]string{"CDN-Cache-Control", "Surrogate-Control"} {
		if len(h.Peek(name)) > 0 {
			return true
		}
	}
	if c.present {
		return false // Cache-Control overrules Expires
	}
	expires, err := fasthttp.ParseHTTPDate(h.Peek(fasthttp.HeaderExpires))
	return err == nil && expires.After(now)
}

// wantsFresh reports whether the request asks not to be answered from a cache.
func wantsFresh(x *exchange) (refresh, noStore bool) {
	list := x.header(fasthttp.HeaderCacheControl)
	if list == nil {
		return hasToken(x.header(fasthttp.HeaderPragma), "no-cache"), false
	}
	c := cacheControl{maxAge: -1, sMaxAge: -1}
	c.read(list)
	return c.noCache || c.maxAge == 0, c.noStore
}

// age returns the age that the answer had when it came.
func age(h *fasthttp.ResponseHeader, now time.Time) time.Duration {
	apparent := time.Duration(0)
	if date, err := fasthttp.ParseHTTPDate(h.Peek(fasthttp.HeaderDate)); err == nil {
		apparent = max(0, now.Sub(date))
	}
	if value := h.Peek(fasthttp.HeaderAge); len(value) > 0 {
		return max(apparent, seconds(value, -1))
	}
	return apparent
}
