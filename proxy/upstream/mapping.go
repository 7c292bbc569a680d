package upstream

import (
	"bytes"
	"encoding/hex"
	"hash/fnv"
	"io"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
)

// Mapping makes absolute URLs of the origin name the site as one client knows it. What
// is the origin's own, [Upstream.Deliver] decides for headers and bodies alike.
type Mapping struct {
	up           *Upstream
	scheme, host string // the client's
}

// MappedBodies returns the kinds of bodies in which URLs are mapped.
func (u *Upstream) MappedBodies() decision.Bodies { return u.mapped }

// Mapping returns the mapping for a client who knows the site as
// clientScheme://clientHost; nil if URLs in bodies are left alone.
func (u *Upstream) Mapping(clientScheme, clientHost string) *Mapping {
	if u.mapped == 0 || clientHost == "" {
		return nil
	}
	return &Mapping{up: u, scheme: clientScheme, host: clientHost}
}

// MappingMark tells mappings of one setting from those of another, in 8 hexadecimal
// digits: what a client got under another mark may look different.
func (u *Upstream) MappingMark() string { return u.mark }

// Key is equal for mappings that make the same of a body.
func (m *Mapping) Key() string { return m.up.mark + " " + m.scheme + "://" + m.host }

// Append appends a whole body, mapped as a [Mapper] does it, to dst.
func (m *Mapping) Append(dst, body []byte, how MapOptions) []byte {
	out := (*appender)(&dst)
	var w Mapper
	w.Reset(m, out, how)
	_, _ = w.Write(body) // an appender takes everything
	_ = w.Close()
	return dst
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// compileMapping makes out which bodies are mapped and by which names.
func (u *Upstream) compileMapping() {
	u.mapped = decision.BodiesOf(u.cfg.MapURLs...)
	told, _ := u.toldName()
	u.longest = len(told)
	sum := fnv.New32a()
	_, _ = sum.Write([]byte{mapperVersion, byte(u.mapped)})
	_, _ = io.WriteString(sum, u.cfg.Host)
	for _, m := range u.members {
		u.longest = max(u.longest, len(m.origin.name))
		_, _ = io.WriteString(sum, " "+m.origin.address)
	}
	u.longest += len("www.[]:65535")
	u.mark = hex.EncodeToString(sum.Sum(nil))
}

// MapHints maps the Link lines of an answer or of a 1xx.
func (u *Upstream) MapHints(h *fasthttp.ResponseHeader, clientScheme, clientHost string) {
	if m := u.Mapping(clientScheme, clientHost); m != nil {
		mapLines(h, "Link", func(value []byte) []byte { return m.Append(nil, value, MapOptions{}) })
	}
}

// policies are the headers that say what a page may load.
var policies = [...]string{fasthttp.HeaderContentSecurityPolicy, fasthttp.HeaderContentSecurityPolicyReportOnly}

// mapPolicies makes a page's policies allow at the client's address what they allow at
// the origin's, since that is where the mapped page loads it from.
func (m *Mapping) mapPolicies(h *fasthttp.ResponseHeader) {
	for _, name := range policies {
		mapLines(h, name, m.policy)
	}
}

// mapLines gives all lines of a header another value.
func mapLines(h *fasthttp.ResponseHeader, name string, mapped func([]byte) []byte) {
	var lines [][]byte
	changed := false
	for _, value := range h.PeekAll(name) {
		line := mapped(value)
		changed = changed || !bytes.Equal(line, value)
		lines = append(lines, line)
	}
	if !changed {
		return
	}
	h.Del(name)
	for _, line := range lines {
		h.AddBytesV(name, line)
	}
}

// policy maps a header line of Content-Security-Policy.
func (m *Mapping) policy(line []byte) []byte {
	var list []string
	for policy := range strings.SplitSeq(string(line), ",") {
		var directives []string
		for directive := range strings.SplitSeq(policy, ";") {
			if mapped, kept := m.directive(directive); kept {
				directives = append(directives, mapped)
			}
		}
		list = append(list, strings.Join(directives, ";"))
	}
	return []byte(strings.Join(list, ","))
}

// directive maps the sources of a directive. One that makes browsers ask over https
// goes where they are shown the site over http, as a cookie's Secure does.
func (m *Mapping) directive(directive string) (mapped string, kept bool) {
	words := strings.Fields(directive)
	if len(words) > 0 && m.up.isPlain(m.scheme) && (strings.EqualFold(words[0], "upgrade-insecure-requests") ||
		strings.EqualFold(words[0], "block-all-mixed-content")) {
		return "", false
	}
	changed := false
	for i := 1; i < len(words); i++ {
		if source, ok := m.source(words[i]); ok {
			words[i], changed = source, true
		}
	}
	if !changed {
		return directive, true
	}
	return " " + strings.Join(words, " "), true
}

// source maps one source. Of a whole domain that the site is in, the client's address
// becomes a neighbour.
func (m *Mapping) source(word string) (mapped string, ok bool) {
	scheme, rest, found := strings.Cut(word, "://")
	if !found {
		scheme, rest = "", word
		if !strings.ContainsAny(word, ".:[") || strings.HasSuffix(word, ":") {
			return "", false // a keyword, a scheme or the name of a group
		}
	}
	authority, path, _ := strings.Cut(rest, "/")
	if path != "" || strings.HasSuffix(rest, "/") {
		path = "/" + path
	}
	name, _ := splitAuthority(authority)
	at := m.host
	if found {
		kind := m.schemeLike(scheme)
		if kind == "" {
			return "", false
		}
		at = kind + "://" + m.host
	}
	switch {
	case m.up.isOwn(authority) || strings.HasSuffix(authority, ":*") && m.up.isOwn(name):
		return at + path, true
	case strings.HasPrefix(name, "*.") && m.up.isWithin(name[2:]):
		return word + " " + at + path, true
	}
	return "", false
}

// schemeLike returns the client's scheme in the place of an origin's: http for http or
// https, ws for ws or wss; "" for others.
func (m *Mapping) schemeLike(scheme string) string {
	switch {
	case strings.EqualFold(scheme, "http"), strings.EqualFold(scheme, "https"):
		return m.scheme
	case strings.EqualFold(scheme, "ws"), strings.EqualFold(scheme, "wss"):
		if m.scheme == "https" {
			return "wss"
		}
		return "ws"
	}
	return ""
}
