package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// selfSigned makes a certificate for a name and the file to trust it by.
func selfSigned(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// secureOrigin serves TLS over newOrigin's connections.
func secureOrigin(t *testing.T, certificate tls.Certificate, names *atomic.Value, serve func(p *peer)) *rawOrigin {
	t.Helper()
	return tlsOrigin(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, names, serve)
}

func tlsOrigin(t *testing.T, settings *tls.Config, names *atomic.Value, serve func(p *peer)) *rawOrigin {
	t.Helper()
	return newOrigin(t, func(p *peer) {
		secure := tls.Server(p.Conn, settings)
		if secure.Handshake() != nil {
			return
		}
		defer secure.Close()
		names.Store(secure.ConnectionState().ServerName)
		p.Conn = secure
		p.br.Reset(secure)
		serve(p)
	})
}

func TestTLSIsVerified(t *testing.T) {
	certificate, ca := selfSigned(t, "origin.example")
	var name atomic.Value
	o := secureOrigin(t, certificate, &name, answering(okHello))
	_, port, _ := net.SplitHostPort(o.listener.Addr().String())
	url := "https://127.0.0.1:" + port

	good := newUpstream(t, url, func(c *Config) { c.Host, c.CAFile = "origin.example", ca })
	for range 3 {
		wantOK(t, good, "hello")
	}
	if name.Load() != "origin.example" {
		t.Errorf("server name %v", name.Load())
	}
	if n := o.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	for what, change := range map[string]func(*Config){
		"another name":    func(c *Config) { c.Host, c.CAFile = "other.example", ca },
		"unknown signer":  func(c *Config) { c.Host = "origin.example" },
		"address as name": func(c *Config) { c.CAFile = ca },
	} {
		_, _, err := fetch(newUpstream(t, url, change), get(t), nil, Options{})
		if e, ok := err.(*Error); !ok || e.Kind != Dial {
			t.Errorf("%s: %v, want it refused", what, err)
		}
	}
	wantOK(t, newUpstream(t, url, func(c *Config) { c.InsecureSkipVerify = true }), "hello")
}

// A record that follows the body's is held back by crypto/tls, unseen by the
// socket; it must not answer the next request either.
func TestTLSBytesBehindTheBodyReachNobody(t *testing.T) {
	certificate, ca := selfSigned(t, "origin.example")
	var name atomic.Value
	o := secureOrigin(t, certificate, &name, func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			p.send(okHello)
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		}
	})
	_, port, _ := net.SplitHostPort(o.listener.Addr().String())
	u := newUpstream(t, "https://127.0.0.1:"+port, func(c *Config) { c.Host, c.CAFile = "origin.example", ca })
	for range 4 {
		wantOK(t, u, "hello")
		// The second record may still be under way when the body ends.
		c := u.members[0].pool.idle
		if len(c) > 0 {
			eventually(t, "the bytes behind the body are seen", func() bool { return !c[0].quiet() })
		}
	}
}

func TestTLSHandshakeIsBounded(t *testing.T) {
	o := newOrigin(t, func(p *peer) { p.gone() })
	_, port, _ := net.SplitHostPort(o.listener.Addr().String())
	u := newUpstream(t, "https://127.0.0.1:"+port, func(c *Config) { c.DialTimeout = 50 * time.Millisecond })
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Timeout)
}

// port is that of an origin, for a URL with another host.
func (o *rawOrigin) port() string {
	_, port, _ := net.SplitHostPort(o.listener.Addr().String())
	return port
}

