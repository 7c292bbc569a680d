package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/profile"
)

func TestConcurrentCopiesOfAnEventCountOnce(t *testing.T) {
	n := newNode(t)
	const copies, events = 6, 60
	var wg sync.WaitGroup
	for range copies {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range events {
				batch := []event.Event{view(fmt.Sprint("a", i), "v"), view(fmt.Sprint("b", i), "v")}
				if err := n.intake.Accept(context.Background(), batch); err != nil {
					t.Error(err)
				}
				// What is acknowledged is durable and can be read.
				if off, end := n.log.Stats().Durable, event.Offset(0); off <= end {
					t.Error("acknowledged and not durable")
				}
			}
		}()
	}
	wg.Wait()
	if p := snapshot(t, n, "v"); p.PageViews != 2*events {
		t.Fatalf("%d page views in memory", p.PageViews)
	}
	catchUp(t, n)
	if p := stored(t, n, "v"); p.PageViews != 2*events {
		t.Fatalf("%d page views in the store", p.PageViews)
	}
	if s := n.intake.Stats(); s.Accepted != 2*events || s.Duplicates != 2*events*(copies-1) {
		t.Fatalf("%+v", s)
	}
}

func TestARetryIsNotAcknowledgedBeforeItsFirstIsDurable(t *testing.T) {
	n := newNode(t)
	// A first attempt that was appended, and whose sender went away.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.intake.Accept(gone, []event.Event{view("a", "v")}); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := n.intake.Accept(t.Context(), []event.Event{view("a", "v")}); err != nil {
		t.Fatal(err)
	}
	events, _, err := n.log.Read(nil, 0, 10)
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events are durable, %v", len(events), err)
	}
	// After the log has ended, nothing that is not on disk is acknowledged.
	n.log.Close()
	if err := n.intake.Accept(t.Context(), []event.Event{view("b", "v")}); !errors.Is(err, event.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if err := n.intake.Accept(t.Context(), []event.Event{view("b", "v")}); !errors.Is(err, event.ErrClosed) {
		t.Fatalf("the retry of a refused event: %v", err)
	}
}

func TestPriorities(t *testing.T) {
	in := &Intake{}
	limit := func(e event.Event) float64 {
		l, _ := in.priority(&e)
		return l
	}
	page, trigger := limit(event.Event{Type: event.Page}), limit(event.Event{Type: event.Trigger})
	delivery := limit(event.Event{Type: event.Delivery})
	converting := limit(event.Event{Type: event.Page, Conversions: []event.Conversion{{Goal: "g"}}})
	if !(page < trigger && trigger == delivery && trigger < acceptFill && acceptFill < converting) {
		t.Fatal(page, trigger, delivery, acceptFill, converting)
	}
}

func TestUnderPressurePageViewsGoFirst(t *testing.T) {
	n := openNode(t, t.TempDir(), event.Config{QueueSize: 1 << 20, SegmentSize: 4096})
	events := filepath.Join(n.dir, "events")
	accept(t, n, event.Event{ID: "big", Type: event.Page, Visitor: "v", Properties: map[string]any{"text": strings.Repeat("x", 5000)}})
	end := n.log.Stats().Durable
	if err := os.RemoveAll(events); err != nil { // the log cannot begin its next file
		t.Fatal(err)
	}
	exposure := &decision.Exposure{Assignment: decision.Assignment{Experiment: "x", Arm: "a"}}
	var s IntakeStats
	for i := 0; s.DroppedConversions == 0; i++ {
		page := view(fmt.Sprint("p", i), "v")
		trigger := event.Event{ID: fmt.Sprint("t", i), Type: event.Trigger, Visitor: "v", Exposure: exposure}
		thanks := event.Event{ID: fmt.Sprint("c", i), Type: event.Page, Path: "/thanks", Visitor: "v"}
		n.intake.Record([]event.Event{page, trigger, thanks}) // one after the other
		s = n.intake.Stats()
		if s.DroppedTriggers > 0 && s.DroppedPages == 0 || s.DroppedConversions > 0 && s.DroppedTriggers == 0 {
			t.Fatalf("%+v", s)
		}
	}
	if err := n.intake.Accept(t.Context(), []event.Event{view("a", "v")}); err == nil {
		t.Fatal("an event was acknowledged while the disk fails")
	}
	if err := os.MkdirAll(events, 0o700); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	for n.intake.Accept(t.Context(), []event.Event{view("a", "v")}) != nil {
		select {
		case <-deadline:
			t.Fatal("the log does not recover")
		case <-time.After(time.Millisecond):
		}
	}
	waited, _, err := n.log.Read(nil, end, 1<<20)
	if err != nil || int64(len(waited)) != s.Recorded+1 {
		t.Fatalf("%d events are in the log, %d were recorded: %v", len(waited), s.Recorded, err)
	}
	n.close(t)
}

