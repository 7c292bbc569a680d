package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/rewrite"
)

// Pages that come again are spliced and not read: the answers are the same to the
// byte, whatever the coding, and so is what is counted.
func TestPagesSeenBefore(t *testing.T) {
	t.Parallel() // it computes
	content, whole := site{}, 0
	for path, page := range realPages(t) {
		if len(page.plain) > long(270_000, 1<<30) {
			continue // two of those are left that are too large to be taken as a whole
		}
		content[path] = page
		if len(page.plain) <= wholeSize {
			whole++
		}
	}
	plan := &decision.Plan{Concerned: true, Edits: []decision.PlannedEdit{
		{Edit: decision.Edit{Select: "body", Op: decision.OpPrepend, HTML: "<p>für Sie</p>"}, Experience: "a", Apply: true},
		{Edit: decision.Edit{Select: "a[href]", Op: decision.OpSetAttribute, Name: "data-x", Value: "1"}, Experience: "b", Apply: true},
		{Edit: decision.Edit{Select: "script", Op: decision.OpRemove}, Experience: "b"},
	}, Triggers: []decision.Trigger{{
		Exposure: decision.Exposure{Assignment: decision.Assignment{Experiment: "e", Arm: "a"}}, Edits: []int{0, 1, 2},
	}}}
	const splicedTimes = 2 // the first that comes is read
	codings := 1 + len(pageCodings)
	run := func(cfg cache.Config, times int) (answers map[string][]string, n *node) {
		e := always(plan)
		n = start(t, origin(t, content.serve), setup{engines: e, cache: cfg})
		n.server.wholeTime = 10 * time.Second // the machine may be busy
		_, cookie := n.visitor()
		answers = map[string][]string{}
		for path := range content {
			for _, coding := range append([]string{"identity"}, pageCodings...) {
				for range times {
					r := n.get(path, "Accept-Encoding", coding, "Cookie", cookie)
					n.server.bodies.Wait()
					if coding != "identity" && r.Header.Get("Content-Encoding") != coding {
						t.Errorf("%s: %s was asked for, and %q came", path, coding, r.Header.Get("Content-Encoding"))
					}
					answers[path] = append(answers[path], decoded(t, r))
				}
			}
		}
		return answers, n
	}
	streamed, streaming := run(cache.Config{Disabled: true}, 1)
	spliced, splicing := run(cache.Config{}, 1+splicedTimes)
	for path, want := range streamed {
		for i, got := range slices.Concat(want, spliced[path]) {
			if got != want[0] {
				t.Errorf("%s: answer %d differs: %d bytes, want %d", path, i, len(got), len(want[0]))
			}
		}
		if want[0] == content[path].plain {
			t.Errorf("%s: not edited", path)
		}
	}
	if got := streaming.server.Stats().Spliced.Load(); got != 0 {
		t.Errorf("%d pages spliced, although nothing is kept", got)
	}
	if got := splicing.server.Stats().Spliced.Load(); got < uint64(splicedTimes*codings*whole) {
		t.Errorf("%d answers spliced of %d", got, splicedTimes*codings*whole)
	}
	for _, kind := range []event.Type{event.Trigger, event.Delivery} {
		want := len(streamed) * codings
		eventually(t, fmt.Sprintf("%d events of type %v with splicing", want*(1+splicedTimes), kind), func() bool {
			return len(splicing.engines.recorded(kind)) == want*(1+splicedTimes) && len(streaming.engines.recorded(kind)) == want
		})
	}
}

// What is found for a page was made of its very bytes, in its character set, and
// of the plan at hand.
func TestSeenPagesAreToldApart(t *testing.T) {
	body, contentType := shopPage, "text/html; charset=utf-8"
	// An answer may still be logged, by its plan, when the client has it.
	var plan atomic.Pointer[decision.Plan]
	plan.Store(text("#hero", "Grüße"))
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	})
	e := always(nil)
	e.plan = func(context.Context, *decision.Query) *decision.Plan { return plan.Load() }
	n := start(t, o, setup{engines: e})
	see := func(want string) {
		t.Helper()
		for range 3 {
			if r := n.get("/"); r.body != want {
				t.Errorf("%q, want %q", r.body, want)
			}
			n.server.bodies.Wait()
		}
	}
	see(strings.Replace(shopPage, "Welcome", "Grüße", 1))
	body = strings.Replace(shopPage, "Welcome", "WelcomE", 1)
	see(strings.Replace(shopPage, "Welcome", "Grüße", 1))
	contentType = "text/html; charset=windows-1252"
	see(strings.Replace(shopPage, "Welcome", "Gr\xfc\xdfe", 1))
	plan.Store(text("#hero", "Hi"))
	see(strings.Replace(shopPage, "Welcome", "Hi", 1))
	if n.server.Stats().Spliced.Load() == 0 {
		t.Error("nothing was spliced")
	}
}

