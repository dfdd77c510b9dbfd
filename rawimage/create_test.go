package rawimage_test

import (
	"bytes"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage"
)

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestWriter(t *testing.T) {
	const size = 3*mib + 777
	rng := rand.New(rand.NewPCG(5, 6))
	want := make([]byte, size)
	dir := t.TempDir()
	name := filepath.Join(dir, "disk.raw")
	w, err := rawimage.Create(name, size)
	require.NoError(t, err)
	defer w.Abort()
	for range 300 { // over each other, with zeros over data too
		p := make([]byte, rng.IntN(40*kib))
		for i := range p {
			if rng.IntN(20000) == 0 {
				p[i] = 1
			}
		}
		off := rng.IntN(size - len(p))
		n, err := w.WriteAt(p, int64(off))
		require.NoError(t, err)
		require.Equal(t, len(p), n)
		copy(want[off:], p)
	}
	require.NotContains(t, names(t, dir), "disk.raw")
	require.NoError(t, w.Commit())
	require.Equal(t, []string{"disk.raw"}, names(t, dir))
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))

	_, err = w.WriteAt([]byte{1}, 0)
	require.ErrorIs(t, err, rawimage.ErrClosed)
	require.ErrorIs(t, w.Commit(), rawimage.ErrClosed)
	require.NoError(t, w.Abort())
	require.Equal(t, []string{"disk.raw"}, names(t, dir))
}

func TestWriterLeavesHoles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.raw")
	w, err := rawimage.Create(name, 64*mib)
	require.NoError(t, err)
	defer w.Abort()
	var wg sync.WaitGroup
	for i := range int64(32) {
		wg.Go(func() {
			block := make([]byte, 2*mib)
			if i == 3 {
				block[mib] = 1
			}
			if _, err := w.WriteAt(block, i*2*mib); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, w.Commit())
	im, err := rawimage.Open(name)
	require.NoError(t, err)
	defer im.Close()
	require.Equal(t, int64(64*mib), im.Size())
	if runtime.GOOS == "linux" {
		var data int64
		for e, err := range im.Extents() {
			require.NoError(t, err)
			data += e.Length
		}
		require.LessOrEqual(t, data, int64(64*kib))
	}
}

func TestWriterLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "disk.raw")
	require.NoError(t, os.WriteFile(name, []byte("old"), 0o600))
	w, err := rawimage.Create(name, mib)
	require.NoError(t, err)
	_, err = w.WriteAt([]byte{1}, mib-1)
	require.NoError(t, err)
	_, err = w.WriteAt([]byte{1}, mib)
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = w.WriteAt([]byte{1}, -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.NoError(t, w.Abort())
	require.NoError(t, w.Abort(), "so that it can be deferred")
	require.Equal(t, []string{"disk.raw"}, names(t, dir))
	old, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "old", string(old))

	_, err = rawimage.Create(dir, mib)
	require.ErrorIs(t, err, rawimage.ErrNotImage)
	_, err = rawimage.Create(filepath.Join(dir, "no", "disk.raw"), mib)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, size := range []int64{0, -1, rawimage.MaxCreateSize + 1, 1 << 52, math.MaxInt64} {
		_, err = rawimage.Create(name, size)
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
	_, err = rawimage.Create("", mib)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.Equal(t, []string{"disk.raw"}, names(t, dir))
}

// CommitNew leaves a file that has the name as it is.
func TestWriterCommitNew(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "disk.raw")
	write := func() *rawimage.Writer {
		w, err := rawimage.Create(name, mib)
		require.NoError(t, err)
		require.True(t, w.Sparse())
		_, err = w.WriteAt(append(make([]byte, 8*kib), 1), 0)
		require.NoError(t, err)
		require.EqualValues(t, 1, w.Written(), "zeros became a hole")
		return w
	}
	require.NoError(t, write().CommitNew())
	first, err := os.Stat(name)
	require.NoError(t, err)
	require.EqualValues(t, mib, first.Size())

	require.ErrorIs(t, write().CommitNew(), fs.ErrExist)
	require.Equal(t, []string{"disk.raw"}, names(t, dir))
	after, err := os.Stat(name)
	require.NoError(t, err)
	require.True(t, os.SameFile(first, after))
	require.NoError(t, write().Commit())
	after, err = os.Stat(name)
	require.NoError(t, err)
	require.False(t, os.SameFile(first, after))
}
