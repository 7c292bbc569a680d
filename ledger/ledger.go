// Package ledger makes accepted events count, once.
//
// [Intake] takes events in: it resolves goals, recognizes what was sent before,
// appends to the log and shows the event in the profile in memory. [Ledger]
// follows the log and writes what events add up to (profiles, rows, sums) into
// one bbolt file, together with the offset up to which it has read, in one
// transaction. A crash at any moment leaves file and offset in agreement: what
// is not in it yet is read again from the log, and nothing is read twice.
//
// The promise is per disk: a lost disk loses what was on it. Without the file,
// the ledger rebuilds it from what the log still holds.
package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/profile"
	"github.com/sedge-proxy/sedge/profile/bolt"
)

// FileName is the name of the database in the data directory.
const FileName = "sedge.db"

const schemaVersion = 1

var (
	metaBucket   = []byte("meta")
	rowsBucket   = []byte("rows")
	totalsBucket = []byte("totals")

	offsetKey  = []byte("offset")
	versionKey = []byte("version")
)

// Config is how the ledger writes.
type Config struct {
	// BatchEvents is the most events that one transaction applies. Default 30000.
	BatchEvents int `mapstructure:"batch_events"`

	// BatchInterval is how long events come together for one transaction at least.
	// Default 50ms. What takes longer to apply comes together for longer, up to a second.
	BatchInterval time.Duration `mapstructure:"batch_interval"`
}

func (c Config) withDefaults() Config {
	if c.BatchEvents == 0 {
		c.BatchEvents = 30_000
	}
	if c.BatchInterval == 0 {
		c.BatchInterval = 50 * time.Millisecond
	}
	return c
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() decision.Faults {
	var faults decision.Faults
	if c.BatchEvents < 0 || c.BatchEvents > 100_000 {
		faults.Add("batch_events", "expected 1 to 100000, got %d", c.BatchEvents)
	}
	if c.BatchInterval < 0 || c.BatchInterval > time.Second {
		faults.Add("batch_interval", "expected 0 to 1s, got %s", c.BatchInterval)
	}
	return faults
}

// Ledger follows the log and keeps what events add up to.
type Ledger struct {
	db       *database
	log      *event.Log
	consumer *event.Consumer
	cfg      Config
	now      func() time.Time
	logger   *slog.Logger

	applying sync.Mutex    // one batch at a time
	batch    []event.Event // room for it
	offset   atomic.Int64
	took     atomic.Int64  // nanoseconds, for the last batch
	hurry    chan struct{} // somebody waits for the next batch
	live     atomic.Pointer[profile.Live]

	batches, events, failures atomic.Int64
	failure                   atomic.Pointer[string]
}

// Stats is what there is to know about a ledger.
type Stats struct {
	Offset   event.Offset // everything before it is written
	Lag      int64        // bytes of durable events that are not written yet
	Batches  int64        // since start, like the following
	Events   int64
	Failures int64
	Failure  string // of the last attempt, "" when all is well
	Bytes    int64  // size of the file
}

// Open opens the database in dir, or makes it. The error for a file that
// another process uses, or that is damaged, says what to do.
func Open(dir string, log *event.Log, cfg Config, now func() time.Time, logger *slog.Logger) (*Ledger, error) {
	if err := cfg.Validate().Err(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	db, err := openDatabase(filepath.Join(dir, FileName), false)
	if err != nil {
		return nil, err
	}
	l := &Ledger{db: db, log: log, cfg: cfg.withDefaults(), now: now, logger: logger, hurry: make(chan struct{}, 1)}
	if err := l.start(); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return l, nil
}

func (l *Ledger) start() error {
	fresh := false
	err := l.db.update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		fresh = meta.Get(versionKey) == nil
		if fresh {
			return create(tx, meta)
		}
		if v := number(meta.Get(versionKey)); v != schemaVersion {
			return fmt.Errorf("schema version %d instead of %d: %w", v, schemaVersion, errStructure)
		}
		l.offset.Store(int64(number(meta.Get(offsetKey))))
		return nil
	})
	if err != nil {
		return err
	}
	off, stats := event.Offset(l.offset.Load()), l.log.Stats()
	switch {
	case fresh && stats.Durable > stats.First:
		l.logger.Warn("the ledger is new: rebuilding profiles and sums from the event log; what the log's retention has dropped stays unknown",
			"from", stats.First, "to", stats.Durable)
	case off > stats.Durable:
		l.logger.Error("the event log ends before the place up to which the ledger has read it; events were lost with the log, their sums were not",
			"log_end", stats.Durable, "ledger", off)
		if err := l.log.Advance(off); err != nil {
			return err
		}
	}
	if off < stats.First {
		if !fresh {
			l.logger.Error("the event log has dropped events that the ledger had not read", "from", off, "to", stats.First)
		}
		l.offset.Store(int64(stats.First))
	}
	l.consumer = l.log.Register("ledger", event.Offset(l.offset.Load()))
	return nil
}

