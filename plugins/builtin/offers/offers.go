// Package offers is the built-in plugin that shows the best offer for a visitor's
// segment.
//
//	settings:
//	  select: "#hero"
//	  op: prepend
//	  offers:
//	    - name: vip-20
//	      segments: [vip]
//	      value: 20
//	      until: 2026-12-24T00:00:00Z
//	      title: "20 % for you"
//	      text: "On everything, until Christmas."
//	      link: /sale
//	      link_text: "Show me"
//
// Of the offers that are open to the visitor's segment and run at the moment, the
// one with the highest value is shown; of equals, the one that stands first. An
// answer lives until the next offer begins or ends.
//
// How an offer looks is for the setting html to say, with slots for what it holds:
//
//	settings:
//	  select: "#hero"
//	  html: <a class="deal" href="{{offer "link" "/"}}"><b>{{offer "title"}}</b> {{offer "text" ""}}</a>
//	  offers: ...
//
// The slots are name, value, title, text, link, link_text, image and image_alt; each is
// escaped for where it stands. The html is the same for every offer, so visitors who
// are shown different ones share what is kept of a page.
package offers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

const (
	maxOffers = 1000
	maxLimit  = 20
)

// Settings are what an experience says to the plugin.
type Settings struct {
	Select string      `json:"select"` // where the offers go
	Op     decision.Op `json:"op"`     // how they get there; set_inner by default
	Offers []Offer     `json:"offers"`
	Limit  int         `json:"limit"` // how many offers are shown; 1 by default, and with html
	HTML   string      `json:"html"`  // how an offer looks, with slots for its values; by default the plugin's own frame
}

// Offer is one offer.
type Offer struct {
	Name     string   `json:"name"`
	Segments []string `json:"segments"` // who gets it; none: everyone
	Value    float64  `json:"value"`    // the highest is shown
	From     string   `json:"from"`     // RFC 3339, or a date (midnight UTC); "": ever since
	Until    string   `json:"until"`    // likewise, exclusive; "": for ever
	Title    string   `json:"title"`
	Text     string   `json:"text"`
	Link     string   `json:"link"` // a path of the site, or an http(s) URL
	LinkText string   `json:"link_text"`
	Image    string   `json:"image"` // likewise
	ImageAlt string   `json:"image_alt"`
}

// New returns the plugin with the clock now.
func New(now func() time.Time) plugins.Plugin { return &plugin{now: now} }

type plugin struct{ now func() time.Time }

