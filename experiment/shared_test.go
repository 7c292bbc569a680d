package experiment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// readShared reads a case file of the shared folder beside the repository, which
// is there in CI. Where it is missing, a test says so and is skipped.
func readShared(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "shared", "testdata", "ab", name))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("published cases are missing: %v", err)
		}
		t.Skipf("published cases are missing: %v", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}
