package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Offset is a position in the log, in bytes since its very beginning. It stays
// true when old files are dropped.
type Offset int64

// ErrBusy says that more events wait for the disk than the queue may hold. The
// caller should try again later.
var ErrBusy = errors.New("event log is busy")

// ErrClosed says that the log is closed.
var ErrClosed = errors.New("event log is closed")

// Log is the durable log of events: files of records in one directory, written
// by one goroutine and read by any number of consumers. All methods may be
// called at any time from any goroutine.
//
// Events wait in a bounded queue. The writer takes all that wait, writes them
// and calls fsync once; only then are they durable, can be read and are
// acknowledged. When the disk fails, what waits keeps waiting and is written
// when the disk is back; until then nothing is acknowledged.
type Log struct {
	dir    string
	cfg    Config
	now    func() time.Time
	logger *slog.Logger
	open   func(path string) (segmentFile, error)
	lock   *os.File

	mu        sync.Mutex
	pending   []byte        // records that wait
	inflight  int           // bytes that are being written
	tail      Offset        // behind the last record that was queued
	durable   Offset        // behind the last record that is durable
	wanted    Offset        // somebody waits until this is durable
	failure   error         // why the last attempt to write failed, nil when it did not
	closed    bool          // no further records
	stopped   bool          // the writer has ended
	changed   chan struct{} // closed when durable, failure or stopped change
	segments  []*segment    // by base; the last one is written to
	consumers map[*Consumer]Offset
	damaged   map[Offset]int64 // bytes of damage that were met, by where it begins
	dropped   int64            // files dropped by retention
	held      Offset           // 1 + base of the file of which it was said that a consumer holds it

	windows  sync.Pool // *[]byte of windowSize
	decoders sync.Pool // *recordDecoder

	kick  chan struct{} // the writer has something to do
	hurry chan struct{} // somebody waits for the writer
	file  segmentFile   // owned by the writer
}

// Stats is what there is to know about a log.
type Stats struct {
	First        Offset // of the oldest record kept
	Durable      Offset // everything before it is on disk
	Queued       int    // bytes that wait for the disk
	Bytes        int64  // on disk
	Files        int
	DroppedFiles int64 // by retention, since start
	Damaged      int64 // places that hold no valid record and were skipped, since start
	Failure      error // of the last attempt to write, nil when all is well
}

// OpenLog opens the log in dir, which is made if it is missing. A tail that a
// crash tore is copied aside, cut off and reported. The error of a directory
// that another process uses says so.
func OpenLog(dir string, cfg Config, now func() time.Time, logger *slog.Logger) (*Log, error) {
	return openLog(dir, cfg, now, logger, openSegment)
}

func openLog(dir string, cfg Config, now func() time.Time, logger *slog.Logger,
	open func(string) (segmentFile, error)) (*Log, error) {
	if err := cfg.Validate().Err(); err != nil {
		return nil, fmt.Errorf("open event log %q: %w", dir, err)
	}
	l := &Log{
		dir: dir, cfg: cfg.withDefaults(), now: now, logger: logger, open: open,
		changed: make(chan struct{}), consumers: make(map[*Consumer]Offset),
		damaged: make(map[Offset]int64),
		kick:    make(chan struct{}, 1), hurry: make(chan struct{}, 1),
	}
	l.decoders.New = func() any { return &recordDecoder{logger: logger} }
	l.windows.New = func() any {
		b := make([]byte, windowSize)
		return &b
	}
	if err := l.start(); err != nil {
		if l.file != nil {
			l.file.Close()
		}
		if l.lock != nil {
			l.lock.Close()
		}
		return nil, fmt.Errorf("open event log %q: %w", dir, err)
	}
	go l.write()
	return l, nil
}

