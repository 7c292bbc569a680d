package config

import (
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// TestJSONOfEdits: keys keep their case and order, numbers their spelling, and null
// is a value.
func TestJSONOfEdits(t *testing.T) {
	for written, want := range map[string]decision.JSON{
		`json: {B: 1.50, a: [true, ~, "x<y"], "É": {}}`: `{"B":1.50,"a":[true,null,"x<y"],"É":{}}`,
		"json: null":                 "null",
		"json:":                      "null",
		"json: 12345678901234567890": "12345678901234567890",
		"json: 0x10":                 "16",
		"json: text":                 `"text"`,
		"json: 2024-05-06":           `"2024-05-06"`,
		"required: false":            "",
		"json: &x [1]":               "[1]",
		"json: \"a\\nb\"":            `"a\nb"`,
		"json: |-\n          two\n          lines": `"two\nlines"`,
	} {
		text := "upstreams: [{name: site, url: \"http://127.0.0.1:3000\"}]\nroutes: [{name: all, upstream: site}]\nexperiences:\n  - name: x\n    pages: [\"/\"]\n    edits:\n" +
			"      - pointer: /a\n        op: set\n        " + written + "\n"
		c, err := Parse("x.yaml", []byte(text), Options{Builtins: []string{"content"}})
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "needs json") {
				t.Errorf("%s: %v", written, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", written, err)
			continue
		}
		if got := c.Experiences[0].Edits[0].JSON; got != want {
			t.Errorf("%s: got %s, want %s", written, got, want)
		}
	}
}
