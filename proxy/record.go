package proxy

import (
	"math"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/rewrite"
)

// record notes that a visitor was shown a page, and what they have met on it so far.
// It does so before the body goes out, so that the visitor's next request finds it.
func (x *exchange) record() {
	if x.shown() {
		if w := x.watch; w != nil {
			x.view(w.add())
		} else {
			x.view(&x.event[0])
			x.server.keep(x.site.Recorder, x.event[:])
		}
	}
	x.recordTriggers()
}

// shown reports whether the answer is the view of a page by somebody who is counted.
func (x *exchange) shown() bool {
	if !x.counted || !x.kind.navigation || !x.ctx.IsGet() {
		return false
	}
	resp := &x.ctx.Response
	switch {
	case x.ready.variant != nil:
		return true
	case resp.StatusCode() == fasthttp.StatusNotModified:
		// It names no content type: what asked in so many words for a page has
		// been told to show the copy of one that it has.
		o := x.lookup.found
		return x.kind.explicit || x.concerned && o != nil && isHTML(o.Header.ContentType())
	}
	return resp.StatusCode() < 400 && isHTML(resp.Header.ContentType())
}

// view makes e the view of the page.
func (x *exchange) view(e *event.Event) {
	if !x.segmented {
		x.segmentForRecord()
	}
	*e = event.Event{
		Type: event.Page, Visitor: x.visitor, Minted: x.minted != "", Segment: x.primary(),
		Path: x.page.Path, Query: x.page.Query,
	}
}

// recordTriggers notes what the visitor has met on the page so far. What they meet
// from now on is noted at once.
func (x *exchange) recordTriggers() {
	if w := x.watch; w != nil {
		x.watch = nil
		w.held = false
		w.flush()
	}
}

// expectWhole waits for what the client's end says of the answer's way. It may say so
// from another goroutine, so the exchange does not hold the watch any more.
func (x *exchange) expectWhole(w *watch) {
	if w != nil {
		x.recordTriggers()
		x.down.expect(&delivery{watch: w, head: -1})
	}
}

// segmentForRecord finds the segment of a visitor whom nothing was decided for.
func (x *exchange) segmentForRecord() {
	defer func() {
		if r := recover(); r != nil {
			x.server.notePanic("segmenting", r, "request_id", x.id)
		}
	}()
	x.segmented = true
	if err := x.know(); err != nil {
		x.server.log.Warn("profile not read", "request_id", x.id, "error", err.Error())
		return
	}
	x.segment()
}

// keep hands events of one visitor over, which have happened just now. It gives them
// their ids. Much of it happens while an answer is being sent, in goroutines of
// fasthttp in which a panic would end the process.
func (s *Server) keep(r Recorder, events []event.Event) {
	kept := 0
	defer func() {
		if p := recover(); p != nil {
			s.notePanic("recording", p)
		}
		if kept < len(events) {
			s.stats.Dropped.Add(uint64(len(events) - kept))
		}
	}()
	now := s.now()
	source := s.ids.Get().(*idSource)
	for i := range events {
		e := &events[i]
		e.ID, e.Time, e.Received = source.next(), now, now
	}
	s.ids.Put(source)
	kept = r.Record(events)
}

// watch looks out for the experiments that a visitor meets on one page, and for
// what of it reaches them. It lives until the answer is sent, so it holds copies.
// All methods but add and flush work on nil.
type watch struct {
	server   *Server
	recorder Recorder
	visitor  string
	path     string
	minted   bool
	items    []watched

	// held says that the exchange will record the triggers so far, with the view of
	// the page. Until then they wait in events.
	held   bool
	events []event.Event // those that are recorded next
}

type watched struct {
	exposure  decision.Exposure
	edits     []int
	first     int64 // where the arms begin to differ in the answer, -1: not seen yet
	delivered bool
}

