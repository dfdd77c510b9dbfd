package imagefmt_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// A value that many want is loaded once, the bound holds, and failures are not
// kept.
func TestCache(t *testing.T) {
	c := imagefmt.NewCache[int, int](100)
	var loads atomic.Int64
	get := func(k int) (int, error) {
		return c.Get(k, 40, func() (int, error) { loads.Add(1); return k * k, nil })
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			v, err := get(7)
			if v != 49 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, loads.Load())
	for _, k := range []int{1, 7, 2, 7, 1} { // 1 has to go for 2: 7 is younger
		_, err := get(k)
		require.NoError(t, err)
	}
	require.EqualValues(t, 4, loads.Load())
	broken := errors.New("broken")
	_, err := c.Get(99, 1000, func() (int, error) { return 0, broken })
	require.ErrorIs(t, err, broken)
	v, err := get(99)
	require.NoError(t, err)
	require.Equal(t, 9801, v)
}

// table has blocks of 4 bytes.
func table(entries ...uint32) *imagefmt.Table {
	return &imagefmt.Table{
		Prefix: "test", Source: bytes.NewReader([]byte("HEADaaaabbbbccccdd")), FileSize: 18,
		DiskSize: int64(len(entries))*4 - 1, BlockSize: 4, Base: 4, Unit: 4, Entries: entries,
	}
}

func TestTable(t *testing.T) {
	d := table(2, imagefmt.NoBlock, 0, 1, 3)
	p := make([]byte, 30)
	n, err := d.ReadAt(p, 0)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "cccc\x00\x00\x00\x00aaaabbbbdd\x00", string(p[:n]))
	require.EqualValues(t, 4, d.Stored())
	start, end, err := d.NextData(3)
	require.NoError(t, err)
	require.Equal(t, [2]int64{3, 4}, [2]int64{start, end})
	start, end, err = d.NextData(4)
	require.NoError(t, err)
	require.Equal(t, [2]int64{8, 19}, [2]int64{start, end})
	_, _, err = d.NextData(19)
	require.ErrorIs(t, err, io.EOF)
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		entries []uint32
		width   int64
		found   bool
		loads   int
	}{
		{[]uint32{0, imagefmt.NoBlock, 1, 2}, 4, false, 0},
		{[]uint32{2, 0, imagefmt.NoBlock, 1}, 4, false, 1},
		{[]uint32{2, 0, 1, 2}, 4, true, 0},
		{[]uint32{0, 2, 3}, 8, true, 0},
	} {
		d, loads := table(c.entries...), 0
		_, b, found, err := d.Overlap(c.width, func() error { loads++; return nil })
		require.NoError(t, err)
		require.Equal(t, c.found, found, "%v", c.entries)
		require.Equal(t, c.loads, loads)
		require.Equal(t, c.found, b > 0)
	}
	broken := errors.New("broken")
	_, _, _, err := table(1, 0).Overlap(4, func() error { return broken })
	require.ErrorIs(t, err, broken)
}

// holed is a source with data in its second half.
type holed struct{ *bytes.Reader }

func (h holed) NextData(off int64) (start, end int64, err error) {
	if off >= h.Size() {
		return 0, 0, io.EOF
	}
	return max(off, 10), h.Size(), nil
}

func TestHolesOfSource(t *testing.T) {
	d := table(0, 1, 2)
	d.Source = holed{bytes.NewReader(make([]byte, 18))}
	start, end, err := d.NextData(0)
	require.NoError(t, err)
	require.Equal(t, [2]int64{6, 11}, [2]int64{start, end})
}

func TestFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "sparse"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.NoError(t, f.Truncate(8<<20))
	_, err = f.WriteAt([]byte("x"), 4<<20)
	require.NoError(t, err)
	h := &imagefmt.File{File: f, Size: 8 << 20}
	start, end, err := h.NextData(0)
	require.NoError(t, err)
	require.LessOrEqual(t, start, int64(4<<20))
	require.Greater(t, end, int64(4<<20))
	if runtime.GOOS == "linux" {
		require.Less(t, end-start, int64(1<<20))
		_, _, err = h.NextData(5 << 20)
		require.ErrorIs(t, err, io.EOF)
	}
	_, _, err = h.NextData(8 << 20)
	require.ErrorIs(t, err, io.EOF)
}
