package event

import (
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// Config is how the event log keeps events.
type Config struct {
	// SegmentSize is the size at which a file of the log is closed and the next
	// one begun. Default 64MiB.
	SegmentSize decision.Size `mapstructure:"segment_size"`

	// FsyncInterval is the longest time for which an event that nobody waits for
	// (a page view from traffic) stays in memory. An event that is acknowledged
	// is always on disk first, together with all others that came meanwhile.
	// Default 25ms.
	FsyncInterval time.Duration `mapstructure:"fsync_interval"`

	// QueueSize bounds the bytes that wait for the disk. Default 16MiB.
	QueueSize decision.Size `mapstructure:"queue_size"`

	// Retention is the age at which a closed file is dropped, once every consumer
	// has read it. 0 keeps files for ever. What is dropped cannot be replayed: a
	// ledger that is rebuilt knows only what the log still holds.
	Retention time.Duration `mapstructure:"retention"`

	// MaxSize drops the oldest closed files beyond this size of the whole log,
	// once every consumer has read them. 0 sets no bound.
	MaxSize decision.Size `mapstructure:"max_size"`
}

// Defaults returns the configuration of a log for which nothing is said: files
// are kept for 90 days and 20 GiB.
func Defaults() Config {
	return Config{Retention: 90 * 24 * time.Hour, MaxSize: 20 << 30}.withDefaults()
}

func (c Config) withDefaults() Config {
	if c.SegmentSize == 0 {
		c.SegmentSize = 64 << 20
	}
	if c.FsyncInterval == 0 {
		c.FsyncInterval = 25 * time.Millisecond
	}
	if c.QueueSize == 0 {
		c.QueueSize = 16 << 20
	}
	return c
}

// Validate reports everything that is wrong with c. Zero values stand for the
// defaults.
func (c Config) Validate() decision.Faults {
	var faults decision.Faults
	if c.SegmentSize != 0 && c.SegmentSize < 4<<10 {
		faults.Add("segment_size", "expected at least 4KiB")
	}
	if c.FsyncInterval < 0 || c.FsyncInterval > time.Second {
		faults.Add("fsync_interval", "expected 0 to 1s, got %s", c.FsyncInterval)
	}
	if c.QueueSize != 0 && c.QueueSize < 2*maxRecord {
		faults.Add("queue_size", "expected at least 1MiB")
	}
	if c.Retention != 0 && c.Retention < 24*time.Hour {
		faults.Add("retention", "expected 24h or more (events are recognized for 24h when they are sent again), or 0 for ever")
	}
	if c.MaxSize != 0 && c.MaxSize < c.withDefaults().SegmentSize {
		faults.Add("max_size", "expected at least one segment_size, or 0 for no bound")
	}
	return faults
}
