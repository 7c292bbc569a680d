package config

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/sedge-proxy/sedge/decision"
)

// The key delimiter holds no character that a name may hold.
const delimiter = "::"

const envPrefix = "SEDGE"

// decode overlays file, environment and overrides, and fills cfg. Viper lower-cases
// keys at every depth, which is harmless for our own keys, all lower case; the
// free-form blocks never pass through it.
func decode(s *source, cfg *Config, overlay map[string]string) error {
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	tree, err := fileTree(s, reflect.TypeFor[Config]())
	if err != nil {
		return err
	}
	if err := v.MergeConfigMap(tree); err != nil {
		return fmt.Errorf("read configuration %q: %w", s.file, err)
	}
	for path, value := range overlay {
		v.Set(strings.ReplaceAll(path, ".", delimiter), value)
	}
	if err := v.UnmarshalExact(cfg, func(dc *mapstructure.DecoderConfig) {
		dc.WeaklyTypedInput = false
		dc.DecodeHook = mapstructure.ComposeDecodeHookFunc(fromText)
	}); err != nil {
		return fmt.Errorf("read configuration %q : %w", s.file, err)
	}
	return nil
}

// fileTree returns the file's values as maps, without its free-form blocks.
func fileTree(s *source, t reflect.Type) (map[string]any, error) {
	if s.root == nil {
		return map[string]any{}, nil
	}
	value, err := s.typedValue("", s.root, t)
	if err != nil {
		return nil, fmt.Errorf("read configuration %q: %w", s.file, err)
	}
	tree, _ := value.(map[string]any)
	return tree, nil
}

// typedValue is plainValue without the blocks that the type holds as free form,
// without empty values, which mean the default, and without misshapen ones.
func (s *source) typedValue(path string, n *yaml.Node, t reflect.Type) (any, error) {
	n = follow(n)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		fields := settings(t)
		block := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			at := join(path, key)
			if fields[key] == nil || isNull(follow(value)) || s.misshapen[at] {
				continue
			}
			v, err := s.typedValue(at, value, fields[key])
			if err != nil {
				return nil, err
			}
			block[key] = v
		}
		return block, nil
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			at := path + "[" + strconv.Itoa(i) + "]"
			list[i] = map[string]any{} // keeps the places of the others
			if s.misshapen[at] {
				if t.Elem().Kind() != reflect.Struct {
					list[i] = reflect.Zero(t.Elem()).Interface()
				}
				continue
			}
			v, err := s.typedValue(at, item, t.Elem())
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case t == durationType || t == sizeType || t == shareType:
		return n.Value, nil // read as text, whatever YAML takes it for
	}
	return plainValue(n)
}

// overlay returns the values that environment and flags put over the file, by path,
// and notes where each came from. An empty variable sets nothing, as where a compose
// file passes on one that nobody has set.
func (s *source) overlay(flags map[string]string) (map[string]string, Problems) {
	values := map[string]string{}
	var problems Problems
	take := func(path, value, from string, t reflect.Type) {
		s.origins[path] = from
		if message := wrongText(value, t); message != "" {
			problems = append(problems, s.locate(decision.Fault{Path: path, Message: message}))
			delete(values, path)
			return
		}
		values[path] = value
	}
	scalars := map[string]reflect.Type{}
	listScalars(scalars, "", reflect.TypeFor[Config]())
	for _, path := range sortedKeys(scalars) {
		name := envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
		if flag, set := flags[path]; set {
			take(path, flag, "a flag", scalars[path])
		} else if value := os.Getenv(name); value != "" {
			take(path, value, name, scalars[path])
		}
	}
	return values, problems
}

// wrongText says what is wrong with the text of a scalar; "" if nothing is.
func wrongText(value string, t reflect.Type) string {
	v, err := fromText(nil, t, value)
	if d, ok := v.(time.Duration); err == nil && (!ok || d >= 0) {
		return ""
	}
	return fmt.Sprintf("found %q; expected %s", value, kindName(t))
}

// listScalars lists the settings that an environment variable may set, by path:
// scalars in blocks, not in lists.
func listScalars(into map[string]reflect.Type, prefix string, t reflect.Type) {
	for name, field := range settings(t) {
		switch {
		case field == nil || field.Kind() == reflect.Slice:
		case field.Kind() == reflect.Struct:
			listScalars(into, join(prefix, name), field)
		default:
			into[join(prefix, name)] = field
		}
	}
}

// fromText reads values that are written as text, and those that environment and
// flags give as text.
func fromText(_, to reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	if !ok {
		return data, nil
	}
	switch to {
	case durationType:
		return time.ParseDuration(text)
	case sizeType:
		return decision.ParseSize(text)
	case shareType:
		return decision.ParseShare(text)
	}
	switch to.Kind() {
	case reflect.Bool:
		return strconv.ParseBool(text)
	case reflect.Int, reflect.Int64:
		return strconv.ParseInt(text, 10, 64)
	case reflect.Float64:
		return strconv.ParseFloat(text, 64)
	}
	return data, nil
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
