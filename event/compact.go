package event

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

// A payload is an event in one of two forms, told apart by the first byte. JSON can
// hold every event. The compact form holds what traffic is made of, which has neither
// properties nor traits, in a tenth of the time:
//
//	form (1), type, flags, then texts and numbers in the order of the fields
//
// where a number is a varint of itself plus one, and a text is its length and its
// bytes. Thus the compact form holds no zero byte, as JSON does not, so no text in it
// can look like a record. A text that JSON would change, and one with a zero byte, is
// left to JSON.
const (
	formCompact = 1
	formJSON    = '{'

	// lastForm bounds the first bytes that other versions of Sedge may use for forms
	// of their own.
	lastForm = 0x1f
)

// The flags of the compact form. One is always set, so that none is a zero byte.
const (
	flagObserved = 1 << iota
	flagMinted
	flagReceived // apart from the time
	flagOrder
	flagExposure
	flagHoldout
	flagsAlways = 0x80

	flagsKnown = flagObserved | flagMinted | flagReceived | flagOrder | flagExposure | flagHoldout | flagsAlways
)

// compactTypes are the types by their place in the compact form, from 1.
var compactTypes = [...]Type{Page, Track, Identify, Trigger, Delivery}

var errForm = errors.New("the record has another form")

// appendCompact appends the compact form of e. It reports false, and appends nothing
// of use, if that cannot hold e.
func appendCompact(b []byte, e *Event) ([]byte, bool) {
	kind, late := kindOf(e.Type), !e.Received.Equal(e.Time)
	if kind == 0 || len(e.Properties) > 0 || len(e.Traits) > 0 || !isUTC(e.Time) || !isUTC(e.Received) {
		return b, false
	}
	w := compactWriter{b: append(b, formCompact, kind, flagsOf(e, late)), ok: true}
	w.text(e.ID)
	w.text(e.Name)
	w.text(e.Visitor)
	w.time(e.Time)
	if late {
		w.time(e.Received)
	}
	w.text(e.Segment)
	w.text(e.Path)
	w.number(uint64(len(e.Conversions)))
	for i := range e.Conversions {
		c := &e.Conversions[i]
		w.text(c.Goal)
		w.signed(int64(c.Revenue))
		w.text(c.OrderID)
	}
	if o := e.Order; o != nil {
		w.text(o.ID)
		w.signed(int64(o.Revenue))
	}
	if x := e.Exposure; x != nil {
		w.text(x.Experiment)
		w.text(x.Arm)
		w.text(x.Segment)
	}
	return w.b, w.ok
}

// kindOf returns the place of a type in [compactTypes], from 1; 0 for one that is not
// there.
func kindOf(t Type) byte {
	switch t {
	case Page:
		return 1
	case Track:
		return 2
	case Identify:
		return 3
	case Trigger:
		return 4
	case Delivery:
		return 5
	}
	return 0
}

func flagsOf(e *Event, late bool) byte {
	flags := byte(flagsAlways)
	if e.Observed {
		flags |= flagObserved
	}
	if e.Minted {
		flags |= flagMinted
	}
	if late {
		flags |= flagReceived
	}
	if e.Order != nil {
		flags |= flagOrder
	}
	if e.Exposure != nil {
		flags |= flagExposure
		if e.Exposure.Holdout {
			flags |= flagHoldout
		}
	}
	return flags
}

// The first second of the year 0, and of the year 10000.
const (
	yearZero        = -62167219200
	yearTenThousand = 253402300800
)

// isUTC reports whether JSON would return the time as it is.
func isUTC(t time.Time) bool {
	second := t.Unix()
	return t.Location() == time.UTC && second >= yearZero && second < yearTenThousand
}

// compactWriter appends what the compact form is made of.
type compactWriter struct {
	b  []byte
	ok bool // the compact form can hold it
}

func (w *compactWriter) number(v uint64) {
	if v++; v == 0 {
		w.ok = false
	}
	b := w.b
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	w.b = append(b, byte(v))
}

func (w *compactWriter) signed(v int64) { w.number(uint64(v)<<1 ^ uint64(v>>63)) }

func (w *compactWriter) text(s string) {
	if !isText(s) {
		w.ok = false
	}
	w.number(uint64(len(s)))
	w.b = append(w.b, s...)
}

