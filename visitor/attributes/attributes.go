// Package attributes reads what a request says about its visitor: device,
// language, campaign, referrer, and any named query key, cookie or header.
//
// A site names the attributes that its rules and plugins read; [Compile] turns
// the names into an [Extractor], which reads just those from each request. All
// values are text, "" where the request says nothing, valid UTF-8, at most
// [MaxValue] bytes, and copies: a server may use its request buffers again.
//
//	path host method              the page that was asked for
//	query.NAME                    first value of a query key
//	utm.campaign|source|medium|term|content
//	cookie.NAME header.NAME
//	device                        desktop, mobile, tablet, bot or other
//	os browser                    lower case, as in "ios" and "chrome"; else "other"
//	language locale               the one liked best, as in "de" and "de-AT"
//	referrer                      host of the referring page, "" for the own host
//	referrer_url                  the referring page as sent
package attributes

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"strings"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

const (
	// MaxValue is the length in bytes at which a value is cut.
	MaxValue = 512
	// MaxNames is how many attributes one site may name.
	MaxNames = 256
	// maxName is the longest name of a query key, cookie or header.
	maxName = 128
)

// Request is where attributes come from. Its results may be nil and need to
// hold only until the next call.
type Request interface {
	Header(name string) []byte // first value
	Cookie(name string) []byte
	Query(name string) []byte // first value, percent-decoded
	Host() []byte             // with or without port
	Path() []byte             // percent-decoded
	Method() []byte
}

type kind uint8

const (
	kindPath kind = iota
	kindHost
	kindMethod
	kindQuery
	kindCookie
	kindHeader
	kindDevice
	kindOS
	kindBrowser
	kindLanguage
	kindLocale
	kindReferrer
	kindReferrerURL
)

type field struct {
	kind kind
	arg  string
}

var plain = map[string]field{
	"path":         {kind: kindPath},
	"host":         {kind: kindHost},
	"method":       {kind: kindMethod},
	"device":       {kind: kindDevice},
	"os":           {kind: kindOS},
	"browser":      {kind: kindBrowser},
	"language":     {kind: kindLanguage},
	"locale":       {kind: kindLocale},
	"referrer":     {kind: kindReferrer},
	"referrer_url": {kind: kindReferrerURL},
	"utm.campaign": {kindQuery, "utm_campaign"},
	"utm.source":   {kindQuery, "utm_source"},
	"utm.medium":   {kindQuery, "utm_medium"},
	"utm.term":     {kindQuery, "utm_term"},
	"utm.content":  {kindQuery, "utm_content"},
}

// known lists what a name may be, in the order in which messages show it.
var known = []string{
	"path", "host", "method", "query.NAME", "utm.campaign", "utm.source", "utm.medium", "utm.term", "utm.content",
	"cookie.NAME", "header.NAME", "device", "os", "browser", "language", "locale", "referrer", "referrer_url",
}

// secretHeaders hold what must not reach rules, plugins and caches.
var secretHeaders = map[string]string{
	"authorization":       "holds a secret",
	"proxy-authorization": "holds a secret",
	"cookie":              "holds all cookies; name one with cookie.NAME",
}

// Extractor reads the named attributes of requests. It is immutable but for what it
// remembers of programs.
type Extractor struct {
	names  []string
	fields []field
	agents *agents
}

