package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/proxy/coding"
)

// readAnswer reads one answer with Content-Length from a raw connection.
func readAnswer(t testing.TB, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Pages that no experience concerns come through byte by byte, in any coding, and
// so do those that are concerned and not edited.
func TestByteIdentity(t *testing.T) {
	t.Parallel() // it computes
	content := realPages(t)
	o := origin(t, content.serve)
	watching := text("body", "x")
	watching.Edits[0].Apply = false
	setups := map[string]*engines{
		"not concerned": nil,
		"no edits":      always(&decision.Plan{Concerned: true}),
		"only watched":  always(watching),
	}
	for name, e := range setups {
		n := start(t, o, setup{engines: e})
		for path, page := range content {
			want := page.plain
			for _, coding := range append([]string{"identity"}, pageCodings...) {
				r := n.get(path, "Accept-Encoding", coding)
				if got := decoded(t, r); got != want {
					t.Errorf("%s, %s, %s: %d bytes came, %d were sent", name, path, coding, len(got), len(want))
				}
				if coding != "identity" && name != "only watched" && r.body != page.packed[coding] {
					t.Errorf("%s, %s: the packed bytes differ", name, path)
				}
			}
		}
	}
}

// A chunked answer that is cut between two chunks is not an end.
func TestTruncatedOrigin(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\n"
	cases := map[string]string{
		"chunked": head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"length":  head + "Content-Length: 100\r\n\r\nhello",
	}
	plans := map[string]*engines{"passed on": nil, "rewritten": always(text("p", "x")), "watched": always(&decision.Plan{Concerned: true})}
	for framing, answer := range cases {
		for name, e := range plans {
			for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
				t.Run(framing+"/"+name+"/"+version, func(t *testing.T) {
					o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
						if _, err := readRequest(r); err == nil {
							_, _ = io.WriteString(c, answer)
						}
					})
					n := start(t, o, setup{engines: e})
					c, err := net.Dial("tcp", n.addr)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(10 * time.Second))
					fmt.Fprintf(c, "GET / %s\r\nHost: x\r\nUser-Agent: Mozilla/5.0\r\n\r\n", version)
					resp, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err == nil {
						_, err = io.ReadAll(resp.Body)
					}
					if err == nil {
						t.Error("the cut answer came as a whole one")
					}
					if n.server.CacheUsage().Objects != 0 {
						t.Error("a cut page was kept")
					}
					eventually(t, "the break is counted", func() bool { return n.server.Stats().Broken.Load() == 1 })
				})
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A bomb is not unpacked further than any real page. One that is there at once
// passes as the origin sent it, like any page that cannot be edited; one of which a
// part has left breaks.
func TestBombs(t *testing.T) {
	t.Parallel() // it computes
	for _, name := range []string{"gzip", "deflate", "raw deflate", "br", "zstd"} {
		var bomb bytes.Buffer
		z := newFlushing(name, &bomb)
		_, _ = io.CopyN(z, zeros{}, 3*coding.BombFloor/2)
		_ = z.Close()
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, slow %v", name, slow), func(t *testing.T) { testBomb(t, name, bomb.Bytes(), slow) })
		}
	}
}

func testBomb(t *testing.T, name string, bomb []byte, slow bool) {
	answered := make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", nameOf(name))
		body := bomb
		if slow {
			_, _ = w.Write(body[:len(body)/4])
			_ = http.NewResponseController(w).Flush()
			body = body[len(body)/4:]
			<-answered
		}
		_, _ = w.Write(body)
	})
	n := start(t, o, setup{engines: always(text("#hero", "x"))})
	asked := uint64(0)
	for whole := 0; whole < 3; { // never seen, seen, known
		asked++
		req, _ := http.NewRequest("GET", "http://"+n.addr+"/", nil)
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := n.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if slow {
			close(answered)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if slow {
			if err == nil {
				t.Error("the bomb went off")
			}
			break
		}
		if err != nil && asked < 100 {
			continue // on a busy machine it may come too late to be taken as a whole
		}
		if whole++; err != nil || !bytes.Equal(got, bomb) {
			t.Errorf("%d bytes in the place of the origin's %d: %v", len(got), len(bomb), err)
		}
	}
	if got := n.server.Stats().FailedOpen(ReasonBomb); got != asked {
		t.Errorf("counted %d times, want %d", got, asked)
	}
}

// An upload that the client cuts between two chunks never ends at the origin.
func TestTruncatedUpload(t *testing.T) {
	ended := make(chan error, 1)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	n := start(t, o, setup{})
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	_ = c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c)
	c.Close()
	if err := <-ended; err == nil {
		t.Error("the origin took the cut upload for a whole one")
	}
	if len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 400")) {
		t.Errorf("answer %q", answer)
	}
}

// A page that a script or an image tag fetches is not personalized, and may not be
// kept where a navigation would find it.
func TestConcernedPageForScripts(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage, "Cache-Control", "max-age=60", "ETag", `"e"`), setup{engines: always(text("#hero", "x"))})
	r := n.get("/", "Sec-Fetch-Dest", "empty", "Accept", "*/*")
	if r.body != shopPage || r.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("%q %v", r.body, r.Header)
	}
	r = n.get("/", "Sec-Fetch-Dest", "empty", "Accept", "text/html")
	if r.body == shopPage || len(n.engines.recorded(event.Page)) != 0 {
		t.Errorf("%q, events %v", r.body, n.engines.kinds())
	}
}

