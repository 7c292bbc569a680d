//go:build !race

package main

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"
)

func TestAccessLinesAllocateNothing(t *testing.T) {
	handler := newLineHandler(io.Discard, nil)
	attrs := []slog.Attr{slog.String("path", "/shop"), slog.Int("status", 200), slog.Float64("ms", 1.25), slog.Bool("bot", false)}
	when := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		record := slog.NewRecord(when, slog.LevelInfo, "request", 0)
		record.AddAttrs(slog.Attr{Value: slog.GroupValue(attrs...)})
		_ = handler.Handle(context.Background(), record)
	}); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
}
