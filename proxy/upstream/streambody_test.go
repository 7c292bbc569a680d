package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/http2"
)

// Bodies of any size arrive whole both ways, whether their length is known or not.
func TestHTTP2BodiesArriveWhole(t *testing.T) {
	url := handlerOrigin(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		for part := range slices.Chunk(body, 100_000) {
			_, _ = w.Write(part)
		}
	})
	u := newUpstream(t, url, clearText)
	for _, size := range []int{0, 1, smallBody, smallBody + 1, copyBufferSize, 3_000_000} {
		content := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for _, known := range []bool{true, false} {
			req, length := post(t, size), fmt.Sprint(size)
			if !known {
				req, length = chunkedPost(t), "-1"
			}
			resp := &fasthttp.Response{}
			if err := u.Do(req, resp, strings.NewReader(content), Options{}); err != nil {
				t.Fatal(err)
			}
			var got []byte
			if resp.IsBodyStream() {
				var err error
				if got, err = io.ReadAll(resp.BodyStream()); err != nil {
					t.Error(err)
				}
			}
			_ = resp.CloseBodyStream()
			if string(got) != content || string(resp.Header.Peek("X-Length")) != length || known && resp.Header.ContentLength() != size {
				t.Errorf("%d bytes, known %v: %d came, of a length of %s", size, known, len(got), resp.Header.Peek("X-Length"))
			}
		}
	}
	if got := u.Stats(); got != (Stats{Idle: 1}) {
		t.Errorf("connections %+v, want one idle", got)
	}
}

// Both directions flow at once, and each tells its own end, with trailers.
func TestHTTP2BothDirectionsAtOnce(t *testing.T) {
	ends := make(chan string, 1)
	o := frameOrigin(t, func(f *frames) {
		stream, fields := f.request()
		if fields["te"] != "trailers" || fields["trailer"] != "X-Sum" || fields["content-type"] != "application/grpc+proto" {
			t.Errorf("the origin got %v", fields)
		}
		f.head(stream, false, ":status", "200", "content-type", "application/grpc")
		for {
			switch frame := f.next().(type) {
			case *http2.DataFrame:
				_ = f.WriteData(stream, false, []byte("re: "+string(frame.Data())))
			case *http2.MetaHeadersFrame:
				ends <- frame.Fields[0].Name + "=" + frame.Fields[0].Value
				f.head(stream, true, "grpc-status", "0")
			case nil:
				return
			}
		}
	})
	u := newUpstream(t, o.url(), clearText)
	body := newClientBody(io.EOF)
	resp := &fasthttp.Response{}
	req := prepared(t, "POST /s/m HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n", PrepareOptions{Host: "a"})
	trailers := func() []Trailer { return []Trailer{{"X-Sum", "42"}, {"Content-Length", "7"}} }
	if err := u.Do(req, resp, body, Options{Interrupt: body.interrupt, Trailers: trailers}); err != nil {
		t.Fatal(err)
	}
	answer := resp.BodyStream().(*Body)
	for i := range 20 {
		message := fmt.Sprintf("message %d", i)
		body.pieces <- message
		got := make([]byte, len("re: "+message))
		if _, err := io.ReadFull(answer, got); err != nil || string(got) != "re: "+message {
			t.Fatalf("%q %v", got, err)
		}
	}
	close(body.pieces)
	if rest, err := io.ReadAll(answer); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q %v", rest, err)
	}
	if got := <-ends; got != "x-sum=42" {
		t.Errorf("the request ended with %s", got)
	}
	if got := answer.Trailers(); len(got) != 1 || got[0] != (Trailer{"Grpc-Status", "0"}) {
		t.Errorf("trailers %v", got)
	}
	_ = resp.CloseBodyStream()
}

