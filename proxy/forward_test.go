package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// seen is an origin that keeps the heads it gets, in full.
func seen(t testing.TB) (string, chan string) {
	heads := make(chan string, 100)
	return rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		for {
			head, err := readRequest(r)
			if err != nil {
				return
			}
			heads <- head
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}), heads
}

// Names keep their spelling, lines their order and number, the target its bytes.
func TestHeadPassesAsItCame(t *testing.T) {
	o, heads := seen(t)
	n := start(t, o, setup{})
	lines := "accept: a\r\nX-ONE: 1\r\nx-One: 2\r\nX-Empty: \r\nCookie: a=1\r\ncOOKIE: b=2\r\nX-Odd: \xe9;\"q\",, \r\n"
	for _, target := range []string{
		"/", "/?", "/a//b/../c%2Fd?x=|{}", "/%2e%2e/%zz", "//a/b?c=http://d/e", "/a?b#c", "/a/./b/..", "/a;b=c?d;e", "/%00", "/a%20b+c", "/\"<>^`", "/?//x", "/:80", "/a:b@c",
	} {
		answer := n.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n")
		if strings.Contains(target, "#") {
			if !strings.HasPrefix(answer, "HTTP/1.1 400") {
				t.Errorf("%s: %q", target, answer)
			}
			continue
		}
		if !strings.HasPrefix(answer, "HTTP/1.1 200") {
			t.Errorf("%s: %q", target, answer)
			continue
		}
		head := <-heads
		if !strings.HasPrefix(head, "GET "+target+" HTTP/1.1\r\nHost: "+o+"\r\n") || !strings.Contains(head, strings.ReplaceAll(lines, ",, \r\n", ",,\r\n")) {
			t.Errorf("%s: the origin got %q", target, head)
		}
	}
}

// What stands behind "//" is a path, though it looks like a host.
func TestDoubleSlashIsNoHost(t *testing.T) {
	o, heads := seen(t)
	s := setup{}
	s.up.Host = upstream.HostClient
	s.routes = []Route{{Upstream: "origin", Hosts: []string{"shop.example"}}}
	n := start(t, o, s)
	for _, wire := range []string{
		"GET //evil.example/a?b=http://c HTTP/1.1\r\nHost: shop.example\r\n\r\n",
		"GET //evil.example/a HTTP/1.1\r\nHost: shop.example\r\n\r\n",
		"GET //evil.example/a HTTP/1.0\r\nHost: shop.example\r\n\r\n",
		"GET http://shop.example//evil.example/a HTTP/1.1\r\nHost: shop.example\r\n\r\n",
	} {
		if answer := n.raw(wire); !strings.HasPrefix(answer, "HTTP/1.1 200") {
			t.Errorf("%q: %q", wire, answer)
			continue
		}
		if head := <-heads; !strings.HasPrefix(head, "GET //evil.example/a") || !strings.Contains(head, "\r\nHost: shop.example\r\n") {
			t.Errorf("%q: the origin got %q", wire, head)
		}
	}
	for _, wire := range []string{"GET //shop.example/ HTTP/1.0\r\n\r\n", "GET //shop.example/a?b=http://c HTTP/1.1\r\nHost: other\r\n\r\n"} {
		if answer := n.raw(wire); !strings.HasPrefix(answer, "HTTP/1.1 404") {
			t.Errorf("%q: %q", wire, answer)
		}
	}
}

