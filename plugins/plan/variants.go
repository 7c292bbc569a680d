package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
)

const (
	// manyVariants is how many variants of one page are usual.
	manyVariants = 100

	// assumedValues is how many values an attribute is taken to have, since nobody
	// knows before.
	assumedValues = 10

	// mostVariants ends the counting.
	mostVariants = 1_000_000_000

	// maxSamples bounds the pages that are looked at.
	maxSamples = 4096

	// maxSampleHosts bounds the hosts under which an experience for all of them is
	// looked at.
	maxSampleHosts = 16
)

// Population is what tells a site's visitors apart, as far as it decides what they see.
type Population struct {
	Segments    []string
	Experiments []Split
}

// Split is an experiment as a planner's configuration sees it.
type Split struct {
	Name    string
	Segment string // "" for everyone
	Arms    []string
}

// Multiplying finds the experiences that make many variants of a page, each of which is
// made and kept by itself. It returns warnings, with paths as in [Compile]. Whether two
// experiences meet on a page is tried with one page for each pattern, in which "x" stands
// for every wildcard. Slots do not count: a variant is the same for all who have other
// values in them.
func Multiplying(exps []Bound, all Population) (warnings decision.Faults) {
	c := newCounter(exps, all)
	for _, e := range c.exps {
		if e.scope.Visitor {
			warnings.Add(fmt.Sprintf("[%d].plugin", e.index), "the plugin answers for each visitor, so each has a variant of the page, unless the edits are the same for all and what differs stands in slots for offers")
		}
	}
	seen := map[string]bool{}
	for _, s := range c.samples() {
		met := c.meeting(s.page)
		key := fmt.Sprint(met)
		if seen[key] {
			continue
		}
		seen[key] = true
		if n, of := c.count(met); n > manyVariants {
			warnings.Add(s.place, "%s variants of one page, as of %s%s: %s; what cache.variant_memory has no room for is edited anew for each request", upTo(n), s.page.Host, s.page.Path, of)
		}
	}
	return warnings
}

func upTo(n int) string {
	if n >= mostVariants {
		return fmt.Sprintf("more than %d", mostVariants)
	}
	return fmt.Sprintf("up to %d", n)
}

type counter struct {
	all  Population
	exps []countedExperience
}

func newCounter(exps []Bound, all Population) *counter {
	c := &counter{all: all}
	for i := range exps {
		e := &exps[i]
		if e.Disabled || e.Caller == nil {
			continue
		}
		c.exps = append(c.exps, countedExperience{
			Experience: &e.Experience, index: i, scope: e.Caller.Scope(),
			hosts: decision.CompileGlobs(e.Hosts, '.'), pages: decision.CompileGlobs(e.Pages, '/'), except: decision.CompileGlobs(e.Except, '/'),
		})
	}
	return c
}

type countedExperience struct {
	*Experience
	index                int // in the configuration
	scope                decision.Scope
	hosts, pages, except decision.Globs
}

// sample is a page that a pattern names.
type sample struct {
	page  decision.Page
	place string
}

// samples returns one page for each pattern and host.
func (c *counter) samples() (samples []sample) {
	var hosts []string
	for _, e := range c.exps {
		for _, pattern := range e.Hosts {
			if host := sampleOf(pattern); !slices.Contains(hosts, host) && len(hosts) < maxSampleHosts {
				hosts = append(hosts, host)
			}
		}
	}
	seen := map[decision.Page]bool{}
	add := func(host, path, place string) {
		page := decision.Page{Host: host, Path: path}
		if !seen[page] && len(samples) < maxSamples {
			seen[page] = true
			samples = append(samples, sample{page, place})
		}
	}
	for _, e := range c.exps {
		under := append([]string{""}, hosts...)
		if len(e.Hosts) > 0 {
			under = nil
			for _, pattern := range e.Hosts {
				under = append(under, sampleOf(pattern))
			}
		}
		for _, host := range under {
			if len(e.Pages) == 0 {
				add(host, "/", fmt.Sprintf("[%d]", e.index))
			}
			for j, pattern := range e.Pages {
				add(host, sampleOf(pattern), fmt.Sprintf("[%d].pages[%d]", e.index, j))
			}
		}
	}
	return samples
}

