package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

const shopPage = `<!doctype html><html><head><title>Shop</title></head><body><h1 id="hero">Welcome</h1><p>Text</p></body></html>`

func TestPassThrough(t *testing.T) {
	n := start(t, pages(t, "text/html; charset=utf-8", shopPage, "ETag", `"one"`, "Cache-Control", "max-age=60"), setup{})
	r := n.get("/")
	if r.StatusCode != 200 || r.body != shopPage {
		t.Fatalf("status %d, body %q", r.StatusCode, r.body)
	}
	if r.Header.Get("ETag") != `"one"` || r.Header.Get("Cache-Control") != "max-age=60" {
		t.Errorf("headers were changed: %v", r.Header)
	}
	if len(r.Header["Set-Cookie"]) > 0 {
		t.Errorf("a cookie stands in an answer that a shared cache may store: %v", r.Header)
	}
	if len(r.Header["Date"]) != 1 || r.Header.Get("X-Request-Id") == "" {
		t.Errorf("Date or X-Request-Id missing: %v", r.Header)
	}
}

func TestPersonalizedPage(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage, "ETag", `"one"`, "Set-Cookie", "a=1", "Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT"),
		setup{engines: always(text("#hero", "Hello <you>"))})
	r := n.get("/")
	want := strings.Replace(shopPage, "Welcome", "Hello &lt;you&gt;", 1)
	if r.body != want {
		t.Fatalf("got %q\nwant %q", r.body, want)
	}
	if got := r.Header.Get("Cache-Control"); got != "private, no-cache" {
		t.Errorf("Cache-Control %q", got)
	}
	if !strings.HasPrefix(r.Header.Get("ETag"), `W/"`) || r.Header.Get("Last-Modified") != "" {
		t.Errorf("validators of the origin's bytes are left: %v", r.Header)
	}
	cookies := strings.Join(r.Header["Set-Cookie"], "\n")
	if !strings.Contains(cookies, "a=1") || !strings.Contains(cookies, "sedge_vid=v1.") {
		t.Errorf("cookies: %s", cookies)
	}
	views := n.engines.recorded(event.Page)
	if len(views) != 1 || !views[0].Minted || views[0].Path != "/" {
		t.Errorf("page views: %+v", views)
	}
}

func TestCookieComesBack(t *testing.T) {
	var seen string
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Cookie")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Add("Set-Cookie", "sedge_vid=planted; Path=/")
		_, _ = io.WriteString(w, shopPage)
	})
	n := start(t, o, setup{engines: always(text("#hero", "x"))})
	id, cookie := n.visitor()
	r := n.get("/", "Cookie", "a=1; "+cookie+"; b=2")
	if seen != "a=1; b=2" {
		t.Errorf("the origin saw %q", seen)
	}
	if got := r.Header["Set-Cookie"]; len(got) != 0 {
		t.Errorf("Set-Cookie %v", got)
	}
	views := n.engines.recorded(event.Page)
	if len(views) != 1 || views[0].Visitor != id || views[0].Minted {
		t.Errorf("page views: %+v", views)
	}
	r = n.get("/", "Cookie", cookie[:len(cookie)-1]+"!")
	if len(r.Header["Set-Cookie"]) != 1 || n.server.Stats().Forged.Load() != 1 {
		t.Errorf("forged cookie: %v, counted %d", r.Header["Set-Cookie"], n.server.Stats().Forged.Load())
	}
}

func TestNobodyIsCounted(t *testing.T) {
	cases := map[string][]string{
		"bot":      {"User-Agent", "Googlebot/2.1 (+http://www.google.com/bot.html)"},
		"prefetch": {"Sec-Purpose", "prefetch"},
		"gpc":      {"Sec-GPC", "1"},
	}
	for name, header := range cases {
		t.Run(name, func(t *testing.T) {
			n := start(t, pages(t, "text/html", shopPage), setup{engines: always(text("#hero", "x"))})
			r := n.get("/", header...)
			if len(r.Header["Set-Cookie"]) != 0 || len(n.engines.kinds()) != 0 {
				t.Errorf("cookies %v, events %v", r.Header["Set-Cookie"], n.engines.kinds())
			}
		})
	}
}

