package rewrite

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// lolHTML is the real lol-html, in a Node process that lives as long as the test.
type lolHTML struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// lolAnswer is what lol-html made of a page, or why it did not.
type lolAnswer struct {
	out     string
	problem string
}

// startLolHTML starts lol-html. Where it is not installed the test says so and is
// skipped; with CI=true it fails.
func startLolHTML(t *testing.T) *lolHTML {
	t.Helper()
	missing := func(what string) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; scripts/setup installs it", what)
		}
		t.Skipf("%s is not here; scripts/setup installs it", what)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("Node.js")
	}
	const dir = "testdata/lolhtml"
	if _, err := os.Stat(dir + "/node_modules/html-rewriter-wasm"); err != nil {
		missing("html-rewriter-wasm")
	}
	cmd := exec.Command(node, "run.mjs")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("lol-html: %v", err)
		}
	})
	return &lolHTML{in, bufio.NewReaderSize(out, 1<<20)}
}

// ask has lol-html make each edit on a page, each on its own.
func (l *lolHTML) ask(t testing.TB, page string, edits []decision.Edit) []lolAnswer {
	t.Helper()
	written := make(chan error, 1)
	go func() { written <- l.send(page, edits) }()
	answers := make([]lolAnswer, len(edits))
	for i := range edits {
		line, err := l.out.ReadBytes('\n')
		if err != nil {
			t.Fatalf("read lol-html's answer: %v", err)
		}
		var a struct {
			Out   []byte `json:"out"`
			Error string `json:"error"`
		}
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("read lol-html's answer: %v", err)
		}
		answers[i] = lolAnswer{string(a.Out), a.Error}
	}
	if err := <-written; err != nil {
		t.Fatalf("write to lol-html: %v", err)
	}
	return answers
}

func (l *lolHTML) send(page string, edits []decision.Edit) error {
	enc := json.NewEncoder(l.in)
	if err := enc.Encode(map[string]string{"page": base64.StdEncoding.EncodeToString([]byte(page))}); err != nil {
		return err
	}
	for _, e := range edits {
		if err := enc.Encode(map[string]any{
			"select": e.Select, "op": e.Op, "content": e.Text + e.HTML, "html": e.HTML != "", "name": e.Name, "value": e.Value,
		}); err != nil {
			return err
		}
	}
	return nil
}