func TestRecordRefusesWhatHasNoOwner(t *testing.T) {
	n := newNode(t)
	for name, events := range map[string][]event.Event{
		"no visitor": {{ID: "1", Type: event.Page}},
		"no id":      {{Visitor: "v", Type: event.Page}},
	} {
		if n.intake.Record(events) != 0 {
			t.Errorf("%s: recorded", name)
		}
	}
	// What is beside it is taken, unless it is another visitor's.
	if taken := n.intake.Record([]event.Event{view("a", "v"), {Visitor: "v", Type: event.Page}, view("b", "w"), view("c", "v")}); taken != 2 {
		t.Errorf("%d of four events were recorded, want 2", taken)
	}
	if p := snapshot(t, n, "v"); p.PageViews != 2 {
		t.Errorf("%d page views", p.PageViews)
	}
	if s := n.intake.Stats(); s.Invalid != 4 || s.Recorded != 2 {
		t.Errorf("%+v", s)
	}
	if err := n.intake.Accept(t.Context(), []event.Event{{ID: "1", Type: event.Page}}); !errors.Is(err, ErrInvalid) {
		t.Fatalf("got %v", err)
	}
}

func TestMemoryOfIDsIsBoundedAndLastsADay(t *testing.T) {
	m := newMemory(100, start)
	for i := range 1000 {
		m.add(fmt.Sprint(i), event.Offset(i), start)
		if m.size() > 100 {
			t.Fatalf("%d ids are kept", m.size())
		}
		for back := range min(i, 50) {
			if end, ok := m.get(fmt.Sprint(i - back)); !ok || end != event.Offset(i-back) {
				t.Fatalf("id %d is forgotten at %d", i-back, i)
			}
		}
	}
	m = newMemory(100, start)
	for hour := range 100 {
		now := start.Add(time.Duration(hour) * time.Hour)
		m.add(fmt.Sprint(hour), 1, now)
		for age := range min(hour, 24) {
			if _, ok := m.get(fmt.Sprint(hour - age)); !ok {
				t.Fatalf("an id is forgotten after %d hours", age)
			}
		}
	}
	if _, ok := m.get("0"); ok {
		t.Fatal("an id is kept for four days")
	}
}

func BenchmarkAccept(b *testing.B) {
	dir := b.TempDir()
	n := openNode(b, dir, event.Config{})
	defer n.close(b)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.ledger.Run(ctx) }()
	var serial sync.Mutex
	worker := 0
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		serial.Lock()
		worker++
		w := worker
		serial.Unlock()
		for i := 0; pb.Next(); i++ {
			batch := make([]event.Event, 20)
			for j := range batch {
				batch[j] = event.Event{
					ID: fmt.Sprintf("%d-%d-%d", w, i, j), Type: event.Track, Name: "Product Viewed", Visitor: fmt.Sprintf("v%d", (w*31+i*7+j)%20000),
					Properties: map[string]any{"sku": "ABC-123", "price": 12.5, "category": "shoes"},
				}
			}
			if err := n.intake.Accept(context.Background(), batch); err != nil {
				if errors.Is(err, event.ErrBusy) {
					continue
				}
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	s := n.intake.Stats()
	b.ReportMetric(float64(s.Accepted)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(n.ledger.Stats().Events)/b.Elapsed().Seconds(), "applied/s")
	cancel()
	<-done
}

// BenchmarkRecord measures what a personalized page records.
func BenchmarkRecord(b *testing.B) {
	n := openNode(b, b.TempDir(), event.Config{})
	defer n.close(b)
	events := pageShown("v")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10_000 == 9_999 {
			b.StopTimer()
			if err := n.log.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if n.intake.Record(events[:2])+n.intake.Record(events[2:]) != 3 { // the delivery comes later
			b.Fatal("dropped")
		}
	}
}

// pageShown are the events of a personalized page, as the proxy records them.
func pageShown(visitor string) []event.Event {
	exposure := &decision.Exposure{Assignment: decision.Assignment{Experiment: "hero", Arm: "variant-a"}, Segment: "returning"}
	e := event.Event{
		ID: "0123456789abcdef0123456789abcdef", Visitor: visitor, Segment: "returning", Path: "/shop/shoes/1",
		Time: time.Now(),
	}
	e.Received = e.Time
	page, trigger, delivery := e, e, e
	page.Type = event.Page
	trigger.Type, trigger.Exposure = event.Trigger, exposure
	delivery.Type, delivery.Exposure = event.Delivery, exposure
	return []event.Event{page, trigger, delivery}
}

// BenchmarkApply measures what it costs to make events count that were recorded.
func BenchmarkApply(b *testing.B) {
	n := openNode(b, b.TempDir(), event.Config{})
	defer n.close(b)
	const visitors = 1000
	for i := range visitors {
		if n.intake.Record(pageShown(fmt.Sprintf("uujpPmKDVcU8vWYokN%04d", i))) != 3 {
			b.Fatal("dropped")
		}
	}
	if err := n.log.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	var batch []event.Event
	b.ReportAllocs()
	for b.Loop() {
		events, _, err := n.log.Read(batch[:0], 0, 3*visitors)
		if err != nil || len(events) != 3*visitors {
			b.Fatal(len(events), err)
		}
		batch = events
		for _, visits := range byVisitor(events) {
			state, row := &profile.State{}, &kpi.Row{}
			for _, e := range visits {
				state.Apply(e)
				row.Apply(e)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(3*visitors), "ns/event")
}
