package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

// Content is the plugin for which an experience's edits are shorthand.
const Content = "content"

// Experience says which visitors see what on which pages.
type Experience struct {
	// Name identifies the experience in reports and logs.
	Name string `mapstructure:"name"`

	// Segment and Segments name the primary segments that see the experience;
	// none given means everyone.
	Segment  string   `mapstructure:"segment"`
	Segments []string `mapstructure:"segments"`

	// Hosts are globs of host names, as in "*.example.com"; none given means every host.
	Hosts []string `mapstructure:"hosts"`

	// Pages and Except are globs of paths: * stands for anything within a path
	// segment, ** for anything across them. No pages given means every page.
	Pages  []string `mapstructure:"pages"`
	Except []string `mapstructure:"except"`

	// Plugin names the plugin that answers, and Settings are what it is
	// configured with: free JSON.
	Plugin   string          `mapstructure:"plugin"`
	Settings json.RawMessage `mapstructure:"-"`

	// Edits are shorthand for the plugin "content" with these edits as settings.
	Edits []decision.Edit `mapstructure:"edits"`

	// Experiment and Arm show the experience only to visitors in that arm.
	Experiment string `mapstructure:"experiment"`
	Arm        string `mapstructure:"arm"`

	// Holdout is the share of visitors who do not see the experience, to measure it.
	Holdout decision.Share `mapstructure:"holdout"`

	// Disabled leaves the experience out.
	Disabled bool `mapstructure:"disabled"`
}

// Source returns the plugin that answers for the experience and its settings, with
// the shorthand resolved.
func (e *Experience) Source() (plugin string, settings json.RawMessage) {
	if len(e.Edits) == 0 {
		return e.Plugin, e.Settings
	}
	settings, err := json.Marshal(struct {
		Edits []decision.Edit `json:"edits"`
	}{e.Edits})
	if err != nil {
		panic("BUG: edits cannot be written as JSON: " + err.Error())
	}
	return Content, settings
}

// Validate reports everything that is wrong with experiences as far as it shows
// without their plugins.
func Validate(exps []Experience) decision.Faults {
	var faults decision.Faults
	seen := make(map[string]bool)
	for i := range exps {
		e := &exps[i]
		at := fmt.Sprintf("[%d]", i)
		if seen[e.Name] && e.Name != "" {
			faults.Add(at+".name", "the experience %q is listed twice", e.Name)
		}
		seen[e.Name] = true
		faults.Under(at, e.validate())
	}
	return faults
}

func (e *Experience) validate() decision.Faults {
	var faults decision.Faults
	if e.Name == "" {
		faults.Add("name", "missing: every experience needs a name")
	}
	if e.Segment != "" && len(e.Segments) > 0 {
		faults.Add("segments", "an experience has either segment or segments")
	}
	if slices.Contains(e.Segments, "") {
		faults.Add("segments", "a segment's name is empty")
	}
	e.validateSource(&faults)
	e.validateMeasure(&faults)
	for _, list := range [...]struct {
		path  string
		globs []string
		check func(string) error
	}{{"hosts", e.Hosts, checkHostGlob}, {"pages", e.Pages, checkPathGlob}, {"except", e.Except, checkPathGlob}} {
		for i, g := range list.globs {
			if err := list.check(g); err != nil {
				faults.Add(fmt.Sprintf("%s[%d]", list.path, i), "found %q, %s", g, err)
			}
		}
	}
	return faults
}

func (e *Experience) validateSource(faults *decision.Faults) {
	switch {
	case e.Plugin == "" && len(e.Edits) == 0:
		faults.Add("plugin", "missing: an experience needs a plugin or edits")
	case e.Plugin != "" && len(e.Edits) > 0:
		faults.Add("edits", "an experience has either edits or a plugin")
	case len(e.Edits) > 0 && len(e.Settings) > 0:
		faults.Add("settings", "an experience with edits has no settings")
	}
}

func (e *Experience) validateMeasure(faults *decision.Faults) {
	switch {
	case e.Experiment != "" && e.Arm == "":
		faults.Add("arm", "missing: which arm of %q sees the experience?", e.Experiment)
	case e.Experiment == "" && e.Arm != "":
		faults.Add("experiment", "missing: the arm %q of which experiment?", e.Arm)
	case e.Experiment != "" && e.Holdout > 0:
		faults.Add("holdout", "an experience in an experiment has no holdout: its other arms are the comparison")
	}
	if !(e.Holdout >= 0 && e.Holdout < 1) {
		faults.Add("holdout", "found %v, expected 0 to less than 1", float64(e.Holdout))
	}
}

// Caller answers for one experience: a configured plugin.
type Caller interface {
	// Scope names what answers depend on; it never changes.
	Scope() decision.Scope
	// Plan answers for one request. It returns when ctx ends, or soon after. An
	// error may have a method Reason() string: one word for counters.
	Plan(ctx context.Context, r *plugins.Request) (*plugins.Answer, error)
}

// Bound is an experience with what answers for it.
type Bound struct {
	Experience
	Caller Caller
}

// Attributes returns the request attributes that the scopes of the callers name,
// each once, in a stable order.
func Attributes(exps []Bound) []string {
	var names []string
	for _, e := range exps {
		if e.Disabled || e.Caller == nil {
			continue
		}
		for _, name := range e.Caller.Scope().Attributes {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