// An origin that pauses has its beginning at the client meanwhile.
func TestPausingOriginKeepsNobodyWaiting(t *testing.T) {
	for name, head := range map[string]string{
		"length":  fmt.Sprintf("Content-Length: %d\r\n\r\n", len(shopPage)),
		"chunked": "Transfer-Encoding: chunked\r\n\r\n",
		"close":   "Connection: close\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{})
			first, rest := shopPage[:40], shopPage[40:]
			if name == "chunked" {
				// The pause is in the middle of a chunk's size.
				first = fmt.Sprintf("%x\r\n%s\r\n%x", len(first), first, len(rest)>>4)
				rest = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(rest)&15, rest)
			}
			o := rawOrigin(t, func(r *bufio.Reader, c net.Conn) {
				if _, err := readRequest(r); err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"+head+first)
				<-arrived
				_, _ = io.WriteString(c, rest)
			})
			n := start(t, o, setup{engines: always(text("#hero", "Hi"))})
			req, _ := http.NewRequest("GET", "http://"+n.addr+"/", nil)
			req.Header.Set("User-Agent", "Mozilla/5.0")
			resp, err := n.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			beginning := make([]byte, 15)
			if _, err := io.ReadFull(resp.Body, beginning); err != nil || string(beginning) != shopPage[:15] {
				t.Errorf("%q, %v", beginning, err)
			}
			close(arrived)
			end, err := io.ReadAll(resp.Body)
			if got := string(beginning) + string(end); err != nil || got != strings.Replace(shopPage, "Welcome", "Hi", 1) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// A large page that pauses is let go at once too, though others of its length came as a
// whole before it.
func TestPausingLargePageKeepsNobodyWaiting(t *testing.T) {
	page := strings.Replace(shopPage, "</body>", strings.Repeat("<p>some text</p>\n", 30000)+"</body>", 1) // 500 KB
	if len(page) <= wholeSize || len(page) > largeSize {
		t.Fatalf("%d bytes", len(page))
	}
	arrived := make(chan struct{})
	var served atomic.Uint64
	n := start(t, origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		_, _ = io.WriteString(w, page[:40])
		if served.Add(1) > 3 {
			_ = http.NewResponseController(w).Flush()
			<-arrived
		}
		_, _ = io.WriteString(w, page[40:])
	}), setup{engines: always(text("#hero", "Hi"))})
	for range 3 {
		n.get("/")
	}
	resp, err := n.client.Get(n.base + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	beginning := make([]byte, 15)
	if _, err := io.ReadFull(resp.Body, beginning); err != nil || string(beginning) != shopPage[:15] {
		t.Errorf("%q, %v", beginning, err)
	}
	close(arrived)
	end, err := io.ReadAll(resp.Body)
	if got := string(beginning) + string(end); err != nil || got != strings.Replace(page, "Welcome", "Hi", 1) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A page that is there at once has its length in the answer's head.
func TestWholePagesHaveALength(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage), setup{engines: always(text("#hero", "Hi"))})
	for range 3 {
		if r := n.get("/"); r.ContentLength != int64(len(r.body)) {
			t.Errorf("length %d, %d bytes", r.ContentLength, len(r.body))
		}
		n.server.bodies.Wait()
	}
}

// Where an edit hides one of another experience, the operator is told once.
func TestConflictsAreReported(t *testing.T) {
	plan := text("#hero", "Hi")
	plan.Edits = append(plan.Edits, decision.PlannedEdit{
		Edit: decision.Edit{Select: "#hero", Op: decision.OpRemove}, Experience: "other", Apply: true,
	})
	n := start(t, pages(t, "text/html", shopPage), setup{engines: always(plan)})
	for range 4 {
		n.get("/")
		n.server.bodies.Wait()
	}
	if got := n.server.Stats().Conflicts.Load(); got != 4 {
		t.Errorf("counted %d times", got)
	}
	const told = `"experience":"test","op":"set_inner","at":"#hero","by":"other","by_op":"remove"`
	if got := strings.Count(n.log.String(), told); got != 1 {
		t.Errorf("told %d times: %s", got, n.log)
	}
}

// A splice that fails half-way leaves nothing of itself, in the answer.
func TestFailedSpliceLeavesNothing(t *testing.T) {
	plan := text("#hero", "Hi")
	n := start(t, pages(t, "text/html", shopPage, "Cache-Control", "no-store"), setup{engines: always(plan)})
	page, _ := rewrite.CompilePage([]byte("<b>not this page</b><p>"), rewrite.Limits{})
	// A splice of other edits, which the plan does not know, makes the report on it fail.
	other, err := rewrite.Compile([]decision.PlannedEdit{
		{Edit: decision.Edit{Select: "p", Op: decision.OpSetInner, Text: "a"}, Experience: "a", Apply: true},
		{Edit: decision.Edit{Select: "p", Op: decision.OpRemove}, Experience: "b", Apply: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	wrong := &seenPage{Page: page}
	wrong.keep(keptSplice{plan.Digest, page.Splice(other, rewrite.Given{})})
	n.server.bodies.Keep(cache.Kind{}, []byte(shopPage), wrong, 0)
	n.server.bodies.Wait()
	want := strings.Replace(shopPage, "Welcome", "Hi", 1)
	if r := n.get("/"); r.body != want {
		t.Errorf("%q", r.body)
	}
	if n.server.Stats().Panics.Load() != 1 {
		t.Fatal("the splice did not fail")
	}
}
