package visitor

import (
	"fmt"
	"strings"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// Defaults of [Config].
const (
	DefaultCookieName = "sedge_vid"
	DefaultMaxAge     = 365 * 24 * time.Hour
	DefaultKeyFile    = "visitor.key"
)

// maxAge is the longest lifetime that browsers grant a cookie.
const maxAge = 400 * 24 * time.Hour

// When the cookie is marked Secure.
const (
	SecureAuto   = "auto"   // on requests that came by TLS
	SecureAlways = "always" // always: TLS ends in front of Sedge
	SecureNever  = "never"
)

// Config says how visitors are recognized. The zero value of every field means
// its default.
type Config struct {
	// CookieName is the name of the visitor cookie; "sedge_vid" by default.
	CookieName string `mapstructure:"cookie_name"`

	// MaxAge is how long a browser keeps the cookie; one year by default, at
	// most 400 days.
	MaxAge time.Duration `mapstructure:"max_age"`

	// Secure is "auto" (default: marked Secure on TLS), "always" or "never".
	Secure string `mapstructure:"secure"`

	// Domain widens the cookie to all hosts below a domain, as "example.com";
	// empty (default) means the very host that was asked.
	Domain string `mapstructure:"domain"`

	// KeyFile holds the key that signs cookies; "visitor.key" in the data
	// directory by default, made at the first start.
	KeyFile string `mapstructure:"key_file"`

	// PreviousKeyFiles hold keys whose cookies are still accepted.
	PreviousKeyFiles []string `mapstructure:"previous_key_files"`
}

// Validate reports everything that is wrong.
func (c *Config) Validate() decision.Faults {
	var faults decision.Faults
	name := orDefault(c.CookieName, DefaultCookieName)
	if !isToken(name) || len(name) > 64 {
		faults.Add("cookie_name", "%q is not a cookie name: expected up to 64 letters, digits, - or _", c.CookieName)
	}
	if c.MaxAge != 0 && (c.MaxAge < time.Minute || c.MaxAge > maxAge) {
		faults.Add("max_age", "%v: expected 1m to 9600h (400 days)", c.MaxAge)
	}
	secure := orDefault(c.Secure, SecureAuto)
	switch secure {
	case SecureAuto, SecureAlways, SecureNever:
	default:
		faults.Add("secure", "%q: expected auto, always or never", c.Secure)
	}
	if c.Domain != "" && !isDomain(c.Domain) {
		faults.Add("domain", "%q: expected a domain such as example.com", c.Domain)
	}
	// Browsers refuse such cookies without a word, so we refuse the setting.
	if strings.HasPrefix(name, "__Host-") && (secure != SecureAlways || c.Domain != "") {
		faults.Add("cookie_name", "%q: the prefix __Host- needs secure: always and no domain", name)
	}
	if strings.HasPrefix(name, "__Secure-") && secure != SecureAlways {
		faults.Add("cookie_name", "%q: the prefix __Secure- needs secure: always", name)
	}
	for i, file := range c.PreviousKeyFiles {
		if file == "" {
			faults.Add(fmt.Sprintf("previous_key_files[%d]", i), "expected the name of a key file")
		}
	}
	return faults
}

// Cookie renders the visitor cookie; it is immutable.
type Cookie struct {
	name         string
	plain, onTLS string // what follows the value
}

// NewCookie compiles a valid configuration.
func NewCookie(c Config) *Cookie {
	age := c.MaxAge
	if age == 0 {
		age = DefaultMaxAge
	}
	attributes := fmt.Sprintf("; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax", int64(age/time.Second))
	if c.Domain != "" {
		attributes += "; Domain=" + strings.TrimPrefix(strings.ToLower(c.Domain), ".")
	}
	cookie := &Cookie{name: orDefault(c.CookieName, DefaultCookieName), plain: attributes, onTLS: attributes}
	secure := orDefault(c.Secure, SecureAuto)
	if secure != SecureNever {
		cookie.onTLS += "; Secure"
	}
	if secure == SecureAlways {
		cookie.plain += "; Secure"
	}
	return cookie
}

// Name returns the cookie's name.
func (c *Cookie) Name() string { return c.name }

// AppendSet appends the value of the Set-Cookie header that gives a visitor
// their cookie. tls says whether the client asked by TLS.
func (c *Cookie) AppendSet(dst []byte, value string, tls bool) []byte {
	dst = append(dst, c.name...)
	dst = append(dst, '=')
	dst = append(dst, value...)
	if tls {
		return append(dst, c.onTLS...)
	}
	return append(dst, c.plain...)
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isLetterOrDigit(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return s != ""
}

func isDomain(s string) bool {
	labels := strings.Split(strings.TrimPrefix(s, "."), ".")
	for _, label := range labels {
		if len(label) > 63 || !isToken(label) || strings.Contains(label, "_") {
			return false
		}
	}
	return len(labels) > 1 && len(s) <= 253
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}
