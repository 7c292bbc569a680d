package plugins

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// SettingErrors returns the setting errors that err holds, joined or wrapped, in order.
func SettingErrors(err error) []*SettingError {
	var out []*SettingError
	switch e := err.(type) {
	case nil:
	case *SettingError:
		out = append(out, e)
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			out = append(out, SettingErrors(part)...)
		}
	case interface{ Unwrap() error }:
		out = SettingErrors(e.Unwrap())
	}
	return out
}

// DecodeSettings decodes the settings of an experience into the struct that into
// points to, by its json tags, strictly: it reports every unknown setting and
// every value of a wrong type, as [*SettingError]s joined by [errors.Join].
// Empty settings leave the struct as it is. Where nothing is wrong but unknown
// settings, the struct is filled all the same, for whoever wants to say what else is
// wrong.
func DecodeSettings(settings json.RawMessage, into any) error {
	if len(bytes.TrimSpace(settings)) == 0 {
		return nil
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(settings))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return &SettingError{Message: fmt.Sprintf("not valid JSON: %s", err)}
	}
	if d.More() {
		return &SettingError{Message: "not valid JSON: more than one value"}
	}
	var c settingsCheck
	c.value("", tree, reflect.TypeOf(into).Elem())
	if !c.misfit {
		if err := json.Unmarshal(settings, into); err != nil {
			return &SettingError{Message: err.Error()}
		}
	}
	return errors.Join(c.errs...)
}

// settingsCheck compares a JSON value with a Go type.
type settingsCheck struct {
	errs   []error
	misfit bool // a value does not fit its field
}

func (c *settingsCheck) add(path, format string, args ...any) {
	c.misfit = true
	c.note(path, format, args...)
}

func (c *settingsCheck) note(path, format string, args ...any) {
	c.errs = append(c.errs, &SettingError{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *settingsCheck) value(path string, v any, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil {
		return // absent
	}
	if decodesItself(t) {
		raw, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(raw, reflect.New(t).Interface())
		}
		if err != nil {
			c.add(path, "%s", err)
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		c.object(path, v, t)
	case reflect.Slice, reflect.Array:
		c.list(path, v, t)
	case reflect.Map:
		c.table(path, v, t)
	case reflect.Interface:
	default:
		c.scalar(path, v, t)
	}
}

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func (c *settingsCheck) object(path string, v any, t reflect.Type) {
	object, ok := v.(map[string]any)
	if !ok {
		c.add(path, "found %s, expected an object", describe(v))
		return
	}
	fields := fieldsOf(t)
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		at := join(path, name)
		if field, ok := fields[name]; ok {
			c.value(at, object[name], field)
			continue
		}
		known := make([]string, 0, len(fields))
		for f := range fields {
			known = append(known, f)
		}
		slices.Sort(known)
		c.note(at, "unknown setting; there are %s", strings.Join(known, ", "))
	}
}

func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			for n, inner := range fieldsOf(f.Type) {
				fields[n] = inner
			}
		case !f.IsExported() || name == "-":
		case name == "":
			fields[f.Name] = f.Type
		default:
			fields[name] = f.Type
		}
	}
	return fields
}

func (c *settingsCheck) list(path string, v any, t reflect.Type) {
	list, ok := v.([]any)
	if !ok {
		c.add(path, "found %s, expected a list", describe(v))
		return
	}
	for i, e := range list {
		c.value(fmt.Sprintf("%s[%d]", path, i), e, t.Elem())
	}
}

func (c *settingsCheck) table(path string, v any, t reflect.Type) {
	object, ok := v.(map[string]any)
	if !ok {
		c.add(path, "found %s, expected an object", describe(v))
		return
	}
	for name, e := range object {
		c.value(join(path, name), e, t.Elem())
	}
}

func (c *settingsCheck) scalar(path string, v any, t reflect.Type) {
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	if err != nil {
		c.add(path, "found %s, expected %s", describe(v), kindName(t))
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func describe(v any) string {
	switch v := v.(type) {
	case string:
		if len(v) > 40 {
			v = v[:40] + "…"
		}
		return fmt.Sprintf("%q", v)
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	case []any:
		return "a list"
	}
	return "an object"
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0"
	}
	return t.String()
}