// The certificate must hold the client's host where the origin is told that, and no
// connection serves two of them.
func TestServerNameFollowsTheHost(t *testing.T) {
	first, firstCA := selfSigned(t, "a.example")
	second, secondCA := selfSigned(t, "b.example")
	both := filepath.Join(t.TempDir(), "ca.pem")
	var bundle []byte
	for _, file := range []string{firstCA, secondCA} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, text...)
	}
	if err := os.WriteFile(both, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	var name atomic.Value
	o := tlsOrigin(t, &tls.Config{Certificates: []tls.Certificate{first, second}}, &name, func(p *peer) {
		for {
			head, ok := p.request()
			if !ok {
				return
			}
			host, _, _ := strings.Cut(head[strings.Index(head, "Host: ")+6:], "\r\n")
			if secure := p.Conn.(*tls.Conn); secure.ConnectionState().ServerName != hostOnly(host) {
				p.send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n")
				continue
			}
			p.send(okHello)
		}
	})
	u := newUpstream(t, "https://127.0.0.1:"+o.port(), func(c *Config) { c.Host, c.CAFile, c.MaxConns = HostClient, both, 2 })
	visit := func(host string) (int, error) {
		req := prepared(t, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n", PrepareOptions{Host: host})
		status, _, err := fetch(u, req, nil, Options{})
		return status, err
	}
	for range 3 {
		for _, host := range []string{"a.example", "B.example:8443"} {
			if status, err := visit(host); status != 200 || err != nil {
				t.Fatalf("%s: %d %v", host, status, err)
			}
		}
	}
	if n := o.connections(); n != 2 {
		t.Errorf("%d connections, want one for each name", n)
	}
	_, err := visit("secret.example")
	wantKind(t, err, Dial)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells what the client said: %v", err)
	}
	if s := u.Stats(); s.Active != 0 || s.Idle > 2 {
		t.Errorf("connections %+v, want at most as many as may be", s)
	}
	// A name of its own comes first, for certificate and for connections.
	fixed := newUpstream(t, "https://127.0.0.1:"+o.port(), func(c *Config) { c.Host, c.ServerName, c.CAFile = HostClient, "a.example", both })
	if status, _, err := fetch(fixed, get(t), nil, Options{}); status != 421 || err != nil {
		t.Errorf("%d %v", status, err)
	}
	if name.Load() != "a.example" {
		t.Errorf("server name %v", name.Load())
	}
}

// writePair writes certificate and key to two files.
func writePair(t *testing.T, pair tls.Certificate, cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMutualTLS(t *testing.T) {
	certificate, ca := selfSigned(t, "origin.example")
	sedge, sedgeCA := selfSigned(t, "sedge.example")
	renewed, renewedCA := selfSigned(t, "renewed.example")
	trusted := x509.NewCertPool()
	for _, file := range []string{sedgeCA, renewedCA} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		trusted.AppendCertsFromPEM(text)
	}
	var name atomic.Value
	o := tlsOrigin(t, &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert}, &name,
		func(p *peer) {
			p.request()
			shown := p.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
			p.send("HTTP/1.1 200 OK\r\n\r\n" + shown)
		})
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, sedge, cert, key)
	url := "https://127.0.0.1:" + o.port()
	trusting := func(c *Config) { c.ServerName, c.CAFile = "origin.example", ca }
	if got := ask(t, newUpstream(t, url, trusting), Options{}); got == "sedge.example" || len(o.received()) != 0 {
		t.Errorf("without a certificate: %s", got)
	}
	stranger, _ := selfSigned(t, "stranger.example")
	strangeCert, strangeKey := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	writePair(t, stranger, strangeCert, strangeKey)
	unknown := newUpstream(t, url, trusting, func(c *Config) { c.ClientCertFile, c.ClientKeyFile = strangeCert, strangeKey })
	if got := ask(t, unknown, Options{}); got == "stranger.example" || len(o.received()) != 0 {
		t.Errorf("with a stranger's certificate: %s", got)
	}
	c := newClock()
	u := newUpstreamIn(t, Deps{Now: c.now}, url, trusting, func(c *Config) { c.ClientCertFile, c.ClientKeyFile = cert, key })
	if got := ask(t, u, Options{}); got != "sedge.example" {
		t.Fatalf("got %s", got)
	}
	// A renewed certificate shows without a reload; a broken one is not taken over.
	c.forward(time.Second)
	writePair(t, renewed, cert, key)
	if err := os.Chtimes(cert, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, u, Options{}); got != "renewed.example" {
		t.Errorf("got %s", got)
	}
	c.forward(time.Second)
	if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, u, Options{}); got != "renewed.example" {
		t.Errorf("got %s", got)
	}
}