func (l *Log) start() (err error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	l.lock, err = os.OpenFile(filepath.Join(l.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := l.takeLock(); err != nil {
		return fmt.Errorf("another sedge is using %s: %w", filepath.Dir(l.dir), err)
	}
	if l.segments, err = listSegments(l.dir); err != nil {
		return err
	}
	if len(l.segments) == 0 {
		return l.begin(0)
	}
	return l.resume()
}

// lockTries, lockPause apart, are made for the lock: a process that was killed
// while it waited for the disk holds it until the disk has answered, and whoever
// starts the next one has often not waited for that.
const (
	lockTries = 50
	lockPause = 20 * time.Millisecond
)

func (l *Log) takeLock() (err error) {
	for range lockTries {
		if err = lockFile(l.lock); err == nil {
			return nil
		}
		<-time.After(lockPause)
	}
	return err
}

// begin starts a new file whose first record has the given offset.
func (l *Log) begin(base Offset) error {
	path := segmentPath(l.dir, base)
	file, err := l.open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(0), syncDir(l.dir)); err != nil {
		file.Close()
		os.Remove(path)
		return err
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file = file
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, &segment{base: base, last: l.now(), path: path})
	l.tail, l.durable = max(l.tail, base), max(l.durable, base)
	return nil
}

// resume goes on with the last file, behind its last valid record.
func (l *Log) resume() error {
	s := l.segments[len(l.segments)-1]
	file, err := l.open(s.path)
	if err != nil {
		return err
	}
	l.file = file
	tail, damaged, err := tailOf(file, s.size)
	if err != nil {
		return err
	}
	if damaged > 0 {
		l.logger.Error("event log holds damaged records, which will be skipped", "file", s.path, "bytes", damaged)
	}
	// A process that was killed between write and fsync leaves records that only
	// the kernel holds. From here on they count as durable, also to a client that
	// sends one of them again.
	if err := errors.Join(file.Sync(), syncDir(l.dir)); err != nil {
		return fmt.Errorf("make the end of %q durable: %w", s.path, err)
	}
	if tail == s.size {
		l.tail, l.durable = s.end(), s.end()
		return nil
	}
	torn := s.size - tail
	side, err := setAside(file, tail, s.size, s.path, l.now())
	if err != nil {
		// A full disk must not keep the site from starting: leave the bytes
		// where they are and go on in a new file behind them.
		l.logger.Error("event log has a torn tail that cannot be copied aside; leaving it in its place",
			"file", s.path, "offset", tail, "bytes", torn, "error", err)
		l.tail, l.durable = s.end(), s.end()
		return l.begin(s.end())
	}
	if err := errors.Join(file.Truncate(tail), file.Sync()); err != nil {
		return fmt.Errorf("cut torn tail of %q: %w", s.path, err)
	}
	s.size = tail
	l.tail, l.durable = s.end(), s.end()
	l.logger.Error("event log had a torn tail, which was cut off: the process or the machine stopped while it was written",
		"file", s.path, "offset", tail, "bytes", torn, "copy", side)
	return nil
}

// Append queues one event and returns the offset behind it. The event is not
// durable before [Log.Commit] of that offset returns nil. ErrBusy means that the
// queue is full and nothing was queued.
func (l *Log) Append(e *Event) (Offset, error) {
	var b Batch
	if err := b.Add(e); err != nil {
		return 0, err
	}
	ends, err := l.AppendBatch(&b, []int{0})
	if err != nil {
		return 0, err
	}
	return ends[0], nil
}

// AppendBatch queues the events of b at the given indexes, all of them or none,
// and returns the offset behind each.
func (l *Log) AppendBatch(b *Batch, indexes []int) ([]Offset, error) {
	size := 0
	for _, i := range indexes {
		size += len(b.record(i))
	}
	ends := make([]Offset, 0, len(indexes))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admit(size); err != nil {
		return nil, err
	}
	for _, i := range indexes {
		ends = append(ends, l.queue(b.record(i)))
	}
	return ends, nil
}

// AppendWithin queues each event of b for which the queue is filled less than its
// limit, from 0 to 1, and has room. ends is as long as limits and gets the offset
// behind each event, 0 for one that was not queued.
func (l *Log) AppendWithin(b *Batch, limits []float64, ends []Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, limit := range limits {
		record := b.record(i)
		if ends[i] = 0; l.fill() < limit && l.admit(len(record)) == nil {
			ends[i] = l.queue(record)
		}
	}
}

// admit says why records of a size cannot be queued, nil if they can. The caller
// holds mu.
func (l *Log) admit(size int) error {
	switch {
	case l.closed:
		return ErrClosed
	case len(l.pending)+l.inflight+size <= int(l.cfg.QueueSize):
		return nil
	case l.failure != nil:
		return fmt.Errorf("%w: %w", ErrBusy, l.failure)
	}
	return ErrBusy
}

// queue appends a record to what waits and returns the offset behind it. The caller
// holds mu.
func (l *Log) queue(record []byte) Offset {
	if len(l.pending) == 0 {
		poke(l.kick)
	}
	l.pending = append(l.pending, record...)
	l.tail += Offset(len(record))
	return l.tail
}

// Fill says how full the queue is, from 0 to 1.
func (l *Log) Fill() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fill()
}

