package rig

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
)

// Page returns a page of about 60 KB with a heading in #hero, and with a number of
// products, in each of which is one element of class cta.
func Page(products int) []byte {
	var page bytes.Buffer
	page.WriteString("<!doctype html><title>Shop</title><main><div id=hero><h1>Welcome</h1></div>\n")
	const size = 60 << 10
	for i := range products {
		fmt.Fprintf(&page, "<article id=p%d><h2>Product %d</h2><a class=cta href=/p/%d>Buy</a>\n", i, i, i)
		for j := 0; page.Len() < size*(i+1)/products; j++ {
			fmt.Fprintf(&page, "<p>Line %d of some text on what this product is good for, and <em>for whom</em>.</p>\n", j)
		}
		page.WriteString("</article>\n")
	}
	page.WriteString("</main>")
	return page.Bytes()
}

// Origin answers every request with one page.
type Origin struct {
	listener net.Listener
}

// StartOrigin starts an origin in this process.
func StartOrigin(page []byte) (*Origin, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	answer := append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n", len(page)), page...)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn, answer)
		}
	}()
	return &Origin{listener}, nil
}

func serve(conn net.Conn, answer []byte) {
	defer conn.Close()
	br := bufio.NewReader(conn)
	for length := 0; ; {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return
		}
		if n, err := fmt.Sscanf(string(line), "Content-Length: %d", &length); n == 1 && err == nil {
			continue
		}
		if len(line) == 2 {
			if _, err := br.Discard(length); err != nil {
				return
			}
			length = 0
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
}

// Address is where the origin listens.
func (o *Origin) Address() string { return o.listener.Addr().String() }

// Stop takes no more connections.
func (o *Origin) Stop() { o.listener.Close() }
