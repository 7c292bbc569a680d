package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/decision"
)

// accessLines returns the access log so far.
func (n *node) accessLines() (lines []map[string]any) {
	n.t.Helper()
	for line := range strings.Lines(n.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			n.t.Fatalf("%v in %s", err, line)
		}
		if fields["msg"] == "request" {
			lines = append(lines, fields)
		}
	}
	return lines
}

// nextLine waits for the line after those that were there, and takes out what differs
// from run to run.
func (n *node) nextLine(before int) map[string]any {
	n.t.Helper()
	var lines []map[string]any
	eventually(n.t, "the access log has one more line", func() bool {
		lines = n.accessLines()
		return len(lines) > before
	})
	if len(lines) != before+1 {
		n.t.Errorf("%d lines for one request", len(lines)-before)
	}
	line := lines[before]
	for _, name := range []string{"time", "level", "msg", "request_id"} {
		if line[name] == nil {
			n.t.Errorf("the line has no %s: %v", name, line)
		}
		delete(line, name)
	}
	if line["ms"].(float64) < 0 || line["upstream_ms"] != nil && line["upstream_ms"].(float64) > line["ms"].(float64) {
		n.t.Errorf("times: %v", line)
	}
	if cache, _ := line["cache"].(string); cache != "" {
		line["cache"], _, _ = strings.Cut(cache, "; ttl=")
	}
	delete(line, "ms")
	delete(line, "upstream_ms")
	return line
}

// TestAccessLog: a line tells of an answer what an operator asks, when it has ended,
// and nothing personal.
func TestAccessLog(t *testing.T) {
	e := always(text("h1", "Personal"))
	e.concerned = func(p *decision.Page) bool { return p.Path == "/page" }
	e.segment = func(*decision.Facts) *decision.Segmentation { return &decision.Segmentation{Primary: "vip"} }
	e.assign = func(dst []decision.Assignment, _, _ string) []decision.Assignment {
		return append(dst, decision.Assignment{Experiment: "hero", Arm: "a"}, decision.Assignment{Experiment: "price", Arm: "b"})
	}
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "public, max-age=60")
		_, _ = io.WriteString(w, "<!doctype html><h1>Title</h1>"+strings.Repeat("x", 100))
	})
	n := start(t, o, setup{engines: e, now: stopped(), routes: []Route{
		{Name: "assets", Paths: []string{"/assets/**"}, Upstream: "origin", Personalize: new(bool)}, {Name: "all", Upstream: "origin"},
	}})
	_, cookie := n.visitor()
	f := func(request string, want map[string]any) {
		t.Helper()
		before := len(n.accessLines())
		answer := n.raw(request + "\r\nHost: Shop.example:8080\r\nCookie: " + cookie + "\r\nAccept: text/html\r\nUser-Agent: Firefox/130.0\r\nConnection: close\r\n\r\n")
		want["host"], want["bytes"] = "shop.example", float64(len(answer))
		if diff := cmp.Diff(want, n.nextLine(before)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", request, diff)
		}
	}
	page := map[string]any{
		"method": "GET", "path": "/page", "protocol": "1.1", "status": 200.0, "upstream": "origin", "route": "all",
		"segment": "vip", "experiments": "hero=a,price=b", "personalized": true, "cache": "fwd=uri-miss; stored",
	}
	f("GET /page?email=a@b.example HTTP/1.1", page)
	page["cache"] = "hit"
	f("GET /page?email=a@b.example HTTP/1.1", page)
	f("GET /other HTTP/1.1", map[string]any{"method": "GET", "path": "/other", "protocol": "1.1", "status": 200.0, "upstream": "origin", "route": "all", "segment": "vip", "cache": "fwd=uri-miss; stored"})
	f("HEAD /assets/a HTTP/1.0", map[string]any{"cache": "fwd=uri-miss", "method": "HEAD", "path": "/assets/a", "protocol": "1.0", "status": 200.0, "upstream": "origin", "route": "assets"})
	f("BREW /assets/a%0A%22{} HTTP/1.1", map[string]any{"cache": "fwd=method", "method": "_OTHER", "path": "/assets/a\n\"{}", "protocol": "1.1", "status": 200.0, "upstream": "origin", "route": "assets"})
	f("GET /_sedge/v1/nothing HTTP/1.1", map[string]any{"method": "GET", "path": "/_sedge/v1/nothing", "protocol": "1.1", "status": 404.0})
	if log := n.log.String(); strings.Contains(log, "email") || strings.Contains(log, cookie[10:]) || strings.Contains(log, "127.0.0.1") {
		t.Errorf("the log holds something personal: %s", log)
	}
}

