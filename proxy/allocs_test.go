//go:build !race

package proxy

import (
	"bufio"
	"context"
	"log/slog"
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
		control string
		logged  bool
		accept  string
		most    float64
	}{
		{"plain", always(plan), []Route{{Upstream: "origin", Personalize: new(bool)}}, "no-store", false, "", 4},
		{"passed on", &engines{}, nil, "no-store", false, "", 5},
		{"edited", always(plan), nil, "no-store", false, "", 8},
		// The one is fasthttp's: the byte into which it reads the first of a request.
		{"a variant", always(plan), nil, "s-maxage=600", true, "", 1},
		{"a packed variant", always(plan), nil, "s-maxage=600", true, "gzip", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := rawOrigin(t, func(r *bufio.Reader, conn net.Conn) { serveFixed(r, conn, page, c.control) })
			n := start(t, o, setup{engines: discarding(c.engines), routes: c.routes, config: Config{AccessLog: &c.logged}})
			n.server.access = slog.New(silent{}) // what a line's handler allocates is its own affair
			_, cookie := n.visitor()
			conn := n.dial()
			_ = conn.SetDeadline(time.Time{})
			request := []byte("GET /page?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0\r\n" +
				"Accept: text/html,*/*;q=0.8\r\nAccept-Encoding: " + c.accept + "\r\nSec-Fetch-Dest: document\r\nCookie: a=b; " + cookie + "\r\n\r\n")
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
			// What else goes on in the process can only add to it.
			got := testing.AllocsPerRun(100, ask)
			for range 9 {
				got = min(got, testing.AllocsPerRun(100, ask))
			}
			if got > c.most {
				t.Errorf("%v allocations, at most %v are meant", got, c.most)
			}
		})
	}
}

// silent takes lines of the access log, as they are, and drops them.
type silent struct{ slog.Handler }

func (silent) Enabled(context.Context, slog.Level) bool { return true }

func (silent) Handle(context.Context, slog.Record) error { return nil }
