package proxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// A body of empty gzip members or blocks gives nothing to show and nothing to
// measure a bomb by, and must not be collected or waited for without end.
func TestGzipWithoutContent(t *testing.T) {
	block := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + strings.Repeat("\x00\x00\x00\xff\xff", 64<<10)
	member := string(packBytes(""))
	for name, piece := range map[string][2]string{
		"members":              {member, strings.Repeat(member, 10<<10)},
		"blocks":               {block, strings.Repeat("\x00\x00\x00\xff\xff", 64<<10)},
		"members after a page": {string(packBytes("<div id=hero>x</div>")), strings.Repeat(member, 10<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			sent, ended := 0, make(chan struct{})
			address := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
				if _, err := readRequest(r); err != nil {
					return
				}
				defer close(ended)
				_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"+piece[0])
				for err == nil && sent < 64<<20 {
					var n int
					n, err = io.WriteString(c, piece[1])
					sent += n
				}
			})
			n := start(t, address, setup{engines: always(text("#hero", "edited"))})
			c, err := net.Dial("tcp", n.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nUser-Agent: Mozilla/5.0\r\n\r\n")
			if name == "members after a page" {
				_, _ = io.Copy(io.Discard, c) // the connection breaks
			} else if _, err := io.CopyN(io.Discard, c, 4<<20); err != nil { // the origin's own bytes pass
				t.Errorf("the origin's bytes do not pass: %v", err)
			}
			c.Close()
			<-ended
			if sent > 32<<20 {
				t.Errorf("the origin could send %d MiB", sent>>20)
			}
		})
	}
}

// Browsers take no offence at what stands behind a gzip body.
func TestGzipWithPadding(t *testing.T) {
	page := "<div id=hero>old</div>" + strings.Repeat("<p>more", 5000)
	for name, padding := range map[string]string{
		"none": "", "one byte": "\x00", "zeros": strings.Repeat("\x00", 600), "text": "\r\n<!-- served by cache -->\r\n",
		"second member": string(packBytes("<b>end</b>")), "half a magic": "\x1f",
	} {
		t.Run(name, func(t *testing.T) {
			address := pages(t, "text/html", string(packBytes(page))+padding, "Content-Encoding", "gzip")
			n := start(t, address, setup{engines: always(text("#hero", "new"))})
			want := strings.Replace(page, "old", "new", 1)
			if name == "second member" {
				want += "<b>end</b>"
			}
			for range 2 { // the second time over a used unpacker
				r := n.get("/", "Accept-Encoding", "gzip")
				if got := decoded(t, r); got != want {
					t.Fatalf("got %d bytes, want %d", len(got), len(want))
				}
			}
			if n.server.stats.Broken.Load() > 0 {
				t.Error("the answer is said to be broken")
			}
		})
	}
}
