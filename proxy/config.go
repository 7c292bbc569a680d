package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/certificate"
)

// Defaults of [Config].
const (
	DefaultListen            = ":8080"
	DefaultMaxHeader         = 32 << 10
	DefaultHeaderTimeout     = 10 * time.Second
	DefaultIdleTimeout       = 60 * time.Second
	DefaultKeepAlive         = 75 * time.Second
	DefaultMaxConnections    = 16384
	DefaultMaxInFlight       = 8192
	DefaultMaxQueueDelay     = 10 * time.Millisecond
	DefaultPersonalizeBudget = 50 * time.Millisecond
	DefaultPageMemory        = 1 << 20
	DefaultReservedPrefix    = "/_sedge"
	DefaultSampleRatio       = 0.01
	DefaultServiceName       = "sedge"
	DefaultTLSListen         = ":8443"
	DefaultMaxStreams        = 250
)

// leastMemory is what a node needs to do anything.
const leastMemory = 64 << 20

// Config is the server block. The zero value of a setting means its default.
type Config struct {
	// Listen is the address of the site's listener; ":8080" by default.
	Listen string `mapstructure:"listen"`

	// TLS is the encrypted listener beside the plain one.
	TLS TLS `mapstructure:"tls"`

	// HTTP2 offers HTTP/2 to clients that come over TLS; on by default.
	HTTP2 *bool `mapstructure:"http2"`

	// MaxStreams bounds the requests that one HTTP/2 connection may have under way;
	// 250 by default.
	MaxStreams int `mapstructure:"max_streams"`

	// ProxyProtocol expects each connection to begin with a PROXY protocol header,
	// version 1 or 2, that names the client; off by default. With TrustedProxies only
	// connections from these begin so, and all others with the request itself.
	ProxyProtocol bool `mapstructure:"proxy_protocol"`

	// DataDir is where the program keeps its state. The proxy keeps what ACME
	// obtains in it, below "acme".
	DataDir string `mapstructure:"data_dir"`

	// MaxHeader bounds a request's head; 32KiB by default. A larger one is
	// answered with 431.
	MaxHeader decision.Size `mapstructure:"max_header"`

	// MaxBody bounds a request's body; a larger one is answered with 413. Zero
	// (default) means no limit: bodies are streamed and cost no memory.
	MaxBody decision.Size `mapstructure:"max_body"`

	// HeaderTimeout bounds the time from the first byte of a request to the end
	// of its head; 10s by default.
	HeaderTimeout time.Duration `mapstructure:"header_timeout"`

	// IdleTimeout bounds each single read and write of a body; 60s by default.
	// There is no limit to a message as a whole.
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`

	// KeepAlive is how long an unused connection stays open; 75s by default.
	KeepAlive time.Duration `mapstructure:"keep_alive"`

	// MaxConnections bounds the connections as a whole; 16384 by default. Beyond
	// it a connection that waits for its next request makes room for a new one; if
	// there is none, the new one is answered with 503.
	MaxConnections int `mapstructure:"max_connections"`

	// MaxConnectionsPerIP bounds the connections of one address, over IPv6 of its
	// network of 64 bits; 0 (default) means no limit. It must stay 0 behind a load
	// balancer, unless that tells addresses by the PROXY protocol.
	MaxConnectionsPerIP int `mapstructure:"max_connections_per_ip"`

	// MaxInFlight bounds the requests that wait for the head of their answer; 8192
	// by default. Beyond it a request is answered with 503 and Retry-After at once.
	MaxInFlight int `mapstructure:"max_in_flight"`

	// MaxQueueDelay is how long requests may wait for a processor; 10ms by default.
	// When they wait longer for a while, a growing share of them is answered with 503
	// and Retry-After at once, so that the others are served quickly.
	MaxQueueDelay time.Duration `mapstructure:"max_queue_delay"`

	// MaxMemory bounds the memory of the process, its plugins apart. The garbage
	// collector works harder from nine tenths of it on; at it, what is kept of pages is
	// dropped, and requests are answered with 503 until a tenth is free again. The
	// memory of the cache block should be well below it. By default it is the limit of
	// GOMEMLIMIT, if that is set, and none otherwise. It should be at most nine tenths
	// of what a container may use.
	MaxMemory decision.Size `mapstructure:"max_memory"`

	// PersonalizeBudget bounds the time for profile, segments, arms and plan of
	// one request; 50ms by default. When it is used up, the visitor gets the
	// origin's own page.
	PersonalizeBudget time.Duration `mapstructure:"personalize_budget"`

	// Bypass makes every route plain proxying, as if each had personalize: false.
	// A reload takes it over. In an emergency, "sedge bypass on" is quicker.
	Bypass bool `mapstructure:"bypass"`

	// PageMemory bounds what the rewriter holds back of one page; 1MiB by default.
	PageMemory decision.Size `mapstructure:"page_memory"`

	// TrustedProxies are addresses or networks in front of Sedge whose
	// X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed. The
	// client is the last address in X-Forwarded-For that is not among them. What
	// others send in these headers, and in Forwarded, reaches nobody; a trusted
	// proxy's Forwarded is passed on with our own part added, and not read.
	TrustedProxies []string `mapstructure:"trusted_proxies"`

	// ReservedPrefix is where Sedge's own paths on the site begin; "/_sedge" by
	// default. They never reach the origin.
	ReservedPrefix string `mapstructure:"reserved_prefix"`

	// AccessLog writes one line per request when its answer has ended; on by default.
	// It holds no query, cookie, visitor or address of a client.
	AccessLog *bool `mapstructure:"access_log"`

	// Tracing sends OpenTelemetry spans of sampled requests to a collector.
	Tracing Tracing `mapstructure:"tracing"`
}

// Tracing is the tracing block of the server's.
type Tracing struct {
	// Endpoint is the URL of a collector that takes OTLP over HTTP, as in
	// "http://localhost:4318"; without a path, /v1/traces is meant. Empty (default)
	// traces nothing. Keys go into the environment, as OTEL_EXPORTER_OTLP_HEADERS.
	Endpoint string `mapstructure:"endpoint"`

	// SampleRatio is the share of requests traced of those that come without a
	// traceparent; 1% by default. The others are traced if it says so.
	SampleRatio *decision.Share `mapstructure:"sample_ratio"`

	// ServiceName is what the spans call this service; "sedge" by default.
	ServiceName string `mapstructure:"service_name"`
}

func (t Tracing) withDefaults() Tracing {
	setDefault(&t.ServiceName, DefaultServiceName)
	if t.SampleRatio == nil {
		ratio := decision.Share(DefaultSampleRatio)
		t.SampleRatio = &ratio
	}
	return t
}

// Validate reports everything that is wrong.
func (t *Tracing) Validate() decision.Faults {
	var faults decision.Faults
	if u, err := url.Parse(t.Endpoint); t.Endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "") {
		faults.Add("endpoint", "expected the URL of a collector, as in http://localhost:4318, without user or query")
	}
	if r := t.SampleRatio; r != nil && !(*r >= 0 && *r <= 1) {
		faults.Add("sample_ratio", "found %v, expected 0 to 1, as in 1%% or 0.01", float64(*r))
	}
	if !printable(strings.ReplaceAll(t.ServiceName, " ", "")) || len(t.ServiceName) > 255 {
		faults.Add("service_name", "expected at most 255 printable characters")
	}
	return faults
}

// TLS is the server.tls block. Without certificates it is off.
type TLS struct {
	// Listen is the address of the encrypted listener; ":8443" by default.
	Listen string `mapstructure:"listen"`

	// Certificates are certificates from files. The first one that fits the name that
	// a client asks for is shown, and the very first one if none does.
	Certificates []certificate.Files `mapstructure:"certificates"`

	// ACME obtains certificates for names that no file fits.
	ACME certificate.ACME `mapstructure:"acme"`

	// Redirect answers every request to the plain listener with a redirect to https,
	// save for the challenges of ACME; off by default. A request that a trusted proxy
	// received over https is answered as usual.
	Redirect bool `mapstructure:"redirect"`
}

// Enabled reports whether there are certificates to show.
func (t *TLS) Enabled() bool { return len(t.Certificates) > 0 || len(t.ACME.Domains) > 0 }

// WithDefaults returns the configuration with every zero value replaced.
func (c Config) WithDefaults() Config {
	setDefault(&c.Listen, DefaultListen)
	setDefault(&c.MaxHeader, DefaultMaxHeader)
	setDefault(&c.HeaderTimeout, DefaultHeaderTimeout)
	setDefault(&c.IdleTimeout, DefaultIdleTimeout)
	setDefault(&c.KeepAlive, DefaultKeepAlive)
	setDefault(&c.MaxConnections, DefaultMaxConnections)
	setDefault(&c.MaxInFlight, DefaultMaxInFlight)
	setDefault(&c.MaxQueueDelay, DefaultMaxQueueDelay)
	setDefault(&c.PersonalizeBudget, DefaultPersonalizeBudget)
	setDefault(&c.PageMemory, DefaultPageMemory)
	setDefault(&c.ReservedPrefix, DefaultReservedPrefix)
	c.Tracing = c.Tracing.withDefaults()
	setDefault(&c.TLS.Listen, DefaultTLSListen)
	setDefault(&c.MaxStreams, DefaultMaxStreams)
	for _, on := range []**bool{&c.AccessLog, &c.HTTP2} {
		if *on == nil {
			yes := true
			*on = &yes
		}
	}
	return c
}

func setDefault[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// Validate reports everything that is wrong.
func (c *Config) Validate() decision.Faults {
	var faults decision.Faults
	if c.Listen != "" && !isListenAddress(c.Listen) {
		faults.Add("listen", "%q: expected host:port or :port, with a port up to 65535", c.Listen)
	}
	if c.TLS.Listen != "" && !isListenAddress(c.TLS.Listen) {
		faults.Add("tls.listen", "%q: expected host:port or :port, with a port up to 65535", c.TLS.Listen)
	}
	if d := c.WithDefaults(); d.TLS.Enabled() && d.Listen == d.TLS.Listen && !strings.HasSuffix(d.Listen, ":0") {
		faults.Add("tls.listen", "%q is the address of the plain listener; expected another one", d.TLS.Listen)
	}
	faults.Under("tls", certificate.Validate(c.TLS.Certificates, c.TLS.ACME))
	if c.TLS.Redirect && !c.TLS.Enabled() {
		faults.Add("tls.redirect", "expected certificates or acme beside it, or there is nothing to redirect to")
	}
	if c.MaxStreams < 0 || c.MaxStreams > 10000 {
		faults.Add("max_streams", "%d: expected 1 to 10000", c.MaxStreams)
	}
	if c.MaxHeader != 0 && (c.MaxHeader < 4<<10 || c.MaxHeader > 1<<20) {
		faults.Add("max_header", "%d bytes: expected 4KiB to 1MiB", c.MaxHeader)
	}
	if c.MaxBody < 0 {
		faults.Add("max_body", "%d: expected a size, or 0 for no limit", c.MaxBody)
	}
	if c.PageMemory != 0 && (c.PageMemory < 16<<10 || c.PageMemory > 256<<20) {
		faults.Add("page_memory", "%d bytes: expected 16KiB to 256MiB", c.PageMemory)
	}
	durations := []struct {
		path       string
		value      time.Duration
		least, top time.Duration
	}{
		{"header_timeout", c.HeaderTimeout, 100 * time.Millisecond, 10 * time.Minute},
		{"idle_timeout", c.IdleTimeout, 100 * time.Millisecond, 24 * time.Hour},
		{"keep_alive", c.KeepAlive, 100 * time.Millisecond, 24 * time.Hour},
		{"max_queue_delay", c.MaxQueueDelay, time.Millisecond, time.Minute},
		{"personalize_budget", c.PersonalizeBudget, time.Millisecond, 10 * time.Second},
	}
	for _, d := range durations {
		if d.value != 0 && (d.value < d.least || d.value > d.top) {
			faults.Add(d.path, "%v: expected %v to %v", d.value, d.least, d.top)
		}
	}
	if c.MaxConnections < 0 || c.MaxConnections > 1<<20 {
		faults.Add("max_connections", "%d: expected 1 to %d", c.MaxConnections, 1<<20)
	}
	if c.MaxInFlight < 0 || c.MaxInFlight > 1<<20 {
		faults.Add("max_in_flight", "%d: expected 1 to %d", c.MaxInFlight, 1<<20)
	}
	if c.MaxMemory != 0 && c.MaxMemory < leastMemory {
		faults.Add("max_memory", "%d bytes: expected at least 64MiB, or 0 for no limit of its own", c.MaxMemory)
	}
	if c.MaxConnectionsPerIP < 0 {
		faults.Add("max_connections_per_ip", "%d: expected a number, or 0 for no limit", c.MaxConnectionsPerIP)
	}
	faults.Under("tracing", c.Tracing.Validate())
	for i, text := range c.TrustedProxies {
		if _, err := parsePrefix(text); err != nil {
			faults.Add(fmt.Sprintf("trusted_proxies[%d]", i), "%q: expected an address or a network such as 10.0.0.0/8", text)
		}
	}
	if p := c.ReservedPrefix; p != "" && (len(p) < 2 || p[0] != '/' || strings.HasSuffix(p, "/") || strings.ContainsAny(p[1:], "/%?# \t")) {
		faults.Add("reserved_prefix", "%q: expected one path element such as /_sedge", p)
	}
	return faults
}

func isListenAddress(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, err
	}
	return prefix.Masked(), nil
}

func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trusted proxy %q: %w", text, err)
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}
