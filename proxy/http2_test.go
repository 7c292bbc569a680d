package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a client that writes HTTP/2 frame by frame, also wrong ones.
type frames struct {
	t     *testing.T
	conn  *tls.Conn
	frame *xhttp2.Framer
	block bytes.Buffer
	pack  *hpack.Encoder
}

func dialFrames(t *testing.T, n *node, settings ...xhttp2.Setting) *frames {
	t.Helper()
	config := testAuthority().client()
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", n.tlsAddr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	f := &frames{t: t, conn: conn, frame: xhttp2.NewFramer(conn, conn)}
	f.frame.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.pack = hpack.NewEncoder(&f.block)
	if _, err := io.WriteString(conn, xhttp2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.frame.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return f
}

// encode packs fields given as name and value, behind the pseudo-headers of a GET
// unless they begin with their own.
func (f *frames) encode(fields ...string) []byte {
	f.block.Reset()
	if len(fields) == 0 || fields[0] != ":method" {
		fields = append([]string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"}, fields...)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		_ = f.pack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return f.block.Bytes()
}

func (f *frames) request(stream uint32, end bool, fields ...string) {
	// An error shows when the answer is read.
	_ = f.frame.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: f.encode(fields...), EndStream: end, EndHeaders: true})
}

// answer is how the server ended a stream: with a status, a reset, or the end of
// the whole connection.
type answer struct {
	status string
	reset  xhttp2.ErrCode
	isCut  bool // by RST_STREAM
	isGone bool // the connection
	goAway xhttp2.ErrCode
}

func (a answer) refused() bool { return a.isCut || a.isGone || strings.HasPrefix(a.status, "4") }

// answer reads up to the end of a stream.
func (f *frames) answer(stream uint32) (a answer) {
	for {
		frame, err := f.frame.ReadFrame()
		if err != nil {
			a.isGone = true
			return a
		}
		switch frame := frame.(type) {
		case *xhttp2.GoAwayFrame:
			a.goAway = frame.ErrCode
		case *xhttp2.MetaHeadersFrame:
			if frame.StreamID == stream {
				a.status = frame.PseudoValue("status")
			}
		case *xhttp2.RSTStreamFrame:
			if frame.StreamID == stream {
				a.isCut, a.reset = true, frame.ErrCode
				return a
			}
		}
		if h := frame.Header(); h.StreamID == stream && (h.Type == xhttp2.FrameData || h.Type == xhttp2.FrameHeaders) && h.Flags.Has(xhttp2.FlagDataEndStream) {
			return a
		}
	}
}

// What HTTP/2 forbids, and what HTTP/1.1 refuses, never reaches the origin, and
// leaves the connection to others where one stream is to blame.
func TestHTTP2Refuses(t *testing.T) {
	get := func(fields ...string) []string {
		return append([]string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"}, fields...)
	}
	cases := map[string][]string{
		"transfer-encoding":         get("transfer-encoding", "chunked"),
		"connection":                get("connection", "x-a", "x-a", "1"),
		"upgrade":                   get("upgrade", "websocket"),
		"te other than trailers":    get("te", "gzip"),
		"name in upper case":        get("X-Upper", "1"),
		"name with space":           get("x a", "1"),
		"name with colon":           get("x:a", "1"),
		"value with line":           get("x-a", "1\r\nx-b: 2"),
		"look-alike of framing":     get("content_length", "5"),
		"two hosts":                 get("host", "y"),
		"bad expectation":           get("expect", "more"),
		"no path":                   {":method", "GET", ":scheme", "https", ":authority", "x"},
		"no method":                 {":scheme", "https", ":authority", "x", ":path", "/"},
		"no host":                   {":method", "GET", ":scheme", "https", ":path", "/"},
		"two paths":                 {":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/", ":path", "/b"},
		"pseudo-header behind":      {":method", "GET", ":scheme", "https", ":authority", "x", "a", "b", ":path", "/"},
		"unknown pseudo-header":     {":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/", ":x", "1"},
		"path with space":           {":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/ HTTP/1.1\r\nX: y"},
		"path with blank":           {":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/a b"},
		"path with 8 bits":          {":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/\xe4"},
		"path with fragment":        {":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/a#b"},
		"path is this URL":          {":method", "GET", ":scheme", "https", ":authority", "x", ":path", "https://x/"},
		"path is a URL":             {":method", "GET", ":scheme", "https", ":authority", "x", ":path", "http://y/"},
		"method with space":         {":method", "GET /x HTTP/1.1", ":scheme", "https", ":authority", "x", ":path", "/"},
		"userinfo":                  {":method", "GET", ":scheme", "https", ":authority", "a@x", ":path", "/"},
		"bad authority":             {":method", "GET", ":scheme", "https", ":authority", "x/y", ":path", "/"},
		"extended connect":          {":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "x", ":path", "/"},
		"two lengths":               {":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/", "content-length", "1", "content-length", "2"},
		"length that is no number":  {":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/", "content-length", "x"},
		"length without body":       {":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/", "content-length", "5"},
		"length beyond all numbers": {":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/", "content-length", "18446744073709551617"},
	}
	var asked atomic.Int64
	n := start(t, counting(t, &asked), setup{over: overHTTP2})
	for name, fields := range cases {
		f := dialFrames(t, n)
		if fields[0] != ":method" {
			fields = append([]string{":method", ""}, fields...)
		}
		f.request(1, true, fields...)
		if a := f.answer(1); !a.refused() || asked.Load() != 0 {
			t.Errorf("%s: %+v, the origin was asked %d times", name, a, asked.Swap(0))
		}
	}
	f := dialFrames(t, n)
	f.request(1, true, "te", "trailers", "cookie", "a=1", "cookie", "b=2")
	if a := f.answer(1); a.status != "200" || asked.Load() != 1 {
		t.Errorf("a good request: %+v", a)
	}
}

// A body that is longer or shorter than it says is no body.
func TestHTTP2LengthMismatch(t *testing.T) {
	ended := make(chan error, 2)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	n := start(t, o, setup{over: overHTTP2})
	for _, sent := range []string{"1", "12345678901"} {
		f := dialFrames(t, n)
		f.request(1, false, ":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/", "content-length", "10")
		_ = f.frame.WriteData(1, true, []byte(sent))
		if a := f.answer(1); !a.refused() {
			t.Errorf("%d bytes in the place of 10: %+v", len(sent), a)
		}
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the origin took it for a whole body")
		}
	default: // it never saw it
	}
}

func TestHTTP2LargeHead(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overHTTP2})
	f := dialFrames(t, n)
	block := bytes.Clone(f.encode("x-large", strings.Repeat("Z~", 20<<10)))
	_ = f.frame.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10], EndStream: true})
	_ = f.frame.WriteContinuation(1, false, block[16<<10:32<<10])
	_ = f.frame.WriteContinuation(1, true, block[32<<10:])
	if a := f.answer(1); a.status != "431" && !a.refused() {
		t.Errorf("%+v", a)
	}
}

