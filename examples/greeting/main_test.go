package main

import (
	"testing"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/plugintest"
)

func TestMain(m *testing.M) { plugintest.Main(m, greeting{}) }

func TestContract(t *testing.T) {
	hello := func(text string) []plugins.Edit {
		return []plugins.Edit{{Select: "h1", Op: "set_inner", Text: text}}
	}
	german := plugins.Request{Segment: "vip", Attributes: map[string]string{"language": "de"}}
	plugintest.Run(t, greeting{}, plugintest.Suite{
		Samples: []plugintest.Sample{{
			Name:     "language",
			Settings: `{"hello": {"other": "Welcome", "de": "Willkommen"}}`,
			Requests: []plugins.Request{german, {}},
			Want:     [][]plugins.Edit{hello("Willkommen"), hello("Welcome")},
		}, {
			Name:     "segment",
			Settings: `{"hello": {"other": "Welcome"}, "segment": "vip", "special": "You again"}`,
			Requests: []plugins.Request{german, {Segment: "new"}},
			Want:     [][]plugins.Edit{hello("You again"), hello("Welcome")},
		}},
		Bad: []plugintest.Bad{
			{Settings: `{}`, Path: "hello.other"},
			{Settings: `{"hello": {"other": 5}}`, Path: "hello.other"},
			{Settings: `{"helo": {}}`, Path: "helo"},
		},
	})
}
