package coding

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func accepts(lines ...string) *Accepts {
	a := new(Accepts)
	for _, line := range lines {
		a.Add([]byte(line))
	}
	return a
}

// Each line is what a client says, what it gets, and what its origin is asked for.
func TestAccepts(t *testing.T) {
	for _, c := range []struct {
		lines string // parted by "|"
		best  Coding // while it waits; of what is kept br is better than zstd
		asked string
	}{
		{"", Identity, "identity"},
		{",", Identity, "identity"},
		{"identity", Identity, "identity"},
		{"gzip", Gzip, "gzip"},
		{"x-gzip", Gzip, "gzip"},
		{"GZip", Gzip, "gzip"},
		{"deflate", Deflate, "identity"},
		{"br", Brotli, "br"},
		{"zstd", Zstd, "zstd"},
		{"gzip, deflate", Gzip, "gzip"},
		{"gzip, deflate, br", Brotli, "br, gzip"},
		{"gzip, deflate, br, zstd", Zstd, "zstd, br, gzip"},
		{"zstd, gzip", Zstd, "zstd, gzip"},
		{"zstd,br", Zstd, "zstd, br"},
		{"br|gzip", Brotli, "br, gzip"},
		{"compress, exi", Identity, "identity"},
		{"gzip;q=0", Identity, "identity"},
		{"gzip;q=0.000", Identity, "identity"},
		{"gzip;q=0.001", Gzip, "gzip"},
		{"gzip;q=1.000, br;q=0.9", Gzip, "br, gzip"},
		{"br;q=0.5, zstd;q=0.8, gzip;q=0.8", Zstd, "zstd, br, gzip"},
		{"gzip ; q=0.5 , br;Q=0.4", Gzip, "br, gzip"},
		{"\tgzip\t;\tq=0.5", Gzip, "gzip"},
		{"identity;q=0.5, gzip;q=0.4", Identity, "gzip"},
		{"identity;q=0.5, gzip;q=0.5", Gzip, "gzip"},
		{"identity;q=0", Identity, "identity"},
		{"identity;q=0, gzip;q=0.1", Gzip, "gzip"},
		{"*", Gzip, "gzip"},
		{"*;q=0", Identity, "identity"},
		{"*;q=0.1", Gzip, "gzip"},
		{"gzip;q=0, *", Identity, "identity"},
		{"br, *;q=0", Brotli, "br"},
		{"gzip;q=0.2, *;q=0.8", Identity, "gzip"},
		{"br;q=0.2, *;q=0.8", Gzip, "br, gzip"},
		{"identity;q=0, *", Gzip, "gzip"},
		{"identity;q=0, *;q=0", Identity, "identity"},
		{"gzip;q=0, gzip", Identity, "identity"}, // the first counts
		{"gzip|gzip;q=0", Gzip, "gzip"},          // likewise
		{"*;q=0, *", Identity, "identity"},       // likewise
		{"gzip;q=2", Identity, "identity"},       // no weight
		{"gzip;q=1.001", Identity, "identity"},   // likewise
		{"gzip;q=-1", Identity, "identity"},      // likewise
		{"gzip;q=", Identity, "identity"},        // likewise
		{"gzip;q=0x1", Identity, "identity"},     // likewise
		{"gzip;q=1e3", Identity, "identity"},     // likewise
		{"gzip;level=9, br", Brotli, "br"},       // likewise
		{"gzip;q=0.00005", Identity, "identity"}, // too fine to count
		{"gzip;q=0.99999", Gzip, "gzip"},         // finer than it need be
		{"gzip br", Identity, "identity"},        // one name, of nothing
		{"gzip\x00, zstd\xff", Identity, "identity"},
	} {
		a := accepts(strings.Split(c.lines, "|")...)
		if got := a.Best(Live); got != c.best {
			t.Errorf("%q: sent %v, want %v", c.lines, got, c.best)
		}
		kept := c.best
		if kept == Zstd && a.weight(Brotli) == a.weight(Zstd) {
			kept = Brotli
		}
		if got := a.Best(Kept); got != kept {
			t.Errorf("%q: sent %v of what is kept, want %v", c.lines, got, kept)
		}
		if got := a.Readable().Request(); got != c.asked {
			t.Errorf("%q: asked for %q, want %q", c.lines, got, c.asked)
		}
	}
}

