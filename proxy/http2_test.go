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

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// frames is a client that writes HTTP/2 frame by frame, also wrong ones.
type frames struct {
	t     testing.TB
	conn  *tls.Conn
	frame *xhttp2.Framer
	block bytes.Buffer
	pack  *hpack.Encoder
}

func dialFrames(t testing.TB, n *node, settings ...xhttp2.Setting) *frames {
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
	if len(fields) == 0 || !strings.HasPrefix(fields[0], ":") {
		fields = append([]string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"}, fields...)
	}
	f.add(fields)
	return f.block.Bytes()
}

func (f *frames) add(fields []string) {
	for i := 0; i+1 < len(fields); i += 2 {
		_ = f.pack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
}

func (f *frames) request(stream uint32, end bool, fields ...string) {
	f.head(stream, end, f.encode(fields...))
}

// fields sends them without pseudo-headers, as trailers are.
func (f *frames) fields(stream uint32, end bool, fields []string) {
	f.block.Reset()
	f.add(fields)
	f.head(stream, end, f.block.Bytes())
}

// head sends a block in as many frames as it needs.
func (f *frames) head(stream uint32, end bool, block []byte) {
	n := min(len(block), 16<<10)
	// An error shows when the answer is read.
	_ = f.frame.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: block[:n], EndStream: end, EndHeaders: n == len(block)})
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), 16<<10)
		_ = f.frame.WriteContinuation(stream, n == len(block), block[:n])
	}
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

func (a answer) refused() bool { return a.isCut || a.isGone || a.status >= "4" }

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
			if a.goAway = frame.ErrCode; a.goAway != xhttp2.ErrCodeNo {
				a.isGone = true // it closes a second later
				return a
			}
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

func TestHTTP2LargeHead(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
// whether the body streams or is there as a whole. What was not sent is not delivered.
func TestHTTP2ZeroWindow(t *testing.T) {
	t.Parallel()
	for size, page := range map[string]string{"large": strings.Replace(shopPage, "Text", strings.Repeat("text ", 50<<10), 1), "small": shopPage} {
		plan := text("#hero", "Hi")
		plan.Triggers = []decision.Trigger{{Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "hero", Arm: "a"}}, Edits: []int{0}}}
		n := start(t, pages(t, "text/html", page, "Cache-Control", "max-age=60"), setup{
			over: overHTTP2, engines: always(plan), config: Config{IdleTimeout: 300 * time.Millisecond},
		})
		_, cookie := n.visitor()
		for round, kind := range []string{"streamed", "from memory"} {
			f := dialFrames(t, n, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 0})
			f.request(1, true, "cookie", cookie, "user-agent", "Mozilla/5.0 Firefox/130.0")
			if a := f.answer(1); a.status != "200" || !a.isCut {
				t.Errorf("%s, %s: %+v", size, kind, a)
			}
			eventually(t, kind+": nothing is left over", func() bool { return n.server.Stats().Streams.Load() == 0 && n.server.Stats().InFlight.Load() == 0 })
			// One more came through between the two.
			if triggered, delivered := len(n.engines.recorded(event.Trigger)), len(n.engines.recorded(event.Delivery)); triggered != 2*round+1 || delivered != round {
				t.Errorf("%s, %s: triggered %d times, delivered %d times", size, kind, triggered, delivered)
			}
			n.get("/", "Cookie", cookie) // into memory
		}
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
