package main

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// logQueueSize bounds the lines that wait for a slow terminal, pipe or disk.
	logQueueSize = 4 << 20
	// accessQueueSize bounds them for the access log, so that it leaves room for the
	// lines that say what is wrong.
	accessQueueSize = 3 << 20
	// logFlushTime bounds the wait for the last lines at the end.
	logFlushTime = time.Second
)

// logQueue writes in a goroutine of its own, so that whoever does not read the log
// stops nobody. Lines beyond its size are dropped and counted.
type logQueue struct {
	out  io.Writer
	more chan struct{} // there is something to write, or the end
	done chan struct{}

	mu      sync.Mutex
	waiting []byte
	spare   []byte // what waiting becomes
	writing int    // bytes that are being written
	closed  bool

	droppedAccess, droppedOther atomic.Uint64
}

func newLogQueue(out io.Writer) *logQueue {
	q := &logQueue{out: out, more: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// Write takes one line. It always succeeds.
func (q *logQueue) Write(line []byte) (int, error) {
	q.add(line, logQueueSize, &q.droppedOther)
	return len(line), nil
}

// accessLines is where the access log is written.
func (q *logQueue) accessLines() io.Writer { return accessWriter{q} }

type accessWriter struct{ queue *logQueue }

func (w accessWriter) Write(line []byte) (int, error) {
	w.queue.add(line, accessQueueSize, &w.queue.droppedAccess)
	return len(line), nil
}

func (q *logQueue) add(line []byte, limit int, dropped *atomic.Uint64) {
	q.mu.Lock()
	fits := !q.closed && len(q.waiting)+q.writing+len(line) <= limit
	if fits {
		q.waiting = append(q.waiting, line...)
	}
	q.mu.Unlock()
	if !fits {
		dropped.Add(1)
		return
	}
	q.wake()
}

func (q *logQueue) wake() {
	select {
	case q.more <- struct{}{}:
	default: // it is awake, and will find it
	}
}

func (q *logQueue) run() {
	defer close(q.done)
	for range q.more {
		lines, closed := q.take()
		// Who cannot log has nowhere to say so.
		_, _ = q.out.Write(lines)
		q.giveBack(lines)
		if closed {
			return
		}
	}
}

func (q *logQueue) take() (lines []byte, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, q.waiting, q.spare = q.waiting, q.spare, nil
	q.writing = len(lines)
	return lines, q.closed
}

func (q *logQueue) giveBack(lines []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = 0
	if cap(lines) <= 64<<10 { // what a storm needed is not kept
		q.spare = lines[:0]
	}
}

// close writes what waits, if it is taken soon, and ends the queue. Later lines are
// dropped. It may be called once.
func (q *logQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
	timer := time.NewTimer(logFlushTime)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
	}
}
