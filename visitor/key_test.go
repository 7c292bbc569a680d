package visitor

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLoadOrCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "visitor.key")
	made, err := LoadOrCreateKey(path, rand.Reader)
	if err != nil || len(made) != KeySize {
		t.Fatalf("%d bytes, %v", len(made), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, err := LoadOrCreateKey(path, strings.NewReader(""))
	if err != nil || !bytes.Equal(made, again) {
		t.Errorf("read %x, made %x, %v", again, made, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left files behind: %v", entries)
	}
}

func TestKeyRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "visitor.key")
	keys := make([][]byte, 8)
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			key, err := LoadOrCreateKey(path, rand.Reader)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	group.Wait()
	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) {
			t.Fatal("two processes got different keys")
		}
	}
}

func TestKeyFileRefused(t *testing.T) {
	good := keyMark + encoding.EncodeToString(key(1)) + "\n"
	for name, test := range map[string]struct {
		text, want string
		mode       os.FileMode
	}{
		"empty":        {"", "not a Sedge key file", 0o600},
		"foreign":      {"-----BEGIN PRIVATE KEY-----\n", "not a Sedge key file", 0o600},
		"cut":          {good[:40], "damaged or cut off", 0o600},
		"longer":       {good + good, "damaged or cut off", 0o600},
		"not base64":   {keyMark + strings.Repeat("*", 43) + "\n", "damaged or cut off", 0o600},
		"weak":         {keyMark + strings.Repeat("A", 43) + "\n", "not random", 0o600},
		"open to all":  {good, "chmod 600", 0o644},
		"group writes": {good, "chmod 600", 0o660},
	} {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadOrCreateKey(path, rand.Reader)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if body := strings.TrimPrefix(strings.TrimSpace(test.text), keyMark); err != nil && len(body) > 20 && strings.Contains(err.Error(), body) {
			t.Errorf("%s: the message tells the key", name)
		}
		if text, _ := os.ReadFile(path); string(text) != test.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
	dir := t.TempDir()
	if _, err := LoadOrCreateKey(dir, rand.Reader); err == nil {
		t.Error("a directory was taken for a key")
	}
	if _, err := LoadOrCreateKey(filepath.Join(dir, "no", "key"), rand.Reader); err == nil {
		t.Error("no error where the directory is missing")
	}
	if _, err := LoadOrCreateKey(filepath.Join(dir, "key"), strings.NewReader("short")); err == nil {
		t.Error("a key was made without randomness")
	}
}

func TestLoadKeys(t *testing.T) {
	dir := t.TempDir()
	older, err := LoadOrCreateKey(filepath.Join(dir, "old.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := LoadKeys(Config{PreviousKeyFiles: []string{"old.key"}}, dir, rand.Reader)
	if err != nil || len(keys) != 2 || !bytes.Equal(keys[1], older) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if _, err := os.Stat(filepath.Join(dir, DefaultKeyFile)); err != nil {
		t.Error(err)
	}
	if _, err := LoadKeys(Config{PreviousKeyFiles: []string{"gone.key"}}, dir, rand.Reader); err == nil {
		t.Error("a missing previous key was made or ignored")
	}
}
