package content

import (
	"testing"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/plugintest"
)

func TestMain(m *testing.M) { plugintest.Main(m, New()) }

func TestContract(t *testing.T) {
	welcome := plugins.Edit{Select: "h1", Op: "set_inner", Text: "Welcome"}
	back := plugins.Edit{Select: "h1", Op: "set_inner", HTML: "<b>Welcome back</b>"}
	link := plugins.Edit{Select: "a", Op: "set_attribute", Name: "href", Value: "/x"}
	plugintest.Run(t, New(), plugintest.Suite{
		Samples: []plugintest.Sample{{
			Name:     "for everyone",
			Settings: `{"edits": [{"select": "h1", "op": "set_inner", "text": "Welcome"}, {"select": "a", "op": "set_attribute", "name": "href", "value": "/x"}]}`,
			Requests: []plugins.Request{{Segment: "vip"}},
			Want:     [][]plugins.Edit{{welcome, link}},
		}, {
			Name: "by segment",
			Settings: `{"edits": [{"select": "h1", "op": "set_inner", "text": "Welcome"}],
				"variants": [{"segment": "vip", "edits": [{"select": "h1", "op": "set_inner", "html": "<b>Welcome back</b>"}]}, {"segment": "none", "edits": []}]}`,
			Requests: []plugins.Request{{Segment: "vip"}, {Segment: "new"}, {}, {Segment: "none"}},
			Want:     [][]plugins.Edit{{back}, {welcome}, {welcome}, nil},
		}, {
			Name: "every operation",
			Settings: `{"edits": [{"select": "p", "op": "before", "text": "x"}, {"select": "p", "op": "after", "html": "x"}, {"select": "p", "op": "prepend", "text": "x"},
				{"select": "p", "op": "append", "text": "x"}, {"select": "p", "op": "replace", "text": "x"}, {"select": "p", "op": "set_inner"}, {"select": "p", "op": "remove"},
				{"select": "p", "op": "unwrap"}, {"select": "p", "op": "remove_attribute", "name": "x"}, {"select": "p", "op": "set_attribute", "name": "x"},
				{"select": "p", "op": "add_class", "value": "x"}, {"select": "p", "op": "remove_class", "value": "x"}]}`,
			Requests: []plugins.Request{{}},
		}},
		Bad: []plugintest.Bad{
			{Settings: `{}`, Path: "edits"},
			{Settings: `{"edit": []}`, Path: "edit"},
			{Settings: `{"edits": {}}`, Path: "edits"},
			{Settings: `{"edits": [{"select": "h1", "op": "remove"}, {"slect": "h1", "op": "remove"}]}`, Path: "edits[1].slect"},
			{Settings: `{"edits": [{"op": "remove"}]}`, Path: "edits[0].select"},
			{Settings: `{"edits": [{"select": "h1"}]}`, Path: "edits[0].op"},
			{Settings: `{"edits": [{"select": "h1", "op": "explode"}]}`, Path: "edits[0].op"},
			{Settings: `{"edits": [{"select": "h1", "op": "append"}]}`, Path: "edits[0]"},
			{Settings: `{"edits": [{"select": "h1", "op": "append", "text": "a", "html": "b"}]}`, Path: "edits[0]"},
			{Settings: `{"edits": [{"select": "h1", "op": "remove", "text": "a"}]}`, Path: "edits[0].text"},
			{Settings: `{"edits": [{"select": "h1", "op": "set_attribute", "value": "a"}]}`, Path: "edits[0].name"},
			{Settings: `{"edits": [{"select": "h1", "op": "add_class"}]}`, Path: "edits[0].value"},
			{Settings: `{"edits": [{"select": 5, "op": "remove"}]}`, Path: "edits[0].select"},
			{Settings: `{"edits": [{"select": "a", "op": "append", "html": "{{segment}} {{offer \"code\"}}"}]}`, Path: "edits[0].html"},
			{Settings: `{"variants": [{"segment": "a", "edits": [{"select": "a", "op": "set_attribute", "name": "title", "value": "{{offer \"code\" \"x\"}}"}]}]}`, Path: "variants[0].edits[0].value"},
			{Settings: `{"variants": [{"edits": []}]}`, Path: "variants[0].segment"},
			{Settings: `{"variants": [{"segment": "a", "edits": []}, {"segment": "a", "edits": []}]}`, Path: "variants[1].segment"},
		},
	})
}
