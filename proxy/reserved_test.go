package proxy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

const trackCall = `{"type":"track","event":"Order Completed","anonymousId":"somebody","properties":{"revenue":12}}`

func TestTrack(t *testing.T) {
	e := &engines{segment: func(*decision.Facts) *decision.Segmentation { return &decision.Segmentation{Primary: "vip"} }}
	n := start(t, pages(t, "text/html", shopPage), setup{engines: e})
	id, cookie := n.visitor()
	cases := map[string]struct {
		path, body string
		header     []string
	}{
		"plain":       {"/_sedge/v1/track", trackCall, nil},
		"short name":  {"/_sedge/v1/t", trackCall, []string{"Content-Type", "text/plain"}},
		"packed":      {"/_sedge/v1/track", string(packBytes(trackCall)), []string{"Content-Encoding", "gzip"}},
		"mislabelled": {"/_sedge/v1/track", string(packBytes(trackCall)), []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"own origin":  {"/_sedge/v1/track", trackCall, []string{"Origin", "http://" + n.addr}},
	}
	for name, c := range cases {
		before := len(e.recorded(event.Track))
		r := n.do("POST", c.path, strings.NewReader(c.body), append(c.header, "Cookie", cookie)...)
		if r.StatusCode != 200 || strings.TrimSpace(r.body) != `{"success":true}` {
			t.Errorf("%s: %d %q", name, r.StatusCode, r.body)
		}
		events := e.recorded(event.Track)
		if len(events) != before+1 {
			t.Fatalf("%s: %d events", name, len(events)-before)
		}
		last := events[before]
		if last.Visitor != id || last.Segment != "vip" || last.Minted || last.Name != "Order Completed" {
			t.Errorf("%s: %+v", name, last)
		}
		if r.Header.Get("Cache-Control") != "private, no-store" {
			t.Errorf("%s: %v", name, r.Header)
		}
	}
}

func TestTrackWithoutCookieMints(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage), setup{})
	r := n.do("POST", "/_sedge/v1/track", strings.NewReader(trackCall))
	events := n.engines.recorded(event.Track)
	if len(r.Header["Set-Cookie"]) != 1 || len(events) != 1 || !events[0].Minted || events[0].Visitor == "somebody" {
		t.Errorf("%v %+v", r.Header, events)
	}
}

func TestCallsThatAreNotKept(t *testing.T) {
	for name, header := range map[string][]string{
		"bot": {"User-Agent", "Googlebot/2.1"}, "gpc": {"Sec-GPC", "1"},
	} {
		n := start(t, pages(t, "text/html", shopPage), setup{})
		r := n.do("POST", "/_sedge/v1/track", strings.NewReader(trackCall), header...)
		if r.StatusCode != 200 || len(n.engines.kinds()) != 0 || len(r.Header["Set-Cookie"]) != 0 {
			t.Errorf("%s: %d, events %v", name, r.StatusCode, n.engines.kinds())
		}
	}
}

func TestBadCalls(t *testing.T) {
	e := &engines{}
	n := start(t, pages(t, "text/html", shopPage), setup{engines: e})
	bomb := string(packBytes(strings.Repeat(" ", 10*event.MaxBatch)))
	cases := []struct {
		name, method, path, body string
		status                   int
		header                   []string
	}{
		{"no JSON", "POST", "/_sedge/v1/track", "hello", 400, nil},
		{"empty", "POST", "/_sedge/v1/track", "", 400, nil},
		{"too large", "POST", "/_sedge/v1/batch", strings.Repeat(" ", event.MaxBatch+1), 400, nil},
		{"bomb", "POST", "/_sedge/v1/batch", bomb, 400, nil},
		{"cut gzip", "POST", "/_sedge/v1/track", string(packBytes(trackCall)[:20]), 400, nil},
		{"wrong method", "GET", "/_sedge/v1/track", "", 405, nil},
		{"unknown", "POST", "/_sedge/v1/steal", "{}", 404, nil},
		{"cross-site", "POST", "/_sedge/v1/track", trackCall, 403, []string{"Sec-Fetch-Site", "cross-site"}},
		{"other origin", "POST", "/_sedge/v1/track", trackCall, 403, []string{"Origin", "https://evil.example"}},
	}
	for _, c := range cases {
		r := n.do(c.method, c.path, strings.NewReader(c.body), c.header...)
		var answer map[string]any
		if err := json.Unmarshal([]byte(r.body), &answer); err != nil || r.StatusCode != c.status || answer["error"] == "" {
			t.Errorf("%s: %d %q", c.name, r.StatusCode, r.body)
		}
		if len(r.Header["Set-Cookie"]) != 0 {
			t.Errorf("%s: a cookie was given", c.name)
		}
	}
	if len(e.kinds()) != 0 {
		t.Errorf("events %v", e.kinds())
	}
}

func TestBackPressure(t *testing.T) {
	e := &engines{accept: func([]event.Event) error { return fmt.Errorf("queue: %w", event.ErrBusy) }}
	n := start(t, pages(t, "text/html", shopPage), setup{engines: e})
	r := n.do("POST", "/_sedge/v1/track", strings.NewReader(trackCall))
	if r.StatusCode != 429 || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
}

func TestMe(t *testing.T) {
	e := &engines{profiles: map[string]*decision.Profile{}, segment: func(f *decision.Facts) *decision.Segmentation {
		s := &decision.Segmentation{}
		if f.Profile != nil && f.Profile.Orders > 1 {
			s.Primary, s.Members = "vip", []string{"vip", "all"}
			s.Scores = []decision.Score{{Name: "engagement", Value: 3, Reached: true}}
		}
		return s
	}}
	n := start(t, pages(t, "text/html", shopPage), setup{engines: e})
	id, cookie := n.visitor()
	e.profiles[id] = &decision.Profile{PageViews: 7, Orders: 2, Revenue: 12_500_000, Traits: map[string]any{"email": "a@b"}}
	r := n.get("/_sedge/v1/me", "Cookie", cookie)
	want := `{"known":true,"segment":"vip","segments":["vip","all"],"scores":[{"name":"engagement","value":3,"reached":true}],"page_views":7,"sessions":0,"orders":2,"revenue":12.5}`
	if strings.TrimSpace(r.body) != want || r.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("%s %v", r.body, r.Header)
	}
	if strings.Contains(r.body, id) {
		t.Error("the id is in the answer")
	}
}

func TestPreflight(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage), setup{})
	r := n.do("OPTIONS", "/_sedge/v1/track", nil, "Origin", "https://"+n.addr, "Access-Control-Request-Method", "POST")
	if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != "https://"+n.addr {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	if r = n.do("OPTIONS", "/_sedge/v1/track", nil, "Origin", "https://evil.example"); r.StatusCode != 403 || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
}