// TestAccessLogOfBrokenAnswers: the line comes when the answer has ended, and says who
// broke it off.
func TestAccessLogOfBrokenAnswers(t *testing.T) {
	release := make(chan struct{})
	o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		head, err := readRequest(r)
		if err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		<-release
		switch {
		case strings.Contains(head, "/broken"):
			return
		case strings.Contains(head, "/endless"):
			for {
				if _, err := io.WriteString(c, "8000\r\n"+strings.Repeat("x", 0x8000)+"\r\n"); err != nil {
					return
				}
			}
		}
		fmt.Fprintf(c, "0\r\n\r\n")
	})
	n := start(t, o, setup{})
	f := func(path string, read int, want any) {
		t.Helper()
		before := len(n.accessLines())
		c, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
		r := bufio.NewReader(c)
		for line := ""; line != "hello\r\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if lines := n.accessLines(); len(lines) != before {
			t.Errorf("%s: there is a line before the answer has ended: %v", path, lines[before:])
		}
		release <- struct{}{}
		_, _ = io.CopyN(io.Discard, r, int64(read))
		c.Close()
		if line := n.nextLine(before); line["aborted"] != want || line["status"] != 200.0 || line["bytes"].(float64) < 50 {
			t.Errorf("%s: got %v, want aborted %v", path, line, want)
		}
	}
	f("/whole", 5, nil)
	f("/broken", 0, abortedUpstream)
	f("/endless", 100_000, abortedClient)
}

// TestAccessLogOfTunnel: an upgraded connection has its line at its end.
func TestAccessLogOfTunnel(t *testing.T) {
	o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		if _, err := readRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, r)
	})
	n := start(t, o, setup{})
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nping")
	r := bufio.NewReader(c)
	if _, err := readRequest(r); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if lines := n.accessLines(); len(lines) > 0 {
		t.Errorf("there is a line while the tunnel is open: %v", lines)
	}
	c.Close()
	if line := n.nextLine(0); line["status"] != 101.0 {
		t.Errorf("got %v", line)
	}
}

// TestTimes: each request is counted once, under its route and class of status.
func TestTimes(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/assets/absent" {
			w.WriteHeader(404)
		}
	})
	n := start(t, o, setup{routes: []Route{{Name: "assets", Paths: []string{"/assets/**"}, Upstream: "origin"}, {Name: "all", Hosts: []string{"a"}, Upstream: "origin"}}})
	for _, path := range []string{"/assets/a", "/assets/absent", "/assets/b", "/nothing", "/_sedge/v1/me"} {
		n.get(path)
	}
	n.get("/", "Host", "a")
	got := map[string]uint64{}
	n.server.EachRoute(func(name string, s *RouteStats) {
		for class := range s.Requests {
			if count, _, upTo := s.Requests[class].Snapshot(); count > 0 {
				got[fmt.Sprintf("%s %d", name, class)] = count
				if upTo[10] != count {
					t.Errorf("%s: %v of %d within 10 s", name, upTo, count)
				}
			}
		}
		if count, _, _ := s.Upstream.Snapshot(); count > 0 {
			got[name+" upstream"] = count
		}
	})
	want := map[string]uint64{"assets 2": 2, "assets 4": 1, "assets upstream": 3, "all 2": 1, "all upstream": 1, "(none) 2": 1, "(none) 4": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range 2 * maxRoutes {
		n.server.routeStats(fmt.Sprint("route ", i))
	}
	if known := len(n.server.routes); known > maxRoutes+1 {
		t.Errorf("%d routes are kept apart", known)
	}
}

// TestDurations: the classes are those of the bounds, an upper end belongs to its own.
func TestDurations(t *testing.T) {
	var d Durations
	for _, took := range []time.Duration{0, 500 * time.Microsecond, 501 * time.Microsecond, 10 * time.Second, time.Hour} {
		d.observe(took)
	}
	count, sum, upTo := d.Snapshot()
	if count != 5 || sum != 3610.001001 || upTo[0.0005] != 2 || upTo[0.001] != 3 || upTo[5] != 3 || upTo[10] != 4 {
		t.Errorf("got %d, %v, %v", count, sum, upTo)
	}
}
