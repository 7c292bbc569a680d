//go:build !race

package proxy

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// What a request may allocate, the client's and the origin's part included, which
// allocate nothing. A benchmark lists what it is: go test -run '^$' -bench Request
// -memprofile mem -memprofilerate 1.
func TestAllocationsPerRequest(t *testing.T) {
	page := benchPage()
	plan := text("h1", "Hello")
	plan.Triggers = []decision.Trigger{{Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "hero", Arm: "a"}}, Edits: []int{0}}}
	for _, c := range []struct {
		name    string
		engines *engines
		routes  []Route
		most    float64
	}{
		{"plain", always(plan), []Route{{Upstream: "origin", Personalize: new(bool)}}, 9},
		{"passed on", &engines{}, nil, 24},
		{"edited", always(plan), nil, 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			off := false
			o := rawOrigin(t, func(r *bufio.Reader, conn net.Conn) { serveFixed(r, conn, page, "no-store") })
			n := start(t, o, setup{engines: discarding(c.engines), routes: c.routes, config: Config{AccessLog: &off}})
			_, cookie := n.visitor()
			conn := n.dial()
			_ = conn.SetDeadline(time.Time{})
			request := []byte("GET /page?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0\r\n" +
				"Accept: text/html,*/*;q=0.8\r\nSec-Fetch-Dest: document\r\nCookie: a=b; " + cookie + "\r\n\r\n")
			r := bufio.NewReaderSize(conn, 64<<10)
			ask := func() {
				if _, err := conn.Write(request); err != nil {
					t.Fatal(err)
				}
				if err := skipAnswer(r); err != nil {
					t.Fatal(err)
				}
			}
			for range 50 {
				ask()
			}
			if got := testing.AllocsPerRun(500, ask); got > c.most {
				t.Errorf("%v allocations, at most %v are meant", got, c.most)
			}
		})
	}
}
