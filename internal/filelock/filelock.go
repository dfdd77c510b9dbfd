// Package filelock takes exclusive locks on files that end with the process,
// and says which process holds one.
package filelock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// ErrHeld is matched by the error of a lock that another process, or another
// Lock of this one, holds.
var ErrHeld = errors.New("locked by another process")

// HeldError reports a lock that is held elsewhere. It matches [ErrHeld].
type HeldError struct {
	Name string // of the lock file
	PID  int    // of the process that holds it, 0 if it is not known
}

// Error names the process, if it is known.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return ErrHeld.Error()
	}
	return fmt.Sprintf("locked by process %d", e.PID)
}

// Is reports whether target is ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Lock is a lock that is held.
type Lock struct{ f *os.File }

// Acquire locks the file called name, which is made if it is missing, and
// writes this process's id into it. It does not wait: a lock that is held is a
// [*HeldError]. On a file system without locks the error matches
// [errors.ErrUnsupported].
func Acquire(name string) (*Lock, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		held := &HeldError{Name: name, PID: owner(f)}
		_ = f.Close()
		if errors.Is(err, ErrHeld) {
			return nil, held
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	// The id is for messages only: the lock is good without it.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{f}, nil
}

// Release ends the lock. The file stays: removing it would let two processes
// lock two files of one name.
func (l *Lock) Release() error {
	if l == nil {
		return nil
	}
	return l.f.Close()
}

// owner reads the id that a lock's holder has written.
func owner(f *os.File) int {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}
