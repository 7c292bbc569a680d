package main

import (
	"testing"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/plugintest"
)

func TestMain(m *testing.M) { plugintest.Main(m, coupons{}) }

func TestContract(t *testing.T) {
	edits := []plugins.Edit{{Select: "#coupon", Op: "set_inner", HTML: `<b>{{offer "code" "ask us"}}</b>`}}
	plugintest.Run(t, coupons{}, plugintest.Suite{
		Samples: []plugintest.Sample{{
			Name:     "one edit for everybody",
			Settings: `{"key": "k", "html": "<b>{{offer \"code\" \"ask us\"}}</b>"}`,
			Requests: []plugins.Request{{VisitorID: "ada"}, {VisitorID: "bea"}, {}},
			Want:     [][]plugins.Edit{edits, edits, edits},
		}},
		Bad: []plugintest.Bad{
			{Settings: `{}`, Path: "key"},
			{Settings: `{"key": 5}`, Path: "key"},
			{Settings: `{"key": "k", "prefx": "x"}`, Path: "prefx"},
		},
	})
}

func TestEverybodyHasTheirOwnCode(t *testing.T) {
	i, err := coupons{}.Configure(t.Context(), []byte(`{"key": "k", "prefix": "SUMMER-"}`))
	if err != nil {
		t.Fatal(err)
	}
	code := func(visitor string) string {
		a, err := i.Plan(t.Context(), &plugins.Request{VisitorID: visitor})
		if err != nil {
			t.Fatal(err)
		}
		return a.Offer["code"]
	}
	ada, bea := code("ada"), code("bea")
	if ada == bea || ada != code("ada") || len(ada) != len("SUMMER-")+12 {
		t.Errorf("codes %q and %q", ada, bea)
	}
	if got := code(""); got != "" {
		t.Errorf("nobody has the code %q", got)
	}
}