func create(tx *bbolt.Tx, meta *bbolt.Bucket) error {
	for _, name := range [][]byte{rowsBucket, totalsBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if err := bolt.Create(tx); err != nil {
		return err
	}
	return errors.Join(meta.Put(offsetKey, encodeNumber(0)), meta.Put(versionKey, encodeNumber(schemaVersion)))
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func encodeNumber(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// Tell makes the ledger report every write to live.
func (l *Ledger) Tell(live *profile.Live) {
	l.live.Store(live)
	live.Flushed(event.Offset(l.offset.Load()))
}

// CatchUp applies everything that is in the log at this moment, what still waits
// for the disk included. It runs before the node serves, and again when it stops,
// so that a report from its files misses nothing. When the disk does not take
// what waits, the rest is applied, and the error returned.
func (l *Ledger) CatchUp(ctx context.Context) error {
	waiting := l.log.Flush(ctx)
	if err := l.settle(ctx); err != nil {
		return err
	}
	if waiting != nil {
		return fmt.Errorf("catch up with the event log: %w", waiting)
	}
	return nil
}

// Await makes [Ledger.Run] apply everything that is durable at this moment without a rest,
// and waits until it has. It does not write itself, so that a disk that hangs holds nobody
// for longer than ctx, whose end is the only error.
func (l *Ledger) Await(ctx context.Context) error {
	end := l.log.Stats().Durable
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.Offset() < end {
		select {
		case l.hurry <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

func (l *Ledger) settle(ctx context.Context) error {
	end := l.log.Stats().Durable
	for event.Offset(l.offset.Load()) < end {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := l.step(); err != nil {
			return fmt.Errorf("catch up with the event log: %w", err)
		}
	}
	return nil
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second

	// busyLag is the number of waiting bytes from which on a batch is full
	// enough to begin at once.
	busyLag = 4 << 20

	// Visitors who come again share a transaction, and those who do not share its pages.
	// So the ledger rests for rest times as long as the last one took, at most longestRest:
	// it takes about a tenth of a core, and less for each event the more there are.
	rest        = 9
	longestRest = time.Second
)

// Run follows the log until ctx ends or the log is closed, and returns nil then.
// A write that fails is repeated until it succeeds; the error of a damaged file
// is returned.
func (l *Ledger) Run(ctx context.Context) error {
	retry := firstRetry
	for {
		if err := l.wait(ctx); err != nil {
			return nil
		}
		err := l.step()
		switch {
		case err == nil:
			if retry != firstRetry {
				l.logger.Warn("the ledger can be written again")
			}
			retry = firstRetry
			continue
		case errors.Is(err, ErrDamaged):
			return err
		case retry == firstRetry:
			l.logger.Error("the ledger cannot be written; trying until it can, events wait in the log", "error", err)
		}
		if !sleep(ctx, retry, nil) {
			return nil
		}
		retry = min(2*retry, lastRetry)
	}
}

// wait returns when there is something to apply, and enough of it or long enough.
func (l *Ledger) wait(ctx context.Context) error {
	from := event.Offset(l.offset.Load())
	if err := l.log.Wait(ctx, from); err != nil {
		return err
	}
	if l.log.Stats().Durable-from < busyLag && !sleep(ctx, l.pause(), l.hurry) {
		return ctx.Err()
	}
	return nil
}

// pause is how long events come together for the next batch.
func (l *Ledger) pause() time.Duration {
	return max(l.cfg.BatchInterval, min(rest*time.Duration(l.took.Load()), longestRest))
}

// sleep waits, for less if it is told to hurry, and reports whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration, hurry <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-hurry:
		return true
	case <-ctx.Done():
		return false
	}
}

// step applies one batch.
func (l *Ledger) step() error {
	l.applying.Lock()
	defer l.applying.Unlock()
	began := l.now()
	defer func() { l.took.Store(int64(l.now().Sub(began))) }()
	from := event.Offset(l.offset.Load())
	events, next, err := l.log.Read(l.batch[:0], from, l.cfg.BatchEvents)
	l.batch = events
	defer clear(events) // visitors' data is not kept for longer than it is needed
	if err == nil && next != from {
		err = l.db.update(func(tx *bbolt.Tx) error { return apply(tx, events, next) })
	}
	if err != nil {
		l.failures.Add(1)
		text := err.Error()
		l.failure.Store(&text)
		return err
	}
	l.failure.Store(nil)
	if next == from {
		return nil
	}
	l.offset.Store(int64(next))
	l.batches.Add(1)
	l.events.Add(int64(len(events)))
	l.consumer.Advance(next)
	if live := l.live.Load(); live != nil {
		live.Flushed(next)
	}
	return nil
}

// Offset returns the place in the log up to which everything is written.
func (l *Ledger) Offset() event.Offset { return event.Offset(l.offset.Load()) }

// Stats returns what there is to know about the ledger.
func (l *Ledger) Stats() Stats {
	s := Stats{
		Offset: l.Offset(), Batches: l.batches.Load(), Events: l.events.Load(), Failures: l.failures.Load(),
		Bytes: l.db.size(),
	}
	s.Lag = max(0, int64(l.log.Stats().Durable-s.Offset))
	if text := l.failure.Load(); text != nil {
		s.Failure = *text
	}
	return s
}

// Profiles returns the store of profiles.
func (l *Ledger) Profiles() profile.Store { return store{l.db} }

// Summary returns the sums for reports, up to the ledger's offset.
func (l *Ledger) Summary(ctx context.Context) (kpi.Summary, error) { return l.db.summary(ctx) }

// Close closes the file. Run must have ended.
func (l *Ledger) Close() error {
	l.applying.Lock()
	defer l.applying.Unlock()
	l.consumer.Close()
	return l.db.close()
}

// Reader reads the ledger's file of a node that does not run.
type Reader struct{ db *database }

// OpenReadOnly opens the database in dir for reading. It reads what the ledger
// has written; events that are only in the log are not in it. The error for a
// directory that a node uses says so.
func OpenReadOnly(dir string) (*Reader, error) {
	db, err := openDatabase(filepath.Join(dir, FileName), true)
	if err != nil {
		return nil, err
	}
	return &Reader{db}, nil
}

// Profiles returns the store of profiles.
func (r *Reader) Profiles() profile.Store { return store{r.db} }

// Summary returns the sums for reports.
func (r *Reader) Summary(ctx context.Context) (kpi.Summary, error) { return r.db.summary(ctx) }

// Close closes the file.
func (r *Reader) Close() error { return r.db.close() }

// store is the [profile.Store] in the database.
type store struct{ db *database }

// Load implements [profile.Store].
func (s store) Load(ctx context.Context, id string) (state *profile.State, asOf event.Offset, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, context.Cause(ctx)
	}
	err = s.db.view(func(tx *bbolt.Tx) error {
		if meta := tx.Bucket(metaBucket); meta != nil {
			asOf = event.Offset(number(meta.Get(offsetKey)))
		}
		state, err = bolt.Get(tx, id)
		return err
	})
	return state, asOf, err
}
