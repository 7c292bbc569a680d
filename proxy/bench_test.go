package proxy

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
)

// BenchmarkRequest measures one request over a kept connection, the client's and
// the origin's part included; both are raw and allocate nothing.
func BenchmarkRequest(b *testing.B) {
	page := benchPage()
	exposure := decision.Exposure{Assignment: decision.Assignment{Experiment: "hero", Arm: "a"}}
	plan := text("h1", "Hello")
	plan.Triggers = []decision.Trigger{{Exposure: exposure, Edits: []int{0}}}
	cases := []struct {
		name    string
		control string
		engines *engines
		routes  []Route
		logged  bool
		over    protocol
		packed  bool // by the origin, in gzip
		accept  string
		cache   cache.Config
	}{
		{name: "plain", control: "no-store", engines: always(plan), routes: []Route{{Upstream: "origin", Personalize: new(bool)}}},
		{name: "pass-through", control: "no-store", engines: &engines{}},
		{name: "cached variant", control: "s-maxage=600", engines: always(plan)},
		{name: "cached variant, Vary", control: "s-maxage=600\r\nVary: Accept-Encoding", engines: always(plan)},
		{name: "cached variant, access log", control: "s-maxage=600", engines: always(plan), logged: true},
		{name: "cached variant, TLS", control: "s-maxage=600", engines: always(plan), over: overTLS},
		{name: "cached variant, gzip", control: "s-maxage=600", engines: always(plan), accept: "gzip"},
		{name: "uncached rewrite", control: "no-store", engines: always(plan)},
		{name: "gzip origin, seen before", control: "no-store", engines: always(plan), packed: true},
		{name: "gzip origin, read", control: "no-store", engines: always(plan), packed: true, cache: cache.Config{Disabled: true}},
		{name: "gzip origin, seen before, gzip", control: "no-store", engines: always(plan), packed: true, accept: "gzip"},
		{name: "gzip origin, seen before, zstd", control: "no-store", engines: always(plan), packed: true, accept: "zstd"},
		{name: "gzip origin, seen before, br", control: "no-store", engines: always(plan), packed: true, accept: "br"},
		{name: "gzip origin, read, gzip", control: "no-store", engines: always(plan), packed: true, accept: "gzip", cache: cache.Config{Disabled: true}},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			body, control := page, c.control
			if c.packed {
				body, control = string(packBytes(page)), control+"\r\nContent-Encoding: gzip"
			}
			o := rawOrigin(b, func(r *bufio.Reader, conn net.Conn) { serveFixed(r, conn, body, control) })
			n := start(b, o, setup{over: c.over, engines: discarding(c.engines), routes: c.routes, config: Config{AccessLog: &c.logged}, cache: c.cache})
			n.server.wholeTime = time.Second
			n.server.access = slog.New(slog.NewJSONHandler(io.Discard, nil))
			_, cookie := n.visitor()
			conn := n.dial()
			_ = conn.SetDeadline(time.Time{})
			request := []byte("GET /page?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0\r\n" +
				"Accept: text/html,*/*;q=0.8\r\nAccept-Encoding: " + c.accept + "\r\nSec-Fetch-Dest: document\r\nCookie: a=b; " + cookie + "\r\n\r\n")
			r := bufio.NewReaderSize(conn, 64<<10)
			b.ReportAllocs()
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				if err := skipAnswer(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAccessLine measures one line of the access log.
// BenchmarkConsider measures what is looked for among the headers of a browser before the
// cache may be used.
func BenchmarkConsider(b *testing.B) {
	x := exchange{ctx: &fasthttp.RequestCtx{}}
	x.ctx.Request.SetRequestURI("/page?x=1")
	for _, name := range []string{
		"Host", "User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Connection", "Cookie", "Upgrade-Insecure-Requests",
		"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Cache-Control",
	} {
		x.fields = append(x.fields, field{[]byte(name), []byte("max-age=0")})
	}
	for b.Loop() {
		x.lookup.request = cache.Request{}
		for i := range x.fields {
			x.lookup.request.Add(x.fields[i].name, x.fields[i].value)
		}
		if x.actsAsAnother() || x.steers() {
			b.Fatal("a browser steers")
		}
	}
}

func BenchmarkAccessLine(b *testing.B) {
	s := &Server{accessLog: true, access: slog.New(slog.NewJSONHandler(io.Discard, nil)), now: stopped()}
	s.receipts.New = func() any { return new(receipt) }
	b.ReportAllocs()
	for b.Loop() {
		r := s.receipts.Get().(*receipt)
		*r = receipt{
			server: s, began: s.now(), upstreamTook: 1, id: "0123456789abcdef0123456789abcdef", method: "GET", protocol: "1.1", host: "shop.example",
			path: "/shop/shoes/1", route: "everything", upstream: "site", status: 200, sent: 55000, cache: "hit; ttl=60", segment: "loyal", experiments: "hero=a",
			personalized: true, attrs: r.attrs[:0],
		}
		r.end()
	}
}

// discarding makes the recorder forget.
func discarding(e *engines) *engines {
	e.forget = true
	return e
}

func benchPage() string {
	if body, err := os.ReadFile("../../shared/testdata/html/pages/ars-1.html"); err == nil {
		return string(body)
	}
	return "<html><body><h1>Title</h1>" + strings.Repeat(`<div class="row"><p>Some text with <a href="/x">a link</a>.</p></div>`, 800) + "</body></html>"
}

func serveFixed(r *bufio.Reader, c net.Conn, page, control string) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nCache-Control: " +
		control + "\r\nContent-Length: " + strconv.Itoa(len(page)) + "\r\n\r\n" + page)
	if strings.HasPrefix(control, "s-maxage=600") {
		answer = []byte(strings.Replace(string(answer), "Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n", "", 1))
	}
	for {
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// skipAnswer reads one answer and throws it away.
func skipAnswer(r *bufio.Reader) error {
	length, chunked := 0, false
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if len(line) > 16 && string(line[:16]) == "Content-Length: " {
			for _, d := range line[16 : len(line)-2] {
				length = length*10 + int(d-'0')
			}
		}
		chunked = chunked || string(line) == http.CanonicalHeaderKey("Transfer-Encoding")+": chunked\r\n"
	}
	if !chunked {
		_, err := r.Discard(length)
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		size := 0
		for _, d := range line[:len(line)-2] {
			size = size<<4 | strings.IndexByte("0123456789abcdef", d)
		}
		if _, err := r.Discard(size + 2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}
