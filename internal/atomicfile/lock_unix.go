//go:build unix

package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock that a process holds on its temporary file while it lives;
// ok is false if another holds it.
func lock(f *os.File) (ok bool) {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}
