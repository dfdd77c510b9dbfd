package atomicfile_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
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

// What a process that died left is removed, and nothing else: not what another
// is writing, and not in a directory whose name is a pattern either.
func TestSweep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*")
	require.NoError(t, os.Mkdir(dir, 0o700))
	name := filepath.Join(dir, "file")
	for _, n := range []string{".file.DEADDEAD.tmp", ".file.1.tmp", "file", ".file.json.DEADDEAD.tmp"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte("dead"), 0o600))
	}
	other := begin(t, name, []byte("alive")) // sweeps
	want := []string{".file.1.tmp", ".file.json.DEADDEAD.tmp", "file"}
	left := slices.DeleteFunc(names(t, dir), func(n string) bool { return n != "file" && !slices.Contains(want, n) })
	require.Equal(t, want, left)
	if runtime.GOOS != "windows" { // which lets nobody remove an open file
		require.NoError(t, atomicfile.Sweep(name))
	}
	require.NoError(t, other.Commit())
	require.Equal(t, want, names(t, dir))
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "alive", string(got))
}

// What is replaced keeps its mode, a link stays, and what cannot be replaced is
// refused before anything is written.
func TestReplaced(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("modes and links are different there")
	}
	dir := t.TempDir()
	name, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(name, []byte("old"), 0o600))
	require.NoError(t, os.Chmod(name, 0o640))
	require.NoError(t, os.Symlink("file", link))
	require.NoError(t, begin(t, link, []byte("new")).Commit())
	fi, err := os.Lstat(name)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), fi.Mode())
	fi, err = os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, fi.Mode()&fs.ModeSymlink)
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "new", string(got))

	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, exec.Command("mkfifo", filepath.Join(dir, "pipe")).Run())
	before := names(t, dir)
	for n, want := range map[string]error{"dangling": fs.ErrNotExist, "pipe": nil, ".": syscall.EISDIR} {
		_, err := atomicfile.Create(filepath.Join(dir, n), 0o666)
		require.Error(t, err, n)
		if want != nil {
			require.ErrorIs(t, err, want)
		}
	}
	_, err = atomicfile.Create("", 0o666)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.Equal(t, before, names(t, dir))
}
