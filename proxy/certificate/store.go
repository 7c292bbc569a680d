package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// acmeTimeout bounds each call to the authority.
const acmeTimeout = 30 * time.Second

var errNone = errors.New("there is no certificate for this name")

// Store chooses certificates. It may be used by many goroutines.
type Store struct {
	files   []*file
	domains []string
	acme    *autocert.Manager // nil: off
	now     func() time.Time
	log     *slog.Logger

	failures atomic.Uint64
	quiet    atomic.Int64 // second of the last log line on ACME

	mu      sync.Mutex
	expires map[string]time.Time // of obtained certificates, by domain
}

// file is a certificate from files.
type file struct {
	Files
	watch   *Watch
	current atomic.Pointer[tls.Certificate]
}

func (f *file) load() error {
	cert, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
	if err == nil {
		f.current.Store(&cert)
	}
	return err
}

// Expiry says until when a certificate is valid.
type Expiry struct {
	Name string // its file, or the domain that it was obtained for
	At   time.Time
}

// New reads the certificates of a valid configuration. What ACME obtains is kept
// in cacheDir.
func New(certificates []Files, a ACME, cacheDir string, now func() time.Time, log *slog.Logger) (*Store, error) {
	s := &Store{now: now, log: log, expires: map[string]time.Time{}}
	for _, files := range certificates {
		f := &file{Files: files, watch: NewWatch(now(), files.CertFile, files.KeyFile)}
		if err := f.load(); err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		s.files = append(s.files, f)
	}
	if len(a.Domains) == 0 {
		return s, nil
	}
	client := &http.Client{Timeout: acmeTimeout}
	if a.CAFile != "" {
		roots, err := ReadRoots(a.CAFile)
		if err != nil {
			return nil, err
		}
		client.Transport = &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			IdleConnTimeout: acmeTimeout,
		}
	}
	for _, domain := range a.Domains {
		s.domains = append(s.domains, strings.ToLower(domain))
	}
	s.acme = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(cacheDir),
		HostPolicy: autocert.HostWhitelist(s.domains...),
		Email:      a.Email,
		Client:     &acme.Client{DirectoryURL: a.DirectoryURL, HTTPClient: client, UserAgent: "sedge"},
	}
	return s, nil
}

// ChallengePath is where an authority asks for the answer to an HTTP-01 challenge.
const ChallengePath = "/.well-known/acme-challenge/"

// Challenge answers HTTP-01 challenges, which come to ChallengePath; nil if ACME is off.
func (s *Store) Challenge() http.Handler {
	if s.acme == nil {
		return nil
	}
	return s.acme.HTTPHandler(nil)
}

// Protocols are the names for ALPN by which an authority may ask.
func (s *Store) Protocols() []string {
	if s.acme == nil {
		return nil
	}
	return []string{acme.ALPNProto}
}

// Get returns the certificate to show, as a tls.Config asks for it.
func (s *Store) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil && slices.Contains(hello.SupportedProtos, acme.ALPNProto) {
		return s.acme.GetCertificate(hello)
	}
	s.refresh()
	for _, f := range s.files {
		if cert := f.current.Load(); hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if slices.Contains(s.domains, name) {
		return s.obtain(name, hello)
	}
	if len(s.files) > 0 {
		return s.files[0].current.Load(), nil
	}
	return nil, errNone
}

// obtain returns the certificate of one of the configured domains.
func (s *Store) obtain(name string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := s.acme.GetCertificate(hello)
	if err != nil {
		s.failures.Add(1)
		if second := s.now().Unix(); s.quiet.Swap(second) != second {
			s.log.Error("certificate not obtained", "domain", name, "error", err.Error())
		}
		return nil, err
	}
	s.mu.Lock()
	s.expires[name] = cert.Leaf.NotAfter
	s.mu.Unlock()
	return cert, nil
}

// refresh reads files that have changed.
func (s *Store) refresh() {
	for _, f := range s.files {
		if !f.watch.Changed(s.now()) {
			continue
		}
		if err := f.load(); err != nil {
			s.failures.Add(1)
			s.log.Error("changed certificate not taken over; the old one stays", "cert_file", f.CertFile, "error", err.Error())
			continue
		}
		s.log.Info("certificate read again", "cert_file", f.CertFile, "expires", f.current.Load().Leaf.NotAfter)
	}
}

// Expiries returns until when the certificates are valid that are shown at present.
func (s *Store) Expiries() []Expiry {
	s.refresh()
	list := make([]Expiry, 0, len(s.files)+len(s.domains))
	for _, f := range s.files {
		list = append(list, Expiry{Name: f.CertFile, At: f.current.Load().Leaf.NotAfter})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, domain := range slices.Sorted(maps.Keys(s.expires)) {
		list = append(list, Expiry{Name: domain, At: s.expires[domain]})
	}
	return list
}

// Failures counts changed files that could not be used, and certificates that
// could not be obtained.
func (s *Store) Failures() uint64 { return s.failures.Load() }

// ReadRoots reads the authorities of a PEM file.
func ReadRoots(path string) (*x509.CertPool, error) {
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
