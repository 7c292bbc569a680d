package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sedge-proxy/sedge/decision"
)

// The scalar types that are written as text.
var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[decision.Size]()
	shareType    = reflect.TypeFor[decision.Share]()
	freeformType = reflect.TypeFor[json.RawMessage]()
	jsonType     = reflect.TypeFor[decision.JSON]()
)

// isFreeform reports whether a type holds a block of any shape.
func isFreeform(t reflect.Type) bool { return t == freeformType || t == jsonType }

// freeformKey is the key of a free-form block. Its text reaches the Go value from
// the YAML node: viper would lower-case the keys inside.
func freeformKey(field reflect.StructField) string { return strings.ToLower(field.Name) }

// checkShape compares the file with the Go types that it fills: unknown keys and
// values of the wrong kind, all of them, each with its place. The decoder that
// runs afterwards would stop at the first and know no place; it leaves out what is
// wrong here, so that the rest of the file can be checked all the same.
func checkShape(s *source, into reflect.Type) Problems {
	if s.root == nil {
		return nil
	}
	c := shapeCheck{source: s}
	c.check("", s.root, into)
	return c.problems
}

type shapeCheck struct {
	*source
	problems Problems
}

func (c *shapeCheck) fail(n *yaml.Node, path, format string, args ...any) {
	c.misshapen[path] = true
	c.problems = append(c.problems, Problem{File: c.file, Line: n.Line, Column: n.Column, Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *shapeCheck) check(path string, n *yaml.Node, t reflect.Type) {
	n = follow(n)
	if isNull(n) { // an empty block means its defaults
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType || t == sizeType || t == shareType || t.Kind() < reflect.Array || t.Kind() == reflect.String:
		c.checkScalar(path, n, t)
	case t.Kind() == reflect.Slice:
		c.checkList(path, n, t)
	case t.Kind() == reflect.Struct:
		c.checkBlock(path, n, t)
	}
}

func (c *shapeCheck) checkList(path string, n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.SequenceNode {
		c.fail(n, path, "found %s; expected a list (lines that start with \"- \")", describe(n))
		return
	}
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		if isNull(follow(item)) {
			c.fail(item, at, "found an empty list item; expected %s", kindName(t.Elem()))
			continue
		}
		c.check(at, item, t.Elem())
	}
}

func (c *shapeCheck) checkBlock(path string, n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.MappingNode {
		c.fail(n, path, "found %s; expected a block of settings", describe(n))
		return
	}
	fields := settings(t)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			continue // said already
		}
		at := join(path, key.Value)
		field, known := fields[key.Value]
		if !known {
			c.fail(key, at, "unknown setting %q%s", key.Value, suggestion(key.Value, fields))
			continue
		}
		if field != nil {
			c.check(at, value, field)
		}
	}
}

func (c *shapeCheck) checkScalar(path string, n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.ScalarNode {
		c.fail(n, path, "found %s; expected %s", describe(n), kindName(t))
		return
	}
	wrong := func() { c.fail(n, path, "found %s; expected %s", describe(n), kindName(t)) }
	switch {
	case t == durationType:
		if d, err := time.ParseDuration(n.Value); err != nil || d < 0 {
			wrong()
		}
	case t == sizeType:
		if _, err := decision.ParseSize(n.Value); err != nil {
			wrong()
		}
	case t == shareType:
		if _, err := decision.ParseShare(n.Value); err != nil {
			wrong()
		}
	case t.Kind() == reflect.String:
		if n.Tag != "!!str" {
			c.fail(n, path, "found %s; expected text (put it in quotes)", describe(n))
		}
	case t.Kind() == reflect.Bool:
		if n.Tag != "!!bool" {
			wrong()
		}
	case t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32:
		if n.Tag != "!!int" && n.Tag != "!!float" || strings.ContainsAny(n.Value, "nN") { // .nan and .inf
			wrong()
		}
	default:
		var v int64
		if n.Tag != "!!int" || n.Decode(&v) != nil {
			wrong()
		}
	}
}

// settings lists the keys of a block with the types of their values. A nil type
// is a free-form value.
func settings(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		switch {
		case options == "squash":
			for key, value := range settings(field.Type) {
				fields[key] = value
			}
		case isFreeform(field.Type):
			fields[freeformKey(field)] = nil
		case name != "" && name != "-":
			fields[name] = field.Type
		}
	}
	return fields
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a block of settings"
	case yaml.SequenceNode:
		return "a list"
	}
	value := n.Value
	if len(value) > 40 {
		value = value[:40] + "…"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + value
	case "!!bool":
		return value
	}
	return strconv.Quote(value)
}

func kindName(t reflect.Type) string {
	switch t {
	case durationType:
		return `a duration such as "500ms", "10s" or "2h"`
	case sizeType:
		return `a size such as "64MiB"`
	case shareType:
		return `a share such as "10%" or 0.1`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "a block of settings"
	}
	return "a whole number"
}

// suggestion names the known setting that the word was most likely meant to be,
// else all of them.
func suggestion(word string, known map[string]reflect.Type) string {
	names := sortedKeys(known)
	if best := decision.Suggest(word, names); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; known here: " + strings.Join(names, ", ")
}
