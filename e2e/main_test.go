// Package e2e looks at the built binary from outside: it runs `sedge demo` and
// `sedge serve` as processes, asks them over HTTP as curl and a real headless
// Chromium would, and kills what must survive being killed.
//
// It is a module of its own, so that what it needs stays out of the product's
// go.mod. SEDGE_SCREENSHOTS names a directory that keeps the browser's pictures,
// SEDGE_CHROMIUM another browser, SEDGE_TESTDATA the third-party test data.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// work is the directory of the binaries; TestMain sets it before any test runs.
var work string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sedge-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		work = dir
		return m.Run()
	}())
}

// binary builds the sedge of this tree, once.
var binary = sync.OnceValues(func() (string, error) { return build("sedge", "./cmd/sedge") })

// checkedBinary builds it with the race detector, for the tests that stir up the
// most. A machine without a C compiler gets the plain one.
var checkedBinary = sync.OnceValues(func() (string, error) {
	if _, err := exec.LookPath("cc"); err != nil {
		return binary()
	}
	return build("sedge-race", "-race", "./cmd/sedge")
})

// coupons builds the example of a plugin that answers for each visitor.
var coupons = sync.OnceValues(func() (string, error) { return build("coupons", "./examples/coupons") })

func build(name string, args ...string) (string, error) {
	path := filepath.Join(work, name)
	cmd := exec.Command("go", append([]string{"build", "-o", path}, args...)...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// rounds is how often a test that repeats something does so: n times, and soak
// times under SEDGE_SOAK=1.
func rounds(n, soak int) int {
	if os.Getenv("SEDGE_SOAK") == "1" {
		return soak
	}
	return n
}