func TestMinting(t *testing.T) {
	cases := []struct {
		name    string
		control string
		header  []string
		mint    bool
		want    string
	}{
		{"nothing said", "", nil, true, "private"},
		{"browser", "", []string{"Sec-Fetch-Dest", "document"}, true, "private"},
		{"image", "", []string{"Sec-Fetch-Dest", "image"}, false, ""},
		{"script", "", []string{"Sec-Fetch-Dest", "empty"}, false, ""},
		{"json wanted", "", []string{"Accept", "application/json"}, false, ""},
		{"private", "private, max-age=60", nil, true, "private, max-age=60"},
		{"no-store", "no-store", nil, true, "no-store"},
		{"public", "public", nil, false, "public"},
		{"max-age", "max-age=60", nil, false, "max-age=60"},
		{"max-age 0", "max-age=0, must-revalidate", nil, true, "max-age=0, must-revalidate, private"},
		{"s-maxage", "s-maxage=5", nil, false, "s-maxage=5"},
		{"no-cache", "no-cache", nil, true, "no-cache, private"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var header []string
			if c.control != "" {
				header = []string{"Cache-Control", c.control}
			}
			n := start(t, pages(t, "text/html", shopPage, header...), setup{})
			r := n.get("/", c.header...)
			if got := len(r.Header["Set-Cookie"]) == 1; got != c.mint {
				t.Errorf("minted %v", got)
			}
			if got := r.Header.Get("Cache-Control"); got != c.want {
				t.Errorf("Cache-Control %q, want %q", got, c.want)
			}
			if got := len(n.engines.recorded(event.Page)) == 1; got != c.mint {
				t.Errorf("counted %v", got)
			}
		})
	}
}

