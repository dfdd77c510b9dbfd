package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fastimage/fastimage/internal/atomicfile"
)

// FileStore is a Store in a directory: a file per upload, mode 0600, replaced
// atomically, and a lock file beside it while an upload runs.
type FileStore struct {
	dir string
}

// NewFileStore returns a store in dir, which is made (mode 0700) if missing.
func NewFileStore(dir string) (*FileStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("uploader: state directory: %w", err)
	}
	return &FileStore{dir: dir}, nil
}

func (f *FileStore) path(name, ext string) (string, error) {
	if name == "" || strings.Trim(name, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%w: state name %q", ErrConfig, name)
	}
	return filepath.Join(f.dir, name+ext), nil
}

// Lock implements Store.
func (f *FileStore) Lock(_ context.Context, name string) (func() error, error) {
	p, err := f.path(name, ".lock")
	if err != nil {
		return nil, err
	}
	for {
		file, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("uploader: state lock: %w", err)
		}
		if err := lockFile(file); err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrLocked, err), file.Close())
		}
		// The holder before us may have removed the file between our open and
		// our lock: then we hold a lock that nobody else will see.
		if sameFile(file, p) {
			return func() error { return unlockFile(file, p) }, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

func sameFile(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// unlockFile removes the file while the lock is held, then lets go of it. Where
// an open file cannot be removed it stays, empty and unlocked.
func unlockFile(file *os.File, path string) error {
	_ = os.Remove(path)
	return file.Close()
}

// maxState is far more than the state of 10000 parts takes; what is cut there
// does not parse.
const maxState = 16 << 20

// Load implements Store.
func (f *FileStore) Load(_ context.Context, name string) ([]byte, error) {
	p, err := f.path(name, ".json")
	if err != nil {
		return nil, err
	}
	file, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxState))
	return data, errors.Join(err, file.Close())
}

// Save implements Store.
func (f *FileStore) Save(_ context.Context, name string, data []byte) error {
	p, err := f.path(name, ".json")
	if err != nil {
		return err
	}
	file, err := atomicfile.Create(p, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return errors.Join(err, file.Abort())
	}
	return file.Commit()
}

// Remove implements Store. Temporary files of a process that died while saving
// go too.
func (f *FileStore) Remove(_ context.Context, name string) error {
	p, err := f.path(name, ".json")
	if err != nil {
		return err
	}
	if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return atomicfile.Sweep(p)
}
