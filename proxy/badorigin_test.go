package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// HAZARDS "Bad origins", as a client meets them: an error page in bounded time, or a
// body that breaks visibly; nothing is kept, and the next request gets its own answer.
func TestBadOrigins(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\n"
	for name, c := range map[string]struct {
		answer string
		status int    // 502: nothing of the answer passes
		body   string // with 200
		broken bool   // the body breaks off
	}{
		"101 that nobody asked for":       {answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", status: 502},
		"status 99":                       {answer: "HTTP/1.1 99 X\r\nContent-Length: 0\r\n\r\n", status: 502},
		"status 1000":                     {answer: "HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n", status: 502},
		"status 600":                      {answer: "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", status: 502},
		"no status":                       {answer: "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
		"HTTP/2.0":                        {answer: "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
		"HTTP/0.9":                        {answer: "<p>hello</p>\n", status: 502},
		"another protocol":                {answer: "SSH-2.0-OpenSSH_9.2\r\n\r\n", status: 502},
		"a name with a space":             {answer: head + "X Y: z\r\nContent-Length: 0\r\n\r\n", status: 502},
		"a space before the colon":        {answer: head + "Content-Length : 2\r\n\r\nok", status: 502},
		"a folded line":                   {answer: head + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", status: 502},
		"a line without a colon":          {answer: head + "X\r\nContent-Length: 0\r\n\r\n", status: 502},
		"NUL in a value":                  {answer: head + "X: a\x00b\r\nContent-Length: 0\r\n\r\n", status: 502},
		"too many interim answers":        {answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20) + ok, status: 502},
		"both framings":                   {answer: head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 502},
		"two lengths":                     {answer: head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", status: 502},
		"a list of lengths":               {answer: head + "Content-Length: 2, 2\r\n\r\nok", status: 502},
		"no length in Content-Length":     {answer: head + "Content-Length: x\r\n\r\nok", status: 502},
		"an unknown coding":               {answer: head + "Transfer-Encoding: gzip\r\n\r\nok", status: 502},
		"chunks of HTTP/1.0":              {answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 502},
		"a head that never ends":          {answer: head + strings.Repeat("X: y\r\n", 100_000), status: 502},
		"a line that never ends":          {answer: head + "X: " + strings.Repeat("y", 1<<20), status: 502},
		"nothing":                         {answer: "", status: 502},
		"half a head":                     {answer: head, status: 502},
		"a short body":                    {answer: head + "Content-Length: 9\r\n\r\nok", broken: true},
		"chunks that end between two":     {answer: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", broken: true},
		"chunks that end within one":      {answer: head + "Transfer-Encoding: chunked\r\n\r\n9\r\nok", broken: true},
		"chunks without the last CRLF":    {answer: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", broken: true},
		"a chunk without a size":          {answer: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n", broken: true},
		"bytes behind the body":           {answer: ok + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", status: 200, body: "ok"},
		"bytes behind the chunks":         {answer: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\npoison", status: 200, body: "ok"},
		"a body with 204":                 {answer: "HTTP/1.1 204 No Content\r\n\r\npoison", status: 204},
		"a body with 304":                 {answer: "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\npoison", status: 304},
		"an odd reason":                   {answer: "HTTP/1.1 200 \xc3\xa4 <b>!\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		"no reason":                       {answer: "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		"interim answers, and then one":   {answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok, status: 200, body: "ok"},
		"an end by the connection":        {answer: "HTTP/1.1 200 OK\r\n\r\nok", status: 200, body: "ok"},
		"an end by the connection of 1.0": {answer: "HTTP/1.0 200 OK\r\n\r\nok", status: 200, body: "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			overEach(t, func(t *testing.T, over protocol) {
				n := start(t, rawOrigin(t, func(r *bufio.Reader, conn net.Conn) {
					head, err := readRequest(r)
					if err != nil {
						return
					}
					if strings.HasPrefix(head, "GET /sound ") {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsound")
						return
					}
					_, _ = io.WriteString(conn, c.answer)
				}), setup{over: over})
				status, body, err := fetchBy(n.clientAt(t, n.address()), n.base+"/bad")
				switch {
				case c.broken:
					if err == nil && status != 502 {
						t.Errorf("%d %q came as a whole", status, body)
					}
				case err != nil || status != c.status || c.status == 200 && body != c.body || strings.Contains(body, "poison"):
					t.Errorf("%d %q %v", status, body, err)
				}
				if n.server.CacheUsage().Objects != 0 && c.broken {
					t.Error("something was kept")
				}
				if status, body, err := fetchBy(n.clientAt(t, n.address()), n.base+"/sound"); status != 200 || body != "sound" || err != nil {
					t.Errorf("the next request got %d %q %v", status, body, err)
				}
			})
		})
	}
}

// An origin that takes for ever is given up, however it does that.
func TestSlowOriginsAreGivenUp(t *testing.T) {
	t.Parallel() // it waits
	overEach(t, func(t *testing.T, over protocol) {
		for name, c := range map[string]struct {
			drip   string // byte by byte, until given up
			broken bool
		}{
			"says nothing":     {"", false},
			"drips a head":     {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 10_000), false},
			"stalls in a body": {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok", true},
		} {
			t.Run(name, func(t *testing.T) {
				s := setup{over: over}
				s.up.HeaderTimeout, s.up.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond
				given := make(chan struct{})
				n := start(t, rawOrigin(t, func(r *bufio.Reader, conn net.Conn) {
					defer close(given)
					if _, err := readRequest(r); err != nil {
						return
					}
					for i := range c.drip {
						if !c.broken {
							<-time.After(5 * time.Millisecond) // the pace of the drip
						}
						if _, err := io.WriteString(conn, c.drip[i:i+1]); err != nil {
							return
						}
					}
					_, _ = io.Copy(io.Discard, r)
				}), s)
				status, body, err := fetchBy(n.client.Transport, n.base+"/")
				if c.broken && err == nil || !c.broken && (err != nil || status != 504) {
					t.Errorf("%d %q %v", status, body, err)
				}
				<-given
			})
		}
	})
}

func fetchBy(client http.RoundTripper, url string) (status int, body string, err error) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(read), err
}
