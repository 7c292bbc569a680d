package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sedge-proxy/sedge/decision"
)

// writtenJSON returns the value at a path as JSON with its members in their order
// and its numbers as they were written; "" if there is none.
func (s *source) writtenJSON(path string) (decision.JSON, error) {
	n, ok := s.nodes[path]
	if !ok {
		return "", nil
	}
	var b bytes.Buffer
	if err := writeNode(&b, n); err != nil {
		return "", err
	}
	return decision.JSON(b.String()), nil
}

func writeNode(b *bytes.Buffer, n *yaml.Node) error {
	n = follow(n)
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeScalar(b, n.Content[i].Value); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeNode(b, n.Content[i+1]); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeNode(b, item); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	if (n.Tag == "!!int" || n.Tag == "!!float") && json.Valid([]byte(n.Value)) {
		b.WriteString(strings.TrimSpace(n.Value))
		return nil
	}
	value, err := scalarValue(n)
	if err != nil {
		return err
	}
	return writeScalar(b, value)
}

func writeScalar(b *bytes.Buffer, value any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("found a value that JSON does not have: %w", err)
	}
	b.Truncate(b.Len() - 1) // the line feed
	return nil
}
