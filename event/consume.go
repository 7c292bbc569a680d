package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// Consumer is somebody who reads the log and must not miss anything: no file is
// dropped that it has not read.
type Consumer struct {
	log  *Log
	name string
}

// Register makes a consumer known that has read everything before from.
func (l *Log) Register(name string, from Offset) *Consumer {
	c := &Consumer{log: l, name: name}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.consumers[c] = from
	return c
}

// Advance notes that the consumer has read, and kept, everything before off.
func (c *Consumer) Advance(off Offset) {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	if old, ok := c.log.consumers[c]; ok && old < off {
		c.log.consumers[c] = off
	}
}

// Close forgets the consumer; it holds no file back any more.
func (c *Consumer) Close() {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	delete(c.log.consumers, c)
}

// Read returns up to max durable events from an offset on, and the offset at
// which to go on. No events and next == from mean that nothing durable follows.
// Damaged places are skipped, counted and logged. The events are appended to room;
// texts of events that were read together share memory.
func (l *Log) Read(room []Event, from Offset, max int) (events []Event, next Offset, err error) {
	d := l.decoders.Get().(*recordDecoder)
	d.events = room
	next, err = l.Scan(from, func(payload []byte, _ Offset) (bool, error) {
		d.add(payload)
		return len(d.events)-len(room)+len(d.ends) < max, nil
	})
	d.decode()
	events, d.events = d.events, nil
	l.decoders.Put(d)
	return events, next, err
}

// recordDecoder makes events of records. Compact ones wait for others, so that the texts of
// many are one allocation, and their exposures another.
type recordDecoder struct {
	events []Event
	texts  []byte // the compact payloads that wait
	ends   []int  // of each in texts
	shown  int    // how many of them have an exposure
	logger *slog.Logger
}

// maxTexts bounds what waits, and so what a text that is kept can hold in memory.
const maxTexts = 64 << 10

func (d *recordDecoder) add(payload []byte) {
	if payload[0] == formCompact && len(payload) <= maxTexts {
		if len(d.texts)+len(payload) > maxTexts {
			d.decode()
		}
		d.texts = append(d.texts, payload...)
		d.ends = append(d.ends, len(d.texts))
		if len(payload) > 2 && payload[2]&flagExposure != 0 {
			d.shown++
		}
		return
	}
	d.decode()
	d.events = append(d.events, Event{})
	d.check(decode(payload, &d.events[len(d.events)-1]))
}

// decode makes events of what waits.
func (d *recordDecoder) decode() {
	texts, from := string(d.texts), 0
	exposures := make([]decision.Exposure, d.shown+1)
	for _, end := range d.ends {
		d.events = append(d.events, Event{})
		e := &d.events[len(d.events)-1]
		err := decodeCompact(texts[from:end], e, &exposures[0])
		if e.Exposure != nil {
			exposures = exposures[1:]
		}
		d.check(err)
		from = end
	}
	d.texts, d.ends, d.shown = d.texts[:0], d.ends[:0], 0
}

// check leaves out the last event if it could not be read.
func (d *recordDecoder) check(err error) {
	if err != nil {
		d.events = d.events[:len(d.events)-1]
		// The checksum is right, so another version of Sedge wrote this.
		d.logger.Error("event log holds a record that this version cannot read; skipping it", "error", err)
	}
}

// Scan calls f with the payload of each durable record from an offset on and with
// the offset behind it, until f returns false or an error or nothing durable
// follows. It returns the offset at which to go on. The payload must not be kept.
func (l *Log) Scan(from Offset, f func(payload []byte, end Offset) (bool, error)) (Offset, error) {
	next := from
	for {
		s, ok := l.find(next)
		if !ok {
			return next, nil
		}
		if next < s.base {
			l.damage(next, int64(s.base-next), "no file holds this part of the event log; skipping it")
			next = s.base
		}
		if s.size == 0 || next >= s.end() {
			return next, nil
		}
		more := true
		end, err := l.scanFile(&s, next, func(payload []byte, end Offset) (bool, error) {
			var err error
			more, err = f(payload, end)
			return more, err
		})
		if errors.Is(err, fs.ErrNotExist) && l.gone(s.base) {
			continue // retention took the file a moment ago
		}
		if err != nil {
			return end, fmt.Errorf("read event log at %d: %w", end, err)
		}
		next = end
		if !more {
			return next, nil
		}
	}
}

