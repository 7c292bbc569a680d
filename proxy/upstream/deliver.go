package upstream

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"
)

// Deliver makes an answer's references to the origin's own host fit the client,
// who knows the site as clientScheme://clientHost: Location, Content-Location and
// Refresh are mapped, a cookie's Domain that the client could not accept there is
// dropped, and Secure too when an https origin is shown over plain http. Other
// hosts, relative references, and answers of an origin that knows the client's
// host are left alone. What ends at the origin's hop is gone since [Upstream.Do].
func (u *Upstream) Deliver(resp *fasthttp.Response, clientScheme, clientHost string) {
	if clientHost == "" {
		return
	}
	for _, name := range [...]string{fasthttp.HeaderLocation, "Content-Location"} {
		if value := resp.Header.Peek(name); len(value) > 0 {
			if mapped, ok := u.mapURL(value, clientScheme, clientHost); ok {
				resp.Header.Set(name, mapped)
			}
		}
	}
	if value := resp.Header.Peek("Refresh"); len(value) > 0 {
		if mapped, ok := u.mapRefresh(value, clientScheme, clientHost); ok {
			resp.Header.Set("Refresh", mapped)
		}
	}
	u.mapCookies(resp, clientScheme, clientHost)
}

// mapURL replaces scheme and authority of a URL at the origin.
func (u *Upstream) mapURL(value []byte, scheme, host string) (string, bool) {
	authority, found := 0, ""
	switch {
	case hasPrefixFold(value, "http://"):
		authority, found = 7, scheme+"://"
	case hasPrefixFold(value, "https://"):
		authority, found = 8, scheme+"://"
	case hasPrefixFold(value, "//"):
		authority, found = 2, "//"
	default:
		return "", false
	}
	end := bytes.IndexAny(value[authority:], "/?#\\")
	if end < 0 {
		end = len(value)
	} else {
		end += authority
	}
	if !u.isOwn(string(value[authority:end])) {
		return "", false
	}
	return found + host + string(value[end:]), true
}

// isOwn reports whether an authority names the origin: its host or the name that
// it is told, with its port, a usual one, or none.
func (u *Upstream) isOwn(authority string) bool {
	name, port := splitAuthority(authority)
	switch port {
	case "", "80", "443", u.origin.port:
	default:
		_, told := splitAuthority(u.host)
		if told == "" || port != told {
			return false
		}
	}
	return name == u.origin.name || u.host != "" && name == hostOnly(u.host)
}

// mapRefresh maps the URL in a value such as "0; url=http://origin/next".
func (u *Upstream) mapRefresh(value []byte, scheme, host string) (string, bool) {
	at := strings.Index(strings.ToLower(string(value)), "url=")
	if at < 0 {
		return "", false
	}
	target := trimSpace(value[at+4:])
	quote := ""
	if len(target) > 1 && (target[0] == '"' || target[0] == '\'') {
		quote = string(target[:1])
		target = bytes.TrimSuffix(target[1:], []byte(quote))
	}
	mapped, ok := u.mapURL(target, scheme, host)
	return string(value[:at+4]) + quote + mapped + quote, ok
}

// mapCookies rewrites the Set-Cookie lines if at least one needs it.
func (u *Upstream) mapCookies(resp *fasthttp.Response, scheme, host string) {
	client := hostOnly(host)
	plain := scheme == "http" && u.origin.secure
	needed := false
	for _, cookie := range resp.Header.Cookies() {
		needed = needed || plain || u.foreignDomain(cookie, client)
	}
	if !needed {
		return
	}
	var lines []string
	for _, cookie := range resp.Header.Cookies() {
		lines = append(lines, u.mapCookie(cookie, client, plain))
	}
	resp.Header.DelAllCookies()
	for _, line := range lines {
		resp.Header.Add(fasthttp.HeaderSetCookie, line)
	}
}

// foreignDomain reports whether a cookie's Domain fits the origin's own name but
// not the client's, so that a browser would refuse it.
func (u *Upstream) foreignDomain(cookie []byte, client string) bool {
	for i, part := range bytes.Split(cookie, []byte{';'}) {
		if i > 0 && u.isForeignDomain(part, client) {
			return true
		}
	}
	return false
}

func (u *Upstream) isForeignDomain(attribute []byte, client string) bool {
	name, value, _ := bytes.Cut(attribute, []byte{'='})
	if !equalFold(trimSpace(name), "Domain") {
		return false
	}
	domain := strings.ToLower(strings.TrimPrefix(string(trimSpace(value)), "."))
	return domain != "" && !within(client, domain) &&
		(within(u.origin.name, domain) || u.host != "" && within(hostOnly(u.host), domain))
}

func within(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// mapCookie drops the attributes that do not fit the client; SameSite=None goes
// with Secure, as browsers take it only with that.
func (u *Upstream) mapCookie(cookie []byte, client string, plain bool) string {
	parts := bytes.Split(cookie, []byte{';'})
	kept := string(parts[0])
	for _, part := range parts[1:] {
		name, value, _ := bytes.Cut(part, []byte{'='})
		name, value = trimSpace(name), trimSpace(value)
		if u.isForeignDomain(part, client) || plain && (equalFold(name, "Secure") ||
			equalFold(name, "SameSite") && equalFold(value, "None")) {
			continue
		}
		kept += ";" + string(part)
	}
	return kept
}