// An upload that the client cuts, or that is longer or shorter than it said, never
// ends at the origin.
func TestHTTP2CutUploadStaysCut(t *testing.T) {
	for name, test := range map[string]struct {
		req  *fasthttp.Request
		body func() io.Reader
	}{
		"cut":     {chunkedPost(t), func() io.Reader { return io.MultiReader(strings.NewReader("hello"), broken{}) }},
		"shorter": {post(t, 3*smallBody), func() io.Reader { return strings.NewReader(strings.Repeat("x", 2*smallBody)) }},
		"panic":   {chunkedPost(t), func() io.Reader { return io.MultiReader(strings.NewReader("hello"), panicking{}) }},
		"idle":    {chunkedPost(t), func() io.Reader { return io.MultiReader(strings.NewReader("hello"), idling{}) }},
	} {
		t.Run(name, func(t *testing.T) {
			ends := make(chan string, 1)
			o := frameOrigin(t, func(f *frames) {
				f.request()
				_, end := f.rest()
				ends <- end
				f.next()
			})
			u := newUpstream(t, o.url(), clearText)
			_, _, err := fetch(u, test.req, test.body(), Options{})
			wantKind(t, err, Client)
			if end := <-ends; end != "reset" {
				t.Errorf("the upload ended with %q", end)
			}
		})
	}
}

type (
	broken struct{}
	idling struct{}
)

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
func (idling) Read([]byte) (int, error) { return 0, nil }

// Whoever leaves takes the request along, wherever it is.
func TestHTTP2ClientWhoLeaves(t *testing.T) {
	for _, name := range []string{"before the head", "in the body", "in the upload", "closes"} {
		t.Run(name, func(t *testing.T) {
			ends, arrived := make(chan string, 1), make(chan struct{})
			o := frameOrigin(t, func(f *frames) {
				stream, _ := f.request()
				close(arrived)
				if name != "before the head" {
					f.head(stream, false, ":status", "200")
				}
				_, end := f.rest()
				ends <- end
				f.next()
			})
			u := newUpstream(t, o.url(), clearText)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			opts, req, body := Options{Context: ctx}, get(t), io.Reader(nil)
			if name == "in the upload" {
				b := newClientBody(io.EOF)
				opts.Interrupt, req, body = b.interrupt, call(t), b
			}
			go func() { <-arrived; leave() }()
			if name == "closes" {
				opts.Context = nil
			}
			resp := &fasthttp.Response{}
			err := u.Do(req, resp, body, opts)
			if err == nil && name != "closes" {
				_, err = io.ReadAll(resp.BodyStream())
			}
			if name != "closes" {
				wantKind(t, err, Client)
			}
			_ = resp.CloseBodyStream()
			if end := <-ends; end != "reset" {
				t.Errorf("at the origin it ended with %q", end)
			}
			eventually(t, "nothing is under way", func() bool { return u.members[0].pool.active() == 0 })
			if s := u.Status().Servers[0]; s.Errors[Closed]+s.Errors[Timeout] != 0 {
				t.Errorf("the server is blamed: %v", s.Errors)
			}
		})
	}
}

