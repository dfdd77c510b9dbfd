package vhd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vhd"
)

const (
	mib = qemutest.MiB
	gib = qemutest.GiB
)

type extent = qemutest.Extent

var damage = qemutest.Damaged

func open(t testing.TB, name string) qemutest.Image {
	r, err := vhd.NewReader(qemutest.OpenFile(t, name))
	require.NoError(t, err)
	return r
}

func openBytes(b []byte) (qemutest.Image, error) {
	return vhd.NewReader(bytes.NewReader(b), int64(len(b)))
}

func TestMatrix(t *testing.T) {
	m := &qemutest.Matrix{Format: "vpc", Map: qemutest.MapExact, Open: open}
	var all []qemutest.Variant
	for _, opts := range qemutest.Cross([]string{"", "subformat=dynamic", "subformat=fixed"}, []string{"", "force_size=off", "force_size=on"}) {
		// Of a fixed disk qemu-img looks for holes in the file.
		all = append(all, qemutest.Variant{Options: opts, Coarser: strings.Contains(opts, "fixed")})
	}
	flags := []qemutest.Variant{{Flags: []string{"-S", "0"}}, {Flags: []string{"-m", "16", "-W"}}, {Options: "force_size=on", Flags: []string{"-m", "16", "-W"}}}
	// The format ends at 2040 GiB.
	largest := qemutest.Disk{Name: "2040GiB", Size: 2040 * gib, Data: []extent{{mib, mib + 4096}, {2040*gib - 5000, 2040 * gib}}}
	t.Run("all", func(t *testing.T) {
		m.Convert(t, append(qemutest.Small(), qemutest.Over4GiB()), all)
		m.Convert(t, qemutest.Small(), flags)
		m.Convert(t, []qemutest.Disk{largest}, []qemutest.Variant{{Options: "force_size=on"}, {Options: "force_size=on,subformat=fixed", Coarser: true}})
		m.Create(t, []int64{1000001, 3 * mib, 3*mib + 512}, all, true)
	})
	t.Logf("%d combinations of disk and options compared with qemu-img", m.Ran())
}

// The size is the one of qemu-img, which for some creators is the geometry's.
func TestSizes(t *testing.T) {
	sizes := []int64{1, 512, 68 * 512, 68*512 + 1, mib + 1, 8 * mib, 504 * mib, 505*mib - 512, 2 * gib, 8*gib + 513, 64*gib - 4096, 127 * gib, 128*gib + 512, 200 * gib, 2040 * gib}
	for _, opts := range []string{"subformat=dynamic", "subformat=dynamic,force_size=on", "subformat=fixed,force_size=on"} {
		dir := t.TempDir()
		for _, size := range sizes {
			qemutest.Img(t, dir, "create", "-q", "-f", "vpc", "-o", opts, "disk", fmt.Sprint(size))
			require.Equal(t, qemutest.VirtualSize(t, dir, "vpc", "disk"), open(t, filepath.Join(dir, "disk")).Size(), "%s of %d bytes", opts, size)
		}
	}
}

// Creators that mean the size they write, those that mean the geometry, and one
// that nobody knows.
func TestCreators(t *testing.T) {
	good := qemutest.Make(t, qemutest.Disk{Name: "tiny", Size: 5*mib + 512, Data: []extent{{100, 800}}}, "vpc", "subformat=dynamic")
	for _, creator := range []string{"win ", "vpc ", "vs  ", "qemu", "qem2", "d2v ", "tap\x00", "CTXS", "vbox", "?!\xff\x00"} {
		t.Run(fmt.Sprintf("%q", creator), func(t *testing.T) {
			for _, current := range []int64{5*mib + 512, 4*mib + 512, 6 * mib} {
				b := bytes.Clone(good)
				for _, at := range []int{0, len(b) - 512} {
					copy(b[at+28:], creator)
					binary.BigEndian.PutUint64(b[at+48:], uint64(current))
					seal(b, at, 512, 64)
				}
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "disk"), b, 0o600))
				r := open(t, filepath.Join(dir, "disk"))
				if creator == "vbox" || strings.HasPrefix(creator, "?") { // qemu-img takes the geometry
					require.Equal(t, current, r.Size())
					return
				}
				require.Equal(t, qemutest.VirtualSize(t, dir, "vpc", "disk"), r.Size())
				qemutest.Compare(t, r, qemutest.Comparison{Dir: dir, Spec: []string{"-f", "vpc", "disk"}, Map: qemutest.MapExact})
			}
		})
	}
}

// Azure's exports mean the size. qemu-img knows that since version 9.2.
func TestAzure(t *testing.T) {
	b := tiny(t, "subformat=dynamic")
	copy(b[28:], "wa\x00\x00")
	binary.BigEndian.PutUint64(b[48:], uint64(5*mib-1024))
	seal(b, 0, 512, 64)
	r, err := openBytes(b)
	require.NoError(t, err)
	require.EqualValues(t, 5*mib-1024, r.Size())
}

