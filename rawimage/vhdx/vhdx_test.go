package vhdx_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vhdx"
)

const (
	kib = qemutest.KiB
	mib = qemutest.MiB
)

type extent = qemutest.Extent

var damage = qemutest.Damaged

func open(t testing.TB, name string) qemutest.Image {
	r, err := vhdx.NewReader(qemutest.OpenFile(t, name))
	require.NoError(t, err)
	return r
}

func openBytes(b []byte) (qemutest.Image, error) { return newReader(b) }

func TestMatrix(t *testing.T) {
	// For qemu-img a VHDX is data from end to end: it reads all of it.
	m := &qemutest.Matrix{Format: "vhdx", Map: qemutest.MapNone, Over: qemutest.GiB, Open: open}
	all := qemutest.Options(qemutest.Cross([]string{"", "subformat=dynamic", "subformat=fixed"}, []string{"", "block_size=1M", "block_size=256M"},
		[]string{"", "block_state_zero=on", "block_state_zero=off"})...)
	more := qemutest.Options("block_size=0", "block_size=2M", "block_size=4M", "block_size=8M", "block_size=16M", "block_size=32M", "block_size=64M", "block_size=128M",
		"log_size=1M", "log_size=4M", "log_size=16M,block_size=2M", "log_size=2M,subformat=fixed", "log_size=3M,block_state_zero=off")
	more = append(more, qemutest.Variant{Flags: []string{"-S", "0"}}, qemutest.Variant{Flags: []string{"-m", "16", "-W"}, Options: "block_size=1M"})
	t.Run("all", func(t *testing.T) {
		small := qemutest.Small()
		m.Convert(t, small[:3], all)
		m.Convert(t, small[3:], qemutest.Thin(4, all))
		m.Convert(t, small[:5], more)
		m.Convert(t, []qemutest.Disk{qemutest.Over4GiB(), qemutest.Over2TiB()}, qemutest.Options("", "block_size=1M", "block_size=256M"))
		m.Create(t, []int64{1000001, 3 * mib, 3*mib + 512}, qemutest.Thin(2, all), true)
	})
	t.Logf("%d combinations of disk and options compared with qemu-img", m.Ran())
}

// tiny is a disk of 3 MiB with its first and last block stored.
func tiny(t testing.TB, opts string) []byte {
	return qemutest.Make(t, qemutest.Disk{Name: "tiny", Size: 3 * mib, Data: []extent{{100, 800}, {3*mib - 512, 3 * mib}}}, "vhdx", opts)
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
	b := tiny(t, "block_size=1M")
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
	good := tiny(t, "block_size=1M")
	le := binary.LittleEndian
	bat, meta := places(good)
	put := func(off int64, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint64(b[off:], v); sealAll(b); return b }
	}
	both := func(off int64, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { put(64*kib+off, v)(b); return put(128*kib+off, v)(b) }
	}
	region := func(off int64, v uint64) func([]byte) []byte { return put(192*kib+16+off, v) }
	qemutest.Hostile[*vhdx.FormatError](t, "vhdx", good, map[string]qemutest.Damage{
		"empty":            damage(func(b []byte) []byte { return nil }, vhdx.ErrTruncated),
		"truncated":        damage(func(b []byte) []byte { return b[:len(b)-int(2*mib)] }, vhdx.ErrTruncated),
		"signature":        damage(put(0, 1), vhdx.ErrDamaged),
		"no header":        damage(both(0, 1), vhdx.ErrDamaged),
		"header checksums": damage(func(b []byte) []byte { b[64*kib+99]++; b[128*kib+99]++; return b }, vhdx.ErrDamaged),
		"version":          damage(both(64, 2<<16), vhdx.ErrUnsupported),
		"region checksums": damage(func(b []byte) []byte { b[192*kib+99]++; b[256*kib+99]++; return b }, vhdx.ErrDamaged),
		"region count":     damage(put(192*kib+8, 2048), vhdx.ErrDamaged),
		"no regions":       damage(put(192*kib+8, 0), vhdx.ErrDamaged),
		"unknown region": damage(func(b []byte) []byte {
			b[192*kib+16]++
			b[192*kib+16+28] |= 1
			sealAll(b)
			return b
		}, vhdx.ErrUnsupported),
		"region outside":   damage(region(16, 1<<62), vhdx.ErrDamaged),
		"region at 2^63":   damage(region(16, 1<<63), vhdx.ErrDamaged),
		"region at 0":      damage(region(16, 0), vhdx.ErrDamaged),
		"region odd":       damage(region(16, 1<<20+1), vhdx.ErrDamaged),
		"regions overlap":  damage(func(b []byte) []byte { copy(b[192*kib+32:][:8], b[192*kib+64:]); sealAll(b); return b }, vhdx.ErrDamaged),
		"region twice":     damage(func(b []byte) []byte { copy(b[192*kib+48:][:16], b[192*kib+16:]); sealAll(b); return b }, vhdx.ErrDamaged),
		"metadata":         damage(put(meta, 1), vhdx.ErrDamaged),
		"metadata entries": damage(put(meta+8, math.MaxUint64), vhdx.ErrDamaged),
		"item outside":     damage(put(meta+32+16, math.MaxUint64), vhdx.ErrDamaged),
		"unknown item":     damage(put(meta+32, 0), vhdx.ErrUnsupported),
		"parent":           damage(put(item(good, meta, 0x37), mib64(1)|2<<32), vhdx.ErrUnsupported),
		"block size":       damage(put(item(good, meta, 0x37), 3<<20), vhdx.ErrDamaged),
		"block size 0":     damage(put(item(good, meta, 0x37), 0), vhdx.ErrDamaged),
		"size 0":           damage(put(item(good, meta, 0x24), 0), vhdx.ErrDamaged),
		"size 2^63":        damage(put(item(good, meta, 0x24), 1<<63), vhdx.ErrDamaged),
		"size 64 TiB":      damage(put(item(good, meta, 0x24), 1<<46), vhdx.ErrDamaged),
		"entry outside":    damage(put(bat, 1<<40|6), vhdx.ErrTruncated),
		"entry at 2^63":    damage(put(bat, 1<<63|6), vhdx.ErrDamaged),
		"entry at 0":       damage(put(bat, 6), vhdx.ErrDamaged),
		"entry state":      damage(put(bat, 4), vhdx.ErrDamaged),
		"entry partial":    damage(put(bat, 7), vhdx.ErrUnsupported),
		"entries overlap":  damage(func(b []byte) []byte { copy(b[bat:][:8], b[bat+16:]); return b }, vhdx.ErrDamaged),
		"log without one":  damage(both(48, 1), vhdx.ErrDamaged),
		"log outside":      damage(func(b []byte) []byte { both(48, 1)(b); return both(72, 1<<62)(b) }, vhdx.ErrTruncated),
		"log of no length": damage(func(b []byte) []byte { both(48, 1)(b); return both(64, 1<<16)(b) }, vhdx.ErrDamaged),
	}, openBytes)
	resealed := func(b []byte) (qemutest.Image, error) {
		sealAll(b)
		return openBytes(b)
	}
	qemutest.Flip[*vhdx.FormatError](t, good, []extent{
		{64*kib + 48, 64*kib + 80}, {192*kib + 8, 192*kib + 80}, {meta + 8, meta + 32*6}, {bat, bat + 24},
	}, resealed)
	t.Run("first copies damaged", func(t *testing.T) {
		b := bytes.Clone(good)
		b[64*kib+99]++
		b[192*kib+99]++
		r, err := newReader(b)
		require.NoError(t, err)
		require.Len(t, qemutest.Extents(t, r), 2)
	})
}

