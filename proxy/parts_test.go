package proxy

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

const shopAPI = `{"products": [{"id": 1, "price": 10.50}], "currency": "EUR"}`

// offer is a plan that sets a price in JSON, a color in text, and a heading in pages.
func offer() *decision.Plan {
	p := text("#hero", "Hello")
	p.Edits = append(p.Edits,
		decision.PlannedEdit{Edit: decision.Edit{Pointer: "/products/0/price", Op: decision.OpSet, JSON: "9.95"}, Experience: "test", Apply: true},
		decision.PlannedEdit{Edit: decision.Edit{Body: decision.BodyText, Op: decision.OpReplaceText, Pattern: `color: \w+`, Text: "color: gold"}, Experience: "test", Apply: true})
	p.Triggers = []decision.Trigger{{Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "e", Arm: "a"}}, Edits: []int{1, 2}}}
	return p
}

func offering(p *decision.Plan) *engines {
	e := always(p)
	e.bodies = decision.AllBodies
	return e
}

var offered = strings.Replace(shopAPI, "10.50", "9.95", 1)

// TestParts: what scripts and pages ask for beside pages is edited by the kind of
// body that comes.
func TestParts(t *testing.T) {
	const css = "h1 { color: red }"
	for name, c := range map[string]struct {
		contentType, body string
		header            []string
		want              string
		private           bool
		triggers          int
	}{
		"fetch of JSON":     {"application/json", shopAPI, []string{"Sec-Fetch-Dest", "empty", "Accept", "*/*"}, offered, true, 1},
		"JSON wanted":       {"application/vnd.shop+json; charset=utf-8", shopAPI, []string{"Sec-Fetch-Dest", "empty", "Accept", "application/json"}, offered, true, 1},
		"no fetch metadata": {"application/json", shopAPI, []string{"Accept", "application/json"}, shopAPI, true, 0},
		"as a page":         {"application/json", shopAPI, []string{"Sec-Fetch-Dest", "document"}, offered, true, 1},
		"curl":              {"application/json", shopAPI, []string{"Accept", "*/*"}, offered, true, 1},
		"style":             {"text/css", css, []string{"Sec-Fetch-Dest", "style"}, "h1 { color: gold }", true, 1},
		"script":            {"text/javascript; charset=utf-8", "x('color: red')", []string{"Sec-Fetch-Dest", "script"}, "x('color: gold')", true, 1},
		"image":             {"image/png", css, []string{"Sec-Fetch-Dest", "image"}, css, false, 0},
		"fetch of an image": {"image/png", css, []string{"Sec-Fetch-Dest", "empty"}, css, false, 0},
		"fetch of a page":   {"text/html", shopPage, []string{"Sec-Fetch-Dest", "empty", "Accept", "*/*"}, shopPage, true, 0},
		"image of JSON":     {"application/json", shopAPI, []string{"Sec-Fetch-Dest", "image"}, shopAPI, true, 0},
		"lines":             {"application/x-ndjson", shopAPI, []string{"Sec-Fetch-Dest", "empty"}, shopAPI, false, 0},
		"events":            {"text/event-stream", css, []string{"Sec-Fetch-Dest", "empty"}, css, false, 0},
		"other charset":     {"application/json; charset=utf-16", shopAPI, []string{"Sec-Fetch-Dest", "empty"}, shopAPI, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, pages(t, c.contentType, c.body, "ETag", `"e"`, "Cache-Control", "public, max-age=60"), setup{engines: offering(offer())})
			_, cookie := n.visitor()
			r := n.get("/api", append(c.header, "Cookie", cookie)...)
			if r.body != c.want {
				t.Errorf("got %s, want %s", r.body, c.want)
			}
			if got := r.Header.Get("Cache-Control"); (got == "private, no-cache") != c.private || (r.Header.Get("ETag") == `"e"`) == c.private {
				t.Errorf("Cache-Control %q, ETag %q", got, r.Header.Get("ETag"))
			}
			if len(r.Header["Set-Cookie"]) > 0 || len(n.engines.recorded(event.Page)) > 0 {
				t.Errorf("cookies %v, events %v", r.Header["Set-Cookie"], n.engines.kinds())
			}
			if c.triggers > 0 {
				eventually(t, "delivered", func() bool { return len(n.engines.recorded(event.Delivery)) == c.triggers })
			}
			if got := len(n.engines.recorded(event.Trigger)); got != c.triggers {
				t.Errorf("%d triggers", got)
			}
		})
	}
}

