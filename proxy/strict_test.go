package proxy

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// message is a request as somebody understood it.
type message struct{ method, target, body, trailers string }

var (
	strictLine  = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\\.([01])\r\n")
	strictField = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[^\\x00-\\x08\\x0a-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?)[ \t]*\r\n")
	strictChunk = regexp.MustCompile("^([0-9a-fA-F]{1,15})((?:[ \t]*;[^\\x00-\\x08\\x0a-\\x1f\\x7f]*)?)\r\n")
	absolute    = regexp.MustCompile("^[A-Za-z]+://[^/?]*")
)

// strictMessages reads a client's bytes by the letter of RFC 9112 and stops at the
// first thing that is not by the letter: no server may see another request in them.
// The one that is not complete is returned too.
func strictMessages(wire []byte) (whole []message, begun *message) {
	for {
		for bytes.HasPrefix(wire, crlf) {
			wire = wire[2:]
		}
		line := strictLine.FindSubmatch(wire)
		if line == nil {
			return whole, nil
		}
		wire = wire[len(line[0]):]
		m := message{method: string(line[1]), target: originTarget(string(line[1]), string(line[2]))}
		lengths, codings := []string{}, []string{}
		for !bytes.HasPrefix(wire, crlf) {
			f := strictField.FindSubmatch(wire)
			if f == nil {
				return whole, nil
			}
			wire = wire[len(f[0]):]
			switch strings.ToLower(string(f[1])) {
			case "content-length":
				lengths = append(lengths, string(f[2]))
			case "transfer-encoding":
				codings = append(codings, strings.ToLower(string(f[2])))
			}
		}
		wire = wire[2:]
		ok := true
		switch {
		case len(lengths)+len(codings) == 0:
		case len(codings) == 1 && len(lengths) == 0 && codings[0] == "chunked" && line[3][0] == '1':
			m.body, wire, ok = strictChunks(wire)
		case len(lengths) == 1 && len(codings) == 0 && regexp.MustCompile("^[0-9]{1,18}$").MatchString(lengths[0]):
			n, _ := strconv.Atoi(lengths[0])
			if ok = n <= len(wire); ok {
				m.body, wire = string(wire[:n]), wire[n:]
			}
		default:
			return whole, nil
		}
		if !ok {
			return whole, &m
		}
		whole = append(whole, m)
	}
}

func originTarget(method, target string) string {
	rest := absolute.ReplaceAllString(target, "")
	switch {
	case rest == "" && method == "OPTIONS":
		return "*"
	case rest == "" || rest[0] == '?':
		return "/" + rest
	}
	return rest
}

func strictChunks(wire []byte) (body string, rest []byte, ok bool) {
	for {
		line := strictChunk.FindSubmatch(wire)
		if line == nil {
			return body, nil, false
		}
		wire = wire[len(line[0]):]
		n, _ := strconv.ParseInt(string(line[1]), 16, 64)
		if n == 0 {
			for !bytes.HasPrefix(wire, crlf) {
				f := strictField.FindSubmatch(wire)
				if f == nil {
					return body, nil, false
				}
				wire = wire[len(f[0]):]
			}
			return body, wire[2:], true
		}
		if n+2 > int64(len(wire)) || !bytes.HasPrefix(wire[n:], crlf) {
			return body, nil, false
		}
		body += string(wire[:n])
		wire = wire[n+2:]
	}
}

// unaccounted returns what the origin got that nobody sent, or got out of order. The
// beginning of a request that broke off may come late.
func (r *recorder) unaccounted(whole []message, begun *message, heads []string, complete []message) []string {
	var wrong []string
	at := 0
	for _, got := range complete {
		for at < len(whole) && (whole[at].method != got.method || whole[at].target != got.target || whole[at].body != got.body) {
			at++
		}
		if at == len(whole) {
			wrong = append(wrong, got.method+" "+got.target+" "+strconv.Quote(got.body))
			continue
		}
		at++
	}
	for _, m := range whole[at:] {
		r.begun = append(r.begun, m.method+" "+m.target+" ")
	}
	if begun != nil {
		r.begun = append(r.begun, begun.method+" "+begun.target+" ")
	}
	beginnings := slices.DeleteFunc(heads, func(head string) bool {
		return slices.ContainsFunc(complete, func(m message) bool { return strings.HasPrefix(head, m.method+" "+m.target+" ") })
	})
	for _, head := range beginnings {
		late := slices.IndexFunc(r.begun, func(line string) bool { return strings.HasPrefix(head, line) })
		if late < 0 {
			wrong = append(wrong, "a beginning: "+head)
			continue
		}
		r.begun = slices.Delete(r.begun, late, late+1)
	}
	return wrong
}
