// Package sparsetest checks that a source follows the contract of package
// sparse.
package sparsetest

import (
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/sparse"
)

// Source is a disk that knows its holes.
type Source interface {
	io.ReaderAt
	sparse.Finder
}

// Check walks the ranges of src, a disk of size bytes, and checks every rule of
// the contract: clipping, progress, the end, invalid offsets, and that whatever
// is in no range reads as zeros. The disk should be small: its holes are read.
func Check(t testing.TB, src Source, size int64) {
	t.Helper()
	_, _, err := src.NextData(-1)
	require.ErrorIs(t, err, fs.ErrInvalid, "a negative offset")
	for _, off := range []int64{size, size + 1, 1 << 62} {
		_, _, err = src.NextData(off)
		require.ErrorIs(t, err, io.EOF, "offset %d of %d", off, size)
	}
	for off := int64(0); off < size; {
		start, end, err := src.NextData(off)
		if errors.Is(err, io.EOF) {
			start, end, err = size, size, nil
		}
		require.NoError(t, err, "at %d", off)
		require.True(t, off <= start && (start < end || start == size) && end <= size, "at %d: [%d,%d)", off, start, end)
		requireZeros(t, src, off, start)
		if middle := start + (end-start)/2; middle > start {
			s, e, err := src.NextData(middle)
			require.NoError(t, err)
			require.Equal(t, middle, s, "inside of [%d,%d)", start, end)
			require.Greater(t, e, s)
		}
		off = end
	}
}

func requireZeros(t testing.TB, src Source, from, to int64) {
	t.Helper()
	for buf := make([]byte, 1<<20); from < to; {
		p := buf[:min(int64(len(buf)), to-from)]
		n, err := src.ReadAt(p, from)
		require.Equal(t, len(p), n, "read at %d: %v", from, err)
		require.True(t, sparse.IsZero(p), "data outside of every range at %d", from)
		from += int64(n)
	}
}
