package fileid_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/fileid"
)

func TestID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	of := func(name string) fileid.ID {
		fi, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		return fileid.Of(fi)
	}
	old := time.Unix(1e9, 0)
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), old, old))
	}
	write("a", "text")
	a := of("a")
	require.True(t, a.Equal(of("a")))
	require.EqualValues(t, 4, a.Size)
	require.True(t, a.ModTime.Equal(old))

	write("b", "text")
	if runtime.GOOS == "windows" {
		return
	}
	require.False(t, a.SameFile(of("b")))
	require.False(t, a.Equal(of("b")))
	for deadline := time.Now().Add(10 * time.Second); ; { // the clock of a file system is coarse
		write("a", "more")
		if b := of("a"); !b.Changed.Equal(a.Changed) {
			require.False(t, a.Equal(b), "the time of modification was set back")
			require.True(t, a.SameFile(b))
			break
		}
		require.True(t, time.Now().Before(deadline))
	}
}
