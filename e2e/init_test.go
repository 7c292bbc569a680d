package e2e

import (
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testdata returns a directory of the third-party test data, which is not part of
// the repository. Without it a test is skipped, but never in CI.
func testdata(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("SEDGE_TESTDATA")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "testdata")
	}
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err != nil {
		missing(t, "no test data in "+root+"; SEDGE_TESTDATA names another place")
	}
	return dir
}

// serveFiles serves the files of a directory as a plain origin, packed when asked,
// with and without a length.
func serveFiles(t *testing.T, dir string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Vary", "Accept-Encoding")
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			_, _ = z.Write(body)
			return
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// starter writes what `sedge init` prints for an upstream into a file.
func starter(t *testing.T, build func() (string, error), upstream string) string {
	t.Helper()
	stdout, stderr, err := runBinary(t, build, "init", "--upstream", upstream)
	if err != nil {
		t.Fatalf("sedge init: %v\n%s", err, stderr)
	}
	if strings.Count(stdout, "#") < 10 {
		t.Errorf("the starter has few comments:\n%s", stdout)
	}
	file := filepath.Join(t.TempDir(), "sedge.yaml")
	if err := os.WriteFile(file, []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, stderr, err := run(t, "validate", "-c", file); err != nil {
		t.Fatalf("the starter is not valid: %v\n%s%s", err, out, stderr)
	}
	return file
}

// Real pages without an experience come through byte for byte.
func TestRealPagesComeThroughUnchanged(t *testing.T) {
	dir := testdata(t, "html/pages")
	upstream := serveFiles(t, dir)
	n := startServe(t, binary, starter(t, binary, upstream))
	direct, through := newClient(t, upstream), newClient(t, n.site)
	files, err := filepath.Glob(filepath.Join(dir, "*.html"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages in %s: %v", dir, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := "/" + filepath.Base(file)
		for _, encoding := range []string{"identity", "gzip"} {
			want := direct.page(path, "Accept-Encoding", encoding)
			for range 2 { // the second may come from a cache
				got := through.page(path, "Accept-Encoding", encoding)
				if got.body != want.body {
					t.Errorf("%s (%s): the bytes on the wire differ: %s", path, encoding, difference(got.body, want.body))
				}
				if got.unpack(t) != string(body) {
					t.Errorf("%s (%s): the page differs: %s", path, encoding, difference(got.unpack(t), string(body)))
				}
			}
		}
	}
}

// A site that sends everyone to its one true name keeps working.
func TestInitFollowsTheCanonicalHost(t *testing.T) {
	var canonical string
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != canonical {
			http.Redirect(w, r, "http://"+canonical+r.URL.RequestURI(), http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "http://"+canonical+"/new", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("<!DOCTYPE html><title>here</title><h1>" + r.URL.Path + "</h1>"))
	}))
	t.Cleanup(origin.Close)
	canonical = strings.TrimPrefix(origin.URL, "http://")

	n := startServe(t, binary, starter(t, binary, origin.URL))
	c := newClient(t, n.site)
	if got := c.page("/").body; !strings.Contains(got, "<h1>/</h1>") {
		t.Errorf("home: %s", got)
	}
	if a := c.do(http.MethodGet, "/old", ""); a.status != http.StatusFound || a.header.Get("Location") != n.site+"/new" && a.header.Get("Location") != "/new" {
		t.Errorf("a redirect leads away from the proxy: %d to %q", a.status, a.header.Get("Location"))
	}
}

func TestUpstreamThatIsDown(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	n := startServe(t, binary, starter(t, binary, gone.URL))
	a := newClient(t, n.site).do(http.MethodGet, "/", "")
	if a.status != http.StatusBadGateway || !strings.Contains(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("status %d, %s", a.status, a.header.Get("Content-Type"))
	}
}
