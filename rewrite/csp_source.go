package rewrite

import (
	"net/url"
	"strings"
)

// sourceList is the value of a directive, sorted by kinds of source expressions
// (https://www.w3.org/TR/CSP3/#framework-directive-source-list).
type sourceList struct {
	nonces []string
	hashes []string // as "sha256-" and base64, not base64url
	hosts  []source

	self          bool
	unsafeInline  bool
	unsafeHashes  bool
	strictDynamic bool
}

// source is a scheme-source or host-source. One without a host is a scheme-source,
// except for "*", which has the host only.
type source struct{ scheme, host, port, path string }

// add takes an expression; one that the grammar does not know matches nothing.
func (l *sourceList) add(expression string) {
	if expression[0] == '\'' {
		l.addQuoted(expression)
		return
	}
	if s, ok := parseSource(expression); ok {
		l.hosts = append(l.hosts, s)
	}
}

func (l *sourceList) addQuoted(expression string) {
	inner, ok := strings.CutSuffix(expression[1:], "'")
	if !ok {
		return
	}
	switch keyword := lower(inner); keyword {
	case "self":
		l.self = true
		return
	case "unsafe-inline":
		l.unsafeInline = true
		return
	case "unsafe-hashes":
		l.unsafeHashes = true
		return
	case "strict-dynamic":
		l.strictDynamic = true
		return
	}
	kind, value, _ := strings.Cut(inner, "-")
	switch kind = lower(kind); {
	case !isBase64Value(value):
	case kind == "nonce":
		l.nonces = append(l.nonces, value)
	case isHashAlgorithm(kind):
		l.hashes = append(l.hashes, kind+"-"+plainBase64(value))
	}
}

func isHashAlgorithm(name string) bool {
	return name == "sha256" || name == "sha384" || name == "sha512"
}

// plainBase64 turns base64url into base64.
func plainBase64(value string) string {
	if strings.IndexByte(value, '-') < 0 && strings.IndexByte(value, '_') < 0 {
		return value
	}
	return strings.NewReplacer("-", "+", "_", "/").Replace(value)
}

// isBase64Value reports whether a nonce or hash is one by the grammar. Nothing in
// such a value means anything in an attribute.
func isBase64Value(value string) bool {
	bare := strings.TrimSuffix(strings.TrimSuffix(value, "="), "=")
	for i := 0; i < len(bare); i++ {
		if c := bare[i]; !isLetter(c) && !isDigit(c) && c != '+' && c != '/' && c != '-' && c != '_' {
			return false
		}
	}
	return bare != ""
}

// parseSource reads a scheme-source or host-source
// (https://www.w3.org/TR/CSP3/#grammardef-host-source).
func parseSource(expression string) (s source, ok bool) {
	if scheme, found := strings.CutSuffix(expression, ":"); found {
		return source{scheme: lower(scheme)}, isScheme(scheme)
	}
	rest := expression
	if scheme, behind, found := strings.Cut(rest, "://"); found {
		if !isScheme(scheme) {
			return s, false
		}
		s.scheme, rest = lower(scheme), behind
	}
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		s.path, rest = rest[slash:], rest[:slash]
	}
	host, port, found := strings.Cut(rest, ":")
	if found && !isPortPart(port) || strings.ContainsAny(s.path, "?#") {
		return s, false
	}
	s.host, s.port = lower(host), port
	return s, isHostPart(host)
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

func isPortPart(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return s == "*"
		}
	}
	return s != "" && len(s) <= 5
}

func isHostPart(s string) bool {
	if s == "*" {
		return true
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "*."), ".")
	for label := range strings.SplitSeq(s, ".") {
		for i := 0; i < len(label); i++ {
			if c := label[i]; !isLetter(c) && !isDigit(c) && c != '-' {
				return false
			}
		}
		if label == "" {
			return false
		}
	}
	return true
}

// matches reports whether an address is one of those listed, for a page
// (https://www.w3.org/TR/CSP3/#match-url-to-source-list). Neither may be nil for a
// match.
func (l *sourceList) matches(u, page *url.URL) bool {
	if u == nil || page == nil {
		return false
	}
	if l.self && isSelf(u, page) {
		return true
	}
	for i := range l.hosts {
		if l.hosts[i].matches(u, page) {
			return true
		}
	}
	return false
}

