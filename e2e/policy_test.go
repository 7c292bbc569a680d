package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

// policyPage notes each violation that the browser reports from its first script on.
const policyPage = `<!doctype html><html><head>META<script NONCE src="/static/watch.js"></script></head>` +
	`<body><h1 id="hero">Welcome</h1><p id="end">end</p></body></html>`

const policyWatch = `window.ran = []; window.violations = [];
document.addEventListener('securitypolicyviolation', e => violations.push(e.effectiveDirective + ' ' + e.blockedURI));`

// A script that an edit inserts runs under a policy that has a nonce for it. Under
// one that forbids it the edit is left out, and the browser has nothing to report.
func TestBrowserUnderPolicies(t *testing.T) {
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/static/watch.js" || r.URL.Path == "/static/club.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = io.WriteString(w, map[string]string{"/static/watch.js": policyWatch, "/static/club.js": `ran.push('club')`}[r.URL.Path])
			return
		}
		nonce := fmt.Sprintf("Xy+%d/==", asked.Add(1))
		meta, page := "", strings.Replace(policyPage, "NONCE", `nonce="`+nonce+`"`, 1)
		policy := map[string]string{
			"/nonce":   "script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce + "'",
			"/strict":  "script-src 'nonce-" + nonce + "' 'strict-dynamic' https: 'unsafe-inline'; style-src 'nonce-" + nonce + "'; object-src 'none'; base-uri 'none'",
			"/self":    "script-src 'self'; style-src 'self'",
			"/default": "default-src 'self'",
			"/two":     "script-src 'nonce-" + nonce + "' 'self', script-src 'self'; style-src 'self'",
		}
		if path, ok := strings.CutPrefix(r.URL.Path, "/meta"); ok {
			meta = `<meta http-equiv="content-security-policy" content="` + policy[path] + `">`
		} else {
			w.Header().Set("Content-Security-Policy", policy[r.URL.Path])
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, strings.Replace(page, "META", meta, 1))
	}))
	t.Cleanup(origin.Close)

	type edit map[string]string
	n := serveConfig(t, map[string]any{
		"upstreams": []any{map[string]any{"name": "site", "url": origin.URL}},
		"routes":    []any{map[string]any{"name": "all", "upstream": "site"}},
		"experiences": []any{map[string]any{"name": "club", "pages": []string{"/**"}, "edits": []edit{
			{"select": "#hero", "op": "set_inner", "text": "Hello again"},
			{"select": "body", "op": "append", "html": `<script>ran.push('inline')</script>`},
			{"select": "body", "op": "append", "html": `<style>#hero { color: rgb(1, 2, 3) }</style>`},
			{"select": "body", "op": "append", "html": `<script src="/static/club.js"></script>`},
			{"select": "#end", "op": "set_attribute", "name": "onclick", "value": "ran.push('click')"},
			{"select": "#end", "op": "set_attribute", "name": "style", "value": "color: rgb(4, 5, 6)"},
		}}},
	})
	b := openBrowser(t)
	for at, want := range map[string]string{
		"/none":    "inline club click, rgb(1, 2, 3), rgb(4, 5, 6)",
		"/nonce":   "inline club, rgb(1, 2, 3), rgb(0, 0, 0)",
		"/strict":  "inline club, rgb(1, 2, 3), rgb(0, 0, 0)",
		"/self":    "club, rgb(0, 0, 0), rgb(0, 0, 0)",
		"/default": "club, rgb(0, 0, 0), rgb(0, 0, 0)",
		"/two":     "club, rgb(0, 0, 0), rgb(0, 0, 0)",
	} {
		for _, way := range []string{"", "/meta"} {
			for _, time := range []string{"first", "again from memory"} {
				b.do("open "+way+at, chromedp.Navigate(n.site+way+at), chromedp.WaitVisible(chromedp.CSS("#end")))
				got := read(b, "look at "+way+at, chromedp.Evaluate[string](`(() => {
					document.querySelector('#end').click();
					const color = at => getComputedStyle(document.querySelector(at)).color;
					return new Promise(done => setTimeout(() => done(JSON.stringify([document.querySelector('#hero').textContent,
						ran.join(' ') + ', ' + color('#hero') + ', ' + color('#end'), violations.join('; ')])), 50));
				})()`, chromedp.EvalAwaitPromise))
				var found [3]string
				if err := json.Unmarshal([]byte(got), &found); err != nil {
					t.Fatalf("%s: %v", got, err)
				}
				if found[0] != "Hello again" || found[1] != want || found[2] != "" {
					t.Errorf("%s, %s: %q, want %q without a violation", way+at, time, found, want)
				}
			}
		}
	}
	if metrics := newClient(t, n.admin).page("/metrics").body; !strings.Contains(metrics, "sedge_rewrite_policy_refused_total") {
		t.Error("no metric of what was left out")
	}
}
