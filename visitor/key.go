package visitor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// keyMark starts every key file, so that another file given by mistake is
// refused and never used as a key.
const keyMark = "sedge-key-v1:"

const keyFileLen = len(keyMark) + 43 + 1 // 32 bytes in base64url and a line end

// LoadKeys reads the keys that the configuration names, the signing key first.
// The signing key is made if its file is missing; without a key_file it is
// "visitor.key" in dataDir. Relative names are relative to dataDir.
func LoadKeys(cfg Config, dataDir string, random io.Reader) ([][]byte, error) {
	place := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dataDir, name)
	}
	first, err := LoadOrCreateKey(place(orDefault(cfg.KeyFile, DefaultKeyFile)), random)
	if err != nil {
		return nil, err
	}
	keys := [][]byte{first}
	for _, name := range cfg.PreviousKeyFiles {
		key, err := loadKey(place(name))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// LoadOrCreateKey reads the key in the file at path. A missing file is made with
// a new random key and mode 0600; if several processes do so at once, all of
// them get the same key. A file that others may read, or that does not hold
// exactly one key, is refused and left as it is.
func LoadOrCreateKey(path string, random io.Reader) ([]byte, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKey(path, random); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create visitor key %q: %w", path, err)
	}
	return loadKey(path)
}

func loadKey(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read visitor key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read visitor key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read visitor key %q: not a regular file", path)
	}
	// Group-readable is how orchestrators mount secrets for a non-root user.
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return nil, fmt.Errorf("read visitor key %q: mode %04o lets other users at the key; run: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, int64(keyFileLen)+1))
	if err != nil {
		return nil, fmt.Errorf("read visitor key %q: %w", path, err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("read visitor key %q: %w; restore it from a backup, or move it away to have a new one made (every visitor is then new)", path, err)
	}
	return key, nil
}

func parseKey(text []byte) ([]byte, error) {
	body, ok := bytes.CutPrefix(text, []byte(keyMark))
	if !ok {
		return nil, errors.New("not a Sedge key file")
	}
	body = bytes.TrimSuffix(body, []byte("\n"))
	key := make([]byte, encoding.DecodedLen(len(body)))
	n, err := encoding.Decode(key, body)
	if err != nil || n != KeySize || len(text) > keyFileLen {
		return nil, errors.New("the key is damaged or cut off")
	}
	return key, checkKey(key)
}

func checkKey(key []byte) error {
	if len(key) < KeySize {
		return fmt.Errorf("the key has %d bytes, at least %d are needed", len(key), KeySize)
	}
	if bytes.Count(key, key[:1]) == len(key) {
		return errors.New("the key repeats one byte, so it is not random")
	}
	return nil
}

// createKey writes the key to a file of its own and then links it to its name:
// a reader sees all of it or none, and an existing key is never replaced.
func createKey(path string, random io.Reader) error {
	key := make([]byte, KeySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return err
	}
	if err := checkKey(key); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".visitor-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(keyMark + encoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
