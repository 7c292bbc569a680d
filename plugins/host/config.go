package host

import (
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// Config is one plugin of a configuration.
type Config struct {
	// Name is how experiences call the plugin: lower case letters, digits, - and _.
	Name string `mapstructure:"name"`

	// Builtin names a plugin that ships with Sedge. Without Builtin and Command,
	// the built-in plugin called Name is meant.
	Builtin string `mapstructure:"builtin"`

	// Command is a program with its arguments, for all other plugins.
	Command []string `mapstructure:"command"`

	// Env lists what the process may see of the environment: NAME passes Sedge's
	// own value on, NAME=value sets one. Only PATH, HOME and TZ are passed unasked.
	Env []string `mapstructure:"env"`

	// Disabled leaves the plugin out: it is not started, and its experiences count as
	// disabled.
	Disabled bool `mapstructure:"disabled"`

	// InProcess runs a built-in plugin without a process of its own.
	InProcess bool `mapstructure:"in_process"`

	// TLS encrypts the connection to the process with keys of that one start:
	// "on" (default) or "off", for languages whose gRPC cannot.
	TLS string `mapstructure:"tls"`

	// Timeout bounds one call; 1s by default. It may be longer than a page waits:
	// a late answer serves later pages.
	Timeout time.Duration `mapstructure:"timeout"`

	// StartTimeout bounds the start of the process; 10s by default.
	StartTimeout time.Duration `mapstructure:"start_timeout"`

	// MaxConcurrent bounds the calls at a time; 32 by default. More fail at once.
	MaxConcurrent int `mapstructure:"max_concurrent"`

	// BreakerFailures is how many failures in a row open the breaker; 5 by default.
	BreakerFailures int `mapstructure:"breaker_failures"`

	// BreakerPause is for how long the breaker first opens; 1s by default. It
	// doubles with every try that fails, up to 30s.
	BreakerPause time.Duration `mapstructure:"breaker_pause"`
}

func (c Config) withDefaults() Config {
	if c.Builtin == "" && len(c.Command) == 0 {
		c.Builtin = c.Name
	}
	if c.TLS == "" {
		c.TLS = "on"
	}
	setDefault(&c.Timeout, time.Second)
	setDefault(&c.StartTimeout, 10*time.Second)
	setDefault(&c.MaxConcurrent, 32)
	setDefault(&c.BreakerFailures, 5)
	setDefault(&c.BreakerPause, time.Second)
	return c
}

func setDefault[T int | time.Duration](value *T, fallback T) {
	if *value == 0 {
		*value = fallback
	}
}

var (
	pluginName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Validate reports everything that is wrong with the plugins of a configuration
// as far as it shows without starting them. builtins are the names that
// [Options.Builtins] will hold.
func Validate(cfgs []Config, builtins []string) decision.Faults {
	var faults decision.Faults
	seen := make(map[string]bool)
	for i, c := range cfgs {
		at := fmt.Sprintf("[%d]", i)
		if seen[c.Name] {
			faults.Add(at+".name", "the plugin %q is listed twice", c.Name)
		}
		seen[c.Name] = true
		faults.Under(at, c.Validate(builtins))
	}
	return faults
}

// Validate reports everything that is wrong with the plugin, with paths relative to it.
func (c Config) Validate(builtins []string) decision.Faults {
	var faults decision.Faults
	if !pluginName.MatchString(c.Name) {
		faults.Add("name", "found %q, expected 1 to 64 lower case letters, digits, - and _", c.Name)
	}
	c.validateKind(builtins, &faults)
	for i, entry := range c.Env {
		name, _, _ := strings.Cut(entry, "=")
		if !envName.MatchString(name) {
			faults.Add(fmt.Sprintf("env[%d]", i), "expected NAME or NAME=value")
		}
	}
	if c.TLS != "" && c.TLS != "on" && c.TLS != "off" {
		faults.Add("tls", `found %q, expected "on" or "off"`, c.TLS)
	}
	c.validateBounds(&faults)
	return faults
}

func (c Config) validateKind(builtins []string, faults *decision.Faults) {
	named := c.withDefaults().Builtin
	switch {
	case c.Builtin != "" && len(c.Command) > 0:
		faults.Add("command", "a plugin has either builtin or command")
	case len(c.Command) > 0 && c.Command[0] == "":
		faults.Add("command", "the program's name is empty")
	case len(c.Command) > 0 && c.InProcess:
		faults.Add("in_process", "only a built-in plugin can run in Sedge's own process")
	case named != "" && !slices.Contains(builtins, named) && c.Builtin == "":
		faults.Add("command", "missing: %q is no built-in plugin (those are %s)", named, strings.Join(builtins, ", "))
	case named != "" && !slices.Contains(builtins, named):
		faults.Add("builtin", "found %q, expected one of %s", named, strings.Join(builtins, ", "))
	}
}

func (c Config) validateBounds(faults *decision.Faults) {
	for _, d := range [...]struct {
		path  string
		value time.Duration
	}{{"timeout", c.Timeout}, {"start_timeout", c.StartTimeout}, {"breaker_pause", c.BreakerPause}} {
		if d.value < 0 || d.value > 5*time.Minute {
			faults.Add(d.path, "found %s, expected up to 5m", d.value)
		}
	}
	if c.MaxConcurrent < 0 || c.MaxConcurrent > 256 {
		faults.Add("max_concurrent", "found %d, expected 1 to 256", c.MaxConcurrent)
	}
	if c.BreakerFailures < 0 {
		faults.Add("breaker_failures", "found %d, expected 1 or more", c.BreakerFailures)
	}
}

// same reports whether a process of c can go on serving d.
func (c Config) same(d Config) bool { return reflect.DeepEqual(c, d) }

// fingerprint tells apart two builds of the same program, so that a reload takes
// up a new one. It is "" for a built-in plugin.
func (c Config) fingerprint() string {
	if len(c.Command) == 0 {
		return ""
	}
	path, err := exec.LookPath(c.Command[0])
	if err != nil {
		return "?"
	}
	info, err := os.Stat(path)
	if err != nil {
		return "?"
	}
	return fmt.Sprint(path, info.Size(), info.ModTime().UnixNano())
}

// environment is what the process sees: little, because the rest may be secret.
func (c Config) environment(lookup func(string) (string, bool)) []string {
	var env []string
	pass := func(name string) {
		if value, ok := lookup(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range []string{"PATH", "HOME", "TZ"} {
		pass(name)
	}
	for _, entry := range c.Env {
		if strings.Contains(entry, "=") {
			env = append(env, entry)
		} else {
			pass(entry)
		}
	}
	return env
}
