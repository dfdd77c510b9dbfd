package vhdx_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/vhdx"
)

func open(t testing.TB, name string) image {
	f, size := opened(t, name)
	r, err := vhdx.NewReader(f, size)
	require.NoError(t, err)
	return r
}

func TestMatrix(t *testing.T) {
	all := append(disks(), disk{"3TiB", 3 * tib, []piece{{mib, 4096}, {3*tib - 5120, 5120}}})
	matrix(t, "vhdx", []string{
		"", "subformat=dynamic", "subformat=fixed", "block_size=1M", "block_size=256M", "log_size=4M",
		"block_state_zero=on,block_size=2M", "subformat=fixed,block_size=1M,log_size=2M",
	}, all[:4], open)
	matrix(t, "vhdx", []string{"", "block_size=1M", "block_size=256M"}, all[4:], open)
}

// tiny is a disk of 3 MiB with its first and last block stored.
func tiny(t testing.TB, opts string) (name string, b []byte) {
	dir := t.TempDir()
	raw := disk{"tiny", 3 * mib, []piece{{100, 700}, {3*mib - 512, 512}}}.raw(t, dir)
	name = filepath.Join(dir, "tiny.vhdx")
	qemuImg(t, "convert", "-f", "raw", "-O", "vhdx", "-o", opts, raw, name)
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return name, b
}

func newReader(b []byte, opts ...vhdx.Option) (*vhdx.Reader, error) {
	return vhdx.NewReader(bytes.NewReader(b), int64(len(b)), opts...)
}

// seal mends the checksum of a structure.
func seal(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[4:], 0)
	le.PutUint32(b[4:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func sealAll(b []byte) {
	seal(b[64*kib:][:4*kib])
	seal(b[128*kib:][:4*kib])
	seal(b[192*kib:][:64*kib])
	seal(b[256*kib:][:64*kib])
}

func TestInfo(t *testing.T) {
	_, b := tiny(t, "block_size=1M")
	r, err := newReader(b)
	require.NoError(t, err)
	info := r.Info()
	require.Equal(t, vhdx.Dynamic, info.Subformat)
	require.EqualValues(t, 3*mib, info.Size)
	require.EqualValues(t, mib, info.BlockSize)
	require.EqualValues(t, 3, info.Blocks)
	require.EqualValues(t, 2, info.Stored)
	require.Equal(t, 512, info.LogicalSector)
	require.Contains(t, info.Creator, "QEMU")
	require.Zero(t, info.Replayed)
}

// places of the parts in the file, from its region table.
func places(b []byte) (bat, meta int64) {
	le := binary.LittleEndian
	for i := range int64(le.Uint32(b[192*kib+8:])) {
		e := b[192*kib+16+i*32:]
		if e[0] == 0x66 {
			bat = int64(le.Uint64(e[16:]))
		} else {
			meta = int64(le.Uint64(e[16:]))
		}
	}
	return bat, meta
}

// item returns where the metadata item with the given first byte of its GUID is.
func item(b []byte, meta int64, first byte) int64 {
	for i := meta + 32; ; i += 32 {
		if b[i] == first {
			return meta + int64(binary.LittleEndian.Uint32(b[i+16:]))
		}
	}
}

func TestHostile(t *testing.T) {
	_, good := tiny(t, "block_size=1M")
	le := binary.LittleEndian
	bat, meta := places(good)
	put := func(off int64, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint64(b[off:], v); sealAll(b); return b }
	}
	both := func(off int64, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { put(64*kib+off, v)(b); return put(128*kib+off, v)(b) }
	}
	region := func(off int64, v uint64) func([]byte) []byte { return put(192*kib+16+off, v) }
	tests := map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"empty":            {func(b []byte) []byte { return nil }, vhdx.ErrFormat},
		"truncated":        {func(b []byte) []byte { return b[:len(b)-int(2*mib)] }, vhdx.ErrFormat},
		"signature":        {put(0, 1), vhdx.ErrFormat},
		"no header":        {both(0, 1), vhdx.ErrFormat},
		"header checksums": {func(b []byte) []byte { b[64*kib+99]++; b[128*kib+99]++; return b }, vhdx.ErrFormat},
		"version":          {both(64, 2<<16), vhdx.ErrUnsupported},
		"region checksums": {func(b []byte) []byte { b[192*kib+99]++; b[256*kib+99]++; return b }, vhdx.ErrFormat},
		"region count":     {put(192*kib+8, 2048), vhdx.ErrFormat},
		"no regions":       {put(192*kib+8, 0), vhdx.ErrFormat},
		"unknown region": {func(b []byte) []byte {
			b[192*kib+16]++
			b[192*kib+16+28] |= 1
			sealAll(b)
			return b
		}, vhdx.ErrUnsupported},
		"region outside":   {region(16, 1<<62), vhdx.ErrFormat},
		"region at 2^63":   {region(16, 1<<63), vhdx.ErrFormat},
		"region at 0":      {region(16, 0), vhdx.ErrFormat},
		"region odd":       {region(16, 1<<20+1), vhdx.ErrFormat},
		"regions overlap":  {func(b []byte) []byte { copy(b[192*kib+32:][:8], b[192*kib+64:]); sealAll(b); return b }, vhdx.ErrFormat},
		"region twice":     {func(b []byte) []byte { copy(b[192*kib+48:][:16], b[192*kib+16:]); sealAll(b); return b }, vhdx.ErrFormat},
		"metadata":         {put(meta, 1), vhdx.ErrFormat},
		"metadata entries": {put(meta+8, math.MaxUint64), vhdx.ErrFormat},
		"item outside":     {put(meta+32+16, math.MaxUint64), vhdx.ErrFormat},
		"unknown item":     {put(meta+32, 0), vhdx.ErrUnsupported},
		"parent":           {put(item(good, meta, 0x37), mib64(1)|2<<32), vhdx.ErrUnsupported},
		"block size":       {put(item(good, meta, 0x37), 3<<20), vhdx.ErrFormat},
		"block size 0":     {put(item(good, meta, 0x37), 0), vhdx.ErrFormat},
		"size 0":           {put(item(good, meta, 0x24), 0), vhdx.ErrFormat},
		"size 2^63":        {put(item(good, meta, 0x24), 1<<63), vhdx.ErrFormat},
		"size 64 TiB":      {put(item(good, meta, 0x24), 1<<46), vhdx.ErrFormat},
		"entry outside":    {put(bat, 1<<40|6), vhdx.ErrFormat},
		"entry at 2^63":    {put(bat, 1<<63|6), vhdx.ErrFormat},
		"entry at 0":       {put(bat, 6), vhdx.ErrFormat},
		"entry state":      {put(bat, 4), vhdx.ErrFormat},
		"entry partial":    {put(bat, 7), vhdx.ErrUnsupported},
		"entries overlap":  {func(b []byte) []byte { copy(b[bat:][:8], b[bat+16:]); return b }, vhdx.ErrFormat},
		"log without one":  {both(48, 1), vhdx.ErrFormat},
		"log outside":      {func(b []byte) []byte { both(48, 1)(b); return both(72, 1<<62)(b) }, vhdx.ErrFormat},
		"log of no length": {func(b []byte) []byte { both(48, 1)(b); return both(64, 1<<16)(b) }, vhdx.ErrFormat},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := newReader(tt.change(bytes.Clone(good)))
			require.ErrorIs(t, err, tt.want)
			var fe *vhdx.FormatError
			require.ErrorAs(t, err, &fe)
			require.NotEmpty(t, fe.Field)
			require.Contains(t, err.Error(), "vhdx: ")
		})
	}
	t.Run("first copies damaged", func(t *testing.T) {
		b := bytes.Clone(good)
		b[64*kib+99]++
		b[192*kib+99]++
		r, err := newReader(b)
		require.NoError(t, err)
		require.Len(t, extents(t, r), 2)
	})
}

