package vmdk_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vmdk"
)

const (
	kib = qemutest.KiB
	mib = qemutest.MiB
)

type extent = qemutest.Extent

var damage = qemutest.Damaged

func openBytes(b []byte) (qemutest.Image, error) { return newReader(b) }

func open(t testing.TB, name string) qemutest.Image {
	f, size := qemutest.OpenFile(t, name)
	r, err := vmdk.NewReader(f, size, vmdk.WithDir(filepath.Dir(name)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

var subformats = []string{"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"}

// variants crosses the options. Of flat extents qemu-img looks for holes in the
// files.
func variants(lists ...[]string) (list []qemutest.Variant) {
	var subs []string
	for _, s := range subformats {
		subs = append(subs, "subformat="+s)
	}
	for _, opts := range qemutest.Cross(append([][]string{subs}, lists...)...) {
		flat := strings.Contains(opts, "Flat")
		if flat && strings.Contains(opts, "zeroed_grain=on") {
			continue // qemu-img refuses it
		}
		list = append(list, qemutest.Variant{Options: opts, Coarser: flat})
	}
	return list
}

func TestMatrix(t *testing.T) {
	m := &qemutest.Matrix{Format: "vmdk", Map: qemutest.MapExact, Over: qemutest.TiB, Open: open}
	zeroed := []string{"", "zeroed_grain=on"}
	some := append(variants(zeroed), qemutest.Options("", "zeroed_grain=off")...)
	all := append(variants([]string{"compat6=on", "compat6=off,hwversion=10", "toolsversion=2147483647"}, zeroed),
		variants([]string{"adapter_type=ide", "adapter_type=lsilogic", "adapter_type=buslogic", "adapter_type=legacyESX"})...)
	flags := []qemutest.Variant{
		{Flags: []string{"-S", "0"}}, {Flags: []string{"-m", "16", "-W"}}, {Options: "subformat=twoGbMaxExtentSparse", Flags: []string{"-m", "16", "-W"}},
		{Options: "subformat=streamOptimized", Flags: []string{"-S", "0"}}, {Options: "subformat=streamOptimized", Flags: []string{"-c"}},
	}
	t.Run("all", func(t *testing.T) {
		small := qemutest.Small()
		m.Convert(t, small[:1], append(all, some...))
		m.Convert(t, append(small[1:], qemutest.Over4GiB()), some)
		m.Convert(t, small, flags)
		// More than 2 TiB split are a thousand files.
		m.Convert(t, []qemutest.Disk{qemutest.Over2TiB()}, []qemutest.Variant{{}, {Options: "subformat=monolithicFlat", Coarser: true}, {Options: "subformat=streamOptimized"}})
		stream := func(v qemutest.Variant) bool { return strings.Contains(v.Options, "streamOptimized") }
		m.Create(t, []int64{1000001, 3*mib + 512}, slices.DeleteFunc(slices.Clone(some), stream), true)
		m.Create(t, []int64{3*mib + 512}, some, false)
	})
	t.Logf("%d combinations of disk and options compared with qemu-img", m.Ran())
}

// A grain of zeros that the table says so is a hole.
func TestZeroedGrain(t *testing.T) {
	b := qemutest.Make(t, qemutest.Disk{Name: "tiny", Size: 2 * mib, Data: []extent{{0, 2 * mib}}}, "vmdk", "zeroed_grain=on")
	gd := binary.LittleEndian.Uint64(b[56:]) * 512
	gt := int64(binary.LittleEndian.Uint32(b[gd:])) * 512
	binary.LittleEndian.PutUint32(b[gt+8:], 1)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk"), b, 0o600))
	r := open(t, filepath.Join(dir, "disk"))
	require.Equal(t, []extent{{0, 128 * kib}, {192 * kib, 2 * mib}}, qemutest.Extents(t, r))
	qemutest.Compare(t, r, qemutest.Comparison{Dir: dir, Spec: []string{"-f", "vmdk", "disk"}, Map: qemutest.MapExact})
}

// Holes of flat extents are those of their files.
func TestFlatHoles(t *testing.T) {
	dir := t.TempDir()
	qemutest.Img(t, dir, "create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentFlat", "disk", "5G")
	qemutest.IO(t, dir, "vmdk", "disk", "write -P 1 4G 64k", "write -P 2 1M 64k")
	r := open(t, filepath.Join(dir, "disk"))
	var n int64
	for _, e := range qemutest.Extents(t, r) {
		n += e[1] - e[0]
	}
	if runtime.GOOS == "linux" {
		require.Less(t, n, mib)
	}
	qemutest.Compare(t, r, qemutest.Comparison{Dir: dir, Spec: []string{"-f", "vmdk", "disk"}})
}

func tiny(t testing.TB, opts string) []byte {
	return qemutest.Make(t, qemutest.Disk{Name: "tiny", Size: mib, Data: []extent{{100, 70000}, {mib - 512, mib}}}, "vmdk", opts)
}

func newReader(b []byte, opts ...vmdk.Option) (*vmdk.Reader, error) {
	return vmdk.NewReader(bytes.NewReader(b), int64(len(b)), opts...)
}

func TestInfo(t *testing.T) {
	r, err := newReader(tiny(t, "subformat=streamOptimized,adapter_type=lsilogic"))
	require.NoError(t, err)
	info := r.Info()
	require.Equal(t, "streamOptimized", info.CreateType)
	require.Equal(t, "lsilogic", info.Adapter)
	require.True(t, info.Compressed)
	require.EqualValues(t, mib, info.Size)
	require.Len(t, info.Extents, 1)
	require.EqualValues(t, 64*kib, info.Extents[0].Grain)
}

func requireTyped(t *testing.T, err, want error) {
	t.Helper()
	require.ErrorIs(t, err, want)
	var fe *vmdk.FormatError
	require.ErrorAs(t, err, &fe)
	require.NotEmpty(t, fe.Field)
	require.Contains(t, err.Error(), "vmdk: ")
}

func TestHostileHeader(t *testing.T) {
	good := tiny(t, "subformat=monolithicSparse")
	le := binary.LittleEndian
	gd := int64(le.Uint64(good[56:])) * 512
	gt := int64(le.Uint32(good[gd:])) * 512
	put := func(off int64, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[off:], v); return b }
	}
	qemutest.Hostile[*vmdk.FormatError](t, "vmdk", good, map[string]qemutest.Damage{
		"empty":             damage(func(b []byte) []byte { return nil }, vmdk.ErrTruncated),
		"short":             damage(func(b []byte) []byte { return b[:100] }, vmdk.ErrTruncated),
		"noise":             damage(func(b []byte) []byte { b[0] = 'x'; return b }, vmdk.ErrDamaged),
		"COWD":              damage(func(b []byte) []byte { copy(b, "COWD"); return b }, vmdk.ErrDamaged),
		"version":           damage(put(4, 4), vmdk.ErrUnsupported),
		"capacity 0":        damage(put(12, 0), vmdk.ErrUnsupported),
		"capacity 2^63":     damage(put(16, 0x00400000), vmdk.ErrDamaged),
		"capacity 2^63-512": damage(func(b []byte) []byte { le.PutUint64(b[12:], 1<<54-1); return b }, vmdk.ErrTruncated),
		"grain 0":           damage(put(20, 0), vmdk.ErrDamaged),
		"grain huge":        damage(put(24, 1), vmdk.ErrDamaged),
		"entries 0":         damage(put(44, 0), vmdk.ErrDamaged),
		"entries huge":      damage(put(44, 1<<31), vmdk.ErrDamaged),
		"directory outside": damage(put(60, 1), vmdk.ErrTruncated),
		"directory 0":       damage(put(56, 0), vmdk.ErrDamaged),
		"descriptor":        damage(put(32, 1), vmdk.ErrTruncated),
		"table outside":     damage(put(gd, 1<<30), vmdk.ErrTruncated),
		"grain outside":     damage(put(gt, 1<<30), vmdk.ErrTruncated),
		"grains overlap":    damage(put(gt, le.Uint32(good[gt+4:])+1), vmdk.ErrDamaged),
		"parent": damage(func(b []byte) []byte {
			return bytes.Replace(b, []byte("parentCID=ffffffff"), []byte("parentCID=12345678"), 1)
		}, vmdk.ErrUnsupported),
	}, openBytes)
	qemutest.Flip[*vmdk.FormatError](t, good, []extent{{0, 80}, {gd, gd + 8}, {gt, gt + 64}}, openBytes)
	t.Run("tables overlap", func(t *testing.T) {
		b := qemutest.Make(t, qemutest.Disk{Name: "tables", Size: 100 * mib}, "vmdk", "")
		gd := le.Uint64(b[56:]) * 512
		copy(b[gd+4:gd+8], b[gd:gd+4])
		_, err := newReader(b)
		requireTyped(t, err, vmdk.ErrDamaged)
	})
}

func TestHostileStream(t *testing.T) {
	good := tiny(t, "subformat=streamOptimized")
	le := binary.LittleEndian
	var at int // of the first grain's marker
	for at = 512; le.Uint64(good[at:]) != 0 || le.Uint32(good[at+8:]) == 0 || good[at+12] != 0x78; at += 512 {
	}
	bomb := zlibBytes(t, make([]byte, 65537))
	short := zlibBytes(t, make([]byte, 65535))
	cases := map[string]func(b []byte) []byte{
		"place":     func(b []byte) []byte { le.PutUint64(b[at:], 128); return b },
		"length 0":  func(b []byte) []byte { le.PutUint32(b[at+8:], 0); return b },
		"length":    func(b []byte) []byte { le.PutUint32(b[at+8:], math.MaxUint32); return b },
		"cut":       func(b []byte) []byte { le.PutUint32(b[at+8:], le.Uint32(b[at+8:])-9); return b },
		"damaged":   func(b []byte) []byte { b[at+2000]++; return b },
		"too long":  func(b []byte) []byte { le.PutUint32(b[at+8:], uint32(len(bomb))); copy(b[at+12:], bomb); return b },
		"too short": func(b []byte) []byte { le.PutUint32(b[at+8:], uint32(len(short))); copy(b[at+12:], short); return b },
	}
	for name, change := range cases {
		r, err := newReader(change(bytes.Clone(good)))
		require.NoError(t, err)
		_, err = r.ReadAt(make([]byte, 10), 0) // through the cache
		requireTyped(t, err, vmdk.ErrDamaged)
		qemutest.Hostile[*vmdk.FormatError](t, "vmdk", good, map[string]qemutest.Damage{name: damage(change, vmdk.ErrDamaged)}, openBytes)
	}
	head := int64(at)
	qemutest.Flip[*vmdk.FormatError](t, good, []extent{{0, 80}, {head, head + 64}}, openBytes)
}

// A stream whose header leaves the directory to the footer.
func TestFooter(t *testing.T) {
	b := tiny(t, "subformat=streamOptimized")
	head := bytes.Clone(b[:512])
	le := binary.LittleEndian
	for le.Uint64(head[56:]) == math.MaxUint64 {
		head = bytes.Clone(b[len(b)-1024 : len(b)-512])
	}
	want, err := newReader(b)
	require.NoError(t, err)
	tail := make([]byte, 3*512)
	le.PutUint64(tail, 1)
	le.PutUint32(tail[12:], 3)
	copy(tail[512:], head)
	b = append(b, tail...)
	le.PutUint64(b[56:], math.MaxUint64)
	r, err := newReader(b)
	require.NoError(t, err)
	require.Equal(t, qemutest.Extents(t, want), qemutest.Extents(t, r))
	for _, cut := range []int{1, 512, 1024, 1536, len(b) - 600} {
		_, err = newReader(b[:len(b)-cut])
		requireTyped(t, err, vmdk.ErrTruncated)
	}
	le.PutUint64(b[len(b)-1024+56:], math.MaxUint64)
	_, err = newReader(b)
	requireTyped(t, err, vmdk.ErrDamaged)
}

func TestDescriptorNames(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(outside, "dir")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), make([]byte, 4096), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in"), bytes.Repeat([]byte("x"), 4096), 0o600))
	line := func(l string) []byte {
		return []byte("# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\n" + l + "\n")
	}
	tests := map[string]struct {
		text []byte
		want error
	}{
		"climbs deep": {line(`RW 8 FLAT "sub/../../secret" 0`), vmdk.ErrMissingFile},
		"device":      {line(`RW 8 FLAT "/dev/zero" 0`), vmdk.ErrMissingFile},
		"raw device":  {line(`RW 8 VMFSRDM "\\.\PhysicalDrive0"`), vmdk.ErrUnsupported},
		"sparse up":   {line(`RW 8 SPARSE "../secret"`), vmdk.ErrMissingFile},
		"zero byte":   {line("RW 8 FLAT \"in\x00\" 0"), vmdk.ErrMissingFile},
		"climbs":      {line(`RW 8 FLAT "../secret" 0`), vmdk.ErrMissingFile},
		"absolute":    {line(fmt.Sprintf(`RW 8 FLAT %q 0`, filepath.Join(outside, "secret"))), vmdk.ErrMissingFile},
		"empty":       {line(`RW 8 FLAT "" 0`), vmdk.ErrMissingFile},
		"missing":     {line(`RW 8 FLAT "none" 0`), fs.ErrNotExist},
		"directory":   {line(`RW 8 FLAT "." 0`), vmdk.ErrUnsupported},
		"truncated":   {line(`RW 9 FLAT "in" 0`), vmdk.ErrTruncated},
		"start":       {line(`RW 1 FLAT "in" 8`), vmdk.ErrTruncated},
		"start huge":  {line(`RW 1 FLAT "in" 9223372036854775807`), vmdk.ErrDamaged},
		"size huge":   {line(`RW 9223372036854775808 FLAT "in" 0`), vmdk.ErrDamaged},
		"sum huge":    {line("RW 18014398509481983 ZERO\nRW 18014398509481983 ZERO"), vmdk.ErrDamaged},
		"no sparse":   {line(`RW 8 SPARSE "in"`), vmdk.ErrDamaged},
		"type":        {line(`RW 8 SESPARSE "in"`), vmdk.ErrUnsupported},
		"access":      {line(`NOACCESS 8 FLAT "in" 0`), vmdk.ErrUnsupported},
		"no extents":  {line(``), vmdk.ErrDamaged},
		"delta":       {[]byte("version=1\nparentCID=1\nRW 8 FLAT \"in\" 0\n"), vmdk.ErrUnsupported},
		"encrypted":   {line("encryption.keySafe=\"x\"\nRW 8 FLAT \"in\" 0"), vmdk.ErrEncrypted},
		"endless one": {append(line(""), bytes.Repeat([]byte("y"), 70000)...), vmdk.ErrDamaged},
	}
	if runtime.GOOS != "windows" {
		require.NoError(t, os.Symlink("../secret", filepath.Join(dir, "link")))
		require.NoError(t, exec.Command("mkfifo", filepath.Join(dir, "pipe")).Run())
		tests["pipe"] = struct {
			text []byte
			want error
		}{line(`RW 8 FLAT "pipe" 0`), vmdk.ErrUnsupported}
		tests["link"] = struct {
			text []byte
			want error
		}{line(`RW 8 FLAT "link" 0`), nil}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := newReader(tt.text, vmdk.WithDir(dir))
			if tt.want == nil {
				require.ErrorContains(t, err, "escapes")
				return
			}
			requireTyped(t, err, tt.want)
		})
	}
	_, err := newReader(line(`RW 8 FLAT "in" 0`))
	requireTyped(t, err, vmdk.ErrMissingFile)

	r, err := newReader(line("RDONLY 2 FLAT \"in\" 6\nRW 4 ZERO\nRW 1 FLAT \"in\" 0"), vmdk.WithDir(dir))
	require.NoError(t, err)
	require.Equal(t, []extent{{0, 1024}, {3072, 3584}}, qemutest.Extents(t, r))
	got := make([]byte, r.Size())
	_, err = r.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", 1024)+strings.Repeat("\x00", 2048)+strings.Repeat("x", 512), string(got))
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
}

func TestReadErrors(t *testing.T) {
	for _, opts := range []string{"subformat=monolithicSparse", "subformat=streamOptimized"} {
		b := tiny(t, opts)
		qemutest.ReadErrors(t, b, vmdk.ErrDamaged, func(ra io.ReaderAt, size int64) (qemutest.Image, error) { return vmdk.NewReader(ra, size) })
		r, err := newReader(b)
		require.NoError(t, err)
		qemutest.Concurrent(t, r)
	}
	for _, o := range []vmdk.Option{vmdk.WithDir(""), vmdk.WithMaxTable(1)} {
		_, err := newReader(nil, o)
		require.Error(t, err)
	}
}

func zlibBytes(t testing.TB, b []byte) []byte {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func newReaderAt(ra io.ReaderAt, size int64) (*vmdk.Reader, error) { return vmdk.NewReader(ra, size) }