// No spelling of a path passes a rule on paths, or reaches the origin in the place
// of Sedge's own.
func TestPathRulesAreNotPassed(t *testing.T) {
	o, heads := seen(t)
	n := start(t, o, setup{routes: []Route{{Upstream: "origin", Paths: []string{"/public/**", "/caf\u00e9/**"}}}})
	for target, status := range map[string]string{
		"/public/a": "200", "/public/a%20b": "200", "/public/a%2Fb": "200", "/public//a": "200", "/public/a;v=1": "200", "/public/b/../a": "200", "/caf%C3%A9/x": "200", "/%70ublic/a": "200", "/public/a?x=/../": "200",
		"/admin": "404", "/public/../admin": "404", "/public/%2e%2e/admin": "404", "/public/..%2fadmin": "404", "/public/.%2E%2Fadmin": "404", "//admin": "404", "/./admin": "404",
		"/public/..;/admin": "400", "/public/..;a=b/admin": "400", "/public/..%5cadmin": "400", "/public/..\\admin": "400", "/public/%252e%252e/admin": "400", "/public/%252e%252e%252fadmin": "400",
		"/admin/../public/a": "400", "/admin/..%2fpublic/a": "400", "//public/a": "400", "/x/%2e%2e/public/a": "400", "/public%2fa": "400",
		"/_sedge%2Fv1/none": "404", "//_sedge/v1/none": "404", "/x/../_sedge/v1/none": "404", "/%5Fsedge/v1/none": "404", "/_sedge/../public/a": "400", "/public/..;/_sedge/v1/me": "400",
	} {
		answer := n.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 "+status) {
			t.Errorf("%s: %.100q, want %s", target, answer, status)
		}
		if got := len(heads); (got > 0) != (status == "200") {
			t.Errorf("%s: the origin got %d requests", target, got)
		}
		for len(heads) > 0 {
			<-heads
		}
	}
}

// What a client says of itself counts only if its peer is trusted, and the peer's
// own address is what is added.
func TestForwardingHeaders(t *testing.T) {
	o, heads := seen(t)
	said := "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 9.9.9.9, 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nForwarded: for=9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\nX-Forwarded-Port: 1\r\nX-Original-URL: /admin\r\nX_Forwarded_For: 1.1.1.1\r\n"
	for name, c := range map[string]struct {
		trusted []string
		said    string
		want    []string
		not     []string
	}{
		"a stranger": {nil, said, []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: x", "Host: x"},
			[]string{"9.9.9.9", "6.6.6.6", "1.1.1.1", "Forwarded: for", "X-Real-IP", "Port", "X-Original-URL", "https"}},
		"one trusted elsewhere": {[]string{"10.0.0.0/8"}, said, []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"}, []string{"9.9.9.9"}},
		"a proxy": {[]string{"127.0.0.1"}, said, []string{"X-Forwarded-For: 6.6.6.6, 9.9.9.9, 8.8.8.8, 127.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "Host: shop.example",
			"Forwarded: for=9.9.9.9", "Forwarded: for=127.0.0.1;proto=https;host=\"shop.example\""}, []string{"1.1.1.1"}},
		"a proxy that says nothing": {[]string{"127.0.0.1"}, "", []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: x"}, []string{"Forwarded: for="}},
	} {
		s := setup{}
		s.up.Host = upstream.HostClient
		s.config.TrustedProxies = c.trusted
		start(t, o, s).raw("GET / HTTP/1.1\r\nHost: x\r\n" + c.said + "\r\n")
		head := <-heads
		for _, line := range c.want {
			if strings.Count(head, "\r\n"+line+"\r\n") != 1 {
				t.Errorf("%s: no single %q in %q", name, line, head)
			}
		}
		for _, part := range c.not {
			if strings.Contains(head, part) {
				t.Errorf("%s: %q in %q", name, part, head)
			}
		}
	}
}

// An upstream that leads back to Sedge ends in an answer.
func TestLoopEnds(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close() // Sedge takes this very address
	n := start(t, address, setup{config: Config{Listen: address}, listen: address})
	if r := n.get("/"); r.StatusCode != http.StatusLoopDetected {
		t.Errorf("status %d", r.StatusCode)
	}
	if served := n.server.Stats().Requests[5].Load(); served != maxHops+2 {
		t.Errorf("%d answers, want %d", served, maxHops+2)
	}
	o, _ := seen(t)
	n = start(t, o, setup{})
	if r := n.get("/", "Via", "1.1 cdn, 1.1 sedge, HTTP/2 sedge"); r.StatusCode != 200 {
		t.Errorf("nodes behind one another: %d", r.StatusCode)
	}
}

// The origin says whether it wants the body before the client has sent a byte of it.
func TestExpectation(t *testing.T) {
	t.Parallel() // it waits
	const ask = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	for name, refusal := range map[string]string{
		"401": "HTTP/1.1 401 Who\r\nContent-Length: 2\r\n\r\nno", "413": "HTTP/1.1 413 Much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", "417": "HTTP/1.1 417 Un\r\nContent-Length: 2\r\n\r\nno",
	} {
		t.Run("refused with "+name, func(t *testing.T) {
			extra := make(chan string, 1)
			n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
				head, err := readRequest(r)
				if err != nil || !strings.Contains(head, "\r\nExpect: 100-continue\r\n") {
					t.Errorf("the origin got %q, %v", head, err)
				}
				_, _ = io.WriteString(c, refusal)
				rest, _ := io.ReadAll(r)
				extra <- string(rest)
			}), setup{})
			c := dialNode(t, n)
			_, _ = io.WriteString(c, ask)
			answer := readAll(c)
			if !strings.HasPrefix(answer, "HTTP/1.1 "+name) || !strings.HasSuffix(answer, "no") || !strings.Contains(answer, "Connection: close") {
				t.Errorf("answer %q", answer)
			}
			if got := <-extra; got != "" {
				t.Errorf("the origin got %q behind the head", got)
			}
		})
	}
	for name, interim := range map[string]string{"accepted": "HTTP/1.1 100 Continue\r\n\r\n", "by an origin that says nothing": ""} {
		t.Run(name, func(t *testing.T) {
			n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
				for {
					if _, err := readRequest(r); err != nil {
						return
					}
					_, _ = io.WriteString(c, interim)
					body := make([]byte, 5)
					_, _ = io.ReadFull(r, body)
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", body)
				}
			}), setup{})
			c := dialNode(t, n)
			r := bufio.NewReader(c)
			for range 2 { // over one connection
				_, _ = io.WriteString(c, ask)
				if head, err := readRequest(r); err != nil || head != "HTTP/1.1 100 Continue\r\n\r\n" {
					t.Fatalf("%q, %v", head, err)
				}
				_, _ = io.WriteString(c, "hello")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if body, _ := io.ReadAll(resp.Body); string(body) != "hello" || resp.StatusCode != 200 {
					t.Errorf("%d %q", resp.StatusCode, body)
				}
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		n := start(t, pages(t, "text/plain", "ok"), setup{config: Config{MaxBody: 4}})
		c := dialNode(t, n)
		_, _ = io.WriteString(c, ask)
		if answer := readAll(c); !strings.HasPrefix(answer, "HTTP/1.1 413") {
			t.Errorf("answer %q", answer)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		n := start(t, pages(t, "text/plain", "ok"), setup{})
		if answer := n.raw("GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 417") {
			t.Errorf("answer %q", answer)
		}
	})
}

