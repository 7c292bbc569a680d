package experiment

import (
	"encoding/json"
	"testing"

	"github.com/sedge-proxy/sedge/internal/corpus"
)

// readShared reads a file of published cases.
func readShared(t *testing.T, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(corpus.Read(t, "ab", name), into); err != nil {
		t.Fatal(err)
	}
}
