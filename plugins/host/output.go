package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	maxLine       = 8 << 10 // bytes kept of one line of output
	tailLines     = 8       // lines kept for the message about a process that died
	linesPerSpell = 200     // lines logged per second of one process
	maxLineAttrs  = 16
)

// output takes the lines that a plugin process writes into the log. go-plugin
// would do that too, but trusts the lines: one with a wrong JSON type ends the host.
type output struct {
	logger *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	tail    []string
	spell   time.Time
	count   int
	dropped int
}

// read logs every line of r until its end.
func (o *output) read(r io.Reader, stream string) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, more, err := lines.ReadLine()
		if len(line) > 0 {
			o.line(string(line), stream)
		}
		for more && err == nil { // the rest of a long line
			_, more, err = lines.ReadLine()
		}
		if err != nil {
			return
		}
	}
}

func (o *output) line(line, stream string) {
	line = strings.ToValidUTF8(line, "\uFFFD")
	if !o.admit(line) {
		return
	}
	level, message, attrs := parseLine(line)
	o.logger.LogAttrs(context.Background(), level, message, append(attrs, slog.String("stream", stream))...)
}

// admit remembers the line for the tail and reports whether it may be logged.
func (o *output) admit(line string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == tailLines {
		o.tail = append(o.tail[:0], o.tail[1:]...)
	}
	o.tail = append(o.tail, line)
	if now := o.now(); now.Sub(o.spell) >= time.Second {
		if o.dropped > 0 {
			o.logger.Warn("plugin writes too much; lines were dropped", "lines", o.dropped)
		}
		o.spell, o.count, o.dropped = now, 0, 0
	}
	if o.count++; o.count > linesPerSpell {
		o.dropped++
		return false
	}
	return true
}

// last returns the last lines, for people.
func (o *output) last() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.tail...)
}

// parseLine reads a line of slog's or hclog's JSON; any other line is its own message.
func parseLine(line string) (slog.Level, string, []slog.Attr) {
	fields := make(map[string]any)
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &fields) != nil {
		return plainLevel(line), line, nil
	}
	take := func(names ...string) string {
		for _, name := range names {
			if s, ok := fields[name].(string); ok {
				delete(fields, name)
				return s
			}
		}
		return ""
	}
	level, message := take("level", "@level"), take("msg", "@message", "message")
	take("time", "@timestamp")
	if message == "" {
		return slog.LevelInfo, line, nil
	}
	var attrs []slog.Attr
	for name, value := range fields {
		if len(attrs) == maxLineAttrs {
			break
		}
		attrs = append(attrs, slog.Any(name, value))
	}
	return jsonLevel(level), message, attrs
}

func jsonLevel(name string) slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(name)) != nil {
		return slog.LevelInfo
	}
	return level
}

func plainLevel(line string) slog.Level {
	for _, p := range [...]struct {
		prefix string
		level  slog.Level
	}{
		{"panic: ", slog.LevelError}, {"fatal error: ", slog.LevelError}, {"[ERROR]", slog.LevelError},
		{"[WARN]", slog.LevelWarn}, {"[DEBUG]", slog.LevelDebug}, {"[TRACE]", slog.LevelDebug},
	} {
		if strings.HasPrefix(line, p.prefix) {
			return p.level
		}
	}
	return slog.LevelInfo
}

// lineWriter cuts what is written to it into lines of output.
type lineWriter struct {
	out    *output
	stream string
	mu     sync.Mutex
	rest   []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		end := bytes.IndexByte(w.rest, '\n')
		if end < 0 && len(w.rest) < maxLine {
			return len(p), nil
		}
		next := end + 1
		if end < 0 {
			end, next = maxLine, maxLine
		}
		if line := bytes.TrimRight(w.rest[:end], "\r"); len(line) > 0 {
			w.out.line(string(line[:min(len(line), maxLine)]), w.stream)
		}
		w.rest = w.rest[next:]
	}
}

// chatter takes go-plugin's own log lines in, for debugging only.
type chatter struct{ logger *slog.Logger }

func (c chatter) Write(p []byte) (int, error) {
	c.logger.Debug("go-plugin", "line", strings.TrimSpace(string(p)))
	return len(p), nil
}
