package upstream

import (
	"bytes"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// Deliver makes an answer's references to the origin's own host fit the client,
// who knows the site as clientScheme://clientHost: Location, Content-Location,
// Refresh and Access-Control-Allow-Origin are mapped, a cookie's Domain that the
// client could not accept there is dropped, and Secure too when an https origin is
// shown over plain http. Other hosts, relative references, what stands in a path or
// query, and answers of an origin that knows the client's host are left alone. What
// ends at the origin's hop is gone since [Upstream.Do]. Where URLs in bodies are
// mapped, so are those in Link and Content-Security-Policy.
//
// asked is the target of the client's GET or HEAD, nil for other methods. A redirect
// that would lead back to it, without a cookie that could change the answer, stays
// as it is: an origin that insists on another address of its own is reached there,
// in the place of a redirect without end.
func (u *Upstream) Deliver(resp *fasthttp.Response, clientScheme, clientHost string, asked []byte) {
	if clientHost == "" {
		return
	}
	for _, name := range [...]string{fasthttp.HeaderLocation, "Content-Location", fasthttp.HeaderAccessControlAllowOrigin} {
		if value := resp.Header.Peek(name); len(value) > 0 {
			if rest, ok := u.ownURL(value); ok && (name != fasthttp.HeaderLocation || !isCircle(resp, rest, asked)) {
				resp.Header.Set(name, mappedURL(value, rest, clientScheme, clientHost))
			}
		}
	}
	if value := resp.Header.Peek("Refresh"); len(value) > 0 {
		if mapped, ok := u.mapRefresh(value, clientScheme, clientHost); ok {
			resp.Header.Set("Refresh", mapped)
		}
	}
	u.mapCookies(resp, clientScheme, clientHost)
	if u.mapped != 0 {
		u.MapHints(&resp.Header, clientScheme, clientHost)
		u.Mapping(clientScheme, clientHost).mapPolicies(&resp.Header)
	}
}

// isCircle reports whether a redirect leads to what was asked for.
func isCircle(resp *fasthttp.Response, rest, asked []byte) bool {
	if len(asked) == 0 || hasCookies(resp) || resp.StatusCode()/100 != 3 {
		return false
	}
	target, _, _ := bytes.Cut(rest, []byte("#"))
	if len(target) == 0 || target[0] == '?' {
		return asked[0] == '/' && bytes.Equal(asked[1:], target)
	}
	return bytes.Equal(asked, target)
}

func hasCookies(resp *fasthttp.Response) bool {
	for range resp.Header.Cookies() {
		return true
	}
	return false
}

// ownURL returns what follows the authority in a URL at the origin.
func (u *Upstream) ownURL(value []byte) (rest []byte, ok bool) {
	at := authorityAt(value)
	if at == 0 {
		return nil, false
	}
	end := bytes.IndexAny(value[at:], "/?#\\")
	if end < 0 {
		end = len(value) - at
	}
	return value[at+end:], u.isOwn(string(value[at : at+end]))
}

// authorityAt returns where the authority of an absolute URL begins; 0 for others.
func authorityAt(value []byte) int {
	switch {
	case hasPrefixFold(value, "http://"):
		return 7
	case hasPrefixFold(value, "https://"):
		return 8
	case hasPrefixFold(value, "//"):
		return 2
	}
	return 0
}

// mappedURL puts the client's scheme and authority before the rest of a URL.
func mappedURL(value, rest []byte, scheme, host string) string {
	if authorityAt(value) == 2 {
		return "//" + host + string(rest)
	}
	return scheme + "://" + host + string(rest)
}

// isOwn reports whether an authority names the origin: the host of a server or the
// name that it is told, with or without "www.", with its port, a usual one, or none.
func (u *Upstream) isOwn(authority string) bool {
	name, port := splitAuthority(authority)
	for _, m := range u.members {
		if isName(name, m.origin.name) && (usualPort(port) || port == m.origin.port) {
			return true
		}
	}
	told, at := u.toldName()
	return told != "" && isName(name, told) && (usualPort(port) || port == at || u.isPort(port))
}

// toldName is the name that the settings say for Host, and its port.
func (u *Upstream) toldName() (name, port string) {
	if u.cfg.Host == HostUpstream || u.cfg.Host == HostClient {
		return "", ""
	}
	return splitAuthority(u.cfg.Host)
}

func (u *Upstream) isPort(port string) bool {
	return slices.ContainsFunc(u.members, func(m *member) bool { return m.origin.port == port })
}

func usualPort(port string) bool { return port == "" || port == "80" || port == "443" }

// isName compares names of a site, which is often known with and without "www.".
func isName(name, own string) bool {
	return strings.TrimPrefix(name, "www.") == strings.TrimPrefix(own, "www.")
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
	rest, ok := u.ownURL(target)
	if !ok {
		return "", false
	}
	return string(value[:at+4]) + quote + mappedURL(target, rest, scheme, host) + quote, true
}

// mapCookies rewrites the Set-Cookie lines if at least one needs it.
func (u *Upstream) mapCookies(resp *fasthttp.Response, scheme, host string) {
	if !hasCookies(resp) {
		return
	}
	client := hostOnly(host)
	plain := u.isPlain(scheme)
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
	if domain == "" || within(client, domain) {
		return false
	}
	return u.isWithin(domain)
}

// isWithin reports whether one of the origin's names is in a domain.
func (u *Upstream) isWithin(domain string) bool {
	told, _ := u.toldName()
	return told != "" && within(told, domain) ||
		slices.ContainsFunc(u.members, func(m *member) bool { return within(m.origin.name, domain) })
}

// isPlain reports whether an https origin is shown over plain http.
func (u *Upstream) isPlain(clientScheme string) bool {
	return clientScheme == "http" && u.members[0].origin.secure
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
