package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const bypassConfig = `
upstreams: [{name: site, url: %q}]
routes:
  - {name: shop, paths: ["/shop/**"], upstream: site}
  - {name: rest, upstream: site}
experiences:
  - name: banner
    edits: [{select: h1, op: append, html: "<b>banner</b>"}]
  - name: greeting
    experiment: greetings
    arm: warm
    edits: [{select: p, op: append, html: "<b>warm</b>"}]
  - name: plain greeting
    experiment: greetings
    arm: cool
    plugin: content
    settings: {edits: [{select: p, op: append, html: "<b>cool</b>"}]}
experiments:
  - {name: greetings, arms: [{name: warm}, {name: cool}]}
`

const bypassPage = `<!doctype html><title>site</title><h1>Site</h1><p>Hello</p>`

// off is what the tests read of GET /api/v1/switches.
type off struct {
	Switches []struct {
		Kind, Name, Reason string
		NamesNothing       bool `json:"names_nothing"`
	}
}

// reload makes the node read its configuration again, and waits until it has.
func (n *node) reload() {
	n.t.Helper()
	var before, after struct{ Generation int }
	n.ask("/api/v1/status", &before)
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		n.t.Fatal(err)
	}
	waitFor(n.t, 10*time.Second, "the configuration is read again", func() error {
		if n.ask("/api/v1/status", &after); after.Generation == before.Generation {
			return fmt.Errorf("generation %d still", after.Generation)
		}
		return nil
	})
}

// TestKillSwitches: what is turned off is off from the very next page on, over a
// crash and a reload, is shown wherever an owner looks, and comes back when lifted.
func TestKillSwitches(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, bypassPage)
	}))
	t.Cleanup(origin.Close)
	config := filepath.Join(t.TempDir(), "sedge.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, bypassConfig, origin.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startServe(t, binary, config)
	bypass := func(args ...string) string {
		t.Helper()
		out, errs, err := run(t, append([]string{"bypass", "--admin", n.admin, "--data-dir", n.dataDir}, args...)...)
		if err != nil {
			t.Fatalf("sedge bypass %s: %v %s", args, err, errs)
		}
		return out
	}
	// What a page shows: the marks of experiences in their order.
	shows := func(a answer) string {
		var marks []string
		for _, mark := range []string{"banner", "warm", "cool"} {
			if strings.Contains(a.body, "<b>"+mark+"</b>") {
				marks = append(marks, mark)
			}
		}
		return strings.Join(marks, " ")
	}
	visitor := newClient(t, n.site)
	visitor.page("/") // and twice more, so that variants are kept
	visitor.page("/")
	arm := strings.TrimPrefix(shows(visitor.page("/")), "banner ")
	if arm != "warm" && arm != "cool" {
		t.Fatalf("the page shows %q before anything is off", arm)
	}
	whole := "banner " + arm
	other := map[string]string{"warm": "greeting", "cool": "plain greeting"}[arm]

	f := func(home, shop, kind string, name ...string) {
		t.Helper()
		named := append([]string{kind}, name...)
		what := strings.Join(named, " ")
		look := func(when string) {
			t.Helper()
			for path, want := range map[string]string{"/": home, "/shop/a": shop} {
				fresh := newClient(t, n.site)
				for who, a := range map[string]answer{"the visitor": visitor.page(path), "somebody new": fresh.page(path)} {
					got := shows(a)
					if who == "somebody new" && got != "" && want != "" { // perhaps in the other arm
						continue
					}
					if got != want {
						t.Errorf("%s %s: %s shows %s %q, want %q", what, when, path, who, got, want)
					}
					if want == "" && (a.body != bypassPage || kind != "plugin" && kind != "experience" && a.header.Get("Set-Cookie") != "") {
						t.Errorf("%s %s: %s is not the origin's own: %v %s", what, when, path, a.header, a.body)
					}
				}
			}
		}
		bypass(append(append([]string{"on"}, named...), "--reason", "prices are wrong")...)
		look("is off")
		n.kill()
		n.launch()
		look("is off and the node was killed")
		n.reload()
		look("is off and the configuration was read again")

		var listed, status off
		n.ask("/api/v1/switches", &listed)
		n.ask("/api/v1/status", &status)
		for where, list := range map[string]off{"switches": listed, "status": status} {
			if len(list.Switches) != 1 || list.Switches[0].Kind != kind || list.Switches[0].Name != strings.Join(name, "") || list.Switches[0].Reason != "prices are wrong" {
				t.Errorf("%s: %s shows %+v", what, where, list)
			}
		}
		var ready struct {
			off
			LastReload struct{ OK bool } `json:"last_reload"`
		}
		if n.ask("/readyz?verbose", &ready); len(ready.Switches) != 1 || ready.Switches[0].Kind != kind || !ready.LastReload.OK {
			t.Errorf("%s: readyz shows %+v", what, ready)
		}
		report, errs, err := run(t, "report", "--admin", n.admin, "--data-dir", n.dataDir)
		if err != nil || !strings.Contains(report, "prices are wrong") {
			t.Errorf("%s: the report says %v %s\n%s", what, err, errs, report)
		}

		if out := bypass(append([]string{"off"}, named...)...); !strings.Contains(out, "Nothing is off") {
			t.Errorf("%s: after lifting: %s", what, out)
		}
		home, shop = whole, whole
		look("is lifted")
	}
	f("", "", "everything")
	f(whole, "", "route", "shop")
	f("", "", "plugin", "content")
	f(arm, arm, "experience", "banner")
	f("banner", "banner", "experience", other)
}