func TestWhatIsNotEdited(t *testing.T) {
	cases := []struct {
		reason Reason
		header []string
	}{
		{ReasonNoChange, []string{"Content-Type", "text/html", "Cache-Control", "no-transform"}},
		{ReasonEncoding, []string{"Content-Type", "text/html", "Content-Encoding", "gzip, br, zstd"}},
		{ReasonCharset, []string{"Content-Type", "text/html; charset=utf-16"}},
	}
	for _, c := range cases {
		t.Run(string(c.reason), func(t *testing.T) {
			o := origin(t, func(w http.ResponseWriter, r *http.Request) {
				for i := 0; i+1 < len(c.header); i += 2 {
					w.Header().Set(c.header[i], c.header[i+1])
				}
				_, _ = io.WriteString(w, shopPage)
			})
			n := start(t, o, setup{engines: always(text("#hero", "x"))})
			r := n.get("/")
			if r.body != shopPage || !strings.HasPrefix(r.Header.Get("Cache-Control"), "private, no-cache") {
				t.Errorf("%q %v", r.body, r.Header)
			}
			if n.server.Stats().FailedOpen(c.reason) != 1 {
				t.Errorf("not counted as %s", c.reason)
			}
		})
	}
}

// A client who leaves an answer that has begun is noticed although the origin says
// nothing more.
func TestClientWhoLeavesIsNotWaitedFor(t *testing.T) {
	left := make(chan struct{})
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "event")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(left)
	}), setup{})
	resp, err := n.client.Get("http://" + n.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	select {
	case <-left:
	case <-time.After(20 * time.Second):
		t.Fatal("the origin still talks to nobody")
	}
	eventually(t, "the stream is gone", func() bool { return n.server.Stats().Streams.Load() == 0 })
}

// A request that was on its way over an idle connection when the end began is
// answered, with word that it was the last one there.
func TestShutdownAnswersLastRequests(t *testing.T) {
	n := start(t, pages(t, "text/plain", "here"), setup{})
	n.get("/")
	ended := make(chan error, 1)
	go func() { ended <- n.server.Shutdown(t.Context()) }()
	eventually(t, "the end has begun", n.server.draining.Load)
	if r := n.get("/"); r.body != "here" || !r.Close {
		t.Errorf("%d %q, close: %v", r.StatusCode, r.body, r.Close)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// openTunnel switches a connection to an origin that says hello and then repeats
// what it hears, up to an exclamation mark.
func openTunnel(t *testing.T) (*node, net.Conn, *bufio.Reader) {
	t.Helper()
	o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		head, err := readRequest(r)
		if err != nil {
			return
		}
		if !strings.Contains(strings.ToLower(head), "upgrade: websocket") {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
			return
		}
		// The first bytes come right behind the 101.
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		heard, err := r.ReadString('!')
		if err == nil {
			_, _ = io.WriteString(c, heard)
		}
	})
	n := start(t, o, setup{})
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	head, err := readRequest(r)
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Fatalf("%q %v", head, err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q %v", got, err)
	}
	if n.server.Stats().Streams.Load() != 1 {
		t.Errorf("%d streams", n.server.Stats().Streams.Load())
	}
	return n, c, r
}

func TestTunnelEndsWithTheClient(t *testing.T) {
	n, c, _ := openTunnel(t)
	c.Close()
	eventually(t, "the tunnel is gone", func() bool { return n.server.Stats().Streams.Load() == 0 })
}

// The client learns at once that the origin has hung up, and not when the tunnel
// was silent for long enough.
func TestTunnelEndsWithTheOrigin(t *testing.T) {
	n, c, r := openTunnel(t)
	_, _ = io.WriteString(c, "ping!")
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "ping!" {
		t.Fatalf("%q %v", rest, err)
	}
	c.Close()
	eventually(t, "the tunnel is gone", func() bool { return n.server.Stats().Streams.Load() == 0 })
}

// A client that has said all still hears the rest.
func TestTunnelEndsInOneDirection(t *testing.T) {
	n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		if _, err := readRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		rest, _ := io.ReadAll(r)
		_, _ = io.WriteString(c, "heard "+string(rest))
	}), setup{})
	if answer := n.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbye"); !strings.HasSuffix(answer, "\r\n\r\nheard bye") {
		t.Errorf("%q", answer)
	}
	eventually(t, "the tunnel is gone", func() bool {
		return n.server.Stats().Streams.Load() == 0 && n.site.Upstreams["origin"].Stats().Active == 0
	})
}

func TestOriginSlow(t *testing.T) {
	o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		_, _ = readRequest(r)
		_, _ = r.ReadByte() // until the other side gives up
	})
	s := setup{}
	s.up.HeaderTimeout = 100 * time.Millisecond
	n := start(t, o, s)
	if r := n.get("/"); r.StatusCode != 504 {
		t.Errorf("status %d", r.StatusCode)
	}
}
