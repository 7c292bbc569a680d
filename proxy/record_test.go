package proxy

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// A visitor who comes again to a page that is unchanged has seen it again.
func TestViewOfUnchangedPage(t *testing.T) {
	address := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.Header().Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, "<p>page")
	})
	n := start(t, address, setup{})
	_, cookie := n.visitor()
	html := []string{"Cookie", cookie, "Accept", "text/html,*/*;q=0.8"}
	n.get("/", html...)
	if r := n.get("/", append(html, "If-None-Match", `"1"`)...); r.StatusCode != http.StatusNotModified {
		t.Fatal(r.Status)
	}
	if views := len(n.engines.recorded(event.Page)); views != 2 {
		t.Errorf("%d page views, want 2", views)
	}
	// What may be an image or a script is no page.
	n.get("/", "Cookie", cookie, "Accept", "*/*", "If-None-Match", `"1"`)
	n.get("/", append(html, "If-None-Match", `"1"`, "Sec-Fetch-Dest", "empty")...)
	n.do("HEAD", "/", nil, append(html, "If-None-Match", `"1"`)...)
	if views := len(n.engines.recorded(event.Page)); views != 2 {
		t.Errorf("%d page views, want 2", views)
	}
}

// What a visitor meets on a page that is there is recorded with its view, in one call.
func TestTriggersAreRecordedWithTheView(t *testing.T) {
	p := text("#hero", "new")
	p.Triggers = []decision.Trigger{
		{Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "e", Arm: "a"}}, Edits: []int{0}},
		{Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "f", Arm: "b"}}, Always: true},
	}
	e := always(p)
	n := start(t, pages(t, "text/html", `<div id=hero>x</div>`, "Cache-Control", "max-age=60"), setup{engines: e})
	_, cookie := n.visitor()
	n.get("/", "Cookie", cookie) // from here on it comes from memory
	eventually(t, "deliveries of the first page", func() bool { return len(e.recorded(event.Delivery)) == 2 })
	e.mu.Lock()
	e.events, e.calls = nil, nil
	e.mu.Unlock()
	n.get("/", "Cookie", cookie)
	eventually(t, "two deliveries", func() bool { return len(e.recorded(event.Delivery)) == 2 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.calls, []int{3, 2}) {
		t.Errorf("calls with %v events, want triggers and view, then deliveries", e.calls)
	}
	ids := map[string]bool{}
	for i := range e.events {
		ev := &e.events[i]
		if ids[ev.ID] || ev.Visitor != e.events[0].Visitor || ev.Time.IsZero() || !ev.Time.Equal(ev.Received) {
			t.Errorf("%+v", ev)
		}
		if ids[ev.ID] = true; ev.Exposure != nil && (ev.Exposure.Experiment == "e") != (ev.Exposure.Arm == "a") {
			t.Errorf("%+v", ev.Exposure)
		}
	}
}

// Ids made at once, in whatever goroutine, are all different.
func TestIDsDiffer(t *testing.T) {
	n := start(t, pages(t, "text/html", "x"), setup{})
	const each = 2000
	ids := make([][]string, 4)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			for range each {
				ids[i] = append(ids[i], n.server.newID())
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, id := range slices.Concat(ids...) {
		if seen[id] || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
			t.Fatal(id)
		}
		seen[id] = true
	}
}

// panicky is a recorder that has a fault.
type panicky struct{ *engines }

func (panicky) Record([]event.Event) int { panic("recorder") }

// Deliveries are noted while the answer is being sent, outside of the handler.
func TestRecorderThatPanics(t *testing.T) {
	p := text("#hero", "new")
	p.Triggers = []decision.Trigger{{Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "e", Arm: "a"}}, Edits: []int{0}}}
	e := always(p)
	n := start(t, pages(t, "text/html", `<div id=hero>x</div>`, "Cache-Control", "max-age=60"), setup{engines: e})
	options := n.site.SiteOptions
	options.Generation, options.Recorder = 2, panicky{e}
	site, err := NewSite(options)
	if err != nil {
		t.Fatal(err)
	}
	n.server.SetSite(site)
	for i := range 3 { // from the origin, then from memory
		r := n.get("/")
		if r.StatusCode != 200 || !strings.Contains(r.body, "new") {
			t.Errorf("%d: %d %q", i, r.StatusCode, r.body)
		}
	}
	if n.server.stats.Dropped.Load() == 0 || n.server.stats.Panics.Load() == 0 {
		t.Error("nothing is said of it")
	}
}
