package proxy

import (
	"math"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/rewrite"
)

// record notes that a visitor was shown a page. It does so before the body goes
// out, so that the visitor's next request finds it.
func (x *exchange) record() {
	resp := &x.ctx.Response
	switch status := resp.StatusCode(); {
	case status == fasthttp.StatusNotModified:
		// It names no content type: what asked in so many words for a page has
		// been told to show the copy of one that it has.
		if o := x.lookup.found; x.kind.explicit || x.concerned && o != nil && isHTML(o.Header.ContentType()) {
			x.recordView()
		}
	case status < 400 && isHTML(resp.Header.ContentType()):
		x.recordView()
	}
}

// expectWhole waits for what the client's end says of the answer's way.
func (x *exchange) expectWhole(w *watch) {
	if w != nil {
		x.down.expect(&delivery{watch: w, head: -1})
	}
}

func (x *exchange) recordView() {
	if !x.counted || !x.kind.navigation || !x.ctx.IsGet() {
		return
	}
	if !x.segmented {
		x.segmentForRecord()
	}
	e := x.newEvent(event.Page)
	e.Query = x.page.Query
	x.server.keep(x.site.Recorder, e)
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

func (x *exchange) newEvent(t event.Type) *event.Event {
	now := x.server.now()
	x.event = event.Event{
		ID: x.server.newID(), Type: t, Visitor: x.visitor, Time: now, Received: now,
		Minted: x.minted != "", Segment: x.primary(), Path: x.page.Path,
	}
	return &x.event
}

// keep hands an event over. Much of it happens while an answer is being sent, in
// goroutines of fasthttp in which a panic would end the process.
func (s *Server) keep(r Recorder, e *event.Event) {
	kept := false
	defer func() {
		if p := recover(); p != nil {
			s.notePanic("recording", p)
		}
		if !kept {
			s.stats.Dropped.Add(1)
		}
	}()
	kept = r.Record(e)
}

// watch looks out for the experiments that a visitor meets on one page, and for
// what of it reaches them. It lives until the answer is sent, so it holds copies.
// All methods work on nil.
type watch struct {
	server   *Server
	recorder Recorder
	visitor  string
	path     string
	minted   bool
	now      func() time.Time
	items    []watched

	room     [4]watched // of nearly all pages
	event    event.Event
	exposure decision.Exposure // of event
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
	w := &watch{
		server: x.server, recorder: x.site.Recorder, visitor: x.visitor, path: x.page.Path,
		minted: x.minted != "", now: x.server.now,
	}
	w.items = w.room[:0]
	for i := range x.plan.Triggers {
		t := &x.plan.Triggers[i]
		w.items = append(w.items, watched{exposure: t.Exposure, edits: t.Edits, first: -1})
		if t.Always {
			w.trigger(&w.items[i], 0)
		}
	}
	return w
}

func (w *watch) trigger(item *watched, first int64) {
	item.first = first
	w.note(event.Trigger, item)
}

func (w *watch) note(t event.Type, item *watched) {
	now := w.now()
	w.exposure = item.exposure
	w.event = event.Event{
		ID: w.server.newID(), Type: t, Visitor: w.visitor, Time: now, Received: now,
		Minted: w.minted, Segment: w.exposure.Segment, Path: w.path, Exposure: &w.exposure,
	}
	w.server.keep(w.recorder, &w.event)
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
