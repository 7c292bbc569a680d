package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/sedge-proxy/sedge/decision"
)

const (
	maxFileSize  = 4 << 20
	maxNodes     = 200_000 // nodes after aliases are followed
	maxNodeDepth = 64
)

// source is the text of a configuration file with the place of every value.
type source struct {
	file   string
	digest fileDigest
	lines  []string
	root   *yaml.Node            // the mapping at the top; nil for an empty file
	nodes  map[string]*yaml.Node // value by path, as in "segments[2].when"
	keys   map[string]*yaml.Node // key by path of its value

	misshapen map[string]bool   // paths of values that do not fit their type
	origins   map[string]string // what set a value in the file's place, by path
	unread    bool              // it is no YAML, or too much: there is nothing to look at
}

// doubtful reports that a misshapen value lies at the path, above or below it: what
// is wrong there may only follow from that.
func (s *source) doubtful(path string) bool {
	for bad, is := range s.misshapen {
		if is && (path == bad || below(bad, path) || below(path, bad)) {
			return true
		}
	}
	return false
}

func below(path, top string) bool {
	rest, ok := strings.CutPrefix(path, top)
	return ok && rest != "" && (top == "" || rest[0] == '.' || rest[0] == '[')
}

// parseSource reads the YAML text and notes where each value stands.
func parseSource(file string, text []byte) (*source, Problems) {
	s := &source{
		file:   file,
		digest: sha256.Sum256(text),
		lines:  strings.Split(string(text), "\n"),
		nodes:  map[string]*yaml.Node{},
		keys:   map[string]*yaml.Node{},

		misshapen: map[string]bool{},
		origins:   map[string]string{},
	}
	problems := s.parse(text)
	s.unread = s.root == nil && len(problems) > 0
	return s, problems
}

func (s *source) parse(text []byte) Problems {
	file := s.file
	if len(text) > maxFileSize {
		return Problems{{File: file, Line: 1, Column: 1, Message: fmt.Sprintf("file has %d bytes; at most %d are read", len(text), maxFileSize)}}
	}
	if line, column, what := strangeByte(text); what != "" {
		return Problems{{File: file, Line: line, Column: column, Message: "not valid YAML: found " + what}}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return Problems{s.syntaxProblem(err)}
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return Problems{{File: file, Line: second.Line, Column: max(second.Column, 1), Message: "found a second YAML document; a configuration is one document"}}
	} else if !errors.Is(err, io.EOF) {
		return Problems{s.syntaxProblem(err)}
	}
	if len(document.Content) == 0 || isNull(document.Content[0]) {
		return nil
	}
	s.root = document.Content[0]
	w := sourceWalk{source: s}
	w.walk("", s.root, 0)
	if w.endless {
		s.root = nil // nobody else may follow it
	}
	return w.problems
}

// strangeByte finds the first byte that no YAML file may hold, which the parser
// refuses without a place.
func strangeByte(text []byte) (line, column int, what string) {
	line, column = 1, 1
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			return line, column, fmt.Sprintf("the byte %#02x, which is not UTF-8 text; save the file as UTF-8", text[0])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return line, column, fmt.Sprintf("the control character %#02x; take it out", r)
		case r == '\n':
			line, column = line+1, 0
		}
		column++
		text = text[size:]
	}
	return 0, 0, ""
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

func (s *source) syntaxProblem(err error) Problem {
	p := Problem{File: s.file, Line: 1, Column: 1, Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
		p.Line, _ = strconv.Atoi(found[1])
		p.Message = found[2]
		if p.Line >= 1 && p.Line <= len(s.lines) {
			text := s.lines[p.Line-1]
			blanks := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
			p.Column = len(blanks) + 1
			if tab := strings.IndexByte(blanks, '\t'); tab >= 0 {
				p.Column, p.Message = tab+1, "found a tab; YAML is indented with spaces only"
			}
		}
	}
	p.Message = "not valid YAML: " + p.Message
	return p
}

// sourceWalk notes the nodes of a document by path.
type sourceWalk struct {
	*source
	count    int
	endless  bool
	problems Problems
}

func (w *sourceWalk) fail(n *yaml.Node, path, format string, args ...any) {
	w.problems = append(w.problems, Problem{File: w.file, Line: n.Line, Column: n.Column, Path: path, Message: fmt.Sprintf(format, args...)})
}

