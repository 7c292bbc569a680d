package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

const slotsOrigin = `<!doctype html><html><head><title>slots</title><script>
window.__errors = []; window.onerror = function (m) { window.__errors.push(String(m)) };
window.__alerts = 0; window.alert = window.confirm = window.prompt = function () { window.__alerts++ };
</script></head><body><div id="slots" data-path="PATH"></div><p id="end">end</p></body></html>`

// poke does to a page what a person could: it follows its links as far as they run
// something, and clicks, hovers and focuses everything.
const poke = `(() => {
	document.addEventListener('click', e => {
		const a = e.target.closest('a');
		if (a && !String(a.href.baseVal || a.href).trim().toLowerCase().startsWith('javascript:')) e.preventDefault();
	});
	document.addEventListener('submit', e => e.preventDefault());
	for (const e of document.querySelectorAll('#slots *')) {
		for (const kind of ['mouseover', 'focus', 'click', 'load', 'error']) {
			e.dispatchEvent(new MouseEvent(kind, {bubbles: kind === 'click', cancelable: true}));
		}
		for (const a of e.attributes) {
			const v = a.value.replace(/[\u0000-\u0020]/g, '').toLowerCase();
			if (/^(javascript|vbscript|data):/.test(v) && !/^(title|alt|value|data-name)$/.test(a.name)) window.__pwned = a.name + '=' + a.value;
		}
	}
	const json = [...document.querySelectorAll('#slots script[type*=json]')].filter(s => { try { JSON.parse(s.textContent); return false } catch (e) { return true } }).length;
	return new Promise(done => setTimeout(() => done(JSON.stringify({
		pwned: window.__pwned === undefined ? '' : String(window.__pwned), errors: window.__errors, alerts: window.__alerts, json: json,
		title: document.title, path: location.pathname, end: !!document.querySelector('body > p#end'),
		places: document.querySelectorAll('#slots > .place').length, odd: document.querySelectorAll('#slots > :not(.place), iframe, base, meta[http-equiv], #slots [onerror], #slots [onload], #slots [onfocus], #slots [autofocus]').length,
	})), 150));
})()`

// slotCases are what package rewrite tests its slots with.
type slotCases struct {
	Payloads []string
	Contexts []struct{ Name, HTML string }
}

func readSlotCases(t *testing.T) (cases slotCases) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "rewrite", "testdata", "slots.json"))
	if err == nil {
		err = json.Unmarshal(file, &cases)
	}
	if err != nil || len(cases.Payloads) < 60 {
		t.Fatalf("%d payloads: %v", len(cases.Payloads), err)
	}
	return cases
}

// slotsSite is an origin of pages with an empty place for slots.
func slotsSite(t *testing.T) string {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/static/") {
			w.Header().Set("Content-Type", "text/javascript")
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, strings.Replace(slotsOrigin, "PATH", r.URL.Path, 1))
	}))
	t.Cleanup(origin.Close)
	return origin.URL
}

// poked is what became of a page that was poked.
type poked struct {
	Pwned, Title, Path        string
	Errors                    []string
	Alerts, JSON, Places, Odd int
	End                       bool
}

func (b *browser) poke() (found poked) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(read(b, "poke", chromedp.Evaluate[string](poke, chromedp.EvalAwaitPromise))), &found); err != nil {
		b.t.Fatal(err)
	}
	return found
}

// inert reports whether nothing ran, and all places stand in the page at path.
func (p *poked) inert(path string, places int) bool {
	return p.Pwned == "" && p.Alerts+p.JSON+p.Odd == 0 && len(p.Errors) == 0 &&
		p.Title == "slots" && p.Path == path && p.End && p.Places == places
}

// Nothing that a visitor may call themselves runs in a page, wherever an edit puts it.
func TestBrowserRunsNothingFromSlots(t *testing.T) {
	cases := readSlotCases(t)
	origin := slotsSite(t)
	const batch = 60 // a profile keeps 64 traits
	type edit struct {
		Select string `json:"select"`
		Op     string `json:"op"`
		HTML   string `json:"html"`
	}
	type experience struct {
		Name  string   `json:"name"`
		Pages []string `json:"pages"`
		Edits []edit   `json:"edits"`
	}
	var experiences []experience
	for i, c := range cases.Contexts {
		if i%3 == 0 {
			experiences = append(experiences, experience{Name: fmt.Sprintf("contexts from %d", i)})
		}
		x := &experiences[len(experiences)-1]
		page := fmt.Sprintf("/context/%d", i)
		x.Pages = append(x.Pages, page)
		for p := range min(batch, len(cases.Payloads)) {
			html := strings.ReplaceAll(c.HTML, "NAME", fmt.Sprintf("p%d", p))
			x.Edits = append(x.Edits, edit{`#slots[data-path="` + page + `"]`, "append", `<div class="place">` + html + `</div>`})
		}
	}
	n := serveConfig(t, map[string]any{
		"upstreams":   []any{map[string]any{"name": "site", "url": origin}},
		"routes":      []any{map[string]any{"name": "all", "upstream": "site"}},
		"experiences": experiences,
	})
	for from := 0; from < len(cases.Payloads); from += batch {
		b := openBrowser(t)
		traits := map[string]string{}
		for i, payload := range cases.Payloads[from:min(from+batch, len(cases.Payloads))] {
			traits[fmt.Sprintf("p%d", i)] = payload
		}
		body, err := json.Marshal(map[string]any{"type": "identify", "traits": traits})
		if err != nil {
			t.Fatal(err)
		}
		call, err := json.Marshal(string(body))
		if err != nil {
			t.Fatal(err)
		}
		b.do("open the site", chromedp.Navigate(n.site+"/"), chromedp.WaitVisible(chromedp.CSS("#end")))
		answer := read(b, "identify", chromedp.Evaluate[string](fmt.Sprintf(`fetch('/_sedge/v1/identify', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: %s}).then(r => r.text())`, call), chromedp.EvalAwaitPromise))
		if !strings.Contains(answer, "true") {
			t.Fatalf("identify: %s", answer)
		}
		for i, c := range cases.Contexts {
			for _, way := range []string{"first", "again from memory"} {
				at := fmt.Sprintf("/context/%d", i)
				b.do("open "+at, chromedp.Navigate(n.site+at), chromedp.WaitVisible(chromedp.CSS("#end")))
				if found := b.poke(); !found.inert(at, batch) {
					t.Errorf("%s, payloads from %d, %s: %+v", c.Name, from, way, found)
				}
			}
		}
		if text := b.shown("#slots .place"); from == 0 && !strings.Contains(text, "Ann") {
			t.Errorf("the value is not shown: %q", text)
		}
	}
}

// shown returns the text of the first element, "" for none.
func (b *browser) shown(selector string) string {
	return read(b, "read "+selector, chromedp.Evaluate[string](fmt.Sprintf(`(document.querySelector(%q) || {innerHTML: ''}).innerHTML`, selector)))
}
