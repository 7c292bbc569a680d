package upstream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a connection over which an origin speaks HTTP/2 frame by frame, also
// wrongly.
type frames struct {
	*http2.Framer
	peer  *peer
	block bytes.Buffer
	pack  *hpack.Encoder
	deaf  bool // it lets us send no more than it did at first
	write sync.Mutex
}

// frameOrigin does with each connection what a test says, once the handshake of the
// protocol is over.
func frameOrigin(t *testing.T, serve func(f *frames), settings ...http2.Setting) *rawOrigin {
	t.Helper()
	return newOrigin(t, func(p *peer) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(p.br, preface); err != nil || string(preface) != http2.ClientPreface {
			return
		}
		f := &frames{Framer: http2.NewFramer(p, p.br), peer: p}
		f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		f.pack = hpack.NewEncoder(&f.block)
		_ = f.WriteSettings(settings...)
		serve(f)
	})
}

// next reads the next frame that belongs to a request, or tells of its end; nil means
// that the connection is gone.
func (f *frames) next() http2.Frame {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return nil
		}
		f.reply(frame)
		switch frame := frame.(type) {
		case *http2.DataFrame:
			return frame
		case *http2.MetaHeadersFrame, *http2.RSTStreamFrame:
			return frame
		}
	}
}

// reply does what the protocol asks for.
func (f *frames) reply(frame http2.Frame) {
	f.write.Lock()
	defer f.write.Unlock()
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			_ = f.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !frame.IsAck() {
			_ = f.WritePing(true, frame.Data)
		}
	case *http2.DataFrame:
		if n := uint32(len(frame.Data())); n > 0 && !f.deaf {
			_ = f.WriteWindowUpdate(0, n)
			_ = f.WriteWindowUpdate(frame.StreamID, n)
		}
	}
}

// request waits for the head of a request, and returns its stream and its fields.
func (f *frames) request() (stream uint32, fields map[string]string) {
	for {
		switch frame := f.next().(type) {
		case nil:
			return 0, nil
		case *http2.MetaHeadersFrame:
			fields = map[string]string{}
			for _, field := range frame.Fields {
				fields[field.Name] += field.Value
			}
			return frame.StreamID, fields
		}
	}
}

// rest reads a request's body and says how it ended: "end", "reset", "gone", or its
// trailers.
func (f *frames) rest() (body, end string) {
	for {
		switch frame := f.next().(type) {
		case nil:
			return body, "gone"
		case *http2.RSTStreamFrame:
			return body, "reset"
		case *http2.MetaHeadersFrame:
			for _, field := range frame.Fields {
				end += field.Name + "=" + field.Value
			}
			return body, end
		case *http2.DataFrame:
			body += string(frame.Data())
			if frame.StreamEnded() {
				return body, "end"
			}
		}
	}
}

// head sends a head, or trailers; fields are names and values.
func (f *frames) head(stream uint32, end bool, fields ...string) {
	f.block.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = f.pack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	block, first := f.block.Bytes(), true
	for first || len(block) > 0 {
		part := block[:min(len(block), 16<<10)]
		block = block[len(part):]
		if first {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: part, EndStream: end, EndHeaders: len(block) == 0})
		} else {
			_ = f.WriteContinuation(stream, len(block) == 0, part)
		}
		first = false
	}
}

func (f *frames) hello(stream uint32) {
	f.write.Lock()
	defer f.write.Unlock()
	f.head(stream, false, ":status", "200")
	_ = f.WriteData(stream, true, []byte("hello"))
}

// clearText makes an upstream speak HTTP/2 without TLS.
func clearText(c *Config) { c.Protocol = HTTP2Clear }

