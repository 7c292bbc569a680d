// Package upstream talks to the site behind Sedge.
//
// fasthttp parses fast, but its client loses early answers, 1xx and Date, retries
// by itself and takes a cut chunked body for a whole one. So the exchange is our
// own: [Prepare] makes a clean request out of the client's, [Upstream.Do] sends
// it over a pooled connection while it already listens for the answer, checks the
// answer's head strictly before fasthttp sees it, and hands out the body as a
// stream that tells a break from an end. [Upstream.Deliver] maps what names the
// origin back to the name the client knows, and [Upstream.Tunnel] carries
// WebSockets and other upgrades.
//
// A connection is used again only after the clean end of both directions. All
// waiting is bounded, per read and per write: a slow body may take a day, a
// silent one may not.
package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// The two meanings of [Config].Host that are not a name.
const (
	// HostUpstream sends the host of the server's URL.
	HostUpstream = "upstream"
	// HostClient sends the host that the client asked for.
	HostClient = "client"
)

// The protocols that servers are spoken to in.
const (
	// HTTP1 is HTTP/1.1, also over TLS.
	HTTP1 = "http1"
	// HTTP2 is HTTP/2 over TLS, agreed on in the handshake.
	HTTP2 = "h2"
	// HTTP2Clear is HTTP/2 in clear text, with prior knowledge.
	HTTP2Clear = "h2c"
)

// The ways to share requests out to servers.
const (
	// RoundRobin gives each server its turns, as many as its weight says.
	RoundRobin = "round_robin"
	// LeastConnections prefers the server with the fewest exchanges for its weight.
	LeastConnections = "least_connections"
	// ByVisitor sends a visitor to the same server for as long as that is up.
	ByVisitor = "visitor"
)

const (
	defaultDialTimeout   = 5 * time.Second
	defaultHeaderTimeout = 30 * time.Second
	defaultIdleTimeout   = 60 * time.Second
	defaultStreamTimeout = time.Hour
	defaultKeepAlive     = 4 * time.Second
	defaultKeepAlive2    = time.Minute // over HTTP/2, which says when it ends a connection
	defaultMaxConns      = 512
	mostConns            = 65536
	// spareWaiters is how many more than MaxConns may wait for a connection, so
	// that a small limit does not refuse what would be served at once.
	spareWaiters     = 256
	mostServers      = 64 // bits of a set
	leastTime        = time.Millisecond
	mostTime         = 30 * 24 * time.Hour
	mostWeight       = 1000
	defaultResolve   = 30 * time.Second
	defaultSlowStart = 10 * time.Second
)

