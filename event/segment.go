package event

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// segment is one file of the log. Its name is the offset of its first byte.
type segment struct {
	base Offset
	size int64     // bytes that are durable
	last time.Time // when it was last written
	path string
}

func (s *segment) end() Offset { return s.base + Offset(s.size) }

const (
	segmentSuffix = ".log"
	tornInfix     = ".torn-" // between the name of a file and the place at which it was torn
)

func segmentPath(dir string, base Offset) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, segmentSuffix))
}

// listSegments returns the files of the log in dir by base offset.
func listSegments(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []*segment
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), segmentSuffix)
		if !ok || len(name) != 20 {
			continue
		}
		base, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		path := filepath.Join(dir, entry.Name())
		list = append(list, &segment{base: Offset(base), size: info.Size(), last: info.ModTime(), path: path})
	}
	slices.SortFunc(list, func(a, b *segment) int { return int(min(1, max(-1, a.base-b.base))) })
	return list, nil
}

// segmentFile is the open file that the log writes to.
type segmentFile interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

func openSegment(path string) (segmentFile, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// syncDir makes created and removed names of dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// tailOf returns the position behind the last valid record of a file of the
// given size, and how many bytes before it are damaged.
func tailOf(file io.ReaderAt, size int64) (tail, damaged int64, err error) {
	r := recordReader{file: file, limit: size}
	for {
		payload, at, err := r.next(tail)
		if errors.Is(err, errNoRecord) {
			return tail, damaged, nil
		}
		if err != nil {
			return 0, 0, err
		}
		damaged += at - tail
		tail = at + headerSize + int64(len(payload))
	}
}

// setAside copies the bytes of a file from a position on into a file beside it,
// so that what is cut off can still be looked at, and returns its path.
func setAside(file io.ReaderAt, from, size int64, path string, now time.Time) (string, error) {
	side := fmt.Sprintf("%s%s%d-%d", path, tornInfix, from, now.UnixNano())
	out, err := os.OpenFile(side, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, io.NewSectionReader(file, from, size-from))
	return side, errors.Join(err, out.Sync(), out.Close())
}
