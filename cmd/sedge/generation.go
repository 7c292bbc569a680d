package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sedge-proxy/sedge/config"
	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/experiment"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/host"
	"github.com/sedge-proxy/sedge/plugins/plan"
	"github.com/sedge-proxy/sedge/proxy"
	"github.com/sedge-proxy/sedge/rewrite"
	"github.com/sedge-proxy/sedge/segmenter"
	"github.com/sedge-proxy/sedge/visitor"
	"github.com/sedge-proxy/sedge/visitor/attributes"
)

// generation is everything that one reading of the configuration was compiled to.
type generation struct {
	number      uint64
	cfg         *config.Config
	scorer      *segmenter.Scorer
	experiments *experiment.Experiments
	planner     *plan.Planner
	attributes  *attributes.Extractor
	goals       *kpi.Goals
	bound       *boundExperiences

	sites atomic.Int64 // made of it and in use
}

// compile makes a generation of a configuration. Plugins are reconciled and
// configured; everything else is compiled. Nothing is in use yet.
func (n *node) compile(ctx context.Context, cfg *config.Config, number uint64) (*generation, error) {
	rules, faults := segmenter.Compile(cfg.Rules())
	holdouts, holdoutPaths := holdoutsOf(cfg)
	experiments, experimentFaults := experiment.Compile(cfg.Experiments, holdouts)
	placeExperimentFaults(&faults, experimentFaults, holdoutPaths)
	goals, goalFaults := kpi.CompileGoals(cfg.Goals)
	faults.Under("goals", goalFaults)
	if len(faults) > 0 {
		return nil, cfg.Problems(faults)
	}
	bound, faults, err := bindExperiences(ctx, cfg, n.plugins)
	if err != nil {
		return nil, err
	}
	g := &generation{number: number, cfg: cfg, experiments: experiments, goals: goals, bound: bound}
	var more decision.Faults
	g.planner, g.attributes, more, err = planPages(ctx, cfg, bound, rules, n.now, n.logger)
	if faults = append(faults, more...); err == nil && len(faults) > 0 {
		err = cfg.Problems(faults)
	}
	if err == nil {
		if g.scorer, err = segmenter.NewScorer(rules, cfg.Rules(), number); err != nil {
			err = fmt.Errorf("make the segmenter: %w", err)
		}
	}
	if err != nil {
		g.abandon()
		return nil, err
	}
	return g, nil
}

// primeTimeout bounds the asking for all answers that depend on nothing.
const primeTimeout = 10 * time.Second

// planPages compiles the planner, and the attributes that it and the rules read.
// Answers that depend on nothing are asked for now, so that a wrong one shows at
// load. What is wrong with the configuration comes back as faults.
func planPages(ctx context.Context, cfg *config.Config, bound *boundExperiences, rules *segmenter.Rules, now func() time.Time, logger *slog.Logger) (*plan.Planner, *attributes.Extractor, decision.Faults, error) {
	if faults := bound.unknownAttributes(); len(faults) > 0 {
		return nil, nil, faults, nil
	}
	extractor, faults := attributes.Compile(union(rules.RequestInputs(), plan.Attributes(bound.experiences)))
	if len(faults) > 0 {
		return nil, nil, nil, fmt.Errorf("compile request attributes: %w", faults)
	}
	cookie := visitor.NewCookie(cfg.Visitor).Name()
	if slices.Contains(extractor.Names(), "cookie."+cookie) {
		return nil, nil, decision.Faults{{Path: "segments", Message: fmt.Sprintf("a rule or plugin reads the cookie %q, which is the visitor's own signed id; nothing may depend on it", cookie)}}, nil
	}
	arms := map[string][]string{}
	for _, x := range cfg.Experiments {
		for _, arm := range x.Arms {
			arms[x.Name] = append(arms[x.Name], arm.Name)
		}
	}
	planner, err := plan.Compile(bound.experiences, extractor.Names(), checkEdit(cookie), plan.Config{Arms: arms}, now, logger)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, primeTimeout)
		defer cancel()
		if err = planner.Prime(ctx); err == nil {
			return planner, extractor, nil, nil
		}
		planner.Close()
	}
	if errors.As(err, &faults) {
		return nil, nil, bound.place(faults), nil
	}
	return nil, nil, nil, err
}

// checkEdit checks edits as plugins answer them, and what their slots name.
func checkEdit(cookie string) func(decision.Edit) error {
	return func(e decision.Edit) error {
		return rewrite.CheckSlots(e, func(s rewrite.Slot) error {
			if s.Kind != rewrite.SlotAttribute {
				return nil
			}
			if s.Name == "cookie."+cookie {
				return fmt.Errorf("the slot reads the cookie %q, which is the visitor's own signed id", cookie)
			}
			if _, faults := attributes.Compile([]string{s.Name}); len(faults) > 0 {
				return fmt.Errorf("the slot names an attribute that requests do not have: %s", faults[0].Message)
			}
			return nil
		})
	}
}

