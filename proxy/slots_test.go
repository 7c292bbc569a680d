package proxy

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// greeting is a plan whose edits hold slots.
func greeting() *decision.Plan {
	p := &decision.Plan{Concerned: true, Edits: []decision.PlannedEdit{
		{Edit: decision.Edit{Select: "#hero", Op: decision.OpSetInner, HTML: `Hi <b title='{{segment "none"}}'>{{trait "first_name" "there"}}</b> {{attribute "utm.campaign" "no campaign"}}`}, Experience: "greet", Apply: true},
		{Edit: decision.Edit{Select: "body", Op: decision.OpAppend, Text: "{{trait \"secret\"}}" + strings.Repeat(" filler", 400)}, Experience: "greet", Apply: true},
	}}
	copy(p.Digest[:], "greeting")
	return p
}

// A page with slots is kept once, and filled for each visitor with nobody else's
// values, whether it streams, comes from memory, is compressed or not modified.
func TestSlotsAreFilledPerVisitor(t *testing.T) {
	var asked atomic.Int64
	e := always(greeting())
	e.profiles = map[string]*decision.Profile{}
	e.segment = func(f *decision.Facts) *decision.Segmentation {
		s := &decision.Segmentation{}
		if f.Profile != nil {
			s.Primary, _ = f.Profile.Traits["tier"].(string)
		}
		return s
	}
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{engines: e})
	const people = 8
	var cookies [people]string
	for i := range people {
		id, cookie := n.visitor()
		cookies[i] = cookie
		e.profiles[id] = &decision.Profile{Traits: map[string]any{
			"first_name": fmt.Sprintf("<Ann%d>", i), "secret": fmt.Sprintf("secret-%d-%s.", i, strings.Repeat("x", 13*i)), "tier": fmt.Sprintf("tier%d", i),
		}}
	}
	check := func(i int, r reply, body string) {
		t.Helper()
		if !strings.Contains(body, fmt.Sprintf(`<b title='tier%d'>&lt;Ann%d&gt;</b> no campaign`, i, i)) || strings.Count(body, "ecret-") != 1 || !strings.Contains(body, fmt.Sprintf("ecret-%d-%s.", i, strings.Repeat("x", 13*i))) {
			t.Errorf("visitor %d was shown %.200q", i, body)
		}
		if got := r.Header.Get("Cache-Control"); got != "private, no-cache" {
			t.Errorf("Cache-Control %q", got)
		}
	}
	first := n.get("/", "Cookie", cookies[0])
	check(0, first, first.body)
	var wg sync.WaitGroup
	for i := range people {
		wg.Go(func() {
			for range 10 {
				plain := n.get("/", "Cookie", cookies[i])
				check(i, plain, plain.body)
				packed := n.get("/", "Cookie", cookies[i], "Accept-Encoding", "gzip")
				check(i, packed, decoded(t, packed))
				head := n.do("HEAD", "/", nil, "Cookie", cookies[i])
				if head.ContentLength != int64(len(plain.body)) {
					t.Errorf("HEAD says %d bytes of %d", head.ContentLength, len(plain.body))
				}
			}
		})
	}
	wg.Wait()
	if asked.Load() > people+2 || n.server.CacheUsage().Objects != 1 {
		t.Errorf("asked %d times, %d kept", asked.Load(), n.server.CacheUsage().Objects)
	}
	own, other := n.get("/", "Cookie", cookies[1]).Header.Get("ETag"), n.get("/", "Cookie", cookies[2]).Header.Get("ETag")
	if own == "" || own == other {
		t.Errorf("ETags %q and %q", own, other)
	}
	if r := n.get("/", "Cookie", cookies[1], "If-None-Match", own); r.StatusCode != 304 {
		t.Errorf("own ETag: %d", r.StatusCode)
	}
	if r := n.get("/", "Cookie", cookies[2], "If-None-Match", own); r.StatusCode != 200 {
		t.Errorf("another visitor's ETag: %d", r.StatusCode)
	}
}

// Whoever has no profile sees the fallbacks, and bots those of the request too.
func TestSlotsOfStrangers(t *testing.T) {
	for _, cached := range []bool{false, true} {
		var asked atomic.Int64
		control := "no-cache"
		if cached {
			control = "max-age=60"
		}
		n := start(t, counting(t, &asked, "Cache-Control", control), setup{engines: always(greeting())})
		for range 2 {
			for _, c := range []struct {
				want   string
				header []string
			}{
				{"there</b> summer", nil},
				{"there</b> no campaign", []string{"User-Agent", "Googlebot/2.1"}},
				{"there</b> no campaign", []string{"Sec-GPC", "1"}},
			} {
				if r := n.get("/?utm_campaign=summer", c.header...); !strings.Contains(r.body, "<b title='none'>"+c.want) {
					t.Errorf("%v: %.200q", c.header, r.body)
				}
			}
		}
	}
}

// Positions of what a stored page's slots push on are those of the page that is sent.
func TestDeliveryOfFilledVariants(t *testing.T) {
	p := greeting()
	exposure := decision.Exposure{Assignment: decision.Assignment{Experiment: "greet", Arm: "a"}}
	p.Triggers = []decision.Trigger{{Exposure: exposure, Edits: []int{1}}}
	var asked atomic.Int64
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{engines: always(p)})
	_, cookie := n.visitor()
	for round := range 3 {
		n.get("/", "Cookie", cookie)
		eventually(t, "delivered", func() bool { return len(n.engines.recorded(event.Delivery)) == round+1 })
	}
}

func TestSlotsThatNameNothing(t *testing.T) {
	for _, name := range []string{"no.such", "cookie.sedge_vid"} {
		p := text("#hero", `{{attribute "`+name+`"}}`)
		n := start(t, pages(t, "text/html", shopPage), setup{engines: always(p)})
		if r := n.get("/"); r.body != shopPage || n.server.Stats().FailedOpen(ReasonCompile) != 1 {
			t.Errorf("%s: %q", name, r.body)
		}
	}
}

func TestTraitText(t *testing.T) {
	for _, c := range []struct {
		trait any
		want  string
	}{{"x", "x"}, {true, "true"}, {1e6, "1000000"}, {0.5, "0.5"}, {nil, ""}, {[]any{1}, ""}} {
		if got := traitText(c.trait); got != c.want {
			t.Errorf("%v: %q", c.trait, got)
		}
	}
}
