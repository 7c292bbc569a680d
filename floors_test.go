package sedge_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sedge-proxy/sedge/"

// room is one package, or a tree of them when it ends in "/...".
type room struct {
	path   string
	floor  int
	ours   []string // what it may import of ours, trees with "/..."
	theirs []string // the libraries at home here
}

// rooms is the table of docs/ARCHITECTURE.md. The first entry that fits a package is its room.
var rooms = []room{
	{path: "decision", floor: 0},
	{path: "visitor", floor: 1, ours: []string{"decision"}},
	{path: "visitor/attributes", floor: 1, ours: []string{"decision", "visitor"}, theirs: []string{"github.com/mileusna/useragent"}},
	{path: "rewrite", floor: 1, ours: []string{"decision"}, theirs: []string{"golang.org/x/text/encoding"}},
	{path: "plugins", floor: 1, ours: []string{"decision"}},
	{path: "event", floor: 1, ours: []string{"decision"}},
	{path: "event/pack", floor: 1},
	{path: "bypass", floor: 1},
	{path: "segmenter", floor: 2, ours: []string{"decision"}, theirs: []string{"github.com/dgraph-io/ristretto", "github.com/expr-lang/expr"}},
	{path: "experiment", floor: 2, ours: []string{"decision"}},
	{path: "experiment/stats", floor: 2, ours: []string{"decision"}, theirs: []string{"gonum.org/v1/gonum"}},
	{path: "profile", floor: 2, ours: []string{"decision", "event/..."}},
	{path: "profile/bolt", floor: 2, ours: []string{"decision", "event", "profile"}, theirs: []string{"go.etcd.io/bbolt"}},
	{path: "kpi", floor: 2, ours: []string{"decision", "event/..."}},
	{path: "plugins/internal/wire", floor: 2, ours: []string{"plugins", "decision"}, theirs: []string{"github.com/hashicorp/go-plugin", "google.golang.org/grpc", "google.golang.org/protobuf"}},
	{path: "plugins/plan", floor: 2, ours: []string{"plugins", "decision"}, theirs: []string{"github.com/dgraph-io/ristretto"}},
	{path: "plugins/builtin/...", floor: 2, ours: []string{"plugins", "decision", "rewrite"}},
	{path: "proxy", floor: 2, ours: []string{"decision", "visitor", "visitor/attributes", "event", "rewrite", "proxy/..."}, theirs: []string{"github.com/valyala/fasthttp", "github.com/klauspost/compress", "github.com/pires/go-proxyproto"}},
	{path: "proxy/cache", floor: 2, ours: []string{"decision"}, theirs: []string{"github.com/valyala/fasthttp", "github.com/dgraph-io/ristretto"}},
	{path: "proxy/coding", floor: 2, theirs: []string{"github.com/klauspost/compress", "github.com/molecule-man/go-brrr"}},
	{path: "proxy/certificate", floor: 2, ours: []string{"decision"}, theirs: []string{"golang.org/x/crypto/acme"}},
	{path: "proxy/...", floor: 2, ours: []string{"decision", "proxy/..."}, theirs: []string{"github.com/valyala/fasthttp"}},
	{path: "ledger", floor: 3, ours: []string{"decision", "event/...", "profile/...", "kpi"}, theirs: []string{"go.etcd.io/bbolt"}},
	{path: "plugins/sdk", floor: 3, ours: []string{"plugins", "plugins/internal/wire", "decision"}, theirs: []string{"github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog", "google.golang.org/grpc"}},
	{path: "plugins/host", floor: 3, ours: []string{"plugins", "plugins/internal/wire", "decision"}, theirs: []string{"github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog", "google.golang.org/grpc"}},
	{path: "plugins/plugintest", floor: 3, ours: []string{"plugins/...", "decision", "rewrite"}, theirs: []string{"github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog", "google.golang.org/grpc"}},
	{path: "dashboard", floor: 3, ours: []string{"decision", "bypass", "kpi", "experiment/...", "profile", "segmenter"}},
	{path: "tracing", floor: 3, ours: []string{"proxy"}, theirs: []string{"go.opentelemetry.io/otel", "go.opentelemetry.io/proto/otlp"}},
	{path: "config", floor: 4, ours: []string{"decision", "visitor", "event", "segmenter", "experiment", "profile", "kpi", "plugins/plan", "plugins/host", "proxy/...", "rewrite", "dashboard", "ledger"}, theirs: []string{"github.com/spf13/viper", "github.com/fsnotify/fsnotify", "go.yaml.in/yaml", "github.com/go-viper/mapstructure"}},
	{path: "internal/corpus", floor: 0}, // for tests alone
	{path: "cmd/sedge/internal/...", floor: 4, ours: []string{}},
	{path: "cmd/sedge", floor: 5, ours: []string{"/..."}, theirs: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/prometheus/client_golang", "golang.org/x/net/html"}},
	{path: "bench/...", floor: 5, ours: []string{}}, // measures the built binary
	{path: "examples/...", floor: 5, ours: []string{"plugins", "plugins/sdk"}},
}

// TestFloors holds the house: who may import whom, and where each library lives.
// Data flows one way, so nothing imports upward.
func TestFloors(t *testing.T) {
	for _, pkg := range listPackages(t) {
		path := strings.TrimPrefix(pkg.ImportPath, module)
		if path == pkg.ImportPath { // the root itself holds only this test
			continue
		}
		at := slices.IndexFunc(rooms, func(r room) bool { return covers(r.path, path) })
		if at < 0 {
			t.Errorf("package %s has no room: add it to this table and to docs/ARCHITECTURE.md", path)
			continue
		}
		home := rooms[at]
		for _, imported := range pkg.Imports {
			checkImport(t, path, home, imported)
		}
	}
}

func checkImport(t *testing.T, path string, home room, imported string) {
	t.Helper()
	if ours, ok := strings.CutPrefix(imported, module); ok {
		own := strings.HasSuffix(home.path, "/...") && covers(home.path, ours)
		if !own && !slices.ContainsFunc(home.ours, func(p string) bool { return covers(p, ours) }) {
			t.Errorf("%s (floor %d) may not import %s", path, home.floor, ours)
		}
		return
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return // standard library
	}
	if !slices.ContainsFunc(home.theirs, func(p string) bool { return imported == p || strings.HasPrefix(imported, p+"/") }) {
		t.Errorf("%s (floor %d) may not import the library %s: it is at home elsewhere", path, home.floor, imported)
	}
}

// covers reports whether a path of the table, perhaps a tree, holds a package.
func covers(entry, path string) bool {
	if tree, ok := strings.CutSuffix(entry, "/..."); ok {
		return tree == "" || path == tree || strings.HasPrefix(path, tree+"/")
	}
	return entry == path
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listedPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}
