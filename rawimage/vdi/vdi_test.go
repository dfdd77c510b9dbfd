package vdi_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vdi"
)

const mib = qemutest.MiB

type extent = qemutest.Extent

var damage = qemutest.Damaged

func open(t testing.TB, name string) qemutest.Image {
	r, err := vdi.NewReader(qemutest.OpenFile(t, name))
	require.NoError(t, err)
	return r
}

func openBytes(b []byte) (qemutest.Image, error) {
	return vdi.NewReader(bytes.NewReader(b), int64(len(b)))
}

func TestMatrix(t *testing.T) {
	m := &qemutest.Matrix{Format: "vdi", Map: qemutest.MapExact, Open: open}
	all := append(qemutest.Options("", "static=off"),
		// qemu-img looks for holes in the file as well.
		qemutest.Variant{Options: "static=on", Coarser: true},
		qemutest.Variant{Flags: []string{"-S", "0"}},
		qemutest.Variant{Options: "static=on", Flags: []string{"-S", "0"}, Coarser: true},
		qemutest.Variant{Flags: []string{"-m", "16", "-W"}})
	t.Run("all", func(t *testing.T) {
		m.Convert(t, append(qemutest.Small(), qemutest.Over4GiB()), all[:3])
		m.Convert(t, qemutest.Small(), all[3:])
		// qemu-img takes seconds for each TiB.
		m.Convert(t, []qemutest.Disk{qemutest.Over2TiB()}, all[:1])
		m.Create(t, []int64{1000001, 3 * mib, 3*mib + 512}, all[:3], true)
	})
	t.Logf("%d combinations of disk and options compared with qemu-img", m.Ran())
}

// tiny is a disk of 3 MiB with its first and last block stored.
func tiny(t testing.TB) []byte {
	return qemutest.Make(t, qemutest.Disk{Name: "tiny", Size: 3 * mib, Data: []extent{{100, 800}, {3*mib - 512, 3 * mib}}}, "vdi", "")
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
	require.Equal(t, []extent{{0, mib}, {2 * mib, 3 * mib}}, qemutest.Extents(t, r))
}

// A size of odd bytes, as VirtualBox writes, is rounded up; and a block that was
// trimmed reads as zeros though the file has its bytes.
func TestOddSizeAndDiscarded(t *testing.T) {
	b := tiny(t)
	binary.LittleEndian.PutUint64(b[0x170:], uint64(3*mib-100))
	mapAt := binary.LittleEndian.Uint32(b[0x154:])
	binary.LittleEndian.PutUint32(b[mapAt:], 0xFFFFFFFE)
	dir := t.TempDir()
	name := filepath.Join(dir, "disk")
	require.NoError(t, os.WriteFile(name, b, 0o600))
	r := open(t, name)
	require.EqualValues(t, 3*mib, r.Size())
	require.Equal(t, []extent{{2 * mib, 3 * mib}}, qemutest.Extents(t, r))
	qemutest.Compare(t, r, qemutest.Comparison{Dir: dir, Spec: []string{"-f", "vdi", "disk"}})
}

// Blocks in the file in another order than on the disk, as a guest writes them.
func TestOutOfOrder(t *testing.T) {
	dir := t.TempDir()
	qemutest.Img(t, dir, "create", "-q", "-f", "vdi", "disk", "9M")
	qemutest.IO(t, dir, "vdi", "disk", "write -P 1 8M 1M", "write -P 2 3M 5k", "write -P 3 0 1M", "write -P 4 1M 1M", "write -P 5 5M 2k")
	r := open(t, filepath.Join(dir, "disk"))
	qemutest.Compare(t, r, qemutest.Comparison{Dir: dir, Spec: []string{"-f", "vdi", "disk"}, Map: qemutest.MapExact})
}

func TestHostile(t *testing.T) {
	good := tiny(t)
	le := binary.LittleEndian
	mapAt := int(le.Uint32(good[0x154:]))
	put := func(off int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[off:], v); return b }
	}
	qemutest.Hostile[*vdi.FormatError](t, "vdi", good, map[string]qemutest.Damage{
		"empty":            damage(func([]byte) []byte { return nil }, vdi.ErrTruncated),
		"short":            damage(func(b []byte) []byte { return b[:511] }, vdi.ErrTruncated),
		"truncated":        damage(func(b []byte) []byte { return b[:len(b)-4096] }, vdi.ErrTruncated),
		"signature":        damage(put(0x40, 1), vdi.ErrDamaged),
		"version":          damage(put(0x44, 2), vdi.ErrUnsupported),
		"type":             damage(put(0x4C, 4), vdi.ErrUnsupported),
		"parent":           damage(put(0x1B8, 4), vdi.ErrUnsupported),
		"link":             damage(put(0x1A8, 4), vdi.ErrUnsupported),
		"sector size":      damage(put(0x168, 4096), vdi.ErrUnsupported),
		"extra":            damage(put(0x17C, 512), vdi.ErrUnsupported),
		"block size":       damage(put(0x178, 3<<19), vdi.ErrDamaged),
		"block size 0":     damage(put(0x178, 0), vdi.ErrDamaged),
		"size of 2^63":     damage(put(0x174, 0x80000000), vdi.ErrDamaged),
		"size of 2^63 - 1": damage(put(0x174, 0x7FFFFFFF), vdi.ErrDamaged),
		"size of 0":        damage(put(0x170, 0), vdi.ErrDamaged),
		"map in header":    damage(put(0x154, 0), vdi.ErrDamaged),
		"map at odd bytes": damage(put(0x154, 0x201), vdi.ErrDamaged),
		"map outside":      damage(put(0x154, 0xFFFFFE00), vdi.ErrTruncated),
		"data in map":      damage(put(0x158, 0x200), vdi.ErrDamaged),
		"few blocks":       damage(put(0x180, 2), vdi.ErrDamaged),
		"entry outside":    damage(put(mapAt, 0xFFFFFFFD), vdi.ErrTruncated),
		"entries overlap":  damage(put(mapAt+4, 0), vdi.ErrDamaged),
	}, openBytes)
	qemutest.Flip[*vdi.FormatError](t, good, []extent{{0x40, 0x200}, {int64(mapAt), int64(mapAt) + 12}}, openBytes)
}

func TestReadErrors(t *testing.T) {
	b := tiny(t)
	qemutest.ReadErrors(t, b, vdi.ErrDamaged, func(ra io.ReaderAt, size int64) (qemutest.Image, error) { return vdi.NewReader(ra, size) })
	_, err := vdi.NewReader(bytes.NewReader(b), int64(len(b)), vdi.WithMaxTable(1))
	require.Error(t, err)
}

func TestConcurrent(t *testing.T) {
	r, err := openBytes(tiny(t))
	require.NoError(t, err)
	qemutest.Concurrent(t, r)
}
