// Package experiment puts visitors into the arms of experiments and hold-outs.
//
// An assignment is computed and never stored: the hash of the experiment's seed
// and a unit id (the visitor's id) is a place on [0, 1), and each arm has a range
// there. The same visitor is therefore in the same arm on every node, in the
// browser (the hash is GrowthBook's version 2) and after a restart; visitors are in
// the arms of different experiments independently of each other, because seeds
// differ.
//
// A hold-out is the implicit experiment that an experience with a share has: it
// has the arms "held-out" and "treated", and seeds of its own.
//
// What the arms are worth is computed in package stats below this one.
package experiment

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/sedge-proxy/sedge/decision"
)

// Bounds of a configuration.
const (
	MaxExperiments = 200
	MaxArms        = 20
	maxName        = 100
)

// holdoutSeed starts the seeds of hold-outs; no experiment may use it, so that
// being held out of one experience says nothing about an arm.
const holdoutSeed = "holdout:"

// Config is one experiment.
type Config struct {
	// Name is how experiences and reports call the experiment.
	Name string `mapstructure:"name"`

	// Segment restricts the experiment to visitors whose primary segment it is;
	// empty means everyone.
	Segment string `mapstructure:"segment"`

	// Arms are what visitors are shared out to, at least two.
	Arms []Arm `mapstructure:"arms"`

	// Traffic is the share of visitors who take part; 1 by default. Raising it
	// moves nobody from one arm to another.
	Traffic decision.Share `mapstructure:"traffic"`

	// Seed of the hash; the name by default. A new seed shares visitors out afresh.
	Seed string `mapstructure:"seed"`
}

// Arm is one of the alternatives of an experiment.
type Arm struct {
	// Name is how experiences and reports call the arm.
	Name string `mapstructure:"name"`

	// Weight is the arm's part relative to the sum of all weights; arms that
	// state none are alike.
	Weight float64 `mapstructure:"weight"`
}

// Holdout keeps an experience from a share of its visitors. An experience for
// several segments has one for each; a visitor is held out in all or none.
type Holdout struct {
	Experience string
	Segment    string         // primary segment, "" for everyone
	Share      decision.Share // held out, from 0 (no hold-out) to 1
}

// Experiments are compiled; they are immutable and safe for concurrent use.
type Experiments struct {
	experiments []experiment
	holdouts    []holdout
}

type experiment struct {
	name, segment, seed string
	arms                []Arm // weights sum to 1
	ranges              []bucketRange
}

type holdout struct {
	experience, segment, seed string
	share                     float64
}

// Compile compiles experiments and hold-outs. Paths of faults are relative to
// the list of experiments, as in "[0].arms"; a hold-out's path starts with
// "holdouts[0]".
func Compile(cfgs []Config, holdouts []Holdout) (*Experiments, decision.Faults) {
	var faults decision.Faults
	if len(cfgs) > MaxExperiments {
		faults.Add("", "%d experiments, at most %d are possible", len(cfgs), MaxExperiments)
	}
	x := new(Experiments)
	names, seeds := make(map[string]bool), make(map[string]string)
	for i, c := range cfgs {
		path := fmt.Sprintf("[%d]", i)
		checkName(path+".name", c.Name, names, &faults)
		x.experiments = append(x.experiments, compileOne(path, c, seeds, &faults))
	}
	x.compileHoldouts(holdouts, names, &faults)
	if len(faults) > 0 {
		return nil, faults
	}
	return x, nil
}

func compileOne(path string, c Config, seeds map[string]string, faults *decision.Faults) experiment {
	seed, coverage := c.Seed, float64(c.Traffic)
	if seed == "" {
		seed = c.Name
	}
	if strings.HasPrefix(seed, holdoutSeed) {
		faults.Add(path+".seed", "seed %q: seeds that start with %q belong to hold-outs", seed, holdoutSeed)
	}
	if other, taken := seeds[seed]; taken && other != c.Name {
		faults.Add(path+".seed", "seed %q is also that of experiment %q: their arms would hold the same visitors", seed, other)
	}
	seeds[seed] = c.Name
	if coverage == 0 {
		coverage = 1
	}
	if !(coverage > 0 && coverage <= 1) {
		faults.Add(path+".traffic", "expected a share above 0%% and up to 100%%")
	}
	arms := normalized(path+".arms", c.Arms, faults)
	weights := make([]float64, len(arms))
	for i := range arms {
		weights[i] = arms[i].Weight
	}
	return experiment{name: c.Name, segment: c.Segment, seed: seed, arms: arms, ranges: bucketRanges(coverage, weights)}
}

