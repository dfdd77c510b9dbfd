package imagefmt_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/imagefmt"
	"github.com/fastimage/fastimage/internal/sparse/sparsetest"
)

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

// All sources follow the contract, those with holes of their own too.
func TestTableContract(t *testing.T) {
	t.Parallel()
	sparsetest.Check(t, table(2, imagefmt.NoBlock, 0, 1, 3), 19)
	d := table(0, 1, imagefmt.NoBlock, 2)
	d.Source = holed{bytes.NewReader(make([]byte, 18))}
	sparsetest.Check(t, d, 15)
}

// counting counts the questions to a source whose blocks are all holes.
type counting struct{ asked, size int64 }

func (c *counting) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func (c *counting) NextData(off int64) (start, end int64, err error) {
	c.asked++
	if off >= c.size {
		return 0, 0, io.EOF
	}
	return c.size - 1, c.size, nil
}

// Blocks in reverse order cost one question each, however often the same place
// is asked for, and one call costs a bounded number.
func TestReversedBlocks(t *testing.T) {
	t.Parallel()
	const blocks = 20000
	entries := make([]uint32, blocks)
	for i := range entries {
		entries[i] = uint32(blocks - 1 - i)
	}
	src := &counting{size: blocks * 4}
	d := &imagefmt.Table{Prefix: "test", Source: src, FileSize: blocks * 4, DiskSize: blocks * 4, BlockSize: 4, Unit: 4, Entries: entries}
	_, _, err := d.NextData(0)
	require.NoError(t, err)
	require.LessOrEqual(t, src.asked, int64(1100), "one call")
	src.asked = 0
	for off := int64(0); ; {
		_, end, err := d.NextData(off)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		off = end
	}
	require.LessOrEqual(t, src.asked, int64(2*blocks))
}

func TestLedger(t *testing.T) {
	t.Parallel()
	var l imagefmt.Ledger
	enter := func(table int64, units ...int64) (int64, bool) { return l.Enter(table, slices.Values(units)) }
	_, ok := enter(1, 5, 1<<40, 7)
	require.True(t, ok)
	_, ok = enter(1, 5, 5) // it was entered before
	require.True(t, ok)
	for range 2 {
		clash, ok := enter(2, 6, 1<<40)
		require.False(t, ok, "and it stays so")
		require.EqualValues(t, 1<<40, clash)
	}
	_, ok = enter(3, 9, 9)
	require.False(t, ok)
}