// A head that never ends costs the sender the connection.
func TestHTTP2ContinuationFlood(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overHTTP2})
	f := dialFrames(t, n)
	_ = f.frame.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: f.encode()})
	sent, err := 0, error(nil)
	for ; err == nil && sent < 64<<20; sent += 16 << 10 {
		err = f.frame.WriteContinuation(1, false, bytes.Repeat(f.encode("a", "b")[:1], 16<<10))
	}
	if err == nil {
		t.Errorf("%d bytes of a head were taken", sent)
	}
	if r := n.get("/"); r.StatusCode != 200 {
		t.Errorf("others get %d", r.StatusCode)
	}
}

// Streams that are opened and reset at once are bounded: the connection ends.
func TestHTTP2RapidReset(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	var asked atomic.Int64
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			asked.Add(1)
			<-hang
		}
	})
	n := start(t, o, setup{over: overHTTP2, config: Config{MaxStreams: 20}})
	f := dialFrames(t, n)
	for stream := uint32(1); stream < 2000; stream += 2 {
		f.request(stream, true)
		if f.frame.WriteRSTStream(stream, xhttp2.ErrCodeCancel) != nil {
			break
		}
	}
	if a := f.answer(1 << 20); !a.isGone || a.goAway != xhttp2.ErrCodeEnhanceYourCalm {
		t.Errorf("%+v", a)
	}
	if got := asked.Load(); got > 20 {
		t.Errorf("the origin was asked %d times at once", got)
	}
	if r := n.get("/other"); r.StatusCode != 200 {
		t.Errorf("others get %d", r.StatusCode)
	}
}

// A client that opens no window holds nothing for longer than the idle limit,
// whether the body streams or is there as a whole.
func TestHTTP2ZeroWindow(t *testing.T) {
	page := strings.Replace(shopPage, "Text", strings.Repeat("text ", 50<<10), 1)
	n := start(t, pages(t, "text/html", page, "Cache-Control", "max-age=60"), setup{
		over: overHTTP2, engines: always(text("#hero", "Hi")), config: Config{IdleTimeout: 300 * time.Millisecond},
	})
	for _, kind := range []string{"streamed", "from memory"} {
		f := dialFrames(t, n, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 0})
		f.request(1, true)
		if a := f.answer(1); a.status != "200" || !a.isCut {
			t.Errorf("%s: %+v", kind, a)
		}
		eventually(t, kind+": nothing is left over", func() bool { return n.server.Stats().Streams.Load() == 0 })
		n.get("/") // into memory
	}
}

// A body that nobody reads does not hold up the other streams of the connection.
func TestHTTP2UnreadBody(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overHTTP2, config: Config{MaxBody: 1000}})
	for range 20 {
		if r := n.do("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)))); r.StatusCode != 413 {
			t.Fatalf("%d", r.StatusCode)
		}
	}
	if r := n.get("/"); r.StatusCode != 200 || r.Proto != "HTTP/2.0" {
		t.Errorf("%s %d", r.Proto, r.StatusCode)
	}
}

func TestHTTP2Off(t *testing.T) {
	off := false
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overHTTP2, config: Config{HTTP2: &off}})
	if r := n.get("/"); r.Proto != "HTTP/1.1" || r.body != "ok" {
		t.Errorf("%s %q", r.Proto, r.body)
	}
}
