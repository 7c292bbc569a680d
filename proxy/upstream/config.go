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
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// The two meanings of [Config].Host that are not a name.
const (
	// HostUpstream sends the host of the URL.
	HostUpstream = "upstream"
	// HostClient sends the host that the client asked for.
	HostClient = "client"
)

const (
	defaultDialTimeout   = 5 * time.Second
	defaultHeaderTimeout = 30 * time.Second
	defaultIdleTimeout   = 60 * time.Second
	defaultStreamTimeout = time.Hour
	defaultKeepAlive     = 4 * time.Second
	defaultMaxConns      = 512
	mostConns            = 65536
)

// Config describes one upstream. The zero value of a limit means its default.
type Config struct {
	// Name is what routes, logs and metrics call this upstream.
	Name string `mapstructure:"name"`

	// URL is the origin: http or https, a host, and a port if it is not the usual
	// one. It has no path: request targets are passed on as they came.
	URL string `mapstructure:"url"`

	// Host is the Host header that the origin gets: "upstream" (default, the host
	// of URL), "client" (the host that the client asked for), or a name.
	// A name is also the TLS server name, otherwise that is the host of URL.
	Host string `mapstructure:"host"`

	// DialTimeout bounds name look-up, connecting and TLS handshake together, and
	// likewise the wait for a free connection. Default 5s.
	DialTimeout time.Duration `mapstructure:"dial_timeout"`

	// HeaderTimeout bounds the time from the last byte of the request to the end
	// of the answer's head. Default 30s.
	HeaderTimeout time.Duration `mapstructure:"header_timeout"`

	// IdleTimeout bounds each single read and write of a body; there is no limit to
	// a message as a whole. Default 60s.
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`

	// StreamTimeout bounds how long an event stream (text/event-stream) or an
	// upgraded connection such as a WebSocket may be silent. Default 1h.
	StreamTimeout time.Duration `mapstructure:"stream_timeout"`

	// KeepAlive is how long an unused connection is kept; it should be shorter
	// than the origin's own limit (5s in Node). Default 4s.
	KeepAlive time.Duration `mapstructure:"keep_alive"`

	// MaxConns bounds the connections to this upstream. Default 512.
	MaxConns int `mapstructure:"max_conns"`

	// InsecureSkipVerify accepts any certificate. For test origins only.
	InsecureSkipVerify bool `mapstructure:"insecure_skip_verify"`

	// CAFile holds the PEM certificates to trust instead of the system's.
	CAFile string `mapstructure:"ca_file"`
}

// Validate reports everything that is wrong with the settings.
func (c *Config) Validate() decision.Faults {
	var faults decision.Faults
	if c.Name == "" {
		faults.Add("name", "an upstream needs a name")
	}
	if _, err := parseOrigin(c.URL); err != nil {
		faults.Add("url", "%v", err)
	}
	if c.Host != "" && c.Host != HostUpstream && c.Host != HostClient && !validAuthority(c.Host) {
		faults.Add("host", "%q is not a host name; expected upstream, client or a name", c.Host)
	}
	for _, limit := range []struct {
		path  string
		value time.Duration
	}{
		{"dial_timeout", c.DialTimeout}, {"header_timeout", c.HeaderTimeout},
		{"idle_timeout", c.IdleTimeout}, {"stream_timeout", c.StreamTimeout}, {"keep_alive", c.KeepAlive},
	} {
		if limit.value < 0 {
			faults.Add(limit.path, "%s is negative", limit.value)
		}
	}
	if c.MaxConns < 0 || c.MaxConns > mostConns {
		faults.Add("max_conns", "%d is not between 1 and %d", c.MaxConns, mostConns)
	}
	if c.CAFile != "" {
		if _, err := readRoots(c.CAFile); err != nil {
			faults.Add("ca_file", "%v", err)
		}
	}
	return faults
}

func (c *Config) setDefaults() {
	setDefault(&c.Host, HostUpstream)
	setDefault(&c.DialTimeout, defaultDialTimeout)
	setDefault(&c.HeaderTimeout, defaultHeaderTimeout)
	setDefault(&c.IdleTimeout, defaultIdleTimeout)
	setDefault(&c.StreamTimeout, defaultStreamTimeout)
	setDefault(&c.KeepAlive, defaultKeepAlive)
	setDefault(&c.MaxConns, defaultMaxConns)
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
	if err != nil {
		return origin{}, fmt.Errorf("%q is not a URL, as http://127.0.0.1:8080 is", raw)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return origin{}, fmt.Errorf("%q must begin with http:// or https://", raw)
	case u.Hostname() == "" || !validAuthority(u.Host):
		return origin{}, fmt.Errorf("%q names no host", raw)
	case u.User != nil:
		return origin{}, errors.New("the URL must not hold a user or password")
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

func readRoots(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q holds no PEM certificate", path)
	}
	return roots, nil
}

// tlsConfig returns nil for a plain origin.
func (c *Config) tlsConfig(o origin) (*tls.Config, error) {
	if !o.secure {
		return nil, nil
	}
	name := o.name
	if c.Host != HostUpstream && c.Host != HostClient {
		name = hostOnly(c.Host)
	}
	settings := &tls.Config{
		ServerName:         name,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: c.InsecureSkipVerify,
		ClientSessionCache: tls.NewLRUClientSessionCache(32),
	}
	if c.CAFile != "" {
		roots, err := readRoots(c.CAFile)
		if err != nil {
			return nil, err
		}
		settings.RootCAs = roots
	}
	return settings, nil
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
