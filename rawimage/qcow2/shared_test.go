package qcow2_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// readThrough reads the whole disk.
func readThrough(t *testing.T, f io.ReaderAt, size int64) error {
	t.Helper()
	r, err := qcow2.NewReader(f, size)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size()))
	return err
}

// Clusters that share bytes of the file are refused: in one L2 table, and in two.
func TestSharedClusters(t *testing.T) {
	t.Parallel()
	all := qemutest.Layout{Blocks: 1000, Block: 512}
	for i := range all.Blocks {
		all.Stored = append(all.Stored, i)
	}
	const l2 = 1536 // after the L1 table of 16 entries
	entry := make([]byte, 8)
	for name, to := range map[string]int64{"one table": l2 + 8, "two tables": l2 + 512 + 8, "far tables": l2 + 15*512} {
		f := all.QCOW2(3)
		require.NoError(t, readThrough(t, f, f.Len))
		_, err := f.ReadAt(entry, l2)
		require.NoError(t, err)
		f.Put(to, entry)
		require.ErrorIs(t, readThrough(t, f, f.Len), qcow2.ErrDamaged, name)
		// Also if the clusters are only asked for, and again after a failure.
		r, err := qcow2.NewReader(f, f.Len)
		require.NoError(t, err)
		for range 2 {
			var last error
			for off := int64(0); last == nil; {
				_, off, last = r.NextData(off)
			}
			if last == io.EOF {
				_, last = r.ReadAt(make([]byte, r.Size()), 0)
			}
			require.ErrorIs(t, last, qcow2.ErrDamaged, name)
		}
	}
}

// Compressed clusters may lie close to each other, but not at the same place.
func TestSharedCompressed(t *testing.T) {
	t.Parallel()
	b := tiny(t, set64(tinyL2+24, tinyPacked|flagCompressed))
	err := readThrough(t, bytes.NewReader(b), int64(len(b)))
	require.ErrorIs(t, err, qcow2.ErrDamaged)
	require.ErrorContains(t, err, "shares its bytes")
}
