//go:build linux || darwin || freebsd

package anyimage

import "golang.org/x/sys/unix"

// freeSpace returns how many bytes dir has room for.
func freeSpace(dir string) (int64, bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false
	}
	return int64(min(uint64(st.Bavail)*uint64(st.Bsize), 1<<62)), true
}