// Trailers pass in both directions, save those that belong into a head.
func TestTrailersPassBothWays(t *testing.T) {
	overEach(t, func(t *testing.T, over protocol) {
		var got http.Header
		n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-After")
			body, _ := io.ReadAll(r.Body)
			got = r.Trailer
			_, _ = w.Write(body)
			w.Header().Set("X-After", "b")
		}), setup{over: over})
		req, _ := http.NewRequest("POST", n.base+"/", io.MultiReader(strings.NewReader("hello")))
		req.Trailer = http.Header{"X-Sum": {"a"}, "X-More": {"c"}}
		resp, err := n.clientAt(t, n.address()).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "hello" || resp.Trailer.Get("X-After") != "b" {
			t.Errorf("%q %v, trailers %v", body, err, resp.Trailer)
		}
		if got.Get("X-Sum") != "a" || got.Get("X-More") != "c" {
			t.Errorf("the origin got trailers %v", got)
		}
	})
	n, record := mangledNode(t, plainHTTP1)
	n.raw("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\nHost: y\r\nX_B: 2\r\nCookie: c\r\nSedge-D: 1\r\nTransfer-Encoding: chunked\r\nx-e: \xe9\r\n\r\n")
	if _, _, complete := record.take(); len(complete) != 1 || complete[0].trailers != "X-A: 1\r\nx-e: \xe9\r\n" {
		t.Errorf("the origin got %q", complete)
	}
}