// Compile makes an extractor of attribute names, in their order. A fault's path
// is the index of its name, as in "[2]".
func Compile(names []string) (*Extractor, decision.Faults) {
	var faults decision.Faults
	if len(names) > MaxNames {
		faults.Add("", "%d attributes are named, at most %d are possible", len(names), MaxNames)
		return nil, faults
	}
	x := &Extractor{names: append([]string(nil), names...), agents: &agents{seed: maphash.MakeSeed()}}
	for i, name := range names {
		f, problem := compileName(name)
		if problem != "" {
			faults.Add(fmt.Sprintf("[%d]", i), "%s", problem)
		}
		x.fields = append(x.fields, f)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return x, nil
}

func compileName(name string) (f field, problem string) {
	if f, ok := plain[name]; ok {
		return f, ""
	}
	group, arg, _ := strings.Cut(name, ".")
	switch group {
	case "query":
		f = field{kindQuery, arg}
	case "cookie":
		f = field{kindCookie, arg}
	case "header":
		f = field{kindHeader, arg}
		if why := secretHeaders[strings.ToLower(arg)]; why != "" {
			return field{}, fmt.Sprintf("attribute %q cannot be used: it %s", name, why)
		}
	default:
		return field{}, unknown(name)
	}
	if arg == "" || len(arg) > maxName || !utf8.ValidString(arg) {
		return field{}, fmt.Sprintf("attribute %q: expected %s.NAME with a name of up to %d characters", name, group, maxName)
	}
	return f, ""
}

func unknown(name string) string {
	message := fmt.Sprintf("unknown attribute %q", name)
	if meant := decision.Suggest(name, known); meant != "" {
		return message + fmt.Sprintf("; did you mean %q?", meant)
	}
	return message + "; expected one of " + strings.Join(known, ", ")
}

// Names returns the names of the values in the order in which Extract gives them.
func (x *Extractor) Names() []string { return x.names }

// Extract appends the values of the extractor's attributes to dst, in the order
// of their names.
func (x *Extractor) Extract(dst []string, r Request) []string {
	var agent *agent // parsed when the first attribute needs it
	for _, f := range x.fields {
		if agent == nil && f.ofAgent() {
			agent = x.agents.parse(r.Header("User-Agent"))
		}
		dst = append(dst, f.value(r, agent))
	}
	return dst
}

func (f field) ofAgent() bool {
	return f.kind == kindDevice || f.kind == kindOS || f.kind == kindBrowser
}

func (f field) value(r Request, a *agent) string {
	switch f.kind {
	case kindPath:
		return bounded(r.Path())
	case kindHost:
		return host(r.Host())
	case kindMethod:
		return bounded(r.Method())
	case kindQuery:
		return bounded(r.Query(f.arg))
	case kindCookie:
		return bounded(r.Cookie(f.arg))
	case kindHeader:
		return bounded(r.Header(f.arg))
	case kindLanguage:
		primary, _, _ := strings.Cut(locale(r.Header("Accept-Language")), "-")
		return primary
	case kindLocale:
		return locale(r.Header("Accept-Language"))
	case kindReferrer:
		return referrer(r.Header("Referer"), r.Host())
	case kindReferrerURL:
		return bounded(r.Header("Referer"))
	case kindDevice:
		return a.device
	case kindOS:
		return a.os
	default:
		return a.browser
	}
}

// bounded copies a value, makes it valid UTF-8 (plugins get it by protobuf,
// which refuses anything else) and cuts it between characters.
func bounded(value []byte) string {
	text := strings.ToValidUTF8(string(value[:min(len(value), MaxValue+utf8.UTFMax)]), "\uFFFD")
	if len(text) <= MaxValue {
		return text
	}
	end := MaxValue
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// host returns the lower-case name in a Host header, without port.
func host(value []byte) string {
	return strings.ToLower(bounded(withoutPort(value)))
}

func withoutPort(host []byte) []byte {
	if end := bytes.LastIndexByte(host, ']'); end >= 0 { // an IPv6 address
		return host[:end+1]
	}
	if colon := bytes.IndexByte(host, ':'); colon >= 0 {
		return host[:colon]
	}
	return host
}

// referrer returns the host of the page that led here, unless it is our own.
func referrer(url, own []byte) string {
	_, rest, ok := bytes.Cut(url, []byte("://"))
	if !ok {
		return ""
	}
	if end := bytes.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if at := bytes.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	rest = withoutPort(rest)
	if bytes.EqualFold(rest, withoutPort(own)) {
		return ""
	}
	return host(rest)
}
