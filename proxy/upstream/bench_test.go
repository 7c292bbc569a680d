package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// benchOrigin answers every request head with the same bytes, without allocating.
func benchOrigin(b *testing.B, answer string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		br, reply := bufio.NewReader(nc), []byte(answer)
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				nc.Write(reply)
			}
		}
	}()
	b.Cleanup(func() { listener.Close(); <-done })
	return "http://" + listener.Addr().String()
}

func BenchmarkExchange(b *testing.B) {
	page := strings.Repeat("<p>page</p>\n", 2000)
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\nContent-Length: 24000\r\n\r\n" + page,
		"chunked": "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5dc0\r\n" + page + "\r\n0\r\n\r\n",
		"empty":   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			u := newUpstream(b, benchOrigin(b, answer))
			b.Cleanup(u.Close)
			in := parsed(b, "GET /page HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: text/html\r\nCookie: a=1; sedge_vid=abc; b=2\r\nConnection: keep-alive\r\n\r\n")
			out, resp := &fasthttp.Request{}, &fasthttp.Response{}
			options := PrepareOptions{Host: "shop.example", Scheme: "http", Peer: "192.0.2.7", StripCookies: []string{"sedge_vid"}}
			buf := make([]byte, 32<<10)
			b.ReportAllocs()
			for b.Loop() {
				Prepare(out, in, options)
				if err := u.Do(out, resp, nil, Options{}); err != nil {
					b.Fatal(err)
				}
				if resp.IsBodyStream() {
					for {
						if _, err := resp.BodyStream().Read(buf); err == io.EOF {
							break
						} else if err != nil {
							b.Fatal(err)
						}
					}
				}
				resp.CloseBodyStream()
			}
		})
	}
}

// browserHead is what a browser asks a shop with.
const browserHead = "GET /products/17?color=red HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"138\", \"Not.A/Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\n" +
	"Sec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nReferer: https://shop.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n" +
	"Cookie: cart=8d7f1c; sedge_vid=v1.AZkq0yJt.dGVzdA; theme=dark\r\n\r\n"

func BenchmarkPrepare(b *testing.B) {
	in, out := parsed(b, browserHead), &fasthttp.Request{}
	options := PrepareOptions{
		Host: "shop.example", Scheme: "https", Peer: "192.0.2.7", StripCookies: []string{"sedge_vid"}, ForceAcceptEncoding: "zstd, br, gzip",
		StripHeaders: []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"}, AddHeaders: [][2]string{{"X-Request-Id", "01JH4ZQ9XW"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		Prepare(out, in, options)
	}
}

// echo is a connection in memory that answers each write with the same bytes.
type echo struct {
	script
	answer []byte
}

func (e *echo) Write(p []byte) (int, error) {
	e.rest = e.answer
	return len(p), nil
}

// BenchmarkDo is an exchange without the kernel's part.
func BenchmarkDo(b *testing.B) {
	answer := "HTTP/1.1 200 OK\r\nServer: nginx/1.28.0\r\nDate: Tue, 01 Dec 2026 10:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nConnection: keep-alive\r\n" +
		"Vary: Accept-Encoding\r\nCache-Control: max-age=60, stale-while-revalidate=30\r\nETag: \"68fcd3a1-5dc0\"\r\nLast-Modified: Mon, 30 Nov 2026 09:00:00 GMT\r\n" +
		"X-Content-Type-Options: nosniff\r\nStrict-Transport-Security: max-age=31536000\r\nContent-Length: 12\r\n\r\n<p>page</p>\n"
	u := newUpstream(b, "http://192.0.2.1")
	b.Cleanup(u.Close)
	u.members[0].pool.connect = func(context.Context, string, string) (net.Conn, error) {
		return &echo{script{step: 4 << 10}, []byte(answer)}, nil
	}
	in, out, resp := parsed(b, browserHead), &fasthttp.Request{}, &fasthttp.Response{}
	Prepare(out, in, PrepareOptions{Host: "shop.example", Scheme: "https", Peer: "192.0.2.7"})
	options := Options{Gone: func() bool { return false }}
	b.ReportAllocs()
	for b.Loop() {
		if err := u.Do(out, resp, nil, options); err != nil {
			b.Fatal(err)
		}
		body := resp.BodyStream().(*Body).Take()
		if len(body.Whole()) != 12 {
			b.Fatal("the body is not there")
		}
		_ = body.Close()
	}
}
