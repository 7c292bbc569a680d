package upstream

import (
	"bufio"
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
