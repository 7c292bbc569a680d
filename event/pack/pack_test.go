package pack

import (
	"errors"
	"math"
	"testing"
)

func TestValuesComeBack(t *testing.T) {
	b := []byte("prefix")
	from := len(b)
	b = append(b, 3)
	b = Float(Fixed(Uint(Int(b, math.MinInt64), math.MaxUint64), 7), -1.5)
	b = Seal(Uint(Text(Bool(Bool(b, true), false), "töxt"), 0), from)
	r := Open(b[from:], 3)
	if r.Int() != math.MinInt64 || r.Uint() != math.MaxUint64 || r.Fixed() != 7 || r.Float() != -1.5 ||
		!r.Bool() || r.Bool() || r.Text() != "töxt" || r.Count() != 0 || r.Done() != nil {
		t.Fatal(r.err)
	}
}

func TestDamageIsAnError(t *testing.T) {
	whole := Seal(Text(Int([]byte{1}, 300), "abc"), 0)
	read := func(b []byte) error {
		r := Open(b, 1)
		r.Int()
		_ = r.Text()
		return r.Done()
	}
	if err := read(whole); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := read(whole[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at %d: %v", n, err)
		}
		broken := append([]byte(nil), whole...)
		broken[n] ^= 0x10
		if err := read(broken); !errors.Is(err, ErrDamaged) {
			t.Errorf("changed at %d: %v", n, err)
		}
	}
	if err := Open(whole, 2).Done(); !errors.Is(err, ErrDamaged) {
		t.Errorf("other version: %v", err)
	}
	if err := Read(nil, 1).Done(); !errors.Is(err, ErrDamaged) {
		t.Errorf("nothing: %v", err)
	}
	if n := Read([]byte{1, 200, 1}, 1).Count(); n != 0 {
		t.Errorf("a count of %d in no bytes", n)
	}
}
