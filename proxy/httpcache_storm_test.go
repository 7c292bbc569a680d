package proxy

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// stormBody is the whole body of a path, that no other path has.
func stormBody(path string, size int) string {
	line := fmt.Sprintf("<p>%s</p>\n", path)
	return strings.Repeat(line, size/len(line)+1)
}

// TestHTTPCacheStorm asks for answers of all sizes, sound and broken, by clients of whom
// many leave. Nobody gets another page, or half of one as a whole, and nothing is left over.
func TestHTTPCacheStorm(t *testing.T) {
	sizes := []int{10, 20 << 10, 300 << 10, 600 << 10, 900 << 10}
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		var kind int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &kind)
		body := stormBody(r.URL.Path, sizes[kind%len(sizes)])
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", []string{"public, max-age=1, stale-while-revalidate=1", "public, max-age=1", "max-age=1", "private", "no-cache"}[kind/10%5])
		w.Header().Set("ETag", `"`+r.URL.Path[1:]+`"`)
		if kind%2 == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		if r.Header.Get("If-None-Match") == `"`+r.URL.Path[1:]+`"` {
			w.WriteHeader(304)
			return
		}
		if r.Method == "HEAD" {
			return
		}
		breaks := kind%7 == 3 && rand.IntN(3) == 0
		for len(body) > 0 {
			n := min(len(body), 64<<10)
			if _, err := io.WriteString(w, body[:n]); err != nil {
				return
			}
			body = body[n:]
			if rand.IntN(3) == 0 {
				w.(http.Flusher).Flush()
				time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
			}
			if breaks && rand.IntN(2) == 0 {
				panic(http.ErrAbortHandler)
			}
		}
	})
	for _, over := range []protocol{plainHTTP1, overHTTP2, plainHTTP1 + toHTTP2} {
		for _, concerned := range []bool{false, true} {
			t.Run(fmt.Sprint(over, concerned), func(t *testing.T) {
				s := setup{over: over, cache: cache.Config{ObjectMemory: 4 << 20, MaxObject: 512 << 10}}
				if concerned {
					s.engines = always(text("#none", "Hi"))
					s.engines.forget = true
				}
				n := start(t, o, s)
				var clients sync.WaitGroup
				for range 16 {
					clients.Go(func() {
						for range long(8, 400) {
							n.stormRequest(t, sizes)
						}
					})
				}
				clients.Wait()
				eventually(t, "all has ended", func() bool {
					u, up := n.server.flights.Usage(), n.site.Upstreams["origin"].Stats()
					return u.Flights == 0 && u.Followers == 0 && u.Bytes == 0 && up.Active == 0 && len(n.server.refreshes) == 0 && n.server.Stats().InFlight.Load() == 0
				})
				t.Logf("%+v %+v", n.server.flights.Usage(), n.server.objects.Usage())
			})
		}
	}
}

func (n *node) stormRequest(t *testing.T, sizes []int) {
	kind := rand.IntN(50)
	path := fmt.Sprintf("/%d", kind)
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	method := "GET"
	if rand.IntN(10) == 0 {
		method = "HEAD"
	}
	req, _ := http.NewRequestWithContext(ctx, method, n.base+path, nil)
	req.Header.Set("Accept", "text/html")
	if rand.IntN(6) == 0 {
		req.Header.Set("Cookie", "a=b")
	}
	switch rand.IntN(10) {
	case 0:
		req.Header.Set("If-None-Match", `"`+path[1:]+`"`)
	case 1:
		req.Header.Set("Range", "bytes=3-8")
	case 2:
		req.Header.Set("Cache-Control", "no-cache")
	}
	leaves := rand.IntN(3) == 0
	if leaves && rand.IntN(2) == 0 {
		time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, leave)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if leaves {
		_, _ = io.CopyN(io.Discard, resp.Body, int64(rand.IntN(200<<10)))
		return
	}
	body, err := io.ReadAll(resp.Body)
	want := stormBody(path, sizes[kind%len(sizes)])
	switch {
	case method == "HEAD" || resp.StatusCode == 304:
		want = ""
	case resp.StatusCode == 206:
		want = want[3:9]
	case resp.StatusCode >= 500:
		return
	}
	if err == nil && string(body) != want || err != nil && !strings.HasPrefix(want, string(body)) {
		t.Errorf("%s %s: %d, %d bytes of %d, %v, %v", method, path, resp.StatusCode, len(body), len(want), err, resp.Header)
	}
	if err != nil && kind%7 != 3 && ctx.Err() == nil {
		t.Errorf("%s %s: %v %v", method, path, err, resp.Header)
	}
}
