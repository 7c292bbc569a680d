package plan

import (
	"encoding/binary"
	"net/url"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

// maxValue is the longest query or attribute value that a plugin gets; a longer
// one counts as missing.
const maxValue = 1024

// appendKey appends exactly what the answer depends on.
func (p *part) appendKey(key []byte, q *decision.Query) []byte {
	s := &p.exp.scope
	key = binary.AppendUvarint(key, uint64(p.exp.index))
	if s.Page || len(s.Query) > 0 {
		key = appendText(key, q.Page.Host)
		key = appendText(key, q.Page.Path)
	}
	for _, name := range s.Query {
		key = appendText(key, queryValue(q.Page.Query, name))
	}
	if s.Segment {
		key = appendText(key, q.Segment)
	}
	for _, name := range s.Experiments {
		key = appendText(key, p.armIn(name, q))
	}
	for _, index := range p.exp.attrs {
		key = appendText(key, attribute(q, index))
	}
	if s.Visitor {
		key = appendText(key, q.VisitorID)
	}
	return key
}

func appendText(key []byte, s string) []byte {
	key = binary.AppendUvarint(key, uint64(len(s)))
	return append(key, s...)
}

// armIn is the arm for which the answer is planned: the experience's own, the one
// that is tried, or the visitor's.
func (p *part) armIn(experiment string, q *decision.Query) string {
	switch {
	case experiment == p.exp.experiment:
		return p.exp.arm
	case p.vary >= 0 && p.exp.vary[p.vary].experiment == experiment:
		return p.arm
	}
	if i := find(q.Assignments, experiment, false); i >= 0 {
		return q.Assignments[i].Arm
	}
	return ""
}

func attribute(q *decision.Query, index int) string {
	if index >= len(q.Attributes) || len(q.Attributes[index]) > maxValue {
		return ""
	}
	return q.Attributes[index]
}

// request builds the question. Its strings are copies: the call may outlive the
// page that asks.
func (p *part) request(q *decision.Query) *plugins.Request {
	s := &p.exp.scope
	r := new(plugins.Request)
	if s.Page || len(s.Query) > 0 {
		r.Page.Host, r.Page.Path = clean(q.Page.Host), clean(q.Page.Path)
	}
	if len(s.Query) > 0 {
		r.Query = make(map[string]string, len(s.Query))
		var raw strings.Builder
		for _, name := range s.Query {
			value := clean(queryValue(q.Page.Query, name))
			if _, twice := r.Query[name]; twice {
				continue
			}
			r.Query[name] = value
			if value != "" {
				if raw.Len() > 0 {
					raw.WriteByte('&')
				}
				raw.WriteString(url.QueryEscape(name) + "=" + url.QueryEscape(value))
			}
		}
		r.Page.Query = raw.String()
	}
	if s.Segment {
		r.Segment = clean(q.Segment)
	}
	if len(s.Experiments) > 0 {
		r.Arms = make(map[string]string, len(s.Experiments))
		for _, name := range s.Experiments {
			r.Arms[name] = clean(p.armIn(name, q))
		}
	}
	if len(s.Attributes) > 0 {
		r.Attributes = make(map[string]string, len(s.Attributes))
		for i, name := range s.Attributes {
			r.Attributes[name] = clean(attribute(q, p.exp.attrs[i]))
		}
	}
	if s.Visitor {
		r.VisitorID = clean(q.VisitorID)
	}
	return r
}

// clean copies a string and makes it valid UTF-8, as it has to be to reach a process.
func clean(s string) string { return strings.Clone(strings.ToValidUTF8(s, "\uFFFD")) }

// queryValue returns the first value of a key in a raw query, decoded; "" if there
// is none, or if it is too long or not decodable.
func queryValue(raw, name string) string {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		key, value, _ := strings.Cut(pair, "=")
		if decoded, ok := unescape(key); !ok || decoded != name {
			continue
		}
		decoded, ok := unescape(value)
		if !ok || len(decoded) > maxValue {
			return ""
		}
		return decoded
	}
	return ""
}

func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	decoded, err := url.QueryUnescape(s)
	return decoded, err == nil
}
