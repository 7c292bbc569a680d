package offers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/plugintest"
)

// fixed is the moment at which the tests stand.
func fixed() time.Time { return time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC) }

func TestMain(m *testing.M) { plugintest.Main(m, New(fixed)) }

func TestContract(t *testing.T) {
	plugintest.Run(t, New(fixed), plugintest.Suite{
		Samples: []plugintest.Sample{{
			Name: "by segment",
			Settings: `{"select": "#hero", "op": "prepend", "offers": [
				{"name": "all", "value": 1, "title": "For all"},
				{"name": "vip", "value": 5, "title": "For you", "segments": ["vip"]}]}`,
			Requests: []plugins.Request{{Segment: "vip"}, {Segment: "new"}, {}},
		}, {
			Name: "in the owner's frame",
			Settings: `{"select": "#hero", "html": "<a href=\"{{offer \"link\" \"/\"}}\">{{offer \"title\"}} {{trait \"first_name\" \"\"}}</a>", "offers": [
				{"name": "all", "value": 1, "title": "For all"},
				{"name": "vip", "value": 5, "title": "For you", "segments": ["vip"], "link": "/vip"}]}`,
			Requests: []plugins.Request{{Segment: "vip"}, {}},
		}},
		Bad: []plugintest.Bad{
			{Settings: `{}`, Path: "select"},
			{Settings: `{"select": "a"}`, Path: "offers"},
			{Settings: `{"select": "a", "op": "remove", "offers": [{"name": "a", "title": "b"}]}`, Path: "op"},
			{Settings: `{"select": "a", "limit": 0, "offers": [{"name": "a", "title": "b"}]}`, Path: "limit"},
			{Settings: `{"select": "a", "limit": 1.5, "offers": [{"name": "a", "title": "b"}]}`, Path: "limit"},
			{Settings: `{"select": "a", "offers": [{"title": "b"}]}`, Path: "offers[0].name"},
			{Settings: `{"select": "a", "offers": [{"name": "a", "title": "b"}, {"name": "a", "title": "b"}]}`, Path: "offers[1].name"},
			{Settings: `{"select": "a", "offers": [{"name": "a"}]}`, Path: "offers[0].title"},
			{Settings: `{"select": "a", "offers": [{"name": "a", "title": "b", "until": "tomorrow"}]}`, Path: "offers[0].until"},
			{Settings: `{"select": "a", "offers": [{"name": "a", "title": "b", "from": "2026-02-01", "until": "2026-01-01"}]}`, Path: "offers[0].until"},
			{Settings: `{"select": "a", "offers": [{"name": "a", "title": "b", "link": "javascript:alert(1)"}]}`, Path: "offers[0].link"},
			{Settings: `{"select": "a", "offers": [{"name": "a", "title": "b", "image": "//evil.example/x.png"}]}`, Path: "offers[0].image"},
			{Settings: `{"select": "a", "offers": [{"name": "a", "title": "b", "link_text": "go"}]}`, Path: "offers[0].link"},
			{Settings: `{"select": "a", "offers": [{"name": "a", "title": "b", "segments": [""]}]}`, Path: "offers[0].segments"},
			{Settings: `{"select": "a", "offers": [{"name": "a", "title": "b", "prio": 1}]}`, Path: "offers[0].prio"},
			{Settings: `{"select": "a", "html": "{{offer \"titel\"}}", "offers": [{"name": "a", "title": "b"}]}`, Path: "html"},
			{Settings: `{"select": "a", "html": "<script>{{offer \"title\"}}</script>", "offers": [{"name": "a", "title": "b"}]}`, Path: "html"},
			{Settings: `{"select": "a", "html": "<b>{{offer \"title\"}}</b>", "limit": 2, "offers": [{"name": "a", "title": "b"}]}`, Path: "limit"},
			{Settings: `{"select": "a", "html": "<b>{{offer \"text\"}}</b>", "offers": [{"name": "a", "title": "b", "text": "` + strings.Repeat("x", 513) + `"}]}`, Path: "offers[0].text"},
		},
	})
}

