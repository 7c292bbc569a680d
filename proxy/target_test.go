package proxy

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"
)

// A path that is taken as it stands is what fasthttp makes of it.
func TestPlainPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"/", ".", "..", "a", "B", "-", "%41", "%2f", "%", "+", ";", "\\", "~", "shop", ":", "@", "\u00e4"}), 0, 8).Draw(t, "parts"), "")
		var uri fasthttp.URI
		if want := readPath(&uri, []byte(raw)); isPlainPath([]byte(raw)) && want != raw {
			t.Fatalf("%q is taken as it is, and means %q", raw, want)
		}
	})
	for raw, want := range map[string]bool{
		"": false, "*": false, "/": true, "/shop/shoes/1": true, "/a.b/c.html": true, "/a//b": false, "/a/./b": false, "/a/..": false, "/.well-known": false, "/%41": false,
	} {
		if isPlainPath([]byte(raw)) != want {
			t.Errorf("%q: %v", raw, !want)
		}
	}
}
