package dashboard

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// TokenFile is the name of the file in the data directory that holds the admin token.
const TokenFile = "admin.token"

const tokenBytes = 32

// ReadToken reads the admin token of the node that keeps its data in dir.
func ReadToken(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, TokenFile))
	if err != nil {
		return "", fmt.Errorf("read the admin token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// LoadOrCreateToken reads the admin token in dir, and makes one at the first start.
// The file is readable for its owner only.
func LoadOrCreateToken(dir string, random io.Reader) (string, error) {
	path := filepath.Join(dir, TokenFile)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createToken(path, random)
	case err != nil:
		return "", fmt.Errorf("read the admin token: %w", err)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("admin token %q may be read by others (mode %04o): run chmod 600 on it, or delete it to get a new one", path, info.Mode().Perm())
	}
	token, err := ReadToken(dir)
	if err == nil && len(token) < tokenBytes {
		return "", fmt.Errorf("admin token %q is too short to be safe: delete it to get a new one", path)
	}
	return token, err
}

func createToken(path string, random io.Reader) (string, error) {
	raw := make([]byte, tokenBytes)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("make an admin token: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(raw)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("write the admin token: %w", err)
	}
	_, err = file.WriteString(token + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", fmt.Errorf("write the admin token: %w", errors.Join(err, os.Remove(path)))
	}
	return token, nil
}
