package config

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/experiment"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/plugins/host"
	"github.com/sedge-proxy/sedge/plugins/plan"
	"github.com/sedge-proxy/sedge/rewrite"
	"github.com/sedge-proxy/sedge/segmenter"
)

// validate collects what is wrong: each package speaks for its own part.
func (c *Config) validate(builtins []string) decision.Faults {
	var faults decision.Faults
	faults.Under("server", c.Server.Validate())
	faults.Under("admin", c.Admin.Validate())
	faults.Under("visitor", c.Visitor.Validate())
	faults.Under("profile", c.Profile.Validate())
	faults.Under("events", c.Events.Validate())
	faults.Under("cache", c.Cache.Validate())
	for i := range c.Upstreams {
		faults.Under(at("upstreams", i), c.Upstreams[i].Validate())
	}
	for i := range c.Routes {
		faults.Under(at("routes", i), c.Routes[i].Validate())
	}
	faults.Under("plugins", host.Validate(c.Plugins, builtins))
	faults.Under("experiences", plan.Validate(c.Experiences))
	_, segmentFaults := segmenter.Compile(c.Rules())
	faults = append(faults, segmentFaults...)
	_, experimentFaults := experiment.Compile(c.Experiments, nil)
	faults.Under("experiments", experimentFaults)
	_, goalFaults := kpi.CompileGoals(c.Goals)
	faults.Under("goals", goalFaults)

	c.validateNames(&faults)
	c.validateReferences(&faults)
	c.validateEdits(&faults)
	return faults
}

func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// validateNames looks at the names of lists that no package checks by itself.
func (c *Config) validateNames(faults *decision.Faults) {
	if len(c.Upstreams) == 0 {
		faults.Add("upstreams", "no upstream is named; expected the site to stand in front of, as in\n  upstreams:\n    - name: site\n      url: https://www.example.com")
	}
	if len(c.Routes) == 0 && len(c.Upstreams) > 0 {
		faults.Add("routes", "no route is named; expected at least one, as in\n  routes:\n    - name: everything\n      upstream: %s", c.Upstreams[0].Name)
	}
	unique(faults, "upstreams", len(c.Upstreams), func(i int) string { return c.Upstreams[i].Name })
	c.validateRouteNames(faults)
}

// validateRouteNames wants different names for routes: metrics and kill switches go by
// them.
func (c *Config) validateRouteNames(faults *decision.Faults) {
	first := map[string]int{}
	for i := range c.Routes {
		r := &c.Routes[i]
		name := nameOf(r)
		j, twice := first[name]
		switch {
		case name == "": // nor has it an upstream, which is said already
		case !twice:
			first[name] = i
		case r.Name == "":
			faults.Add(at("routes", i), "the route has no name, so it takes its upstream's, and %q is the name of %s too; give it one of its own, as in\n  name: %s-%d", name, at("routes", j), name, i+1)
		default:
			faults.Add(at("routes", i)+".name", "the name %q stands at %s too; give each its own", name, at("routes", j))
		}
	}
}

func unique(faults *decision.Faults, list string, n int, name func(int) string) {
	first := map[string]int{}
	for i := range n {
		if name(i) == "" {
			faults.Add(at(list, i)+".name", "the name is missing")
			continue
		}
		if j, twice := first[name(i)]; twice {
			faults.Add(at(list, i)+".name", "the name %q stands at %s too; give each its own", name(i), at(list, j))
			continue
		}
		first[name(i)] = i
	}
}

// validateReferences checks that what one block names exists in another.
func (c *Config) validateReferences(faults *decision.Faults) {
	upstreams := names(len(c.Upstreams), func(i int) string { return c.Upstreams[i].Name })
	segments := names(len(c.Segments), func(i int) string { return c.Segments[i].Name })
	plugins := names(len(c.Plugins), func(i int) string { return c.Plugins[i].Name })
	experiences := names(len(c.Experiences), func(i int) string { return c.Experiences[i].Name })

	for i, r := range c.Routes {
		refer(faults, at("routes", i)+".upstream", "upstream", r.Upstream, upstreams)
	}
	for i, x := range c.Experiments {
		if x.Segment != "" {
			refer(faults, at("experiments", i)+".segment", "segment", x.Segment, segments)
		}
		if experiences[x.Name] {
			faults.Add(at("experiments", i)+".name", "%q is also the name of an experience; reports need different names", x.Name)
		}
	}
	for i := range c.Experiences {
		c.validateExperience(faults, i, segments, plugins)
	}
}

func (c *Config) validateExperience(faults *decision.Faults, i int, segments, plugins map[string]bool) {
	e, path := &c.Experiences[i], at("experiences", i)
	if e.Segment != "" {
		refer(faults, path+".segment", "segment", e.Segment, segments)
	}
	for j, segment := range e.Segments {
		refer(faults, at(path+".segments", j), "segment", segment, segments)
	}
	if e.Plugin != "" {
		refer(faults, path+".plugin", "plugin", e.Plugin, plugins)
	}
	if e.Experiment != "" {
		c.validateArm(faults, path, e.Experiment, e.Arm)
	}
}

func (c *Config) validateArm(faults *decision.Faults, path, name, arm string) {
	for _, x := range c.Experiments {
		if x.Name != name {
			continue
		}
		arms := names(len(x.Arms), func(i int) string { return x.Arms[i].Name })
		if arm != "" {
			refer(faults, path+".arm", "arm", arm, arms)
		}
		return
	}
	refer(faults, path+".experiment", "experiment", name, names(len(c.Experiments), func(i int) string { return c.Experiments[i].Name }))
}

func names(n int, name func(int) string) map[string]bool {
	set := make(map[string]bool, n)
	for i := range n {
		set[name(i)] = true
	}
	return set
}

func refer(faults *decision.Faults, path, kind, name string, known map[string]bool) {
	switch {
	case known[name]:
	case name == "":
		faults.Add(path, "no %s is named; expected %s", kind, oneOf(kind, known))
	default:
		faults.Add(path, "there is no %s %q; expected %s", kind, name, oneOf(kind, known))
	}
}

func oneOf(kind string, known map[string]bool) string {
	all := sortedKeys(known)
	switch {
	case len(all) == 0:
		return fmt.Sprintf("a name, but no %s is configured", kind)
	case len(all) == 1:
		return strconv.Quote(all[0])
	case len(all) > 10:
		all = all[:10]
	}
	text := "one of"
	for _, name := range all {
		text += " " + strconv.Quote(name)
	}
	return text
}

// validateEdits checks the edits that stand in the file itself. Those of plugins
// are checked when the plugin answers.
func (c *Config) validateEdits(faults *decision.Faults) {
	for i := range c.Experiences {
		for j, edit := range c.Experiences[i].Edits {
			editFault(faults, at(at("experiences", i)+".edits", j), rewrite.CheckSlots(edit, rewrite.RefuseOffers))
		}
	}
}

// editFault notes what rewrite.CheckSlots found.
func editFault(faults *decision.Faults, path string, err error) {
	var wrong *rewrite.EditError
	switch {
	case err == nil:
	case errors.As(err, &wrong) && wrong.Field == "json": // columns are those of the value as JSON
		faults.Add(join(path, wrong.Field), "%s", wrong.Message)
	case errors.As(err, &wrong):
		faults.AddAt(join(path, wrong.Field), wrong.Column, "%s", wrong.Message)
	default:
		faults.Add(path, "%v", err)
	}
}
