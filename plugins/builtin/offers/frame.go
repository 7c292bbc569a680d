package offers

import (
	"errors"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/rewrite"
)

// frame is how an offer looks by itself. Everything in it is escaped for where it stands.
var frame = template.Must(template.New("offer").Parse(
	`<div class="sedge-offer" data-offer="{{.Name}}">` +
		`{{with .Image}}<img class="sedge-offer-image" src="{{.}}" alt="{{$.ImageAlt}}">{{end}}` +
		`<strong class="sedge-offer-title">{{.Title}}</strong>` +
		`{{with .Text}}<p class="sedge-offer-text">{{.}}</p>{{end}}` +
		`{{with .Link}}<a class="sedge-offer-link" href="{{.}}">{{or $.LinkText $.Title}}</a>{{end}}` +
		`</div>`))

// values returns what slots can name, with "" for what the offer does not have.
func (o *Offer) values() map[string]string {
	return map[string]string{
		"name": o.Name, "value": strconv.FormatFloat(o.Value, 'f', -1, 64), "title": o.Title, "text": o.Text,
		"link": o.Link, "link_text": o.LinkText, "image": o.Image, "image_alt": o.ImageAlt,
	}
}

// checkHTML checks the owner's frame and returns what of an offer its slots name.
func (s *Settings) checkHTML(add func(path, format string, args ...any)) (slots []string) {
	if s.HTML == "" {
		return nil
	}
	if s.Limit > 1 {
		add("limit", "found %d, expected 1: html is the frame of one offer", s.Limit)
	}
	known := slices.Sorted(maps.Keys(new(Offer).values()))
	// Where it goes is for select and op to say.
	err := rewrite.CheckSlots(decision.Edit{Select: "*", Op: decision.OpSetInner, HTML: s.HTML}, func(slot rewrite.Slot) error {
		if slot.Kind != rewrite.SlotOffer {
			return nil
		}
		if !slices.Contains(slots, slot.Name) {
			slots = append(slots, slot.Name)
		}
		return checkValueName(slot.Name, known)
	})
	var wrong *rewrite.EditError
	switch {
	case err == nil:
	case errors.As(err, &wrong) && wrong.Column > 0:
		add("html", "character %d: %s", wrong.Column, wrong.Message)
	case wrong != nil:
		add("html", "%s", wrong.Message)
	default:
		add("html", "%v", err)
	}
	return slots
}

func checkValueName(name string, known []string) error {
	if slices.Contains(known, name) {
		return nil
	}
	hint := ""
	if meant := decision.Suggest(name, known); meant != "" {
		hint = fmt.Sprintf("; did you mean %q?", meant)
	}
	return fmt.Errorf("an offer has no value %q%s; it has %s", name, hint, strings.Join(known, ", "))
}

// render gives an offer its looks: the owner's frame with values for its slots, or the
// plugin's own one.
func (o *Offer) render(out *offer, html string, slots []string, add func(field, format string, args ...any)) {
	if html == "" {
		var b strings.Builder
		if err := frame.Execute(&b, o); err != nil {
			add("title", "cannot be rendered: %s", err)
		}
		out.html = b.String()
		return
	}
	out.html, out.values = html, o.values()
	for _, name := range slots {
		if n := len(out.values[name]); n > rewrite.MaxSlotValue {
			add(name, "found %d bytes; a slot in html shows at most %d", n, rewrite.MaxSlotValue)
		}
	}
}
