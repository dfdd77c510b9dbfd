//go:build linux || freebsd

package sparse

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// macOS has SEEK_DATA too, but APFS answers it only for aligned offsets and
// counts preallocated space as holes before it is flushed: it is left out.

// seekData finds the first data at or after off. The two seeks move the file's
// position, which nothing uses (reads are pread), and each answers for itself,
// so concurrent callers do not disturb each other.
func seekData(f *os.File, off int64) (start, end int64, err error) {
	start, err = seek(f, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = seek(f, start, unix.SEEK_HOLE)
	if errors.Is(err, unix.ENXIO) { // truncated between the two
		return 0, 0, io.EOF
	}
	return start, end, err
}

func seek(f *os.File, off int64, whence int) (pos int64, err error) {
	conn, err := f.SyscallConn() // keeps the descriptor open during the call
	if err != nil {
		return 0, err
	}
	cerr := conn.Control(func(fd uintptr) {
		for {
			pos, err = unix.Seek(int(fd), off, whence)
			if err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return 0, cerr
	}
	return pos, err
}
