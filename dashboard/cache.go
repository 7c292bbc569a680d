package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Cache is what a node keeps of the origin's answers. A host is in lower case and with
// the port that visitors name, a target is the path with the query. A soft purge makes
// answers stale where another drops them.
type Cache interface {
	// PurgeURL returns how many answers were concerned.
	PurgeURL(host, target string, soft bool) (concerned int)
	// PurgePrefix purges the targets of a host, or of every host if that is empty, when
	// they are next asked for.
	PurgePrefix(host, prefix string, soft bool)
	// PurgeTag purges the answers with a tag when they are next asked for.
	PurgeTag(tag string, soft bool)
	// PurgeAll returns how many answers were dropped at once; none if the purge is soft.
	PurgeAll(soft bool) (dropped int)

	// List returns the answers whose URL begins with a prefix, by URL; one that begins
	// with a slash stands for the targets of every host. more tells of others beyond
	// the limit.
	List(prefix string, limit int) (answers []CachedAnswer, more bool)
	Usage() CacheUsage
}

// CachedAnswer is one answer of the origin that is kept.
type CachedAnswer struct {
	URL          string   `json:"url"`
	Status       int      `json:"status"`
	Age          int64    `json:"age_seconds"` // since it came or was confirmed
	Body         int      `json:"body_bytes"`
	Memory       int64    `json:"memory_bytes"` // with the page that is compiled from it
	Hits         uint64   `json:"hits"`
	Variants     int      `json:"variants"`
	Tags         []string `json:"tags,omitempty"`
	PurgedSoftly bool     `json:"purged_softly,omitempty"`
}

// CacheUsage is what a cache holds, and what it did since the node started.
type CacheUsage struct {
	// Disabled tells that nothing is kept; all else is zero then.
	Disabled bool `json:"disabled,omitempty"`

	Answers       int   `json:"answers"`
	AnswerBytes   int64 `json:"answer_bytes"` // of memory, with the pages compiled from them
	AnswerMemory  int64 `json:"answer_memory"`
	Variants      int   `json:"variants"`
	Packed        int   `json:"packed_variants"` // compressed forms of them
	VariantBytes  int64 `json:"variant_bytes"`
	VariantMemory int64 `json:"variant_memory"`

	Hits            uint64 `json:"hits"`
	Misses          uint64 `json:"misses"`
	Bypassed        uint64 `json:"bypassed"`
	Stored          uint64 `json:"stored"`
	Evicted         uint64 `json:"evicted"`
	VariantsEvicted uint64 `json:"variants_evicted"`
	Purges          uint64 `json:"purges"` // those by unsafe requests included
}

// CacheList is the answer to a call for what is kept.
type CacheList struct {
	Usage   CacheUsage     `json:"usage"`
	Answers []CachedAnswer `json:"answers"`
	More    bool           `json:"more"` // there are others beyond the limit
}

