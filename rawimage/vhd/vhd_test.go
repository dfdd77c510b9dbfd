package vhd_test

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

	"github.com/fastimage/fastimage/rawimage/vhd"
)

func open(t testing.TB, name string) image {
	f, size := opened(t, name)
	r, err := vhd.NewReader(f, size)
	require.NoError(t, err)
	return r
}

func TestMatrix(t *testing.T) {
	all := append(disks(), disk{"2000GiB", 2000 * gib, []piece{{mib, 4096}, {2000*gib - 5000, 5000}}})
	matrix(t, "vpc", []string{
		"", "subformat=dynamic", "subformat=fixed", "force_size=on", "force_size=on,subformat=fixed",
	}, all[:5], open)
	matrix(t, "vpc", []string{"force_size=on", "force_size=on,subformat=fixed"}, all[5:], open)
}

// tiny is a disk of 5 MiB with its first and last block stored.
func tiny(t testing.TB, opts string) []byte {
	dir := t.TempDir()
	raw := disk{"tiny", 5 * mib, []piece{{100, 700}, {5*mib - 512, 512}}}.raw(t, dir)
	name := filepath.Join(dir, "tiny.vhd")
	qemuImg(t, "convert", "-f", "raw", "-O", "vpc", "-o", opts, raw, name)
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

// seal mends the checksum of the structure at off.
func seal(b []byte, off, n, field int) {
	var sum uint32
	binary.BigEndian.PutUint32(b[off+field:], 0)
	for _, c := range b[off : off+n] {
		sum += uint32(c)
	}
	binary.BigEndian.PutUint32(b[off+field:], ^sum)
}

func TestInfo(t *testing.T) {
	b := tiny(t, "force_size=on")
	r, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	info := r.Info()
	require.Equal(t, vhd.Dynamic, info.Subformat)
	require.EqualValues(t, 5*mib, info.Size)
	require.EqualValues(t, 2*mib, info.BlockSize)
	require.EqualValues(t, 3, info.Blocks)
	require.EqualValues(t, 2, info.Stored)
	require.Equal(t, "qem2", info.Creator)
}

func TestHostile(t *testing.T) {
	good := tiny(t, "force_size=on")
	tests := map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"empty":             {func(b []byte) []byte { return nil }, vhd.ErrFormat},
		"noise":             {func(b []byte) []byte { return bytes.Repeat([]byte("x"), 4096) }, vhd.ErrFormat},
		"short":             {func(b []byte) []byte { return b[:511] }, vhd.ErrFormat},
		"differencing":      {func(b []byte) []byte { b[63] = 4; seal(b, 0, 512, 64); return b }, vhd.ErrUnsupported},
		"fixed in front":    {func(b []byte) []byte { b[63] = 2; seal(b, 0, 512, 64); return b }, vhd.ErrFormat},
		"unknown type":      {func(b []byte) []byte { b[63] = 9; seal(b, 0, 512, 64); return b }, vhd.ErrFormat},
		"truncated":         {func(b []byte) []byte { return b[:3*mib] }, vhd.ErrFormat},
		"header cookie":     {func(b []byte) []byte { b[512] = 'x'; return b }, vhd.ErrFormat},
		"header checksum":   {func(b []byte) []byte { b[600]++; return b }, vhd.ErrFormat},
		"size of 2^63":      {func(b []byte) []byte { b[48] = 0x80; seal(b, 0, 512, 64); return b }, vhd.ErrFormat},
		"size of 2^63 - 1":  {func(b []byte) []byte { b[48] = 0x7F; seal(b, 0, 512, 64); return b }, vhd.ErrFormat},
		"size of 0":         {func(b []byte) []byte { clear(b[48:56]); seal(b, 0, 512, 64); return b }, vhd.ErrFormat},
		"data offset":       {func(b []byte) []byte { b[16] = 0xFF; seal(b, 0, 512, 64); return b }, vhd.ErrFormat},
		"table offset":      {func(b []byte) []byte { b[512+16] = 0xFF; seal(b, 512, 1024, 36); return b }, vhd.ErrFormat},
		"few table entries": {func(b []byte) []byte { b[512+31] = 2; seal(b, 512, 1024, 36); return b }, vhd.ErrFormat},
		"block size of 0":   {func(b []byte) []byte { clear(b[512+32 : 512+36]); seal(b, 512, 1024, 36); return b }, vhd.ErrFormat},
		"odd block size":    {func(b []byte) []byte { b[512+35] = 1; seal(b, 512, 1024, 36); return b }, vhd.ErrFormat},
		"entry outside":     {func(b []byte) []byte { b[1536] = 0x7F; return b }, vhd.ErrFormat},
		"entry on table":    {func(b []byte) []byte { copy(b[1536:], []byte{0, 0, 0, 3}); return b }, vhd.ErrFormat},
		"entries overlap":   {func(b []byte) []byte { copy(b[1540:1544], b[1536:1540]); return b }, vhd.ErrFormat},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := tt.change(bytes.Clone(good))
			_, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
			require.ErrorIs(t, err, tt.want)
			var fe *vhd.FormatError
			require.ErrorAs(t, err, &fe)
			require.NotEmpty(t, fe.Field)
			require.Contains(t, err.Error(), "vhd: ")
		})
	}
	t.Run("footer copy damaged", func(t *testing.T) {
		b := bytes.Clone(good)
		b[300]++
		r, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		require.Len(t, extents(t, r), 2)
	})
	t.Run("fixed truncated", func(t *testing.T) {
		b := tiny(t, "force_size=on,subformat=fixed")[512:]
		_, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
		require.ErrorIs(t, err, vhd.ErrFormat)
	})
}

func TestReadErrors(t *testing.T) {
	_, err := vhd.NewReader(failing{}, 1<<20)
	require.ErrorIs(t, err, iotest.ErrTimeout)
	require.False(t, errors.Is(err, vhd.ErrFormat))

	b := tiny(t, "force_size=on")
	r, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	_, err = r.ReadAt(make([]byte, 1), math.MaxInt64)
	require.ErrorIs(t, err, io.EOF)
	n, err := r.ReadAt(make([]byte, 100), r.Size()-10)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 10, n)

	_, err = vhd.NewReader(bytes.NewReader(b), int64(len(b)), vhd.WithMaxTable(1))
	require.Error(t, err)
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

// holed is a fixed disk's file that knows where its data is.
type holed struct{ *bytes.Reader }

func (h holed) NextData(off int64) (int64, int64, error) {
	if off >= 4096 {
		return h.Size() - 512, h.Size(), nil // the footer
	}
	return off, 4096, nil
}

func TestFixedUsesHolesOfSource(t *testing.T) {
	b := tiny(t, "force_size=on,subformat=fixed")
	r, err := vhd.NewReader(holed{bytes.NewReader(b)}, int64(len(b)))
	require.NoError(t, err)
	require.Equal(t, []piece{{0, 4096}}, extents(t, r))
}

func TestConcurrent(t *testing.T) {
	b := tiny(t, "force_size=on")
	r, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { exercise(t, r) })
	}
	wg.Wait()
}