func TestFailOpen(t *testing.T) {
	broken := errors.New("the store is away")
	cases := []struct {
		reason  Reason
		engines func(e *engines)
	}{
		{ReasonProfile, func(e *engines) {
			e.snapshot = func(context.Context, string) (*decision.Profile, error) { return nil, broken }
		}},
		{ReasonBudget, func(e *engines) {
			e.snapshot = func(ctx context.Context, _ string) (*decision.Profile, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}},
		{ReasonPanic, func(e *engines) { e.segment = func(*decision.Facts) *decision.Segmentation { panic("boom") } }},
		{ReasonPlugin, func(e *engines) { e.plan = func(context.Context, *decision.Query) *decision.Plan { return nil } }},
		{ReasonPlugin, func(e *engines) {
			e.plan = func(context.Context, *decision.Query) *decision.Plan {
				return &decision.Plan{Concerned: true, Skipped: []string{"offer"}, Reasons: []string{"timeout"}}
			}
		}},
		{ReasonCompile, func(e *engines) {
			e.plan = func(context.Context, *decision.Query) *decision.Plan { return text("p >", "x") }
		}},
		{ReasonAction, func(e *engines) {
			e.plan = func(context.Context, *decision.Query) *decision.Plan {
				return &decision.Plan{Concerned: true, Action: decision.Action{Redirect: "/a\r\nX: y"}}
			}
		}},
	}
	for _, c := range cases {
		t.Run(string(c.reason), func(t *testing.T) {
			e := always(text("#hero", "x"))
			c.engines(e)
			var cfg Config
			if c.reason == ReasonBudget {
				cfg.PersonalizeBudget = DefaultPersonalizeBudget
			}
			n := start(t, pages(t, "text/html", shopPage), setup{config: cfg, engines: e})
			_, cookie := n.visitor()
			began := time.Now()
			r := n.get("/", "Cookie", cookie)
			if r.body != shopPage || r.StatusCode != 200 {
				t.Errorf("status %d, body %q", r.StatusCode, r.body)
			}
			if r.Header.Get("Cache-Control") != "private, no-cache" {
				t.Errorf("headers %v", r.Header)
			}
			if got := n.server.Stats().FailedOpen(c.reason); got != 1 {
				t.Errorf("counted %d times", got)
			}
			if !strings.Contains(n.log.String(), `"reason":"`+string(c.reason)+`"`) {
				t.Errorf("not logged: %s", n.log)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// Nothing but the edits may tell the arms apart.
func TestHeadersAreEqualAcrossArms(t *testing.T) {
	for _, control := range []string{"", "s-maxage=60", "public, max-age=5", "no-store"} {
		for _, gzip := range []string{"identity", "gzip"} {
			t.Run(control+"/"+gzip, func(t *testing.T) {
				sets := map[string]string{}
				for _, arm := range []string{"treated", "control", "failed open", "no segment"} {
					e := always(text("#hero", "x"))
					switch arm {
					case "control":
						p := text("#hero", "x")
						p.Edits[0].Apply = false
						e.plan = func(context.Context, *decision.Query) *decision.Plan { return p }
					case "failed open":
						e.plan = func(context.Context, *decision.Query) *decision.Plan { return nil }
					case "no segment":
						e.plan = func(context.Context, *decision.Query) *decision.Plan { return &decision.Plan{Concerned: true} }
					}
					n := start(t, compressing(t, "text/html", shopPage, "Cache-Control", control, "ETag", `"e"`), setup{engines: e, now: stopped()})
					n.server.wholeTime = 10 * time.Second // the machine may be busy
					_, cookie := n.visitor()
					for _, round := range []string{"first", "second"} {
						r := n.get("/", "Cookie", cookie, "Accept-Encoding", gzip)
						set := fmt.Sprintf("with a length: %t\n", r.ContentLength >= 0) + headerSet(r.Header, "Date", "X-Request-Id", "Content-Length", "Etag")
						if r.Header.Get("Etag") == "" {
							t.Errorf("%s: %s answer has ETag %q", arm, round, r.Header.Get("Etag"))
						}
						if before, ok := sets[round]; ok && before != set {
							t.Errorf("%s: the %s answer's headers differ\n%s\n\n%s", arm, round, set, before)
						}
						sets[round] = set
					}
				}
			})
		}
	}
}

func TestRedirectAction(t *testing.T) {
	p := &decision.Plan{Concerned: true, Action: decision.Action{Redirect: "https://example.com/sale", Status: 303}}
	p.Triggers = []decision.Trigger{{Always: true, Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "e", Arm: "a"}}}}
	n := start(t, pages(t, "text/html", shopPage), setup{engines: always(p)})
	r := n.get("/")
	if r.StatusCode != 303 || r.Header.Get("Location") != "https://example.com/sale" || r.Header.Get("Cache-Control") != "private, no-cache" {
		t.Fatalf("status %d, %v", r.StatusCode, r.Header)
	}
	eventually(t, "triggered and delivered", func() bool {
		return len(n.engines.recorded(event.Trigger)) == 1 && len(n.engines.recorded(event.Delivery)) == 1
	})
}

func TestPathAndHeaderAction(t *testing.T) {
	var target, segment string
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		target, segment = r.RequestURI, r.Header.Get("X-Segment")
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, shopPage)
	})
	p := &decision.Plan{Concerned: true, Action: decision.Action{Path: "/vip%20page", Headers: [][2]string{{"X-Segment", "vip"}}}}
	n := start(t, o, setup{engines: always(p)})
	if r := n.get("/home?x=1", "X-Segment", "forged"); r.StatusCode != 200 {
		t.Fatal(r.Status)
	}
	if target != "/vip%20page?x=1" || segment != "vip" {
		t.Errorf("origin got %q with segment %q", target, segment)
	}
}

func TestReservedPathsNeverReachTheOrigin(t *testing.T) {
	asked := 0
	o := origin(t, func(http.ResponseWriter, *http.Request) { asked++ })
	n := start(t, o, setup{})
	for _, path := range []string{"/_sedge", "/_sedge/", "/_sedge/v1/nothing", "/_sedge/../_sedge/x", "//_sedge/v1/x", "/%5fsedge/v1/me2", "/a/../_sedge/v1/zz", "/_sedge/metrics", "/_sedge/healthz"} {
		r := n.get(path)
		if r.StatusCode != 404 || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.Header.Get("Content-Type"))
		}
	}
	if asked != 0 {
		t.Errorf("the origin was asked %d times", asked)
	}
}