// Purge is what a call to purge asks for: at least one of its fields before Soft.
type Purge struct {
	URL        string   `json:"url,omitempty"`
	URLs       []string `json:"urls,omitempty"`
	Prefix     string   `json:"prefix,omitempty"`
	Tag        string   `json:"tag,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	Everything bool     `json:"everything,omitempty"`
	Soft       bool     `json:"soft,omitempty"`
}

// Purged is what a call to purge did.
type Purged struct {
	// Disabled tells that nothing is kept, so that there was nothing to do.
	Disabled bool `json:"disabled,omitempty"`

	Dropped int `json:"dropped"` // answers that are gone
	Stale   int `json:"stale"`   // answers that have to be confirmed by the origin

	// Recorded counts prefixes, tags and soft purges of everything. What they concern is
	// purged when it is next asked for.
	Recorded int `json:"recorded"`
}

// Bounds of a call to purge.
const (
	maxPurgeBody = 1 << 20
	maxPurged    = 1000     // URLs, and tags
	maxPurgeURL  = 16 << 10 // bytes
	maxPurgeTag  = 16 << 10 // bytes: all that the tags of an answer may take
)

// Limits of a list.
const (
	defaultListed = 100
	mostListed    = 1000
)

func (s *Server) listCache(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit := defaultListed
	if given := query.Get("limit"); given != "" {
		var err error
		if limit, err = strconv.Atoi(given); err != nil || limit < 0 || limit > mostListed {
			writeError(w, http.StatusBadRequest, fmt.Sprintf("limit: found %q; expected 0 to %d", given, mostListed))
			return
		}
	}
	prefix, err := listedPrefix(query.Get("prefix"))
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	list := CacheList{Usage: CacheUsage{Disabled: true}, Answers: []CachedAnswer{}}
	if s.node.Cache != nil {
		list.Usage = s.node.Cache.Usage()
		answers, more := s.node.Cache.List(prefix, limit)
		list.Answers, list.More = append(list.Answers, answers...), more
	}
	writeJSON(w, http.StatusOK, list)
}

// listedPrefix writes scheme and host of a prefix as they are kept.
func listedPrefix(prefix string) (string, error) {
	if prefix == "" || prefix[0] == '/' {
		return prefix, nil
	}
	scheme, rest, found := strings.Cut(prefix, "://")
	if !found {
		return "", fmt.Errorf("prefix: found %q; expected the beginning of a URL, as in https://shop.example/assets/ or /assets/", prefix)
	}
	host, target := rest, ""
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		host, target = rest[:at], rest[at:]
	}
	return strings.ToLower(scheme+"://"+host) + target, nil
}

func (s *Server) purgeCache(w http.ResponseWriter, r *http.Request) {
	var asked Purge
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPurgeBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&asked)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind the object")
		}
	}
	if err != nil {
		writeError(w, http.StatusBadRequest, fmt.Sprintf(`the body is not as expected: %v; expected at most 1 MiB of JSON as in {"url": "https://shop.example/a?b"}, {"prefix": "/assets/"}, {"tag": "product-7"} or {"everything": true}, with "soft": true if you like`, err))
		return
	}
	wanted, err := asked.read()
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	if s.node.Cache == nil {
		writeJSON(w, http.StatusOK, Purged{Disabled: true})
		return
	}
	done := wanted.on(s.node.Cache)
	s.logger.Info("cache purged", "urls", len(wanted.urls), "prefixes", len(wanted.prefixes), "tags", len(wanted.tags), "everything", wanted.everything,
		"soft", wanted.soft, "dropped", done.Dropped, "stale", done.Stale, "recorded", done.Recorded)
	writeJSON(w, http.StatusOK, done)
}

// purging is a [Purge] as the cache takes it.
type purging struct {
	urls, prefixes   []place
	tags             []string
	everything, soft bool
}

// place is a target, or the beginning of some, with the hosts by which visitors may call
// it: none for every host.
type place struct {
	hosts  []string
	target string
}

// read checks all that a call names, before any of it is done.
func (p *Purge) read() (*purging, error) {
	wanted := &purging{everything: p.Everything, soft: p.Soft}
	urls, tags := p.URLs, p.Tags
	if p.URL != "" {
		urls = append([]string{p.URL}, urls...)
	}
	if p.Tag != "" {
		tags = append([]string{p.Tag}, tags...)
	}
	switch named := len(urls) > 0 || len(tags) > 0 || p.Prefix != ""; {
	case !named && !p.Everything:
		return nil, errors.New("found nothing to purge; expected url, urls, prefix, tag, tags or everything: true")
	case named && p.Everything:
		return nil, errors.New("found everything beside other things to purge; expected one or the other")
	case len(urls) > maxPurged:
		return nil, fmt.Errorf("urls: found %d; expected at most %d in one call", len(urls), maxPurged)
	case len(tags) > maxPurged:
		return nil, fmt.Errorf("tags: found %d; expected at most %d in one call", len(tags), maxPurged)
	}
	for _, each := range urls {
		at, err := readPlace(each)
		if err == nil && len(at.hosts) == 0 {
			err = errNoURL
		}
		if err != nil {
			return nil, fmt.Errorf("url: found %q; %w", shortened(each), err)
		}
		wanted.urls = append(wanted.urls, at)
	}
	if p.Prefix != "" {
		at, err := readPlace(p.Prefix)
		if errors.Is(err, errNoURL) {
			err = errors.New("expected the beginning of a URL, as in https://shop.example/assets/, or of a path on every host, as in /assets/")
		}
		if err != nil {
			return nil, fmt.Errorf("prefix: found %q; %w", shortened(p.Prefix), err)
		}
		wanted.prefixes = append(wanted.prefixes, at)
	}
	for _, each := range tags {
		tag := strings.TrimSpace(each)
		if tag == "" || len(tag) > maxPurgeTag {
			return nil, fmt.Errorf("tag: found %q; expected 1 to %d bytes", shortened(each), maxPurgeTag)
		}
		wanted.tags = append(wanted.tags, tag)
	}
	return wanted, nil
}

// shortened is a text as an error shows it.
func shortened(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// on does what was asked for.
func (p *purging) on(c Cache) (done Purged) {
	count := &done.Dropped
	if p.soft {
		count = &done.Stale
	}
	for _, at := range p.urls {
		for _, host := range at.hosts {
			*count += c.PurgeURL(host, at.target, p.soft)
		}
	}
	for _, at := range p.prefixes {
		if len(at.hosts) == 0 {
			c.PurgePrefix("", at.target, p.soft)
		}
		for _, host := range at.hosts {
			c.PurgePrefix(host, at.target, p.soft)
		}
		done.Recorded++
	}
	for _, tag := range p.tags {
		c.PurgeTag(tag, p.soft)
		done.Recorded++
	}
	if p.everything {
		*count += c.PurgeAll(p.soft)
		if p.soft {
			done.Recorded++
		}
	}
	return done
}

// errNoURL says that a text has no scheme and host.
var errNoURL = errors.New("expected a URL, as in https://shop.example/a?b")

// readPlace reads a URL, or a path for every host, as browsers would ask for it.
func readPlace(text string) (place, error) {
	if len(text) > maxPurgeURL {
		return place{}, fmt.Errorf("expected at most %d bytes", maxPurgeURL)
	}
	text, _, _ = strings.Cut(text, "#") // which browsers keep to themselves
	if strings.HasPrefix(text, "/") {
		return place{target: sentTarget(text)}, nil
	}
	scheme, rest, found := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !found || scheme != "http" && scheme != "https" {
		return place{}, errNoURL
	}
	authority, target := rest, "/"
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		authority, target = rest[:at], rest[at:]
		if target[0] == '?' {
			target = "/" + target
		}
	}
	hosts, err := spellings(scheme, strings.ToLower(authority))
	return place{hosts: hosts, target: sentTarget(target)}, err
}

// spellings returns the ways in which visitors may name a host: the port that the scheme
// has by default may be left out.
func spellings(scheme, authority string) ([]string, error) {
	for i := range len(authority) {
		if authority[i] >= 0x80 {
			return nil, errors.New("expected the host as browsers send it, as in xn--bcher-kva.example")
		}
	}
	u, err := url.Parse(scheme + "://" + authority)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Host != authority {
		return nil, errors.New("expected a host after the scheme, with a port if visitors name one")
	}
	usual := map[string]string{"http": "80", "https": "443"}[scheme]
	switch host := strings.TrimSuffix(authority, ":"+u.Port()); u.Port() {
	case "", usual:
		host = strings.TrimSuffix(host, ":")
		return []string{host, host + ":" + usual}, nil
	default:
		return []string{authority}, nil
	}
}

// sentTarget encodes what browsers encode of a path with a query (WHATWG URL Standard,
// path and special-query percent-encode sets), and leaves the rest as it is.
func sentTarget(target string) string {
	var sent strings.Builder
	query := false
	for i := range len(target) {
		b := target[i]
		query = query || b == '?'
		switch {
		case b <= ' ', b >= 0x7f, b == '"', b == '<', b == '>', query && b == '\'', !query && strings.IndexByte("^`{}", b) >= 0:
			fmt.Fprintf(&sent, "%%%02X", b)
		default:
			sent.WriteByte(b)
		}
	}
	return sent.String()
}
