package content

import (
	"context"
	"encoding/json"
	"fmt"
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
			Name: "other bodies",
			Settings: `{"edits": [{"pointer": "/a", "op": "set", "json": {"B": [1, null]}}, {"pointer": "/b", "op": "remove"}, {"pointer": "/c", "op": "append", "json": null},
				{"body": "json", "op": "merge", "json": {}}, {"body": "text", "op": "replace_text", "pattern": "a+", "text": "b"}]}`,
			Requests: []plugins.Request{{}},
			Want: [][]plugins.Edit{{
				{Pointer: "/a", Op: "set", JSON: `{"B":[1,null]}`}, {Pointer: "/b", Op: "remove"}, {Pointer: "/c", Op: "append", JSON: "null"},
				{Body: "json", Op: "merge", JSON: "{}"}, {Body: "text", Op: "replace_text", Pattern: "a+", Text: "b"},
			}},
		}, {
			Name: "every operation",
			Settings: `{"edits": [{"select": "p", "op": "before", "text": "x"}, {"select": "p", "op": "after", "html": "x"}, {"select": "p", "op": "prepend", "text": "x"},
				{"select": "p", "op": "append", "text": "x"}, {"select": "p", "op": "replace", "text": "x"}, {"select": "p", "op": "set_inner"}, {"select": "p", "op": "remove"},
				{"select": "p", "op": "unwrap"}, {"select": "p", "op": "remove_attribute", "name": "x"}, {"select": "p", "op": "set_attribute", "name": "x"},
				{"select": "p", "op": "add_class", "value": "x"}, {"select": "p", "op": "remove_class", "value": "x"}]}`,
			Requests: []plugins.Request{{}},
		}},
		Bad: []plugintest.Bad{
			{Settings: `{"edits": [{"op": "set", "pointer": "/a"}]}`, Path: "edits[0].json"},
			{Settings: `{"edits": [{"op": "remove", "body": "json"}]}`, Path: "edits[0].pointer"},
			{Settings: `{"edits": [{"op": "remove", "pointer": "/a", "json": 1}]}`, Path: "edits[0].json"},
			{Settings: `{"edits": [{"op": "remove", "pointer": "/a", "select": "p"}]}`, Path: "edits[0].select"},
			{Settings: `{"edits": [{"op": "set_inner", "pointer": "/a"}]}`, Path: "edits[0].op"},
			{Settings: `{"edits": [{"pointer": "/a"}]}`, Path: "edits[0].op"},
			{Settings: `{"edits": [{"body": "yaml", "op": "set"}]}`, Path: "edits[0].body"},
			{Settings: `{"edits": [{"body": "text", "op": "remove"}]}`, Path: "edits[0].op"},
			{Settings: `{"edits": [{"body": "text", "op": "replace_text"}]}`, Path: "edits[0].pattern"},
			{Settings: `{"edits": [{"body": "text", "op": "replace_text", "pattern": "a", "html": "b"}]}`, Path: "edits[0].html"},
			{Settings: `{"edits": [{"select": "p", "op": "remove", "json": 1}]}`, Path: "edits[0].json"},
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

// The scope names the kinds of bodies that any variant has edits for.
func TestScopeNamesBodies(t *testing.T) {
	for settings, want := range map[string]string{
		`{"edits": [{"select": "p", "op": "remove"}]}`:   "[]",
		`{"edits": [{"pointer": "/a", "op": "remove"}]}`: "[json]",
		`{"edits": [{"select": "p", "op": "remove"}], "variants": [{"segment": "a", "edits": [{"pointer": "/a", "op": "remove"}]}]}`: "[html json]",
	} {
		i, err := New().Configure(context.Background(), json.RawMessage(settings))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(i.Scope.Bodies); got != want {
			t.Errorf("%s: got %s, want %s", settings, got, want)
		}
	}
}
