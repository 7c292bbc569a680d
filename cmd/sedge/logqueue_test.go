package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// TestLogQueueKeepsOrder: everything that was logged before the end is written, each
// line once and in order, whoever wrote it.
func TestLogQueueKeepsOrder(t *testing.T) {
	var out bytes.Buffer
	q := newLogQueue(&out)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 1000 {
				line := fmt.Appendf(nil, "%d %d\n", w, i)
				if w == 0 {
					_, _ = q.accessLines().Write(line)
				} else {
					_, _ = q.Write(line)
				}
			}
		})
	}
	writers.Wait()
	q.close()
	next := map[int]int{}
	for line := range strings.Lines(out.String()) {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &i); err != nil || next[w] != i {
			t.Fatalf("line %q, want %d of writer %d: %v", line, next[w], w, err)
		}
		next[w]++
	}
	if len(next) != 4 || next[0]+next[1]+next[2]+next[3] != 4000 || q.droppedAccess.Load()+q.droppedOther.Load() > 0 {
		t.Errorf("got %v lines, %d dropped", next, q.droppedAccess.Load()+q.droppedOther.Load())
	}
	_, _ = q.Write([]byte("late\n"))
	if strings.Contains(out.String(), "late") || q.droppedOther.Load() != 1 {
		t.Error("a line after the end is not counted as dropped")
	}
}

// TestStuckLogStopsNobody: where nobody reads the log, lines wait up to the limit and
// are then dropped and counted, the access log's first.
func TestStuckLogStopsNobody(t *testing.T) {
	reader, stuck := io.Pipe()
	q := newLogQueue(stuck)
	defer q.close()
	defer reader.Close()
	access := slog.New(slog.NewJSONHandler(q.accessLines(), nil))
	for range 2 * accessQueueSize / 1000 {
		access.Info(strings.Repeat("x", 1000))
	}
	if q.droppedAccess.Load() == 0 {
		t.Error("no line of the access log was dropped")
	}
	other := slog.New(slog.NewJSONHandler(q, nil))
	other.Error("something is wrong")
	if dropped := q.droppedOther.Load(); dropped > 0 {
		t.Error("an error was dropped while there was room for it")
	}
	for range 2 * logQueueSize / 1000 {
		other.Error(strings.Repeat("x", 1000))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.droppedOther.Load() == 0 || len(q.waiting)+q.writing > logQueueSize {
		t.Errorf("%d bytes wait, %d lines dropped", len(q.waiting)+q.writing, q.droppedOther.Load())
	}
}
