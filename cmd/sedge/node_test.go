package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/config"
)

// testNode is a node in front of a page, with its configuration file.
type testNode struct {
	*node
	t      *testing.T
	file   string
	origin string
	visits *atomic.Int64 // to the origin's pages below /kept, which may be kept
}

func startNode(t *testing.T, rest string) *testNode {
	t.Helper()
	visits := new(atomic.Int64)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if strings.HasPrefix(r.URL.Path, "/kept") {
			visits.Add(1)
			w.Header().Set("Cache-Control", "public, max-age=600")
			w.Header().Set("Cache-Tag", "all, "+r.URL.Path[1:])
		}
		_, _ = io.WriteString(w, "<!doctype html><h1>Plain</h1>")
	}))
	t.Cleanup(page.Close)
	tn := &testNode{t: t, file: filepath.Join(t.TempDir(), "sedge.yaml"), origin: page.URL, visits: visits}
	tn.write("site", rest)
	cfg, err := tn.read()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := (&logFlags{level: "info", format: "json"}).open(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if tn.node, err = openNode(context.Background(), cfg, logs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer logs.close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := tn.close(ctx); err != nil {
			t.Error(err)
		}
	})
	return tn
}

// write writes the configuration with an upstream of that name.
func (tn *testNode) write(upstream, rest string) {
	tn.t.Helper()
	text := fmt.Sprintf(`server: {listen: "127.0.0.1:0", data_dir: %q, access_log: false}
admin: {listen: "127.0.0.1:0"}
upstreams: [{name: %s, url: %q}]
routes: [{name: everything, upstream: %s}]
%s`, filepath.Join(filepath.Dir(tn.file), "data"), upstream, tn.origin, upstream, rest)
	if err := os.WriteFile(tn.file, []byte(text), 0o600); err != nil {
		tn.t.Fatal(err)
	}
}

func (tn *testNode) read() (*config.Config, error) { return loadConfig(tn.file, nil) }

func (tn *testNode) page() string { return tn.get("/") }

func (tn *testNode) get(path string) string {
	tn.t.Helper()
	response, err := http.Get(tn.siteURL() + path)
	if err != nil {
		tn.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tn.t.Fatal(err)
	}
	return string(body)
}

func (tn *testNode) plugins() (names []string) {
	for _, p := range tn.node.plugins.Status() {
		names = append(names, p.Name)
	}
	return names
}

const greeting = `plugins: [{name: content, in_process: true}]
experiences:
  - name: hello
    plugin: content
    settings: {edits: [{select: h1, op: set_inner, text: %s}]}
`

// TestReload: a good file is taken over as a whole, a bad one not at all, and what is
// said of the last reload is true.
func TestReload(t *testing.T) {
	one := fmt.Sprintf(greeting, "One")
	tn := startNode(t, one)
	ctx := context.Background()
	f := func(what string, skipSame bool, generation uint64, page, fault string, plugins ...string) {
		t.Helper()
		tn.reload(ctx, tn.read, skipSame)
		if got := tn.current.Load().number; got != generation {
			t.Errorf("%s: generation %d, want %d", what, got, generation)
		}
		if got := tn.page(); !strings.Contains(got, page) {
			t.Errorf("%s: the page is %s, want %q", what, got, page)
		}
		if diff := cmp.Diff(plugins, tn.plugins()); diff != "" {
			t.Errorf("%s: plugins (-want +got):\n%s", what, diff)
		}
		last := tn.lastReload.Load()
		switch {
		case fault == "" && last != nil && last.err != nil:
			t.Errorf("%s: the last reload is said to have failed: %v", what, last.err)
		case fault != "" && (last == nil || last.err == nil || !strings.Contains(last.err.Error(), fault)):
			t.Errorf("%s: the last reload is %+v, want %q", what, last, fault)
		}
	}
	f("the same text", true, 1, "One", "", "content")

	tn.write("site", "plugins: [{name: offers, in_process: true}]\n"+strings.TrimPrefix(fmt.Sprintf(greeting, "[]"), "plugins: [{name: content, in_process: true}]\n"))
	f("a plugin that is gone", true, 1, "One", `there is no plugin "content"`, "content")
	tn.write("site", "plugins: [{name: offers, in_process: true}, {name: content, in_process: true}]\nexperiences:\n  - {name: hello, plugin: content, settings: {edits: [{op: remove}]}}\n")
	f("settings that a plugin refuses", true, 1, "One", "select: missing", "content")
	tn.write("site", one)
	f("the old text again", true, 1, "One", "", "content")

	tn.write("other", fmt.Sprintf(greeting, "Two"))
	f("another upstream and text", true, 2, "Two", "", "content")
	f("a signal with the same text", false, 3, "Two", "", "content")
	tn.write("other", "experiences: []\n")
	f("plugin and experience gone", true, 4, "Plain", "")
	if err := os.Remove(tn.file); err != nil {
		t.Fatal(err)
	}
	f("no file", true, 4, "Plain", "no such file")
	if known := len(tn.upstreams.known); known != 1 {
		t.Errorf("%d upstreams are held, want the current one", known)
	}
}

// TestRunEnds: a node ends by its context and by the failure of a part, and says so.
func TestRunEnds(t *testing.T) {
	tn := startNode(t, "")
	broken := errors.New("a part broke")
	tn.failed <- broken
	if err := tn.run(context.Background(), tn.read); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := http.Get(tn.siteURL() + "/"); err == nil {
		t.Error("the site's listener is open still")
	}
}

// TestBrokenFileStillFindsItsNode: a file that a node has refused must not make the
// node look ill.
func TestBrokenFileStillFindsItsNode(t *testing.T) {
	f := func(text, wantBase, wantError string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "sedge.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := adminFlags{nodeFlags: nodeFlags{file: file}}
		base, _, err := flags.locate()
		if base != wantBase || (err == nil) != (wantError == "") || err != nil && !strings.Contains(err.Error(), wantError) {
			t.Errorf("%q: got %q, %v", text, base, err)
		}
	}
	f("admin: {listen: '127.0.0.1:9'}\nfoo: 1\n", "http://127.0.0.1:9", "")
	f("foo: [\n", "http://127.0.0.1:8090", "")
	f("admin: {listen: nowhere}\n", "", "expected HOST:PORT")
}