func mib64(n uint64) uint64 { return n << 20 }

// requireReplayed compares with a copy that qemu-img has repaired.
func requireReplayed(t *testing.T, b []byte) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fixed"), b, 0o600))
	qemutest.Img(t, dir, "check", "-q", "-r", "all", "fixed")
	r, err := newReader(b)
	require.NoError(t, err)
	require.Positive(t, r.Info().Replayed)
	qemutest.Compare(t, r, qemutest.Comparison{Dir: dir, Spec: []string{"-f", "vhdx", "fixed"}, Map: qemutest.MapNone})
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
	good := tiny(t, "block_size=1M")
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
			r, err := newReader(b)
			require.NoError(t, err)
			require.Equal(t, 2, r.Info().Replayed)
			require.Equal(t, []extent{{0, mib}}, qemutest.Extents(t, r))
			requireReplayed(t, b)
		})
	}
	t.Run("torn last entry", func(t *testing.T) {
		torn := write(8, 0, gone)
		torn[5000]++
		r, err := newReader(withLog(good, 0, write(7, 0, page), torn))
		require.NoError(t, err)
		require.Equal(t, 1, r.Info().Replayed)
		require.Len(t, qemutest.Extents(t, r), 2)
	})
	t.Run("zeros then data", func(t *testing.T) {
		e := logEntry(9, 0, len(good), descriptor{at: uint64(bat), n: 4096}, descriptor{at: uint64(bat), data: page})
		r, err := newReader(withLog(good, 0, e))
		require.NoError(t, err)
		require.Len(t, qemutest.Extents(t, r), 2)
		e = logEntry(9, 0, len(good), descriptor{at: uint64(bat), data: page}, descriptor{at: uint64(bat), n: 4096})
		r, err = newReader(withLog(good, 0, e))
		require.NoError(t, err)
		require.Empty(t, qemutest.Extents(t, r))
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
			want := vhdx.ErrDamaged
			if name == "truncated file" || name == "grows too far" {
				want = vhdx.ErrTruncated
			}
			require.ErrorIs(t, err, want)
		})
	}
}

// Entries that lie in each other would have the search sum the log for ever.
func TestOverlappingEntries(t *testing.T) {
	good := tiny(t, "block_size=1M")
	b := withLog(good, 0)
	at, n := int64(binary.LittleEndian.Uint64(b[64*kib+72:])), int64(binary.LittleEndian.Uint32(b[64*kib+68:]))
	for i := at; i < at+n; i += 4096 {
		copy(b[i:], "loge")
		binary.LittleEndian.PutUint32(b[i+8:], uint32(n))
		binary.LittleEndian.PutUint64(b[i+16:], 1)
		b[i+32] = 0x55
	}
	_, err := newReader(b)
	require.ErrorIs(t, err, vhdx.ErrDamaged)
	require.ErrorContains(t, err, "overlap")
}

func TestReadErrors(t *testing.T) {
	b := tiny(t, "block_size=1M")
	qemutest.ReadErrors(t, b, vhdx.ErrDamaged, func(ra io.ReaderAt, size int64) (qemutest.Image, error) { return vhdx.NewReader(ra, size) })
	_, err := newReader(b, vhdx.WithMaxTable(1))
	require.Error(t, err)
}

func TestConcurrent(t *testing.T) {
	r, err := newReader(tiny(t, "block_size=1M"))
	require.NoError(t, err)
	qemutest.Concurrent(t, r)
}
