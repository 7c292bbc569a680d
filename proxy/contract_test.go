package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// contract is what holds for a client whatever it and the origin speak. Each behaviour
// is shown over real sockets by every implementation of [downstream].
var contract = []struct {
	name string
	test func(t *testing.T, over protocol)
	raw  bool // the origin writes HTTP/1.1 by hand; proxy/upstream does so over HTTP/2
}{
	{name: "truncated upload", test: contractTruncatedUpload},
	{name: "slow body streams", test: contractSlowBodyStreams},
	{name: "head of stream at once", test: contractHeadOfStreamAtOnce},
	{name: "big bodies are streamed", test: contractBigBodiesAreStreamed},
	{name: "held upload", test: contractHeldUpload, raw: true},
	{name: "early answer", test: contractEarlyAnswer, raw: true},
	{name: "body limit", test: contractBodyLimit},
	{name: "damaged pages", test: contractDamagedPages},
	{name: "codings", test: contractCodings},
	{name: "codings of heads and mapped pages", test: contractCodingsOfMapped},
	{name: "files under concerned patterns", test: contractFilesUnderConcernedPatterns},
	{name: "range of page", test: contractRangeOfPage},
	{name: "head", test: contractHead},
	{name: "origin down", test: contractOriginDown},
	{name: "shutdown waits for requests", test: contractShutdownWaitsForRequests},
	{name: "bodies of any size", test: contractBodies},
	{name: "truncated origin", test: contractTruncatedOrigin, raw: true},
	{name: "early hints", test: contractEarlyHints},
	{name: "answers without body", test: contractNoBody},
	{name: "header lines", test: contractHeaderLines, raw: true},
	{name: "request as it came", test: contractRequest},
	{name: "large heads", test: contractLargeHeads},
	{name: "slow bodies", test: contractSlowBodies},
	{name: "silent uploads", test: contractSilentUpload},
	{name: "silent readers", test: contractSilentReader},
	{name: "log", test: contractLog},
	{name: "panics", test: contractPanics},
	{name: "variants", test: contractVariants},
	{name: "trailers pass", test: contractTrailersPass},
	{name: "triggers and deliveries", test: contractTriggersAndDeliveries},
	{name: "mapped URLs", test: contractMappedURLs},
	{name: "mapped URLs stream", test: contractMappedStreams},
}

func TestContract(t *testing.T) {
	for _, over := range []protocol{plainHTTP1, overTLS, overHTTP2, plainHTTP1 + toHTTP2, overHTTP2 + toHTTP2} {
		t.Run(cmp.Or(string(over), "h1"), func(t *testing.T) {
			for _, c := range contract {
				if c.raw && over != over.client() {
					continue
				}
				t.Run(c.name, func(t *testing.T) { c.test(t, over) })
			}
		})
	}
}

// An upload that the client cuts never ends at the origin.
func contractTruncatedUpload(t *testing.T, over protocol) {
	arrived, ended := make(chan struct{}), make(chan error, 1)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 5))
		close(arrived)
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	n := start(t, o, setup{over: over})
	body, upload := io.Pipe()
	go func() {
		_, _ = io.WriteString(upload, "hello")
		<-arrived
		_ = upload.CloseWithError(errors.New("cut"))
	}()
	if resp, err := n.client.Post(n.base+"/", "text/plain", body); err == nil {
		resp.Body.Close()
		t.Errorf("answered with %s", resp.Status)
	}
	if err := <-ended; err == nil {
		t.Error("the origin took the cut upload for a whole one")
	}
}

