package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain lets the test binary stand in for sedge where it starts itself again as
// the process of a built-in plugin.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == pluginProcess {
		main()
		return
	}
	os.Exit(m.Run())
}

// command runs a sedge command to its end.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// TestValidateNamesEachFault: each broken configuration's faults, all at once, each
// with its place.
func TestValidateNamesEachFault(t *testing.T) {
	t.Chdir("testdata/validate")
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("broken configurations: got %d, %v; want at least 10", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			code, out, _ := command(t, "validate", "-c", file)
			if code != 1 {
				t.Errorf("exit code: got %d, want 1", code)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(out), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out); diff != "" {
				t.Errorf("output differs (-want +got):\n%s", diff)
			}
			for line := range strings.Lines(out) {
				if !strings.HasPrefix(line, file+":") && !strings.HasPrefix(line, "  ") {
					t.Errorf("a fault without a place: %s", line)
				}
			}
		})
	}
}

// TestValidateWarns of configurations that are valid and make many variants of a page, each
// with its place.
func TestValidateWarns(t *testing.T) {
	t.Chdir("testdata/validate/warnings")
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("configurations with warnings: got %d, %v", len(files), err)
	}
	for _, file := range files {
		code, out, errs := command(t, "validate", "-c", file)
		if code != 0 || errs != "" {
			t.Errorf("%s: exit code %d: %s", file, code, errs)
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
		var result struct {
			Valid    bool
			Problems []any
			Warnings []struct{ Path, Message string }
		}
		code, out, _ = command(t, "validate", "-c", file, "--format", "json")
		if err := json.Unmarshal([]byte(out), &result); err != nil || code != 0 || !result.Valid || len(result.Problems) != 0 || len(result.Warnings) != strings.Count(string(want), ": warning: ") {
			t.Errorf("%s as JSON: %d, %v, %s", file, code, err, out)
		}
	}
}

func TestInitIsValid(t *testing.T) {
	code, out, errs := command(t, "init", "--offline", "--upstream", "https://www.example.com")
	if code != 0 {
		t.Fatalf("init: %s", errs)
	}
	file := filepath.Join(t.TempDir(), "sedge.yaml")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := command(t, "validate", "-c", file); code != 0 {
		t.Errorf("the starter configuration is not valid:\n%s%s", out, errs)
	}
}

// TestManyExperiences: a plugin takes a number of calls at a time, a site has as
// many experiences as it likes.
func TestManyExperiences(t *testing.T) {
	var text strings.Builder
	text.WriteString("upstreams: [{name: site, url: 'http://127.0.0.1:3000'}]\nroutes: [{name: all, upstream: site}]\nexperiences:\n")
	for i := range 200 {
		fmt.Fprintf(&text, "  - {name: e%d, pages: [/p%d], edits: [{select: h1, op: set_inner, text: x}]}\n", i, i)
	}
	file := filepath.Join(t.TempDir(), "sedge.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := command(t, "validate", "-c", file); code != 0 {
		t.Errorf("200 experiences are refused:\n%s%s", out, errs)
	}
}

func TestInitRefuses(t *testing.T) {
	f := func(upstream, want string) {
		t.Helper()
		code, _, errs := command(t, "init", "--offline", "--upstream", upstream)
		if code != 1 || !strings.Contains(errs, want) {
			t.Errorf("--upstream %q: got %d %q, want %q", upstream, code, errs, want)
		}
	}
	f("example.com", "expected an address such as")
	f("ftp://example.com", "expected an address such as")
	f("https://example.com/shop", "give only https://example.com")
	f("https://me:secret@example.com", "leave it out")
	f("http://", "expected an address such as")
}

func TestHelpHasExamples(t *testing.T) {
	for _, name := range []string{"demo", "init", "serve", "validate", "report", "bypass", "cache", "version", "healthcheck"} {
		code, out, _ := command(t, name, "--help")
		if code != 0 || !strings.Contains(out, "Examples:") {
			t.Errorf("sedge %s --help: exit code %d, without examples:\n%s", name, code, out)
		}
	}
}
