package certificate

import (
	"os"
	"sync"
	"time"
)

// lookAgain is how often files are looked at, at most.
const lookAgain = time.Second

// Watch tells when files have changed. It looks at them when it is asked, so that
// nothing runs while nobody comes. It may be used by many goroutines.
type Watch struct {
	paths []string

	mu     sync.Mutex
	looked time.Time
	seen   []os.FileInfo // nil for a file that is not there
}

// NewWatch makes a watch that knows the files as they are at this moment; an empty
// path stands for no file.
func NewWatch(now time.Time, paths ...string) *Watch {
	w := &Watch{paths: paths, looked: now}
	w.seen = w.look()
	return w
}

func (w *Watch) look() []os.FileInfo {
	infos := make([]os.FileInfo, len(w.paths))
	for i, path := range w.paths {
		if info, err := os.Stat(path); err == nil {
			infos[i] = info
		}
	}
	return infos
}

// Changed reports whether a file has changed since it last did. One caller looks,
// at most once a second, and the others do not wait for it.
func (w *Watch) Changed(now time.Time) (changed bool) {
	if !w.mu.TryLock() {
		return false
	}
	defer w.mu.Unlock()
	if since := now.Sub(w.looked); since >= 0 && since < lookAgain {
		return false
	}
	before := w.seen
	w.looked, w.seen = now, w.look()
	for i, info := range w.seen {
		changed = changed || !same(info, before[i])
	}
	return changed
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
