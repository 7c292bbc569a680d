package proxy

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/sedge-proxy/sedge/proxy/certificate"
)

func (s *Server) loadCertificates() (err error) {
	s.certificates, err = certificate.New(s.cfg.TLS.Certificates, s.cfg.TLS.ACME, filepath.Join(s.cfg.DataDir, "acme"), s.now, s.log)
	if err != nil {
		return err
	}
	if h := s.certificates.Challenge(); h != nil {
		s.challenge = fasthttpadaptor.NewFastHTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// A context of its own: what hangs on to fasthttp's looks at it when that
			// is another request's already.
			h.ServeHTTP(w, r.WithContext(context.Background()))
		}))
	}
	return nil
}

func (s *Server) tlsConfig() *tls.Config {
	protocols := []string{"http/1.1"}
	if *s.cfg.HTTP2 {
		protocols = []string{"h2", "http/1.1"}
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: s.certificates.Get,
		NextProtos:     append(protocols, s.certificates.Protocols()...),
		// An answer is written at once: small records would only cost more calls.
		DynamicRecordSizingDisabled: true,
	}
}

// Certificates returns until when each certificate is valid, and how often one
// could not be read again or obtained.
func (s *Server) Certificates() (expiries []certificate.Expiry, failures uint64) {
	if s.certificates == nil {
		return nil, 0
	}
	return s.certificates.Expiries(), s.certificates.Failures()
}

// serveChallenge answers the authority that a certificate is being obtained from.
func (x *exchange) serveChallenge() bool {
	if x.server.challenge == nil || x.down.secure() || !x.ctx.IsGet() || !strings.HasPrefix(x.page.Path, certificate.ChallengePath) {
		return false
	}
	x.server.challenge(x.ctx)
	return true
}

// redirectToTLS sends a client who came in plain text to the encrypted listener.
func (x *exchange) redirectToTLS() bool {
	if !x.server.cfg.TLS.Redirect || x.scheme == "https" || x.host == "" {
		return false
	}
	host := x.page.Host
	// Whoever named a port sees the listeners themselves, and not what forwards the
	// usual ports to them.
	if _, port, _ := strings.Cut(x.host[len(host):], ":"); port != "" && port != "80" {
		if port := x.server.tlsPort.Load(); port != 443 {
			host += ":" + strconv.Itoa(int(port))
		}
	}
	h := &x.answer(fasthttp.StatusPermanentRedirect).Header
	target := x.ctx.Request.Header.RequestURI()
	if len(target) == 0 || target[0] != '/' {
		target = x.ctx.Request.URI().RequestURI()
	}
	h.Set(fasthttp.HeaderLocation, "https://"+host+string(target))
	h.Set("X-Request-Id", x.id)
	return true
}
