package main

import (
	"context"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// lineHandler writes what [slog.JSONHandler] writes, without allocating, for records of
// plain texts, numbers and truths, as the lines of the access log are. Others it leaves to
// that handler.
type lineHandler struct {
	slog.Handler // whatever else is asked of a handler
	out          io.Writer
	lines        *sync.Pool // *[]byte
}

func newLineHandler(out io.Writer, options *slog.HandlerOptions) slog.Handler {
	return &lineHandler{
		Handler: slog.NewJSONHandler(out, options), out: out,
		lines: &sync.Pool{New: func() any { return new([]byte) }},
	}
}

// Handle writes one line, in one call of Write.
func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	line := h.lines.Get().(*[]byte)
	defer h.lines.Put(line)
	w := lineWriter{line: (*line)[:0], plain: !r.Time.IsZero() && r.Time.Year() >= 0 && r.Time.Year() < 10000}
	w.line = append(w.line, `{"time":"`...)
	w.line = r.Time.Round(0).AppendFormat(w.line, time.RFC3339Nano)
	w.line = append(append(append(w.line, `","level":"`...), r.Level.String()...), `","msg":`...)
	w.text(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		w.attr(a)
		return w.plain
	})
	*line = append(w.line, "}\n"...)
	if !w.plain {
		return h.Handler.Handle(ctx, r)
	}
	_, err := h.out.Write(*line)
	return err
}

// lineWriter makes a line; plain says that it can.
type lineWriter struct {
	line  []byte
	plain bool
}

func (w *lineWriter) attr(a slog.Attr) {
	if a.Value.Kind() == slog.KindGroup && a.Key == "" {
		for _, of := range a.Value.Group() {
			w.attr(of)
		}
		return
	}
	w.line = append(w.line, ',')
	w.text(a.Key)
	w.line = append(w.line, ':')
	switch a.Value.Kind() {
	case slog.KindString:
		w.text(a.Value.String())
	case slog.KindInt64:
		w.line = strconv.AppendInt(w.line, a.Value.Int64(), 10)
	case slog.KindBool:
		w.line = strconv.AppendBool(w.line, a.Value.Bool())
	case slog.KindFloat64:
		f := a.Value.Float64()
		if abs := math.Abs(f); f != 0 && !(abs >= 1e-6 && abs < 1e21) { // JSON has another form for them
			w.plain = false
		}
		w.line = strconv.AppendFloat(w.line, f, 'f', -1, 64)
	default:
		w.plain = false
	}
}

func (w *lineWriter) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			w.plain = false
			return
		}
	}
	w.line = append(append(append(w.line, '"'), s...), '"')
}