func ask(t *testing.T, settings, segment string, now time.Time) *plugins.Answer {
	t.Helper()
	i, err := New(func() time.Time { return now }).Configure(context.Background(), json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	a, err := i.Plan(context.Background(), &plugins.Request{Segment: segment})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBestOfferIsShown(t *testing.T) {
	const settings = `{"select": "#hero", "offers": [
		{"name": "base", "value": 1, "title": "base"},
		{"name": "first", "value": 3, "title": "first", "segments": ["new", "vip"]},
		{"name": "second", "value": 3, "title": "second", "segments": ["vip"]},
		{"name": "over", "value": 9, "title": "over", "until": "2026-12-01"},
		{"name": "christmas", "value": 5, "title": "christmas", "from": "2026-12-20T00:00:00Z", "until": "2026-12-27T00:00:00Z"},
		{"name": "lost", "value": 9, "title": "lost", "segments": ["lost"], "from": "2026-12-10"}]}`
	day := func(d, h int) time.Time { return time.Date(2026, 12, d, h, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		segment string
		now     time.Time
		want    string
		ttl     time.Duration
	}{
		{"", day(1, 12), "base", day(20, 0).Sub(day(1, 12))},
		{"vip", day(1, 12), "first", day(20, 0).Sub(day(1, 12))},
		{"new", day(20, 0), "christmas", 7 * 24 * time.Hour},
		{"vip", day(26, 23), "christmas", time.Hour},
		{"vip", day(27, 0), "first", 0},
		{"lost", day(9, 23), "base", time.Hour},
		{"lost", day(10, 0), "lost", 10 * 24 * time.Hour},
		{"", time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC), "over", time.Hour},
	} {
		a := ask(t, settings, c.segment, c.now)
		if len(a.Edits) != 1 || !strings.Contains(a.Edits[0].HTML, `data-offer="`+c.want+`"`) || a.TTL != c.ttl {
			t.Errorf("%q at %s: got %+v for %s, want %q for %s", c.segment, c.now, a.Edits, a.TTL, c.want, c.ttl)
		}
	}
}

func TestNoOfferIsNoEdit(t *testing.T) {
	a := ask(t, `{"select": "#hero", "offers": [{"name": "a", "title": "b", "from": "2026-12-02"}]}`, "", fixed())
	if len(a.Edits) != 0 || a.TTL != 12*time.Hour {
		t.Errorf("got %+v", a)
	}
}

func TestRendering(t *testing.T) {
	a := ask(t, `{"select": "#hero", "limit": 2, "offers": [
		{"name": "a\"b", "title": "<script>alert(1)</script>", "text": "5 < 6 & more", "link": "/x?a=1&b=\"", "image": "https://img.example/a b.png", "image_alt": "\"onload=x"},
		{"name": "two", "title": "Two"}, {"name": "three", "title": "Three"}]}`, "", fixed())
	const want = `<div class="sedge-offer" data-offer="a&#34;b">` +
		`<img class="sedge-offer-image" src="https://img.example/a%20b.png" alt="&#34;onload=x">` +
		`<strong class="sedge-offer-title">&lt;script&gt;alert(1)&lt;/script&gt;</strong>` +
		`<p class="sedge-offer-text">5 &lt; 6 &amp; more</p>` +
		`<a class="sedge-offer-link" href="/x?a=1&amp;b=%22">&lt;script&gt;alert(1)&lt;/script&gt;</a></div>` +
		`<div class="sedge-offer" data-offer="two"><strong class="sedge-offer-title">Two</strong></div>`
	if got := a.Edits[0].HTML; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// With a frame of the owner's, offers differ in values and not in edits.
func TestOwnersFrame(t *testing.T) {
	const frame = `<a class="deal" href="{{offer "link" "/"}}"><b>{{offer "title"}}</b> {{offer "text" ""}}</a>`
	settings := fmt.Sprintf(`{"select": "#hero", "op": "append", "html": %q, "offers": [
		{"name": "base", "value": 1, "title": "<b>Base</b>"},
		{"name": "vip-20", "value": 20.5, "title": "20 %% for you", "segments": ["vip"], "text": "All", "link": "/sale", "link_text": "Go", "image": "/a.png", "image_alt": "A"},
		{"name": "later", "value": 30, "title": "later", "segments": ["new"], "from": "2026-12-20"}]}`, frame)
	for segment, want := range map[string]map[string]string{
		"":    {"name": "base", "value": "1", "title": "<b>Base</b>", "text": "", "link": "", "link_text": "", "image": "", "image_alt": ""},
		"vip": {"name": "vip-20", "value": "20.5", "title": "20 % for you", "text": "All", "link": "/sale", "link_text": "Go", "image": "/a.png", "image_alt": "A"},
	} {
		a := ask(t, settings, segment, fixed())
		if diff := cmp.Diff([]plugins.Edit{{Select: "#hero", Op: "append", HTML: frame}}, a.Edits); diff != "" {
			t.Errorf("%q: %s", segment, diff)
		}
		if diff := cmp.Diff(want, a.Offer); diff != "" {
			t.Errorf("%q: %s", segment, diff)
		}
	}
	none := ask(t, fmt.Sprintf(`{"select": "#hero", "html": %q, "offers": [{"name": "a", "title": "b", "from": "2026-12-02"}]}`, frame), "", fixed())
	if len(none.Edits)+len(none.Offer) != 0 || none.TTL != 12*time.Hour {
		t.Errorf("no offer runs, and the answer is %+v", none)
	}
}

func TestUnknownValueIsSuggested(t *testing.T) {
	for html, want := range map[string]string{
		`<i>{{offer "titel"}}</i>`: `character 4: an offer has no value "titel"; did you mean "title"?; it has image, image_alt, link, link_text, name, text, title, value`,
		`{{offer "price"}}`:        `character 1: an offer has no value "price"; it has`,
		`<i`:                       "html",
	} {
		_, err := New(fixed).Configure(context.Background(), fmt.Appendf(nil, `{"select": "#hero", "html": %q, "offers": [{"name": "a", "title": "b"}]}`, html))
		var wrong *plugins.SettingError
		if !errors.As(err, &wrong) || wrong.Path != "html" || !strings.Contains(wrong.Error(), want) {
			t.Errorf("%s: %v", html, err)
		}
	}
}
