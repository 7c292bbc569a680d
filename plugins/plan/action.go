package plan

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
)

const (
	maxTarget      = 2048 // bytes of a redirect or path
	maxHeaderValue = 4096
)

// checkAction reports whether a request action can be done.
func checkAction(a *decision.Action) error {
	switch {
	case a.Redirect != "" && a.Path != "":
		return errors.New("action: either redirect or path")
	case a.Redirect == "" && a.Status != 0:
		return errors.New("action: a status needs a redirect")
	case a.Status != 0 && a.Status != 302 && a.Status != 303 && a.Status != 307:
		return fmt.Errorf("action: found status %d, expected 302, 303 or 307", a.Status)
	}
	if a.Redirect != "" {
		if err := checkRedirect(a.Redirect); err != nil {
			return fmt.Errorf("action: redirect %q: %w", a.Redirect, err)
		}
	}
	if a.Path != "" {
		if err := checkPath(a.Path); err != nil {
			return fmt.Errorf("action: path %q: %w", a.Path, err)
		}
	}
	for i, h := range a.Headers {
		if err := checkHeader(h[0], h[1]); err != nil {
			return fmt.Errorf("action: headers[%d]: %w", i, err)
		}
	}
	return nil
}

// checkRedirect allows a path of this site and an absolute http or https URL.
func checkRedirect(target string) error {
	if len(target) > maxTarget {
		return fmt.Errorf("longer than %d bytes", maxTarget)
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f || c >= 0x80 || c == '\\' {
			return errors.New("expected a URL with every other character escaped")
		}
	}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return errors.New("expected a URL")
	case u.Scheme == "" && (!strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//")):
		return errors.New("expected a path of this site that starts with /, or an absolute URL")
	case u.Scheme == "":
		return nil
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("expected http or https")
	case u.Host == "" || u.User != nil || u.Opaque != "":
		return errors.New("expected a host name and no user")
	}
	return nil
}

func checkPath(path string) error {
	switch {
	case len(path) > maxTarget:
		return fmt.Errorf("longer than %d bytes", maxTarget)
	case !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//"):
		return errors.New("expected a path that starts with /")
	case strings.ContainsAny(path, "?#\\"):
		return errors.New("expected a path without query, fragment and backslash")
	}
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f {
			return errors.New("expected a path without control characters")
		}
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return errors.New(`expected a path without "." and ".." in it`)
		}
	}
	return nil
}

// ownedHeaders are those that belong to the connection, to the visitor's request
// or to the proxy; entries that end in - are prefixes.
var ownedHeaders = []string{
	"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-",
	"host", "cookie", "content-", "expect", "range", "if-", "accept-encoding",
	"forwarded", "x-forwarded-", "x-real-ip", "via", "sedge-",
}

func checkHeader(name, value string) error {
	if name == "" || len(name) > 128 {
		return errors.New("expected a name of 1 to 128 characters")
	}
	for i := range len(name) {
		if !tokenByte(name[i]) {
			return fmt.Errorf("the name %q has a character that header names must not have", name)
		}
	}
	lower := strings.ToLower(name)
	for _, owned := range ownedHeaders {
		if lower == owned || strings.HasSuffix(owned, "-") && strings.HasPrefix(lower, owned) {
			return fmt.Errorf("the header %s is not for plugins to set", name)
		}
	}
	if len(value) > maxHeaderValue {
		return fmt.Errorf("the value of %s is longer than %d bytes", name, maxHeaderValue)
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("the value of %s has a control character", name)
		}
	}
	return nil
}

func tokenByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '-' // others are tokens too, but servers take _ and the like for -
}

// redirectsToSelf reports whether the redirect leads to the very page that is asked for.
func redirectsToSelf(target string, page *decision.Page) bool {
	if rest, ok := cutOrigin(target, page.Host); ok {
		target = rest
	}
	target, _, _ = strings.Cut(target, "#")
	path, query, _ := strings.Cut(target, "?")
	if path == "" {
		path = "/"
	}
	if query != page.Query {
		return false
	}
	if path == page.Path {
		return true
	}
	decoded, err := url.PathUnescape(path)
	return err == nil && decoded == page.Path
}

// cutOrigin takes scheme and host off an absolute URL of the given host.
func cutOrigin(target, host string) (string, bool) {
	_, rest, ok := strings.Cut(target, "://")
	if !ok || strings.HasPrefix(target, "/") {
		return "", false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	name, _, _ := strings.Cut(rest[:end], ":")
	return rest[end:], strings.EqualFold(name, host)
}