// tiny is a disk of 5 MiB with its first and last block stored.
func tiny(t testing.TB, opts string) []byte {
	return qemutest.Make(t, qemutest.Disk{Name: "tiny", Size: 5 * mib, Data: []extent{{100, 800}, {5*mib - 512, 5 * mib}}}, "vpc", opts)
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
	qemutest.Hostile[*vhd.FormatError](t, "vhd", good, map[string]qemutest.Damage{
		"empty":             damage(func(b []byte) []byte { return nil }, vhd.ErrTruncated),
		"noise":             damage(func(b []byte) []byte { return bytes.Repeat([]byte("x"), 4096) }, vhd.ErrDamaged),
		"short":             damage(func(b []byte) []byte { return b[:511] }, vhd.ErrTruncated),
		"differencing":      damage(func(b []byte) []byte { b[63] = 4; seal(b, 0, 512, 64); return b }, vhd.ErrUnsupported),
		"fixed in front":    damage(func(b []byte) []byte { b[63] = 2; seal(b, 0, 512, 64); return b }, vhd.ErrDamaged),
		"unknown type":      damage(func(b []byte) []byte { b[63] = 9; seal(b, 0, 512, 64); return b }, vhd.ErrDamaged),
		"truncated":         damage(func(b []byte) []byte { return b[:3*mib] }, vhd.ErrTruncated),
		"header cookie":     damage(func(b []byte) []byte { b[512] = 'x'; return b }, vhd.ErrDamaged),
		"header checksum":   damage(func(b []byte) []byte { b[600]++; return b }, vhd.ErrDamaged),
		"size of 2^63":      damage(func(b []byte) []byte { b[48] = 0x80; seal(b, 0, 512, 64); return b }, vhd.ErrDamaged),
		"size of 2^63 - 1":  damage(func(b []byte) []byte { b[48] = 0x7F; seal(b, 0, 512, 64); return b }, vhd.ErrDamaged),
		"size of 0":         damage(func(b []byte) []byte { clear(b[48:56]); seal(b, 0, 512, 64); return b }, vhd.ErrDamaged),
		"data offset":       damage(func(b []byte) []byte { b[16] = 0xFF; seal(b, 0, 512, 64); return b }, vhd.ErrTruncated),
		"table offset":      damage(func(b []byte) []byte { b[512+16] = 0xFF; seal(b, 512, 1024, 36); return b }, vhd.ErrTruncated),
		"few table entries": damage(func(b []byte) []byte { b[512+31] = 2; seal(b, 512, 1024, 36); return b }, vhd.ErrDamaged),
		"block size of 0":   damage(func(b []byte) []byte { clear(b[512+32 : 512+36]); seal(b, 512, 1024, 36); return b }, vhd.ErrDamaged),
		"odd block size":    damage(func(b []byte) []byte { b[512+35] = 1; seal(b, 512, 1024, 36); return b }, vhd.ErrDamaged),
		"entry outside":     damage(func(b []byte) []byte { b[1536] = 0x7F; return b }, vhd.ErrTruncated),
		"entry on table":    damage(func(b []byte) []byte { copy(b[1536:], []byte{0, 0, 0, 3}); return b }, vhd.ErrDamaged),
		"entries overlap":   damage(func(b []byte) []byte { copy(b[1540:1544], b[1536:1540]); return b }, vhd.ErrDamaged),
	}, openBytes)
	resealed := func(b []byte) (qemutest.Image, error) {
		b = bytes.Clone(b)
		seal(b, 0, 512, 64)
		seal(b, 512, 1024, 36)
		return openBytes(b)
	}
	qemutest.Flip[*vhd.FormatError](t, good, []extent{{0, 88}, {512, 512 + 48}, {1536, 1536 + 12}}, resealed)
	t.Run("footer copy damaged", func(t *testing.T) {
		b := bytes.Clone(good)
		b[300]++
		r, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		require.Len(t, qemutest.Extents(t, r), 2)
	})
	t.Run("fixed truncated", func(t *testing.T) {
		b := tiny(t, "force_size=on,subformat=fixed")[512:]
		_, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
		require.ErrorIs(t, err, vhd.ErrTruncated)
	})
}

func TestReadErrors(t *testing.T) {
	b := tiny(t, "force_size=on")
	qemutest.ReadErrors(t, b, vhd.ErrDamaged, func(ra io.ReaderAt, size int64) (qemutest.Image, error) { return vhd.NewReader(ra, size) })
	_, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)), vhd.WithMaxTable(1))
	require.Error(t, err)
}

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
	require.Equal(t, []extent{{0, 4096}}, qemutest.Extents(t, r))
}

func TestConcurrent(t *testing.T) {
	r, err := openBytes(tiny(t, "force_size=on"))
	require.NoError(t, err)
	qemutest.Concurrent(t, r)
}