// TestPartsOfPagesAlone: experiences that edit pages alone change nothing of what
// scripts ask for, not even its headers, and no plugin is asked.
func TestPartsOfPagesAlone(t *testing.T) {
	e := offering(offer())
	e.bodies = decision.BodiesOf(decision.BodyHTML)
	n := start(t, pages(t, "application/json", shopAPI, "ETag", `"e"`, "Cache-Control", "max-age=60"), setup{engines: e})
	for _, header := range [][]string{{"Sec-Fetch-Dest", "empty"}, {"Sec-Fetch-Dest", "script"}, {"Accept", "application/json"}} {
		r := n.get("/api", header...)
		if r.body != shopAPI || r.Header.Get("ETag") != `"e"` || r.Header.Get("Cache-Control") != "max-age=60" {
			t.Errorf("%v: %s %v", header, r.body, r.Header)
		}
	}
	if n.engines.plans.Load() != 0 {
		t.Errorf("%d plans were made", n.engines.plans.Load())
	}
	if r := n.get("/api", "Accept", "*/*"); r.body != shopAPI || r.Header.Get("ETag") != `"e"` || len(r.Header["Set-Cookie"]) > 0 {
		t.Errorf("%s %v", r.body, r.Header)
	}
}

// TestPartsHaveEqualHeaders: nothing but the edits tells visitors apart.
func TestPartsHaveEqualHeaders(t *testing.T) {
	sets := map[string]string{}
	for name, plan := range map[string]func(*decision.Plan) *decision.Plan{
		"treated": func(p *decision.Plan) *decision.Plan { return p },
		"control": func(p *decision.Plan) *decision.Plan { p.Edits[1].Apply = false; return p },
		"nothing": func(*decision.Plan) *decision.Plan { return &decision.Plan{Concerned: true} },
		"failed":  func(*decision.Plan) *decision.Plan { return nil },
	} {
		for _, coding := range []string{"identity", "gzip"} {
			p := plan(offer())
			e := offering(p)
			e.plan = func(context.Context, *decision.Query) *decision.Plan { return p }
			n := start(t, compressing(t, "application/json", shopAPI, "Cache-Control", "s-maxage=60", "ETag", `"e"`), setup{engines: e, now: stopped()})
			_, cookie := n.visitor()
			for _, round := range []string{"first", "second"} {
				r := n.get("/api", "Cookie", cookie, "Accept-Encoding", coding, "Sec-Fetch-Dest", "empty")
				want := shopAPI
				if name == "treated" {
					want = offered
				}
				if got := decoded(t, r); got != want {
					t.Errorf("%s %s: got %s", name, round, got)
				}
				set := headerSet(r.Header, "Date", "X-Request-Id", "Content-Length", "Etag")
				if before, ok := sets[coding+round]; ok && before != set {
					t.Errorf("%s: the %s answer's headers differ\n%s\n\n%s", name, round, set, before)
				}
				sets[coding+round] = set
			}
		}
	}
}

// TestPartsOfStrangers: who comes without an id gets none from JSON, and nothing
// that is measured, even where the request might have been for a page.
func TestPartsOfStrangers(t *testing.T) {
	e := offering(nil)
	e.assign = func(dst []decision.Assignment, _, _ string) []decision.Assignment {
		return append(dst, decision.Assignment{Experiment: "e", Arm: "a"})
	}
	e.plan = func(_ context.Context, q *decision.Query) *decision.Plan {
		if len(q.Assignments) > 0 {
			return offer()
		}
		return &decision.Plan{Concerned: true}
	}
	n := start(t, pages(t, "application/json", shopAPI, "Cache-Control", "s-maxage=60"), setup{engines: e})
	_, cookie := n.visitor()
	for range 2 {
		if r := n.get("/api", "Cookie", cookie); r.body != offered {
			t.Errorf("a known visitor got %s", r.body)
		}
		r := n.get("/api")
		if r.body != shopAPI || len(r.Header["Set-Cookie"]) > 0 {
			t.Errorf("a stranger got %s, %v", r.body, r.Header["Set-Cookie"])
		}
	}
	eventually(t, "delivered", func() bool { return len(n.engines.recorded(event.Delivery)) == 2 })
	if got := n.server.Stats().Concerned.Load(); got != 4 {
		t.Errorf("%d requests counted", got)
	}
}

