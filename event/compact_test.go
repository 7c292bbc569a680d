package event

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

// payloadOf encodes an event as the log does.
func payloadOf(t testing.TB, e *Event) string {
	t.Helper()
	var b Batch
	if err := b.Add(e); err != nil {
		t.Fatal(err)
	}
	return string(b.bytes[headerSize:])
}

// drawEvent draws what traffic and the API are made of, and what is odd in both.
func drawEvent(t *rapid.T) *Event {
	text := rapid.OneOf(rapid.StringMatching(`[a-z0-9/ <&]{0,12}`), rapid.String(), rapid.SampledFrom([]string{"a\x00b", "\xff", "\u2028"}))
	money := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, -1, 1, -1 << 63, 1<<63 - 1}))
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds"), rapid.Int64Range(0, 999999999).Draw(t, "nanos")).UTC()
	})
	e := &Event{
		ID: text.Draw(t, "id"), Observed: rapid.Bool().Draw(t, "observed"), Name: text.Draw(t, "name"), Visitor: text.Draw(t, "visitor"),
		Type: rapid.SampledFrom([]Type{Page, Track, Identify, Trigger, Delivery, "other"}).Draw(t, "type"),
		Time: at.Draw(t, "time"), Minted: rapid.Bool().Draw(t, "minted"), Segment: text.Draw(t, "segment"), Path: text.Draw(t, "path"),
	}
	e.Received = e.Time
	if rapid.Bool().Draw(t, "late") {
		e.Received = at.Draw(t, "received")
	}
	for range rapid.IntRange(0, 2).Draw(t, "conversions") {
		e.Conversions = append(e.Conversions, Conversion{text.Draw(t, "goal"), decision.Money(money.Draw(t, "revenue")), text.Draw(t, "order id")})
	}
	if rapid.Bool().Draw(t, "order") {
		e.Order = &Order{text.Draw(t, "order"), decision.Money(money.Draw(t, "revenue"))}
	}
	if rapid.Bool().Draw(t, "exposure") {
		e.Exposure = &decision.Exposure{Assignment: decision.Assignment{
			Experiment: text.Draw(t, "experiment"), Arm: text.Draw(t, "arm"), Holdout: rapid.Bool().Draw(t, "holdout")}, Segment: text.Draw(t, "segment")}
	}
	if rapid.IntRange(0, 9).Draw(t, "properties") == 0 {
		e.Properties = map[string]any{"a": text.Draw(t, "property")}
	}
	return e
}

// Whatever form an event is kept in, it comes back as JSON would return it, and its
// bytes hold no zero byte.
func TestFormsAgree(t *testing.T) {
	compact := 0
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var want, got Event
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		var b Batch
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
		payload := b.bytes[headerSize:]
		if bytes.IndexByte(payload, 0) >= 0 {
			t.Fatalf("%q holds a zero byte", payload)
		}
		if err := decode(payload, &got); err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %+v, want %+v", payload, got, want)
		}
		if payload[0] == formCompact {
			compact++
		}
	})
	if compact == 0 {
		t.Error("no event was compact")
	}
}

func TestWhatTrafficIsMadeOfIsCompact(t *testing.T) {
	page := &Event{ID: "0123456789abcdef", Observed: true, Type: Page, Visitor: "v", Time: start, Received: start, Segment: "new", Path: "/shop/größe"}
	for name, c := range map[string]struct {
		change  func(e *Event)
		compact bool
	}{
		"page":          {func(*Event) {}, true},
		"trigger":       {func(e *Event) { e.Type, e.Exposure = Trigger, &decision.Exposure{Segment: "new"} }, true},
		"order":         {func(e *Event) { e.Type, e.Name, e.Order = Track, "Order Completed", &Order{ID: "1", Revenue: 5} }, true},
		"properties":    {func(e *Event) { e.Properties = map[string]any{"a": 1} }, false},
		"traits":        {func(e *Event) { e.Traits = map[string]any{"a": 1} }, false},
		"zero byte":     {func(e *Event) { e.Path = "/a\x00b" }, false},
		"no UTF-8":      {func(e *Event) { e.Path = "/\xff" }, false},
		"no known type": {func(e *Event) { e.Type = "screen" }, false},
		"other zone":    {func(e *Event) { e.Time = e.Time.In(time.FixedZone("", 3600)) }, false},
	} {
		e := *page
		c.change(&e)
		if got := payloadOf(t, &e)[0] == formCompact; got != c.compact {
			t.Errorf("%s: compact is %v", name, got)
		}
	}
}

// Files that were written before there was a compact form are read, beside new records.
func TestLogReadsBothForms(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Config{})
	text, err := json.Marshal(&Event{ID: "old", Type: Page, Visitor: "v", Time: start, Received: start})
	if err != nil {
		t.Fatal(err)
	}
	record := append(make([]byte, headerSize), text...)
	seal(record)
	l.mu.Lock()
	l.queue(record)
	l.mu.Unlock()
	end, err := l.Append(&Event{ID: "new", Type: Page, Visitor: "v", Time: start, Received: start})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(readAll(t, l, 0), " "); got != "old new" {
		t.Errorf("read %s", got)
	}
}

// A form of another version is left out, and what follows is read.
func TestUnknownFormIsSkipped(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Config{})
	record := append(make([]byte, headerSize), "\x02 of tomorrow"...)
	seal(record)
	l.mu.Lock()
	l.queue(record)
	l.mu.Unlock()
	write(t, l, 0, 2)
	wantIDs(t, readAll(t, l, 0), 0, 1)
	if s := l.Stats(); s.Damaged != 0 {
		t.Errorf("%d places count as damaged", s.Damaged)
	}
}

// FuzzCompact: what is read of any bytes is written so that it is read again, and
// damage is an error.
func FuzzCompact(f *testing.F) {
	for _, e := range []*Event{
		{ID: "a", Type: Page, Visitor: "v", Time: start, Received: start.Add(1), Observed: true, Path: "/"},
		{ID: "b", Type: Delivery, Visitor: "v", Time: start, Received: start, Exposure: &decision.Exposure{Segment: "s"}, Order: &Order{ID: "o", Revenue: -1},
			Conversions: []Conversion{{"g", 1, "o"}, {"h", 0, ""}}},
	} {
		f.Add([]byte(payloadOf(f, e))[1:])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var e, again Event
		if decode(append([]byte{formCompact}, payload...), &e) != nil {
			return
		}
		b, ok := appendCompact(nil, &e)
		if !ok {
			return // a text that was never written so
		}
		if err := decode(b, &again); err != nil || !reflect.DeepEqual(e, again) {
			t.Fatalf("%+v, then %+v, %v", e, again, err)
		}
	})
}

// BenchmarkForms measures what a page view costs to write and to read.
func BenchmarkForms(b *testing.B) {
	e := &Event{ID: strings.Repeat("0123456789abcdef", 2), Observed: true, Type: Page, Visitor: "uujpPmKDVcU8vWYokNuvew", Time: start, Received: start, Segment: "returning", Path: "/shop/shoes/1"}
	text, _ := json.Marshal(e)
	for name, payload := range map[string][]byte{"JSON": text, "compact": []byte(payloadOf(b, e))} {
		b.Run("write "+name, func(b *testing.B) {
			b.ReportAllocs()
			var batch Batch
			for b.Loop() {
				if batch.Reset(); name == "JSON" {
					_, _ = json.Marshal(e)
				} else if err := batch.Add(e); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("read "+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var got Event
				if err := decode(payload, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