// An answer that comes before the upload has ended reaches the client, and the
// connection is used again if the upload was small.
func TestAnswerBeforeTheUploadEnds(t *testing.T) {
	overEach(t, func(t *testing.T, over protocol) {
		for _, status := range []int{401, 413, 500, 200} {
			n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
				if _, err := readRequest(r); err == nil {
					fmt.Fprintf(c, "HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", status)
					_, _ = io.Copy(io.Discard, r)
				}
			}), setup{over: over})
			for _, size := range []int64{1 << 10, 64 << 10, 4 << 20} {
				req, _ := http.NewRequest("POST", n.base+"/", io.LimitReader(zeros{}, size))
				if size < 1<<20 {
					req.ContentLength = size
				}
				resp, err := n.clientAt(t, n.address()).RoundTrip(req)
				if err != nil {
					t.Fatalf("%d, %d bytes: %v", status, size, err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != status || string(body) != "no" {
					t.Errorf("%d, %d bytes: %d %q %v", status, size, resp.StatusCode, body, err)
				}
			}
		}
	})
}

func TestConnectionIsUsedAgain(t *testing.T) {
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/unread":
			w.WriteHeader(http.StatusForbidden)
		case "/chunked":
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, strings.Repeat("x", 5000))
			_ = http.NewResponseController(w).Flush()
		}
	}), setup{})
	reused := 0
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if info.Reused {
			reused++
		}
	}}
	requests := []struct{ method, path, body string }{
		{"GET", "/", ""}, {"HEAD", "/chunked", ""}, {"POST", "/chunked", "hello"}, {"POST", "/unread", "hello"}, {"POST", "/_sedge/v1/none", "hello"}, {"OPTIONS", "/", ""}, {"GET", "/chunked", ""},
	}
	for _, each := range requests {
		req, _ := http.NewRequest(each.method, "http://"+n.addr+each.path, nil)
		if each.body != "" {
			req.Body = io.NopCloser(strings.NewReader(each.body))
			req.ContentLength = int64(len(each.body))
		}
		resp, err := n.client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
		if err != nil {
			t.Fatalf("%s %s: %v", each.method, each.path, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if reused != len(requests)-1 {
		t.Errorf("used again %d times, want %d", reused, len(requests)-1)
	}
}

// HEAD, ranges and preconditions of what is not personalized are the origin's affair.
func TestRangesAndPreconditionsPass(t *testing.T) {
	overEach(t, func(t *testing.T, over protocol) {
		content := strings.Repeat("0123456789", 1000)
		changed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Cache-Control", "private") // else they are the cache's
			w.Header().Set("Content-Type", "application/octet-stream")
			http.ServeContent(w, r, "", changed, strings.NewReader(content))
		}), setup{over: over})
		for _, c := range []struct {
			method string
			header []string
			status int
			body   string
			wants  []string
		}{
			{"GET", nil, 200, content, []string{"Accept-Ranges", "bytes", "ETag", `"e"`, "Content-Length", "10000"}},
			{"HEAD", nil, 200, "", []string{"Content-Length", "10000", "ETag", `"e"`}},
			{"GET", []string{"Range", "bytes=5-7"}, 206, "567", []string{"Content-Range", "bytes 5-7/10000"}},
			{"HEAD", []string{"Range", "bytes=5-7"}, 206, "", []string{"Content-Range", "bytes 5-7/10000", "Content-Length", "3"}},
			{"GET", []string{"Range", "bytes=-3"}, 206, "789", []string{"Content-Range", "bytes 9997-9999/10000"}},
			{"GET", []string{"Range", "bytes=20000-"}, 416, "", []string{"Content-Range", "bytes */10000"}},
			{"GET", []string{"Range", "bytes=5-7", "If-Range", `"e"`}, 206, "567", nil},
			{"GET", []string{"Range", "bytes=5-7", "If-Range", `"f"`}, 200, content, nil},
			{"GET", []string{"If-None-Match", `"e"`}, 304, "", []string{"ETag", `"e"`}},
			{"HEAD", []string{"If-None-Match", `"e"`}, 304, "", nil},
			{"GET", []string{"If-Match", `"f"`}, 412, "", nil},
			{"GET", []string{"If-Modified-Since", changed.Format(http.TimeFormat)}, 304, "", nil},
		} {
			name := fmt.Sprint(c.method, " ", c.header)
			req, _ := http.NewRequest(c.method, n.base+"/file", nil)
			for i := 0; i+1 < len(c.header); i += 2 {
				req.Header.Set(c.header[i], c.header[i+1])
			}
			resp, err := n.clientAt(t, n.address()).RoundTrip(req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.status || err != nil || c.status < 400 && string(body) != c.body {
				t.Errorf("%s: %d %.50q %v", name, resp.StatusCode, body, err)
			}
			for i := 0; i+1 < len(c.wants); i += 2 {
				if got := resp.Header.Get(c.wants[i]); got != c.wants[i+1] {
					t.Errorf("%s: %s is %q, want %q", name, c.wants[i], got, c.wants[i+1])
				}
			}
		}
		req, _ := http.NewRequest("GET", n.base+"/file", nil)
		req.Header.Set("Range", "bytes=0-1,5-6")
		resp, err := n.clientAt(t, n.address()).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 206 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges; boundary=") || err != nil || !bytes.Contains(body, []byte("bytes 5-6/10000\r\n")) {
			t.Errorf("two ranges: %d %q %v", resp.StatusCode, body, err)
		}
	})
}

