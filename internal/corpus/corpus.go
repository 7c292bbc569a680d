// Package corpus finds the third-party test data that tests read and that is never
// part of this repository: real pages, vectors and data sets, each with a licence
// of its own. It lies in ../shared/testdata beside the checkout, or where
// SEDGE_TESTDATA says.
package corpus

import (
	"os"
	"path/filepath"
	"testing"
)

// Path returns the path of a file or folder of the test data. Where there is none
// the test says so and is skipped; with CI=true it fails, since there it must run.
func Path(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("SEDGE_TESTDATA")
	if root == "" {
		root = filepath.Join(checkout(t), "..", "shared", "testdata")
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("third-party test data is missing: %v", err)
		}
		t.Skipf("third-party test data is not here: %v", err)
	}
	return path
}

// Read returns the contents of a file of the test data.
func Read(t testing.TB, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(Path(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// checkout returns the root of the repository: a test runs in the folder of its package.
func checkout(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("this test does not run inside the repository")
		}
		dir = up
	}
}