// site plugs a generation's engines into the proxy, less what is turned off. The
// generation is released with the last of its sites.
func (n *node) site(g *generation) (*proxy.Site, error) {
	upstreams, err := n.upstreams.take(g.cfg.Upstreams)
	if err != nil {
		return nil, err
	}
	off := n.switches.List()
	site, err := proxy.NewSite(proxy.SiteOptions{
		Generation:  g.number,
		Routes:      routesWithout(g.cfg, off),
		Upstreams:   upstreams,
		Cookie:      visitor.NewCookie(g.cfg.Visitor),
		Signer:      n.signer,
		Attributes:  g.attributes,
		Profiles:    n.live,
		Segmenter:   g.scorer,
		Experiments: g.experiments,
		Planner:     plannerWithout(g.planner, off),
		Recorder:    n.intake,
		Release: func() {
			if g.sites.Add(-1) == 0 {
				g.release()
			}
			n.upstreams.give(g.cfg.Upstreams)
		},
	})
	if err != nil {
		n.upstreams.give(g.cfg.Upstreams)
		return nil, err
	}
	g.sites.Add(1)
	return site, nil
}

// release lets go what belongs to the generation alone.
func (g *generation) release() {
	if g.planner != nil {
		g.planner.Close()
	}
	g.bound.release()
	if g.scorer != nil {
		g.scorer.Close()
	}
}

// abandon releases a generation that never came into use, whole or not, and brings
// the plugins back to those of the one before.
func (g *generation) abandon() {
	g.release()
	g.bound.trial.Undo()
}

// holdoutsOf lists the experiences with a hold-out for each of their segments, and
// the paths of their shares.
func holdoutsOf(cfg *config.Config) (holdouts []experiment.Holdout, paths []string) {
	for i, e := range cfg.Experiences {
		plugin, _ := e.Source()
		if e.Holdout == 0 || e.Disabled || isDisabled(cfg, plugin) {
			continue
		}
		for _, segment := range segmentsOf(e) {
			holdouts = append(holdouts, experiment.Holdout{Experience: e.Name, Segment: segment, Share: e.Holdout})
			paths = append(paths, "experiences["+strconv.Itoa(i)+"].holdout")
		}
	}
	return holdouts, paths
}

func segmentsOf(e plan.Experience) []string {
	if len(e.Segments) > 0 {
		return e.Segments
	}
	return []string{e.Segment}
}

// placeExperimentFaults sorts the faults of experiments and of hold-outs to where
// they stand in the file.
func placeExperimentFaults(faults *decision.Faults, found decision.Faults, holdoutPaths []string) {
	for _, fault := range found {
		var i int
		if _, err := fmt.Sscanf(fault.Path, "holdouts[%d]", &i); err == nil && i < len(holdoutPaths) {
			fault.Path = holdoutPaths[i]
			*faults = append(*faults, fault)
			continue
		}
		faults.Under("experiments", decision.Faults{fault})
	}
}

// union returns the names of both lists, each once, the first list's first.
func union(first, second []string) []string {
	names := slices.Clone(first)
	for _, name := range second {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// boundExperiences are experiences with their configured plugins.
type boundExperiences struct {
	experiences []plan.Bound
	handles     []*host.Handle
	places      []int // of each experience in the file
	trial       *host.Trial
}

// place turns paths into the list of bound experiences into paths in the file.
func (b *boundExperiences) place(found decision.Faults) (faults decision.Faults) {
	for _, fault := range found {
		var i int
		if _, err := fmt.Sscanf(fault.Path, "[%d]", &i); err == nil && i < len(b.places) {
			_, rest, _ := strings.Cut(fault.Path, "]")
			fault.Path = "[" + strconv.Itoa(b.places[i]) + "]" + rest
		}
		faults.Under("experiences", decision.Faults{fault})
	}
	return faults
}

// unknownAttributes finds the attributes in the scopes of plugins that no request has.
func (b *boundExperiences) unknownAttributes() (faults decision.Faults) {
	for i, e := range b.experiences {
		_, wrong := attributes.Compile(e.Caller.Scope().Attributes)
		for _, fault := range wrong {
			faults.Add("experiences["+strconv.Itoa(b.places[i])+"].plugin", "plugin %q asks for something that requests do not have: %s", e.Plugin, fault.Message)
		}
	}
	return faults
}

func (b *boundExperiences) release() {
	for _, h := range b.handles {
		h.Close()
	}
}

// bindExperiences brings the plugins to the configuration and has each experience's
// settings checked by its plugin. All that is wrong comes back at once: what cannot
// be used is left out, so that the rest is looked at too. Whoever gets experiences
// keeps or undoes their trial.
func bindExperiences(ctx context.Context, cfg *config.Config, plugins *host.Host) (*boundExperiences, decision.Faults, error) {
	trial, failed, faults, err := startPlugins(ctx, cfg, plugins)
	if err != nil {
		return nil, faults, err
	}
	handles, errs := configureAll(ctx, cfg, plugins, failed)
	bound := &boundExperiences{trial: trial}
	for i := range cfg.Experiences {
		at := "experiences[" + strconv.Itoa(i) + "]"
		switch {
		case errs[i] != nil:
			faults.Under(at, settingFaults(&cfg.Experiences[i], errs[i]))
		case handles[i] != nil:
			bound.handles = append(bound.handles, handles[i])
			if !cfg.Faulty(at) {
				bound.places = append(bound.places, i)
				bound.experiences = append(bound.experiences, plan.Bound{Experience: cfg.Experiences[i], Caller: handles[i]})
			}
		}
	}
	return bound, faults, nil
}

// configuring is how many experiences are configured at a time.
const configuring = 16

// configureAll has the settings of all experiences checked, at the same time, so
// that plugins which hang cost one wait and not one for each experience.
func configureAll(ctx context.Context, cfg *config.Config, plugins *host.Host, failed map[string]bool) ([]*host.Handle, []error) {
	handles := make([]*host.Handle, len(cfg.Experiences))
	errs := make([]error, len(cfg.Experiences))
	slots := make(chan struct{}, configuring)
	var wait sync.WaitGroup
	for i := range cfg.Experiences {
		e := &cfg.Experiences[i]
		name, settings := e.Source()
		if e.Disabled || failed[name] || isDisabled(cfg, name) || !configurable(cfg, i) {
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panic: %v", p)
				}
			}()
			handles[i], errs[i] = plugins.Configure(ctx, name, settings) // bounded by the plugin's start_timeout
		})
	}
	wait.Wait()
	return handles, errs
}

