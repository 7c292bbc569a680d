// Package content is the built-in plugin for fixed changes: edits that stand in
// the configuration, for everyone or by segment.
//
//	settings:
//	  edits:
//	    - {select: "h1", op: set_inner, text: "Welcome"}
//	  variants:
//	    - segment: vip
//	      edits:
//	        - {select: "h1", op: set_inner, text: "Welcome back"}
//
// A visitor of a variant's segment gets the variant's edits in place of the
// general ones.
package content

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

// maxEdits is how many edits one visitor can get.
const maxEdits = 500

// Settings are what an experience says to the plugin.
type Settings struct {
	Edits    []decision.Edit `json:"edits"`
	Variants []Variant       `json:"variants"`
}

// Variant holds the edits for one segment.
type Variant struct {
	Segment string          `json:"segment"`
	Edits   []decision.Edit `json:"edits"`
}

// New returns the plugin.
func New() plugins.Plugin { return plugin{} }

type plugin struct{}

const schema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,
"properties":{"edits":{"$ref":"#/$defs/edits"},"variants":{"type":"array","items":{"type":"object","additionalProperties":false,
"required":["segment","edits"],"properties":{"segment":{"type":"string","minLength":1},"edits":{"$ref":"#/$defs/edits"}}}}},
"$defs":{"edits":{"type":"array","maxItems":500,"items":{"type":"object","additionalProperties":false,"required":["op"],
"properties":{"body":{"enum":["html","json","text"]},"select":{"type":"string","minLength":1},"pointer":{"type":"string"},"json":{},
"op":{"enum":["before","after","prepend","append","replace","set_inner","remove","unwrap","set_attribute","remove_attribute",
"add_class","remove_class","replace_text","set","merge"]},"text":{"type":"string"},"html":{"type":"string"},
"name":{"type":"string"},"value":{"type":"string"},"pattern":{"type":"string"},"required":{"type":"boolean"}}}}}}`

// Describe implements [plugins.Plugin].
func (plugin) Describe() plugins.Description {
	return plugins.Description{
		Name: "content", Version: "1.0.0",
		Summary: "Fixed edits from the configuration, for everyone or by segment",
		Schema:  json.RawMessage(schema),
	}
}

// Configure implements [plugins.Plugin].
func (plugin) Configure(_ context.Context, raw json.RawMessage) (*plugins.Instance, error) {
	var s Settings
	unknown := plugins.DecodeSettings(raw, &s)
	if unknown != nil && len(s.Edits)+len(s.Variants) == 0 {
		return nil, unknown
	}
	if err := errors.Join(unknown, s.validate()); err != nil {
		return nil, err
	}
	bySegment := make(map[string]*plugins.Answer, len(s.Variants))
	for _, v := range s.Variants {
		bySegment[v.Segment] = &plugins.Answer{Edits: v.Edits}
	}
	general := &plugins.Answer{Edits: s.Edits}
	return &plugins.Instance{
		Scope: plugins.Scope{Segment: len(s.Variants) > 0, Bodies: s.bodies()},
		Plan: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
			if a := bySegment[r.Segment]; a != nil {
				return a, nil
			}
			return general, nil
		},
	}, nil
}

// bodies returns the kinds of bodies that the edits are for; nil for HTML alone.
func (s *Settings) bodies() []decision.Body {
	var found decision.Bodies
	note := func(edits []decision.Edit) {
		for i := range edits {
			found |= decision.BodiesOf(edits[i].Kind())
		}
	}
	note(s.Edits)
	for _, v := range s.Variants {
		note(v.Edits)
	}
	if found == decision.BodiesOf(decision.BodyHTML) {
		return nil
	}
	var kinds []decision.Body
	for _, kind := range []decision.Body{decision.BodyHTML, decision.BodyJSON, decision.BodyText} {
		if found.Has(kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (s *Settings) validate() error {
	var errs []error
	add := func(path, format string, args ...any) {
		errs = append(errs, &plugins.SettingError{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if len(s.Edits) == 0 && len(s.Variants) == 0 {
		add("edits", "missing: give edits, variants, or both")
	}
	validateEdits("edits", s.Edits, add)
	seen := make(map[string]bool)
	for i, v := range s.Variants {
		at := fmt.Sprintf("variants[%d]", i)
		switch {
		case v.Segment == "":
			add(at+".segment", "missing: the segment that gets these edits")
		case seen[v.Segment]:
			add(at+".segment", "the segment %q has two variants", v.Segment)
		}
		seen[v.Segment] = true
		validateEdits(at+".edits", v.Edits, add)
	}
	return errors.Join(errs...)
}

func validateEdits(at string, edits []decision.Edit, add func(string, string, ...any)) {
	if len(edits) > maxEdits {
		add(at, "found %d edits, at most %d are allowed", len(edits), maxEdits)
	}
	for i := range edits {
		validateEdit(fmt.Sprintf("%s[%d]", at, i), &edits[i], add)
		refuseOffers(fmt.Sprintf("%s[%d]", at, i), edits[i], add)
	}
}

// validateEdit checks that an edit has the fields of its operation. Whether its
// selector can be matched is for the rewriter to say.
func validateEdit(at string, e *decision.Edit, add func(string, string, ...any)) {
	switch e.Kind() {
	case decision.BodyHTML:
	case decision.BodyJSON:
		validateJSONEdit(at, e, add)
		return
	case decision.BodyText:
		validateTextEdit(at, e, add)
		return
	default:
		add(at+".body", "found %q, expected html, json or text", e.Body)
		return
	}
	if e.Select == "" {
		add(at+".select", "missing: a CSS selector, or a pointer into a JSON body")
	}
	content, name, value, pattern := false, false, false, false
	switch e.Op {
	case decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace, decision.OpSetInner:
		content = true
		if e.Text == "" && e.HTML == "" && e.Op != decision.OpSetInner {
			add(at, "%s needs text or html", e.Op)
		}
	case decision.OpRemove, decision.OpUnwrap:
	case decision.OpSetAttribute:
		name, value = true, true
	case decision.OpRemoveAttribute:
		name = true
	case decision.OpAddClass, decision.OpRemoveClass:
		value = true
		if e.Value == "" {
			add(at+".value", "missing: the class")
		}
	case decision.OpReplaceText:
		content, pattern = true, true
		if e.Pattern == "" {
			add(at+".pattern", "missing: the regular expression of what is replaced")
		}
	case "":
		add(at+".op", "missing: what to do, one of before, after, prepend, append, replace, set_inner, remove, unwrap, set_attribute, remove_attribute, add_class, remove_class, replace_text")
		return
	default:
		add(at+".op", "found %q, expected one of before, after, prepend, append, replace, set_inner, remove, unwrap, set_attribute, remove_attribute, add_class, remove_class, replace_text", e.Op)
		return
	}
	if name && e.Name == "" {
		add(at+".name", "missing: the attribute")
	}
	if content && e.Text != "" && e.HTML != "" {
		add(at, "an edit has either text or html")
	}
	refuse(at, e, add, map[string]bool{"select": true, "text": content, "html": content, "name": name, "value": value, "pattern": pattern})
}
