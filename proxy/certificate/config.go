// Package certificate holds the certificates that the site shows: from files, which
// are read again when they change, and from an ACME authority.
package certificate

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
)

// Files are one certificate in PEM files. They are looked at again while the node
// runs, at most once a second; a pair that cannot be used leaves the old one in place.
type Files struct {
	// CertFile holds the certificate and those it was signed with, the site's own first.
	CertFile string `mapstructure:"cert_file"`

	// KeyFile holds the private key.
	KeyFile string `mapstructure:"key_file"`
}

// ACME obtains certificates by RFC 8555. The authority must reach the site at port
// 443 (TLS-ALPN-01) or 80 (HTTP-01).
type ACME struct {
	// Domains are the names to obtain certificates for; none means ACME is off.
	Domains []string `mapstructure:"domains"`

	// Email is where the authority may write to; optional.
	Email string `mapstructure:"email"`

	// DirectoryURL is the authority; Let's Encrypt by default.
	DirectoryURL string `mapstructure:"directory_url"`

	// CAFile holds the PEM certificates to trust for the authority's own server,
	// instead of the system's; for a private authority.
	CAFile string `mapstructure:"ca_file"`
}

// Validate reports everything that is wrong. It reads the files.
func Validate(certificates []Files, a ACME) decision.Faults {
	var faults decision.Faults
	seen := map[string]bool{}
	for i, f := range certificates {
		path := fmt.Sprintf("certificates[%d]", i)
		switch {
		case f.CertFile == "":
			faults.Add(path+".cert_file", "expected a file with a PEM certificate")
		case f.KeyFile == "":
			faults.Add(path+".key_file", "expected the file with the certificate's private key")
		case seen[f.CertFile]:
			faults.Add(path+".cert_file", "%q is listed twice", f.CertFile)
		default:
			if _, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile); err != nil {
				faults.Add(path+".cert_file", "%v", err)
			}
		}
		seen[f.CertFile] = true
	}
	for i, domain := range a.Domains {
		if domain == "" || strings.Trim(domain, ".") != domain || !strings.Contains(domain, ".") || strings.ContainsAny(domain, "*/: \t@") {
			faults.Add(fmt.Sprintf("acme.domains[%d]", i), "%q: expected a host name such as www.example.com", domain)
		}
	}
	if u, err := url.Parse(a.DirectoryURL); a.DirectoryURL != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		faults.Add("acme.directory_url", "%q: expected an https URL", a.DirectoryURL)
	}
	if a.CAFile != "" {
		if _, err := ReadRoots(a.CAFile); err != nil {
			faults.Add("acme.ca_file", "%v", err)
		}
	}
	if len(a.Domains) == 0 && a.Email+a.DirectoryURL+a.CAFile != "" {
		faults.Add("acme.domains", "expected the names to obtain certificates for")
	}
	return faults
}
