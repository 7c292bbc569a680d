package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"

	"github.com/sedge-proxy/sedge/internal/corpus"
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
	files, err := filepath.Glob(corpus.Path(t, "html", "pages") + "/*.html")
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	content := map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content["/"+filepath.Base(file)] = string(b)
	}
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		body := content[r.URL.Path]
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			body = string(packBytes(body))
		}
		_, _ = io.WriteString(w, body)
	})
	watching := text("body", "x")
	watching.Edits[0].Apply = false
	setups := map[string]*engines{
		"not concerned": nil,
		"no edits":      always(&decision.Plan{Concerned: true}),
		"only watched":  always(watching),
	}
	for name, e := range setups {
		n := start(t, o, setup{engines: e})
		for path, want := range content {
			for _, coding := range []string{"identity", "gzip"} {
				r := n.get(path, "Accept-Encoding", coding)
				if got := decoded(t, r); got != want {
					t.Errorf("%s, %s, %s: %d bytes came, %d were sent", name, path, coding, len(got), len(want))
				}
				if coding == "gzip" && name != "only watched" && r.body != string(packBytes(want)) {
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
					if n.server.CacheUsage().Entries != 0 {
						t.Error("a cut page was kept")
					}
					eventually(t, "the break is counted", func() bool { return n.server.Stats().Broken.Load() == 1 })
				})
			}
		}
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

// What a slow origin sends is at the client at once.
func TestSlowBodyStreams(t *testing.T) {
	cases := []struct {
		name, contentType, coding string
		length                    bool
		engines                   *engines
	}{
		{"events", "text/event-stream", "", false, nil},
		{"known length", "application/octet-stream", "", true, nil},
		{"page", "text/html", "", false, always(text("#b", "x"))},
		{"packed page", "text/html", "gzip", false, always(text("#b", "x"))},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			next := make(chan struct{})
			parts := []string{"<p id=a>one</p>", "<p id=c>two</p>", "<p id=d>three</p>"}
			o := origin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				if c.length {
					w.Header().Set("Content-Length", fmt.Sprint(len(strings.Join(parts, ""))))
				}
				var out io.Writer = w
				flush := w.(http.Flusher).Flush
				if c.coding != "" {
					w.Header().Set("Content-Encoding", "gzip")
					z := newFlushing(w)
					defer z.Close()
					out = z
				}
				for _, part := range parts {
					_, _ = io.WriteString(out, part)
					flush()
					select {
					case <-next:
					case <-r.Context().Done():
						return
					}
				}
			})
			n := start(t, o, setup{engines: c.engines})
			req, _ := http.NewRequest("GET", "http://"+n.addr+"/", nil)
			req.Header.Set("Accept-Encoding", c.coding)
			resp, err := n.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body := io.Reader(resp.Body)
			if c.coding != "" {
				body = &lateGzip{from: resp.Body}
			}
			for _, part := range parts {
				got := make([]byte, len(part))
				if _, err := io.ReadFull(body, got); err != nil || string(got) != part {
					t.Fatalf("got %q, %v; want %q", got, err, part)
				}
				next <- struct{}{}
			}
		})
	}
}

// The head of an event stream does not wait for the first event.
func TestHeadOfStreamAtOnce(t *testing.T) {
	seen := make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		<-seen
	})
	n := start(t, o, setup{})
	resp, err := n.client.Get("http://" + n.addr + "/")
	close(seen)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// Bodies of any size cost no memory, in both directions.