// newWatch returns nil if nobody is counted or nothing can be triggered. What
// differs in a request action has happened already.
func (x *exchange) newWatch() *watch {
	if !x.counted || !x.ctx.IsGet() || len(x.plan.Triggers) == 0 {
		return nil
	}
	w := x.server.watches.Get().(*watch)
	w.server, w.recorder, w.visitor, w.path = x.server, x.site.Recorder, x.visitor, x.page.Path
	w.minted, w.held = x.minted != "", true
	for i := range x.plan.Triggers {
		t := &x.plan.Triggers[i]
		w.items = append(w.items, watched{exposure: t.Exposure, edits: t.Edits, first: -1})
	}
	for i := range w.items {
		if x.plan.Triggers[i].Always {
			w.trigger(&w.items[i], 0)
		}
	}
	x.watch = w
	return w
}

// release gives the watch back, which nobody may use any more.
func (w *watch) release() {
	if w == nil || w.held {
		return
	}
	clear(w.items)
	s := w.server
	*w = watch{items: w.items[:0], events: w.events[:0]}
	s.watches.Put(w)
}

func (w *watch) trigger(item *watched, first int64) {
	item.first = first
	w.note(event.Trigger, item)
}

func (w *watch) note(t event.Type, item *watched) {
	*w.add() = event.Event{
		Type: t, Visitor: w.visitor, Minted: w.minted, Segment: item.exposure.Segment, Path: w.path, Exposure: &item.exposure,
	}
}

// add returns room for one more event that is recorded next.
func (w *watch) add() *event.Event {
	w.events = append(w.events, event.Event{})
	return &w.events[len(w.events)-1]
}

// flush records what was noted.
func (w *watch) flush() {
	if len(w.events) > 0 && !w.held {
		w.server.keep(w.recorder, w.events)
		clear(w.events)
		w.events = w.events[:0]
	}
}

// see takes what the edits of the page have matched so far.
func (w *watch) see(matches []rewrite.Match) {
	if w == nil {
		return
	}
	for i := range w.items {
		item := &w.items[i]
		if item.first >= 0 {
			continue
		}
		first := int64(math.MaxInt64)
		for _, edit := range item.edits {
			if edit < len(matches) && matches[edit].Count > 0 {
				first = min(first, max(0, matches[edit].FirstOut))
			}
		}
		if first != math.MaxInt64 {
			w.trigger(item, first)
		}
	}
	w.flush()
}

func (w *watch) seeVariant(offsets []int64) {
	for i := range w.items {
		item := &w.items[i]
		if item.first >= 0 {
			continue
		}
		first := int64(math.MaxInt64)
		for _, edit := range item.edits {
			if edit < len(offsets) && offsets[edit] >= 0 {
				first = min(first, offsets[edit])
			}
		}
		if first != math.MaxInt64 {
			w.trigger(item, first)
		}
	}
	w.flush()
}

// delivered tells that the edited page has left up to an offset, and reports
// whether nothing is left to wait for.
func (w *watch) delivered(upTo int64) bool {
	if w == nil {
		return true
	}
	waiting := false
	for i := range w.items {
		item := &w.items[i]
		if item.delivered || item.first < 0 {
			continue
		}
		if item.first >= upTo {
			waiting = true
			continue
		}
		item.delivered = true
		w.note(event.Delivery, item)
	}
	w.flush()
	return !waiting
}

// complete tells that the whole answer has left.
func (w *watch) complete() { w.delivered(math.MaxInt64) }

// delivery waits for what the kernel takes of an answer from memory.
type delivery struct {
	watch *watch
	head  int64 // length of the answer's head, -1: nothing was sent yet
	sent  int64
}

// passed takes that n more bytes were sent, which begin with first.
func (d *delivery) passed(first []byte, n int64) bool {
	if d.head < 0 {
		d.head = headLength(first)
	}
	d.sent += n
	return d.watch.delivered(d.sent - d.head)
}

func (d *delivery) complete() { d.watch.complete() }
