package vmdk_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/klauspost/compress/zlib"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
)

// stream is a disk of n bytes, half noise and half text, stream-optimized.
func stream(t testing.TB, n int64) []byte {
	d := qemutest.Disk{Name: "bench", Size: n}
	for off := int64(0); off < n; off += 128 * kib {
		d.Data = append(d.Data, extent{off, off + 128*kib})
	}
	return qemutest.Make(t, d, "vmdk", "subformat=streamOptimized")
}

// BenchmarkRead reads a stream-optimized disk of 64 MiB. Its limit is to inflate
// the same grains from memory.
func BenchmarkRead(b *testing.B) {
	file := stream(b, 64*mib)
	r, err := newReader(file)
	require.NoError(b, err)
	limit := &grains{size: 64 * mib}
	le := binary.LittleEndian
	gd := file[le.Uint64(file[56:])*512:]
	for g := range 64 * mib / (64 * kib) {
		gt := file[int64(le.Uint32(gd[g/512*4:]))*512:]
		marker := file[int64(le.Uint32(gt[g%512*4:]))*512:]
		limit.packed = append(limit.packed, marker[12:][:le.Uint32(marker[8:])])
	}
	qemutest.OfLimit(b, r, limit)
}

// grains are the deflated grains of a disk.
type grains struct {
	packed [][]byte
	size   int64
}

func (g *grains) Size() int64                                { return g.size }
func (g *grains) NextData(int64) (start, end int64, _ error) { return 0, g.size, nil }

func (g *grains) ReadAt(p []byte, off int64) (int, error) {
	var z io.ReadCloser
	for n := int64(0); n < int64(len(p)); n += 64 * kib {
		src := bytes.NewReader(g.packed[(off+n)/(64*kib)])
		var err error
		if z == nil {
			z, err = zlib.NewReader(src)
		} else {
			err = z.(zlib.Resetter).Reset(src, nil)
		}
		if err != nil {
			return 0, err
		}
		if _, err = io.ReadFull(z, p[n:n+64*kib]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// No grain is inflated twice and no table read twice by goroutines that go through
// the disk in blocks of 2 MiB.
func TestReadsOnce(t *testing.T) {
	file := stream(t, 24*mib)
	src := &qemutest.Counting{ReaderAt: bytes.NewReader(file)}
	r, err := newReaderAt(src, int64(len(file)))
	require.NoError(t, err)
	require.Len(t, qemutest.Extents(t, r), 1)
	qemutest.ReadAll(t, r, 2*mib, 4)
	for off, n := range src.Reads {
		require.True(t, n == 1 || off == 0, "%d reads at %d", n, off)
	}
}