// normalized checks arms and scales their weights to a sum of 1.
func normalized(path string, arms []Arm, faults *decision.Faults) []Arm {
	if len(arms) < 2 || len(arms) > MaxArms {
		faults.Add(path, "%d arms: expected 2 to %d", len(arms), MaxArms)
		return nil
	}
	names := make(map[string]bool)
	sum, stated := 0.0, 0
	for i, arm := range arms {
		checkName(fmt.Sprintf("%s[%d].name", path, i), arm.Name, names, faults)
		if !(arm.Weight >= 0 && arm.Weight <= 1e9) {
			faults.Add(fmt.Sprintf("%s[%d].weight", path, i), "expected a number from 0 to 10^9")
			return nil
		}
		sum += arm.Weight
		if arm.Weight > 0 {
			stated++
		}
	}
	if stated == 1 {
		faults.Add(path, "only one arm has a weight: expected a weight for each arm that takes visitors, or for none")
	}
	own := slices.Clone(arms)
	for i := range own {
		if stated == 0 {
			own[i].Weight = 1 / float64(len(own))
		} else {
			own[i].Weight /= sum
		}
	}
	return own
}

func (x *Experiments) compileHoldouts(holdouts []Holdout, experiments map[string]bool, faults *decision.Faults) {
	seen, shares := make(map[[2]string]bool), make(map[string]float64)
	for i, h := range holdouts {
		path := fmt.Sprintf("holdouts[%d]", i)
		share := float64(h.Share)
		key := [2]string{h.Experience, h.Segment}
		switch {
		case math.IsNaN(share) || share < 0 || share > 1:
			faults.Add(path, "experience %q: expected a share from 0%% to 100%%", h.Experience)
		case h.Experience == "" || seen[key]:
			faults.Add(path, "experience %q: expected one hold-out for an experience and segment", h.Experience)
		case experiments[h.Experience]:
			faults.Add(path, "experience %q has a hold-out and the name of an experiment: reports could not tell them apart", h.Experience)
		case shares[h.Experience] != 0 && shares[h.Experience] != share:
			faults.Add(path, "experience %q: expected the same share for all of its segments", h.Experience)
		case share > 0:
			shares[h.Experience] = share
			x.holdouts = append(x.holdouts, holdout{h.Experience, h.Segment, holdoutSeed + h.Experience, share})
		}
		seen[key] = true
	}
}

func checkName(path, name string, seen map[string]bool, faults *decision.Faults) {
	switch {
	case name == "":
		faults.Add(path, "expected a name")
	case len(name) > maxName || name != strings.TrimSpace(name) || strings.ContainsFunc(name, unicode.IsControl):
		faults.Add(path, "name %q: expected up to %d characters, without blanks around", name, maxName)
	case seen[name]:
		faults.Add(path, "name %q is used twice", name)
	}
	seen[name] = true
}

// Assign appends the arms that a unit (a visitor's id) is in while segment is
// its primary segment: experiments first, then hold-outs, in the order of the
// configuration. A unit outside an experiment's traffic or segment is in none of
// its arms; the unit "" is in none at all.
func (x *Experiments) Assign(dst []decision.Assignment, unit, segment string) []decision.Assignment {
	if unit == "" {
		return dst
	}
	for i := range x.experiments {
		e := &x.experiments[i]
		if e.segment != "" && e.segment != segment {
			continue
		}
		if arm := e.arm(Hash(e.seed, unit)); arm >= 0 {
			dst = append(dst, decision.Assignment{Experiment: e.name, Arm: e.arms[arm].Name})
		}
	}
	for i := range x.holdouts {
		h := &x.holdouts[i]
		if h.segment != "" && h.segment != segment {
			continue
		}
		arm := decision.ArmTreated
		if Hash(h.seed, unit) < h.share {
			arm = decision.ArmHeldOut
		}
		dst = append(dst, decision.Assignment{Experiment: h.experience, Arm: arm, Holdout: true})
	}
	return dst
}

// arm returns the arm whose range holds a place, or -1.
func (e *experiment) arm(place float64) int {
	return slices.IndexFunc(e.ranges, func(r bucketRange) bool { return r.holds(place) })
}

// Arms returns the arms of an experiment in the order of the configuration, with
// weights that sum to 1, or of an experience's hold-out.
func (x *Experiments) Arms(name string) ([]Arm, bool) {
	for i := range x.experiments {
		if x.experiments[i].name == name {
			return slices.Clone(x.experiments[i].arms), true
		}
	}
	for i := range x.holdouts {
		if h := &x.holdouts[i]; h.experience == name {
			return []Arm{{decision.ArmHeldOut, h.share}, {decision.ArmTreated, 1 - h.share}}, true
		}
	}
	return nil, false
}

// IsHoldout reports whether a name that [Experiments.Arms] knows is that of an
// experience with a hold-out.
func (x *Experiments) IsHoldout(name string) bool {
	return slices.ContainsFunc(x.holdouts, func(h holdout) bool { return h.experience == name })
}

// Names returns the names of all experiments, then of all experiences with a
// hold-out.
func (x *Experiments) Names() []string {
	var names []string
	for i := range x.experiments {
		names = append(names, x.experiments[i].name)
	}
	for i := range x.holdouts {
		if name := x.holdouts[i].experience; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
