package event

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second

	retentionInterval = 10 * time.Minute
)

// write is the goroutine of the log: it takes what waits, makes it durable and
// tells everybody.
func (l *Log) write() {
	defer l.stop()
	var spare []byte
	retry := firstRetry
	dropAt := l.now().Add(retentionInterval)
	for {
		batch, more := l.take(spare[:0])
		if !more {
			return
		}
		for {
			err := l.flush(batch)
			l.report(err, len(batch))
			if err == nil {
				break
			}
			l.Retain() // what may go makes room
			if l.pause(retry) {
				return
			}
			retry = min(2*retry, lastRetry)
		}
		retry = firstRetry
		spare = batch
		if now := l.now(); now.After(dropAt) {
			l.Retain()
			dropAt = now.Add(retentionInterval)
		}
	}
}

// stop tells everybody that the writer has ended.
func (l *Log) stop() {
	if cause := recover(); cause != nil {
		l.logger.Error("BUG: event log writer panicked; no event is accepted any more", "cause", fmt.Sprint(cause))
	}
	l.file.Close()
	l.lock.Close() // before anybody hears of it, so that the next one can open
	l.mu.Lock()
	l.closed, l.stopped = true, true
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
}

// take waits for records and returns all that wait, giving the queue a spare
// buffer for the next ones. It reports false when the log is closed and empty.
func (l *Log) take(spare []byte) ([]byte, bool) {
	for {
		l.mu.Lock()
		empty, closed := len(l.pending) == 0, l.closed
		l.mu.Unlock()
		if closed && empty {
			return nil, false
		}
		if !empty {
			break
		}
		<-l.kick
	}
	l.gather()
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.pending
	l.pending, l.inflight = spare, len(batch)
	return batch, true
}

// gather lets records that nobody waits for come together for one fsync.
func (l *Log) gather() {
	timer := time.NewTimer(l.cfg.FsyncInterval)
	defer timer.Stop()
	for {
		l.mu.Lock()
		now := l.closed || l.wanted > l.durable || len(l.pending) > int(l.cfg.QueueSize)/4
		l.mu.Unlock()
		if now {
			return
		}
		select {
		case <-timer.C:
			return
		case <-l.hurry:
		}
	}
}

// flush makes a batch durable, or leaves the log as if it had not been tried.
func (l *Log) flush(batch []byte) error {
	active := l.active()
	if active.size >= int64(l.cfg.SegmentSize) {
		if err := l.begin(active.end()); err != nil {
			return fmt.Errorf("begin a file of event log %q: %w", l.dir, err)
		}
		l.Retain()
		active = l.active()
	}
	_, err := l.file.WriteAt(batch, active.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		// Part of the batch may stand in the file. The next attempt writes over
		// it; cutting it off gives room back and keeps a crash from finding it.
		return errors.Join(fmt.Errorf("write %q: %w", active.path, err), l.file.Truncate(active.size))
	}
	l.mu.Lock()
	active.size += int64(len(batch))
	active.last = l.now()
	l.mu.Unlock()
	return nil
}

// active returns the file that is written to. Its size changes only in the
// writer's own goroutine.
func (l *Log) active() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segments[len(l.segments)-1]
}

// report tells everybody how an attempt to make n bytes durable went.
func (l *Log) report(err error, n int) {
	l.mu.Lock()
	before := l.failure
	l.failure = err
	if err == nil {
		l.inflight = 0
		l.durable = l.segments[len(l.segments)-1].end()
	}
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	switch {
	case err != nil && before == nil:
		l.logger.Error("event log cannot be written; events wait and none is acknowledged until it can", "error", err, "bytes", n)
	case err == nil && before != nil:
		l.logger.Warn("event log can be written again; all events that waited are on disk", "bytes", n)
	}
}

// pause waits before the next attempt and reports whether the log was closed.
func (l *Log) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return true
		}
		select {
		case <-timer.C:
			return false
		case <-l.hurry:
		}
	}
}

// Retain drops the oldest files as the configuration says. It runs by itself
// when a file is begun, and every ten minutes in which events come.
func (l *Log) Retain() {
	for {
		path, holder, ok := l.expire()
		if holder != "" {
			l.logger.Warn("event log keeps a file beyond its retention because a consumer has not read it",
				"file", path, "consumer", holder)
		}
		if !ok {
			return
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			l.logger.Error("event log cannot drop an old file", "file", path, "error", err)
		} else {
			l.logger.Info("event log dropped an old file", "file", path)
		}
		l.dropTorn(path)
	}
}

// dropTorn removes what was cut off a file and copied aside: it holds visitors'
// events too, and must not outlive the file.
func (l *Log) dropTorn(path string) {
	entries, err := os.ReadDir(l.dir)
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), filepath.Base(path)+tornInfix) {
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(l.dir, entry.Name())))
	}
	if err != nil {
		l.logger.Error("event log cannot drop the copies of torn tails", "of", path, "error", err)
	}
}

// expire takes the oldest file out of the log if it may go. A file that no
// consumer has asked for yet stays, as does a log without consumers. The first
// time that a consumer holds a file, expire returns the consumer's name.
func (l *Log) expire() (path, holder string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) < 2 || len(l.consumers) == 0 {
		return "", "", false
	}
	oldest := l.segments[0]
	total := int64(0)
	for _, s := range l.segments {
		total += s.size
	}
	old := l.cfg.Retention > 0 && l.now().Sub(oldest.last) > l.cfg.Retention
	big := l.cfg.MaxSize > 0 && total > int64(l.cfg.MaxSize)
	if !old && !big {
		return "", "", false
	}
	for consumer, read := range l.consumers {
		if read < l.segments[1].base && oldest.size > 0 {
			if l.held != oldest.base+1 {
				l.held, holder = oldest.base+1, consumer.name
			}
			return oldest.path, holder, false
		}
	}
	l.segments = l.segments[1:]
	l.dropped++
	return oldest.path, "", true
}
