package certificate

import (
	"crypto/tls"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lookAgain is how often files are looked at, at most.
const lookAgain = time.Second

// file is a certificate from files.
type file struct {
	Files
	current atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	looked time.Time
	seen   [2]os.FileInfo // what the files were like when they were last read
}

// load reads the files.
func (f *file) load() error {
	f.seen = f.stat()
	cert, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
	if err == nil {
		f.current.Store(&cert)
	}
	return err
}

// stat returns nil for a file that is not there.
func (f *file) stat() (infos [2]os.FileInfo) {
	for i, name := range [...]string{f.CertFile, f.KeyFile} {
		if info, err := os.Stat(name); err == nil {
			infos[i] = info
		}
	}
	return infos
}

// refresh reads the files again if they have changed. A fault comes back once for
// each change. One caller looks, the others do not wait for it.
func (f *file) refresh(now time.Time) (changed bool, err error) {
	if !f.mu.TryLock() {
		return false, nil
	}
	defer f.mu.Unlock()
	if since := now.Sub(f.looked); since >= 0 && since < lookAgain {
		return false, nil
	}
	f.looked = now
	for i, info := range f.stat() {
		changed = changed || !same(info, f.seen[i])
	}
	if !changed {
		return false, nil
	}
	return true, f.load()
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
