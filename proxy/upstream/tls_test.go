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
	settings := &tls.Config{Certificates: []tls.Certificate{certificate}}
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
