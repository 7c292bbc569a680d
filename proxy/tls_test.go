package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/certificate"
)

// shown returns the first name of the certificate that a client is shown.
func (n *node) shown(name string) string {
	n.t.Helper()
	config := testAuthority().client()
	config.InsecureSkipVerify = true // the name need not fit: which one is shown is the question
	config.ServerName = name
	c, err := tls.Dial("tcp", n.tlsAddr, config)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].DNSNames[0]
}

func TestCertificateByName(t *testing.T) {
	a := testAuthority()
	var files []certificate.Files
	for _, name := range []string{"first.example", "*.second.example", "third.example"} {
		files = append(files, a.issue(t, name)...)
	}
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overTLS, config: Config{TLS: TLS{Certificates: files}}})
	for asked, want := range map[string]string{
		"first.example": "first.example", "www.second.example": "*.second.example", "third.example": "third.example",
		"other.example": "first.example", "": "first.example",
	} {
		if got := n.shown(asked); got != want {
			t.Errorf("%q is shown %q", asked, got)
		}
	}
}

// Changed files are taken over by a running server; a pair that does not fit leaves
// the old one, and is told of once.
func TestCertificateIsReadAgain(t *testing.T) {
	a := testAuthority()
	files := a.issue(t, "old.example")
	var ahead atomic.Int64 // seconds
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * time.Second) }
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overTLS, now: now, config: Config{TLS: TLS{Certificates: files}}})
	if got := n.shown(""); got != "old.example" {
		t.Fatalf("at the start: %q", got)
	}
	if err := os.WriteFile(files[0].KeyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ahead.Add(2)
		if got := n.shown(""); got != "old.example" {
			t.Errorf("with a broken key: %q", got)
		}
	}
	if _, failures := n.server.Certificates(); failures != 1 || strings.Count(n.log.String(), "not taken over") != 1 {
		t.Errorf("%d failures, log %s", failures, n.log)
	}
	a.write(t, files[0], "new.example")
	ahead.Add(2)
	if got := n.shown(""); got != "new.example" {
		t.Errorf("afterwards: %q", got)
	}
	expiries, _ := n.server.Certificates()
	if len(expiries) != 1 || expiries[0].Name != files[0].CertFile || time.Until(expiries[0].At) < time.Hour {
		t.Errorf("%+v", expiries)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overTLS})
	config := testAuthority().client()
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", n.tlsAddr, config); err == nil {
		c.Close()
		t.Error("TLS 1.1 was taken")
	}
	eventually(t, "counted", func() bool { return n.server.Stats().Handshakes.Load() == 1 })
}

// Connections count alike however they come, also before their handshake is done;
// one that never shakes hands is closed in the time of a head.
func TestLimitsCountTLS(t *testing.T) {
	t.Parallel() // it waits
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overTLS, config: Config{MaxConnectionsPerIP: 2, HeaderTimeout: 2 * time.Second}})
	dial := func(address string) net.Conn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	silent := []net.Conn{dial(n.tlsAddr), dial(n.tlsAddr)}
	eventually(t, "both are counted", func() bool { return n.server.Stats().Connections.Load() == 2 })
	if answer, _ := io.ReadAll(dial(n.addr)); !strings.HasPrefix(string(answer), "HTTP/1.1 429") {
		t.Errorf("a third one got %q", answer)
	}
	for _, c := range silent {
		if answer, err := io.ReadAll(c); len(answer) != 0 || isTimeoutError(err) {
			t.Errorf("a silent one got %q, %v", answer, err)
		}
	}
	if r := n.get("/"); r.StatusCode != 200 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}

// Over HTTP/2 too a connection without a request makes room for another, and one
// with a request does not.
func TestConnectionsMakeRoomOverHTTP2(t *testing.T) {
	hold, arrived := make(chan struct{}), make(chan struct{}, 1)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-hold
	})
	n := start(t, o, setup{over: overHTTP2, config: Config{MaxConnections: 1}})
	done := make(chan int, 1)
	go func() { done <- n.get("/").StatusCode }()
	<-arrived
	if answer := n.raw(""); !strings.HasPrefix(answer, "HTTP/1.1 503") || !strings.Contains(answer, "Retry-After") {
		t.Errorf("a second one got %q", answer)
	}
	close(hold)
	if status := <-done; status != 200 {
		t.Errorf("the first one got %d", status)
	}
	eventually(t, "the first one waits", func() bool { return n.server.conns.waiting() == 1 })
	if answer := n.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("then the second one got %q", answer)
	}
	if evicted := n.server.Stats().Evicted.Load(); evicted != 1 {
		t.Errorf("%d made room", evicted)
	}
}

func TestRedirectToTLS(t *testing.T) {
	var asked atomic.Int64
	s := setup{config: Config{TLS: TLS{Redirect: true, Certificates: testAuthority().issue(t, "shop.example")}, TrustedProxies: []string{"127.0.0.1"}}}
	n := start(t, counting(t, &asked), s)
	_, port, _ := net.SplitHostPort(n.tlsAddr)
	eventually(t, "the encrypted listener is known", func() bool { return n.server.tlsPort.Load() != 0 })
	for host, want := range map[string]string{
		"shop.example": "https://shop.example/a%2Fb?c", "shop.example:80": "https://shop.example/a%2Fb?c",
		"shop.example:8080": "https://shop.example:" + port + "/a%2Fb?c", "[::1]": "https://[::1]/a%2Fb?c",
	} {
		r := n.do("POST", "/a%2Fb?c", strings.NewReader("x"), "Host", host)
		if r.StatusCode != 308 || r.Header.Get("Location") != want {
			t.Errorf("%s: %d to %q", host, r.StatusCode, r.Header.Get("Location"))
		}
	}
	if r := n.get("/", "X-Forwarded-Proto", "https"); r.StatusCode != 200 || asked.Load() != 1 {
		t.Errorf("behind a proxy: %d, the origin was asked %d times", r.StatusCode, asked.Load())
	}
}

// The end of a streamed body without a length, and its break, differ over TLS too.
func TestHTTP10OverTLS(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello")
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	})
	n := start(t, o, setup{over: overTLS})
	for path, whole := range map[string]bool{"/": true, "/cut": false} {
		c, err := tls.Dial("tcp", n.tlsAddr, testAuthority().client())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "GET %s HTTP/1.0\r\nHost: x\r\n\r\n", path)
		if answer, err := io.ReadAll(c); (err == nil) != whole || whole && !strings.HasSuffix(string(answer), "\r\n\r\nhello") {
			t.Errorf("%s: %q, %v", path, answer, err)
		}
		c.Close()
	}
}
