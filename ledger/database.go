package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/sedge-proxy/sedge/event/pack"
)

// ErrDamaged says that the database file is not what Sedge wrote.
var ErrDamaged = errors.New("damaged")

// ErrInUse says that another process uses the data directory.
var ErrInUse = errors.New("in use")

// errStructure marks damage inside a file that bbolt itself can read.
var errStructure = errors.New("unexpected content")

// database is the bbolt file. bbolt panics on pages that make no sense, and a
// file that was cut short faults when its mapping is read; both become errors.
type database struct {
	path string
	db   *bbolt.DB
}

func openDatabase(path string, readOnly bool) (*database, error) {
	d := &database{path: path}
	if readOnly {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open ledger: there is no %s yet; a node makes it when it first starts: %w", path, err)
		}
	}
	err := d.guard(func() (err error) {
		d.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: time.Second, FreelistType: bbolt.FreelistMapType, ReadOnly: readOnly,
			// Growing the mapping stops all readers; on 64 bits a large one is free.
			InitialMmapSize: 256 << 20,
		})
		var system syscall.Errno
		if err != nil && !errors.As(err, &system) && !errors.Is(err, bolterrors.ErrTimeout) {
			// The system has no complaint, so it is about what is in the file.
			err = fmt.Errorf("%w: %w", errStructure, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *database) update(f func(tx *bbolt.Tx) error) error {
	return d.guard(func() error { return d.db.Update(f) })
}

func (d *database) view(f func(tx *bbolt.Tx) error) error {
	return d.guard(func() error { return d.db.View(f) })
}

func (d *database) close() error {
	return d.guard(d.db.Close)
}

func (d *database) size() int64 {
	info, err := os.Stat(d.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// guard calls f and makes its errors, panics and memory faults say what is
// wrong and what to do.
func (d *database) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = d.damage(fmt.Errorf("%v", cause))
		}
	}()
	err = f()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		dir := filepath.Dir(d.path)
		return fmt.Errorf("another sedge is using %s (it holds %s): stop it, ask its admin API, or use another data directory: %w",
			dir, filepath.Base(d.path), ErrInUse)
	case errors.Is(err, errStructure), errors.Is(err, pack.ErrDamaged), errors.Is(err, bolterrors.ErrInvalidMapping):
		return d.damage(err)
	}
	return fmt.Errorf("ledger %s: %w", d.path, err)
}

func (d *database) damage(cause error) error {
	return fmt.Errorf("%s is %w (%w): move the file away and start again; Sedge then rebuilds it from the event log, as far back as the log's retention reaches",
		d.path, ErrDamaged, cause)
}
