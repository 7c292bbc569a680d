package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/profile"
)

// IntakeConfig is how events are taken in.
type IntakeConfig struct {
	// RememberIDs is how many ids of accepted events are remembered, for at
	// least 24 hours, to recognize an event that is sent again. When more come
	// in that time, the oldest are forgotten. Default 1000000, about 40 MB.
	RememberIDs int `mapstructure:"remember_ids"`
}

// Validate reports everything that is wrong with c.
func (c IntakeConfig) Validate() decision.Faults {
	var faults decision.Faults
	if c.RememberIDs < 0 {
		faults.Add("remember_ids", "expected a positive number, got %d", c.RememberIDs)
	}
	return faults
}

// rememberFor is the time in which an event that is sent again is recognized.
const rememberFor = 24 * time.Hour

// How full the queue of the log may be for an event to be taken. What is
// acknowledged stops before conversions from traffic do, because its sender
// will try again and traffic will not.
const (
	pageFill    = 0.5
	triggerFill = 0.75
	acceptFill  = 0.9
)

// Intake takes events in. Its methods may be called at any time from any
// goroutine.
type Intake struct {
	log    *event.Log
	live   *profile.Live
	goals  func() *kpi.Goals
	now    func() time.Time
	logger *slog.Logger

	// mu makes "seen before?" and "append" one step, so that of two equal events
	// exactly one is appended and the other knows where.
	mu   sync.Mutex
	seen *memory

	recordings sync.Pool // *recording

	accepted, duplicates, recorded, busy, invalid     atomic.Int64
	droppedPages, droppedTriggers, droppedConversions atomic.Int64
	droppedOthers                                     atomic.Int64
}

// IntakeStats counts events since start.
type IntakeStats struct {
	Accepted   int64 // from the API, durable
	Duplicates int64 // from the API, recognized as sent before
	Recorded   int64 // from traffic, queued
	Busy       int64 // from the API, refused for lack of room
	Invalid    int64 // without a visitor or an id, or too large

	// From traffic, dropped for lack of room.
	DroppedPages, DroppedTriggers, DroppedConversions, DroppedOthers int64

	Remembered int // ids
}

// ErrInvalid says that an event has no visitor, no id, or a visitor's id of more
// than 256 bytes.
var ErrInvalid = errors.New("event without a proper visitor or id")

// NewIntake returns an intake into log and live. goals returns the goals of the
// configuration in force, nil for none. Ids of the last 24 hours are read back
// from the log, which takes a while for a long one.
func NewIntake(log *event.Log, live *profile.Live, goals func() *kpi.Goals, cfg IntakeConfig,
	now func() time.Time, logger *slog.Logger) (*Intake, error) {
	if err := cfg.Validate().Err(); err != nil {
		return nil, fmt.Errorf("new intake: %w", err)
	}
	in := &Intake{log: log, live: live, goals: goals, now: now, logger: logger, seen: newMemory(cfg.RememberIDs, now())}
	in.recordings.New = func() any { return new(recording) }
	if err := in.recall(); err != nil {
		return nil, fmt.Errorf("read ids of recent events: %w", err)
	}
	return in, nil
}

// recall fills the memory of ids from the end of the log.
func (in *Intake) recall() error {
	since := in.now().Add(-rememberFor)
	_, err := in.log.Scan(in.log.Since(since, in.seen.capacity), func(payload []byte, end event.Offset) (bool, error) {
		if id := event.PeekID(payload); id != "" {
			in.seen.add(id, end, in.now())
		}
		return true, nil
	})
	return err
}

// recording is room for events of traffic that are recorded together.
type recording struct {
	batch   event.Batch
	events  []*event.Event // of the batch
	dropped []*atomic.Int64
	limits  []float64
	ends    []event.Offset
}

// Record takes events of one visitor that the proxy saw in traffic, and returns at
// once how many it took. The others were dropped for lack of room: page views first,
// then triggers and deliveries (of all arms alike), conversions last. The ids must be
// new. The events are changed, and belong to the caller again when Record returns.
func (in *Intake) Record(events []event.Event) int {
	r := in.recordings.Get().(*recording)
	goals := in.goals()
	for i := range events {
		e := &events[i]
		in.complete(e)
		e.Observed = true
		if !valid(e) || e.Visitor != events[0].Visitor {
			in.invalid.Add(1)
			continue
		}
		goals.Resolve(e)
		if r.batch.Add(e) != nil {
			in.invalid.Add(1)
			continue
		}
		limit, dropped := in.priority(e)
		if in.live.Full() {
			limit = 0
		}
		r.events, r.dropped = append(r.events, e), append(r.dropped, dropped)
		r.limits, r.ends = append(r.limits, limit), append(r.ends, 0)
	}
	in.log.AppendWithin(&r.batch, r.limits, r.ends)
	taken := 0
	for i, end := range r.ends {
		if end == 0 {
			r.dropped[i].Add(1)
			continue
		}
		r.events[taken], r.ends[taken] = r.events[i], end
		taken++
	}
	in.recorded.Add(int64(taken))
	in.live.ApplyAll(r.events[:taken], r.ends[:taken])
	in.giveBack(r)
	return taken
}

