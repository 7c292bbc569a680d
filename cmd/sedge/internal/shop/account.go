package shop

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

const sessionCookie = "shop_session"

// order is what an account remembers of a purchase.
type order struct {
	Number string
	Items  int
	Total  cents
}

// customer is somebody who signed in. Orders are those of this session: the shop
// checks no password, so an address alone must not show anybody's purchases.
type customer struct {
	Name, Email string
	Orders      []order // newest first
}

// sessions holds the signed-in customers by the value of their cookie.
type sessions struct {
	mu    sync.Mutex
	byID  map[string]customer
	queue []string // oldest first
}

func newSessions() *sessions { return &sessions{byID: map[string]customer{}} }

// of returns the customer of a request, if there is one.
func (s *sessions) of(r *http.Request) (customer, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return customer{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.byID[cookie.Value]
	return c, ok
}

// start signs a customer in; the oldest session makes room when there are too many.
func (s *sessions) start(random io.Reader, c customer) (string, error) {
	var b [16]byte
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("read randomness for a session id: %w", err)
	}
	id := hex.EncodeToString(b[:])
	if len(s.queue) >= maxSessions {
		delete(s.byID, s.queue[0])
		s.queue = s.queue[1:]
	}
	s.byID[id] = c
	s.queue = append(s.queue, id)
	return id, nil
}

// end signs the customer of a request out. The id keeps its place in the queue,
// which is bounded anyway.
func (s *sessions) end(r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byID, cookie.Value)
	}
}

// ordered notes an order of the customer of a request, if they are signed in.
func (s *sessions) ordered(r *http.Request, o order) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.byID[cookie.Value]; ok {
		orders := append([]order{o}, c.Orders...) // a copy: earlier readers keep theirs
		c.Orders = orders[:min(len(orders), maxOrders)]
		s.byID[cookie.Value] = c
	}
}

func (s *server) showLogin(w http.ResponseWriter, r *http.Request) {
	private(w)
	s.send(w, r, http.StatusOK, "login", view{Title: "Sign in · Marsh & Reed", Content: map[string]any{"Missing": false}})
}

// login takes any address: it is a sample shop, and says so on the page.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	private(w)
	email := clip(r.PostFormValue("email"), maxField)
	name, _, found := strings.Cut(email, "@")
	if !found || name == "" {
		s.send(w, r, http.StatusUnprocessableEntity, "login", view{Title: "Sign in · Marsh & Reed", Content: map[string]any{"Missing": true}})
		return
	}
	id, err := s.sessions.start(s.random, customer{Name: name, Email: email})
	if err != nil {
		s.fail(w, "sign in", err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	private(w)
	s.sessions.end(r)
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *server) account(w http.ResponseWriter, r *http.Request) {
	private(w)
	c, ok := s.sessions.of(r)
	if !ok {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	s.send(w, r, http.StatusOK, "account", view{Title: "Your account · Marsh & Reed", Content: c})
}
