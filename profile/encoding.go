package profile

import (
	"fmt"
	"math"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/event/pack"
)

const stateVersion = 1

// The kinds of trait values as they are encoded.
const (
	traitRemoved byte = iota
	traitText
	traitNumber
	traitTrue
	traitFalse
)

// Append appends the encoded state to b.
func (s *State) Append(b []byte) []byte {
	from := len(b)
	b = append(b, stateVersion)
	for _, v := range []int64{
		s.firstSeen, s.lastSeen, s.lastOrder, s.pageViews, s.folded, s.foldedEnd, s.orders, int64(s.revenue),
	} {
		b = pack.Int(b, v)
	}
	b = pack.Bool(b, s.traitsCut)
	b = pack.Uint(b, uint64(len(s.intervals)))
	for _, v := range s.intervals {
		b = pack.Int(pack.Int(b, v.start), v.end-v.start)
	}
	b = pack.Uint(b, uint64(len(s.recent)))
	for _, o := range s.recent {
		b = pack.Int(pack.Fixed(appendStamp(b, o.stamp), o.id), int64(o.revenue))
	}
	b = pack.Uint(b, uint64(len(s.counts)))
	for _, c := range s.counts {
		b = pack.Int(pack.Text(b, c.name), c.n)
	}
	b = pack.Uint(b, uint64(len(s.traits)))
	for _, t := range s.traits {
		b = appendValue(appendStamp(pack.Text(b, t.name), t.stamp), t.value)
	}
	return pack.Seal(b, from)
}

// Decode reads a state that [State.Append] wrote. It copies what it keeps.
func Decode(b []byte) (*State, error) {
	r := pack.Open(b, stateVersion)
	s := &State{
		firstSeen: r.Int(), lastSeen: r.Int(), lastOrder: r.Int(), pageViews: r.Int(),
		folded: r.Int(), foldedEnd: r.Int(), orders: r.Int(), revenue: decision.Money(r.Int()),
		traitsCut: r.Bool(),
	}
	if n := r.Count(); n > 0 {
		s.intervals = make([]interval, 0, min(n, MaxIntervals+1))
		for range n {
			start := r.Int()
			s.intervals = append(s.intervals, interval{start, start + r.Int()})
		}
	}
	if n := r.Count(); n > 0 {
		s.recent = make([]order, 0, min(n, MaxOrders+1))
		for range n {
			s.recent = append(s.recent, order{stamp: readStamp(r), id: r.Fixed(), revenue: decision.Money(r.Int())})
		}
	}
	for range r.Count() {
		s.counts = append(s.counts, count{r.Text(), r.Int()})
	}
	for range r.Count() {
		s.traits = append(s.traits, trait{r.Text(), readStamp(r), readValue(r)})
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("decode profile: %w", err)
	}
	return s, nil
}

func appendStamp(b []byte, s event.Stamp) []byte { return pack.Fixed(pack.Int(b, s.Milli), s.ID) }

func readStamp(r *pack.Reader) event.Stamp { return event.Stamp{Milli: r.Int(), ID: r.Fixed()} }

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return pack.Text(append(b, traitText), v)
	case float64:
		return pack.Fixed(append(b, traitNumber), math.Float64bits(v))
	case bool:
		if v {
			return append(b, traitTrue)
		}
		return append(b, traitFalse)
	}
	return append(b, traitRemoved)
}

func readValue(r *pack.Reader) any {
	switch r.Byte() {
	case traitText:
		return r.Text()
	case traitNumber:
		return r.Float()
	case traitTrue:
		return true
	case traitFalse:
		return false
	}
	return nil
}
