package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// TestLocate: a fault is placed at the character, whatever the style of the value.
func TestLocate(t *testing.T) {
	const text = `rules:
  - plain: visitor.orders >= 2
    single: 'visitor.orders >= 2'
    double: "visitor.orders >= 2"
    block: |
      first line
      second line
    long: visitor.orders
      >= 2
    quoted: "visitor.orders
      >= 2"
`
	s, problems := parseSource("f.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	f := func(path string, column, wantLine, wantColumn int) {
		t.Helper()
		p := s.locate(decision.Fault{Path: path, Column: column})
		if p.Line != wantLine || p.Column != wantColumn {
			t.Errorf("%s column %d: got %d:%d, want %d:%d", path, column, p.Line, p.Column, wantLine, wantColumn)
		}
	}
	f("rules[0].plain", 0, 2, 12)
	f("rules[0].plain", 9, 2, 20)
	f("rules[0].single", 9, 3, 22)
	f("rules[0].double", 9, 4, 22)
	f("rules[0].block", 1, 6, 7)
	f("rules[0].block", 12, 7, 7)
	f("rules[0].long", 9, 8, 19)
	f("rules[0].long", 16, 9, 7)
	f("rules[0].quoted", 9, 10, 22)
	f("rules[0].quoted", 16, 11, 7)
	f("rules[0].absent", 0, 2, 5) // the nearest thing around it
	f("absent.altogether", 0, 1, 1)
}

func TestSourceRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, problems := parseSource("f.yaml", []byte(text))
		if len(problems) == 0 || !strings.Contains(problems.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", text, problems, want)
		}
	}
	f("a: 1\na: 2\n", "f.yaml:2:1: a: \"a\" stands here and on line 1")
	f("a: 1\n---\nb: 2\n", "second YAML document")
	f("a: [1\n", "not valid YAML")
	f("a: \xff\n", "f.yaml:1:4: not valid YAML: found the byte 0xff, which is not UTF-8 text")
	f("a: ä\x00\n", "f.yaml:1:5: not valid YAML: found the control character 0x00")
	f("a:\n\tb: 1\n", "f.yaml:2:1: not valid YAML: found a tab; YAML is indented with spaces only")
	f("a: &a [*a]\n", "")
	f("base: &b {x: 1}\nother:\n  <<: *b\n", "merge keys")
	f("[1, 2]: x\n", "not a plain word")
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := byte('b'); i < 'i'; i++ {
		p := string(i - 1)
		bomb += string(i) + ": &" + string(i) + " [" + strings.Repeat("*"+p+", ", 9) + "*" + p + "]\n"
	}
	f(bomb, "nests or repeats too much")
}

func TestShapeFindsEverything(t *testing.T) {
	type block struct {
		Name    string         `mapstructure:"name"`
		Count   int            `mapstructure:"count"`
		On      *bool          `mapstructure:"on"`
		Wait    time.Duration  `mapstructure:"wait"`
		Memory  decision.Size  `mapstructure:"memory"`
		Part    decision.Share `mapstructure:"part"`
		Weights []float64      `mapstructure:"weights"`
	}
	type file struct {
		Blocks []block `mapstructure:"blocks"`
	}
	const text = `blocks:
  - name: 7
    count: seven
    on: perhaps
    wait: 10
    memory: lots
    part: 120%
    weights: [1, x]
    cuont: 1
  - {name: fine, count: 1, on: true, wait: 10s, memory: 64MiB, part: 5%, weights: [0.5]}
  -
`
	s, problems := parseSource("f.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got := checkShape(s, reflect.TypeFor[file]()).Error()
	for _, want := range []string{
		`f.yaml:2:11: blocks[0].name: found the number 7; expected text (put it in quotes)`,
		`f.yaml:3:12: blocks[0].count: found "seven"; expected a whole number`,
		`f.yaml:4:9: blocks[0].on: found "perhaps"; expected true or false`,
		`f.yaml:5:11: blocks[0].wait: found the number 10; expected a duration such as`,
		`f.yaml:6:13: blocks[0].memory: found "lots"; expected a size`,
		`f.yaml:7:11: blocks[0].part: found "120%"; expected a share`,
		`f.yaml:8:18: blocks[0].weights[1]: found "x"; expected a number`,
		`f.yaml:9:5: blocks[0].cuont: unknown setting "cuont"; did you mean "count"?`,
		`blocks[2]: found an empty list item`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %s\nin:\n%s", want, got)
		}
	}
	if strings.Contains(got, "blocks[1]") {
		t.Errorf("a right block is blamed:\n%s", got)
	}
}

// FuzzParse: whatever the file holds, the answer is a configuration or problems
// with places in it.
func FuzzParse(f *testing.F) {
	f.Add([]byte("upstreams: [{name: a, url: http://127.0.0.1:1}]\nroutes: [{name: a, upstream: a}]\n"))
	f.Add([]byte("segments:\n  - name: a\n    when: |\n      visitor.orders >\n"))
	f.Add([]byte("experiences: [{name: a, settings: {A: [1, {b: .nan}]}}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := Parse("f.yaml", text, Options{Builtins: []string{"content", "offers"}})
		var problems Problems
		if err == nil || !errors.As(err, &problems) {
			return
		}
		lines := strings.Count(string(text), "\n") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Message == "" {
				t.Fatalf("a problem without a place in the file: %+v", p)
			}
		}
	})
}
