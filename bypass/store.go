package bypass

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// File is the name of the file in the data directory that holds the switches.
const File = "switches.json"

const (
	fileVersion = 1
	maxFile     = 1 << 20
)

// Store keeps the switches in a file, so that they outlive the process. Its methods
// may be called concurrently.
type Store struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	set     Set
	damaged bool // the file is there and could not be read
}

// Open reads the switches of the data directory dir. If their file is damaged, the
// error says so, and the store is good all the same: in it everything is off, since
// nobody knows what its owner had turned off.
func Open(dir string, now func() time.Time) (*Store, error) {
	s := &Store{path: filepath.Join(dir, File), now: now}
	set, err := read(s.path)
	if err != nil {
		s.damaged = true
		s.set = Set{{Kind: Everything, Since: now(), Reason: "the file of the kill switches is damaged"}}
		return s, fmt.Errorf("read the kill switches: %q: %w; until somebody lifts it, everything is off, and then all other switches are gone", s.path, err)
	}
	s.set = set
	return s, nil
}

type file struct {
	Version  int `json:"version"`
	Switches Set `json:"switches"`
}

func read(path string) (Set, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	return parse(text)
}

func parse(text []byte) (Set, error) {
	var found file
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&found); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the switches")
	}
	if found.Version != fileVersion {
		return nil, fmt.Errorf("version %d, expected %d", found.Version, fileVersion)
	}
	var set Set
	for _, each := range found.Switches {
		if err := each.Check(); err != nil {
			return nil, err
		}
		set = set.with(each)
	}
	return set, nil
}

// List returns the switches that are set.
func (s *Store) List() Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set
}

// Set sets a switch; one that is set stays as it is, but for a new reason. If the
// file cannot be written, the switch is set all the same, until the process ends.
func (s *Store) Set(kind Kind, name, reason string) error {
	added := Switch{Kind: kind, Name: name, Reason: reason, Since: s.now().UTC().Truncate(time.Second)}
	if err := added.Check(); err != nil {
		return fmt.Errorf("set a kill switch: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.set.with(added)
	if len(next) > maxSwitches {
		return fmt.Errorf("set a kill switch: there are %d already; turn everything off instead", maxSwitches)
	}
	s.set = next
	if err := s.save(next); err != nil {
		return fmt.Errorf("set the kill switch %q: it is set, and will be forgotten when the node ends: %w", added, err)
	}
	return nil
}

// Lift lifts a switch, if it is set. It stays if the file cannot be written.
func (s *Store) Lift(kind Kind, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.set.without(kind, name)
	if len(next) == len(s.set) {
		return nil
	}
	if err := s.save(next); err != nil {
		return fmt.Errorf("lift the kill switch %q: %w", Switch{Kind: kind, Name: name}, err)
	}
	s.set = next
	return nil
}

// save writes the file anew and puts it in the place of the old one, which is whole
// until then. A damaged one is kept beside it.
func (s *Store) save(set Set) error {
	text, err := json.MarshalIndent(file{fileVersion, set}, "", "  ")
	if err != nil {
		return err
	}
	next, err := os.OpenFile(s.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(append(text, '\n'))
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if s.damaged { // only now: without a file nothing is off
		if err := os.Rename(s.path, s.path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(next.Name(), s.path); err != nil {
		return err
	}
	s.damaged = false
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