// Config describes one upstream. The zero value of a limit means its default.
type Config struct {
	// Name is what routes, logs and metrics call this upstream.
	Name string `mapstructure:"name"`

	// URL is the origin: http or https, a host, and a port if it is not the usual
	// one. It has no path: request targets are passed on as they came. It is short
	// for Servers with one entry; an upstream has exactly one of both.
	URL string `mapstructure:"url"`

	// Servers are the origin's servers, at most 64, all of them http or all https.
	Servers []Server `mapstructure:"servers"`

	// Protocol is what the servers speak: "http1" (default), HTTP/1.1; "h2", HTTP/2
	// over TLS; "h2c", HTTP/2 without TLS. gRPC needs one of the last two. Neither of
	// them carries WebSockets and other upgrades, which are answered with 501.
	Protocol string `mapstructure:"protocol"`

	// Balance shares requests out to the servers: "round_robin" (default), each in
	// its turn; "least_connections", to the one with the fewest requests under way;
	// "visitor", so that a visitor stays with one server, and only those of a server
	// that goes or comes are moved. Who has no visitor cookie goes by their address.
	Balance string `mapstructure:"balance"`

	// Host is the Host header that the origin gets, and the name that its
	// certificate must hold: "upstream" (default, the host of the server's URL),
	// "client" (the host that the client asked for), or a name. Unless it is
	// "client", Origin, Referer and Destination headers that name the site as the
	// client knows it name this host instead, so that the origin's checks against
	// forged requests hold; X-Forwarded-Host is left out of a request whose Origin
	// was changed, since they compare the two.
	Host string `mapstructure:"host"`

	// Via is whether requests tell in the Via header that they came through Sedge,
	// as HTTP wants it; true by default. Some servers compress nothing for such
	// requests: nginx, unless its gzip_proxied says "any". A loop that leads through
	// an upstream without it is not noticed.
	Via *bool `mapstructure:"via"`

	// MapURLs are the kinds of bodies in which absolute URLs of the site become those
	// that the client knows it by, as Location does: "html", "json" and "text" (CSS,
	// scripts, XML). For a site that writes its own address into its pages, while it
	// is shown under another one; Host "client" makes it needless where the site
	// goes by that. Empty (default) maps none. Such a body is unpacked, and packed
	// again, on its way; sub-resource integrity of mapped files does not hold.
	MapURLs []decision.Body `mapstructure:"map_urls"`

	// DialTimeout bounds name look-up, connecting and TLS handshake together, and
	// likewise the wait for a free connection. Default 5s.
	DialTimeout time.Duration `mapstructure:"dial_timeout"`

	// HeaderTimeout bounds the time from the last byte of the request to the end
	// of the answer's head. Default 30s. Calls of gRPC over HTTP/2 have StreamTimeout
	// alone, since their first message, and the head with it, may come late.
	HeaderTimeout time.Duration `mapstructure:"header_timeout"`

	// IdleTimeout bounds each single read and write of a body; there is no limit to
	// a message as a whole. Default 60s.
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`

	// StreamTimeout bounds how long an event stream (text/event-stream), an answer of
	// gRPC (application/grpc and its kin), or an upgraded connection such as a
	// WebSocket may be silent; a call of gRPC over HTTP/2, in both directions together.
	// Default 1h.
	StreamTimeout time.Duration `mapstructure:"stream_timeout"`

	// KeepAlive is how long an unused connection is kept; it should be shorter
	// than the origin's own limit (5s in Node). Default 4s, over HTTP/2 1m.
	KeepAlive time.Duration `mapstructure:"keep_alive"`

	// MaxConns bounds the connections to each server, and over HTTP/2, where many
	// requests share one, the requests under way. Default 512. Request bodies
	// that are sent as they come, which are those without a length or of more than
	// 16 KiB, get at most half of them, so that slow clients cannot take them all.
	// Calls of gRPC over HTTP/2 are not held to that half. Event streams, upgraded
	// connections, and large answers that clients are slow with while others wait, are
	// counted apart, at most 16 times as many.
	MaxConns int `mapstructure:"max_conns"`

	// MaxPending bounds the requests that wait for a connection to a server; more
	// are answered 503 at once. Default MaxConns and 256 more.
	MaxPending int `mapstructure:"max_pending"`

	// Resolve is how often a server's name is looked up anew while it is asked:
	// new addresses get their share, connections to those that are gone are not
	// used again. A look-up that fails changes nothing. Default 30s.
	Resolve time.Duration `mapstructure:"resolve"`

	// ServerName is the name that the origin's certificate must hold, also sent as
	// TLS server name (SNI), where that is not the host that Host says.
	ServerName string `mapstructure:"server_name"`

	// InsecureSkipVerify accepts any certificate. For test origins only.
	InsecureSkipVerify bool `mapstructure:"insecure_skip_verify"`

	// CAFile holds the PEM certificates to trust instead of the system's. Changed
	// files of certificates and keys hold for the connections made after that.
	CAFile string `mapstructure:"ca_file"`

	// ClientCertFile and ClientKeyFile hold the certificate (PEM, with its chain)
	// and key by which Sedge proves to the origin who it is (mutual TLS).
	ClientCertFile string `mapstructure:"client_cert_file"`
	ClientKeyFile  string `mapstructure:"client_key_file"`

	// SlowStart is the time in which the share of a server that was down grows from
	// a tenth to the whole. Default 10s.
	SlowStart time.Duration `mapstructure:"slow_start"`

	// Health asks each server regularly whether it is well.
	Health Health `mapstructure:"health"`

	// Ejection takes a server out whose requests fail while others' do not.
	Ejection Ejection `mapstructure:"ejection"`

	// Breaker refuses requests at once while the upstream as a whole fails.
	Breaker Breaker `mapstructure:"breaker"`

	// Retry bounds the requests that are sent to another server when one fails.
	// Any request may be that was not sent, since there was no connection; a GET,
	// HEAD or OPTIONS without a body also, once, if a new connection closed without
	// a byte of an answer. What was sent is not sent again after a timeout.
	Retry Retry `mapstructure:"retry"`
}

// Server is one of the places that serve an upstream.
type Server struct {
	// URL is the server: http or https, a host, and a port if it is not the usual
	// one.
	URL string `mapstructure:"url"`

	// Weight is the server's part of the requests, relative to the others'; at most
	// 1000. Default 1.
	Weight *int `mapstructure:"weight"`

	// Backup keeps the server for when all others are down.
	Backup bool `mapstructure:"backup"`
}

// Health says how servers are checked. Without a path they are not.
type Health struct {
	// Path is the target of the check, a GET, as "/healthz".
	Path string `mapstructure:"path"`

	// Host is the Host header of the check; by default the one that the server gets
	// from requests, or the host of its URL where that is the client's.
	Host string `mapstructure:"host"`

	// Interval is the time between checks. Default 5s.
	Interval time.Duration `mapstructure:"interval"`

	// Timeout bounds one check. Default 2s.
	Timeout time.Duration `mapstructure:"timeout"`

	// Healthy is how many good checks in a row bring a server back. Default 2.
	Healthy int `mapstructure:"healthy"`

	// Unhealthy is how many bad checks in a row take a server out. Default 3.
	Unhealthy int `mapstructure:"unhealthy"`

	// Status is the range of good statuses. Default "200-399".
	Status string `mapstructure:"status"`
}

// Ejection says when a server is taken out for what its requests come to. One
// server alone never is, and when the last one fails too, all are tried again.
type Ejection struct {
	// Disabled switches ejection off.
	Disabled bool `mapstructure:"disabled"`

	// Failures is how many requests in a row must fail: no connection, no answer in
	// time, none at all, or one that breaks the rules of HTTP. Default 5.
	Failures int `mapstructure:"failures"`

	// Statuses are answers that count as failures too, as 503. None by default: an
	// error of the application says nothing of its server.
	Statuses []int `mapstructure:"statuses"`

	// Time is for how long a server is taken out first; it doubles with each time
	// that follows soon. Default 10s.
	Time time.Duration `mapstructure:"time"`

	// MaxTime is the longest time for which a server is taken out. Default 1m.
	MaxTime time.Duration `mapstructure:"max_time"`

	// MaxEjected is the share of the servers that may be out at a time, rounded
	// up. Default 50%.
	MaxEjected decision.Share `mapstructure:"max_ejected"`
}

// Breaker says when the whole upstream counts as failed. Ejection and retries come
// first: a request counts here by what became of it in the end.
type Breaker struct {
	// Disabled switches the breaker off.
	Disabled bool `mapstructure:"disabled"`

	// Failures is the share of failed requests within ten seconds that opens the
	// breaker. Default 90%.
	Failures decision.Share `mapstructure:"failures"`

	// Requests is how many requests there must be within ten seconds. Default 20.
	Requests int `mapstructure:"requests"`

	// Pause is how long an open breaker refuses requests (503 with Retry-After)
	// until it lets one through, which closes it if it is answered. It doubles with
	// each that fails. Default 1s.
	Pause time.Duration `mapstructure:"pause"`

	// MaxPause is the longest pause. Default 30s.
	MaxPause time.Duration `mapstructure:"max_pause"`
}

// Retry bounds how much retries may add to the load, counted over ten seconds.
type Retry struct {
	// Disabled sends every request once at most.
	Disabled bool `mapstructure:"disabled"`

	// Budget is the share of the requests that may be retried. Default 20%; with 0,
	// and 0 for MinPerSecond, none is.
	Budget *decision.Share `mapstructure:"budget"`

	// MinPerSecond is how many retries a second may be made beside that. Default 10.
	MinPerSecond *int `mapstructure:"min_per_second"`
}

// Validate reports everything that is wrong with the settings.
func (c *Config) Validate() decision.Faults {
	var faults decision.Faults
	if c.Name == "" {
		faults.Add("name", "an upstream needs a name")
	}
	c.validateServers(&faults)
	switch c.Protocol {
	case "", HTTP1, HTTP2, HTTP2Clear:
	default:
		faults.Add("protocol", "found %q; expected %s, %s or %s", c.Protocol, HTTP1, HTTP2, HTTP2Clear)
	}
	switch c.Balance {
	case "", RoundRobin, LeastConnections, ByVisitor:
	default:
		faults.Add("balance", "found %q; expected %s, %s or %s", c.Balance, RoundRobin, LeastConnections, ByVisitor)
	}
	if c.Host != "" && c.Host != HostUpstream && c.Host != HostClient && !validAuthority(c.Host) {
		faults.Add("host", "%q is not a host name; expected upstream, client or a name", c.Host)
	}
	for i, kind := range c.MapURLs {
		if decision.BodiesOf(kind) == 0 {
			faults.Add("map_urls["+strconv.Itoa(i)+"]", "found %q; expected html, json or text", kind)
		}
	}
	if c.ServerName != "" && (!validAuthority(c.ServerName) || hostOnly(c.ServerName) != strings.ToLower(c.ServerName)) {
		faults.Add("server_name", "%q is not a name; expected one as in a certificate, without a port", c.ServerName)
	}
	for _, limit := range []struct {
		path  string
		value time.Duration
	}{
		{"dial_timeout", c.DialTimeout}, {"header_timeout", c.HeaderTimeout},
		{"idle_timeout", c.IdleTimeout}, {"stream_timeout", c.StreamTimeout}, {"keep_alive", c.KeepAlive}, {"resolve", c.Resolve}, {"slow_start", c.SlowStart},
		{"health.interval", c.Health.Interval}, {"health.timeout", c.Health.Timeout},
		{"ejection.time", c.Ejection.Time}, {"ejection.max_time", c.Ejection.MaxTime},
		{"breaker.pause", c.Breaker.Pause}, {"breaker.max_pause", c.Breaker.MaxPause},
	} {
		if limit.value != 0 && (limit.value < leastTime || limit.value > mostTime) {
			faults.Add(limit.path, "%s is not between %s and %s", limit.value, leastTime, mostTime)
		}
	}
	if c.Ejection.MaxTime > 0 && c.Ejection.Time > c.Ejection.MaxTime {
		faults.Add("ejection.max_time", "%s is less than time, %s", c.Ejection.MaxTime, c.Ejection.Time)
	}
	if c.Breaker.MaxPause > 0 && c.Breaker.Pause > c.Breaker.MaxPause {
		faults.Add("breaker.max_pause", "%s is less than pause, %s", c.Breaker.MaxPause, c.Breaker.Pause)
	}
	for _, limit := range []struct {
		path        string
		value, most int
	}{
		{"max_conns", c.MaxConns, mostConns}, {"max_pending", c.MaxPending, mostConns},
		{"health.healthy", c.Health.Healthy, 100}, {"health.unhealthy", c.Health.Unhealthy, 100},
		{"ejection.failures", c.Ejection.Failures, 1000}, {"breaker.requests", c.Breaker.Requests, 1_000_000},
	} {
		if limit.value < 0 || limit.value > limit.most {
			faults.Add(limit.path, "%d is not between 1 and %d", limit.value, limit.most)
		}
	}
	if n := c.Retry.MinPerSecond; n != nil && (*n < 0 || *n > 1_000_000) {
		faults.Add("retry.min_per_second", "%d is not between 0 and 1000000", *n)
	}
	c.validateHealth(&faults)
	c.validateTLS(&faults)
	return faults
}

// validateProtocol reports a protocol that a server's URL does not go with.
func (c *Config) validateProtocol(faults *decision.Faults, secure bool) {
	switch {
	case c.Protocol == HTTP2 && !secure:
		faults.Add("protocol", "found %s and an http server; expected https, or %s for HTTP/2 without TLS", HTTP2, HTTP2Clear)
	case c.Protocol == HTTP2Clear && secure:
		faults.Add("protocol", "found %s and an https server; expected http, or %s for HTTP/2 over TLS", HTTP2Clear, HTTP2)
	}
}

func (c *Config) validateServers(faults *decision.Faults) {
	if len(c.Servers) == 0 {
		if o, err := parseOrigin(c.URL); err != nil {
			faults.Add("url", "%v", err)
		} else {
			c.validateProtocol(faults, o.secure)
		}
		return
	}
	if c.URL != "" {
		faults.Add("servers", "found url and servers; expected one of them")
	}
	if len(c.Servers) > mostServers {
		faults.Add("servers", "found %d servers; expected at most %d", len(c.Servers), mostServers)
	}
	seen, schemes, backups := map[string]bool{}, map[bool]bool{}, 0
	for i, server := range c.Servers {
		at := "servers[" + strconv.Itoa(i) + "]"
		o, err := parseOrigin(server.URL)
		switch {
		case err != nil:
			faults.Add(at+".url", "%v", err)
		case seen[o.address]:
			faults.Add(at+".url", "%q is listed already", server.URL)
		case len(schemes) > 0 && !schemes[o.secure]:
			faults.Add(at+".url", "found http and https servers in one upstream; expected one kind")
		default:
			seen[o.address], schemes[o.secure] = true, true
		}
		if w := server.Weight; w != nil && (*w < 1 || *w > mostWeight) {
			faults.Add(at+".weight", "%d is not between 1 and %d; to give a server nothing, leave it out", *w, mostWeight)
		}
		if server.Backup {
			backups++
		}
	}
	if len(schemes) == 1 {
		c.validateProtocol(faults, schemes[true])
	}
	if backups == len(c.Servers) {
		faults.Add("servers", "found backups only; expected a server that is none")
	}
}

func (c *Config) validateHealth(faults *decision.Faults) {
	h := &c.Health
	switch {
	case h.Path == "" && *h != (Health{}):
		faults.Add("health.path", "a check needs a path, as /healthz")
	case h.Path != "" && (h.Path[0] != '/' || strings.ContainsFunc(h.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f })):
		faults.Add("health.path", "%q is not a path; expected one as /healthz", h.Path)
	}
	if h.Host != "" && !validAuthority(h.Host) {
		faults.Add("health.host", "%q is not a host name", h.Host)
	}
	if _, _, err := parseStatuses(h.Status); err != nil {
		faults.Add("health.status", "%v", err)
	}
	for i, status := range c.Ejection.Statuses {
		if status < 500 || status > 599 {
			faults.Add("ejection.statuses["+strconv.Itoa(i)+"]", "%d is not between 500 and 599", status)
		}
	}
}

// parseStatuses reads a range such as "200-399", or one status; "" is the default.
func parseStatuses(text string) (from, to int, err error) {
	if text == "" {
		return 200, 399, nil
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.Atoi(strings.TrimSpace(first))
	to, err2 := strconv.Atoi(strings.TrimSpace(last))
	if err1 != nil || err2 != nil || from < 200 || to > 599 || from > to {
		return 0, 0, fmt.Errorf("%q is not a range of statuses such as 200-399", text)
	}
	return from, to, nil
}

func (c *Config) setDefaults() {
	if len(c.Servers) == 0 {
		c.Servers = []Server{{URL: c.URL}}
	}
	c.Servers = slices.Clone(c.Servers)
	for i := range c.Servers {
		setDefault(&c.Servers[i].Weight, new(1))
	}
	setDefault(&c.Balance, RoundRobin)
	setDefault(&c.Host, HostUpstream)
	setDefault(&c.DialTimeout, defaultDialTimeout)
	setDefault(&c.HeaderTimeout, defaultHeaderTimeout)
	setDefault(&c.IdleTimeout, defaultIdleTimeout)
	setDefault(&c.StreamTimeout, defaultStreamTimeout)
	if setDefault(&c.Protocol, HTTP1); c.Protocol != HTTP1 {
		setDefault(&c.KeepAlive, defaultKeepAlive2)
	}
	setDefault(&c.KeepAlive, defaultKeepAlive)
	setDefault(&c.MaxConns, defaultMaxConns)
	setDefault(&c.MaxPending, c.MaxConns+spareWaiters)
	setDefault(&c.Resolve, defaultResolve)
	setDefault(&c.SlowStart, defaultSlowStart)
	setDefault(&c.Health.Interval, 5*time.Second)
	setDefault(&c.Health.Timeout, 2*time.Second)
	setDefault(&c.Health.Healthy, 2)
	setDefault(&c.Health.Unhealthy, 3)
	setDefault(&c.Ejection.Failures, 5)
	setDefault(&c.Ejection.Time, 10*time.Second)
	setDefault(&c.Ejection.MaxTime, time.Minute)
	setDefault(&c.Ejection.MaxEjected, 0.5)
	setDefault(&c.Breaker.Failures, 0.9)
	setDefault(&c.Breaker.Requests, 20)
	setDefault(&c.Breaker.Pause, time.Second)
	setDefault(&c.Breaker.MaxPause, 30*time.Second)
	setDefault(&c.Retry.Budget, new(decision.Share(0.2)))
	setDefault(&c.Retry.MinPerSecond, new(10))
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// origin is the place that a Config's URL names.
type origin struct {
	secure  bool
	name    string // host without port, lower case, without brackets
	port    string // always set
	address string // for dialing
	host    string // for the Host header: the port only if it is not the usual one
}

func parseOrigin(raw string) (origin, error) {
	if raw == "" {
		return origin{}, errors.New("a URL is needed, as in http://127.0.0.1:8080")
	}
	u, err := url.Parse(raw)
	switch { // a password must not get into a log
	case err == nil && u.User != nil, err != nil && strings.Contains(raw, "@"):
		return origin{}, errors.New("the URL must not hold a user or password")
	case err != nil:
		return origin{}, fmt.Errorf("%q is not a URL, as http://127.0.0.1:8080 is", raw)
	case u.Scheme != "http" && u.Scheme != "https":
		return origin{}, fmt.Errorf("%q must begin with http:// or https://", raw)
	case u.Hostname() == "" || !validAuthority(u.Host):
		return origin{}, fmt.Errorf("%q names no host", raw)
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return origin{}, fmt.Errorf("%q must end after the host: paths are passed on as the client sent them", raw)
	}
	o := origin{secure: u.Scheme == "https", name: strings.ToLower(u.Hostname()), port: u.Port()}
	usual := "80"
	if o.secure {
		usual = "443"
	}
	o.host = strings.ToLower(u.Host)
	if o.port == "" || o.port == usual {
		o.port = usual
		o.host = strings.TrimSuffix(strings.TrimSuffix(o.host, ":"+usual), ":")
	}
	if n, err := strconv.ParseUint(o.port, 10, 16); err != nil || n == 0 {
		return origin{}, fmt.Errorf("%q has no port between 1 and 65535", raw)
	}
	o.address = net.JoinHostPort(o.name, o.port)
	return o, nil
}

// validAuthority reports whether s may stand in a Host header.
func validAuthority(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']', c == '%':
		default:
			return false
		}
	}
	return true
}

// hostOnly cuts port and brackets off an authority, in lower case.
func hostOnly(authority string) string {
	name, _ := splitAuthority(authority)
	return name
}

// splitAuthority takes host and port of an authority apart; the port is "" if
// none is given.
func splitAuthority(authority string) (name, port string) {
	authority = strings.ToLower(authority)
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return authority, ""
		}
		return authority[1:end], strings.TrimPrefix(authority[end+1:], ":")
	}
	if i := strings.IndexByte(authority, ':'); i >= 0 && strings.IndexByte(authority[i+1:], ':') < 0 {
		return authority[:i], authority[i+1:]
	}
	return authority, ""
}
