package main

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"testing"
	"time"
)

// TestAccessLinesAreThoseOfSlog holds the lines against those of the standard handler.
func TestAccessLinesAreThoseOfSlog(t *testing.T) {
	when := time.Date(2026, 12, 1, 3, 4, 5, 67_000_000, time.FixedZone("", 3600))
	for _, attrs := range [][]slog.Attr{
		nil,
		{slog.String("path", "/a?b=<c>&d"), slog.Int("status", 200), slog.Int64("bytes", -1), slog.Bool("bot", true)},
		{slog.Float64("ms", 0), slog.Float64("ms", 12.345), slog.Float64("ms", 0.001), slog.Float64("ms", 1e20)},
		{slog.Float64("ms", 1e-7), slog.Float64("ms", 1e21)},
		{slog.Float64("ms", math.Inf(1))},
		{slog.String("path", "/\"\\\n\x01ä\u2028\xff")},
		{slog.String("kä", "")},
		{slog.Group("g", slog.Int("a", 1)), slog.Any("any", []int{1}), slog.Duration("d", time.Second), slog.Time("t", when)},
		{{Value: slog.GroupValue(slog.String("a", "b"), slog.Int("c", 1))}, slog.Int("d", 2)},
	} {
		var got, want bytes.Buffer
		for out, handler := range map[*bytes.Buffer]slog.Handler{&got: newLineHandler(&got, nil), &want: slog.NewJSONHandler(&want, nil)} {
			for _, at := range []time.Time{when, {}} {
				record := slog.NewRecord(at, slog.LevelInfo, "request", 0)
				record.AddAttrs(attrs...)
				if err := handler.Handle(context.Background(), record); err != nil {
					t.Fatal(err)
				}
			}
			out.WriteByte('.')
		}
		if got.String() != want.String() {
			t.Errorf("%v:\ngot  %swant %s", attrs, got.String(), want.String())
		}
	}
}
