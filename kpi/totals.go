package kpi

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event/pack"
)

// AnyGoal is the name under which sums over all goals stand: a visitor who
// reached any of them, or ordered. Its revenue counts an order once, however
// many goals see it.
const AnyGoal = ""

// Kind says what a [Key] groups by.
type Kind byte

// The groups that are summed.
const (
	Site       Kind = 's' // all visitors
	Segment    Kind = 'g' // visitors with a session that began in the segment
	Experiment Kind = 'e' // visitors by arm and by segment at first trigger
	Crossed    Kind = 'x' // visitors who met two arms of an experiment and are in neither
)

// Key names one sum.
type Key struct {
	Kind        Kind
	Segment     string
	Experiment  string
	Arm         string
	Holdout     bool // the experiment is an experience with a hold-out
	Goal        string
	Unconfirmed bool
}

// Sums are what is summed for one key. Visitors, Sessions and Delivered stand
// with [AnyGoal] only.
type Sums struct {
	Visitors  int64 // of an experiment: who triggered
	Sessions  int64
	Delivered int64

	Converted          int64 // visitors
	ConvertingSessions int64
	Conversions        int64
	Revenue            decision.Money
	Squares            Squares // of each visitor's revenue
}

// Squares is a sum of squared amounts, exact, as a number of 128 bits.
type Squares struct{ Hi, Lo uint64 }

// Of returns the square of one amount.
func squareOf(m decision.Money) Squares {
	u := uint64(m)
	if m < 0 {
		u = uint64(-m)
	}
	hi, lo := bits.Mul64(u, u)
	return Squares{hi, lo}
}

// Plus returns the sum of both.
func (s Squares) Plus(t Squares) Squares {
	lo, carry := bits.Add64(s.Lo, t.Lo, 0)
	hi, _ := bits.Add64(s.Hi, t.Hi, carry)
	return Squares{hi, lo}
}

// Minus returns the difference of both, wrapping around below zero so that
// adding it takes away.
func (s Squares) Minus(t Squares) Squares {
	lo, borrow := bits.Sub64(s.Lo, t.Lo, 0)
	hi, _ := bits.Sub64(s.Hi, t.Hi, borrow)
	return Squares{hi, lo}
}

// Units returns the sum in squared currency units.
func (s Squares) Units() float64 {
	return (math.Ldexp(float64(s.Hi), 64) + float64(s.Lo)) / 1e12
}

// IsZero reports whether nothing is summed.
func (s *Sums) IsZero() bool { return *s == Sums{} }

// Add adds the other sums.
func (s *Sums) Add(t *Sums) {
	s.Visitors += t.Visitors
	s.Sessions += t.Sessions
	s.Delivered += t.Delivered
	s.Converted += t.Converted
	s.ConvertingSessions += t.ConvertingSessions
	s.Conversions += t.Conversions
	s.Revenue += t.Revenue
	s.Squares = s.Squares.Plus(t.Squares)
}

func (s *Sums) sub(t *Sums) {
	s.Visitors -= t.Visitors
	s.Sessions -= t.Sessions
	s.Delivered -= t.Delivered
	s.Converted -= t.Converted
	s.ConvertingSessions -= t.ConvertingSessions
	s.Conversions -= t.Conversions
	s.Revenue -= t.Revenue
	s.Squares = s.Squares.Minus(t.Squares)
}

// Totals are sums, or changes of sums, by key.
type Totals map[Key]*Sums

func (t Totals) change(key Key, by *Sums, add bool) {
	s := t[key]
	if s == nil {
		s = &Sums{}
		t[key] = s
	}
	if add {
		s.Add(by)
	} else {
		s.sub(by)
	}
}

const totalsVersion = 1

// Append appends the encoded key to b.
func (k Key) Append(b []byte) []byte {
	b = append(b, totalsVersion, byte(k.Kind))
	b = pack.Bool(pack.Bool(b, k.Holdout), k.Unconfirmed)
	for _, s := range [...]string{k.Experiment, k.Arm, k.Segment, k.Goal} {
		b = pack.Text(b, s)
	}
	return b
}

// DecodeKey reads a key that [Key.Append] wrote.
func DecodeKey(b []byte) (Key, error) {
	r := pack.Read(b, totalsVersion)
	k := Key{
		Kind: Kind(r.Byte()), Holdout: r.Bool(), Unconfirmed: r.Bool(),
		Experiment: r.Text(), Arm: r.Text(), Segment: r.Text(), Goal: r.Text(),
	}
	if err := r.Done(); err != nil {
		return Key{}, fmt.Errorf("decode key of a sum: %w", err)
	}
	return k, nil
}

// Append appends the encoded sums to b.
func (s *Sums) Append(b []byte) []byte {
	from := len(b)
	b = append(b, totalsVersion)
	for _, v := range [...]int64{
		s.Visitors, s.Sessions, s.Delivered, s.Converted, s.ConvertingSessions, s.Conversions, int64(s.Revenue),
	} {
		b = pack.Int(b, v)
	}
	return pack.Seal(pack.Fixed(pack.Fixed(b, s.Squares.Hi), s.Squares.Lo), from)
}

// DecodeSums reads sums that [Sums.Append] wrote.
func DecodeSums(b []byte) (Sums, error) {
	r := pack.Open(b, totalsVersion)
	s := Sums{
		Visitors: r.Int(), Sessions: r.Int(), Delivered: r.Int(), Converted: r.Int(),
		ConvertingSessions: r.Int(), Conversions: r.Int(), Revenue: decision.Money(r.Int()),
		Squares: Squares{r.Fixed(), r.Fixed()},
	}
	if err := r.Done(); err != nil {
		return Sums{}, fmt.Errorf("decode sums: %w", err)
	}
	return s, nil
}