// giveBack keeps the room for the next events, unless a large one was in it.
func (in *Intake) giveBack(r *recording) {
	if r.batch.Size() > maxSpare {
		return
	}
	r.batch.Reset()
	clear(r.events)
	r.events, r.dropped, r.limits, r.ends = r.events[:0], r.dropped[:0], r.limits[:0], r.ends[:0]
	in.recordings.Put(r)
}

// maxSpare is how many bytes of events the room may have held that is kept.
const maxSpare = 16 << 10

// priority returns how full the queue may be for this event and where it is
// counted when it is dropped.
func (in *Intake) priority(e *event.Event) (limit float64, dropped *atomic.Int64) {
	switch {
	case len(e.Conversions) > 0 || e.Order != nil:
		return 1, &in.droppedConversions
	case e.Type == event.Page:
		return pageFill, &in.droppedPages
	case e.Type == event.Trigger || e.Type == event.Delivery:
		return triggerFill, &in.droppedTriggers
	}
	return acceptFill, &in.droppedOthers
}

// maxVisitor bounds the bytes of a visitor's id, which is a key in the store.
const maxVisitor = 256

func valid(e *event.Event) bool {
	return e.ID != "" && e.Visitor != "" && len(e.Visitor) <= maxVisitor
}

// complete fills in what every event has, in the form in which the log returns
// it, so that memory and ledger see the same.
func (in *Intake) complete(e *event.Event) {
	if e.Received.IsZero() {
		e.Received = in.now()
	}
	same := e.Time.IsZero() || e.Time.Equal(e.Received)
	if e.Received = e.Received.UTC().Round(0); same {
		e.Time = e.Received
	} else {
		e.Time = e.Time.UTC().Round(0)
	}
}

// Accept takes events from the API and returns nil when all of them are durable
// and show in the profiles. An event whose id was accepted before counts as
// accepted, once that first one is durable. ErrBusy and any other error mean that
// the sender should try again with the same ids; what was taken is not taken
// twice. The events belong to the intake from here on.
func (in *Intake) Accept(ctx context.Context, events []event.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := in.log.Failure(); err != nil {
		return fmt.Errorf("accept events: %w", err)
	}
	if in.log.Fill() >= acceptFill || in.live.Full() {
		in.busy.Add(int64(len(events)))
		return event.ErrBusy
	}
	var batch event.Batch
	goals := in.goals()
	for i := range events {
		e := &events[i]
		in.complete(e)
		e.Observed = false
		if !valid(e) {
			in.invalid.Add(1)
			return ErrInvalid
		}
		goals.Resolve(e)
		if err := batch.Add(e); err != nil {
			in.invalid.Add(1)
			return fmt.Errorf("accept events: %w", err)
		}
	}
	fresh, ends, last, err := in.append(events, &batch)
	if err != nil {
		in.busy.Add(int64(len(events)))
		return err
	}
	for i, index := range fresh {
		in.live.Apply(&events[index], ends[i])
	}
	if err := in.log.Commit(ctx, last); err != nil {
		return fmt.Errorf("accept events: %w", err)
	}
	in.accepted.Add(int64(len(fresh)))
	in.duplicates.Add(int64(len(events) - len(fresh)))
	return nil
}

// append queues the events that are new and returns their indexes, the offsets
// behind them, and the offset behind all events, new and known.
func (in *Intake) append(events []event.Event, batch *event.Batch) (fresh []int, ends []event.Offset, last event.Offset, err error) {
	now := in.now()
	in.mu.Lock()
	defer in.mu.Unlock()
	fresh = make([]int, 0, len(events))
	for i := range events {
		if end, known := in.seen.get(events[i].ID); known {
			last = max(last, end)
			continue
		}
		fresh = append(fresh, i)
		in.seen.add(events[i].ID, 0, now) // for a second one in this batch
	}
	ends, err = in.log.AppendBatch(batch, fresh)
	for i, index := range fresh {
		if err != nil {
			in.seen.remove(events[index].ID)
			continue
		}
		in.seen.add(events[index].ID, ends[i], now)
		last = max(last, ends[i])
	}
	return fresh, ends, last, err
}

// Stats counts what was taken in.
func (in *Intake) Stats() IntakeStats {
	in.mu.Lock()
	remembered := in.seen.size()
	in.mu.Unlock()
	return IntakeStats{
		Accepted: in.accepted.Load(), Duplicates: in.duplicates.Load(), Recorded: in.recorded.Load(),
		Busy: in.busy.Load(), Invalid: in.invalid.Load(),
		DroppedPages: in.droppedPages.Load(), DroppedTriggers: in.droppedTriggers.Load(),
		DroppedConversions: in.droppedConversions.Load(), DroppedOthers: in.droppedOthers.Load(),
		Remembered: remembered,
	}
}
