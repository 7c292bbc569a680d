package proxy

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
)

// streamed is a request as a client puts it into frames.
type streamed struct {
	fields   []string // name and value, in turn
	body     string
	open     bool // the head does not end the stream
	trailers []string
}

// inFrames translates what was sent over HTTP/1.1, whatever it is, as far as that has
// a meaning: its request line and Host become pseudo-headers, names lose their upper
// case, and what stands behind the head is the body. A polite client also leaves out
// what HTTP/2 has no use for.
func inFrames(wire string, polite bool) (q streamed) {
	head, body, _ := strings.Cut(wire, "\r\n\r\n")
	lines := strings.Split(strings.TrimLeft(head, "\r\n"), "\r\n")
	method, target, _ := strings.Cut(lines[0], " ")
	if last := strings.LastIndexByte(target, ' '); last >= 0 {
		target = target[:last]
	}
	authority, rest := []string(nil), []string(nil)
	for _, line := range lines[1:] {
		name, value := line, ""
		if colon := strings.IndexByte(line[min(1, len(line)):], ':'); colon >= 0 {
			name, value = line[:colon+1], strings.TrimPrefix(line[colon+2:], " ")
		}
		name = strings.ToLower(name)
		switch {
		case name == "host" && authority == nil:
			authority = []string{":authority", value}
		case polite && slices.Contains([]string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings"}, name):
		default:
			rest = append(rest, name, value)
		}
	}
	q.fields = slices.Concat([]string{":method", method, ":scheme", "https"}, authority, []string{":path", target}, rest)
	q.body, q.open = body, body != ""
	return q
}

func (q *streamed) values(name string) (values []string) {
	for i := 0; i+1 < len(q.fields); i += 2 {
		if q.fields[i] == name {
			values = append(values, q.fields[i+1])
		}
	}
	return values
}

var (
	streamMethod    = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	streamPath      = regexp.MustCompile(`^(/[!"$-~]*|\*)$`)
	streamAuthority = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]{0,5})?$`)
	streamName      = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9a-z-]+$")
	streamValue     = regexp.MustCompile(`^[^\x00-\x08\x0a-\x1f\x7f]*$`)
)

// strict reads a request by the letter of RFC 9113. Without whole, it is none, or one
// whose body is not what its head says.
func (q *streamed) strict() (head *message, whole bool) {
	pseudo, regular := map[string]string{}, false
	for i := 0; i+1 < len(q.fields); i += 2 {
		name, value := q.fields[i], q.fields[i+1]
		if strings.HasPrefix(name, ":") {
			_, twice := pseudo[name]
			if twice || regular || !slices.Contains([]string{":method", ":scheme", ":authority", ":path"}, name) {
				return nil, false
			}
			pseudo[name] = value
			continue
		}
		regular = true
		switch {
		case !streamName.MatchString(name) || !streamValue.MatchString(value):
			return nil, false
		case slices.Contains([]string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}, name):
			return nil, false
		case name == "te" && value != "trailers":
			return nil, false
		}
	}
	authority, given := pseudo[":authority"]
	for _, host := range q.values("host") {
		if given && host != authority {
			return nil, false
		}
		authority, given = host, true
	}
	method, path := pseudo[":method"], pseudo[":path"]
	if !streamMethod.MatchString(method) || !streamPath.MatchString(path) || path == "*" && method != "OPTIONS" ||
		pseudo[":scheme"] != "https" && pseudo[":scheme"] != "http" || !streamAuthority.MatchString(authority) || method == "CONNECT" || method == "TRACE" {
		return nil, false
	}
	head = &message{method: method, target: path, body: q.body}
	lengths := q.values("content-length")
	return head, len(lengths) == 0 || len(lengths) == 1 && lengths[0] == fmt.Sprint(len(q.body))
}

// session sends requests over one connection for as long as the server keeps it.
type session struct {
	node   *node
	record *recorder
	frames *frames // nil: a new one is due
	last   uint32  // stream
}

func newSession(t testing.TB) *session {
	n, record := mangledNode(t, overHTTP2)
	return &session{node: n, record: record}
}

func (s *session) send(t testing.TB, q streamed) answer {
	if s.frames == nil {
		s.frames, s.last = dialFrames(t, s.node), 0
		_ = s.frames.frame.WriteWindowUpdate(0, 1<<30) // for all answers
	}
	if s.last == 0 {
		s.last = 1
	} else {
		s.last += 2
	}
	_ = s.frames.conn.SetDeadline(time.Now().Add(10 * time.Second))
	a := s.frames.exchange(s.last, q)
	if a.isGone || a.goAway != 0 {
		s.frames.conn.Close()
		s.frames = nil
	}
	return a
}

// exchange sends a request in frames of an allowed size and reads its answer.
func (f *frames) exchange(stream uint32, q streamed) answer {
	f.request(stream, !q.open, q.fields...)
	for body := q.body; len(body) > 0; {
		n := min(len(body), 16<<10)
		_ = f.frame.WriteData(stream, n == len(body) && q.trailers == nil, []byte(body[:n]))
		body = body[n:]
	}
	switch {
	case q.trailers != nil:
		f.fields(stream, true, q.trailers)
	case q.open && q.body == "":
		_ = f.frame.WriteData(stream, true, nil)
	}
	return f.answer(stream)
}

// judge sends a request and checks what came of it at both ends, and then that the
// connection serves the next one, if the server has kept it.
func (s *session) judge(t testing.TB, name string, q streamed, want verdict) {
	t.Helper()
	head, whole := q.strict()
	if !whole && want == either {
		want = refused
	}
	a := s.send(t, q)
	if want != passed {
		eventually(t, "nothing is in flight", func() bool { return s.node.server.Stats().InFlight.Load() == 0 })
	}
	heads, dirty, complete := s.record.take()
	if len(dirty) > 0 {
		t.Errorf("%s: dirty at the origin: %q", name, dirty)
	}
	var sent []message
	if whole {
		sent, head = []message{*head}, nil
	}
	if wrong := s.record.unaccounted(sent, head, heads, complete); len(wrong) > 0 {
		t.Errorf("%s: the origin got what was not sent: %q", name, wrong)
	}
	switch ok := strings.HasPrefix(a.status, "2"); {
	case want == refused && (ok || len(complete) > 0 || !a.refused()):
		t.Errorf("%s: passed: %+v, origin %q", name, a, complete)
	case want == passed && (!ok || len(complete) != 1):
		t.Errorf("%s: refused: %+v, origin %q", name, a, heads)
	}
	if s.frames == nil {
		return
	}
	a = s.send(t, streamed{fields: []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/next"}})
	_, dirty, complete = s.record.take()
	if a.isGone && !whole && q.open && len(complete)+len(dirty) == 0 {
		return // to the standard library a body behind a bad head is one of no stream
	}
	if a.status != "200" || len(complete) != 1 || complete[0] != (message{method: "GET", target: "/next"}) || len(dirty) > 0 {
		t.Errorf("%s: the next request on the connection: %+v, origin %q, dirty %q", name, a, complete, dirty)
	}
}

// All vectors, translated: what is wrong by the letter of HTTP/2 is refused, and
// nothing ever reaches the origin dirty, twice or with another body.
func TestVectorsOverHTTP2(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	for _, file := range vectorFiles {
		for _, v := range vectors(t, file) {
			for _, polite := range []bool{false, true} {
				s.judge(t, fmt.Sprintf("%s %s, polite %v", file, v.ID, polite), inFrames(v.wire("x"), polite), either)
			}
		}
	}
}

func TestNeighboursOverHTTP2(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	r := rand.New(rand.NewPCG(5, 6))
	seeds := shortVectors(t)
	for range long(300, 10_000) {
		wire := mutate(r, []byte(seeds[r.IntN(len(seeds))]))
		s.judge(t, fmt.Sprintf("%q", wire), inFrames(string(wire), r.IntN(4) > 0), either)
	}
}

func FuzzRequestInFrames(f *testing.F) {
	for i, wire := range shortVectors(f) {
		if i%5 == 0 { // TestVectorsOverHTTP2 has all of them
			f.Add(wire, true)
		}
	}
	f.Add("POST /a HTTP/2\r\n:path: /b\r\nhost: x\r\nhost: y\r\nte: trailers\r\ncookie: a\r\ncookie: b\r\n\r\nabc", false)
	s := newSession(f)
	f.Fuzz(func(t *testing.T, wire string, polite bool) {
		if len(wire) > 64<<10 {
			return
		}
		s.frames = nil // it belongs to the input before
		s.judge(t, "this", inFrames(wire, polite), either)
	})
}

func getFields(fields ...string) streamed {
	return streamed{fields: append([]string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/a"}, fields...)}
}

func postFields(body string, fields ...string) streamed {
	return streamed{fields: append([]string{":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/a"}, fields...), body: body, open: true}
}

// Every byte stands once at every place of a head.
func TestMangledFields(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	wire := smuggled + "y\r\n\r\n"
	for place, c := range map[string]struct {
		make func(b string) streamed
		want func(b byte) verdict
	}{
		"in a name":       {func(b string) streamed { return getFields("x"+b+"a", "1") }, nil},
		"before a name":   {func(b string) streamed { return getFields(b+"xa", "1") }, nil},
		"behind a name":   {func(b string) streamed { return getFields("xa"+b, "1") }, nil},
		"in a value":      {func(b string) streamed { return getFields("xa", "1"+b+"2") }, nil},
		"around a value":  {func(b string) streamed { return getFields("xa", b+"1"+b) }, nil},
		"in a cookie":     {func(b string) streamed { return getFields("cookie", "a=1"+b+"2") }, nil},
		"in the path":     {func(b string) streamed { q := getFields(); q.fields[7] = "/" + b + "a"; return q }, func(b byte) verdict { return map[bool]verdict{true: passed, false: either}[b == '?'] }},
		"before the path": {func(b string) streamed { q := getFields(); q.fields[7] = b + "/a"; return q }, func(b byte) verdict { return map[bool]verdict{true: either, false: refused}[b == '/'] }},
		"in the method":   {func(b string) streamed { q := getFields(); q.fields[1] = "G" + b + "T"; return q }, nil},
		"in the host":     {func(b string) streamed { q := getFields(); q.fields[5] = "x" + b + "y"; return q }, nil},
		"in the scheme":   {func(b string) streamed { q := getFields(); q.fields[3] = "http" + b; return q }, func(b byte) verdict { return map[bool]verdict{true: passed, false: refused}[b == 's'] }},
		"in the length": {func(b string) streamed { return postFields(wire, "content-length", b+fmt.Sprint(len(wire))) },
			func(byte) verdict { return refused }},
		"in a coding": {func(b string) streamed { return postFields(wire, "transfer"+b+"encoding", "chunked") }, func(b byte) verdict {
			if b >= 'a' && b <= 'z' || b >= '0' && b <= '9' {
				return either
			}
			return refused
		}},
		"behind a coding": {func(b string) streamed { return postFields(wire, "transfer-encoding"+b, "chunked") }, func(b byte) verdict {
			if b >= 'a' && b <= 'z' {
				return passed
			}
			return refused
		}},
		"in a look-alike of the length": {func(b string) streamed { return postFields(wire, "content"+b+"length", "1") }, func(b byte) verdict {
			if b >= 'a' && b <= 'z' || b >= '0' && b <= '9' {
				return either
			}
			return refused
		}},
	} {
		for b := 0; b <= 0xff; b++ {
			if !soaking() && isAlnum(byte(b)) && !strings.ContainsRune("asZ5", rune(b)) || b > 0x80 && b%0x10 != 0xd {
				continue // as their neighbours
			}
			q := c.make(string([]byte{byte(b)}))
			want := either
			if c.want != nil {
				want = c.want(byte(b))
			} else if _, whole := q.strict(); whole && b != '%' {
				want = passed
			}
			s.judge(t, fmt.Sprintf("%#x %s", b, place), q, want)
		}
	}
}

// What HTTP/2 forbids, and what HTTP/1.1 refuses, never reaches the origin, and
// leaves the connection to others where one stream is to blame.
func TestHTTP2Refuses(t *testing.T) {
	s := newSession(t)
	head := func(fields ...string) streamed { return streamed{fields: fields} }
	for name, q := range map[string]streamed{
		"transfer-encoding":         getFields("transfer-encoding", "chunked"),
		"a coding that is none":     getFields("transfer-encoding", "identity"),
		"an empty coding":           getFields("transfer-encoding", ""),
		"a coding with a body":      postFields("0\r\n\r\n"+smuggled+"\r\n\r\n", "transfer-encoding", "chunked"),
		"a coding and a length":     postFields("0\r\n\r\n", "transfer-encoding", "chunked", "content-length", "5"),
		"connection":                getFields("connection", "x-a", "x-a", "1"),
		"connection: close":         getFields("connection", "close"),
		"keep-alive":                getFields("keep-alive", "timeout=5"),
		"proxy-connection":          getFields("proxy-connection", "close"),
		"upgrade":                   getFields("upgrade", "websocket"),
		"upgrade to h2c":            getFields("connection", "upgrade, http2-settings", "upgrade", "h2c", "http2-settings", "AAA"),
		"te other than trailers":    getFields("te", "gzip"),
		"te with more":              getFields("te", "trailers, gzip"),
		"two te":                    getFields("te", "trailers", "te", "gzip"),
		"name in upper case":        getFields("X-Upper", "1"),
		"no name":                   getFields("", "1"),
		"a line in a name":          getFields("x-a: 1\r\nx-b", "2"),
		"a request in a name":       getFields("x-a: 1\r\n\r\nget /smuggled http/1.1\r\nx", "2"),
		"value with line":           getFields("x-a", "1\r\nx-b: 2"),
		"value with bare LF":        getFields("x-a", "1\nx-b: 2"),
		"value with a request":      getFields("x-a", "1\r\n\r\n"+smuggled),
		"look-alike of framing":     getFields("content_length", "5"),
		"look-alike of a coding":    getFields("transfer_encoding", "chunked"),
		"two hosts":                 getFields("host", "y"),
		"three hosts":               getFields("host", "x", "host", "y"),
		"host in another case":      getFields("Host", "x"),
		"bad expectation":           postFields("a", "expect", "more"),
		"no path":                   head(":method", "GET", ":scheme", "https", ":authority", "x"),
		"empty path":                head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", ""),
		"no method":                 head(":scheme", "https", ":authority", "x", ":path", "/"),
		"empty method":              head(":method", "", ":scheme", "https", ":authority", "x", ":path", "/"),
		"no scheme":                 head(":method", "GET", ":authority", "x", ":path", "/"),
		"another scheme":            head(":method", "GET", ":scheme", "ftp", ":authority", "x", ":path", "/"),
		"a URL in the scheme":       head(":method", "GET", ":scheme", "https://x/?", ":authority", "x", ":path", "/"),
		"no host":                   head(":method", "GET", ":scheme", "https", ":path", "/"),
		"empty host":                head(":method", "GET", ":scheme", "https", ":authority", "", ":path", "/"),
		"two authorities":           head(":method", "GET", ":scheme", "https", ":authority", "x", ":authority", "y", ":path", "/"),
		"two methods":               head(":method", "GET", ":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/"),
		"two paths":                 head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/", ":path", "/b"),
		"two schemes":               head(":method", "GET", ":scheme", "https", ":scheme", "http", ":authority", "x", ":path", "/"),
		"pseudo-header behind":      head(":method", "GET", ":scheme", "https", ":authority", "x", "a", "b", ":path", "/"),
		"unknown pseudo-header":     head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/", ":x", "1"),
		"a pseudo-header's header":  getFields(":path", "/b"),
		"an answer's pseudo-header": getFields(":status", "200"),
		"path with space":           head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/ HTTP/1.1\r\nX: y"),
		"path with a request":       head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/ HTTP/1.1\r\nHost: x\r\n\r\n"+smuggled),
		"path with blank":           head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/a b"),
		"path with 8 bits":          head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/\xe4"),
		"path with fragment":        head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/a#b"),
		"path is this URL":          head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "https://x/"),
		"path is a URL":             head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "http://y/"),
		"path is a query":           head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "?a"),
		"path is a name":            head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "a"),
		"a star":                    head(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "*"),
		"two stars":                 head(":method", "OPTIONS", ":scheme", "https", ":authority", "x", ":path", "**"),
		"method with space":         head(":method", "GET /x HTTP/1.1", ":scheme", "https", ":authority", "x", ":path", "/"),
		"method with a request":     head(":method", smuggled+"y\r\n\r\nGET", ":scheme", "https", ":authority", "x", ":path", "/"),
		"userinfo":                  head(":method", "GET", ":scheme", "https", ":authority", "a@x", ":path", "/"),
		"bad authority":             head(":method", "GET", ":scheme", "https", ":authority", "x/y", ":path", "/"),
		"a line in the authority":   head(":method", "GET", ":scheme", "https", ":authority", "x\r\nX: y", ":path", "/"),
		"connect":                   head(":method", "CONNECT", ":authority", "x:443"),
		"connect with a path":       head(":method", "CONNECT", ":scheme", "https", ":authority", "x:443", ":path", "/"),
		"extended connect":          head(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "x", ":path", "/"),
		"trace":                     head(":method", "TRACE", ":scheme", "https", ":authority", "x", ":path", "/"),
		"two lengths":               postFields("a", "content-length", "1", "content-length", "2"),
		"a length twice":            postFields("a", "content-length", "1", "content-length", "1"),
		"a list of lengths":         postFields("a", "content-length", "1, 1"),
		"length that is no number":  postFields("a", "content-length", "x"),
		"signed length":             postFields("a", "content-length", "+1"),
		"empty length":              postFields("a", "content-length", ""),
		"length in octal":           postFields("12345678", "content-length", "010"),
		"length beyond all numbers": postFields("a", "content-length", "18446744073709551617"),
		"length without body":       getFields("content-length", "5"),
		"length of an empty body":   postFields("", "content-length", "5"),
		"body without a length":     postFields("abc", "content-length", "0"),
		"body longer than it says":  postFields(smuggled+"y\r\n\r\n", "content-length", "3"),
		"body shorter than it says": postFields("ab", "content-length", "3"),
		"very many headers":         getFields(slices.Repeat([]string{"a", "b"}, maxFields+1)...),
		"trailers break the length": {fields: postFields("", "content-length", "3").fields, body: "ab", open: true, trailers: []string{"x-a", "1"}},
		"pseudo-header in trailers": {fields: postFields("").fields, body: "ab", open: true, trailers: []string{":path", "/b"}},
	} {
		s.judge(t, name, q, refused)
	}
}

// What is unusual and right passes.
func TestHTTP2Passes(t *testing.T) {
	s := newSession(t)
	for name, q := range map[string]streamed{
		"te: trailers, two cookies": getFields("te", "trailers", "cookie", "a=1", "cookie", "b=2"),
		"host as authority":         {fields: []string{":method", "GET", ":scheme", "https", ":path", "/a", "host", "x"}},
		"host beside authority":     getFields("host", "x"),
		"scheme http":               {fields: []string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/a"}},
		"pseudo-headers in a mess":  {fields: []string{":path", "/a", ":authority", "x", ":method", "GET", ":scheme", "https"}},
		"options of all":            {fields: []string{":method", "OPTIONS", ":scheme", "https", ":authority", "x", ":path", "*"}},
		"an unknown method":         {fields: []string{":method", "M-SEARCH", ":scheme", "https", ":authority", "x:80", ":path", "/a?b=|{}%20"}},
		"a request as body":         postFields(smuggled + "\r\n\r\n"),
		"chunks as body":            postFields("0\r\n\r\n" + smuggled + "\r\n\r\n"),
		"a body of that length":     postFields("abc", "content-length", "3"),
		"an empty body":             postFields(""),
		"an empty body, counted":    postFields("", "content-length", "0"),
		"a get with a body":         {fields: getFields("content-length", "3").fields, body: "abc", open: true},
		"an expectation":            postFields("abc", "expect", "100-continue"),
		"8-bit value":               getFields("x-a", "\xe9"),
		"empty value":               getFields("x-a", ""),
		"blanks around a value":     getFields("x-a", " \t1\t "),
		"proxy-authorization":       getFields("proxy-authorization", "Basic x", "proxy", "x", "http2-settings", "AAA"),
		"a long cookie":             getFields("cookie", strings.Repeat("a", 16<<10)),
	} {
		s.judge(t, name, q, passed)
	}
}

// Trailers pass if they were announced, save those that belong into a head. The
// standard library keeps others to itself.
func TestTrailersOverHTTP2(t *testing.T) {
	s := newSession(t)
	names := []string{"x-a", "x-b", "x_c", "sedge-d", "cookie", "x-forwarded-for", "x-request-id"}
	var trailers []string
	for _, name := range names {
		trailers = append(trailers, name, "1")
	}
	for announced, want := range map[string]string{
		strings.Join(names, ", "): "X-A: 1\r\nX-B: 1\r\n", "x-a": "X-A: 1\r\n", "": "", "content-length, transfer-encoding, host": "",
	} {
		q := postFields("abc", "trailer", announced)
		q.trailers = trailers
		a := s.send(t, q)
		if _, dirty, complete := s.record.take(); a.status != "200" || len(complete) != 1 || complete[0].trailers != want || complete[0].body != "abc" || len(dirty) > 0 {
			t.Errorf("announced %q: %+v, the origin got %q, dirty %q", announced, a, complete, dirty)
		}
	}
	for _, name := range []string{"content-length", "transfer-encoding", "host", "connection", "authorization", "content-type", "range", "X-Upper", "x a"} {
		q := postFields("abc", "trailer", name)
		q.trailers = []string{name, "9"}
		a := s.send(t, q)
		eventually(t, "nothing is in flight", func() bool { return s.node.server.Stats().InFlight.Load() == 0 })
		_, dirty, complete := s.record.take()
		for _, m := range complete {
			if m.trailers != "" || m.body != "abc" {
				t.Errorf("trailer %q: the origin got %q", name, m)
			}
		}
		if len(dirty) > 0 {
			t.Errorf("trailer %q: %+v, dirty %q", name, a, dirty)
		}
	}
}

// However a request is cut into frames, and whatever stands between them, it is the
// same request.
func TestFramesMeanTheSame(t *testing.T) {
	n, record := mangledNode(t, overHTTP2)
	const body = "the body of it"
	for step := 1; step <= 40; step++ {
		f := dialFrames(t, n, xhttp2.Setting{ID: 0xbeef, Val: 1}, xhttp2.Setting{ID: xhttp2.SettingHeaderTableSize, Val: 0})
		noise := func(stream uint32) {
			_ = f.frame.WritePriority(stream, xhttp2.PriorityParam{StreamDep: stream + 2, Exclusive: true, Weight: uint8(step)})
			_ = f.frame.WritePing(false, [8]byte{byte(step)})
			_ = f.frame.WriteRawFrame(0xbe, 0xff, stream, []byte("whatever"))
			_ = f.frame.WriteWindowUpdate(0, 1)
		}
		block := f.encode(postFields("", "x-a", "1", "content-length", fmt.Sprint(len(body)), "x-long", strings.Repeat("b", 100)).fields...)
		noise(1)
		rest := block[min(step, len(block)):]
		_ = f.frame.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:min(step, len(block))], EndHeaders: len(rest) == 0, PadLength: uint8(step)})
		for len(rest) > 0 {
			m := min(step, len(rest))
			_ = f.frame.WriteContinuation(1, m == len(rest), rest[:m])
			rest = rest[m:]
		}
		for rest := body; len(rest) > 0; {
			noise(1)
			m := min(step, len(rest))
			_ = f.frame.WriteDataPadded(1, false, []byte(rest[:m]), make([]byte, step))
			rest = rest[m:]
		}
		_ = f.frame.WriteData(1, true, nil)
		a := f.answer(1)
		f.conn.Close()
		if _, dirty, complete := record.take(); a.status != "200" || len(complete) != 1 || complete[0] != (message{method: "POST", target: "/a", body: body}) || len(dirty) > 0 {
			t.Fatalf("in pieces of %d: %+v, the origin got %q, dirty %q", step, a, complete, dirty)
		}
	}
}

// Frames against the rules end the stream or the connection. A request that was under
// way then is not finished by them.
func TestFramesAgainstTheRules(t *testing.T) {
	t.Parallel()
	n, record := mangledNode(t, overHTTP2)
	const flagEnd, flagHeaders, flagPadded = 1, 4, 8
	raw := func(kind xhttp2.FrameType, flags xhttp2.Flags, stream uint32, payload ...byte) func(*frames) {
		return func(f *frames) { _ = f.frame.WriteRawFrame(kind, flags, stream, payload) }
	}
	var clients sync.WaitGroup
	for name, wrong := range map[string]func(f *frames){
		"data of no stream":           raw(xhttp2.FrameData, flagEnd, 3, 'x'),
		"data of stream 0":            raw(xhttp2.FrameData, flagEnd, 0, 'x'),
		"padding beyond the frame":    raw(xhttp2.FrameData, flagEnd|flagPadded, 1, 200, 'x'),
		"padding without a length":    raw(xhttp2.FrameData, flagEnd|flagPadded, 1),
		"a stream of the server":      func(f *frames) { f.request(2, true) },
		"an older stream":             func(f *frames) { f.request(7, true, getFields().fields...); f.request(5, true) },
		"a head of stream 0":          func(f *frames) { f.request(0, true) },
		"a second head":               func(f *frames) { f.request(1, true, getFields().fields...) },
		"trailers that do not end it": func(f *frames) { f.fields(1, false, []string{"x-a", "1"}) },
		"a head that is no HPACK":     raw(xhttp2.FrameHeaders, flagEnd|flagHeaders, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"an index that is none":       raw(xhttp2.FrameHeaders, flagEnd|flagHeaders, 3, 0xfe),
		"a continuation of nothing":   raw(xhttp2.FrameContinuation, flagHeaders, 1, 0x82),
		"something within a head":     func(f *frames) { raw(xhttp2.FrameHeaders, 0, 3, 0x82)(f); raw(xhttp2.FrameData, flagEnd, 1)(f) },
		"another's continuation": func(f *frames) {
			raw(xhttp2.FrameHeaders, 0, 3, 0x82)(f)
			raw(xhttp2.FrameContinuation, flagHeaders, 1, 0x82)(f)
		},
		"a window of nothing":             raw(xhttp2.FrameWindowUpdate, 0, 0, 0, 0, 0, 0),
		"a window beyond all":             func(f *frames) { raw(xhttp2.FrameWindowUpdate, 0, 0, 0x7f, 0xff, 0xff, 0xff)(f) },
		"a stream that depends on itself": raw(xhttp2.FramePriority, 0, 1, 0, 0, 0, 1, 0),
		"a reset of no stream":            raw(xhttp2.FrameRSTStream, 0, 9, 0, 0, 0, 8),
		"a push":                          raw(xhttp2.FramePushPromise, flagHeaders, 1, 0, 0, 0, 2, 0x82),
		"a short ping":                    raw(xhttp2.FramePing, 0, 0, 1, 2, 3),
		"settings of a stream":            raw(xhttp2.FrameSettings, 0, 1),
		"settings of 5 bytes":             raw(xhttp2.FrameSettings, 0, 0, 1, 2, 3, 4, 5),
		"a frame too large":               func(f *frames) { raw(xhttp2.FrameData, flagEnd, 1, make([]byte, 1<<17)...)(f) },
		"a farewell":                      func(f *frames) { _ = f.frame.WriteGoAway(0, xhttp2.ErrCodeNo, nil); f.conn.Close() },
		"a reset":                         func(f *frames) { _ = f.frame.WriteRSTStream(1, xhttp2.ErrCodeCancel) },
		"bytes that are no frame": func(f *frames) {
			_, _ = f.conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat("x", 1<<17)))
		},
		"the preface again": func(f *frames) { _, _ = f.conn.Write([]byte(xhttp2.ClientPreface)) },
	} {
		f := dialFrames(t, n)
		q := postFields("")
		q.fields[7] = "/" + strings.ReplaceAll(name, " ", "-")
		f.request(1, false, q.fields...)
		_ = f.frame.WriteData(1, false, []byte("abc"))
		wrong(f)
		_ = f.conn.CloseWrite()
		clients.Go(func() { f.answer(99) }) // to the end of the connection
	}
	clients.Wait()
	eventually(t, "nothing is in flight", func() bool { return n.server.Stats().InFlight.Load() == 0 })
	_, dirty, complete := record.take()
	complete = slices.DeleteFunc(complete, func(m message) bool { return m == message{method: "GET", target: "/a"} })
	if len(complete) > 0 || len(dirty) > 0 {
		t.Errorf("the origin got %q, dirty %q", complete, dirty)
	}
	if r := n.get("/"); r.StatusCode != 200 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}
