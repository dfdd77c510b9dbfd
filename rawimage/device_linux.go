package rawimage

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deviceSize asks the driver where seeking does not know: some device-mapper
// and network block drivers answer only the ioctl.
func deviceSize(f *os.File) (int64, error) {
	size, err := seekSize(f)
	if err == nil && size > 0 {
		return size, nil
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n uint64
	var errno unix.Errno
	if err := conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&n)))
	}); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return int64(n), nil
}
