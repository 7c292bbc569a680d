package cache_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

func selecting(name string, lines ...string) []byte {
	var values [][]byte
	for _, line := range lines {
		values = append(values, []byte(line))
	}
	return cache.AppendSelecting(nil, name, values)
}

func TestSelecting(t *testing.T) {
	absent := []string(nil)
	list := func(lines ...string) []string { return lines }
	for _, c := range []struct {
		name  string
		field string
		a, b  []string
		same  bool
	}{
		{"9111 4.1: the same", "foo", list("1"), list("1"), true},
		{"9111 4.1: another", "foo", list("1"), list("2"), false},
		{"9111 4.1: absent twice", "foo", absent, absent, true},
		{"9111 4.1: absent and empty", "foo", absent, list(""), false},
		{"9111 4.1: absent and there", "foo", absent, list("1"), false},
		{"9111 4.1: lines are combined", "foo", list("1", "2"), list("1, 2"), true},
		{"9111 4.1: in their order", "foo", list("1", "2"), list("2, 1"), false},
		{"9111 4.1: blanks around commas", "foo", list("1 ,\t2"), list("1,2"), true},
		{"9111 4.1: blanks around all", "foo", list(" 1 "), list("1"), true},
		{"9111 4.1: empty members", "foo", list("1,,2,"), list("1, 2"), true},
		{"9111 4.1: blanks in quotes count", "foo", list(`"1, 2"`), list(`"1,2"`), false},
		{"9111 4.1: a quoted comma is none", "foo", list(`"1", "2"`), list(`"1,2"`), false},
		{"9111 4.1: case counts, as nobody knows", "foo", list("a"), list("A"), false},
		{"9111 4.1: a member cut elsewhere", "foo", list("12"), list("1", "2"), false},

		{"9110 12.5.4: languages without case", "accept-language", list("en-GB, De"), list("en-gb,de"), true},
		{"9110 12.5.4: in their order", "accept-language", list("en, de"), list("de, en"), false},
		{"9110 12.5.4: with their weights", "accept-language", list("en;q=0.5"), list("en"), false},

		{"9110 12.5.3: the order does not count", "accept-encoding", list("gzip, br"), list("br,gzip"), true},
		{"9110 12.5.3: nor do weights", "accept-encoding", list("gzip;q=0.5, br"), list("br;q=0.1", "gzip"), true},
		{"9110 12.5.3: nor case", "accept-encoding", list("GZIP"), list("gzip"), true},
		{"9110 8.4.1.3: x-gzip is gzip", "accept-encoding", list("x-gzip"), list("gzip"), true},
		{"9110 12.5.3: refused is as not named", "accept-encoding", list("gzip;q=0, br"), list("br"), true},
		{"9110 12.4.2: 0 in other forms", "accept-encoding", list("gzip;q=0.000, br; Q=0."), list("identity"), true},
		{"9110 12.4.2: a little is not 0", "accept-encoding", list("gzip;q=0.001"), list("gzip"), true},
		{"9110 12.5.3: another set", "accept-encoding", list("gzip"), list("gzip, br"), false},
		{"9110 12.5.3: zstd and deflate", "accept-encoding", list("zstd"), list("deflate"), false},
		{"9110 12.5.3: all are more than those known", "accept-encoding", list("*"), list("gzip, br, zstd, deflate"), false},
		{"9110 12.5.3: all, whatever is named too", "accept-encoding", list("*"), list("gzip, *;q=0.5"), true},
		{"9110 12.5.3: all but one", "accept-encoding", list("gzip;q=0, *"), list("*, gzip;q=0"), true},
		{"9110 12.5.3: that is not all", "accept-encoding", list("gzip;q=0, *"), list("*"), false},
		{"9110 12.5.3: identity goes without saying", "accept-encoding", list("identity, gzip"), list("gzip"), true},
		{"9110 12.5.3: unless it is refused", "accept-encoding", list("identity;q=0, gzip"), list("gzip"), false},
		{"9110 12.5.3: or everything else is", "accept-encoding", list("gzip, *;q=0"), list("identity;q=0, gzip"), true},
		{"9110 12.5.3: and it is not named", "accept-encoding", list("gzip, *;q=0, identity"), list("gzip"), true},
		{"9110 12.5.3: what an origin may know", "accept-encoding", list("gzip, compress"), list("gzip"), false},
		{"9110 12.5.3: it is the same in other capitals", "accept-encoding", list("gzip, Compress"), list("compress, gzip"), true},
		{"9110 12.5.3: or refused", "accept-encoding", list("gzip, compress;q=0"), list("gzip"), true},
		{"9110 12.5.3: empty", "accept-encoding", list(""), list("identity"), true},
		{"9110 12.5.3: empty and absent", "accept-encoding", list(""), absent, false},

		{"6265 4.2: commas of cookies are their own", "cookie", list("a=1, 2"), list("a=1,2"), false},
		{"9113 8.2.3: cookies in several lines", "cookie", list("a=1", "b=2"), list("a=1; b=2"), true},
		{"9110 10.1.5: so are those of user agents", "user-agent", list("X (a, b)"), list("X (a,b)"), false},
	} {
		if same := bytes.Equal(selecting(c.field, c.a...), selecting(c.field, c.b...)); same != c.same {
			t.Errorf("%s: %q and %q are the same: %v", c.name, c.a, c.b, same)
		}
	}
}

// No value of one header can be taken for values of two.
func TestSelectingOfSeveral(t *testing.T) {
	for _, end := range []string{"", "\x00"} { // what stands for an absent header
		bar := selecting("bar", "x"+end)
		two := append(selecting("foo", "1"), bar...)
		lengthless := "1\x01\x00\x00\x00\x00x"
		for _, forged := range []string{"1\x00x", lengthless, "1" + string(bar), strings.TrimSuffix("1"+string(bar), end)} {
			if bytes.Equal(append(selecting("foo", forged), selecting("bar")...), two) {
				t.Errorf("%q", forged)
			}
		}
	}
}
