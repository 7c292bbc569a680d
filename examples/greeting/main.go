// Greeting is an example of a content plugin: it greets visitors in their
// language, and those of one segment by a line of their own.
package main

import (
	"context"
	"encoding/json"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/sdk"
)

func main() { sdk.Serve(greeting{}) }

type greeting struct{}

type settings struct {
	Select  string            `json:"select"`  // the element to write into
	Hello   map[string]string `json:"hello"`   // by language, "other" for all others
	Segment string            `json:"segment"` // who gets Special
	Special string            `json:"special"`
}

func (greeting) Describe() plugins.Description {
	return plugins.Description{Name: "greeting", Version: "1.0.0", Summary: "Greets visitors in their language"}
}

func (greeting) Configure(_ context.Context, raw json.RawMessage) (*plugins.Instance, error) {
	s := settings{Select: "h1"}
	if err := plugins.DecodeSettings(raw, &s); err != nil {
		return nil, err
	}
	if s.Hello["other"] == "" {
		return nil, &plugins.SettingError{Path: "hello.other", Message: "missing: the greeting in all other languages"}
	}
	plan := func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
		text := s.Hello[r.Attributes["language"]]
		if text == "" {
			text = s.Hello["other"]
		}
		if s.Segment != "" && r.Segment == s.Segment {
			text = s.Special
		}
		return &plugins.Answer{Edits: []plugins.Edit{{Select: s.Select, Op: "set_inner", Text: text}}}, nil
	}
	// An answer depends on these two and is kept for them: one call for each pair.
	scope := plugins.Scope{Segment: s.Segment != "", Attributes: []string{"language"}}
	return &plugins.Instance{Scope: scope, Plan: plan}, nil
}
