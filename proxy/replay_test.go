package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// A compressed page that proves damaged after a part of it was taken in at once passes
// as it came, every byte of it.
func TestDamagedPageThatComesInParts(t *testing.T) {
	page := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff"), bytes.Repeat([]byte("0123456789abcdef"), 2000)...)
	rest := make(chan struct{})
	o := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(page[:20000])
		_ = http.NewResponseController(w).Flush()
		<-rest
		_, _ = w.Write(page[20000:])
	})
	n := start(t, o, setup{engines: always(text("#hero", "x"))})
	_, cookie := n.visitor()
	req, _ := http.NewRequest("GET", "http://"+n.addr+"/", nil)
	req.Header = http.Header{"Cookie": {cookie}, "Accept-Encoding": {"gzip"}, "User-Agent": {"Mozilla/5.0 Firefox/130.0"}}
	resp, err := n.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := make([]byte, 1)
	_, err = io.ReadFull(resp.Body, body) // so the page was given up as one to take in at once
	close(rest)
	if err != nil {
		t.Fatal(err)
	}
	more, err := io.ReadAll(resp.Body)
	if body = append(body, more...); err != nil || string(body) != string(page) {
		t.Errorf("%d bytes came, want %d; the same at the beginning: %v; %v", len(body), len(page), bytes.HasPrefix(page, body[:min(4096, len(body))]), err)
	}
}

// Whatever panics before a page has begun to leave, the visitor gets the origin's own,
// and the connection to the origin is given back.
func TestPanicBeforeThePageLeaves(t *testing.T) {
	edit := func(selector, html string) decision.PlannedEdit {
		return decision.PlannedEdit{Edit: decision.Edit{Select: selector, Op: decision.OpSetInner, HTML: html}, Experience: "test", Apply: true}
	}
	// A planner that gives two plans the same digest: the compiled one has a slot in an
	// edit that the other does not have.
	edits := []decision.PlannedEdit{edit("#none", "x"), edit("#hero", `{{offer "code" "none"}}`)}
	e := &engines{concerned: func(*decision.Page) bool { return true }}
	e.plan = func(context.Context, *decision.Query) *decision.Plan {
		p := &decision.Plan{Concerned: true, Edits: edits}
		edits = edits[:1]
		return p
	}
	n := start(t, pages(t, "text/html", shopPage), setup{engines: e, up: upstream.Config{MaxConns: 1, DialTimeout: 50 * time.Millisecond}})
	_, cookie := n.visitor()
	n.get("/", "Cookie", cookie)
	for range 3 {
		if r := n.get("/", "Cookie", cookie); r.StatusCode != 200 || r.body != shopPage {
			t.Errorf("got %d %q", r.StatusCode, r.body)
		}
	}
	if n.server.Stats().FailedOpen(ReasonPanic) != 3 {
		t.Error("not counted")
	}
}

// Bodies are written in goroutines of fasthttp, in which a panic would end the process.
func TestPanicInABodyEndsTheAnswerOnly(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{})
	body := &passBody{flowTarget: flowTarget{server: n.server}} // of no origin
	if _, err := body.WriteTo(nil); err != errPanic || !body.broken || n.server.Stats().Panics.Load() != 1 {
		t.Errorf("got %v, broken %v", err, body.broken)
	}
}
