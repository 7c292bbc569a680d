package proxy

import (
	"bufio"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/certificate"
)

// checkWire checks what must hold of every head that is let through.
func checkWire(t *testing.T, wire string) {
	var h fasthttp.RequestHeader
	h.DisableNormalizing()
	if h.Read(bufio.NewReader(strings.NewReader(wire))) != nil {
		return
	}
	fields, _, err := checkHead(nil, &h)
	if err != nil {
		return
	}
	framings := 0
	for _, f := range fields {
		if strings.ContainsAny(string(f.name), " \t\r\n:\x00") || strings.ContainsAny(string(f.value), "\r\n\x00") {
			t.Fatalf("field %q: %q passed", f.name, f.value)
		}
		if equalFold(f.name, "Content-Length") || equalFold(f.name, "Transfer-Encoding") {
			framings++
		}
	}
	if framings > 1 {
		t.Fatalf("%d framings passed", framings)
	}
}

func TestFieldNames(t *testing.T) {
	names := newFieldNames("X-Host", "Profile", "CF-Connecting-IP")
	for name, want := range map[string]bool{
		"X-Host": true, "x-host": true, "X-HOST": true, "profile": true, "cf-connecting-ip": true,
		"": false, "X-Hosts": false, "X-Hose": false, "8-Host": false, "Accept": false, strings.Repeat("X", 31): false, strings.Repeat("x", 500): false,
	} {
		if names.has([]byte(name)) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	c := Config{
		Listen: "here", MaxHeader: 1, MaxBody: -1, PageMemory: 1, HeaderTimeout: 1, MaxConnections: -1,
		MaxConnectionsPerIP: -1, MaxInFlight: -1, MaxQueueDelay: 1, MaxMemory: 1, TrustedProxies: []string{"10.0.0.0/8", "nobody"}, ReservedPrefix: "/a/b", MaxStreams: -1,
		TLS: TLS{
			Listen:       "8443",
			Certificates: []certificate.Files{{}, {CertFile: "none.pem"}, {CertFile: "none.pem", KeyFile: "none.pem"}},
			ACME:         certificate.ACME{Domains: []string{"*.shop.example", "localhost"}, DirectoryURL: "http://x/", CAFile: "none.pem"},
		},
	}
	want := []string{
		"listen", "tls.listen", "tls.certificates[0].cert_file", "tls.certificates[1].key_file", "tls.certificates[2].cert_file",
		"tls.acme.domains[0]", "tls.acme.domains[1]", "tls.acme.directory_url", "tls.acme.ca_file", "max_streams", "max_header", "max_body", "page_memory", "header_timeout",
		"max_queue_delay", "max_connections", "max_in_flight", "max_memory", "max_connections_per_ip", "trusted_proxies[1]", "reserved_prefix",
	}
	faults := c.Validate()
	if len(faults) != len(want) {
		t.Fatalf("%d faults: %v", len(faults), faults)
	}
	for i, f := range faults {
		if f.Path != want[i] {
			t.Errorf("fault %d at %q, want %q", i, f.Path, want[i])
		}
	}
	c = Config{TLS: TLS{Redirect: true, ACME: certificate.ACME{Email: "ada@example.com"}}}
	if faults := c.Validate(); len(faults) != 2 || faults[0].Path != "tls.acme.domains" || faults[1].Path != "tls.redirect" {
		t.Errorf("TLS without certificates: %v", faults)
	}
	c = Config{Listen: ":443", TLS: TLS{Listen: ":443", ACME: certificate.ACME{Domains: []string{"shop.example"}}}}
	if faults := c.Validate(); len(faults) != 1 || faults[0].Path != "tls.listen" {
		t.Errorf("one address for both: %v", faults)
	}
	if faults := new(Config).Validate(); len(faults) != 0 {
		t.Errorf("the zero value: %v", faults)
	}
	_, faults = compileRoutes([]Route{{Upstream: "none", Hosts: []string{"a:1"}, Paths: []string{"x"}}}, nil)
	if len(faults) != 3 || faults[0].Path != "[0].hosts[0]" || faults[2].Path != "[0].upstream" {
		t.Errorf("routes: %v", faults)
	}
}
