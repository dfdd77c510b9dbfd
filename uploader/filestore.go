package uploader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fastimage/fastimage/internal/atomicfile"
	"github.com/fastimage/fastimage/internal/cloud"
	"github.com/fastimage/fastimage/internal/pkgerr"
)

// FileStore is a Store in a directory: a file per upload, mode 0600, replaced
// atomically, and a lock file beside it while an upload runs.
type FileStore struct {
	dir string
}

// NewFileStore returns a store in dir, which is made (mode 0700) if missing.
func NewFileStore(dir string) (*FileStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, pkg.Errorf("state directory: %w", err)
	}
	return &FileStore{dir: dir}, nil
}

func (f *FileStore) path(name, ext string) (string, error) {
	if name == "" || strings.Trim(name, "0123456789abcdef") != "" {
		return "", pkg.Errorf("%w: state name %q", ErrConfig, name)
	}
	return filepath.Join(f.dir, name+ext), nil
}

// A LockedError says which process works on the same target.
type LockedError struct {
	PID   int       // 0 if unknown
	Host  string    // that it runs on, "" if unknown
	Since time.Time // zero if unknown
	File  string    // the lock's
}

func (e *LockedError) Error() string { return string(pkg) + ": " + e.Text() }

// Text is Error without the package's name.
func (e *LockedError) Text() string {
	text := pkgerr.Text(ErrLocked)
	if e.PID == 0 {
		return text + fmt.Sprintf(" (lock file %s)", e.File)
	}
	return text + fmt.Sprintf(": process %d on %s, since %s (lock file %s); wait for it, or end it and start again to resume",
		e.PID, e.Host, e.Since.Local().Format(time.DateTime), e.File)
}

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// holder is what a lock file says of its process.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// Lock implements Store. A name that is taken is a *LockedError, a file system
// that has no locks ErrNoLocks.
func (f *FileStore) Lock(_ context.Context, name string) (func() error, error) {
	p, err := f.path(name, ".lock")
	if err != nil {
		return nil, err
	}
	for {
		file, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, pkg.Errorf("state lock: %w", err)
		}
		if err := lockFile(file); err != nil {
			return nil, errors.Join(f.lockError(file, p, err), file.Close())
		}
		// The holder before us may have removed the file between our open and
		// our lock: then we hold a lock that nobody else will see.
		if sameFile(file, p) {
			sign(file)
			return func() error { return unlockFile(file, p) }, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

// lockError explains why a lock was not given.
func (f *FileStore) lockError(file *os.File, path string, err error) error {
	switch {
	case lockTaken(err):
		var h holder
		data, _ := io.ReadAll(io.LimitReader(file, 4096))
		_ = json.Unmarshal(data, &h) // it may not be written yet
		return &LockedError{PID: h.PID, Host: cloud.Clip(h.Host), Since: h.Since, File: path}
	case locksMissing(err):
		return pkg.Errorf("%w: %s; use a state directory on another one", ErrNoLocks, f.dir)
	}
	return pkg.Errorf("state lock: %w", err)
}

// sign writes into a lock file who holds it. It is a courtesy to the next: no
// error of it matters.
func sign(file *os.File) {
	host, _ := os.Hostname()
	data, err := json.Marshal(holder{os.Getpid(), host, time.Now().UTC().Truncate(time.Second)})
	if err == nil && file.Truncate(0) == nil {
		_, _ = file.WriteAt(data, 0)
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

// unlockFile removes the file while the lock is held, then releases it. Where an
// open file cannot be removed it stays, unlocked.
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
