//go:build darwin || freebsd

package fileid

import (
	"io/fs"
	"syscall"
	"time"
)

func (id *ID) fill(fi fs.FileInfo) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		id.Changed = time.Unix(st.Ctimespec.Unix()).UTC()
		id.Device, id.Inode = uint64(st.Dev), uint64(st.Ino)
	}
}
