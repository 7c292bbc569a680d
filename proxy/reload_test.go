package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Sites are swapped under load; each is released once, after its last request.
func TestReloadUnderLoad(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage, "Cache-Control", "max-age=60"), setup{engines: always(text("#hero", "Hi"))})
	var released, made atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r := n.get("/"); r.StatusCode != 200 || !strings.Contains(r.body, "Hi") {
					t.Errorf("status %d %q", r.StatusCode, r.body)
					return
				}
			}
		})
	}
	for i := range 100 {
		o := n.site.SiteOptions
		o.Generation = uint64(i + 2)
		var once atomic.Bool
		o.Release = func() {
			if once.Swap(true) {
				t.Error("released twice")
			}
			released.Add(1)
		}
		site, err := NewSite(o)
		if err != nil {
			t.Fatal(err)
		}
		made.Add(1)
		n.server.SetSite(site)
	}
	close(stop)
	wg.Wait()
	eventually(t, "all but the last are released", func() bool { return released.Load() == made.Load()-1 })
}

// A long stream does not hold the site it began with.
func TestStreamsLetTheSiteGo(t *testing.T) {
	end := make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-end
	})
	n := start(t, o, setup{})
	released := make(chan struct{})
	n.site.Release = func() { close(released) }
	resp, err := n.client.Get("http://" + n.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	site, err := NewSite(SiteOptions{
		Generation: 2, Routes: n.site.Routes, Upstreams: n.site.Upstreams, Cookie: n.site.Cookie, Signer: n.site.Signer,
		Attributes: n.site.Attributes, Profiles: n.engines, Segmenter: n.engines, Experiments: n.engines, Planner: n.engines, Recorder: n.engines,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.server.SetSite(site)
	select {
	case <-released:
	case <-time.After(5 * time.Second):
		t.Error("the stream holds the old site")
	}
	close(end)
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Error(err)
	}
}

func TestNoSiteYet(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage), setup{})
	n.server.SetSite(nil)
	if r := n.get("/"); r.StatusCode != 503 {
		t.Errorf("status %d", r.StatusCode)
	}
}

// An HTTP/1.0 client knows no chunks: the end of the connection ends the body.
func TestHTTP10(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, shopPage)
		w.(http.Flusher).Flush()
	})
	for name, e := range map[string]*engines{"passed on": nil, "rewritten": always(text("#hero", "Hi"))} {
		n := start(t, o, setup{engines: e})
		answer := n.raw("GET / HTTP/1.0\r\nHost: x\r\nUser-Agent: Mozilla/5.0\r\n\r\n")
		head, body, _ := strings.Cut(answer, "\r\n\r\n")
		want := shopPage
		if e != nil {
			want = strings.Replace(shopPage, "Welcome", "Hi", 1)
		}
		if body != want || strings.Contains(strings.ToLower(head), "chunked") || !strings.Contains(head, "Connection: close") {
			t.Errorf("%s: %q", name, answer)
		}
		eventually(t, "the stream ended", func() bool { return n.server.Stats().Streams.Load() == 0 })
	}
}

// Requests that follow each other without waiting are answered in order.
func TestPipelining(t *testing.T) {
	var asked atomic.Int64
	n := start(t, counting(t, &asked, "Cache-Control", "max-age=60"), setup{engines: always(text("#hero", strings.Repeat("x", 9000)))})
	n.get("/", "Host", "x")
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	const one = "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0\r\n\r\n"
	_, _ = io.WriteString(c, strings.Repeat(one, 20)+"GET /_sedge/none HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReader(c)
	for i := range 21 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || (resp.StatusCode == 200) != (i < 20) || i < 20 && !strings.Contains(string(body), "xxx") {
			t.Fatalf("answer %d: %d %v %q", i, resp.StatusCode, err, body[:min(len(body), 100)])
		}
	}
}

// Bytes that the origin sends behind its answer reach nobody.
func TestBytesBehindAnAnswer(t *testing.T) {
	o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		}
	})
	n := start(t, o, setup{})
	for range 20 {
		if r := n.get("/"); r.body != "ok" {
			t.Fatalf("got %q", r.body)
		}
	}
}
