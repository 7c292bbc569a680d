package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// scripted is a plan that inserts a script, and text.
func scripted() *decision.Plan {
	p := &decision.Plan{Concerned: true, Edits: []decision.PlannedEdit{
		{Edit: decision.Edit{Select: "#hero", Op: decision.OpSetInner, Text: "Hello again"}, Experience: "club", Apply: true},
		{Edit: decision.Edit{Select: "body", Op: decision.OpAppend, HTML: "<script>confidential()</script>"}, Experience: "club", Apply: true},
	}}
	copy(p.Digest[:], "scripted")
	return p
}

func TestNonceOfTheAnswerIsReused(t *testing.T) {
	for name, header := range map[string][]string{
		"one line":       {"Content-Security-Policy", "default-src 'self'; script-src 'nonce-r4nd'"},
		"odd spelling":   {"content-SECURITY-policy", "script-src 'nonce-r4nd'"},
		"several lines":  {"Content-Security-Policy", "script-src 'nonce-r4nd' 'self'", "content-security-policy", "default-src 'self' 'nonce-r4nd'"},
		"several in one": {"Content-Security-Policy", "script-src 'nonce-r4nd' 'self', script-src 'nonce-no' 'nonce-r4nd'"},
		"report only":    {"Content-Security-Policy-Report-Only", "script-src 'nonce-r4nd'"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := origin(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				for i := 0; i < len(header); i += 2 {
					w.Header()[header[i]] = append(w.Header()[header[i]], header[i+1]) // in this spelling
				}
				_, _ = io.WriteString(w, shopPage)
			})
			n := start(t, origin, setup{engines: always(scripted())})
			r := n.get("/")
			if !strings.Contains(r.body, `Hello again`) || !strings.Contains(r.body, `<script nonce="r4nd">confidential()</script></body>`) {
				t.Errorf("%s", r.body)
			}
			var sent []string
			for i := 0; i < len(header); i += 2 {
				sent = append(sent, header[i+1])
			}
			name := http.CanonicalHeaderKey(header[0])
			if got := strings.Join(r.Header.Values(name), "|"); got != strings.Join(sent, "|") {
				t.Errorf("the policy became %q", got)
			}
			if n.server.Stats().PolicyRefused.Load() != 0 {
				t.Error("counted as refused")
			}
		})
	}
}

// What a policy forbids is left out, counted and logged, and nothing else is.
func TestForbiddenEditsAreLeftOut(t *testing.T) {
	const meta = `<meta http-equiv="Content-Security-Policy" content="script-src 'self'">`
	for name, c := range map[string]struct{ page, policy, directive string }{
		"header":  {shopPage, "script-src 'self'", "script-src"},
		"meta":    {strings.Replace(shopPage, "<title>", meta+"<title>", 1), "frame-ancestors 'self'", "script-src"},
		"sandbox": {shopPage, "sandbox allow-forms", "sandbox"},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, pages(t, "text/html", c.page, "Content-Security-Policy", c.policy), setup{engines: always(scripted())})
			for range 3 {
				if r := n.get("/shop?email=a@b.example"); r.body != strings.Replace(c.page, "Welcome", "Hello again", 1) || r.Header.Get("Content-Security-Policy") != c.policy {
					t.Errorf("%s: %s", r.Header.Get("Content-Security-Policy"), r.body)
				}
			}
			eventually(t, "counted", func() bool { return n.server.Stats().PolicyRefused.Load() == 3 })
			log := n.log.String()
			if !strings.Contains(log, fmt.Sprintf(`"experience":"club","edit":1,"directive":%q`, c.directive)) || strings.Contains(log, "confidential") || strings.Contains(log, "b.example") {
				t.Errorf("log: %s", log)
			}
			if lines := strings.Count(log, "edit left out"); lines > 2 { // a second may have passed
				t.Errorf("%d lines", lines)
			}
		})
	}
}

// A page that is kept has the nonce of the policy that is kept with it.
func TestVariantsKeepPolicyAndNonceTogether(t *testing.T) {
	for name, plan := range map[string]*decision.Plan{"plain": scripted(), "with slots": func() *decision.Plan {
		p := scripted()
		p.Edits[0].Text = `Hello {{segment "you"}}`
		return p
	}()} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			origin := origin(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("content-security-policy", fmt.Sprintf("script-src 'nonce-n%d'", asked.Add(1)))
				_, _ = io.WriteString(w, shopPage)
			})
			n := start(t, origin, setup{engines: always(plan)})
			paired := func(r reply, number int) {
				t.Helper()
				nonce := fmt.Sprintf("n%d", number)
				if r.Header.Get("Content-Security-Policy") != "script-src 'nonce-"+nonce+"'" || !strings.Contains(r.body, `<script nonce="`+nonce+`">`) {
					t.Errorf("%s with %s", r.Header.Get("Content-Security-Policy"), r.body)
				}
			}
			paired(n.get("/"), 1)
			eventually(t, "kept", func() bool { return n.server.CacheUsage().Objects == 1 })
			again := n.get("/")
			paired(again, 1)
			if !strings.Contains(again.Header.Get("Cache-Status"), "hit") {
				t.Errorf("Cache-Status %q", again.Header.Get("Cache-Status"))
			}
			old := again.Header.Get("ETag")
			fresh := n.get("/", "Cache-Control", "no-cache")
			paired(fresh, 2)
			eventually(t, "kept anew", func() bool { return strings.Contains(n.get("/").body, "n2") })
			if r := n.get("/", "If-None-Match", old); r.StatusCode == http.StatusNotModified {
				t.Error("the page with the old nonce was taken for the new one")
			}
		})
	}
}

// Relative addresses are held against the page that the browser knows.
func TestPolicySelf(t *testing.T) {
	p := scripted()
	p.Edits[1].HTML = `<script src="/club.js"></script><script src="http://shop.example/more.js"></script>`
	n := start(t, pages(t, "text/html", shopPage, "Content-Security-Policy", "script-src 'self'"), setup{engines: always(p)})
	if r := n.get("/", "Host", "shop.example"); !strings.Contains(r.body, p.Edits[1].HTML) {
		t.Errorf("own host: %s", r.body)
	}
	if r := n.get("/", "Host", "www.example"); strings.Contains(r.body, "club.js") {
		t.Errorf("another host: %s", r.body)
	}
}