// TestBypassWithoutNode: a node that does not come up is turned off before its next
// start, and one whose switches cannot be read serves the site as it is.
func TestBypassWithoutNode(t *testing.T) {
	n := startDemo(t, binary)
	home := newClient(t, n.site)
	home.page("/")
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	on := []string{"bypass", "on", "--admin", n.admin, "--data-dir", n.dataDir}
	if out, errs, err := run(t, on...); err != nil || !strings.Contains(out, "No node runs") || !strings.Contains(out, "everything") {
		t.Fatalf("bypass on: %v %s %s", err, out, errs)
	}
	if out, errs, err := run(t, "report", "--admin", n.admin, "--data-dir", n.dataDir); err != nil || !strings.Contains(out, "everything") {
		t.Errorf("report: %v %s %s", err, out, errs)
	}
	n.launch()
	if a := newClient(t, n.site).page("/"); a.body != newClient(t, n.origin).page("/").body || a.header.Get("Set-Cookie") != "" {
		t.Errorf("the first page is not the origin's own: %v", a.header)
	}
	if a := newClient(t, n.site).do("POST", "/_sedge/v1/track", `{"event": "Order Completed"}`, "Content-Type", "application/json"); a.status != http.StatusOK {
		t.Errorf("an event while everything is off: %d %s", a.status, a.body)
	}
	// Another admin address does not make the node's files free.
	if _, errs, err := run(t, "bypass", "off", "--admin", "http://"+freePorts(t, 1)[0], "--data-dir", n.dataDir); err == nil {
		t.Errorf("the files of a running node were changed: %s", errs)
	}

	n.kill()
	if err := os.WriteFile(filepath.Join(n.dataDir, "switches.json"), []byte(`{"version":1,"swi`), 0o600); err != nil {
		t.Fatal(err)
	}
	n.launch()
	var ready off
	if n.ask("/readyz?verbose", &ready); len(ready.Switches) != 1 || ready.Switches[0].Kind != "everything" {
		t.Errorf("with a damaged file, readyz shows %+v", ready)
	}
	if a := newClient(t, n.site).page("/"); a.header.Get("Set-Cookie") != "" {
		t.Errorf("with a damaged file, the page is not the origin's own: %v", a.header)
	}
	if out := n.output.String(); !strings.Contains(out, "switches.json") {
		t.Errorf("the log does not tell of the damaged file: %s", tail(out, 2000))
	}
}
