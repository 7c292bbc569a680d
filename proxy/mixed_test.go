package proxy

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// TestNobodyGetsWhatIsAnothers asks for pages that are kept, that were seen before, that
// are like others and that are large, for many people at a time who share connections as
// they do behind another proxy, some of whom leave in mid-answer.
func TestNobodyGetsWhatIsAnothers(t *testing.T) {
	const people, plans = 12, 3
	var tokens atomic.Int64
	token := func() string { return fmt.Sprintf("token-%08d-", tokens.Add(1)) }
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		page := shopPage + strings.Repeat("<p>text</p>", 200)
		switch r.URL.Path {
		case "/kept":
			h.Set("Cache-Control", "s-maxage=600")
			h.Set("ETag", `"kept"`)
		case "/large":
			h.Set("Cache-Control", "s-maxage=600")
			page += strings.Repeat("<p>a large page</p>", 30_000)
		case "/seen":
			h.Set("Cache-Control", "no-store")
		case "/alike":
			h.Set("Cache-Control", "no-store")
			page = strings.Replace(page, "<body>", `<body><meta name="token" content="`+token()+r.Header.Get("X-Who")+`">`, 1)
		}
		_, _ = io.WriteString(w, page)
	})
	for _, over := range []protocol{plainHTTP1, overTLS} {
		t.Run(cmp.Or(string(over), "h1"), func(t *testing.T) {
			e := &engines{concerned: func(*decision.Page) bool { return true }, profiles: map[string]*decision.Profile{}}
			planOf := map[string]*decision.Plan{}
			e.plan = func(_ context.Context, q *decision.Query) *decision.Plan { return planOf[q.VisitorID] }
			n := start(t, o, setup{engines: e, over: over})
			var cookies, marks [people]string
			for i := range people {
				id, cookie := n.visitor()
				cookies[i], marks[i] = cookie, fmt.Sprintf("mark-%d.", i%plans)
				planOf[id] = text("#hero", marks[i])
				if i%plans == 0 { // with a slot
					marks[i] = fmt.Sprintf("mark-own-%d.", i)
					p := &decision.Plan{Concerned: true, Edits: []decision.PlannedEdit{{
						Edit: decision.Edit{Select: "#hero", Op: decision.OpSetInner, HTML: `-{{trait "mark" "mark-none."}}`}, Experience: "test", Apply: true,
					}}}
					copy(p.Digest[:], "slots")
					planOf[id] = p
					e.profiles[id] = &decision.Profile{Traits: map[string]any{"mark": marks[i]}}
				}
			}
			paths := [...]string{"/kept", "/large", "/seen", "/alike"}
			var wg sync.WaitGroup
			for worker := range 8 {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(1, uint64(worker)))
					for range long(15, 100) {
						var asked []int
						var requests strings.Builder
						for range 1 + random.IntN(6) {
							i := random.IntN(people)
							asked = append(asked, i)
							fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: shop.example\r\nAccept: text/html\r\nUser-Agent: Mozilla/5.0\r\nX-Who: who-%02d.\r\nCookie: %s\r\n\r\n",
								paths[random.IntN(len(paths))], i, cookies[i])
						}
						c := n.dial()
						_, _ = io.WriteString(c, requests.String())
						r := bufio.NewReader(c)
						leaves := random.IntN(4) == 0
						for at, i := range asked {
							resp, err := http.ReadResponse(r, nil)
							if err != nil {
								t.Errorf("answer %d of %d: %v", at, len(asked), err)
								break
							}
							if leaves && at == len(asked)-1 {
								break
							}
							body, err := io.ReadAll(resp.Body)
							page := string(body)
							if err != nil || resp.StatusCode != 200 || strings.Count(page, "ark-") != 1 || !strings.Contains(page, marks[i]+"<") {
								t.Errorf("visitor %d, status %d, %v: %.200q", i, resp.StatusCode, err, page)
							}
							if strings.Contains(page, "who-") && !strings.Contains(page, fmt.Sprintf("who-%02d.", i)) {
								t.Errorf("visitor %d was shown %.300q", i, page)
							}
						}
						if tcp, ok := c.(*net.TCPConn); ok && leaves {
							_ = tcp.SetLinger(0)
						}
						_ = c.Close()
					}
				})
			}
			wg.Wait()
			if s := n.server.Stats(); s.Spliced.Load() == 0 || s.Alike.Load() == 0 || s.Panics.Load() > 0 {
				t.Errorf("%d spliced, %d alike, %d panics", s.Spliced.Load(), s.Alike.Load(), s.Panics.Load())
			}
		})
	}
}
