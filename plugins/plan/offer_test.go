package plan

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

// offers is a plugin that gives all visitors the same edit and each a value of their own.
func offers(scope decision.Scope, value func(*plugins.Request) string) *fake {
	return &fake{scope: scope, answer: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{
			Edits: []plugins.Edit{edit(`{{offer "code"}}`)},
			Offer: map[string]string{"code": value(r)},
		}, nil
	}}
}

func code(p *decision.Plan, edit int) string { return p.Edits[edit].Offer["code"] }

// TestOffersStayOutOfTheDigest: visitors who differ in what they are offered share the
// digest, and with it what is kept of a page, but not the plan.
func TestOffersStayOutOfTheDigest(t *testing.T) {
	f := offers(decision.Scope{Visitor: true}, func(r *plugins.Request) string { return "code-" + r.VisitorID })
	p := compile(t, Config{}, nil, bound("a", f, nil))
	var digest decision.Digest
	for round := range 2 { // computed, and kept
		for _, id := range []string{"ann", "bob", ""} {
			q := query("")
			q.VisitorID = id
			got := run(p, q)
			if code(got, 0) != "code-"+id {
				t.Errorf("round %d: %q is offered %q", round, id, code(got, 0))
			}
			if digest == (decision.Digest{}) {
				digest = got.Digest
			}
			if got.Digest != digest {
				t.Errorf("round %d: %q has a digest of their own", round, id)
			}
		}
	}
	if f.calls() != 3 {
		t.Errorf("asked %d times for 3 visitors", f.calls())
	}
}

// TestOffersOfTwoExperiences: the same edit of two experiences has two offers.
func TestOffersOfTwoExperiences(t *testing.T) {
	says := func(s string) *fake {
		return offers(decision.Scope{}, func(*plugins.Request) string { return s })
	}
	p := compile(t, Config{}, nil, bound("a", says("1"), nil), bound("b", says("2"), nil), bound("c", &fake{
		answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) {
			return &plugins.Answer{Edits: []plugins.Edit{edit("plain")}}, nil
		},
	}, nil))
	for range 2 {
		if got := run(p, query("")); code(got, 0) != "1" || code(got, 1) != "2" || got.Edits[2].Offer != nil {
			t.Errorf("edits %+v", got.Edits)
		}
	}
}

// TestOffersTellArmsApart: answers that differ in what is offered alone differ, if an
// edit can show it.
func TestOffersTellArmsApart(t *testing.T) {
	x := Config{Arms: map[string][]string{"x": {"A", "B"}}}
	scope := decision.Scope{Experiments: []string{"x"}}
	byArm := func(r *plugins.Request) string { return r.Arms["x"] }
	shows := offers(scope, byArm)
	hides := &fake{scope: scope, answer: func(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Offer: map[string]string{"code": byArm(r)}}, nil
	}}
	same := offers(scope, func(*plugins.Request) string { return "same" })
	for _, c := range []struct {
		name, want string
		plugin     *fake
	}{
		{"shown", `+{{offer "code"}}; -{{offer "code"}}; trigger x=B [0 1] always=false holdout=false in ""`, shows},
		{"offered to no edit", ``, hides},
		{"the same", `+{{offer "code"}}`, same},
	} {
		got := run(compile(t, x, nil, bound("a", c.plugin, nil)), query("", in("x", "B")))
		if diff := cmp.Diff(c.want, show(got)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if c.name == "shown" && (code(got, 0) != "B" || code(got, 1) != "A") {
			t.Errorf("offered %q, and %q in the other arm", code(got, 0), code(got, 1))
		}
	}
}

// TestOffersAreCopied: what a plugin does with its map later is nothing to a plan.
func TestOffersAreCopied(t *testing.T) {
	mine := map[string]string{"code": "first"}
	f := &fake{answer: func(context.Context, *plugins.Request) (*plugins.Answer, error) {
		return &plugins.Answer{Edits: []plugins.Edit{edit("x")}, Offer: mine}, nil
	}}
	p := compile(t, Config{}, nil, bound("a", f, nil))
	got := run(p, query(""))
	mine["code"] = "changed"
	if code(got, 0) != "first" || code(run(p, query("")), 0) != "first" {
		t.Errorf("offered %q", code(got, 0))
	}
}

func TestOffersCostMemory(t *testing.T) {
	plain := &answer{edits: []decision.Edit{edit("x")}}
	offering := &answer{edits: plain.edits, offer: map[string]string{"code": string(make([]byte, 1000))}}
	if more := offering.cost() - plain.cost(); more < 1000 {
		t.Errorf("an offer of 1004 bytes costs %d", more)
	}
}
