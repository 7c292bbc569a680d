package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// members is a site that exists under one name and over HTTPS only, links to itself by
// its full address, and has a login that trusts no request from elsewhere.
type members struct {
	plain string // base URL that it redirects from
	host  string // its one true name
	ca    string // file of who vouches for that

	mu       sync.Mutex
	direct   []string // requests that did not come through Sedge
	refusals []string // why a form was not taken
}

const bareName, properName = "shop.localhost", "www.shop.localhost"

func startMembers(t *testing.T) *members {
	t.Helper()
	m := &members{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { m.page(w, r, "Home") })
	mux.HandleFunc("GET /login", m.form)
	mux.HandleFunc("POST /login", m.login)
	mux.HandleFunc("GET /account", m.account)
	mux.HandleFunc("POST /logout", m.logout)

	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		if r.Host != m.host {
			http.Redirect(w, r, "https://"+m.host+r.URL.RequestURI(), http.StatusMovedPermanently)
			return
		}
		if r.Header.Get("Via") == "" && r.UserAgent() != "sedge-init" {
			m.note(&m.direct, r.Method+" "+r.URL.Path)
		}
		mux.ServeHTTP(w, r)
	}))
	files := newCertificate(t, bareName, properName)
	pair, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(err)
	}
	m.ca = files.ca
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())
	m.host = properName + ":" + port

	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+bareName+":"+port+r.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	t.Cleanup(plain.Close)
	_, port2, _ := net.SplitHostPort(plain.Listener.Addr().String())
	m.plain = "http://" + bareName + ":" + port2
	return m
}

func (m *members) note(list *[]string, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*list = append(*list, what)
}

func (m *members) page(w http.ResponseWriter, r *http.Request, title string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, `<!doctype html><title>%s</title><h1>%[1]s</h1><a id="account" href="https://%s/account">Account</a>
<form id="out" method="post" action="/logout"><button>Log out</button></form>`, title, m.host)
}

// cookie sets a cookie as strictly as a site can that has one name.
func (m *members) cookie(w http.ResponseWriter, name, value, sameSite string, seconds int) {
	w.Header().Add("Set-Cookie", fmt.Sprintf("%s=%s; Domain=%s; Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=%s", name, value, properName, seconds, sameSite))
}

func (m *members) form(w http.ResponseWriter, r *http.Request) {
	token := rand.Text()
	m.cookie(w, "csrf", token, "Strict", 600)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!doctype html><title>Login</title><form id="in" method="post" action="/login?next=%s">
<input type="hidden" name="csrf" value="%s"><input name="name"><input name="password" type="password"><button>Log in</button></form>`,
		url.QueryEscape(r.URL.Query().Get("next")), token)
}

// isOwn refuses a form that was not sent from a page of this very site.
func (m *members) isOwn(w http.ResponseWriter, r *http.Request) bool {
	for _, name := range []string{"Origin", "Referer"} {
		from, err := url.Parse(r.Header.Get(name))
		if err != nil || from.Scheme != "https" || from.Host != m.host {
			m.note(&m.refusals, name+": "+r.Header.Get(name))
			http.Error(w, "from elsewhere", http.StatusForbidden)
			return false
		}
	}
	return true
}

func (m *members) login(w http.ResponseWriter, r *http.Request) {
	if !m.isOwn(w, r) {
		return
	}
	token, err := r.Cookie("csrf")
	if err != nil || r.PostFormValue("csrf") != token.Value {
		m.note(&m.refusals, "token")
		http.Error(w, "stale form", http.StatusForbidden)
		return
	}
	if r.PostFormValue("name") != "ada" || r.PostFormValue("password") != "secret" {
		http.Error(w, "who?", http.StatusUnauthorized)
		return
	}
	m.cookie(w, "session", "ada", "None", 3600)
	m.cookie(w, "csrf", "", "Strict", 0)
	http.Redirect(w, r, "https://"+m.host+r.URL.Query().Get("next"), http.StatusSeeOther)
}

func (m *members) account(w http.ResponseWriter, r *http.Request) {
	if session, err := r.Cookie("session"); err != nil || session.Value != "ada" {
		http.Redirect(w, r, "https://"+m.host+"/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusFound)
		return
	}
	m.page(w, r, "Hello Ada")
}

func (m *members) logout(w http.ResponseWriter, r *http.Request) {
	if m.isOwn(w, r) {
		m.cookie(w, "session", "", "None", 0)
		http.Redirect(w, r, "https://"+m.host+"/", http.StatusSeeOther)
	}
}

// insider returns a sedge that knows the site's names and trusts its CA. Where the
// system finds no names below localhost, it gets a hosts file of its own.
func (m *members) insider(t *testing.T) func() (string, error) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	start := fmt.Sprintf(`exec '%s' "$@"`, path)
	if _, err := net.LookupHost(properName); err != nil {
		hosts := file("hosts", "127.0.0.1 localhost "+bareName+" "+properName+"\n", 0o644)
		if err := exec.Command("unshare", "-rm", "mount", "--bind", hosts, "/etc/hosts").Run(); err != nil {
			missing(t, "the name "+properName+" is not found, and unshare cannot give it: "+err.Error())
		}
		start = fmt.Sprintf(`exec unshare -rm sh -c 'mount --bind "%s" /etc/hosts && exec "$0" "$@"' '%s' "$@"`, hosts, path)
	}
	script := file("sedge", "#!/bin/sh\nexport SSL_CERT_FILE='"+m.ca+"'\n"+start+"\n", 0o755)
	return func() (string, error) { return script, nil }
}

// A person logs in to a site that has one true name and knows nothing of Sedge,
// through the configuration that init prints for it, and never leaves Sedge.
func TestBrowserLogsIn(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		m := startMembers(t)
		insider := m.insider(t)
		f := p.openFile(t, insider, starter(t, insider, m.plain))
		t.Cleanup(func() {
			if len(m.direct) > 0 || len(m.refusals) > 0 {
				t.Errorf("past Sedge: %q; refused: %q", m.direct, m.refusals)
			}
		})
		b := f.browser(t)
		at := func(path, title string) {
			t.Helper()
			waitFor(t, 20*time.Second, "the browser is at "+f.url+path+", "+title, func() error {
				where, what := read(b, "read the address", chromedp.Location()), read(b, "read the title", chromedp.Title())
				if where != f.url+path || what != title {
					return fmt.Errorf("it is at %s, %s", where, what)
				}
				return nil
			})
		}
		b.do("ask for the account", chromedp.Navigate(f.url+"/account?tab=orders"))
		at("/login?next=%2Faccount%3Ftab%3Dorders", "Login")
		b.do("log in",
			chromedp.SendKeys(chromedp.CSS("#in [name=name]"), "ada"),
			chromedp.SendKeys(chromedp.CSS("#in [name=password]"), "secret"),
			chromedp.Click(chromedp.CSS("#in button")),
		)
		at("/account?tab=orders", "Hello Ada")
		b.do("follow a link that holds the site's name", chromedp.Click(chromedp.CSS("#account")))
		at("/account", "Hello Ada")
		b.do("log out", chromedp.Click(chromedp.CSS("#out button")))
		at("/", "Home")
		b.do("ask for the account again", chromedp.Navigate(f.url+"/account"))
		at("/login?next=%2Faccount", "Login")
	})
}
