package cache

import (
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// maxInvalidated bounds the further targets that one answer invalidates.
const maxInvalidated = 8

// IsSafe reports whether requests with this method change nothing at the origin
// (RFC 9110, 9.2.1, and the registry of methods). A method that is not known may.
func IsSafe(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH":
		return true
	}
	return false
}

// Invalidates reports whether an answer of this status, to a request with this method,
// invalidates what is stored for the target (RFC 9111, 4.4).
func Invalidates(method []byte, status int) bool {
	return !IsSafe(method) && status >= 200 && status < 400
}

// InvalidatedTargets returns the targets, paths with queries, that an answer which
// [Invalidates] names in Location and Content-Location, beside the request's own. Those
// of another origin than the request's are left out, so that no site can empty the cache
// of another.
func InvalidatedTargets(scheme, host, target string, h *fasthttp.ResponseHeader) []string {
	base, err := url.Parse(scheme + "://" + host + target)
	if err != nil {
		return nil
	}
	var targets []string
	for name, value := range h.All() {
		if !nameIs(name, "location") && !nameIs(name, "content-location") || len(targets) == maxInvalidated {
			continue
		}
		at, err := base.Parse(string(value))
		if err != nil || !sameOrigin(at, base) {
			continue
		}
		named := at.EscapedPath()
		if named == "" {
			named = "/"
		}
		if at.RawQuery != "" || at.ForceQuery {
			named += "?" + at.RawQuery
		}
		if named != target && !slices.Contains(targets, named) {
			targets = append(targets, named)
		}
	}
	return targets
}

// sameOrigin compares scheme, host and port (RFC 9110, 4.3.1).
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