const schema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,
"required":["select","offers"],"properties":{"select":{"type":"string","minLength":1},
"op":{"enum":["before","after","prepend","append","replace","set_inner"],"default":"set_inner"},
"limit":{"type":"integer","minimum":1,"maximum":20,"default":1},"html":{"type":"string"},
"offers":{"type":"array","minItems":1,"maxItems":1000,"items":{"type":"object","additionalProperties":false,
"required":["name","title"],"properties":{"name":{"type":"string","minLength":1},"segments":{"type":"array","items":{"type":"string","minLength":1}},
"value":{"type":"number"},"from":{"type":"string"},"until":{"type":"string"},"title":{"type":"string","minLength":1},"text":{"type":"string"},
"link":{"type":"string"},"link_text":{"type":"string"},"image":{"type":"string"},"image_alt":{"type":"string"}}}}},
"dependentSchemas":{"html":{"properties":{"limit":{"maximum":1}}}}}`

// Describe implements [plugins.Plugin].
func (*plugin) Describe() plugins.Description {
	return plugins.Description{
		Name: "offers", Version: "1.1.0",
		Summary: "The best running offer for the visitor's segment",
		Schema:  json.RawMessage(schema),
	}
}

// offer is an [Offer], rendered.
type offer struct {
	segments    []string
	value       float64
	from, until time.Time // zero: open
	html        string
	values      map[string]string // for the slots in html; nil for the plugin's own frame
}

// Configure implements [plugins.Plugin].
func (p *plugin) Configure(_ context.Context, raw json.RawMessage) (*plugins.Instance, error) {
	s := Settings{Op: decision.OpSetInner, Limit: 1}
	unknown := plugins.DecodeSettings(raw, &s)
	if unknown != nil && len(s.Offers) == 0 {
		return nil, unknown
	}
	list, err := s.compile()
	if err = errors.Join(unknown, err); err != nil {
		return nil, err
	}
	bySegment := slices.ContainsFunc(list, func(o offer) bool { return o.segments != nil })
	return &plugins.Instance{
		Scope: plugins.Scope{Segment: bySegment},
		Plan: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
			return answer(&s, list, r.Segment, p.now()), nil
		},
	}, nil
}

// answer picks from offers that are sorted by value.
func answer(s *Settings, list []offer, segment string, now time.Time) *plugins.Answer {
	var html strings.Builder
	var change time.Time
	out := new(plugins.Answer)
	shown := 0
	for i := range list {
		o := &list[i]
		if o.segments != nil && !slices.Contains(o.segments, segment) {
			continue
		}
		change = sooner(sooner(change, o.from, now), o.until, now)
		if shown < s.Limit && o.runs(now) {
			html.WriteString(o.html)
			out.Offer = o.values
			shown++
		}
	}
	if !change.IsZero() {
		out.TTL = change.Sub(now)
	}
	if shown > 0 {
		out.Edits = []plugins.Edit{{Select: s.Select, Op: s.Op, HTML: html.String()}}
	}
	return out
}

func (o *offer) runs(now time.Time) bool {
	return !now.Before(o.from) && (o.until.IsZero() || now.Before(o.until))
}

// sooner returns the earlier of two moments of which only b may have passed.
func sooner(a, b, now time.Time) time.Time {
	if !b.After(now) || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// compile checks the settings and renders the offers, best first.
func (s *Settings) compile() ([]offer, error) {
	var errs []error
	add := func(path, format string, args ...any) {
		errs = append(errs, &plugins.SettingError{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if s.Select == "" {
		add("select", "missing: a CSS selector of the element where the offers go")
	}
	switch s.Op {
	case decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace, decision.OpSetInner:
	default:
		add("op", "found %q, expected one of before, after, prepend, append, replace, set_inner", s.Op)
	}
	if s.Limit < 1 || s.Limit > maxLimit {
		add("limit", "found %d, expected 1 to %d", s.Limit, maxLimit)
	}
	slots := s.checkHTML(add)
	if len(s.Offers) == 0 || len(s.Offers) > maxOffers {
		add("offers", "found %d offers, expected 1 to %d", len(s.Offers), maxOffers)
	}
	list := make([]offer, len(s.Offers))
	seen := make(map[string]bool)
	for i := range s.Offers {
		at := fmt.Sprintf("offers[%d]", i)
		if name := s.Offers[i].Name; name != "" && seen[name] {
			add(at+".name", "the offer %q is listed twice", name)
		}
		seen[s.Offers[i].Name] = true
		within := func(field, format string, args ...any) { add(at+"."+field, format, args...) }
		list[i] = s.Offers[i].compile(within)
		s.Offers[i].render(&list[i], s.HTML, slots, within)
	}
	slices.SortStableFunc(list, func(a, b offer) int {
		switch {
		case a.value > b.value:
			return -1
		case a.value < b.value:
			return 1
		}
		return 0
	})
	return list, errors.Join(errs...)
}

func (o *Offer) compile(add func(field, format string, args ...any)) offer {
	if o.Name == "" {
		add("name", "missing: a name for reports")
	}
	if o.Title == "" {
		add("title", "missing: what the offer says")
	}
	if slices.Contains(o.Segments, "") {
		add("segments", "a segment's name is empty")
	}
	out := offer{value: o.Value, from: moment(o.From, "from", add), until: moment(o.Until, "until", add)}
	if len(o.Segments) > 0 {
		out.segments = o.Segments
	}
	if !out.from.IsZero() && !out.until.IsZero() && !out.from.Before(out.until) {
		add("until", "found %s, expected a moment after from (%s)", o.Until, o.From)
	}
	address(o.Link, "link", add)
	address(o.Image, "image", add)
	if o.LinkText != "" && o.Link == "" {
		add("link", "missing: link_text needs a link")
	}
	return out
}

func moment(s, field string, add func(field, format string, args ...any)) time.Time {
	if s == "" {
		return time.Time{}
	}
	for _, layout := range [...]string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	add(field, "found %q, expected a moment like 2026-12-24T18:00:00Z or a date like 2026-12-24", s)
	return time.Time{}
}

func address(s, field string, add func(field, format string, args ...any)) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	web := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	local := err == nil && u.Scheme == "" && strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") && !strings.HasPrefix(s, `/\`)
	if !web && !local {
		add(field, "found %q, expected a path that starts with / or an http(s) URL", s)
	}
}
