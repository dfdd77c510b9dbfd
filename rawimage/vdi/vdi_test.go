package vdi_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/vdi"
)

func open(t testing.TB, name string) image {
	f, size := opened(t, name)
	r, err := vdi.NewReader(f, size)
	require.NoError(t, err)
	return r
}

func TestMatrix(t *testing.T) {
	all := append(disks(), disk{"3TiB", 3 * tib, []piece{{mib, 4096}, {3*tib - 5000, 5000}}})
	matrix(t, "vdi", []string{"", "static=off", "static=on"}, all[:5], open)
	matrix(t, "vdi", []string{"static=off"}, all[5:], open)
}

// tiny is a disk of 3 MiB with its first and last block stored.
func tiny(t testing.TB) []byte {
	dir := t.TempDir()
	raw := disk{"tiny", 3 * mib, []piece{{100, 700}, {3*mib - 512, 512}}}.raw(t, dir)
	name := filepath.Join(dir, "tiny.vdi")
	qemuImg(t, "convert", "-f", "raw", "-O", "vdi", raw, name)
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

func TestInfo(t *testing.T) {
	b := tiny(t)
	r, err := vdi.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	info := r.Info()
	require.Equal(t, vdi.Dynamic, info.Subformat)
	require.EqualValues(t, 3*mib, info.Size)
	require.EqualValues(t, mib, info.BlockSize)
	require.EqualValues(t, 3, info.Blocks)
	require.EqualValues(t, 2, info.Stored)
	require.Equal(t, []piece{{0, mib}, {2 * mib, mib}}, extents(t, r))
}

// A size of odd bytes, as VirtualBox writes, is rounded up; and a block that was
// trimmed reads as zeros though the file has its bytes.
func TestOddSizeAndDiscarded(t *testing.T) {
	b := tiny(t)
	binary.LittleEndian.PutUint64(b[0x170:], uint64(3*mib-100))
	mapAt := binary.LittleEndian.Uint32(b[0x154:])
	binary.LittleEndian.PutUint32(b[mapAt:], 0xFFFFFFFE)
	name := filepath.Join(t.TempDir(), "odd.vdi")
	require.NoError(t, os.WriteFile(name, b, 0o600))
	r := open(t, name)
	require.EqualValues(t, 3*mib, r.Size())
	require.Equal(t, []piece{{2 * mib, mib}}, extents(t, r))
	compare(t, r, disk{}, "-f", "vdi", name)
}

func TestHostile(t *testing.T) {
	good := tiny(t)
	le := binary.LittleEndian
	mapAt := int(le.Uint32(good[0x154:]))
	put := func(off int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[off:], v); return b }
	}
	tests := map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"empty":            {func(b []byte) []byte { return nil }, vdi.ErrFormat},
		"short":            {func(b []byte) []byte { return b[:511] }, vdi.ErrFormat},
		"truncated":        {func(b []byte) []byte { return b[:len(b)-4096] }, vdi.ErrFormat},
		"signature":        {put(0x40, 1), vdi.ErrFormat},
		"version":          {put(0x44, 2), vdi.ErrUnsupported},
		"type":             {put(0x4C, 4), vdi.ErrUnsupported},
		"parent":           {put(0x1B8, 4), vdi.ErrUnsupported},
		"link":             {put(0x1A8, 4), vdi.ErrUnsupported},
		"sector size":      {put(0x168, 4096), vdi.ErrUnsupported},
		"extra":            {put(0x17C, 512), vdi.ErrUnsupported},
		"block size":       {put(0x178, 3<<19), vdi.ErrFormat},
		"block size 0":     {put(0x178, 0), vdi.ErrFormat},
		"size of 2^63":     {put(0x174, 0x80000000), vdi.ErrFormat},
		"size of 2^63 - 1": {put(0x174, 0x7FFFFFFF), vdi.ErrFormat},
		"size of 0":        {put(0x170, 0), vdi.ErrFormat},
		"map in header":    {put(0x154, 0), vdi.ErrFormat},
		"map at odd bytes": {put(0x154, 0x201), vdi.ErrFormat},
		"map outside":      {put(0x154, 0xFFFFFE00), vdi.ErrFormat},
		"data in map":      {put(0x158, 0x200), vdi.ErrFormat},
		"few blocks":       {put(0x180, 2), vdi.ErrFormat},
		"entry outside":    {put(mapAt, 0xFFFFFFFD), vdi.ErrFormat},
		"entries overlap":  {put(mapAt+4, 0), vdi.ErrFormat},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := tt.change(bytes.Clone(good))
			_, err := vdi.NewReader(bytes.NewReader(b), int64(len(b)))
			require.ErrorIs(t, err, tt.want)
			var fe *vdi.FormatError
			require.ErrorAs(t, err, &fe)
			require.NotEmpty(t, fe.Field)
			require.Contains(t, err.Error(), "vdi: ")
		})
	}
}

func TestReadErrors(t *testing.T) {
	_, err := vdi.NewReader(failing{}, 1<<20)
	require.ErrorIs(t, err, iotest.ErrTimeout)
	require.False(t, errors.Is(err, vdi.ErrFormat))

	b := tiny(t)
	r, err := vdi.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	_, err = r.ReadAt(make([]byte, 1), math.MaxInt64)
	require.ErrorIs(t, err, io.EOF)
	n, err := r.ReadAt(make([]byte, 100), r.Size()-10)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 10, n)

	_, err = vdi.NewReader(bytes.NewReader(b), int64(len(b)), vdi.WithMaxTable(1))
	require.Error(t, err)
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

func TestConcurrent(t *testing.T) {
	b := tiny(t)
	r, err := vdi.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { exercise(t, r) })
	}
	wg.Wait()
}