// A client whose leaving does not show by itself is looked for.
func TestHTTP2ClientIsLookedFor(t *testing.T) {
	o := frameOrigin(t, func(f *frames) {
		stream, fields := f.request()
		if fields[":path"] == "/late" {
			f.head(stream, false, ":status", "200")
		}
		f.rest()
	})
	for _, path := range []string{"/never", "/late"} {
		u := newUpstream(t, o.url(), clearText, func(c *Config) { c.HeaderTimeout, c.IdleTimeout = time.Minute, time.Minute })
		req := prepared(t, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"})
		_, _, err := fetch(u, req, nil, Options{Gone: func() bool { return true }})
		wantKind(t, err, Client)
	}
}

// An error in the middle of an upload stops it, and is there in full.
func TestHTTP2EarlyAnswer(t *testing.T) {
	o := frameOrigin(t, func(f *frames) {
		for {
			stream, fields := f.request()
			if fields == nil {
				return
			}
			f.head(stream, false, ":status", "413")
			_ = f.WriteData(stream, true, []byte("too much"))
		}
	})
	u := newUpstream(t, o.url(), clearText)
	for range 3 {
		body := newClientBody(io.EOF)
		body.pieces <- "begin"
		resp := &fasthttp.Response{}
		if err := u.Do(chunkedPost(t), resp, body, Options{Interrupt: body.interrupt}); err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(resp.BodyStream())
		if resp.StatusCode() != 413 || string(content) != "too much" || err != nil || !resp.ConnectionClose() {
			t.Errorf("%d %q %v, close %v", resp.StatusCode(), content, err, resp.ConnectionClose())
		}
		_ = resp.CloseBodyStream()
		body.pieces <- "more"
		defer func() {
			if len(body.pieces) == 0 { // the beginning may be left too
				t.Error("the body is read after the end")
			}
		}()
	}
	if n := o.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// A body whose client waits to be told to send is not read before the origin's word.
func TestHTTP2Expectation(t *testing.T) {
	for _, word := range []string{"100", "417", ""} {
		t.Run("word "+word, func(t *testing.T) {
			read := make(chan struct{})
			o := frameOrigin(t, func(f *frames) {
				stream, fields := f.request()
				if fields["expect"] != "100-continue" {
					t.Errorf("the origin got %v", fields)
				}
				select {
				case <-read:
					t.Error("the body was read at once")
				default:
				}
				switch word {
				case "417":
					f.head(stream, true, ":status", "417")
					f.rest()
					return
				case "100":
					f.head(stream, false, ":status", "100")
				}
				if body, end := f.rest(); body != "hello" || end != "end" {
					t.Errorf("%q %s", body, end)
				}
				f.head(stream, true, ":status", "200")
				f.next()
			})
			u := newUpstream(t, o.url(), clearText)
			body := &noticed{Reader: strings.NewReader("hello"), read: read}
			status, _, err := fetch(u, chunkedPost(t), body, Options{Expect: true})
			want := 200
			if word == "417" {
				want = 417
				select {
				case <-read:
					t.Error("the body was read all the same")
				default:
				}
			}
			if status != want || err != nil {
				t.Errorf("%d %v", status, err)
			}
		})
	}
}

// noticed tells that it is read.
type noticed struct {
	io.Reader
	once sync.Once
	read chan struct{}
}

func (n *noticed) Read(p []byte) (int, error) {
	n.once.Do(func() { close(n.read) })
	return n.Reader.Read(p)
}

// Each wait has its limit, and none of them is that of the whole.
func TestHTTP2SilenceEnds(t *testing.T) {
	const limit = 50 * time.Millisecond
	big := strings.Repeat("x", 1<<20)
	for name, test := range map[string]struct {
		change func(*Config)
		req    func(testing.TB) *fasthttp.Request
		body   func() io.Reader
		serve  func(f *frames, stream uint32)
	}{
		"head": {func(c *Config) { c.HeaderTimeout = limit }, get, nil, func(f *frames, s uint32) { f.rest() }},
		"head after an upload": {func(c *Config) { c.HeaderTimeout = limit }, chunkedPost, func() io.Reader { return strings.NewReader(big) }, func(f *frames, s uint32) {
			f.rest()
			f.rest()
		}},
		"body": {func(c *Config) { c.IdleTimeout = limit }, get, nil, func(f *frames, s uint32) { f.head(s, false, ":status", "200"); f.rest() }},
		"upload": {func(c *Config) { c.IdleTimeout = limit }, chunkedPost, func() io.Reader { return strings.NewReader(big) }, func(f *frames, s uint32) {
			f.deaf = true
			f.rest()
		}},
		"events": {func(c *Config) { c.StreamTimeout = limit }, get, nil, func(f *frames, s uint32) {
			f.head(s, false, ":status", "200", "content-type", "text/event-stream")
			f.rest()
		}},
		"head of a call": {func(c *Config) { c.StreamTimeout = limit }, call, func() io.Reader { return strings.NewReader("message") }, func(f *frames, s uint32) {
			f.rest()
			f.rest()
		}},
		"call": {func(c *Config) { c.StreamTimeout = limit }, call, func() io.Reader { return newClientBody(io.EOF) }, func(f *frames, s uint32) {
			f.head(s, false, ":status", "200", "content-type", "application/grpc")
			f.rest()
		}},
		"call that is not read": {func(c *Config) { c.StreamTimeout = limit }, call, func() io.Reader { return strings.NewReader(big) }, func(f *frames, s uint32) {
			f.deaf = true
			f.rest()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := frameOrigin(t, func(f *frames) {
				if stream, fields := f.request(); fields != nil {
					test.serve(f, stream)
				}
			})
			u := newUpstream(t, o.url(), clearText, test.change)
			var body io.Reader
			opts := Options{}
			if test.body != nil {
				body = test.body()
				if b, ok := body.(*clientBody); ok {
					opts.Interrupt = b.interrupt
				}
			}
			_, _, err := fetch(u, test.req(t), body, opts)
			wantKind(t, err, Timeout)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What is slow but alive is not cut: neither a call, in which one side may say
// nothing, nor its head, which may come late.
func TestHTTP2SlowIsNotCut(t *testing.T) {
	const limit, pause = 300 * time.Millisecond, 60 * time.Millisecond
	o := frameOrigin(t, func(f *frames) {
		stream, fields := f.request()
		if !strings.HasPrefix(fields["content-type"], "application/grpc") {
			f.head(stream, false, ":status", "200")
			for range 10 {
				_ = f.WriteData(stream, false, []byte("part"))
				<-time.After(pause) // a slow peer is what is tested
			}
			_ = f.WriteData(stream, true, nil)
			f.next()
			return
		}
		_, end := f.rest()
		f.head(stream, false, ":status", "200", "content-type", "application/grpc")
		_ = f.WriteData(stream, true, []byte(end))
		f.next()
	})
	short := func(c *Config) { c.HeaderTimeout, c.IdleTimeout, c.StreamTimeout = limit, limit, limit }
	u := newUpstream(t, o.url(), clearText, short)
	if _, body, err := fetch(u, get(t), nil, Options{}); body != strings.Repeat("part", 10) || err != nil {
		t.Errorf("%q %v", body, err)
	}
	o2 := newUpstream(t, o.url(), clearText, short)
	slow := newClientBody(io.EOF)
	go func() {
		defer close(slow.pieces)
		for range 10 {
			slow.pieces <- "message"
			<-time.After(pause)
		}
	}()
	if _, body, err := fetch(o2, call(t), slow, Options{Interrupt: slow.interrupt}); body != "end" || err != nil {
		t.Errorf("%q %v", body, err)
	}
}

// A connection that said nothing while a request waited gets no more of them.
func TestHTTP2SilentConnectionIsLeft(t *testing.T) {
	o := frameOrigin(t, func(f *frames) {
		for {
			stream, fields := f.request()
			if fields == nil {
				return
			}
			if f.peer.number > 1 || fields[":method"] == "GET" {
				f.hello(stream)
			} else {
				f.peer.gone() // the machine is off
			}
		}
	})
	u := newUpstream(t, o.url(), clearText, func(c *Config) { c.HeaderTimeout = 100 * time.Millisecond })
	wantOK(t, u, "hello")
	_, _, err := fetch(u, post(t, 2), strings.NewReader("hi"), Options{})
	wantKind(t, err, Timeout)
	wantOK(t, u, "hello")
	if n := o.connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A slow upload makes room for others; a call does not have to.
func TestHTTP2SlowUploadsMakeRoom(t *testing.T) {
	o := frameOrigin(t, func(f *frames) {
		streams := map[uint32]bool{}
		for {
			switch frame := f.next().(type) {
			case nil:
				return
			case *http2.MetaHeadersFrame:
				streams[frame.StreamID] = true
			case *http2.DataFrame:
				if frame.StreamEnded() {
					f.hello(frame.StreamID)
				}
			}
		}
	})
	u := newUpstream(t, o.url(), clearText, func(c *Config) { c.MaxConns, c.DialTimeout = 4, 100*time.Millisecond })
	uploads := u.members[0].pool.uploads
	ended := make(chan error, 4)
	begin := func(req *fasthttp.Request) *clientBody {
		body := newClientBody(io.EOF)
		body.pieces <- "a"
		go func() {
			_, _, err := fetch(u, req, body, Options{Interrupt: body.interrupt})
			ended <- err
		}()
		return body
	}
	bodies := []*clientBody{begin(chunkedPost(t)), begin(chunkedPost(t))}
	eventually(t, "both are under way", func() bool { return uploads.count() == 2 })
	bodies = append(bodies, begin(call(t)))
	eventually(t, "a call is beside them", func() bool { return u.members[0].pool.active() == 3 })
	wantSlowOneReplaced(t, u, ended)
	for _, body := range bodies {
		close(body.pieces)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all room is given back", func() bool { return len(uploads.room) == 0 && uploads.count() == 0 })
}

// However an origin pauses, ReadBefore loses nothing.
func TestHTTP2ReadBeforeLosesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	content := strings.Repeat("0123456789abcdef", 40)
	next := make(chan int)
	done := sync.OnceFunc(func() { close(next) })
	o := frameOrigin(t, func(f *frames) {
		stream, _ := f.request()
		f.head(stream, false, ":status", "200", "content-type", "text/html")
		rest := content
		for n := range next {
			n = min(n, len(rest))
			_ = f.WriteData(stream, n == len(rest), []byte(rest[:n]))
			rest = rest[n:]
		}
	})
	taken := takeBody(t, newUpstream(t, o.url(), clearText))
	defer func() { done(); _ = taken.Close() }()
	if !taken.Framed() {
		t.Error("the body does not say where it ends")
	}
	var got strings.Builder
	buffer := make([]byte, 100)
	sent, late := 0, 0
	for {
		n, err := 0, error(nil)
		if p := buffer[:1+random.IntN(len(buffer))]; random.IntN(8) == 0 && got.Len() < sent {
			n, err = taken.Read(p)
		} else {
			n, err = taken.ReadBefore(p, time.Now().Add(100*time.Microsecond))
		}
		got.Write(buffer[:n])
		if errors.Is(err, ErrLate) {
			late++
			if n := 1 + random.IntN(20); sent < len(content) {
				next <- n
				sent = min(len(content), sent+n)
			}
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", got.Len(), err)
		}
	}
	if got.String() != content || late < 20 {
		t.Errorf("%d bytes, want %d; late %d times", got.Len(), len(content), late)
	}
}

// Over TLS the protocol is agreed on in the handshake, and certificates hold as ever.
func TestHTTP2OverTLS(t *testing.T) {
	certificate, ca := selfSigned(t, "origin.example")
	names := make(chan string, 10)
	settings := &tls.Config{Certificates: []tls.Certificate{certificate}, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName + fmt.Sprint(hello.SupportedProtos)
		return nil, nil
	}}
	url := handlerOrigin(t, settings, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, " ", r.Host)
	})
	trusting := func(c *Config) { c.Protocol, c.Host, c.CAFile = HTTP2, "origin.example", ca }
	u := newUpstream(t, url, trusting)
	for range 3 {
		wantOK(t, u, "HTTP/2.0 origin.example")
	}
	if got := <-names; got != "origin.example[h2]" || len(names) > 0 {
		t.Errorf("%d handshakes more than one, which said %s", len(names), got)
	}
	for what, change := range map[string]func(*Config){
		"another name":   func(c *Config) { c.Protocol, c.Host, c.CAFile = HTTP2, "other.example", ca },
		"unknown signer": func(c *Config) { c.Protocol, c.Host = HTTP2, "origin.example" },
	} {
		_, _, err := fetch(newUpstream(t, url, change), get(t), nil, Options{})
		if e, ok := err.(*Error); !ok || e.Kind != Dial {
			t.Errorf("%s: %v, want it refused", what, err)
		}
	}
	for _, protos := range [][]string{{"http/1.1"}, nil} {
		old := tlsOrigin(t, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: protos}, new(atomic.Value), answering(okHello))
		_, _, err := fetch(newUpstream(t, strings.Replace(old.url(), "http:", "https:", 1), trusting), get(t), nil, Options{})
		wantKind(t, err, Dial)
	}
}