// What a slow origin sends is at the client at once.
func contractSlowBodyStreams(t *testing.T, over protocol) {
	cases := []struct {
		name, contentType, coding string
		length                    bool
		engines                   *engines
	}{
		{"events", "text/event-stream", "", false, nil},
		{"known length", "application/octet-stream", "", true, nil},
		{"page", "text/html", "", false, always(text("#b", "x"))},
		{"page in gzip", "text/html", "gzip", false, always(text("#b", "x"))},
		{"page in deflate", "text/html", "deflate", false, always(text("#b", "x"))},
		{"page in br", "text/html", "br", false, always(text("#b", "x"))},
		{"page in zstd", "text/html", "zstd", false, always(text("#b", "x"))},
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
					w.Header().Set("Content-Encoding", c.coding)
					z := newFlushing(c.coding, w)
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
			n := start(t, o, setup{over: over, engines: c.engines})
			req, _ := http.NewRequest("GET", n.base+"/", nil)
			req.Header.Set("Accept-Encoding", c.coding)
			resp, err := n.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("Content-Encoding"); got != c.coding {
				t.Errorf("the coding is %q", got)
			}
			body := decoder(t, resp, resp.Body)
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
func contractHeadOfStreamAtOnce(t *testing.T, over protocol) {
	seen := make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		<-seen
	})
	n := start(t, o, setup{over: over})
	resp, err := n.client.Get(n.base + "/")
	close(seen)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// Bodies of any size cost no memory, in both directions.
func contractBigBodiesAreStreamed(t *testing.T, over protocol) {
	const size = 32 << 20
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			got, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, got)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyN(w, zeros{}, size)
	})
	n := start(t, o, setup{over: over})
	before, most := liveMemory(), int64(0)
	look := func() { most = max(most, liveMemory()-before) }
	resp, err := n.client.Get(n.base + "/")
	if err != nil {
		t.Fatal(err)
	}
	got := int64(0)
	for err == nil {
		var part int64
		part, err = io.CopyN(io.Discard, resp.Body, size/8)
		got += part
		look()
	}
	resp.Body.Close()
	if got != size || err != io.EOF {
		t.Errorf("%d bytes came: %v", got, err)
	}
	var parts []io.Reader
	for range 8 {
		parts = append(parts, io.LimitReader(zeros{}, size/8), readerFunc(func([]byte) (int, error) { look(); return 0, io.EOF }))
	}
	resp, err = n.client.Post(n.base+"/", "application/octet-stream", io.MultiReader(parts...))
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(said) != fmt.Sprint(size) {
		t.Errorf("%s bytes arrived", said)
	}
	if most > 8<<20 {
		t.Errorf("%d bytes held of %d", most, size)
	}
}

// liveMemory is what is held at this moment.
func liveMemory() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A 413 in the middle of an upload reaches the client.
func contractEarlyAnswer(t *testing.T, over protocol) {
	o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		if _, err := readRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
		}
	})
	n := start(t, o, setup{over: over})
	r := n.do("POST", "/", io.LimitReader(zeros{}, 64<<20), "Content-Type", "x/y")
	if r.StatusCode != 413 || r.body != "much" {
		t.Errorf("status %d %q", r.StatusCode, r.body)
	}
}

