package shop

import (
	"bytes"
	"compress/gzip"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// worthPacking is the size in bytes below which packing a body gains nothing.
const worthPacking = 512

// view is what a template gets.
type view struct {
	Title   string
	Active  string // slug of the category in the navigation
	Query   string // what the search field holds
	Content any
}

// pages are the compiled templates.
type pages struct {
	byName             map[string]*template.Template
	stylesheet, script string // fingerprints
	categories         []category
}

func newPages(stylesheet, script string) *pages {
	p := &pages{byName: map[string]*template.Template{}, stylesheet: stylesheet, script: script, categories: allCategories()}
	base := template.Must(template.ParseFS(files, "templates/layout.html", "templates/cards.html"))
	for _, name := range []string{"home", "category", "product", "search", "cart", "checkout", "thanks", "login", "account", "newsletter", "about", "notfound"} {
		page := template.Must(template.Must(base.Clone()).ParseFS(files, "templates/"+name+".html"))
		p.byName[name] = page
	}
	return p
}

// render makes the bytes of a page.
func (p *pages) render(name string, v view) ([]byte, error) {
	var b bytes.Buffer
	err := p.byName[name].ExecuteTemplate(&b, "layout", map[string]any{
		"View": v, "Content": v.Content, "Categories": p.categories,
		"Stylesheet": "/static/shop.css?v=" + p.stylesheet, "Script": "/static/cart.js?v=" + p.script,
	})
	return b.Bytes(), err
}

// send renders a page for one request and writes it, packed if the client likes.
func (s *server) send(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	body, err := s.pages.render(name, v)
	if err != nil {
		s.fail(w, "render page "+name, err)
		return
	}
	s.write(w, r, status, "text/html; charset=utf-8", body)
}

// write sends a body made for this request. It leaves the length out, as most
// shops do, so that longer ones travel in chunks.
func (s *server) write(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Add("Vary", "Accept-Encoding")
	if len(body) < worthPacking || !acceptsGzip(r) {
		w.WriteHeader(status)
		_, _ = w.Write(body) // the client went away; nobody is left to tell
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z := s.packers.Get().(*gzip.Writer)
	z.Reset(w)
	_, _ = z.Write(body)
	_ = z.Close()
	s.packers.Put(z)
}

// fail answers 500 and logs why.
func (s *server) fail(w http.ResponseWriter, doing string, err error) {
	s.logger.Error("shop answer", "doing", doing, "error", err)
	private(w)
	http.Error(w, "Something went wrong on our side. Please try again.", http.StatusInternalServerError)
}

// document is an answer whose bytes never change.
type document struct {
	plain, packed         []byte
	plainETag, packedETag string
	modified              time.Time
	contentType, cache    string
}

func newDocument(body []byte, contentType, cache string, modified time.Time) *document {
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is valid
	_, _ = z.Write(body)                                       // into memory
	_ = z.Close()
	tag := fingerprint(body)
	return &document{
		plain: body, packed: packed.Bytes(),
		plainETag: `"` + tag + `"`, packedETag: `"` + tag + `-gz"`,
		modified: modified, contentType: contentType, cache: cache,
	}
}

// ServeHTTP writes the document, or 304 to a client that already has it.
func (d *document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, tag := d.plain, d.plainETag
	h := w.Header()
	h.Set("Cache-Control", d.cache)
	h.Set("Vary", "Accept-Encoding")
	packed := acceptsGzip(r) && len(d.packed) < len(d.plain)
	if packed {
		body, tag = d.packed, d.packedETag
	}
	h.Set("ETag", tag)
	h.Set("Last-Modified", d.modified.Format(http.TimeFormat))
	if d.unchanged(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if packed {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", d.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// unchanged reports whether the client's validators still hold. If-None-Match
// wins over If-Modified-Since, as RFC 9110 §13.2.2 says.
func (d *document) unchanged(r *http.Request, tag string) bool {
	if match := r.Header.Get("If-None-Match"); match != "" {
		for part := range strings.SplitSeq(match, ",") {
			part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
			if part == tag || part == "*" {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	return err == nil && !d.modified.After(since)
}

// acceptsGzip reports whether Accept-Encoding names gzip with a weight above 0.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		if !found {
			return true
		}
		weight, err := strconv.ParseFloat(q, 64)
		return err == nil && weight > 0
	}
	return false
}
