package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

func (c *Config) validateTLS(faults *decision.Faults) {
	if c.CAFile != "" {
		if _, err := readRoots(c.CAFile); err != nil {
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

// certificateAge is how long certificates are taken for unchanged without a look
// at their files.
const certificateAge = time.Second

// credentials are what a server is trusted by, and what Sedge shows it. The files
// are read anew when they have changed, so that a renewed certificate needs no
// reload.
type credentials struct {
	cfg *Config
	now func() time.Time
	log *slog.Logger

	mu       sync.Mutex
	settings *tls.Config // without a server name
	looked   time.Time
	seen     [3]fileState
}

// fileState tells whether a file has changed.
type fileState struct {
	at   time.Time
	size int64
}

func newCredentials(cfg *Config, deps *Deps) (*credentials, error) {
	c := &credentials{cfg: cfg, now: deps.Now, log: deps.Log, looked: deps.Now()}
	c.seen = c.look()
	return c, c.read()
}

func (c *credentials) look() (states [3]fileState) {
	for i, path := range [...]string{c.cfg.CAFile, c.cfg.ClientCertFile, c.cfg.ClientKeyFile} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			states[i] = fileState{info.ModTime(), info.Size()}
		}
	}
	return states
}

// read makes the settings anew, with an empty session cache: a resumed session
// would keep the old certificate.
func (c *credentials) read() error {
	settings := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: c.cfg.InsecureSkipVerify,
		ClientSessionCache: tls.NewLRUClientSessionCache(32),
	}
	if c.cfg.CAFile != "" {
		roots, err := readRoots(c.cfg.CAFile)
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
	if now := c.now(); now.Sub(c.looked) >= certificateAge {
		c.looked = now
		if seen := c.look(); seen != c.seen {
			c.seen = seen
			if err := c.read(); err != nil {
				c.log.Error("changed certificates not taken over", "upstream", c.cfg.Name, "error", err)
			}
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