// handlerOrigin serves with the standard library: HTTP/2 over TLS if settings are
// given, else both versions in clear text. It returns its URL.
func handlerOrigin(t testing.TB, settings *tls.Config, h http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(settings == nil)
	protocols.SetHTTP2(settings != nil)
	protocols.SetUnencryptedHTTP2(settings == nil)
	server := &http.Server{Protocols: protocols, TLSConfig: settings, Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	url, serve := "http://", func() error { return server.Serve(listener) }
	if settings != nil {
		url, serve = "https://", func() error { return server.ServeTLS(listener, "", "") }
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = serve() }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return url + listener.Addr().String()
}

func call(t testing.TB) *fasthttp.Request {
	t.Helper()
	return prepared(t, "POST /shop.Cart/Watch HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n",
		PrepareOptions{Host: "a"})
}

// What is asked for arrives as it was asked, whatever the library thinks of it.
func TestHTTP2RequestAsItCame(t *testing.T) {
	got := make(chan map[string]string, 1)
	o := frameOrigin(t, func(f *frames) {
		for {
			stream, fields := f.request()
			if fields == nil {
				return
			}
			got <- fields
			f.hello(stream)
		}
	})
	u := newUpstream(t, o.url(), clearText, func(c *Config) { c.Host = HostClient })
	for _, target := range []string{"/", "/a//b/../c%2Fd;x=%7e?q=%20+&&r", "//evil.example/x?y", "/?", "/a?b?c", "/%zz", "/\"<>|^`{}", "*"} {
		method := "GET"
		if target == "*" {
			method = "OPTIONS"
		}
		req := prepared(t, method+" "+target+" HTTP/1.1\r\nHost: Shop.example:81\r\nx-lower: 1\r\nCookie: a=1; b=2\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip, trailers\r\n\r\n",
			PrepareOptions{Host: "Shop.example:81"})
		status, body, err := fetch(u, req, nil, Options{})
		if status != 200 || body != "hello" || err != nil {
			t.Fatalf("%s: %d %q %v", target, status, body, err)
		}
		want := map[string]string{
			":method": method, ":scheme": "http", ":authority": "Shop.example:81", ":path": target,
			"x-lower": "1", "cookie": "a=1b=2", "te": "trailers", "via": "1.1 sedge", "x-forwarded-host": "Shop.example:81",
		}
		if fields := <-got; !maps.Equal(fields, want) {
			t.Errorf("%s: the origin got %v, want %v", target, fields, want)
		}
	}
	if n := o.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestHTTP2AnswerAsItCame(t *testing.T) {
	o := frameOrigin(t, func(f *frames) {
		stream, _ := f.request()
		f.head(stream, false, ":status", "103", "link", "</a>", "link", "</b>", "connection", "x-hop", "x-hop", "1")
		f.head(stream, false, ":status", "200", "date", "Tue, 01 Dec 2026 10:00:00 GMT", "set-cookie", "a=1; Path=/", "set-cookie", "a=2", "link", "</a>", "link", "</b>",
			"etag", `"x"`, "connection", "keep-alive, x-hop", "x-hop", "1", "keep-alive", "5", "proxy-connection", "x", "transfer-encoding", "chunked", "trailer", "x-sum")
		_ = f.WriteData(stream, false, []byte("body"))
		f.head(stream, true, "x-sum", "1", "x-sum", "2", "unannounced", "3")
		f.next()
	})
	u := newUpstream(t, o.url(), clearText)
	var hints []string
	resp := &fasthttp.Response{}
	err := u.Do(get(t), resp, nil, Options{Informational: func(status int, h *fasthttp.ResponseHeader) {
		for name, value := range h.All() {
			hints = append(hints, fmt.Sprintf("%d %s %s", status, name, value))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"103 Link </a>", "103 Link </b>"}; !slices.Equal(hints, want) {
		t.Errorf("hints %q, want %q", hints, want)
	}
	head := resp.Header.String()
	for _, want := range []string{"HTTP/1.1 200 OK\r\n", "Set-Cookie: a=1; Path=/\r\n", "Set-Cookie: a=2\r\n", "Link: </a>\r\n", "Link: </b>\r\n", "ETag: \"x\"\r\n"} {
		if strings.Count(head, want) != 1 {
			t.Errorf("want once %q in\n%s", want, head)
		}
	}
	for _, never := range []string{"X-Hop", "Keep-Alive", "Connection", "Server", "Content-Type"} {
		if strings.Contains(head, never) {
			t.Errorf("found %q in\n%s", never, head)
		}
	}
	if got := string(resp.Header.Peek("Date")); got != "Tue, 01 Dec 2026 10:00:00 GMT" {
		t.Errorf("Date is %q", got)
	}
	body := resp.BodyStream().(*Body)
	content, err := io.ReadAll(body)
	if string(content) != "body" || err != nil {
		t.Errorf("body %q %v", content, err)
	}
	if got := fmt.Sprint(body.Trailers()); got != "[{Unannounced 3} {X-Sum 1} {X-Sum 2}]" {
		t.Errorf("trailers %s", got)
	}
	if err := resp.CloseBodyStream(); err != nil {
		t.Error(err)
	}
}

// Where nothing follows a head, or nothing may, the exchange is over, and the
// connection serves the next.
func TestHTTP2AnswersWithoutBody(t *testing.T) {
	for _, test := range []struct {
		name, method string
		end          bool
		fields       []string
		status       int
		length       string
	}{
		{"head", "HEAD", true, []string{":status", "200", "content-length", "1234"}, 200, "1234"},
		{"head without length", "HEAD", true, []string{":status", "200"}, 200, ""},
		{"204", "GET", true, []string{":status", "204"}, 204, ""},
		{"204 with a body", "GET", false, []string{":status", "204"}, 204, ""},
		{"304", "GET", true, []string{":status", "304", "content-length", "77"}, 304, "77"},
		{"empty", "GET", true, []string{":status", "200", "content-length", "0"}, 200, "0"},
		{"without length", "GET", true, []string{":status", "500"}, 500, "0"},
		{"trailers only", "POST", true, []string{":status", "200", "content-type", "application/grpc", "grpc-status", "5"}, 200, "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := frameOrigin(t, func(f *frames) {
				for {
					stream, fields := f.request()
					if fields == nil {
						return
					}
					if f.head(stream, test.end, test.fields...); !test.end {
						_ = f.WriteData(stream, true, []byte("bad"))
					}
				}
			})
			u := newUpstream(t, o.url(), clearText)
			for range 3 {
				req := prepared(t, test.method+" / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", PrepareOptions{Host: "a"})
				resp := &fasthttp.Response{}
				if err := u.Do(req, resp, nil, Options{}); err != nil {
					t.Fatal(err)
				}
				if resp.IsBodyStream() || resp.ConnectionClose() || resp.StatusCode() != test.status {
					t.Errorf("%d, stream %v, close %v", resp.StatusCode(), resp.IsBodyStream(), resp.ConnectionClose())
				}
				if got := string(resp.Header.Peek("Content-Length")); got != test.length {
					t.Errorf("Content-Length %q, want %q", got, test.length)
				}
			}
			if n := o.connections(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
			eventually(t, "the connection is idle", func() bool { return u.Stats() == Stats{Idle: 1} })
		})
	}
}

// However an answer ends before its end, it is no whole one.
func TestHTTP2CutAnswersAreBreaks(t *testing.T) {
	whole := []string{":status", "200", "content-length", "5"}
	for name, test := range map[string]struct {
		kind Kind
		send func(f *frames, stream uint32)
	}{
		"closed before the head": {Closed, func(*frames, uint32) {}},
		"closed after a 103":     {Closed, func(f *frames, s uint32) { f.head(s, false, ":status", "103") }},
		"closed after the head":  {Closed, func(f *frames, s uint32) { f.head(s, false, ":status", "200") }},
		"closed in the body":     {Closed, func(f *frames, s uint32) { f.head(s, false, whole...); _ = f.WriteData(s, false, []byte("hel")) }},
		"closed before the end": {Closed, func(f *frames, s uint32) {
			f.head(s, false, ":status", "200")
			_ = f.WriteData(s, false, []byte("hello"))
		}},
		"reset before the head": {Closed, func(f *frames, s uint32) { _ = f.WriteRSTStream(s, http2.ErrCodeInternal); f.next() }},
		"reset without error": {Closed, func(f *frames, s uint32) {
			f.head(s, false, ":status", "200")
			_ = f.WriteRSTStream(s, http2.ErrCodeNo)
			f.next()
		}},
		"reset in the body": {Closed, func(f *frames, s uint32) {
			f.head(s, false, whole...)
			_ = f.WriteData(s, false, []byte("hel"))
			_ = f.WriteRSTStream(s, http2.ErrCodeCancel)
			f.next()
		}},
		"shorter than it says": {Closed, func(f *frames, s uint32) {
			f.head(s, false, whole...)
			_ = f.WriteData(s, true, []byte("hel"))
			f.next()
		}},
		"nothing where there was": {Closed, func(f *frames, s uint32) { f.head(s, true, whole...); f.next() }},
		"longer than it says": {Closed, func(f *frames, s uint32) {
			f.head(s, false, whole...)
			_ = f.WriteData(s, true, []byte("hello, world"))
			f.next()
		}},
		"two lengths": {Malformed, func(f *frames, s uint32) {
			f.head(s, false, ":status", "200", "content-length", "5", "content-length", "5")
			f.next()
		}},
		"no length":          {Malformed, func(f *frames, s uint32) { f.head(s, false, ":status", "200", "content-length", "five"); f.next() }},
		"status 99":          {Malformed, func(f *frames, s uint32) { f.head(s, true, ":status", "99"); f.next() }},
		"status 1000":        {Malformed, func(f *frames, s uint32) { f.head(s, true, ":status", "1000"); f.next() }},
		"status x":           {Malformed, func(f *frames, s uint32) { f.head(s, true, ":status", "x"); f.next() }},
		"no status":          {Malformed, func(f *frames, s uint32) { f.head(s, true, "x", "y"); f.next() }},
		"101":                {Malformed, func(f *frames, s uint32) { f.head(s, false, ":status", "101"); f.next() }},
		"control characters": {Malformed, func(f *frames, s uint32) { f.head(s, true, ":status", "200", "x", "a\x01b"); f.next() }},
		"upper case":         {Malformed, func(f *frames, s uint32) { f.head(s, true, ":status", "200", "X-Upper", "a"); f.next() }},
		"a huge head": {Malformed, func(f *frames, s uint32) {
			f.head(s, true, ":status", "200", "x", strings.Repeat("y", maxHead+1<<12))
			f.next()
		}},
		"many headers": {Malformed, func(f *frames, s uint32) {
			f.head(s, true, append([]string{":status", "200"}, strings.Split(strings.Repeat("a b ", maxFields+1), " ")...)...)
			f.next()
		}},
		"many 103": {Malformed, func(f *frames, s uint32) {
			for range maxInterim + 1 {
				f.head(s, false, ":status", "103")
			}
			f.head(s, true, ":status", "200")
			f.next()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := new(atomic.Int64)
			o := frameOrigin(t, func(f *frames) {
				if stream, fields := f.request(); fields != nil {
					asked.Add(1)
					test.send(f, stream)
				}
			})
			u := newUpstream(t, o.url(), clearText)
			status, body, err := fetch(u, post(t, 2), strings.NewReader("hi"), Options{})
			wantKind(t, err, test.kind)
			if test.kind == Closed && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d %q ended with %v", status, body, err)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			if strings.Contains(err.Error(), "upper") || strings.Contains(err.Error(), "five") {
				t.Errorf("the error holds bytes of the answer: %v", err)
			}
			eventually(t, "nothing is under way", func() bool { return u.Stats().Active == 0 && u.members[0].pool.active() == 0 })
		})
	}
}
