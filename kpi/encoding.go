package kpi

import (
	"fmt"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/event/pack"
)

const rowVersion = 1

// Append appends the encoded row to b.
func (r *Row) Append(b []byte) []byte {
	from := len(b)
	b = pack.Bool(append(b, rowVersion), r.confirmed)
	b = pack.Uint(b, uint64(len(r.sessions)))
	for _, s := range r.sessions {
		b = pack.Int(appendStamp(b, s.first), s.end-s.first.Milli)
		b = appendReached(pack.Text(b, s.segment), s.reached)
	}
	b = pack.Uint(b, uint64(len(r.folded)))
	for _, p := range r.folded {
		b = appendReached(pack.Int(pack.Text(b, p.segment), p.sessions), p.reached)
	}
	b = pack.Int(pack.Uint(b, uint64(r.foldedAt)), r.foldedEnd)
	b = pack.Uint(b, uint64(len(r.exposures)))
	for _, x := range r.exposures {
		b = pack.Text(pack.Text(pack.Text(b, x.experiment), x.arm), x.segment)
		b = pack.Bool(pack.Bool(pack.Bool(b, x.holdout), x.delivered), x.crossed)
		b = appendReached(pack.Int(pack.Int(b, x.first), x.sessions), x.reached)
	}
	b = pack.Uint(b, uint64(len(r.hits)))
	for _, h := range r.hits {
		b = pack.Int(pack.Text(appendStamp(b, h.stamp), h.goal), int64(h.revenue))
	}
	b = pack.Uint(b, uint64(len(r.orders)))
	for _, h := range r.orders {
		b = pack.Fixed(b, h)
	}
	return pack.Seal(b, from)
}

// DecodeRow reads a row that [Row.Append] wrote. It copies what it keeps.
func DecodeRow(b []byte) (*Row, error) {
	in := pack.Open(b, rowVersion)
	r := &Row{confirmed: in.Bool()}
	for range in.Count() {
		s := session{first: readStamp(in)}
		s.end = s.first.Milli + in.Int()
		s.segment, s.reached = in.Text(), readReached(in)
		r.sessions = append(r.sessions, s)
	}
	for range in.Count() {
		r.folded = append(r.folded, part{in.Text(), in.Int(), readReached(in)})
	}
	r.foldedAt, r.foldedEnd = int(in.Uint()), in.Int()
	for range in.Count() {
		x := exposure{experiment: in.Text(), arm: in.Text(), segment: in.Text()}
		x.holdout, x.delivered, x.crossed = in.Bool(), in.Bool(), in.Bool()
		x.first, x.sessions, x.reached = in.Int(), in.Int(), readReached(in)
		r.exposures = append(r.exposures, x)
	}
	for range in.Count() {
		r.hits = append(r.hits, hit{readStamp(in), in.Text(), decision.Money(in.Int())})
	}
	if n := in.Count(); n > 0 {
		r.orders = make([]uint64, 0, n+1)
		for range n {
			r.orders = append(r.orders, in.Fixed())
		}
	}
	err := in.Done()
	if err == nil && r.foldedAt != 0 && (r.foldedAt < 0 || r.foldedAt >= len(r.folded)) {
		err = pack.ErrDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("decode row: %w", err)
	}
	return r, nil
}

func appendStamp(b []byte, s event.Stamp) []byte { return pack.Fixed(pack.Int(b, s.Milli), s.ID) }

func readStamp(r *pack.Reader) event.Stamp { return event.Stamp{Milli: r.Int(), ID: r.Fixed()} }

func appendReached(b []byte, list []reach) []byte {
	b = pack.Uint(b, uint64(len(list)))
	for _, r := range list {
		b = pack.Int(pack.Int(pack.Int(pack.Text(b, r.goal), r.sessions), r.conversions), int64(r.revenue))
	}
	return b
}

func readReached(r *pack.Reader) []reach {
	n := r.Count()
	if n == 0 {
		return nil
	}
	list := make([]reach, 0, min(n, 8))
	for range n {
		list = append(list, reach{r.Text(), r.Int(), r.Int(), decision.Money(r.Int())})
	}
	return list
}