// Several Set-Cookie and Link lines stay several, and what belongs to the hop goes.
func TestAnswerHeadPasses(t *testing.T) {
	n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 Very Well\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nAge: 7\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nLink: </a>\r\nLink: </b>\r\nX-Odd: \xe9\r\n"+
				"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nContent-Length: 2\r\n\r\nok")
		}
	}), setup{})
	answer := n.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	for _, line := range []string{"Date: Thu, 01 Jan 2026 00:00:00 GMT", "Age: 7", "Set-Cookie: a=1", "Set-Cookie: b=2", "Link: </a>", "Link: </b>", "X-Odd: \xe9"} {
		if strings.Count(answer, "\r\n"+line+"\r\n") != 1 {
			t.Errorf("no single %q in %q", line, answer)
		}
	}
	for _, part := range []string{"X-Hop", "Keep-Alive", "Proxy-Auth", "Connection:"} {
		if strings.Contains(answer, part) {
			t.Errorf("%q in %q", part, answer)
		}
	}
}

// What concerns one connection alone ends at Sedge.
func TestHopByHopHeadersEnd(t *testing.T) {
	o, heads := seen(t)
	n := start(t, o, setup{})
	n.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Hop, keep-alive, Via\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nTE: gzip, trailers\r\nTrailer: X-A\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX_Under: 1\r\nSedge-Segment: vip\r\nsedge-x: 1\r\nAccept: a\r\n\r\n")
	head := <-heads
	for _, part := range []string{"Hop", "eep-", "Proxy", "gzip", "Trailer", "Upgrade", "Settings", "Under", "Sedge-", "sedge-x"} {
		if strings.Contains(head, part) {
			t.Errorf("%q in %q", part, head)
		}
	}
	for _, line := range []string{"Accept: a", "TE: trailers", "Via: 1.1 sedge"} {
		if strings.Count(head, "\r\n"+line+"\r\n") != 1 {
			t.Errorf("no single %q in %q", line, head)
		}
	}
}

// Neither side gets headers that the other did not send.
func TestNothingIsInvented(t *testing.T) {
	heads := make(chan string, 1)
	n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		head, err := readRequest(r)
		if err != nil {
			return
		}
		heads <- head
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}), setup{})
	answer := n.raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
	if head := <-heads; strings.Contains(head, "User-Agent") || strings.Contains(head, "Content-Type") || strings.Contains(head, "Accept") {
		t.Errorf("the origin got %q", head)
	}
	if strings.Contains(answer, "Server:") || strings.Contains(answer, "Content-Type") || strings.Count(answer, "\r\nDate: ") != 1 {
		t.Errorf("the client got %q", answer)
	}
}

// Heads of many kilobytes pass on both sides; fasthttp's own limit is 4096 bytes.
func TestLargeHeadsPass(t *testing.T) {
	large := strings.Repeat("x", 20<<10)
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", r.Header.Get("X-Large")+r.URL.RawQuery)
	}), setup{})
	for _, path := range []string{"/", "/?" + strings.Repeat("y", 10<<10)} {
		if r := n.get(path, "X-Large", large); r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), large) {
			t.Errorf("status %d, %d bytes", r.StatusCode, len(r.Header.Get("Content-Security-Policy")))
		}
	}
}

