package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleTime lets an editor finish writing, or a symbolic link being swapped,
// before the file is read again.
const settleTime = 200 * time.Millisecond

// Watch calls changed, one call at a time, whenever the bytes of the file that was
// loaded have changed, until ctx ends. It watches the directory, since editors and config maps
// replace the file instead of writing into it.
func Watch(ctx context.Context, loaded *Config, changed func()) error {
	file, last := loaded.source.file, loaded.source.digest
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch configuration %q: %w", file, err)
	}
	defer watcher.Close()
	if err := watcher.Add(filepath.Dir(file)); err != nil {
		return fmt.Errorf("watch configuration %q: %w", file, err)
	}
	watchTarget(watcher, file)
	settled := time.NewTimer(settleTime) // for a change since it was loaded
	defer settled.Stop()
	due := true
	settle := func() { // not put off: other files of the directory may change all the time
		if !due {
			due = true
			settled.Reset(settleTime)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-watcher.Events:
			if !open {
				return fmt.Errorf("watch configuration %q: the watcher ended", file)
			}
			settle()
		case err, open := <-watcher.Errors:
			if !open {
				return fmt.Errorf("watch configuration %q: the watcher ended", file)
			}
			if err != nil { // events may have been lost: look
				settle()
			}
		case <-settled.C:
			due = false
			watchTarget(watcher, file)
			if now := digestFile(file); now != last && now != (fileDigest{}) {
				last = now
				changed()
			}
		}
	}
}

// watchTarget watches the directory where the file truly lies too: a symbolic link
// may lead elsewhere, and elsewhere again after it was swapped. Where that cannot be
// watched, the link's own directory still is.
func watchTarget(watcher *fsnotify.Watcher, file string) {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		_ = watcher.Add(filepath.Dir(target))
	}
}

type fileDigest [sha256.Size]byte

// digestFile returns the zero value for a file that cannot be read, as while it is
// being replaced.
func digestFile(file string) (sum fileDigest) {
	f, err := os.Open(file)
	if err != nil {
		return sum
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(f, maxFileSize+1)); err != nil {
		return fileDigest{}
	}
	return fileDigest(hash.Sum(nil))
}