func (w *sourceWalk) walk(path string, n *yaml.Node, depth int) {
	w.count++
	if w.count > maxNodes || depth > maxNodeDepth {
		if w.count <= maxNodes+1 {
			w.fail(n, path, "the file nests or repeats too much: at most %d values, %d deep", maxNodes, maxNodeDepth)
			w.count, w.endless = maxNodes+2, true
		}
		return
	}
	n = follow(n)
	w.nodes[path] = n
	switch n.Kind {
	case yaml.MappingNode:
		w.walkMapping(path, n, depth)
	case yaml.SequenceNode:
		for i, item := range n.Content {
			w.walk(path+"["+strconv.Itoa(i)+"]", item, depth+1)
		}
	}
}

func (w *sourceWalk) walkMapping(path string, n *yaml.Node, depth int) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			w.misshapen[path] = path != ""
			w.fail(key, path, "found a key that is not a plain word")
			continue
		}
		if key.Tag == "!!merge" {
			w.misshapen[path] = path != ""
			w.fail(key, path, "merge keys (<<) are not supported; repeat the values")
			continue
		}
		at := join(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			w.misshapen[at] = true // who knows which one is meant
			w.fail(key, at, "%q stands here and on line %d; keep one of them", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		w.keys[at] = key
		w.walk(at, value, depth+1)
	}
}

// follow resolves an alias to the node that it stands for.
func follow(n *yaml.Node) *yaml.Node {
	for range maxNodeDepth {
		if n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// locate turns a fault into a problem with a place: that of the value, else that
// of the nearest thing around it.
func (s *source) locate(f decision.Fault) Problem {
	p := Problem{File: s.file, Line: 1, Column: 1, Path: f.Path, Message: f.Message}
	if from := s.origins[f.Path]; from != "" {
		p.Message += " (set by " + from + ", not by the file)"
	}
	for path := f.Path; ; path = parent(path) {
		if n, ok := s.nodes[path]; ok && n.Line > 0 {
			p.Line, p.Column = n.Line, n.Column
			if path == f.Path && f.Column > 0 {
				p.Line, p.Column = s.inside(n, f.Column)
			}
			return p
		}
		if path == "" {
			return p
		}
	}
}

// parent cuts the last step off a path.
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// inside finds the place of a column, counted from 1, of a string value.
func (s *source) inside(n *yaml.Node, column int) (line, col int) {
	switch n.Style & (yaml.LiteralStyle | yaml.FoldedStyle | yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle) {
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		return s.insideFlow(n, n.Column, column-1)
	case yaml.LiteralStyle, yaml.FoldedStyle:
		return s.insideBlock(n, column)
	}
	return s.insideFlow(n, n.Column-1, column-1)
}

// insideFlow counts through the lines of a value that begins after so many characters
// of its first line: where it goes on in the next, one blank stands for the break.
func (s *source) insideFlow(n *yaml.Node, before, left int) (int, int) {
	for line := n.Line; line <= len(s.lines); line++ {
		text := strings.TrimRight(s.lines[line-1], " \r")
		if line > n.Line {
			before = len(text) - len(strings.TrimLeft(text, " "))
		}
		length := utf8.RuneCountInString(text) - before
		if left <= length {
			return line, before + left + 1
		}
		left -= length + 1
	}
	return n.Line, n.Column
}

// insideBlock counts through the lines of a block scalar: each ends in one
// character, a line break or, when folded, a space.
func (s *source) insideBlock(n *yaml.Node, column int) (int, int) {
	left := column - 1
	for line := n.Line; line < len(s.lines); line++ {
		text := strings.TrimLeft(s.lines[line], " ")
		length := utf8.RuneCountInString(text)
		if left <= length {
			return line + 1, len(s.lines[line]) - len(text) + left + 1
		}
		left -= length + 1
	}
	return n.Line, n.Column
}

// jsonOf returns the value at a path as JSON, with keys as they were written.
func (s *source) jsonOf(path string) (json.RawMessage, error) {
	n, ok := s.nodes[path]
	if !ok || isNull(n) {
		return nil, nil
	}
	value, err := plainValue(n)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func plainValue(n *yaml.Node) (any, error) {
	n = follow(n)
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := plainValue(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = v
		}
		return m, nil
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			v, err := plainValue(item)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	}
	return scalarValue(n)
}

func scalarValue(n *yaml.Node) (any, error) {
	if n.Tag == "!!timestamp" { // JSON has no times: a date stays the text that was written
		return n.Value, nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, fmt.Errorf("found %s; expected a finite number", n.Value)
	}
	return v, nil
}