func mib64(n uint64) uint64 { return n << 20 }

// requireReplayed compares with a copy that qemu-img has repaired.
func requireReplayed(t *testing.T, name string) {
	t.Helper()
	r := open(t, name)
	require.Positive(t, r.(*vhdx.Reader).Info().Replayed)
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	fixed := filepath.Join(t.TempDir(), "fixed.vhdx")
	require.NoError(t, os.WriteFile(fixed, b, 0o600))
	qemuImg(t, "check", "-q", "-r", "all", fixed)
	compare(t, r, disk{}, "-f", "vhdx", fixed)
}

// descriptor of a made-up log entry; data is 4 KiB, or nil for n zeros.
type descriptor struct {
	at, n uint64
	data  []byte
}

// logEntry makes an entry as a writer would.
func logEntry(seq uint64, tail uint32, size int, ds ...descriptor) []byte {
	le := binary.LittleEndian
	b := make([]byte, 4096)
	copy(b, "loge")
	le.PutUint32(b[12:], tail)
	le.PutUint64(b[16:], seq)
	le.PutUint32(b[24:], uint32(len(ds)))
	b[32] = 0x55 // the GUID
	le.PutUint64(b[48:], uint64(size))
	le.PutUint64(b[56:], uint64(size))
	for i, d := range ds {
		e := b[64+i*32:]
		le.PutUint64(e[16:], d.at)
		le.PutUint64(e[24:], seq)
		if d.data == nil {
			copy(e, "zero")
			le.PutUint64(e[8:], d.n)
			continue
		}
		copy(e, "desc")
		copy(e[4:8], d.data[4092:])
		copy(e[8:16], d.data)
		sector := bytes.Clone(d.data)
		copy(sector, "data")
		le.PutUint32(sector[4:], uint32(seq>>32))
		le.PutUint32(sector[4092:], uint32(seq))
		b = append(b, sector...)
	}
	le.PutUint32(b[8:], uint32(len(b)))
	seal(b)
	return b
}

