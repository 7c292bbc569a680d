package upstream

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// script is a connection whose other side says fixed bytes, some at a time, and
// then ends.
type script struct {
	net.Conn
	rest []byte
	step int
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

type told struct {
	status  int
	body    string
	whole   bool
	kept    bool
	headers string
}

// tell lets the origin say the bytes and returns what came of them, the body as read
// returns it.
func tell(t *testing.T, said []byte, step int, read func(*Body) ([]byte, error)) told {
	u := newUpstream(t, "http://192.0.2.1")
	defer u.Close()
	u.now = func() time.Time { return time.Unix(0, 0) }
	u.members[0].pool.connect = func(context.Context, string, string) (net.Conn, error) {
		return &script{rest: said, step: step}, nil
	}
	resp := &fasthttp.Response{}
	if u.Do(get(t), resp, nil, Options{}) != nil {
		return told{}
	}
	r := told{status: resp.StatusCode(), whole: true}
	for name, value := range resp.Header.All() { // String would put fasthttp's own Date in
		r.headers += string(name) + ": " + string(value) + "\r\n"
	}
	if resp.IsBodyStream() {
		body, err := read(resp.BodyStream().(*Body))
		r.body, r.whole = string(body), err == nil
		resp.CloseBodyStream()
	}
	stats := u.Stats()
	r.kept = stats.Idle == 1
	if stats.Active != 0 {
		t.Fatalf("an exchange of %q has no end", said)
	}
	return r
}

// readAll reads a body by Read.
func readAll(b *Body) ([]byte, error) { return io.ReadAll(b) }

// readParts reads it by Next, or as a whole if it is there.
func readParts(b *Body) (body []byte, err error) {
	taken := b.Take()
	defer taken.Close()
	if whole := taken.Whole(); whole != nil {
		return bytes.Clone(whole), nil
	}
	for {
		part, err := taken.Next()
		body = append(body, part...)
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return body, err
		}
	}
}

// FuzzAnswer: what comes of an answer does not depend on how its bytes are cut
// into reads, nor on how its body is read, and an answer that is taken for whole is the one that net/http reads.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		okHello, "HTTP/1.1 200 OK\r\n\r\nclose", "HTTP/1.1 204 N\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nxy",
		"HTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;e\r\nabc\r\n0\r\nX: y\r\n\r\nmore",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcmore", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n2\r\nef\r\n0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nset-cookie: c\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\nx",
		"HTTP/1.1 200 OK\r\nConnection: close, X-A\r\nX-A: b\r\nContent-Length: 0\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, said []byte, step uint8) {
		whole := tell(t, said, len(said)+1, readAll)
		for _, parts := range []told{tell(t, said, int(step)+1, readAll), tell(t, said, int(step)+1, readParts), tell(t, said, len(said)+1, readParts)} {
			parts.kept = whole.kept // bytes that have not come yet are found when it is used again
			if parts != whole {
				t.Fatalf("%q\nat once   %+v\nin pieces %+v", said, whole, parts)
			}
		}
		if kept := tell(t, said, len(said)+1, readParts).kept; kept != whole.kept {
			t.Fatalf("%q: read in parts, the connection is kept: %v, want %v", said, kept, whole.kept)
		}
		if whole.status == 0 || !whole.whole {
			return
		}
		if (whole.status == 204 || whole.status == 304) && whole.body != "" {
			t.Fatalf("%q: a %d has a body", said, whole.status)
		}
		br := bufio.NewReader(bytes.NewReader(said))
		for {
			other, err := http.ReadResponse(br, &http.Request{Method: "GET"})
			if err != nil {
				return // net/http is stricter in some things
			}
			body, err := io.ReadAll(other.Body)
			if err == nil && other.StatusCode < 200 && other.StatusCode != 101 {
				continue
			}
			if err == nil && (other.StatusCode != whole.status || string(body) != whole.body) {
				t.Fatalf("%q: net/http reads %d %q, we %+v", said, other.StatusCode, body, whole)
			}
			if whole.kept && br.Buffered() > 0 {
				t.Fatalf("%q: the connection was kept with bytes left over", said)
			}
			return
		}
	})
}

// FuzzPrepare: whatever a client sends, the origin gets one well-formed head, with
// one framing, and none of the names that are ours.
func FuzzPrepare(f *testing.F) {
	f.Add("Host: a\r\nCookie: a=1; sedge_vid=2\r\nConnection: x, close\r\nX: y\r\n")
	f.Add("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\nSedge-A: b\r\nX_Y: z\r\n")
	f.Add("Host: a\r\nA: b\r\n c\r\nD:\te\x80\r\n")
	f.Fuzz(func(t *testing.T, fields string) {
		in := &fasthttp.Request{}
		in.Header.DisableNormalizing()
		if in.Header.Read(newReader("POST /x HTTP/1.1\r\n"+fields+"\r\n")) != nil {
			return
		}
		out := &fasthttp.Request{}
		Prepare(out, in, PrepareOptions{Host: "shop.example", Peer: "192.0.2.7", StripCookies: []string{"sedge_vid"}})
		head := out.Header.AppendBytes(nil)
		got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			t.Fatalf("%q became %q: %v", fields, head, err)
		}
		if got.Host != "shop.example" || got.Header.Get("X-Forwarded-For") != "192.0.2.7" || got.Header.Get("Connection") != "" {
			t.Fatalf("%q became %q", fields, head)
		}
		if len(got.TransferEncoding) > 0 && bytes.Contains(bytes.ToLower(head), []byte("\ncontent-length:")) {
			t.Fatalf("%q became %q", fields, head)
		}
		for name := range got.Header {
			if hasPrefixFold([]byte(name), ownPrefix) || bytes.ContainsRune([]byte(name), '_') {
				t.Fatalf("%q became %q", fields, head)
			}
		}
		for _, c := range got.Cookies() {
			if c.Name == "sedge_vid" {
				t.Fatalf("%q became %q", fields, head)
			}
		}
	})
}
