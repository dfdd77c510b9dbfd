package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback has the system begin to write what was just written, so that
// the flush at the end does not wait for all of it.
func startWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE) // where it fails the flush does it
}