// find returns a copy of the first file that ends behind off.
func (l *Log) find(off Offset) (segment, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.end() > off {
			found := *s
			found.size = min(found.size, int64(l.durable-found.base))
			return found, true
		}
	}
	return segment{}, false
}

func (l *Log) gone(base Offset) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.segments) > 0 && l.segments[0].base > base
}

func (l *Log) scanFile(s *segment, from Offset, f func([]byte, Offset) (bool, error)) (Offset, error) {
	file, err := os.Open(s.path)
	if err != nil {
		return from, err
	}
	defer file.Close()
	window := l.windows.Get().(*[]byte)
	defer l.windows.Put(window)
	r := recordReader{file: file, limit: s.size, window: (*window)[:0]}
	pos := int64(from - s.base)
	for pos < s.size {
		payload, at, err := r.next(pos)
		if errors.Is(err, errNoRecord) {
			l.damage(s.base+Offset(pos), s.size-pos, "event log holds damaged records; skipping the rest of the file")
			return s.end(), nil
		}
		if err != nil {
			return s.base + Offset(pos), err
		}
		if at > pos {
			l.damage(s.base+Offset(pos), at-pos, "event log holds damaged records; going on behind them")
		}
		pos = at + headerSize + int64(len(payload))
		more, err := f(payload, s.base+Offset(pos))
		if err != nil || !more {
			return s.base + Offset(pos), err
		}
	}
	return s.base + Offset(pos), nil
}

// maxDamage bounds the damaged places that are remembered, so that each is
// reported once.
const maxDamage = 10_000

func (l *Log) damage(at Offset, size int64, message string) {
	l.mu.Lock()
	_, known := l.damaged[at]
	if !known && len(l.damaged) < maxDamage {
		l.damaged[at] = size
	}
	l.mu.Unlock()
	if !known {
		l.logger.Error(message, "offset", int64(at), "bytes", size)
	}
}

// Since returns an offset from which a reader meets every durable event that
// was received at or after t, and perhaps earlier ones: the newest file whatever
// the clock says, because a clock that was set in between makes its events look
// old. It reaches back no further than it takes to meet the given number of
// events of a kilobyte.
func (l *Log) Since(t time.Time, events int) Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, bytes := l.durable, int64(0)
	for i := len(l.segments) - 1; i >= 0; i-- {
		s := l.segments[i]
		if bytes > 0 && (s.last.Before(t) || bytes > int64(events)<<10) {
			break
		}
		from = s.base
		bytes += s.size
	}
	return from
}

// PeekID returns the id in the payload of a record, without decoding the rest; ""
// when it has none. An event that the proxy itself saw in traffic, whose id is
// therefore never sent again, has none here either.
func PeekID(payload []byte) string {
	if len(payload) > 0 && payload[0] == formCompact {
		return peekCompact(payload)
	}
	const head = `{"id":"`
	if !bytes.HasPrefix(payload, []byte(head)) {
		return ""
	}
	id := payload[len(head):]
	end := bytes.IndexByte(id, '"')
	if end < 0 {
		return ""
	}
	if bytes.IndexByte(id[:end], '\\') < 0 {
		if bytes.HasPrefix(id[end:], []byte(`","type":"`)) {
			return string(id[:end])
		}
		if bytes.HasPrefix(id[end:], []byte(`","observed":true`)) {
			return ""
		}
	}
	var e struct {
		ID       string `json:"id"`
		Observed bool   `json:"observed"`
	}
	if json.Unmarshal(payload, &e) != nil || e.Observed {
		return ""
	}
	return e.ID
}
