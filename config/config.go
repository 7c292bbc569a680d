// Package config turns a YAML file into validated values.
//
// The file is read three times over, each time for what that reading does best.
// The YAML nodes give every value its place, and free-form blocks (the settings of
// plugins) as they were written. A comparison with the Go types finds unknown keys
// and values of the wrong kind, all at once. Viper then overlays environment and
// flags and fills the types; nobody asks it afterwards.
//
// What the values mean is the business of the packages that own them: each checks
// its own part and says what is wrong as [decision.Faults]; this package adds what
// concerns several of them, such as an experience that names a segment, and
// reports everything as file:line:column.
package config

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"

	"github.com/sedge-proxy/sedge/dashboard"
	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/experiment"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/plugins/host"
	"github.com/sedge-proxy/sedge/plugins/plan"
	"github.com/sedge-proxy/sedge/profile"
	"github.com/sedge-proxy/sedge/proxy"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/segmenter"
	"github.com/sedge-proxy/sedge/visitor"
)

// Config is a whole configuration. Load returns it complete and checked; nobody
// changes it afterwards.
type Config struct {
	Server      proxy.Config        `mapstructure:"server"`
	Admin       dashboard.Config    `mapstructure:"admin"`
	Upstreams   []upstream.Config   `mapstructure:"upstreams"`
	Routes      []proxy.Route       `mapstructure:"routes"`
	Visitor     visitor.Config      `mapstructure:"visitor"`
	Profile     profile.Config      `mapstructure:"profile"`
	Segments    []segmenter.Segment `mapstructure:"segments"`
	Scores      []segmenter.Score   `mapstructure:"scores"`
	Plugins     []host.Config       `mapstructure:"plugins"`
	Experiences []plan.Experience   `mapstructure:"experiences"`
	Experiments []experiment.Config `mapstructure:"experiments"`
	Goals       []kpi.Goal          `mapstructure:"goals"`
	Events      event.Config        `mapstructure:"events"`
	Cache       cache.Config        `mapstructure:"cache"`

	source   *source
	problems Problems // that came with it
}

const defaultDataDir = "./sedge-data"

// Options are what a reading needs besides the file.
type Options struct {
	// Overrides are values by their path in the file, from flags. The environment
	// (SEDGE_SERVER_LISTEN for server.listen) stands between them and the file.
	Overrides map[string]string

	// Builtins are the names of the plugins that ship with Sedge.
	Builtins []string
}

// Load reads and checks a configuration file. Everything that is wrong with the
// file comes back as [Problems]. With them comes what could be read all the same,
// for whoever looks for more that is wrong, or for a running node that read the file
// when it was right; it must not be served. It is nil where there is no file.
func Load(file string, o Options) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(file, text, o)
}

// Parse is Load for a text that stands in no file; file names it in problems.
func Parse(file string, text []byte, o Options) (*Config, error) {
	source, problems := parseSource(file, text)
	problems = append(problems, checkShape(source, reflect.TypeFor[Config]())...)
	overlay, wrong := source.overlay(o.Overrides)
	problems = append(problems, wrong...)
	cfg := &Config{
		Server: proxy.Config{DataDir: defaultDataDir},
		Admin:  dashboard.DefaultConfig(),
		Events: event.Defaults(),
		source: source,
	}
	if err := decode(source, cfg, overlay); err != nil {
		return nil, err
	}
	if source.unread {
		cfg.problems = problems
		return cfg, problems.err()
	}
	problems = append(problems, cfg.fillFreeform()...)
	cfg.addContentPlugin()
	for _, fault := range cfg.validate(o.Builtins) {
		if !source.doubtful(fault.Path) {
			problems = append(problems, source.locate(fault))
		}
	}
	cfg.nameRoutes()
	cfg.problems = problems
	return cfg, problems.err()
}

// nameRoutes gives the routes without a name that of their upstream.
func (c *Config) nameRoutes() {
	for i := range c.Routes {
		c.Routes[i].Name = nameOf(&c.Routes[i])
	}
}

func nameOf(r *proxy.Route) string { return cmp.Or(r.Name, r.Upstream) }

// Faulty reports whether something is wrong at the path, below it or around it.
func (c *Config) Faulty(path string) bool {
	if c.source.doubtful(path) {
		return true
	}
	for _, p := range c.problems {
		if p.Path == path || below(p.Path, path) {
			return true
		}
	}
	return false
}

// addContentPlugin lists the plugin that an experience's edits are shorthand for.
func (c *Config) addContentPlugin() {
	listed := slices.ContainsFunc(c.Plugins, func(p host.Config) bool { return p.Name == plan.Content })
	used := slices.ContainsFunc(c.Experiences, func(e plan.Experience) bool { return len(e.Edits) > 0 })
	if used && !listed {
		c.Plugins = append(c.Plugins, host.Config{Name: plan.Content})
	}
}

// fillFreeform takes the free-form blocks from the YAML nodes, where their keys
// still are as they were written.
func (c *Config) fillFreeform() (problems Problems) {
	for i := range c.Experiences {
		path := "experiences[" + strconv.Itoa(i) + "].settings"
		settings, err := c.source.jsonOf(path)
		if err != nil {
			problems = append(problems, c.source.locate(decision.Fault{Path: path, Message: err.Error()}))
		}
		c.Experiences[i].Settings = settings
		for j := range c.Experiences[i].Edits {
			path := at(at("experiences", i)+".edits", j) + ".json"
			value, err := c.source.writtenJSON(path)
			if err != nil {
				problems = append(problems, c.source.locate(decision.Fault{Path: path, Message: err.Error()}))
			}
			c.Experiences[i].Edits[j].JSON = value
		}
	}
	return problems
}

// Problems gives faults of this configuration their places in the file. Those that
// came with it when it was loaded are among them.
func (c *Config) Problems(faults decision.Faults) Problems {
	problems := slices.Clone(c.problems)
	for _, fault := range faults {
		problems = append(problems, c.source.locate(fault))
	}
	return problems.sorted()
}

// Rules are the segments and scores as the segmenter takes them.
func (c *Config) Rules() segmenter.Config {
	return segmenter.Config{Segments: c.Segments, Scores: c.Scores}
}

// SameText reports whether two configurations were read from the same bytes.
func (c *Config) SameText(d *Config) bool { return c.source.digest == d.source.digest }

// File is the name of the file that was read.
func (c *Config) File() string { return c.source.file }
