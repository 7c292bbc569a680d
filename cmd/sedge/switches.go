package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sedge-proxy/sedge/bypass"
	"github.com/sedge-proxy/sedge/config"
	"github.com/sedge-proxy/sedge/dashboard"
	"github.com/sedge-proxy/sedge/plugins/plan"
	"github.com/sedge-proxy/sedge/proxy"
)

// switches are a node's kill switches, as its admin listener works them.
type switches struct{ node *node }

// Set turns something off for all requests that begin from now on.
func (s switches) Set(kind bypass.Kind, name, reason string) error {
	wanted := bypass.Switch{Kind: kind, Name: name, Reason: reason}
	if err := checkNamed(s.node.current.Load().cfg, wanted); err != nil {
		return err
	}
	return s.change("kill switch set", wanted, func() error {
		return s.node.switches.Set(kind, name, reason)
	})
}

// Lift lifts a switch for all requests that begin from now on.
func (s switches) Lift(kind bypass.Kind, name string) error {
	return s.change("kill switch lifted", bypass.Switch{Kind: kind, Name: name}, func() error {
		return s.node.switches.Lift(kind, name)
	})
}

// change changes the switches and puts a site in place that is as they say, also when
// they could not be written.
func (s switches) change(what string, which bypass.Switch, write func() error) error {
	n := s.node
	n.changing.Lock()
	defer n.changing.Unlock()
	failure := write()
	site, err := n.site(n.current.Load())
	if err != nil {
		return fmt.Errorf("%s, and not in force: %w", what, err)
	}
	n.proxy.SetSite(site)
	if failure != nil {
		n.logger.Error(what, "kind", string(which.Kind), "name", which.Name, "reason", which.Reason, "error", failure)
		return failure
	}
	n.logger.Warn(what, "kind", string(which.Kind), "name", which.Name, "reason", which.Reason)
	return nil
}

// Off lists what is off by the configuration, and then by switch.
func (s switches) Off() []dashboard.Off {
	return allOff(s.node.current.Load().cfg, s.node.switches.List())
}

// allOff is Off for any configuration; with nil it tells of switches alone.
func allOff(cfg *config.Config, set bypass.Set) []dashboard.Off {
	offs := []dashboard.Off{}
	if cfg == nil {
		for _, each := range set {
			offs = append(offs, dashboard.Off{Switch: each})
		}
		return offs
	}
	byConfig := func(kind bypass.Kind, name string, off bool) {
		if off {
			offs = append(offs, dashboard.Off{Switch: bypass.Switch{Kind: kind, Name: name}, Config: true})
		}
	}
	byConfig(bypass.Everything, "", cfg.Server.Bypass)
	for _, p := range cfg.Plugins {
		byConfig(bypass.Plugin, p.Name, p.Disabled)
	}
	for _, e := range cfg.Experiences {
		byConfig(bypass.Experience, e.Name, e.Disabled)
	}
	for _, each := range set {
		offs = append(offs, dashboard.Off{Switch: each, NamesNothing: checkNamed(cfg, each) != nil})
	}
	return offs
}

// checkNamed reports that a switch names nothing of the configuration; nil knows all names.
func checkNamed(cfg *config.Config, s bypass.Switch) error {
	if cfg == nil || s.Kind == bypass.Everything {
		return nil
	}
	if known := namesOf(cfg, s.Kind); !slices.Contains(known, s.Name) {
		return dashboard.UnknownNameError(fmt.Sprintf("there is no %s %q; expected one of: %s", s.Kind, s.Name, listed(known)))
	}
	return nil
}

// namesOf returns what the configuration calls its things of a kind.
func namesOf(cfg *config.Config, kind bypass.Kind) (names []string) {
	switch kind {
	case bypass.Route:
		for _, r := range cfg.Routes {
			names = append(names, r.Name)
		}
	case bypass.Plugin:
		for _, p := range cfg.Plugins {
			names = append(names, p.Name)
		}
	case bypass.Experience:
		for _, e := range cfg.Experiences {
			names = append(names, e.Name)
		}
	}
	return names
}

// maxListed bounds how many names a message lists.
const maxListed = 20

func listed(names []string) string {
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > maxListed:
		return strings.Join(names[:maxListed], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// routesWithout returns the routes, those that are off as plain proxying: nothing is kept
// of their answers either, nor is what was kept before shown to anybody.
func routesWithout(cfg *config.Config, off bypass.Set) []proxy.Route {
	routes := slices.Clone(cfg.Routes)
	everything := cfg.Server.Bypass || off.Off(bypass.Everything, "")
	for i := range routes {
		if everything || off.Off(bypass.Route, routes[i].Name) {
			routes[i].Personalize = new(bool)
			routes[i].Cache.Disabled = true
		}
	}
	return routes
}

// plannerWithout returns the planner for the experiences that are not off.
func plannerWithout(p *plan.Planner, off bypass.Set) *plan.Planner {
	return p.Without(func(experience, plugin string) bool {
		return off.Off(bypass.Experience, experience) || off.Off(bypass.Plugin, plugin)
	})
}
