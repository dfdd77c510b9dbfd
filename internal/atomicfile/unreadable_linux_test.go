package atomicfile_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A directory that can be written and not read takes a file.
func TestUnreadableDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o300))
	defer os.Chmod(dir, 0o700) // so that it can be removed
	if os.Geteuid() == 0 {
		// Nothing is closed to root: for this, the thread is somebody else to
		// the file system.
		const nobody = 65534
		require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
		require.NoError(t, os.Chown(dir, nobody, nobody))
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		require.NoError(t, syscall.Setfsuid(nobody))
		defer func() { require.NoError(t, syscall.Setfsuid(0)) }()
	}
	_, err := os.ReadDir(dir)
	require.ErrorIs(t, err, os.ErrPermission)
	require.NoError(t, begin(t, filepath.Join(dir, "file"), []byte("new")).Commit())
}