// sampleOf returns a text that a pattern matches.
func sampleOf(pattern string) string {
	for strings.Contains(pattern, "**") {
		pattern = strings.ReplaceAll(pattern, "**", "*")
	}
	return strings.ReplaceAll(pattern, "*", "x")
}

// meeting returns which experiences name a page.
func (c *counter) meeting(page decision.Page) (met []int) {
	for i := range c.exps {
		e := &c.exps[i]
		if e.hosts.Match(page.Host) && e.pages.Match(page.Path) && (len(e.except) == 0 || !e.except.Match(page.Path)) {
			met = append(met, i)
		}
	}
	return met
}

// count returns how many variants the experiences make of a page on which they meet, at
// most, and by what.
func (c *counter) count(met []int) (total int, of string) {
	outcomes := map[string]bool{} // of the segments
	var largest factors
	for _, segment := range append([]string{""}, c.all.Segments...) {
		f := c.factorsFor(met, segment)
		if outcomes[f.outcome] {
			continue
		}
		outcomes[f.outcome] = true
		total = min(total+f.product, mostVariants)
		if f.product > largest.product {
			largest = f
		}
	}
	parts := []string{plural(len(met), "experience", "experiences")}
	if n := len(outcomes); n > 1 {
		parts = append(parts, fmt.Sprintf("%d groups of segments", n))
	}
	if n := largest.experiments; n > 0 {
		parts = append(parts, plural(n, "experiment", "experiments"))
	}
	if n := largest.holdouts; n > 0 {
		parts = append(parts, plural(n, "hold-out", "hold-outs"))
	}
	if n := largest.attributes; n > 0 {
		parts = append(parts, fmt.Sprintf("%s that plugins ask for (taken to have %d values each)", plural(n, "attribute", "attributes"), assumedValues))
	}
	return total, strings.Join(parts, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// factors are what multiplies the variants that one segment's visitors see.
type factors struct {
	product                           int
	experiments, holdouts, attributes int
	outcome                           string // the same for segments that see the same
}

func (c *counter) factorsFor(met []int, segment string) factors {
	f := factors{product: 1}
	times := func(n int) { f.product = min(f.product*n, mostVariants) }
	var shown []int
	bySegment := ""
	splits := make(map[string]map[string]bool) // the arms that see something of their own
	attributes := map[string]bool{}
	for _, i := range met {
		e := &c.exps[i]
		split := c.split(e.Experiment, segment)
		if !e.shows(segment) || e.Experiment != "" && split == nil {
			continue
		}
		shown = append(shown, i)
		if split != nil {
			note(splits, split.Name, e.Arm)
		}
		if e.Holdout > 0 {
			f.holdouts++
			times(2)
		}
		if e.scope.Segment {
			bySegment = segment
		}
		for _, name := range e.scope.Experiments {
			if split := c.split(name, segment); split != nil && name != e.Experiment {
				note(splits, name, split.Arms...)
			}
		}
		for _, name := range e.scope.Attributes {
			attributes[name] = true
		}
	}
	for name, arms := range splits {
		f.experiments++
		n := len(arms)
		if n < len(c.split(name, segment).Arms) {
			n++ // the others see the page without it
		}
		times(n)
	}
	f.attributes = len(attributes)
	for range attributes {
		times(assumedValues)
	}
	f.outcome = fmt.Sprint(shown, f.product, bySegment)
	return f
}

func note(splits map[string]map[string]bool, name string, arms ...string) {
	if splits[name] == nil {
		splits[name] = map[string]bool{}
	}
	for _, arm := range arms {
		splits[name][arm] = true
	}
}

func (e *countedExperience) shows(segment string) bool {
	switch {
	case e.Segment != "":
		return e.Segment == segment
	case len(e.Segments) > 0:
		return slices.Contains(e.Segments, segment)
	}
	return true
}

// split returns an experiment in which the visitors of a segment take part, or nil.
func (c *counter) split(name, segment string) *Split {
	for i := range c.all.Experiments {
		x := &c.all.Experiments[i]
		if x.Name == name && (x.Segment == "" || x.Segment == segment) {
			return x
		}
	}
	return nil
}