// fill is Fill for a caller who holds mu.
func (l *Log) fill() float64 {
	return float64(len(l.pending)+l.inflight) / float64(l.cfg.QueueSize)
}

// Failure returns why the disk cannot be written at present, or nil.
func (l *Log) Failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// Commit returns nil when everything before off is durable. While the disk
// fails it returns the disk's error; the events still wait and may become
// durable later.
func (l *Log) Commit(ctx context.Context, off Offset) error {
	return l.await(ctx, off, true)
}

// Flush returns nil when everything that was queued before is durable, as
// [Log.Commit] does.
func (l *Log) Flush(ctx context.Context) error {
	l.mu.Lock()
	tail := l.tail
	l.mu.Unlock()
	return l.Commit(ctx, tail)
}

// Wait returns nil when something durable follows from.
func (l *Log) Wait(ctx context.Context, from Offset) error {
	return l.await(ctx, from+1, false)
}

func (l *Log) await(ctx context.Context, off Offset, commit bool) error {
	for {
		l.mu.Lock()
		changed := l.changed
		switch {
		case l.durable >= off:
			l.mu.Unlock()
			return nil
		case l.stopped:
			l.mu.Unlock()
			return ErrClosed
		case commit && l.failure != nil:
			err := l.failure
			l.mu.Unlock()
			return err
		case commit && off > l.tail:
			l.mu.Unlock()
			return fmt.Errorf("commit event log at %d: nothing was queued behind %d", off, l.tail)
		}
		if commit && off > l.wanted {
			l.wanted = off
			poke(l.hurry)
		}
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Stats returns what there is to know about the log.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{
		First: l.segments[0].base, Durable: l.durable, Queued: len(l.pending) + l.inflight,
		Files: len(l.segments), DroppedFiles: l.dropped, Damaged: int64(len(l.damaged)), Failure: l.failure,
	}
	for _, segment := range l.segments {
		s.Bytes += segment.size
	}
	return s
}

// Advance makes the log go on at an offset beyond its end, in a new file. It is
// for a log that lost its end (or all of it) while its consumers did not: they
// must not take new events for old ones. Nothing may be queued.
func (l *Log) Advance(to Offset) error {
	l.mu.Lock()
	idle, behind := len(l.pending)+l.inflight == 0, l.tail < to
	l.mu.Unlock()
	if !idle {
		return fmt.Errorf("advance event log to %d: events are queued", to)
	}
	if !behind {
		return nil
	}
	return l.begin(to)
}

// Close writes what waits, ends the writer and gives the directory free. The
// error says that the disk did not take everything.
func (l *Log) Close() error {
	l.mu.Lock()
	already := l.closed
	l.closed = true
	l.mu.Unlock()
	poke(l.kick)
	poke(l.hurry)
	for {
		l.mu.Lock()
		stopped, changed, lost := l.stopped, l.changed, len(l.pending)+l.inflight
		failure := l.failure
		l.mu.Unlock()
		switch {
		case !stopped:
			<-changed
			continue
		case already:
			return nil
		case lost > 0:
			return fmt.Errorf("close event log %q: %d bytes of events are lost: %w", l.dir, lost, failure)
		}
		return nil
	}
}

// poke wakes whoever listens, once.
func poke(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}