func TestBigBodiesAreStreamed(t *testing.T) {
	const size = 200 << 20
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			got, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, got)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyN(w, zeros{}, size)
	})
	n := start(t, o, setup{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	resp, err := n.client.Get("http://" + n.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if got != size || err != nil {
		t.Errorf("%d bytes came: %v", got, err)
	}
	resp, err = n.client.Post("http://"+n.addr+"/", "application/octet-stream", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(said) != fmt.Sprint(size) {
		t.Errorf("%s bytes arrived", said)
	}
	runtime.ReadMemStats(&after)
	if used := int64(after.TotalAlloc - before.TotalAlloc); used > 32<<20 {
		t.Errorf("%d bytes allocated for %d in flight", used, 2*size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A 413 in the middle of an upload reaches the client.
func TestEarlyAnswer(t *testing.T) {
	o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		if _, err := readRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
		}
	})
	n := start(t, o, setup{})
	r := n.do("POST", "/", io.LimitReader(zeros{}, 64<<20), "Content-Type", "x/y")
	if r.StatusCode != 413 || r.body != "much" {
		t.Errorf("status %d %q", r.StatusCode, r.body)
	}
}

func TestBodyLimit(t *testing.T) {
	var asked atomic.Int64
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	n := start(t, o, setup{config: Config{MaxBody: 1000}})
	if r := n.do("POST", "/", strings.NewReader(strings.Repeat("x", 1001))); r.StatusCode != 413 || asked.Load() != 0 {
		t.Errorf("known length: status %d, asked %d", r.StatusCode, asked.Load())
	}
	if r := n.do("POST", "/", strings.NewReader(strings.Repeat("x", 1000))); r.StatusCode != 200 {
		t.Errorf("at the limit: status %d", r.StatusCode)
	}
	if r := n.do("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)))); r.StatusCode != 413 {
		t.Errorf("chunked: status %d", r.StatusCode)
	}
}

func TestCorruptGzip(t *testing.T) {
	sound := packBytes(strings.Repeat(shopPage, 4000))
	cases := map[string]struct {
		body   []byte
		passed bool // the origin's own bytes come through
		slow   bool // the end comes when the beginning has been answered
	}{
		"no gzip at all": {[]byte("<p>plain</p>"), true, false},
		"bad header":     {append([]byte{0x1f, 0x8b, 9}, sound[3:]...), true, false},
		"empty":          {[]byte{}, true, false},
		"cut":            {sound[:len(sound)/2], true, false},
		"bad end":        {append(bytes.Clone(sound[:len(sound)-8]), "12345678"...), true, false},
		"cut, slow":      {sound[:len(sound)/2], false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			answered := make(chan struct{})
			o := origin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.Header().Set("Content-Encoding", "gzip")
				w.Header().Set("Cache-Control", "max-age=60")
				body := c.body
				if c.slow {
					_, _ = w.Write(body[:len(body)/2])
					_ = http.NewResponseController(w).Flush()
					body = body[len(body)/2:]
					<-answered
				}
				_, _ = w.Write(body)
			})
			n := start(t, o, setup{engines: always(text("#hero", "x"))})
			req, _ := http.NewRequest("GET", "http://"+n.addr+"/", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			req.Header.Set("User-Agent", "Mozilla/5.0")
			resp, err := n.client.Do(req)
			close(answered)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if c.passed && (err != nil || !bytes.Equal(got, c.body)) {
				t.Errorf("got %q, %v", got, err)
			}
			if !c.passed && err == nil {
				t.Error("a damaged page came as a whole one")
			}
			if n.server.CacheUsage().Entries != 0 {
				t.Error("a damaged page was kept")
			}
		})
	}
}

// A bomb is not unpacked further than any real page. One that is there at once
// passes as the origin sent it, like any page that cannot be edited; one of which a
// part has left breaks.
func TestGzipBomb(t *testing.T) {
	var bomb bytes.Buffer
	z := newFlushing(&bomb)
	_, _ = io.CopyN(z, zeros{}, 64<<20)
	_ = z.Close()
	for _, slow := range []bool{false, true} {
		answered := make(chan struct{})
		o := origin(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Encoding", "gzip")
			body := bomb.Bytes()
			if slow {
				_, _ = w.Write(body[:1000])
				_ = http.NewResponseController(w).Flush()
				body = body[1000:]
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
			if whole++; err != nil || !bytes.Equal(got, bomb.Bytes()) {
				t.Errorf("%d bytes in the place of the origin's %d: %v", len(got), bomb.Len(), err)
			}
		}
		if got := n.server.Stats().FailedOpen(ReasonBomb); got != asked {
			t.Errorf("counted %d times, want %d", got, asked)
		}
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

// A file under a pattern that an experience names is no page.
func TestFilesUnderConcernedPatterns(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"pdf"`)
		w.Header().Set("Cache-Control", "public, max-age=60")
		http.ServeContent(w, r, "x.pdf", time.Time{}, strings.NewReader("0123456789"))
	})
	n := start(t, o, setup{engines: always(text("#hero", "x"))})
	r := n.get("/x.pdf", "Accept", "*/*", "Range", "bytes=2-4")
	if r.StatusCode != 206 || r.body != "234" || r.Header.Get("Cache-Control") != "public, max-age=60" || r.Header.Get("ETag") != `"pdf"` {
		t.Errorf("%d %q %v", r.StatusCode, r.body, r.Header)
	}
	if len(r.Header["Set-Cookie"]) != 0 || len(n.engines.kinds()) != 0 {
		t.Errorf("cookies %v, events %v", r.Header["Set-Cookie"], n.engines.kinds())
	}
}

// A range of a page that is edited would be cut from other bytes.
func TestRangeOfPage(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader(shopPage))
	})
	n := start(t, o, setup{engines: always(text("#hero", "Hi"))})
	want := strings.Replace(shopPage, "Welcome", "Hi", 1)
	for _, accept := range []string{"*/*", "text/html"} {
		r := n.get("/", "Accept", accept, "Range", "bytes=2-4")
		if r.StatusCode != 200 || r.body != want || r.Header.Get("Accept-Ranges") != "" {
			t.Errorf("%s: %d %q %v", accept, r.StatusCode, r.body, r.Header)
		}
	}
}

func TestWhatIsNotEdited(t *testing.T) {
	cases := []struct {
		reason Reason
		header []string
	}{
		{ReasonNoChange, []string{"Content-Type", "text/html", "Cache-Control", "no-transform"}},
		{ReasonEncoding, []string{"Content-Type", "text/html", "Content-Encoding", "br"}},
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

func TestHead(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage), setup{engines: always(text("#hero", "a longer text"))})
	get := n.get("/")
	head := n.do("HEAD", "/", nil)
	if head.ContentLength > 0 && head.ContentLength != int64(len(get.body)) {
		t.Errorf("HEAD says %d bytes, the page has %d", head.ContentLength, len(get.body))
	}
	ignore := []string{"Date", "X-Request-Id", "Set-Cookie", "Content-Length"}
	if a, b := headerSet(get.Header, ignore...), headerSet(head.Header, ignore...); a != b {
		t.Errorf("headers differ:\n%s\n\n%s", a, b)
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

// When one side of a tunnel ends, the other is told, and nothing is left of it.
func TestTunnelEndsOnBothSides(t *testing.T) {
	gone := make(chan string, 2)
	n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		head, err := readRequest(r)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if strings.HasPrefix(head, "GET /origin ") {
			return
		}
		rest, _ := io.ReadAll(r)
		gone <- string(rest)
	}), setup{})
	for _, side := range []string{"origin", "client", "client, half"} {
		c := dialNode(t, n)
		path, _, _ := strings.Cut(side, ",")
		_, _ = io.WriteString(c, "GET /"+path+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if _, err := readRequest(bufio.NewReader(c)); err != nil {
			t.Fatal(err)
		}
		switch side {
		case "origin":
			if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
				t.Errorf("the client read %q, %v", rest, err)
			}
		case "client":
			c.Close()
			<-gone
		default:
			_, _ = io.WriteString(c, "bye")
			_ = c.(*net.TCPConn).CloseWrite()
			if rest := <-gone; rest != "bye" {
				t.Errorf("the origin read %q", rest)
			}
		}
		c.Close()
		eventually(t, "the tunnel is gone", func() bool {
			return n.server.Stats().Streams.Load() == 0 && n.site.Upstreams["origin"].Stats().Active == 0
		})
	}
}

func TestOriginDown(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	n := start(t, address, setup{})
	began := time.Now()
	r := n.get("/", "X-Request-Id", "abc-1", "Accept", "text/html")
	if r.StatusCode != 502 || !strings.Contains(r.body, "abc-1") || r.Header.Get("X-Request-Id") != "abc-1" || time.Since(began) > 3*time.Second {
		t.Errorf("%d after %v: %q", r.StatusCode, time.Since(began), r.body)
	}
	if r.Header.Get("Date") == "" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", r.Header)
	}
	r = n.get("/", "Accept", "application/json")
	if r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%q", r.body)
	}
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

func TestShutdownWaitsForRequests(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-goOn
		_, _ = io.WriteString(w, "done")
	})
	n := start(t, o, setup{})
	answer := make(chan string, 1)
	go func() {
		resp, err := n.client.Get("http://" + n.addr + "/")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-arrived
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- n.server.Shutdown(ctx)
	}()
	eventually(t, "no more connections are taken", func() bool {
		c, err := net.Dial("tcp", n.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(goOn)
	if got := <-answer; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