// isText reports whether JSON would return s as it is and it has no zero byte. Nearly
// all texts are ASCII, which eight bytes at a time tell.
func isText(s string) bool {
	const low, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		p := s[i : i+8]
		word := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		if (word|(word-low))&high != 0 { // a byte beyond ASCII, or a zero that borrowed
			return isWideText(s)
		}
	}
	for ; i < len(s); i++ {
		if s[i] == 0 || s[i] >= utf8.RuneSelf {
			return isWideText(s)
		}
	}
	return true
}

func isWideText(s string) bool { return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) }

func (w *compactWriter) time(t time.Time) {
	w.signed(t.Unix())
	w.number(uint64(t.Nanosecond()))
}

// decode reads a payload of either form into e, which is zero.
func decode(payload []byte, e *Event) error {
	switch {
	case len(payload) == 0:
		return errForm
	case payload[0] == formJSON:
		return json.Unmarshal(payload, e)
	case payload[0] != formCompact:
		return fmt.Errorf("form %d: %w", payload[0], errForm)
	}
	return decodeCompact(string(payload), e, nil)
}

// decodeCompact reads a compact payload, of which the event's texts are parts. The
// event gets exposure, or a new one, if it has any.
func decodeCompact(payload string, e *Event, exposure *decision.Exposure) error {
	r := compactReader{rest: payload}
	r.skip(1)
	kind, flags := r.skip(1), r.skip(1)
	if kind < 1 || int(kind) > len(compactTypes) || flags&flagsAlways == 0 || flags&^flagsKnown != 0 ||
		flags&flagHoldout != 0 && flags&flagExposure == 0 {
		return errForm
	}
	e.Type, e.Observed, e.Minted = compactTypes[kind-1], flags&flagObserved != 0, flags&flagMinted != 0
	e.ID, e.Name, e.Visitor = r.text(), r.text(), r.text()
	e.Time = r.time()
	if e.Received = e.Time; flags&flagReceived != 0 {
		e.Received = r.time()
	}
	e.Segment, e.Path = r.text(), r.text()
	const leastConversion = 3 // bytes
	n := r.number()
	if n > uint64(len(r.rest)/leastConversion) {
		return errForm
	}
	if n > 0 {
		e.Conversions = make([]Conversion, n)
		for i := range e.Conversions {
			e.Conversions[i] = Conversion{Goal: r.text(), Revenue: decision.Money(r.signed()), OrderID: r.text()}
		}
	}
	if flags&flagOrder != 0 {
		e.Order = &Order{ID: r.text(), Revenue: decision.Money(r.signed())}
	}
	if flags&flagExposure != 0 {
		if exposure == nil {
			exposure = new(decision.Exposure)
		}
		*exposure = decision.Exposure{
			Assignment: decision.Assignment{Experiment: r.text(), Arm: r.text(), Holdout: flags&flagHoldout != 0}, Segment: r.text(),
		}
		e.Exposure = exposure
	}
	if r.failed || r.rest != "" {
		return errForm
	}
	return nil
}

// compactReader takes values out of a compact form. After a failure it answers with
// zero values.
type compactReader struct {
	rest   string
	failed bool
}

func (r *compactReader) fail() { r.rest, r.failed = "", true }

// skip takes n bytes and returns the last.
func (r *compactReader) skip(n int) byte {
	if len(r.rest) < n {
		r.fail()
		return 0
	}
	last := r.rest[n-1]
	r.rest = r.rest[n:]
	return last
}

func (r *compactReader) number() uint64 {
	if len(r.rest) > 0 {
		if c := r.rest[0]; c > 0 && c < 0x80 { // as nearly all are
			r.rest = r.rest[1:]
			return uint64(c) - 1
		}
	}
	return r.longNumber()
}

func (r *compactReader) longNumber() uint64 {
	v, shift := uint64(0), 0
	for i := range len(r.rest) {
		c := r.rest[i]
		if i == binary.MaxVarintLen64 || i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << shift
		if shift += 7; c < 0x80 {
			if v == 0 {
				break
			}
			r.rest = r.rest[i+1:]
			return v - 1
		}
	}
	r.fail()
	return 0
}

func (r *compactReader) signed() int64 {
	v := r.number()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *compactReader) text() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *compactReader) time() time.Time {
	seconds, nanos := r.signed(), r.number()
	if nanos >= 1e9 {
		r.fail()
		nanos = 0
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

// peekCompact returns the id of an event that was not observed.
func peekCompact(payload []byte) string {
	var e Event
	if len(payload) < 3 || payload[2]&flagObserved != 0 || decode(payload, &e) != nil {
		return ""
	}
	return e.ID
}