func contractBodyLimit(t *testing.T, over protocol) {
	var asked atomic.Int64
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	n := start(t, o, setup{over: over, config: Config{MaxBody: 1000}})
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

// A damaged page passes as the origin sent it if the damage shows before it leaves; else
// the answer breaks. It is never kept.
func contractDamagedPages(t *testing.T, over protocol) {
	type damaged struct {
		name, coding string
		body         []byte
		passed       bool // the origin's own bytes come through
		slow         bool // the end comes when the beginning has been answered
	}
	var cases []damaged
	for _, coding := range []string{"gzip", "deflate", "raw deflate", "br", "zstd", "gzip, br"} {
		sound := packAs(coding, strings.Repeat(shopPage, 4000)+someNumbers(20_000))
		cases = append(cases,
			damaged{"empty", coding, []byte{}, true, false},
			damaged{"cut at once", coding, sound[:1], true, false},
			damaged{"cut", coding, sound[:len(sound)/2], true, false},
			damaged{"cut at its end", coding, sound[:len(sound)-1], true, false},
			damaged{"cut, slow", coding, sound[:len(sound)/2], false, true},
		)
		if coding != "raw deflate" { // which knows no errors but those of its form
			cases = append(cases, damaged{"not packed at all", coding, []byte("<p>plain</p>"), true, false})
		}
		if coding != "raw deflate" && coding != "br" { // which have no checksum
			cases = append(cases, damaged{"bad end", coding, append(bytes.Clone(sound[:len(sound)-3]), "123"...), true, false})
		}
	}
	sound := packBytes(shopPage)
	cases = append(cases, damaged{"bad header", "gzip", append([]byte{0x1f, 0x8b, 9}, sound[3:]...), true, false})
	for _, c := range cases {
		t.Run(c.coding+"/"+c.name, func(t *testing.T) {
			answered := make(chan struct{})
			o := origin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.Header().Set("Content-Encoding", nameOf(c.coding))
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
			n := start(t, o, setup{over: over, engines: always(text("#hero", "x"))})
			if !c.slow {
				n.server.wholeTime = 10 * time.Second // the machine may be busy
			}
			req, _ := http.NewRequest("GET", n.base+"/", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			req.Header.Set("User-Agent", "Mozilla/5.0")
			resp, err := n.client.Do(req)
			close(answered)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if c.passed && (err != nil || !bytes.Equal(got, c.body) || resp.Header.Get("Content-Encoding") != nameOf(c.coding)) {
				t.Errorf("got %q in %s, %v", got, resp.Header.Get("Content-Encoding"), err)
			}
			if c.passed && len(c.body) > 0 && n.server.Stats().FailedOpen(ReasonCorrupt) != 1 {
				t.Error("not counted as corrupt")
			}
			if !c.passed && err == nil {
				t.Error("a damaged page came as a whole one")
			}
			if n.server.CacheUsage().Objects != 0 {
				t.Error("a damaged page was kept")
			}
		})
	}
}

// A file under a pattern that an experience names is no page.
func contractFilesUnderConcernedPatterns(t *testing.T, over protocol) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"pdf"`)
		w.Header().Set("Cache-Control", "public, max-age=60")
		http.ServeContent(w, r, "x.pdf", time.Time{}, strings.NewReader("0123456789"))
	})
	n := start(t, o, setup{over: over, engines: always(text("#hero", "x"))})
	r := n.get("/x.pdf", "Accept", "*/*", "Range", "bytes=2-4")
	if r.StatusCode != 206 || r.body != "234" || r.Header.Get("Cache-Control") != "public, max-age=60" || r.Header.Get("ETag") != `"pdf"` {
		t.Errorf("%d %q %v", r.StatusCode, r.body, r.Header)
	}
	if len(r.Header["Set-Cookie"]) != 0 || len(n.engines.kinds()) != 0 {
		t.Errorf("cookies %v, events %v", r.Header["Set-Cookie"], n.engines.kinds())
	}
}

// A range of a page that is edited would be cut from other bytes.
func contractRangeOfPage(t *testing.T, over protocol) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader(shopPage))
	})
	n := start(t, o, setup{over: over, engines: always(text("#hero", "Hi"))})
	want := strings.Replace(shopPage, "Welcome", "Hi", 1)
	for _, accept := range []string{"*/*", "text/html"} {
		r := n.get("/", "Accept", accept, "Range", "bytes=2-4")
		if r.StatusCode != 200 || r.body != want || r.Header.Get("Accept-Ranges") != "" {
			t.Errorf("%s: %d %q %v", accept, r.StatusCode, r.body, r.Header)
		}
	}
}

func contractHead(t *testing.T, over protocol) {
	n := start(t, pages(t, "text/html", shopPage), setup{over: over, engines: always(text("#hero", "a longer text"))})
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

func contractOriginDown(t *testing.T, over protocol) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	n := start(t, address, setup{over: over})
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

func contractShutdownWaitsForRequests(t *testing.T, over protocol) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-goOn
		_, _ = io.WriteString(w, "done")
	})
	n := start(t, o, setup{over: over})
	answer := make(chan string, 1)
	go func() {
		resp, err := n.client.Get(n.base + "/")
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

func contractTrailersPass(t *testing.T, over protocol) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "42")
	})
	n := start(t, o, setup{over: over})
	resp, err := n.client.Get(n.base + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if string(body) != "body" || resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("%q, trailer %v", body, resp.Trailer)
	}
}

func contractTriggersAndDeliveries(t *testing.T, over protocol) {
	exposure := decision.Exposure{Assignment: decision.Assignment{Experiment: "hero", Arm: "control"}, Segment: "s"}
	p := text("#hero", "x")
	p.Edits[0].Apply = false // the control group: matched, not applied
	p.Edits = append(p.Edits, decision.PlannedEdit{Edit: decision.Edit{Select: ".missing", Op: decision.OpRemove}, Apply: true})
	p.Triggers = []decision.Trigger{
		{Exposure: exposure, Edits: []int{0}},
		{Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "other", Arm: "a"}}, Edits: []int{1}},
	}
	var asked atomic.Int64
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{over: over, engines: always(p)})
	_, cookie := n.visitor()
	for round, kind := range []string{"streamed", "from memory", "not modified"} {
		header := []string{"Cookie", cookie}
		if kind == "not modified" {
			header = append(header, "If-None-Match", "*")
		}
		r := n.get("/", header...)
		if kind != "not modified" && r.body != shopPage {
			t.Errorf("%s: the control group's page was edited: %q", kind, r.body)
		}
		eventually(t, kind+": triggered and delivered", func() bool {
			return len(n.engines.recorded(event.Trigger)) == round+1 && len(n.engines.recorded(event.Delivery)) == round+1
		})
	}
	for _, e := range n.engines.recorded(event.Trigger) {
		if *e.Exposure != exposure || e.Segment != "s" {
			t.Errorf("exposure %+v", e.Exposure)
		}
	}
	n.get("/", "User-Agent", "Googlebot/2.1")
	if got := len(n.engines.recorded(event.Trigger)); got != 3 {
		t.Errorf("a bot triggered: %d", got)
	}
}

// Bodies of any size come through byte by byte in both directions, whether their
// length is known or not.
func contractBodies(t *testing.T, over protocol) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("upload: %v", err)
		}
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		}
		for len(body) > 0 {
			part := body[:min(len(body), 300_000)]
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
			body = body[len(part):]
		}
	})
	n := start(t, o, setup{over: over})
	for _, size := range []int{0, 1, 64 << 10, 5 << 20} {
		sent := make([]byte, size)
		for i := range sent {
			sent[i] = byte(i * i >> 3)
		}
		for _, known := range []bool{true, false} {
			var body io.Reader = bytes.NewReader(sent)
			if !known {
				body = io.MultiReader(body)
			}
			if r := n.do("POST", "/", body); r.body != string(sent) || known && r.ContentLength != int64(size) {
				t.Errorf("%d bytes, length known %v: %d came, length %d", size, known, len(r.body), r.ContentLength)
			}
		}
	}
}

// An answer that the origin cuts is no whole one for the client either, and is not kept.
func contractTruncatedOrigin(t *testing.T, over protocol) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\n"
	plans := map[string]*engines{"passed on": nil, "rewritten": always(text("p", "x"))}
	for framing, answer := range map[string]string{
		"chunked": head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"length":  head + "Content-Length: 100\r\n\r\nhello",
	} {
		for name, e := range plans {
			o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
				if _, err := readRequest(r); err == nil {
					_, _ = io.WriteString(c, answer)
				}
			})
			n := start(t, o, setup{over: over, engines: e})
			resp, err := n.client.Get(n.base + "/")
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Errorf("%s, %s: the cut answer came as a whole one", framing, name)
			}
			if n.server.CacheUsage().Objects != 0 {
				t.Errorf("%s, %s: a cut page was kept", framing, name)
			}
			eventually(t, "the break is counted", func() bool { return n.server.Stats().Broken.Load() == 1 })
		}
	}
}

// Early hints come first, with all their lines, and leave nothing in the answer;
// also those of a page that is edited, but not of one from memory.
func contractEarlyHints(t *testing.T, over protocol) {
	for name, e := range map[string]*engines{"passed on": nil, "edited": always(text("#hero", "Hi"))} {
		n := start(t, hinting(t), setup{over: over, engines: e})
		for round := range 2 {
			var hints []http.Header
			trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, http.Header(h))
				return nil
			}}
			req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", n.base+"/", nil)
			resp, err := n.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			const want = 1
			if len(hints) != want || resp.StatusCode != 200 || !strings.Contains(string(body), "Text") || len(resp.Header["Link"]) != 0 {
				t.Errorf("%s, round %d: hints %v, then %d %v", name, round, hints, resp.StatusCode, resp.Header)
			}
			for _, h := range hints {
				if len(h) != 1 || len(h["Link"]) != 2 {
					t.Errorf("%s: hints %v", name, h)
				}
			}
		}
	}
}

// What has no body is told from what has an empty one.
func contractNoBody(t *testing.T, over protocol) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"x"`)
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(304)
		case "/head":
			w.Header().Set("Content-Length", "12345")
		case "/500":
			w.WriteHeader(500)
		}
	})
	n := start(t, o, setup{over: over})
	for _, c := range []struct {
		method, path string
		status       int
		length       string
	}{
		{"GET", "/204", 204, ""}, {"GET", "/304", 304, ""}, {"HEAD", "/head", 200, "12345"}, {"GET", "/empty", 200, "0"}, {"GET", "/500", 500, "0"},
	} {
		r := n.do(c.method, c.path, nil)
		if r.StatusCode != c.status || r.Header.Get("Content-Length") != c.length || r.body != "" || r.Header.Get("ETag") != `"x"` || len(r.Header["Content-Type"]) != 0 {
			t.Errorf("%s %s: %d %v %q", c.method, c.path, r.StatusCode, r.Header, r.body)
		}
	}
}

