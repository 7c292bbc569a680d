package decision

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"/", "/", true}, {"/", "/a", false}, {"/a", "/a/", false},
		{"/*", "/a", true}, {"/*", "/", true}, {"/*", "/a/b", false},
		{"/shop/**", "/shop/", true}, {"/shop/**", "/shop/a/b", true}, {"/shop/**", "/shop", false},
		{"/**/sale", "/a/b/sale", true}, {"/**/sale", "/a/b/sales", false},
		{"**", "", true}, {"**", "/any/thing", true}, {"/p/*/x*", "/p/1/x2", true}, {"/p/*/x*", "/p/1/2/x", false},
		{"/*.html", "/a.b.html", true}, {"/**a*b", "/xa/yab", true}, {"/*.html", "/a/x.html", false}, {"/**.html", "/a/x.html", true},
		{"/shop**", "/shop", true}, {"/shop/**", "/shopping", false}, {"/*/thanks", "/de/at/thanks", false}, {"/a.b*", "/axb", false},
		{"/line*", "/line\nbreak", true}, {"/a*b*c", "/aXbYc", true}, {"/a*b*c", "/aXbY", false}, {"/p/*/**/z", "/p/q/r/s/z", true},
		{"/a/**/b*c", "/a/x/bd/y/bzc", true},
		// No pattern makes it slow.
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 5000), false},
		{strings.Repeat("**a", 50) + "b", strings.Repeat("a/", 2500), false},
	} {
		g := CompileGlob(c.pattern, '/')
		if got := g.Match(c.s); got != c.want {
			t.Errorf("%q matches %q: %t", c.pattern, c.s, got)
		}
	}
}

// TestGlobAgainstRegexp compares with the same pattern as a regular expression.
func TestGlobAgainstRegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.SampledFrom([]rune("ab/**")), 0, 10, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.SampledFrom([]rune("ab/")), 0, 14, -1).Draw(t, "s")
		var expr strings.Builder
		for rest := pattern; rest != ""; {
			switch {
			case strings.HasPrefix(rest, "**"):
				rest = strings.TrimLeft(rest, "*")
				expr.WriteString(".*")
			case rest[0] == '*':
				rest = rest[1:]
				expr.WriteString("[^/]*")
			default:
				expr.WriteString(regexp.QuoteMeta(rest[:1]))
				rest = rest[1:]
			}
		}
		g := CompileGlob(pattern, '/')
		if got, want := g.Match(s), regexp.MustCompile("^(?:"+expr.String()+")$").MatchString(s); got != want {
			t.Fatalf("%q matches %q: %t, want %t", pattern, s, got, want)
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("/a/**/b*", "/a/x/y/bc")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 1024 || len(s) > 4096 || strings.Count(pattern, "*") > 32 {
			return
		}
		g := CompileGlob(pattern, '/')
		g.Match(s)
		if whole := CompileGlob("**", '/'); !whole.Match(s) {
			t.Error("** does not match")
		}
	})
}
