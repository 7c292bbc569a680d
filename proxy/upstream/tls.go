package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/certificate"
)

func (c *Config) validateTLS(faults *decision.Faults) {
	if c.CAFile != "" {
		if _, err := certificate.ReadRoots(c.CAFile); err != nil {
			faults.Add("ca_file", "%v", err)
		}
	}
	switch {
	case c.ClientCertFile == "" && c.ClientKeyFile == "":
	case c.ClientKeyFile == "":
		faults.Add("client_key_file", "the client certificate needs its key")
	case c.ClientCertFile == "":
		faults.Add("client_cert_file", "the client key needs its certificate")
	default:
		if _, err := tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile); err != nil {
			faults.Add("client_cert_file", "read client certificate: %v", err)
		}
	}
}

// credentials are what a server is trusted by, and what Sedge shows it. The files
// are read anew when they have changed, so that a renewed certificate needs no
// reload.
type credentials struct {
	cfg *Config
	now func() time.Time
	log *slog.Logger

	mu       sync.Mutex
	settings *tls.Config // without a server name
	files    *certificate.Watch
}

func newCredentials(cfg *Config, deps *Deps) (*credentials, error) {
	files := certificate.NewWatch(deps.Now(), cfg.CAFile, cfg.ClientCertFile, cfg.ClientKeyFile)
	c := &credentials{cfg: cfg, now: deps.Now, log: deps.Log, files: files}
	return c, c.read()
}

// alpn is what the protocol is called in a handshake.
func (c *credentials) alpn() string {
	if c.cfg.Protocol == HTTP2 {
		return "h2"
	}
	return "http/1.1"
}

// read makes the settings anew, with an empty session cache: a resumed session
// would keep the old certificate.
func (c *credentials) read() error {
	settings := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{c.alpn()},
		InsecureSkipVerify: c.cfg.InsecureSkipVerify,
		ClientSessionCache: tls.NewLRUClientSessionCache(32),
	}
	if c.cfg.CAFile != "" {
		roots, err := certificate.ReadRoots(c.cfg.CAFile)
		if err != nil {
			return err
		}
		settings.RootCAs = roots
	}
	if c.cfg.ClientCertFile != "" {
		own, err := tls.LoadX509KeyPair(c.cfg.ClientCertFile, c.cfg.ClientKeyFile)
		if err != nil {
			return fmt.Errorf("read client certificate: %w", err)
		}
		settings.Certificates = []tls.Certificate{own}
	}
	c.settings = settings
	return nil
}

// forName returns the settings for a connection to a server of that name. Files
// that cannot be read leave the last good ones in force.
func (c *credentials) forName(name string) *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files.Changed(c.now()) {
		if err := c.read(); err != nil {
			c.log.Error("changed certificates not taken over", "upstream", c.cfg.Name, "error", err)
		}
	}
	settings := c.settings.Clone()
	settings.ServerName = name
	return settings
}

// hideName keeps a name that the client chose out of an error.
func hideName(err error) error {
	var wrong x509.HostnameError
	if errors.As(err, &wrong) {
		return errors.New("the certificate does not hold the name that the client asked for")
	}
	return err
}
