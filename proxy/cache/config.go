package cache

import "github.com/sedge-proxy/sedge/decision"

// Defaults of [Config].
const (
	DefaultObjectMemory  decision.Size = 128 << 20
	DefaultVariantMemory decision.Size = 64 << 20
	DefaultMaxObject     decision.Size = 4 << 20
	DefaultPageMemory    decision.Size = 64 << 20
)

// Parts of the memory for objects, as divisors: what the largest one may take, and what
// bodies may take that are still on their way.
const (
	largestShare  = 8
	gatheredShare = 4
)

// Config bounds what is kept of the origin's answers. Zero means the default.
type Config struct {
	// Disabled switches the cache off: the origin is asked for each answer, and every
	// personalized page is made anew.
	Disabled bool `mapstructure:"disabled"`

	// ObjectMemory bounds the memory for the origin's answers; 128MiB by default. It
	// counts keys, headers and bodies, and the pages that are compiled from them. Answers
	// that are on their way into it may take up to a quarter of it beside that.
	ObjectMemory decision.Size `mapstructure:"object_memory"`

	// VariantMemory bounds the memory for the variants of kept pages; 64MiB by default.
	// It counts what their edits put into the page, and the packed forms of those that
	// are asked for often. A variant that was dropped is made anew.
	VariantMemory decision.Size `mapstructure:"variant_memory"`

	// MaxObject is the largest body that is kept, in the coding that it came in; 4MiB by
	// default. It may be at most an eighth of object_memory.
	MaxObject decision.Size `mapstructure:"max_object"`

	// PageMemory bounds the memory for compiled pages; 64MiB by default. A page of
	// at most 256KiB whose bytes the origin sent before, cacheable or not, is kept
	// with the places of its elements, so that edits are put in without reading it. A
	// quarter is for the page that came last from each address, which the next one is
	// compared with.
	PageMemory decision.Size `mapstructure:"page_memory"`
}

// WithDefaults returns the configuration with every zero value replaced.
func (c Config) WithDefaults() Config {
	if c.ObjectMemory == 0 {
		c.ObjectMemory = DefaultObjectMemory
	}
	if c.VariantMemory == 0 {
		c.VariantMemory = DefaultVariantMemory
	}
	if c.PageMemory == 0 {
		c.PageMemory = DefaultPageMemory
	}
	if c.MaxObject == 0 {
		c.MaxObject = min(DefaultMaxObject, c.ObjectMemory/largestShare)
	}
	return c
}

// Validate reports everything that is wrong.
func (c *Config) Validate() decision.Faults {
	var faults decision.Faults
	full := c.WithDefaults()
	for _, memory := range []struct {
		name string
		size decision.Size
	}{{"object_memory", c.ObjectMemory}, {"variant_memory", c.VariantMemory}, {"page_memory", c.PageMemory}} {
		if memory.size != 0 && memory.size < 1<<20 {
			faults.Add(memory.name, "%d bytes: expected at least 1MiB (use disabled: true to switch the cache off)", memory.size)
		}
	}
	if c.MaxObject < 0 {
		faults.Add("max_object", "%d: expected a positive size", c.MaxObject)
	}
	if full.ObjectMemory >= 1<<20 && full.MaxObject > full.ObjectMemory/largestShare {
		faults.Add("max_object", "%d bytes: expected at most an eighth of object_memory (%d bytes)",
			full.MaxObject, full.ObjectMemory/largestShare)
	}
	return faults
}