// Whatever a client says, nobody is sent what they refuse while they accept anything,
// nothing that they like less than another coding, and lines mean the same as one list.
func TestAcceptsKeepsItsWord(t *testing.T) {
	names := []string{"gzip", "br", "zstd", "deflate", "identity", "*", "x-gzip", "exi"}
	weights := []string{"", ";q=0", ";q=0.1", ";q=0.5", "; q=1", ";q=0.333", ";q=7"}
	rapid.Check(t, func(t *rapid.T) {
		var items []string
		for range rapid.IntRange(0, 6).Draw(t, "items") {
			items = append(items, rapid.SampledFrom(names).Draw(t, "name")+rapid.SampledFrom(weights).Draw(t, "weight"))
		}
		a, list := accepts(items...), accepts(strings.Join(items, ","))
		if *a != *list {
			t.Fatalf("%q: %+v in lines, %+v in one", items, a, list)
		}
		for c := range Count {
			for e := range efforts {
				best := a.Best(e)
				if w := a.weight(c); w > a.weight(best) {
					t.Errorf("%q: sent %v of weight %d and not %v of %d", items, best, a.weight(best), c, w)
				}
			}
			if a.Readable().Has(c) && a.weight(c) == 0 {
				t.Errorf("%q: %v is asked for, which is refused", items, c)
			}
		}
	})
}

func FuzzAccepts(f *testing.F) {
	for _, seed := range []string{"gzip, deflate, br, zstd", "gzip;q=0.5,*;q=0", "identity;q=0, br;q=1.000", ";;;,,,q=", "*;q=0.0000000000000000000001"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		a := accepts(line)
		for e := range efforts {
			if best := a.Best(e); best >= Count || best != Identity && a.weight(best) == 0 {
				t.Fatalf("sent %v of weight %d", best, a.weight(best))
			}
		}
		if in := accepts(strings.Split(line, ",")...); *in != *a {
			t.Fatalf("%+v in lines, %+v in one", in, a)
		}
		lower := strings.ToLower(line)
		for _, c := range preferred[Live] {
			if a.weight(c) > 0 && !strings.Contains(lower, c.String()) && !strings.Contains(line, "*") {
				t.Fatalf("%v is not named", c)
			}
		}
	})
}

func TestParseLayers(t *testing.T) {
	for value, want := range map[string]Layers{
		"": {}, "identity": {}, " , ": {}, "identity, identity, identity": {},
		"gzip": {Gzip}, "X-GZIP": {Gzip}, "deflate": {Deflate}, "br": {Brotli}, " zstd\t": {Zstd},
		"gzip, br": {Gzip, Brotli}, "gzip,identity,,zstd": {Gzip, Zstd}, "gzip,gzip": {Gzip, Gzip},
	} {
		if got, ok := ParseLayers([]byte(value)); !ok || got != want {
			t.Errorf("%q: %v, %v; want %v", value, got, ok, want)
		}
	}
	for _, value := range []string{"compress", "gzip, compress", "gzip, br, zstd", "gzip;q=1", "aws-chunked", "gzip br", "*", "identityy"} {
		if got, ok := ParseLayers([]byte(value)); ok || got != (Layers{}) {
			t.Errorf("%q is read as %v", value, got)
		}
	}
}

func TestLayersKey(t *testing.T) {
	seen := map[uint32]Layers{}
	for a := range Count {
		for b := range Count {
			l := Layers{a, b}
			if other, ok := seen[l.Key()]; ok || l.Key() >= 1<<16 {
				t.Errorf("%v has the key %x, as %v", l, l.Key(), other)
			}
			seen[l.Key()] = l
		}
	}
}
