// Package shop is Marsh & Reed, the sample shop that `sedge demo` puts behind
// the proxy.
//
// It stands for any website: it is server-rendered, has a cart, a checkout, an
// account and a small JSON API, answers with gzip, validators and the usual cache
// headers, and knows nothing of Sedge. It uses the standard library alone and
// keeps everything in memory.
//
// Public pages (home, categories, products) are rendered once in [New]; their
// bytes are the same for everyone and on every request, so that whatever differs
// behind the proxy was put there by the proxy. The count of the cart is filled in
// by a script from /api/cart. Everything that belongs to one customer is
// `private, no-store`.
//
// These places of its pages are meant to be edited; their selectors are stable:
//
//	#hero h1, #hero p, #hero .cta   headline, text and link of the home page
//	#offers                         empty aside on home, category and cart pages
//	#categories, #featured          sections of the home page
//	#products                       products of a category page
//	#recommendations h2             section of a product page
//	#newsletter                     sign-up form at the foot of every page
//	.announcement                   line above the head of every page
package shop

import (
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

//go:embed templates static
var files embed.FS

// Bounds of what one visitor can make the shop hold or read.
const (
	maxBody     = 16 << 10 // bytes of a form
	maxLines    = 20       // different products in a cart
	maxQuantity = 20       // pieces of one product in a cart
	maxSessions = 1000     // signed-in customers; the oldest makes room
	maxOrders   = 20       // orders kept for a signed-in customer
	maxField    = 120      // characters of a form field
)

// Config sets a shop up. The zero Config is a working shop.
type Config struct {
	// Now is the clock; nil: [time.Now]. It is read once, for Last-Modified.
	Now func() time.Time

	// Random feeds order and session ids; nil: [rand.Reader].
	Random io.Reader

	// Logger hears of answers that could not be made; nil: none is logged.
	Logger *slog.Logger
}

// server is the shop behind the handler of [New].
type server struct {
	random    io.Reader
	logger    *slog.Logger
	pages     *pages
	catalogue *catalogue
	sessions  *sessions
	orders    *orderNumbers
	packers   sync.Pool // *gzip.Writer
}

// New builds the shop. The handler may be called concurrently.
func New(cfg Config) http.Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	stylesheet, script := mustRead("static/shop.css"), mustRead("static/cart.js")
	s := &server{
		random:    cfg.Random,
		logger:    cfg.Logger,
		catalogue: newCatalogue(),
		pages:     newPages(fingerprint(stylesheet), fingerprint(script)),
		sessions:  newSessions(),
		orders:    &orderNumbers{random: cfg.Random},
		packers:   sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }},
	}

	modified := cfg.Now().UTC().Truncate(time.Second)
	mux := http.NewServeMux()
	s.publicPages(mux, modified)
	s.assets(mux, modified, stylesheet, script)
	mux.HandleFunc("GET /search", s.search)
	mux.HandleFunc("GET /cart", s.showCart)
	mux.HandleFunc("POST /cart/add", s.addToCart)
	mux.HandleFunc("POST /cart/update", s.updateCart)
	mux.HandleFunc("POST /cart/remove", s.removeFromCart)
	mux.HandleFunc("GET /checkout", s.showCheckout)
	mux.HandleFunc("POST /checkout", s.placeOrder)
	mux.HandleFunc("GET /thank-you", s.thankYou)
	mux.HandleFunc("POST /newsletter", s.subscribe)
	mux.HandleFunc("GET /login", s.showLogin)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	mux.HandleFunc("GET /account", s.account)
	mux.HandleFunc("GET /api/products", s.apiProducts)
	mux.HandleFunc("GET /api/cart", s.apiCart)
	mux.HandleFunc("GET /", s.notFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

// publicPages renders the pages that are the same for everyone and serves them.
func (s *server) publicPages(mux *http.ServeMux, modified time.Time) {
	page := func(path, name string, v view) {
		body, err := s.pages.render(name, v)
		if err != nil {
			panic("BUG: page " + path + ": " + err.Error())
		}
		mux.Handle("GET "+path, newDocument(body, "text/html; charset=utf-8", "public, max-age=60", modified))
	}
	page("/{$}", "home", view{
		Title:   "Marsh & Reed · Outdoor and home goods made to last",
		Content: map[string]any{"Categories": s.catalogue.categories, "Featured": s.catalogue.featured()},
	})
	for _, c := range s.catalogue.categories {
		page("/category/"+c.Slug, "category", view{
			Title: c.Name + " · Marsh & Reed", Active: c.Slug,
			Content: map[string]any{"Category": c, "Products": s.catalogue.in(c.Slug)},
		})
	}
	for _, p := range s.catalogue.products {
		page("/product/"+p.Slug, "product", view{
			Title: p.Name + " · Marsh & Reed", Active: p.Category,
			Content: map[string]any{"Product": p, "Category": s.catalogue.category(p.Category), "Related": s.catalogue.related(p)},
		})
	}
	page("/newsletter/thanks", "newsletter", view{Title: "Welcome · Marsh & Reed"})
	page("/about", "about", view{Title: "About us · Marsh & Reed"})
}

// assets serves pictures, stylesheet, script and robots.txt.
func (s *server) assets(mux *http.ServeMux, modified time.Time, stylesheet, script []byte) {
	const day = "public, max-age=86400"
	asset := func(path, contentType string, body []byte) {
		mux.Handle("GET "+path, newDocument(body, contentType, day, modified))
	}
	asset("/static/shop.css", "text/css; charset=utf-8", stylesheet)
	asset("/static/cart.js", "text/javascript; charset=utf-8", script)
	asset("/robots.txt", "text/plain; charset=utf-8", []byte("User-agent: *\nDisallow: /cart\nDisallow: /checkout\nDisallow: /account\nDisallow: /search\n"))
	asset("/favicon.svg", "image/svg+xml", favicon())
	asset("/favicon.ico", "image/svg+xml", favicon())
	asset("/images/hero.svg", "image/svg+xml", heroPicture())
	for _, c := range s.catalogue.categories {
		asset("/images/category/"+c.Slug+".svg", "image/svg+xml", productPicture(c.Picture, c.Slug))
	}
	for _, p := range s.catalogue.products {
		asset("/images/"+p.Slug+".svg", "image/svg+xml", productPicture(p.Picture, p.Category))
	}
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	s.send(w, r, http.StatusNotFound, "notfound", view{Title: "Not found · Marsh & Reed"})
}

// search lists the products that hold every word of ?q=.
func (s *server) search(w http.ResponseWriter, r *http.Request) {
	q := clip(r.URL.Query().Get("q"), maxField)
	w.Header().Set("Cache-Control", "no-cache")
	s.send(w, r, http.StatusOK, "search", view{
		Title:   "Search · Marsh & Reed",
		Query:   q,
		Content: map[string]any{"Query": q, "Products": s.catalogue.search(q)},
	})
}

func (s *server) subscribe(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(clip(r.PostFormValue("email"), maxField), "@") {
		http.Redirect(w, r, "/#newsletter", http.StatusSeeOther)
		return
	}
	private(w)
	http.Redirect(w, r, "/newsletter/thanks", http.StatusSeeOther)
}

// private keeps an answer that belongs to one customer out of every cache.
func private(w http.ResponseWriter) { w.Header().Set("Cache-Control", "private, no-store") }

// clip cuts s after n characters and drops surrounding space.
func clip(s string, n int) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, ""))
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n])
	}
	return s
}

// fingerprint names a content, so that a changed asset has another URL.
func fingerprint(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:6])
}

// mustRead reads an embedded file, which exists in every build.
func mustRead(name string) []byte {
	body, err := files.ReadFile(name)
	if err != nil {
		panic("BUG: embedded file: " + err.Error())
	}
	return body
}
