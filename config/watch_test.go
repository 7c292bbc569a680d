package config

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watchFile watches a file until the end of the test.
func watchFile(t *testing.T, file string) (changed <-chan struct{}) {
	t.Helper()
	cfg, err := Load(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	changes, done := make(chan struct{}, 16), make(chan error, 1)
	go func() { done <- Watch(ctx, cfg, func() { changes <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return changes
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, what string, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was not noticed", what)
	}
}

// TestWatchNotices every way in which editors and orchestrators change a file.
func TestWatchNotices(t *testing.T) {
	t.Run("writes and renames", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "sedge.yaml")
		write(t, file, site)
		changed := watchFile(t, file)
		write(t, file, site+"# 1\n")
		expect(t, "a write", changed)
		write(t, filepath.Join(dir, "new"), site+"# 2\n")
		must(t, os.Rename(filepath.Join(dir, "new"), file))
		expect(t, "a file renamed over it", changed)
		must(t, os.Rename(file, file+"~"))
		write(t, file, site+"# 3\n")
		expect(t, "a new file after the old one was set aside", changed)
	})
	t.Run("swapped directories", func(t *testing.T) { // as config maps do
		dir := t.TempDir()
		for i, name := range []string{"..1", "..2"} {
			must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
			write(t, filepath.Join(dir, name, "sedge.yaml"), site+"# "+string(rune('0'+i))+"\n")
		}
		must(t, os.Symlink("..1", filepath.Join(dir, "..data")))
		must(t, os.Symlink(filepath.Join("..data", "sedge.yaml"), filepath.Join(dir, "sedge.yaml")))
		changed := watchFile(t, filepath.Join(dir, "sedge.yaml"))
		must(t, os.Symlink("..2", filepath.Join(dir, "..tmp")))
		must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
		expect(t, "a swapped link", changed)
	})
	t.Run("a link to elsewhere", func(t *testing.T) {
		dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "site.yaml")
		write(t, elsewhere, site)
		file := filepath.Join(dir, "sedge.yaml")
		must(t, os.Symlink(elsewhere, file))
		changed := watchFile(t, file)
		write(t, elsewhere, site+"# 1\n")
		expect(t, "a write to the file behind the link", changed)
	})
}
