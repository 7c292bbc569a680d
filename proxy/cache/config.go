package cache

import "github.com/sedge-proxy/sedge/decision"

// Defaults of [Config].
const (
	DefaultVariantMemory decision.Size = 64 << 20
	DefaultMaxObject     decision.Size = 1 << 20
	DefaultPageMemory    decision.Size = 64 << 20
)

// Config bounds what is kept of pages. Zero means the default.
type Config struct {
	// Disabled switches the cache off: every personalized page is fetched and
	// rewritten anew.
	Disabled bool `mapstructure:"disabled"`

	// VariantMemory bounds the memory for finished variants of pages; 64MiB by
	// default. It counts keys, headers and bodies.
	VariantMemory decision.Size `mapstructure:"variant_memory"`

	// MaxObject is the largest page that is kept; 1MiB by default.
	MaxObject decision.Size `mapstructure:"max_object"`

	// PageMemory bounds the memory for compiled pages; 64MiB by default. A page of
	// at most 256KiB whose bytes the origin sent before, cacheable or not, is kept
	// with the places of its elements, so that edits are put in without reading it.
	PageMemory decision.Size `mapstructure:"page_memory"`
}

// WithDefaults returns the configuration with every zero value replaced.
func (c Config) WithDefaults() Config {
	if c.VariantMemory == 0 {
		c.VariantMemory = DefaultVariantMemory
	}
	if c.PageMemory == 0 {
		c.PageMemory = DefaultPageMemory
	}
	if c.MaxObject == 0 {
		c.MaxObject = min(DefaultMaxObject, c.VariantMemory/shardCount)
	}
	return c
}

// Validate reports everything that is wrong.
func (c *Config) Validate() decision.Faults {
	var faults decision.Faults
	full := c.WithDefaults()
	if c.VariantMemory != 0 && c.VariantMemory < 1<<20 {
		faults.Add("variant_memory", "%d bytes: expected at least 1MiB (use disabled: true to switch the cache off)", c.VariantMemory)
	}
	if c.PageMemory != 0 && c.PageMemory < 1<<20 {
		faults.Add("page_memory", "%d bytes: expected at least 1MiB (use disabled: true to switch the cache off)", c.PageMemory)
	}
	if c.MaxObject < 0 {
		faults.Add("max_object", "%d: expected a positive size", c.MaxObject)
	}
	if full.VariantMemory >= 1<<20 && full.MaxObject > full.VariantMemory/shardCount {
		faults.Add("max_object", "%d bytes: expected at most a %dth of variant_memory (%d bytes)",
			full.MaxObject, shardCount, full.VariantMemory/shardCount)
	}
	return faults
}