// Lines of the same name stay lines, and what belongs to a hop ends there.
func contractHeaderLines(t *testing.T, over protocol) {
	const date = "Mon, 02 Jan 2023 15:04:05 GMT"
	o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		if _, err := readRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nset-cookie: b=2\r\nLink: <a>\r\nLink: <b>\r\nDate: "+date+
				"\r\nAge: 7\r\nServer: old\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	n := start(t, o, setup{over: over})
	r := n.get("/")
	for name, want := range map[string][]string{
		"Set-Cookie": {"a=1; Path=/", "b=2"}, "Link": {"<a>", "<b>"}, "Date": {date}, "Age": {"7"}, "Server": {"old"}, "Content-Length": {"2"},
		"X-Hop": nil, "Keep-Alive": nil, "Proxy-Connection": nil, "Upgrade": nil, "Connection": nil, "Transfer-Encoding": nil,
	} {
		if got := r.Header[name]; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The origin sees the target byte by byte, one Cookie line, and who asked how.
func contractRequest(t *testing.T, over protocol) {
	var got *http.Request
	o := origin(t, func(w http.ResponseWriter, r *http.Request) { got = r.Clone(context.Background()) })
	s := setup{over: over}
	s.up.Host = upstream.HostClient
	n := start(t, o, s)
	const target = "/a//b/../c%2Fd;x=%7e?q=%20+&&r"
	req, _ := http.NewRequest("GET", n.base, nil)
	req.URL.Opaque = target
	req.Host = "shop.example:8443"
	req.Header["Cookie"] = []string{"a=1; b=2"}
	req.Header["X-Two"] = []string{"1", "2"}
	resp, err := n.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	via, scheme := "1.1 sedge", "http"
	if over.client() == overHTTP2 {
		via = "2.0 sedge"
	}
	if over.client() != plainHTTP1 {
		scheme = "https"
	}
	if got.RequestURI != target || got.Host != "shop.example:8443" || !slices.Equal(got.Header["X-Two"], []string{"1", "2"}) ||
		!slices.Equal(got.Header["Cookie"], []string{"a=1; b=2"}) || got.ContentLength != 0 || len(got.TransferEncoding) != 0 {
		t.Errorf("%s %s %v", got.Host, got.RequestURI, got.Header)
	}
	for name, want := range map[string]string{"Via": via, "X-Forwarded-Proto": scheme, "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "shop.example:8443"} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
}

// A head at the limit passes, one beyond it is told so.
func contractLargeHeads(t *testing.T, over protocol) {
	n := start(t, pages(t, "text/plain", "ok", "Content-Security-Policy", strings.Repeat("x", 20<<10)), setup{over: over})
	if r := n.get("/", "X-Large", strings.Repeat("x", 30<<10)); r.StatusCode != 200 || r.body != "ok" {
		t.Errorf("30 KiB: %d", r.StatusCode)
	}
	if over.client() == overHTTP2 {
		return // the client knows the limit and asks no further; TestHTTP2LargeHead does
	}
	if r := n.get("/", "X-Large", strings.Repeat("x", 34<<10)); r.StatusCode != 431 {
		t.Errorf("34 KiB: %d", r.StatusCode)
	}
}

// A body that goes on takes longer than the idle limit, in both directions.
func contractSlowBodies(t *testing.T, over protocol) {
	const idle, pause, parts = 300 * time.Millisecond, 60 * time.Millisecond, 7
	drip := func(w io.Writer, flush func()) {
		for range parts {
			_, _ = io.WriteString(w, "part")
			flush()
			<-time.After(pause) // a slow peer is what is tested
		}
	}
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			_, _ = io.Copy(w, r.Body)
			return
		}
		drip(w, w.(http.Flusher).Flush)
	})
	n := start(t, o, setup{over: over, config: Config{IdleTimeout: idle}})
	want := strings.Repeat("part", parts)
	if r := n.get("/"); r.body != want {
		t.Errorf("download: %q", r.body)
	}
	body, upload := io.Pipe()
	go func() {
		drip(upload, func() {})
		upload.Close()
	}()
	if r := n.do("POST", "/", body); r.body != want {
		t.Errorf("upload: %q", r.body)
	}
}

