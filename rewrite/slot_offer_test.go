package rewrite

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// What is offered stands in each edit for itself; all else is one slot wherever it stands.
func TestSlotsOfOffersBelongToTheirEdit(t *testing.T) {
	same := `{{offer "code" "-"}} {{trait "n"}} {{offer "code" "-"}};`
	p, err := Compile(planned(
		decision.Edit{Select: "a", Op: decision.OpSetInner, HTML: same},
		decision.Edit{Select: "b", Op: decision.OpSetInner, Text: "plain"},
		decision.Edit{Select: "b", Op: decision.OpSetInner, Text: same + `{{offer "code"}}`},
		decision.Edit{Select: "a", Op: decision.OpSetAttribute, Name: "href", Value: `/?c={{offer "code" "-"}}`},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []Slot{
		{Kind: SlotOffer, Name: "code", Fallback: "-"}, {Kind: SlotTrait, Name: "n"},
		{Kind: SlotOffer, Name: "code", Fallback: "-", Edit: 2}, {Kind: SlotOffer, Name: "code", Edit: 2},
		{Kind: SlotOffer, Name: "code", Fallback: "-", Edit: 3},
	}
	if !slices.Equal(p.Slots(), want) {
		t.Errorf("slots %+v", p.Slots())
	}
	var out bytes.Buffer
	r := p.NewRewriter(&out, Limits{Encoding: EncodingUTF8, Values: []string{"one", "Ann", "two", "", `"3`}})
	if _, err := r.Write([]byte("<a></a><b></b>")); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if want := `<a href="/?c=%223">&#x6f;ne Ann one;</a><b>&#x74;wo Ann two;</b>`; out.String() != want {
		t.Errorf("got %s", out.String())
	}
}

func TestOffersAreRefusedWhereNothingOffers(t *testing.T) {
	for _, c := range []struct {
		edit   decision.Edit
		field  string
		column int
	}{
		{decision.Edit{Op: decision.OpAppend, HTML: `<b>{{offer "code"}}</b>`}, "html", 4},
		{decision.Edit{Op: decision.OpAppend, Text: `ü {{trait "n"}} {{offer "code" "none"}}`}, "text", 17},
		{decision.Edit{Op: decision.OpSetAttribute, Name: "title", Value: `{{offer "code"}}`}, "value", 1},
		{decision.Edit{Op: decision.OpAppend, Text: `{{trait "n"}} {{attribute "device"}} {{segment}}`}, "", 0},
	} {
		c.edit.Select = "p"
		err := CheckSlots(c.edit, RefuseOffers)
		var wrong *EditError
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%+v: %v", c.edit, err)
		case c.field == "":
		case !errors.As(err, &wrong) || wrong.Field != c.field || wrong.Column != c.column || !strings.Contains(wrong.Message, `{{offer "code"}}`):
			t.Errorf("%+v: %v", c.edit, err)
		}
	}
}

// Pages that are the same without their values are told apart by where these stand.
func TestShapesOfTemplates(t *testing.T) {
	shape := func(html, page string) string {
		p, err := Compile(planned(decision.Edit{Select: "b", Op: decision.OpReplace, HTML: html}))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		r := p.NewRewriter(&out, Limits{Encoding: EncodingUTF8, Values: []string{"v"}})
		if _, err := r.Write([]byte(page)); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		cut, template := r.Template(out.Bytes())
		if string(cut) != "<p>x</p>" {
			t.Fatalf("cut: %s", cut)
		}
		return string(template.AppendShape(nil))
	}
	base := shape(slot, "<p><b></b>x</p>")
	if shape(slot, "<p><b>old</b>x</p>") != base {
		t.Error("the same page has two shapes")
	}
	for name, other := range map[string]string{
		"another place":    shape(slot, "<p>x<b></b></p>"),
		"twice":            shape(slot+slot, "<p><b></b>x</p>"),
		"another fallback": shape(`{{trait "n" "you"}}`, "<p><b></b>x</p>"),
	} {
		if other == base {
			t.Errorf("%s: the shape is the same", name)
		}
	}
}
