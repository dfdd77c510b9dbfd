// Package filelock makes sure that one process at a time uses something, by an
// advisory lock on a file that ends with its process.
package filelock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// ErrUnsupported means that the file system has no locks.
var ErrUnsupported = errors.New("the file system does not support locks")

// HeldError reports that another process, or another part of this one, has
// locked the file.
type HeldError struct {
	File string
	PID  int // of the holder, 0 if it is not known
}

// Error implements error.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return "in use by another process"
	}
	if e.PID == os.Getpid() {
		return "in use by this process"
	}
	return fmt.Sprintf("in use by process %d", e.PID)
}

// Lock is a locked file.
type Lock struct{ file *os.File }

// Acquire locks the file called name, which is created (mode 0600) if missing.
// It does not wait: a file that is locked is a [*HeldError].
func Acquire(name string) (*Lock, error) {
	for {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		held, err := lock(file)
		switch {
		case err != nil:
			return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrUnsupported, name, err), file.Close())
		case held:
			return nil, errors.Join(&HeldError{name, holder(file)}, file.Close())
		}
		// The holder before us may have removed the file between our open and
		// our lock: then nobody else would see our lock.
		if same(file, name) {
			_ = file.Truncate(0)
			_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // for HeldError only
			return &Lock{file}, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

// holder returns the process that a locked file names, 0 if it names none.
func holder(file *os.File) int {
	text, _ := io.ReadAll(io.LimitReader(file, 32))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return max(pid, 0)
}

func same(file *os.File, name string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}

// Release removes the file while it is locked, then unlocks it. Where an open
// file cannot be removed it stays.
func (l *Lock) Release() error {
	_ = os.Remove(l.file.Name())
	return l.file.Close()
}