// TestPartsAreKept: edited JSON comes from memory, apart from what others asked for.
func TestPartsAreKept(t *testing.T) {
	var asked atomic.Int64
	p := offer()
	p.Edits[1].JSON = `"{{trait 'tier' 'none'}}"`
	e := offering(p)
	e.profiles = map[string]*decision.Profile{}
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=60")
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, shopPage)
			return
		}
		_, _ = io.WriteString(w, shopAPI)
	})
	n := start(t, o, setup{engines: e})
	for _, tier := range []string{"gold", `"x`} {
		id, cookie := n.visitor()
		e.profiles[id] = &decision.Profile{Traits: map[string]any{"tier": tier}}
		want := strings.Replace(shopAPI, "10.50", `"`+strings.ReplaceAll(tier, `"`, `\u0022`)+`"`, 1)
		for range 3 {
			if r := n.get("/", "Cookie", cookie, "Sec-Fetch-Dest", "empty"); r.body != want {
				t.Errorf("got %s, want %s", r.body, want)
			}
			if r := n.get("/", "Cookie", cookie, "Accept", "text/html"); !strings.Contains(r.body, "Hello") {
				t.Errorf("the page is %s", r.body)
			}
		}
		r := n.get("/", "Cookie", cookie, "Sec-Fetch-Dest", "empty")
		if again := n.get("/", "Cookie", cookie, "Sec-Fetch-Dest", "empty", "If-None-Match", r.Header.Get("ETag")); again.StatusCode != 304 {
			t.Errorf("not modified: %s", again.Status)
		}
	}
	if asked.Load() != 2 {
		t.Errorf("the origin was asked %d times", asked.Load())
	}
	if views := len(n.engines.recorded(event.Page)); views != 6 {
		t.Errorf("%d page views", views)
	}
}

// TestPartsKeepPromises: ranges, no-transform, HEAD, methods and faults.
func TestPartsKeepPromises(t *testing.T) {
	fetch := []string{"Sec-Fetch-Dest", "empty"}
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/no-transform":
			w.Header().Set("Cache-Control", "no-transform")
		case "/broken":
			_, _ = io.WriteString(w, shopAPI[:50])
			return
		case "/gone":
			w.WriteHeader(404)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(shopAPI))
	})
	n := start(t, o, setup{engines: offering(offer())})
	if r := n.get("/", append(fetch, "Range", "bytes=0-9")...); r.StatusCode != 200 || r.body != offered {
		t.Errorf("range: %d %s", r.StatusCode, r.body)
	}
	if r := n.get("/no-transform", fetch...); r.body != shopAPI || r.Header.Get("Cache-Control") != "private, no-cache, no-transform" {
		t.Errorf("no-transform: %s %v", r.body, r.Header)
	}
	if r := n.do("HEAD", "/", nil, fetch...); r.ContentLength >= 0 || r.StatusCode != 200 {
		t.Errorf("HEAD: %d bytes", r.ContentLength)
	}
	if r := n.do("POST", "/", strings.NewReader("x"), fetch...); r.body != shopAPI {
		t.Errorf("POST: %s", r.body)
	}
	if r := n.get("/broken", fetch...); r.body != strings.Replace(shopAPI[:50], "10.50", "9.95", 1) {
		t.Errorf("broken: %s", r.body)
	}
	if got := n.server.Stats().FailedOpen(ReasonRewrite); got != 1 {
		t.Errorf("%d bodies were given up", got)
	}
	if r := n.get("/gone", fetch...); r.StatusCode != 404 || r.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("gone: %d %v", r.StatusCode, r.Header)
	}
}

// TestPackedParts: a gzip body is unpacked, edited and packed again.
func TestPackedParts(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, shopAPI)
	_ = w.Close()
	n := start(t, pages(t, "application/json", packed.String(), "Content-Encoding", "gzip"), setup{engines: offering(offer())})
	r := n.get("/", "Sec-Fetch-Dest", "empty", "Accept-Encoding", "gzip")
	if got := decoded(t, r); got != offered {
		t.Errorf("got %s", got)
	}
}