// withLog puts entries at pos of the log, around its end, and marks it dirty.
func withLog(good []byte, pos int, entries ...[]byte) []byte {
	b := bytes.Clone(good)
	for _, h := range []int64{64 * kib, 128 * kib} {
		clear(b[h+48:][:16])
		b[h+48] = 0x55
		seal(b[h:][:4*kib])
	}
	at, n := binary.LittleEndian.Uint64(b[64*kib+72:]), int(binary.LittleEndian.Uint32(b[64*kib+68:]))
	log := b[at:][:n]
	clear(log)
	for _, c := range bytes.Join(entries, nil) {
		log[pos%n] = c
		pos++
	}
	return b
}

func TestReplay(t *testing.T) {
	_, good := tiny(t, "block_size=1M")
	bat, _ := places(good)
	le := binary.LittleEndian
	page := bytes.Clone(good[bat:][:4096])
	gone := bytes.Clone(page)
	le.PutUint64(gone[16:], 0)
	logSize := int(le.Uint32(good[64*kib+68:]))
	write := func(seq uint64, tail int, data []byte) []byte {
		return logEntry(seq, uint32(tail), len(good), descriptor{at: uint64(bat), data: data})
	}
	for name, pos := range map[string]int{"at the beginning": 0, "inside": 8192, "around the end": logSize - 12288, "split entry": logSize - 4096} {
		t.Run(name, func(t *testing.T) {
			b := withLog(good, pos, write(7, pos, page), write(8, pos, gone))
			file := filepath.Join(t.TempDir(), "dirty.vhdx")
			require.NoError(t, os.WriteFile(file, b, 0o600))
			r := open(t, file)
			require.Equal(t, 2, r.(*vhdx.Reader).Info().Replayed)
			require.Equal(t, []piece{{0, mib}}, extents(t, r))
			requireReplayed(t, file)
		})
	}
	t.Run("torn last entry", func(t *testing.T) {
		torn := write(8, 0, gone)
		torn[5000]++
		r, err := newReader(withLog(good, 0, write(7, 0, page), torn))
		require.NoError(t, err)
		require.Equal(t, 1, r.Info().Replayed)
		require.Len(t, extents(t, r), 2)
	})
	t.Run("zeros then data", func(t *testing.T) {
		e := logEntry(9, 0, len(good), descriptor{at: uint64(bat), n: 4096}, descriptor{at: uint64(bat), data: page})
		r, err := newReader(withLog(good, 0, e))
		require.NoError(t, err)
		require.Len(t, extents(t, r), 2)
		e = logEntry(9, 0, len(good), descriptor{at: uint64(bat), data: page}, descriptor{at: uint64(bat), n: 4096})
		r, err = newReader(withLog(good, 0, e))
		require.NoError(t, err)
		require.Empty(t, extents(t, r))
	})
	for name, b := range map[string][]byte{
		"tail elsewhere": withLog(good, 0, write(7, 4096, page)),
		"truncated file": withLog(good, 0, logEntry(7, 0, len(good)+1, descriptor{at: uint64(bat), data: page})),
		"grows too far":  withLog(good, 0, logEntry(7, 0, math.MaxInt64)),
		"write outside":  withLog(good, 0, logEntry(7, 0, len(good), descriptor{at: 1 << 62, data: page})),
		"odd write":      withLog(good, 0, logEntry(7, 0, len(good), descriptor{at: 512, data: page})),
		"zeros outside":  withLog(good, 0, logEntry(7, 0, len(good), descriptor{at: 4096, n: 1 << 63})),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newReader(b)
			require.ErrorIs(t, err, vhdx.ErrFormat)
		})
	}
}

// Entries that lie in each other would have the search sum the log for ever.
func TestOverlappingEntries(t *testing.T) {
	_, good := tiny(t, "block_size=1M")
	b := withLog(good, 0)
	at, n := int64(binary.LittleEndian.Uint64(b[64*kib+72:])), int64(binary.LittleEndian.Uint32(b[64*kib+68:]))
	for i := at; i < at+n; i += 4096 {
		copy(b[i:], "loge")
		binary.LittleEndian.PutUint32(b[i+8:], uint32(n))
		binary.LittleEndian.PutUint64(b[i+16:], 1)
		b[i+32] = 0x55
	}
	_, err := newReader(b)
	require.ErrorIs(t, err, vhdx.ErrFormat)
	require.ErrorContains(t, err, "overlap")
}

func TestReadErrors(t *testing.T) {
	_, err := vhdx.NewReader(failing{}, 1<<20)
	require.ErrorIs(t, err, iotest.ErrTimeout)
	require.False(t, errors.Is(err, vhdx.ErrFormat))
	_, b := tiny(t, "block_size=1M")
	r, err := newReader(b)
	require.NoError(t, err)
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	_, err = r.ReadAt(make([]byte, 1), math.MaxInt64)
	require.ErrorIs(t, err, io.EOF)
	n, err := r.ReadAt(make([]byte, 100), r.Size()-10)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 10, n)
	_, err = newReader(b, vhdx.WithMaxTable(1))
	require.Error(t, err)
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

func TestConcurrent(t *testing.T) {
	_, b := tiny(t, "block_size=1M")
	r, err := newReader(b)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range runtime.NumCPU() + 2 {
		wg.Go(func() { exercise(t, r) })
	}
	wg.Wait()
}
