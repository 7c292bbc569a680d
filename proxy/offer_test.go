package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/host"
	"github.com/sedge-proxy/sedge/plugins/plan"
)

// coupons is a plugin that offers each visitor a coupon of their own. What it offers
// would break out of the page if it could.
type coupons struct{}

func (coupons) Describe() plugins.Description {
	return plugins.Description{Name: "coupons", Version: "1"}
}

func (coupons) Configure(context.Context, json.RawMessage) (*plugins.Instance, error) {
	plan := func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
		a := &plugins.Answer{Edits: []plugins.Edit{
			{Select: "#hero", Op: decision.OpSetInner, HTML: `<a href="{{offer "link" "/"}}" title="{{offer "code" "no code"}}">{{offer "code" "no code"}}</a>`},
			{Select: "body", Op: decision.OpAppend, HTML: strings.Repeat(" filler", 400)},
		}}
		if r.VisitorID != "" {
			a.Offer = map[string]string{"code": couponOf(r.VisitorID), "link": "javascript:alert(1)"}
		}
		return a, nil
	}
	return &plugins.Instance{Scope: plugins.Scope{Visitor: true}, Plan: plan}, nil
}

func couponOf(id string) string { return `"><script>alert('` + id + `')</script>` }

// couponPlanner plans every page by the plugin, in this process or in one of its own.
func couponPlanner(t *testing.T, inProcess bool) *engines {
	t.Helper()
	h := host.New(host.Options{Builtins: map[string]plugins.Plugin{"coupons": coupons{}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	cfg := host.Config{Name: "coupons", InProcess: inProcess}
	if !inProcess {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cfg.Command = []string{self, "-test.run=^$"}
	}
	if err := h.Reconcile(t.Context(), []host.Config{cfg}); err != nil {
		t.Fatal(err)
	}
	handle, err := h.Configure(t.Context(), "coupons", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handle.Close)
	allow := func(decision.Edit) error { return nil }
	p, err := plan.Compile([]plan.Bound{{Experience: plan.Experience{Name: "coupon", Plugin: "coupons"}, Caller: handle}}, nil, allow, plan.Config{}, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &engines{concerned: func(*decision.Page) bool { return true }, plan: p.Plan}
}

// A plugin that is asked for each visitor costs one page in memory for all of them,
// and none sees what another one is offered.
func TestOffersArePerVisitor(t *testing.T) {
	for _, inProcess := range []bool{true, false} {
		t.Run(fmt.Sprintf("in process %t", inProcess), func(t *testing.T) {
			var asked atomic.Int64
			n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{engines: couponPlanner(t, inProcess)})
			const people = 3
			var ids, cookies, etags [people]string
			for i := range people {
				ids[i], cookies[i] = n.visitor()
			}
			for round := range 2 {
				for i, id := range ids {
					r := n.get("/", "Cookie", cookies[i])
					checkCoupon(t, r.body, id)
					packed := n.get("/", "Cookie", cookies[i], "Accept-Encoding", "gzip")
					checkCoupon(t, decoded(t, packed), id)
					if hit := strings.Contains(r.Header.Get("Cache-Status"), "hit"); hit != (round+i > 0) {
						t.Errorf("round %d, visitor %d: %s", round, i, r.Header.Get("Cache-Status"))
					}
					etags[i] = r.Header.Get("ETag")
				}
			}
			if asked.Load() != 1 || n.server.CacheUsage().Objects != 1 {
				t.Errorf("the origin was asked %d times, %d pages are kept", asked.Load(), n.server.CacheUsage().Objects)
			}
			for i := range people {
				for j := range people {
					want := 200
					if i == j {
						want = 304
					}
					if r := n.get("/", "Cookie", cookies[i], "If-None-Match", etags[j]); r.StatusCode != want {
						t.Errorf("visitor %d with the ETag of %d: status %d", i, j, r.StatusCode)
					}
				}
			}
			for _, header := range [][2]string{{"User-Agent", "Googlebot/2.1"}, {"Sec-GPC", "1"}} {
				r := n.get("/", header[0], header[1], "Cookie", cookies[0])
				if !strings.Contains(r.body, `<a href="/" title="no code">`) || strings.Contains(r.body, "alert") {
					t.Errorf("%s: %.300s", header[0], r.body)
				}
			}
		})
	}
}

func checkCoupon(t *testing.T, body, id string) {
	t.Helper()
	escaped := `&#34;&gt;&lt;script&gt;alert(&#39;` + id + `&#39;)&lt;/script&gt;`
	if !strings.Contains(body, `<a href="#" title="`+escaped+`">`+escaped+`</a>`) {
		t.Errorf("visitor %s is shown %.400s", id, body)
	}
	if strings.Count(body, "alert(") != 2 {
		t.Errorf("visitor %s is shown another one's coupon: %.400s", id, body)
	}
}

// What a plan without an id offers is shown to those who want no profile too: it is
// no personal data of theirs.
func TestOffersOfTheStateless(t *testing.T) {
	p := text("#hero", `{{offer "title" "none"}} {{trait "first_name" "you"}}`)
	p.Edits[0].Offer = map[string]string{"title": "Autumn sale"}
	n := start(t, pages(t, "text/html", shopPage, "Cache-Control", "max-age=60"), setup{engines: always(p)})
	for range 2 {
		for _, header := range [][2]string{{"User-Agent", "Googlebot/2.1"}, {"Sec-GPC", "1"}, {"Accept", "text/html"}} {
			if r := n.get("/", header[0], header[1]); !strings.Contains(r.body, "&#x41;utumn sale you<") {
				t.Errorf("%s: %.300s", header[0], r.body)
			}
		}
	}
}

// Two edits with the same slot are filled from the answers that they came with.
func TestOffersOfTwoAnswers(t *testing.T) {
	p := text("#hero", `{{offer "code" "none"}}`)
	p.Edits = append(p.Edits, p.Edits[0], p.Edits[0])
	p.Edits[1].Op, p.Edits[2].Op = decision.OpAppend, decision.OpAppend
	p.Edits[0].Offer = map[string]string{"code": "A1"}
	p.Edits[2].Offer = map[string]string{"code": "C3"}
	n := start(t, pages(t, "text/html", shopPage, "Cache-Control", "max-age=60"), setup{engines: always(p)})
	for range 2 {
		if r := n.get("/"); !strings.Contains(r.body, "&#x41;1&#x6e;one&#x43;3<") {
			t.Errorf("%.300s", r.body)
		}
	}
}

// A page whose values moved is another page, though what is kept of both is the same.
func TestETagKnowsWhereValuesStand(t *testing.T) {
	var moved atomic.Bool
	p := &decision.Plan{Concerned: true, Edits: []decision.PlannedEdit{{
		Edit:  decision.Edit{Select: "b", Op: decision.OpReplace, Text: `{{offer "code"}}`},
		Apply: true, Offer: map[string]string{"code": "A1"},
	}}}
	copy(p.Digest[:], "moving")
	at := movingOrigin(t, &moved)
	n := start(t, at, setup{engines: always(p)})
	n.get("/")
	before := n.get("/")
	moved.Store(true)
	n.get("/", "Cache-Control", "no-cache")
	after := n.get("/", "If-None-Match", before.Header.Get("ETag"))
	if before.Header.Get("ETag") == "" || after.StatusCode != 200 || !strings.Contains(after.body, "x&#x41;1</p>") {
		t.Errorf("status %d: %q, before %q", after.StatusCode, after.body, before.body)
	}
}

// movingOrigin is a page whose element to be replaced changes its place.
func movingOrigin(t *testing.T, moved *atomic.Bool) string {
	return origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=60")
		page := "<!doctype html><p><b></b>x</p>"
		if moved.Load() {
			page = "<!doctype html><p>x<b></b></p>"
		}
		_, _ = io.WriteString(w, page)
	})
}
