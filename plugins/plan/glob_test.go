package plan

import (
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

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
