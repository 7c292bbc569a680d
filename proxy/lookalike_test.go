package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/rewrite"
)

// Pages that come with another token each time are spliced, each with its own.
func TestPagesWithTokens(t *testing.T) {
	const page = `<!doctype html><html><head><meta name="csrf" content="%016x"><title>t</title></head><body><h1 id="hero">Welcome</h1>` +
		`<form><input type="hidden" name="t" value="%016x"></form><script>var token = "%016x"</script><a class="cta" data-t="%016x">go</a><p>%016x</p></body></html>`
	var served atomic.Uint64
	tokens := func(n uint64) [5]any {
		var t [5]any
		for i := range t {
			t[i] = (n*10 + uint64(i)) * 0x9e3779b97f4a7c15
		}
		return t
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		of := tokens(served.Add(1))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, page, of[:]...)
	}
	for name, c := range map[string]struct {
		edit  decision.Edit
		from  string
		to    string
		alike bool
	}{
		"text":                      {decision.Edit{Select: "#hero", Op: decision.OpSetInner, Text: "Hello"}, "Welcome", "Hello", true},
		"a tag that has a token":    {decision.Edit{Select: ".cta", Op: decision.OpSetAttribute, Name: "class", Value: "big"}, `class="cta"`, `class="big"`, false},
		"an element that has some":  {decision.Edit{Select: "p", Op: decision.OpSetInner, Text: ""}, "", "", false},
		"a selector that asks":      {decision.Edit{Select: `[data-t^="0"]`, Op: decision.OpAddClass, Value: "x"}, "", "", false},
		"text that is searched for": {decision.Edit{Select: "p", Op: decision.OpReplaceText, Pattern: "zzz", Text: "y"}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			served.Store(0)
			plan := &decision.Plan{Concerned: true, Edits: []decision.PlannedEdit{{Edit: c.edit, Apply: true}}}
			n := start(t, origin(t, serve), setup{engines: always(plan)})
			program, err := rewrite.Compile(plan.Edits)
			if err != nil {
				t.Fatal(err)
			}
			const rounds = 12
			for i := range uint64(rounds) {
				r := n.get("/form")
				of := tokens(i + 1)
				src := fmt.Sprintf(page, of[:]...)
				var want strings.Builder
				w := program.NewRewriter(&want, rewrite.Limits{Encoding: rewrite.EncodingUTF8})
				_, _ = io.WriteString(w, src)
				_ = w.Close()
				w.Release()
				if r.body != want.String() {
					t.Fatalf("answer %d: %s\nwant %s", i, r.body, want.String())
				}
				if c.from != "" && r.body != strings.Replace(src, c.from, c.to, 1) {
					t.Fatalf("answer %d is not edited", i)
				}
			}
			if got := n.server.stats.Alike.Load(); c.alike && got < rounds-4 || !c.alike && got > 0 {
				t.Errorf("%d of %d pages were found to be alike", got, rounds)
			}
		})
	}
}

// A large page is taken as a whole when one of its length came before it from there, a
// few of them at a time, and held no longer than until the client has it.
func TestLargePagesWithTokens(t *testing.T) {
	rows := strings.Repeat("<p>"+strings.Repeat("some text ", 40)+"</p>\n", 1000) // 408 KB
	var served atomic.Uint64
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		body := fmt.Sprintf(`<meta name="csrf" content="%08d"><body><h1 id="hero">Welcome</h1>%s`, served.Add(1), rows)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body)
	}), setup{engines: always(text("#hero", "Hello"))})
	n.server.wholeTime = 10 * time.Second // the machine may be busy
	see := func(rounds int) {
		t.Helper()
		for range rounds {
			want := fmt.Sprintf(`<meta name="csrf" content="%08d"><body><h1 id="hero">Hello</h1>%s`, served.Load()+1, rows)
			if r := n.get("/"); r.body != want {
				t.Fatalf("%d bytes, want %d: %.100q", len(r.body), len(want), r.body)
			}
		}
	}
	see(8)
	alike := n.server.stats.Alike.Load()
	if alike < 4 {
		t.Errorf("%d pages were found to be alike", alike)
	}
	eventually(t, "no large page is held", func() bool { return n.server.largePages.Load() == 0 })
	n.server.largePages.Store(mostLarge)
	see(3)
	if got := n.server.stats.Alike.Load(); got != alike || n.server.largePages.Load() != mostLarge {
		t.Errorf("%d more pages are held as a whole", got-alike)
	}
	n.server.largePages.Store(0)
	see(1)
	if got := n.server.stats.Alike.Load(); got != alike+1 {
		t.Errorf("%d pages were found to be alike, want %d", got, alike+1)
	}
}

// A page that changes in more than a token is compiled a few times only.
func TestPagesThatAreNotAlike(t *testing.T) {
	var served atomic.Uint64
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, "<h1 id=hero>Welcome</h1><p class=c%08d>x", served.Add(1))
	}), setup{engines: always(text("#hero", "Hello"))})
	for range 20 {
		n.get("/")
	}
	l := n.server.lookalikes
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, element := range l.pages {
		if e := element.Value.(*lookalike); e.compiled != mostCompiled {
			t.Errorf("compiled %d times", e.compiled)
		}
	}
	if len(l.pages) != 1 || n.server.stats.Alike.Load() != 0 {
		t.Errorf("%d addresses, %d pages alike", len(l.pages), n.server.stats.Alike.Load())
	}
}

func TestLookalikes(t *testing.T) {
	compiled := func(body string) *seenPage {
		page, _ := rewrite.CompilePage([]byte(body), rewrite.Limits{})
		return &seenPage{Page: page, raw: []byte(body)}
	}
	small := compiled("<p>a</p>")
	size := int64(len(small.raw) + small.Size() + spliceMemory) // raw is a copy
	l := newLookalikes(10 * (size + lookalikeCost))
	kind, other := cache.Kind{Reading: 1}, cache.Kind{Reading: 2}
	if l.wants(1, kind, 8) || !l.wants(1, kind, 8) || l.wants(1, kind, 9) || l.wants(1, other, 9) {
		t.Error("a page is wanted when one of its length and kind came before it")
	}
	l.keep(1, kind, small)
	if l.find(1, kind) != small || l.find(1, other) != nil || l.find(2, kind) != nil {
		t.Error("a page is not found, or found for another kind or address")
	}
	for a := range uint64(30) {
		l.find(1, kind) // it is in use
		l.keep(100+a, kind, small)
	}
	if l.used > l.room || len(l.pages) != l.order.Len() || len(l.pages) < 9 {
		t.Errorf("%d bytes of %d in %d pages, %d in order", l.used, l.room, len(l.pages), l.order.Len())
	}
	if l.find(1, kind) == nil || l.find(129, kind) == nil || l.find(100, kind) != nil {
		t.Error("the page that was not used for longest is not the one that went")
	}
	l.keep(7, kind, compiled("<p>"+strings.Repeat("a", int(l.room/8))))
	l.keep(8, kind, nil)
	if l.find(7, kind) != nil || l.find(8, kind) != nil {
		t.Error("a page that is too large, or none, is kept")
	}
	if l.clear(); l.used != 0 || l.find(1, kind) != nil || len(l.pages) != 0 {
		t.Error("something is left")
	}
	none := newLookalikes(0)
	none.clear()
	if none.keep(1, kind, small); none.find(none.address("a"), kind) != nil || none.wants(1, kind, 8) {
		t.Error("nothing keeps something")
	}
}