// A slow upload lives as long as something comes of it.
func TestSlowUploadIsNotCut(t *testing.T) {
	t.Parallel() // it waits
	const limit = 400 * time.Millisecond
	overEach(t, func(t *testing.T, over protocol) {
		s := setup{over: over, config: Config{HeaderTimeout: limit, IdleTimeout: limit}}
		s.up.IdleTimeout, s.up.HeaderTimeout = limit, limit
		n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			fmt.Fprint(w, string(got), err)
		}), s)
		reader, writer := io.Pipe()
		go func() {
			for range 12 {
				<-time.After(limit / 8) // the pace of the client: longer than the limit as a whole
				if _, err := io.WriteString(writer, "a"); err != nil {
					return
				}
			}
			writer.Close()
		}()
		req, _ := http.NewRequest("POST", n.base+"/", reader)
		resp, err := n.clientAt(t, n.address()).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); string(body) != "aaaaaaaaaaaa<nil>" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// A host names a site and never an address to connect to.
func TestHostIsNoAddress(t *testing.T) {
	o, heads := seen(t)
	s := setup{}
	s.up.Host = upstream.HostClient
	n := start(t, o, s)
	for _, head := range []string{"GET / HTTP/1.1\r\nHost: 127.0.0.1:1", "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1", "GET http://127.0.0.1:1/ HTTP/1.0"} {
		answer := n.raw(head + "\r\n\r\n")
		if got := <-heads; !strings.HasPrefix(answer, "HTTP/1.1 200") || !strings.HasPrefix(got, "GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n") {
			t.Errorf("%q: %q, the origin got %q", head, answer, got)
		}
	}
}

// A body that comes with a request for a page in memory is not the next request.
func TestBodyBesideACachedPage(t *testing.T) {
	targets := make(chan string, 10)
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		targets <- r.Method + r.URL.Path + string(body)
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, shopPage)
	}), setup{engines: always(text("#hero", "Hi"))})
	get := "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0\r\n"
	for _, body := range []string{"", "Content-Length: 4\r\n\r\nGET ", "Transfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n"} {
		if body == "" {
			body = "\r\n"
		}
		if answers := n.raw(get + body + get + "Connection: close\r\n\r\n"); strings.Count(answers, "HTTP/1.1 200") != 2 {
			t.Errorf("%q: %q", body, answers)
		}
	}
	close(targets)
	for target := range targets {
		if target != "GET/" && target != "GET/GET " {
			t.Errorf("the origin got %q", target)
		}
	}
	if n.server.Stats().CacheHits.Load() != 3 {
		t.Errorf("%d hits", n.server.Stats().CacheHits.Load())
	}
}

// The name of a file makes no page storable.
func TestCacheDeception(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage), setup{engines: always(text("#hero", "Hi"))})
	for _, path := range []string{"/account/x.css", "/account/x.js", "/account;x.css", "/account%2Fx.css", "/account/%00.css"} {
		if r := n.get(path); r.StatusCode != 200 || n.server.CacheUsage().Objects != 0 || r.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s: %d, %d kept, %q", path, r.StatusCode, n.server.CacheUsage().Objects, r.Header.Get("Cache-Control"))
		}
	}
}

// A client that leaves while nothing comes takes its request along.
func TestAbandonedRequestIsGivenUp(t *testing.T) {
	t.Parallel() // it waits
	for _, over := range []protocol{plainHTTP1, overTLS, overHTTP2} {
		arrived, left := make(chan struct{}), make(chan struct{})
		n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
			if _, err := readRequest(r); err != nil {
				return
			}
			close(arrived)
			_, _ = r.ReadByte()
			close(left)
		}), setup{over: over})
		ctx, leave := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", n.base+"/", nil)
		go func() {
			<-arrived
			leave()
		}()
		if resp, err := n.client.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("%s: answered with %s", over, resp.Status)
		}
		select {
		case <-left:
		case <-time.After(10 * time.Second): // header_timeout is 30 s
			t.Errorf("%s: the origin still works for nobody", over)
		}
		eventually(t, "nothing is in flight", func() bool { return n.server.Stats().InFlight.Load() == 0 })
	}
}

