package sparse_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/sparse"
	"github.com/fastimage/fastimage/internal/sparse/sparsetest"
)

// answer is a source that always answers the same.
type answer struct {
	start, end int64
	err        error
}

func (a answer) NextData(int64) (start, end int64, err error) { return a.start, a.end, a.err }

func TestNextData(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name       string
		f          sparse.Finder
		off        int64
		start, end int64
		err        error
	}{
		{"no holes", nil, 10, 10, 100, nil},
		{"in the hole", answer{20, 30, nil}, 10, 20, 30, nil},
		{"starts before", answer{0, 30, nil}, 10, 10, 30, nil},
		{"ends after", answer{20, 300, nil}, 10, 20, 100, nil},
		{"all of it after", answer{200, 300, nil}, 10, 0, 0, io.EOF},
		{"end", answer{err: io.EOF}, 10, 0, 0, io.EOF},
		{"wrapped end", answer{err: fmt.Errorf("end: %w", io.EOF)}, 10, 0, 0, io.EOF},
		{"at the size", nil, 100, 0, 0, io.EOF},
		{"past the size", nil, 1 << 62, 0, 0, io.EOF},
		{"negative", nil, -1, 0, 0, fs.ErrInvalid},
		{"behind", answer{0, 10, nil}, 10, 0, 0, sparse.ErrContract},
		{"empty", answer{20, 20, nil}, 10, 0, 0, sparse.ErrContract},
		{"reversed", answer{30, 20, nil}, 10, 0, 0, sparse.ErrContract},
		{"failed", answer{err: broken}, 10, 0, 0, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			start, end, err := sparse.NextData(c.f, c.off, 100)
			require.ErrorIs(t, err, c.err)
			if c.err == io.EOF {
				require.Equal(t, io.EOF, err, "bare")
			}
			require.Equal(t, [2]int64{c.start, c.end}, [2]int64{start, end})
		})
	}
}

func TestIsZero(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 7, 16<<10 - 1, 16 << 10, 16<<10 + 1, 100_000} {
		p := make([]byte, n)
		require.True(t, sparse.IsZero(p))
		for _, i := range []int{0, n / 2, n - 1} {
			if n > 0 {
				p[i] = 1
				require.False(t, sparse.IsZero(p), "%d of %d", i, n)
				p[i] = 0
			}
		}
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "sparse"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.NoError(t, f.Truncate(8<<20))
	_, err = f.WriteAt([]byte("x"), 4<<20)
	require.NoError(t, err)
	h := sparse.NewFile(f, 8<<20)
	sparsetest.Check(t, h, 8<<20)
	if runtime.GOOS == "linux" && h.HasHoles() {
		start, end, err := h.NextData(0)
		require.NoError(t, err)
		require.LessOrEqual(t, start, int64(4<<20))
		require.Less(t, end-start, int64(1<<20))
	}
}
