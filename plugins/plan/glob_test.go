package plan

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
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
		{"/*.html", "/a.b.html", true}, {"/**a*b", "/xa/yab", true},
	} {
		g := compileGlob(c.pattern, '/')
		if got := g.match(c.s); got != c.want {
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
		g := compileGlob(pattern, '/')
		if got, want := g.match(s), regexp.MustCompile("^(?:"+expr.String()+")$").MatchString(s); got != want {
			t.Fatalf("%q matches %q: %t, want %t", pattern, s, got, want)
		}
	})
}

func TestCheckAction(t *testing.T) {
	for _, c := range []struct {
		action decision.Action
		ok     bool
	}{
		{decision.Action{}, true},
		{decision.Action{Redirect: "/a?b=c#d"}, true}, {decision.Action{Redirect: "https://other.example/x", Status: 307}, true},
		{decision.Action{Redirect: "//evil.example"}, false}, {decision.Action{Redirect: `/\evil.example`}, false},
		{decision.Action{Redirect: "relative"}, false}, {decision.Action{Redirect: "javascript:alert(1)"}, false},
		{decision.Action{Redirect: "https://user@host/"}, false}, {decision.Action{Redirect: "/a\r\nSet-Cookie: x"}, false},
		{decision.Action{Redirect: "https:///x"}, false}, {decision.Action{Redirect: "/é"}, false}, {decision.Action{Redirect: "http:x"}, false},
		{decision.Action{Redirect: "/" + strings.Repeat("a", 3000)}, false},
		{decision.Action{Redirect: "/a", Status: 301}, false}, {decision.Action{Status: 302}, false},
		{decision.Action{Redirect: "/a", Path: "/b"}, false},
		{decision.Action{Path: "/b c"}, true}, {decision.Action{Path: "/b?c"}, false}, {decision.Action{Path: "b"}, false},
		{decision.Action{Path: "/a/../b"}, false}, {decision.Action{Path: "//b"}, false}, {decision.Action{Path: "/\x00"}, false},
		{decision.Action{Headers: [][2]string{{"X-Segment", "vip, really"}}}, true},
		{decision.Action{Headers: [][2]string{{"", "x"}}}, false}, {decision.Action{Headers: [][2]string{{"A B", "x"}}}, false},
		{decision.Action{Headers: [][2]string{{"A_B", "x"}}}, false}, {decision.Action{Headers: [][2]string{{"A", "x\ny"}}}, false},
		{decision.Action{Headers: [][2]string{{"Host", "x"}}}, false}, {decision.Action{Headers: [][2]string{{"COOKIE", "x"}}}, false},
		{decision.Action{Headers: [][2]string{{"Sedge-Segment", "x"}}}, false}, {decision.Action{Headers: [][2]string{{"Connection", "close"}}}, false},
		{decision.Action{Headers: [][2]string{{"Content-Length", "5"}}}, false}, {decision.Action{Headers: [][2]string{{"Transfer-Encoding", "chunked"}}}, false},
		{decision.Action{Headers: [][2]string{{"X-Forwarded-For", "::1"}}}, false}, {decision.Action{Headers: [][2]string{{"If-None-Match", "x"}}}, false},
		{decision.Action{Headers: [][2]string{{"A", strings.Repeat("x", 5000)}}}, false},
	} {
		if err := checkAction(&c.action); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.action, err)
		}
	}
}

func TestRedirectsToSelf(t *testing.T) {
	page := &decision.Page{Host: "shop.example", Path: "/a b", Query: "x=1"}
	for target, want := range map[string]bool{
		"/a%20b?x=1": true, "/a%20b?x=1#top": true, "https://shop.example/a%20b?x=1": true, "http://SHOP.example:8080/a%20b?x=1": true,
		"/a%20b": false, "/other?x=1": false, "https://other.example/a%20b?x=1": false, "/a%20b?x=2": false,
	} {
		if got := redirectsToSelf(target, page); got != want {
			t.Errorf("%s: %t", target, got)
		}
	}
}

func TestQueryValue(t *testing.T) {
	for _, c := range []struct{ raw, name, want string }{
		{"a=1&b=2", "b", "2"}, {"a=1&a=2", "a", "1"}, {"a", "a", ""}, {"", "a", ""}, {"a%62=x+y", "ab", "x y"},
		{"a=%zz&a=2", "a", ""}, {"%zz=1&a=2", "a", "2"}, {"a=" + strings.Repeat("x", 2000), "a", ""}, {"&&a=1", "a", "1"}, {"a=b=c", "a", "b=c"},
	} {
		if got := queryValue(c.raw, c.name); got != c.want {
			t.Errorf("%q in %.20q: %q", c.name, c.raw, got)
		}
	}
}

func FuzzQueryValue(f *testing.F) {
	f.Add("a=1&b=2%20", "b")
	f.Fuzz(func(t *testing.T, raw, name string) {
		if got := queryValue(raw, name); len(got) > maxValue {
			t.Errorf("%d bytes", len(got))
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("/a/**/b*", "/a/x/y/bc")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > maxGlob || len(s) > 4096 || strings.Count(pattern, "*") > 32 {
			return
		}
		g := compileGlob(pattern, '/')
		g.match(s)
		if whole := compileGlob("**", '/'); !whole.match(s) {
			t.Error("** does not match")
		}
	})
}