func isDisabled(cfg *config.Config, plugin string) bool {
	return slices.ContainsFunc(cfg.Plugins, func(p host.Config) bool { return p.Name == plugin && p.Disabled })
}

// configurable reports whether an experience's settings can be shown to its plugin:
// whatever else is wrong with it, nothing is with these.
func configurable(cfg *config.Config, i int) bool {
	for _, part := range []string{"plugin", "settings", "edits"} {
		if cfg.Faulty("experiences[" + strconv.Itoa(i) + "]." + part) {
			return false
		}
	}
	return true
}

// startPlugins brings the plugins to the configuration. Those that do not start are
// reported and left out; failed are these and the ones whose entries are wrong.
func startPlugins(ctx context.Context, cfg *config.Config, plugins *host.Host) (_ *host.Trial, failed map[string]bool, faults decision.Faults, _ error) {
	failed = map[string]bool{}
	wanted := slices.Clone(cfg.Plugins)
	for i, p := range cfg.Plugins {
		failed[p.Name] = failed[p.Name] || cfg.Faulty("plugins["+strconv.Itoa(i)+"]")
	}
	wanted = slices.DeleteFunc(wanted, func(p host.Config) bool { return p.Disabled })
	for {
		wanted = slices.DeleteFunc(wanted, func(p host.Config) bool { return failed[p.Name] })
		trial, err := plugins.Try(ctx, wanted)
		if err == nil {
			return trial, failed, faults, nil
		}
		found, names := placePluginErrors(cfg, err)
		faults = append(faults, found...)
		if len(names) == 0 || ctx.Err() != nil {
			return nil, nil, nil, cfg.Problems(faults)
		}
		for _, name := range names {
			failed[name] = true
		}
	}
}

// settingFaults turns what a plugin says of its settings into faults of the
// experience: those of a shorthand stand under edits, not under settings.
func settingFaults(e *plan.Experience, err error) decision.Faults {
	var faults decision.Faults
	wrong := plugins.SettingErrors(err)
	if len(wrong) == 0 {
		faults.Add("plugin", "%v", err)
	}
	for _, w := range wrong {
		if len(e.Edits) > 0 {
			faults.Add(w.Path, "%s", w.Message)
		} else {
			faults.Under("settings", decision.Faults{{Path: w.Path, Message: w.Message}})
		}
	}
	return faults
}

// unjoin takes apart what errors.Join put together.
func unjoin(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, unjoin(e)...)
	}
	return all
}

// placePluginErrors gives the errors of starting plugins their place in the file,
// and names the plugins.
func placePluginErrors(cfg *config.Config, err error) (faults decision.Faults, names []string) {
	for _, err := range unjoin(err) {
		var failed *host.Error
		path := "plugins"
		if errors.As(err, &failed) {
			i := slices.IndexFunc(cfg.Plugins, func(p host.Config) bool { return p.Name == failed.Plugin })
			path, err = "plugins["+strconv.Itoa(i)+"]", failed.Err
			names = append(names, failed.Plugin)
		}
		faults.Add(path, "%v", err)
	}
	return faults, names
}
