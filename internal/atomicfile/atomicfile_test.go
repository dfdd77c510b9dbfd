package atomicfile_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/atomicfile"
)

// begin writes in both ways, more than is handed to the system at once.
func begin(t *testing.T, name string, content []byte) *atomicfile.File {
	t.Helper()
	f, err := atomicfile.Create(name, 0o666)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(len(content))))
	half := len(content) / 2
	for part := range slices.Chunk(content[:half], 1<<20) {
		_, err = f.Write(part)
		require.NoError(t, err)
	}
	_, err = f.WriteAt(content[half:], int64(half))
	require.NoError(t, err)
	return f
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestFile(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	for _, tt := range []struct {
		name     string
		end      func(*atomicfile.File) error
		old      bool // the name is taken
		replaced bool
		err      error
	}{
		{"commit", (*atomicfile.File).Commit, false, true, nil},
		{"commit over another", (*atomicfile.File).Commit, true, true, nil},
		{"commit new", (*atomicfile.File).CommitNew, false, true, nil},
		{"commit new over another", (*atomicfile.File).CommitNew, true, false, fs.ErrExist},
		{"abort", (*atomicfile.File).Abort, true, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, "file")
			if tt.old {
				require.NoError(t, os.WriteFile(name, []byte("old"), 0o600))
			}
			f := begin(t, name, content)
			require.ErrorIs(t, tt.end(f), tt.err)
			require.Equal(t, []string{"file"}, names(t, dir), "no temporary file is left")
			got, err := os.ReadFile(name)
			require.NoError(t, err)
			want := []byte("old")
			if tt.replaced {
				want = content
			}
			require.True(t, bytes.Equal(want, got))
		})
	}
}

func TestNoDirectory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "none", "file")
	_, err := atomicfile.Create(name, 0o666)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "create "+name+": ")
}

// What cannot be renamed is removed.
func TestFailedRename(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	f := begin(t, name, []byte("new"))
	require.NoError(t, os.Mkdir(name, 0o700))
	require.Error(t, f.Commit())
	require.Equal(t, []string{"file"}, names(t, dir))
}

// What a process left that died goes, and nothing else: not in a directory whose
// name is a pattern either.
func TestSweep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*")
	require.NoError(t, os.Mkdir(dir, 0o700))
	name := filepath.Join(dir, "file")
	dead := begin(t, name, []byte("dead"))
	other := begin(t, filepath.Join(dir, "file.json"), []byte("alive"))
	require.NoError(t, os.WriteFile(name, []byte("whole"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".file.1.tmp"), nil, 0o600))
	if runtime.GOOS == "windows" {
		require.NoError(t, dead.Abort()) // an open file cannot be removed there
	}
	require.NoError(t, atomicfile.Sweep(name))
	require.NoError(t, other.Commit())
	require.Equal(t, []string{".file.1.tmp", "file", "file.json"}, names(t, dir))
	_ = dead.Abort() // closes it
}
