//go:build unix

package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes an advisory lock. Only EWOULDBLOCK means that it is held;
// whatever else flock says, the file system does not do it.
func tryLock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrHeld
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EINVAL):
			return errors.Join(errors.ErrUnsupported, err)
		}
		return err // ENOSYS, ENOTSUP and EOPNOTSUPP match ErrUnsupported themselves
	}
}