// A client that stops in the middle of its upload is not waited for for ever.
func contractSilentUpload(t *testing.T, over protocol) {
	ended := make(chan error, 1)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	n := start(t, o, setup{over: over, config: Config{IdleTimeout: 200 * time.Millisecond}})
	body, upload := io.Pipe()
	defer upload.Close()
	go func() { _, _ = io.WriteString(upload, "hello") }()
	if resp, err := n.client.Post(n.base+"/", "text/plain", body); err == nil {
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("answered with %s", resp.Status)
		}
	} else if isTimeoutError(err) {
		t.Error("it was waited for")
	}
	if err := <-ended; err == nil {
		t.Error("the origin took the upload for a whole one")
	}
}

// A client that reads nothing is cut off, and its exchange with the origin too.
func contractSilentReader(t *testing.T, over protocol) {
	ended := make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		_, _ = io.CopyN(w, zeros{}, 1<<30)
	})
	n := start(t, o, setup{over: over, config: Config{IdleTimeout: 200 * time.Millisecond}})
	resp, err := n.client.Get(n.base + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-ended
	eventually(t, "the stream is over", func() bool { return n.server.Stats().Streams.Load() == 0 })
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the cut answer came as a whole one")
	}
}

// Each request is one line of the log, under the id that the client sees.
func contractLog(t *testing.T, over protocol) {
	n := start(t, pages(t, "text/plain", "ok"), setup{over: over})
	given := n.get("/a", "X-Request-Id", "abc-1")
	made := n.get("/b")
	if given.Header.Get("X-Request-Id") != "abc-1" || len(made.Header.Get("X-Request-Id")) != 32 {
		t.Errorf("ids %q and %q", given.Header["X-Request-Id"], made.Header["X-Request-Id"])
	}
	eventually(t, "logged", func() bool {
		log := n.log.String()
		return strings.Count(log, `"msg":"request"`) == 2 && strings.Contains(log, `"request_id":"abc-1"`) && strings.Contains(log, made.Header.Get("X-Request-Id"))
	})
}

