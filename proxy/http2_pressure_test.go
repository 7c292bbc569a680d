package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
)

// A connection full of request bodies that do not come leaves others half of the
// connections to the origin.
func TestHTTP2SlowUploadsLeaveRoom(t *testing.T) {
	const conns, streams = 8, 50
	s := setup{over: overHTTP2}
	s.up.MaxConns = conns
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}), s)
	f := dialFrames(t, n)
	for i := range uint32(streams) {
		f.request(2*i+1, false, postFields("").fields...)
	}
	active := func() int64 { return int64(n.site.Upstreams["origin"].Stats().Active) }
	eventually(t, "uploads have what they may have", func() bool { return active() == conns/2 })
	for range 20 {
		if r := n.get("/"); r.StatusCode != 200 || r.body != "ok" {
			t.Errorf("others get %d", r.StatusCode)
		}
		if got := active(); got > conns/2 {
			t.Errorf("uploads hold %d connections", got)
		}
	}
	f.conn.Close()
	eventually(t, "all is given back", func() bool { return active() == 0 && n.server.Stats().InFlight.Load() == 0 })
}

// A connection full of answers that nobody reads holds little memory, and what it
// holds for no longer than the idle limit.
func TestHTTP2UnreadAnswersAreBounded(t *testing.T) {
	const streams, size = 100, 1 << 20
	// On a busy machine too, the first answer must not be cut before the last has begun.
	s := setup{over: overHTTP2, config: Config{IdleTimeout: 3 * time.Second}}
	s.up.MaxConns = streams
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			_, _ = io.CopyN(w, zeros{}, size)
		}
	}), s)
	n.get("/other")
	before := liveMemory()
	f := dialFrames(t, n, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 0})
	for i := range uint32(streams) {
		f.request(2*i+1, true, getFields().fields...)
	}
	eventually(t, "all are under way", func() bool { return n.server.Stats().Streams.Load() == streams })
	if held := liveMemory() - before; held > streams*128<<10 {
		t.Errorf("%d bytes are held for each stream", held/streams)
	}
	eventually(t, "nothing is held", func() bool {
		return n.server.Stats().Streams.Load() == 0 && n.site.Upstreams["origin"].Stats().Active == 0
	})
	if r := n.get("/other"); r.StatusCode != 200 {
		t.Errorf("others get %d", r.StatusCode)
	}
}

// A request that is refused leaves the connection to the next one, whether its body
// has come or not.
func TestHTTP2RefusalKeepsTheConnection(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{over: overHTTP2})
	f := dialFrames(t, n)
	for i, q := range []streamed{getFields(), postFields("abc"), postFields(strings.Repeat("x", 500_000))} {
		n.server.overload.full.Store(true)
		if a := f.exchange(uint32(8*i+1), q); a.status != "503" || a.isGone {
			t.Errorf("refused: %+v", a)
		}
		f.request(uint32(8*i+3), false, postFields("").fields...) // and no body
		if a := f.answer(uint32(8*i + 3)); a.status != "503" || a.isGone {
			t.Errorf("refused without its body: %+v", a)
		}
		n.server.overload.full.Store(false)
		if a := f.exchange(uint32(8*i+5), getFields()); a.status != "200" {
			t.Errorf("after it: %+v", a)
		}
	}
}

// What an origin does not take yet stays with the client.
func contractHeldUpload(t *testing.T, over protocol) {
	const size = 32 << 20 // more than the kernel takes
	goOn := make(chan struct{})
	n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		head, err := readRequest(r)
		if err != nil {
			return
		}
		<-goOn
		got, err := io.CopyN(io.Discard, r, size)
		text := fmt.Sprint(got, err, strings.Contains(head, fmt.Sprint(size)))
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}), setup{over: over})
	before, sent := liveMemory(), make(chan int, 1)
	total := 0
	body := readerFunc(func(p []byte) (int, error) {
		total += len(p)
		select {
		case <-sent:
		default:
		}
		sent <- total
		clear(p)
		return len(p), nil
	})
	req, _ := http.NewRequest("POST", n.base+"/", io.LimitReader(body, size))
	req.ContentLength = size
	answer := make(chan string, 1)
	go func() {
		resp, err := n.client.Do(req)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		said, _ := io.ReadAll(resp.Body)
		answer <- string(said)
	}()
	// It stands when nothing more has been taken for a while; if it should stand only
	// for a moment, the test sees less than it could.
	taken := <-sent
	for standing := false; !standing; {
		select {
		case taken = <-sent:
		case <-time.After(100 * time.Millisecond):
			standing = true
		}
	}
	if held := liveMemory() - before; held > 4<<20 || taken == size {
		t.Errorf("%d bytes taken, %d held", taken, held)
	}
	close(goOn)
	if got := <-answer; got != fmt.Sprint(size, nil, true) {
		t.Errorf("the origin got %s", got)
	}
}