// isSelf reports whether an address is of the page's origin, or of the same host by
// a safer scheme.
func isSelf(u, page *url.URL) bool {
	if u.Host == "" || lower(u.Hostname()) != lower(page.Hostname()) {
		return false
	}
	if u.Scheme == page.Scheme && portOf(u) == portOf(page) {
		return true
	}
	return portOf(u) == portOf(page) && (u.Scheme == "https" || u.Scheme == "wss" || page.Scheme == "http" && u.Scheme == "ws")
}

func (s *source) matches(u, page *url.URL) bool {
	switch {
	case *s == source{host: "*"}:
		return u.Scheme == "http" || u.Scheme == "https" || schemeMatches(page.Scheme, u.Scheme)
	case s.scheme != "" && !schemeMatches(s.scheme, u.Scheme):
		return false
	case s.host == "":
		return true
	case u.Host == "" || s.scheme == "" && !schemeMatches(page.Scheme, u.Scheme):
		return false
	}
	return hostMatches(s.host, lower(u.Hostname())) && portMatches(s.port, u) && pathMatches(s.path, u.EscapedPath())
}

// schemeMatches allows the safer of two schemes where the other one is asked for.
func schemeMatches(want, have string) bool {
	switch want {
	case have:
		return true
	case "http":
		return have == "https"
	case "ws":
		return have == "wss" || have == "http" || have == "https"
	case "wss":
		return have == "https"
	}
	return false
}

// hostMatches compares hosts. The standard knows domains only; browsers also take an
// address that is written alike.
func hostMatches(pattern, host string) bool {
	if pattern == host {
		return true
	}
	if isAddress(host) {
		return false
	}
	if pattern == "*" {
		return true
	}
	suffix, wild := strings.CutPrefix(pattern, "*")
	return wild && strings.HasSuffix(host, suffix)
}

// isAddress reports whether a host is an IP address and no domain.
func isAddress(host string) bool {
	if strings.IndexByte(host, ':') >= 0 {
		return true
	}
	last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]
	return last != "" && isDigit(last[0])
}

func portMatches(port string, u *url.URL) bool {
	have := portOf(u)
	return port == "*" || port == have || have == "" && port == defaultPort(u.Scheme)
}

// portOf returns the port of an address, "" for the usual one.
func portOf(u *url.URL) string {
	if port := u.Port(); port != defaultPort(u.Scheme) {
		return port
	}
	return ""
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}

// pathMatches compares paths piece by piece; one that ends in "/" stands for all
// below it.
func pathMatches(want, have string) bool {
	if want == "" || want == "/" && have == "" {
		return true
	}
	exact := !strings.HasSuffix(want, "/")
	wanted, pieces := strings.Split(want, "/"), strings.Split(have, "/")
	if len(wanted) > len(pieces) || exact && len(wanted) != len(pieces) {
		return false
	}
	if !exact {
		wanted = wanted[:len(wanted)-1]
	}
	for i := range wanted {
		if percentDecoded(wanted[i]) != percentDecoded(pieces[i]) {
			return false
		}
	}
	return true
}

// percentDecoded decodes what is encoded, and leaves a "%" that begins nothing.
func percentDecoded(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseAddress reads an address as browsers do; nil for one that they might read
// otherwise than we do, which then matches no list.
func parseAddress(raw string) *url.URL {
	raw = strings.TrimFunc(raw, func(c rune) bool { return c <= ' ' })
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(raw)
	front, rest := raw, ""
	if end := strings.IndexAny(raw, "?#"); end >= 0 {
		front, rest = raw[:end], raw[end:]
	}
	if strings.IndexByte(front, '\\') >= 0 && !isScript(front) {
		front = strings.ReplaceAll(front, `\`, "/")
	}
	u, err := url.Parse(front + strings.Map(onlyPrintable, rest))
	if err != nil || !isASCII([]byte(u.Host)) {
		return nil
	}
	if special := u.Scheme == "http" || u.Scheme == "https"; special && u.Host == "" || u.Scheme == "" && u.Host == "" && strings.HasPrefix(front, "//") {
		return nil
	}
	return u
}

// onlyPrintable drops what url.Parse refuses in a query, which no policy looks at.
func onlyPrintable(c rune) rune {
	if c <= ' ' || c == 0x7f || c == '%' {
		return '_'
	}
	return c
}

// isScript reports whether an address runs its text.
func isScript(address string) bool {
	address = strings.TrimLeftFunc(address, func(c rune) bool { return c <= ' ' })
	address = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(address)
	const scheme = "javascript:"
	return len(address) >= len(scheme) && foldEqual([]byte(address[:len(scheme)]), scheme)
}
