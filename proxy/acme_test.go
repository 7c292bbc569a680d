package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/certificate"
)

// acmeServer is an authority by RFC 8555, as far as one client needs it: it checks
// challenges and nobody's signature.
type acmeServer struct {
	t         *testing.T
	url       string
	challenge string // the type that it offers
	node      *node  // whom it checks
	hasty     bool   // its first certificate is about to end

	mu      sync.Mutex
	orders  int
	domain  string
	status  string // of the authorization
	csr     []byte
	checked error
}

func startACME(t *testing.T, challenge string) (*acmeServer, certificate.ACME) {
	t.Helper()
	a := &acmeServer{t: t, challenge: challenge, status: "pending"}
	s := httptest.NewTLSServer(a)
	t.Cleanup(s.Close)
	a.url = s.URL
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a, certificate.ACME{Domains: []string{"shop.example"}, Email: "ada@example.com", DirectoryURL: s.URL + "/directory", CAFile: roots}
}

func (a *acmeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var envelope struct{ Payload string }
	_ = json.NewDecoder(r.Body).Decode(&envelope)
	payload, _ := base64.RawURLEncoding.DecodeString(envelope.Payload)
	w.Header().Set("Replay-Nonce", "nonce")
	w.Header().Set("Content-Type", "application/json")
	reply := func(status int, at string, v any) {
		if at != "" {
			w.Header().Set("Location", a.url+at)
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/directory":
		reply(200, "", map[string]any{"newNonce": a.url + "/nonce", "newAccount": a.url + "/account", "newOrder": a.url + "/orders"})
	case "/nonce":
	case "/account":
		reply(201, "/account", map[string]any{"status": "valid"})
	case "/orders":
		var order struct{ Identifiers []struct{ Value string } }
		_ = json.Unmarshal(payload, &order)
		a.domain, a.status, a.csr = order.Identifiers[0].Value, "pending", nil
		a.orders++
		reply(201, "/order", a.order())
	case "/order":
		reply(200, "/order", a.order())
	case "/authorization":
		reply(200, "", map[string]any{"status": a.status, "identifier": map[string]string{"type": "dns", "value": a.domain}, "challenges": []any{a.asked()}})
	case "/challenge":
		if a.checked = a.check(); a.checked == nil {
			a.status = "valid"
		} else {
			a.status = "invalid"
		}
		reply(200, "", a.asked())
	case "/finalize":
		var final struct{ CSR string }
		_ = json.Unmarshal(payload, &final)
		a.csr, _ = base64.RawURLEncoding.DecodeString(final.CSR)
		reply(200, "/order", a.order())
	case "/certificate":
		csr, err := x509.ParseCertificateRequest(a.csr)
		if err != nil {
			a.t.Errorf("the request for a certificate: %v", err)
			return
		}
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		valid := 12 * time.Hour
		if a.orders == 1 && a.hasty {
			valid = time.Minute
		}
		_, _ = w.Write(testAuthority().signFor(a.t, valid, csr.PublicKey, csr.DNSNames...))
	default:
		a.t.Errorf("asked for %s", r.URL.Path)
	}
}

func (a *acmeServer) order() map[string]any {
	order := map[string]any{"status": "pending", "authorizations": []string{a.url + "/authorization"}, "finalize": a.url + "/finalize",
		"identifiers": []any{map[string]string{"type": "dns", "value": a.domain}}}
	switch {
	case a.status == "valid" && a.csr != nil:
		order["status"], order["certificate"] = "valid", a.url+"/certificate"
	case a.status == "valid":
		order["status"] = "ready"
	case a.status == "invalid":
		order["status"] = "invalid"
	}
	return order
}

const acmeToken = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"

func (a *acmeServer) asked() map[string]any {
	return map[string]any{"type": a.challenge, "url": a.url + "/challenge", "token": acmeToken, "status": a.status}
}

// check asks the node as an authority does.
func (a *acmeServer) check() error {
	if a.challenge == "tls-alpn-01" {
		c, err := tls.Dial("tcp", a.node.tlsAddr, &tls.Config{ServerName: a.domain, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		defer c.Close()
		for _, extension := range c.ConnectionState().PeerCertificates[0].Extensions {
			if extension.Id.String() == "1.3.6.1.5.5.7.1.31" {
				return nil
			}
		}
		return errors.New("the certificate shown answers no challenge")
	}
	req, _ := http.NewRequestWithContext(context.Background(), "GET", "http://"+a.node.addr+certificate.ChallengePath+acmeToken, nil)
	req.Host = a.domain
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || !strings.HasPrefix(string(body), acmeToken+".") {
		return fmt.Errorf("answered with %s %q", resp.Status, body)
	}
	return nil
}

// A certificate is obtained when the first client asks for the name, and comes from
// the data directory after a restart.
func TestACME(t *testing.T) {
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			authority, config := startACME(t, challenge)
			s := setup{config: Config{DataDir: t.TempDir(), TLS: TLS{ACME: config, Redirect: true}}}
			for range 2 {
				n := start(t, pages(t, "text/plain", "ok"), s)
				authority.mu.Lock()
				authority.node = n
				authority.mu.Unlock()
				if got := n.shown("shop.example"); got != "shop.example" {
					t.Fatalf("shown %q; challenge: %v; log %s", got, authority.checked, n.log)
				}
				if got := n.shown("other.example"); !strings.Contains(got, "error") {
					t.Errorf("another name is shown %q", got)
				}
				if expiries, failures := n.server.Certificates(); len(expiries) != 1 || expiries[0].Name != "shop.example" || failures != 0 {
					t.Errorf("%+v, %d failures", expiries, failures)
				}
				if r := n.get(certificate.ChallengePath + "none"); r.StatusCode != 404 && r.StatusCode != 403 {
					t.Errorf("an unknown challenge: %d", r.StatusCode)
				}
			}
			if authority.orders != 1 {
				t.Errorf("%d orders", authority.orders)
			}
		})
	}
}

// A certificate that is about to end is renewed while it is shown, and nobody waits
// for that.
func TestACMERenews(t *testing.T) {
	authority, config := startACME(t, "http-01")
	authority.hasty = true
	n := start(t, pages(t, "text/plain", "ok"), setup{config: Config{DataDir: t.TempDir(), TLS: TLS{ACME: config}}})
	authority.mu.Lock()
	authority.node = n
	authority.mu.Unlock()
	left := func() time.Duration {
		if got := n.shown("shop.example"); got != "shop.example" {
			t.Fatalf("shown %q; log %s", got, n.log)
		}
		expiries, _ := n.server.Certificates()
		return time.Until(expiries[0].At)
	}
	if at := left(); at <= 0 {
		t.Errorf("at first: %v", at)
	}
	eventually(t, "renewed", func() bool { return left() > time.Hour })
	if _, failures := n.server.Certificates(); failures != 0 || authority.orders != 2 {
		t.Errorf("%d failures, %d orders", failures, authority.orders)
	}
}

// Without ACME the path of its challenges belongs to the origin.
func TestChallengePathWithoutACME(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overTLS})
	if r := n.get(certificate.ChallengePath + "x"); r.body != "ok" {
		t.Errorf("%d %q", r.StatusCode, r.body)
	}
	n = start(t, pages(t, "text/plain", "ok"), setup{})
	if r := n.get(certificate.ChallengePath + "x"); r.body != "ok" {
		t.Errorf("%d %q", r.StatusCode, r.body)
	}
}