// A panic of an engine costs one request its edits, and nothing else.
func contractPanics(t *testing.T, over protocol) {
	e := always(&decision.Plan{Concerned: true})
	e.plan = func(context.Context, *decision.Query) *decision.Plan { panic("no plan") }
	n := start(t, pages(t, "text/html", shopPage), setup{over: over, engines: e})
	for range 2 {
		if r := n.get("/"); r.StatusCode != 200 || r.body != shopPage {
			t.Errorf("%d %q", r.StatusCode, r.body)
		}
	}
	if got := n.server.Stats().FailedOpen(ReasonPanic); got != 2 {
		t.Errorf("%d panics counted", got)
	}
}

// A page comes from memory as it came from the origin, and packed for who takes it.
func contractVariants(t *testing.T, over protocol) {
	var asked atomic.Int64
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{over: over, engines: always(text("#hero", strings.Repeat("word ", 20<<10)))})
	first := n.get("/")
	n.get("/", "Accept-Encoding", "gzip")
	for _, coding := range []string{"identity", "gzip"} {
		hit := n.get("/", "Accept-Encoding", coding)
		if decoded(t, hit) != first.body || hit.ContentLength != int64(len(hit.body)) {
			t.Errorf("%s: %d bytes in the place of %d", coding, len(hit.body), len(first.body))
		}
		unchanged := n.get("/", "Accept-Encoding", coding, "If-None-Match", hit.Header.Get("ETag"))
		if unchanged.StatusCode != 304 {
			t.Errorf("%s: %d", coding, unchanged.StatusCode)
		}
		head := n.do("HEAD", "/", nil, "Accept-Encoding", coding)
		if head.ContentLength != hit.ContentLength && (coding == "identity" || head.ContentLength >= 0) {
			t.Errorf("%s: HEAD says %d", coding, head.ContentLength)
		}
	}
	if asked.Load() > 2 { // once for each coding
		t.Errorf("the origin was asked %d times", asked.Load())
	}
}