// A client that has sent the next request already has not left, even if it will say
// no more.
func TestPatientClientIsServed(t *testing.T) {
	for _, over := range []protocol{plainHTTP1, overTLS} {
		for _, half := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, half-closed %v", cmp.Or(over, "h1"), half), func(t *testing.T) {
				t.Parallel() // it waits
				arrived := make(chan struct{}, 2)
				n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
					for {
						if _, err := readRequest(r); err != nil {
							return
						}
						arrived <- struct{}{}
						<-time.After(1200 * time.Millisecond) // longer than nobody is looked for
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
				}), setup{over: over})
				c, want := n.dial(), 2
				_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
				<-arrived
				_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n") // the shortest there is
				if half {
					want = 1 // nothing is unread then, so that it counts as having left
					socket := c
					if secured, ok := c.(*tls.Conn); ok {
						socket = secured.NetConn()
					}
					_ = socket.(*net.TCPConn).CloseWrite()
				}
				if answers := readAll(c); !strings.HasPrefix(answers, "HTTP/1.1 200 OK") || strings.Count(answers, "HTTP/1.1 200 OK") != want {
					t.Errorf("%q", answers)
				}
			})
		}
	}
}

// Streams may be silent for longer than a body may.
func TestSilentStreamsAreNotCut(t *testing.T) {
	t.Parallel() // it waits
	const idle = 100 * time.Millisecond
	s := setup{config: Config{IdleTimeout: idle}}
	s.up.IdleTimeout = idle
	n := start(t, rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
		head, err := readRequest(r)
		if err != nil {
			return
		}
		if strings.Contains(head, "Upgrade: websocket") {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		} else {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n")
		}
		<-time.After(4 * idle) // nothing happens for a while
		_, _ = io.WriteString(c, "data: late\n\n")
	}), s)
	for name, wire := range map[string]string{"events": "Connection: close\r\n", "socket": "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
		c := dialNode(t, n)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n"+wire+"\r\n")
		if answer := readAll(c); !strings.Contains(answer, "data: late\n\n") {
			t.Errorf("%s: %q", name, answer)
		}
	}
	eventually(t, "the streams are counted off", func() bool { return n.server.Stats().Streams.Load() == 0 })
}

// An error names the request, in JSON to those who speak it, and to HEAD in no body.
func TestErrorPages(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody listens there
	n := start(t, ln.Addr().String(), setup{})
	answer := n.raw("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
	if head, body, _ := strings.Cut(answer, "\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 502") || body != "" || !strings.Contains(head, "X-Request-Id: ") {
		t.Errorf("HEAD: %q", answer)
	}
	for _, accept := range []string{"application/json", "application/problem+json, */*"} {
		r := n.get("/", "Accept", accept)
		id := r.Header.Get("X-Request-Id")
		if r.StatusCode != 502 || r.Header.Get("Content-Type") != "application/json" || id == "" || !strings.Contains(r.body, `"request_id":"`+id+`"`) {
			t.Errorf("%s: %d %q", accept, r.StatusCode, r.body)
		}
	}
	answer = n.raw("GET /\x01 HTTP/1.1\r\nHost: x\r\nX\r\n\r\n")
	head, body, _ := strings.Cut(answer, "\r\n\r\n")
	_, id, _ := strings.Cut(head, "X-Request-Id: ")
	id, _, _ = strings.Cut(id, "\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 400") || id == "" || !strings.Contains(body, id) {
		t.Errorf("no HTTP: %q", answer)
	}
}

// An origin that compresses nothing for proxies is told of none, but what the client
// said of others passes.
func TestViaCanBeLeftOut(t *testing.T) {
	no := false
	record := &recorder{}
	n := start(t, rawOrigin(t, record.serve), setup{up: upstream.Config{Via: &no}})
	n.get("/")
	n.get("/", "Via", "1.1 cdn")
	requests, _, _ := record.take()
	if len(requests) != 2 || strings.Contains(requests[0], "Via") || !strings.Contains(requests[1], "Via: 1.1 cdn\r\n") {
		t.Errorf("%q", requests)
	}
}
