package event

import (
	"bytes"
	"encoding/json"
	"strings"
)

// label is a text for which clients also send numbers; anything else is "".
type label string

func (l *label) UnmarshalJSON(b []byte) error {
	switch {
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*l = label(s)
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		*l = label(b)
	}
	return nil
}

func stringOf(v any) label {
	s, _ := v.(string)
	return label(s)
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}

// text reads a name.
func text(field string, raw json.RawMessage, needed bool) (string, error) {
	if isNull(raw) {
		if needed {
			return "", refuse("%q is missing", field)
		}
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", refuse("%q must be a text", field)
	}
	if s = strings.TrimSpace(s); s == "" && needed {
		return "", refuse("%q is empty", field)
	}
	if len(s) > maxName {
		return "", refuse("%q has %d bytes, at most %d are allowed", field, len(s), maxName)
	}
	return s, nil
}

// object reads properties or traits within bounds.
func object(field string, raw json.RawMessage) (map[string]any, error) {
	if isNull(raw) {
		return nil, nil
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, refuse("%q must be an object", field)
	}
	values := 0
	if err := bound(field, m, 1, &values); err != nil {
		return nil, err
	}
	return m, nil
}

func bound(field string, v any, depth int, values *int) error {
	if *values++; *values > maxValues+1 {
		return refuse("%q holds more than %d values", field, maxValues)
	}
	if depth > maxDepth+1 {
		return refuse("%q is nested deeper than %d levels", field, maxDepth)
	}
	switch v := v.(type) {
	case string:
		if len(v) > maxText {
			return refuse("%q holds a text of %d bytes, at most %d are allowed", field, len(v), maxText)
		}
	case []any:
		for _, element := range v {
			if err := bound(field, element, depth+1, values); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, element := range v {
			if len(key) > maxKey {
				return refuse("%q holds a name of %d bytes, at most %d are allowed", field, len(key), maxKey)
			}
			if err := bound(field, element, depth+1, values); err != nil {
				return err
			}
		}
	}
	return nil
}
