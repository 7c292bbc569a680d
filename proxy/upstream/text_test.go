package upstream

import (
	"testing"

	"pgregory.net/rapid"
)

func TestValidValueLooksAtEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SliceOfN(rapid.OneOf(rapid.Byte(), rapid.ByteRange(' ', '~'), rapid.SampledFrom([]byte("\t\x1f\x7f\x80\xff"))), 0, 40).Draw(t, "value")
		want := true
		for _, b := range value {
			if b < ' ' && b != '\t' || b == 0x7f {
				want = false
			}
		}
		if got := validValue(value); got != want {
			t.Fatalf("%q is valid: %v, want %v", value, got, want)
		}
	})
	for at := range 20 {
		for b := range 256 {
			value := []byte("a value of 20 bytes.")
			value[at] = byte(b)
			if got, want := validValue(value), (b >= ' ' || b == '\t') && b != 0x7f; got != want {
				t.Fatalf("%q is valid: %v, want %v", value, got, want)
			}
		}
	}
}

// A table that is indexed by the length of names must have a place for each.
func TestKnownNamesAreFound(t *testing.T) {
	for _, known := range []*knownNames{answerNames, requestNames} {
		some := false
		for length, alike := range known {
			for i := range alike {
				want := &alike[i]
				lower := []byte(want.usual)
				for at, b := range lower {
					if b >= 'A' && b <= 'Z' {
						lower[at] = b | 0x20
					}
				}
				if len(want.usual) != length || known.find([]byte(want.usual)) != want || known.find(lower) != want {
					t.Errorf("%q is not found", want.usual)
				}
				some = true
			}
		}
		for _, other := range []string{"", "X", "Accept-Encodinh", "Content-Security-Policy-Report-Onlyy"} {
			if known.find([]byte(other)) != unknownName {
				t.Errorf("%q is found", other)
			}
		}
		if !some {
			t.Error("no names are known")
		}
	}
}
