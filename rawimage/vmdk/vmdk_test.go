package vmdk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/vmdk"
)

func open(t testing.TB, name string) image {
	f, size := opened(t, name)
	r, err := vmdk.NewReader(f, size, vmdk.WithDir(filepath.Dir(name)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func TestMatrix(t *testing.T) {
	all := append(disks(), disk{"3TiB", 3 * tib, []piece{{mib, 4096}, {3*tib - 5120, 5120}}})
	sets := []string{"", "compat6=on", "zeroed_grain=on", "adapter_type=lsilogic", "adapter_type=buslogic",
		"adapter_type=legacyESX", "hwversion=10", "toolsversion=2147483647"}
	for _, sub := range []string{"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"} {
		sets = append(sets, "subformat="+sub)
	}
	sets = append(sets, "subformat=streamOptimized,adapter_type=lsilogic", "subformat=streamOptimized,compat6=on",
		"subformat=twoGbMaxExtentSparse,zeroed_grain=on")
	matrix(t, "vmdk", sets, all[:5], open)
	matrix(t, "vmdk", []string{"subformat=monolithicFlat"}, all[5:], open)
}

// A grain of zeros that the table says so is a hole.
func TestZeroedGrain(t *testing.T) {
	name := makeImage(t, "zeroed_grain=on", 2*mib, []piece{{0, 2 * mib}})
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	gd := binary.LittleEndian.Uint64(b[56:]) * 512
	gt := int64(binary.LittleEndian.Uint32(b[gd:])) * 512
	binary.LittleEndian.PutUint32(b[gt+8:], 1)
	require.NoError(t, os.WriteFile(name, b, 0o600))
	r := open(t, name)
	require.Equal(t, []piece{{0, 128 * kib}, {192 * kib, 2*mib - 192*kib}}, extents(t, r))
	compare(t, r, disk{}, "-f", "vmdk", name)
}

// makeImage converts a disk and returns the image's name.
func makeImage(t testing.TB, opts string, size int64, pieces []piece) string {
	dir := t.TempDir()
	raw := disk{"tiny", size, pieces}.raw(t, dir)
	name := filepath.Join(dir, "tiny.vmdk")
	qemuImg(t, "convert", "-f", "raw", "-O", "vmdk", "-o", opts, raw, name)
	return name
}

func tiny(t testing.TB, opts string) []byte {
	b, err := os.ReadFile(makeImage(t, opts, mib, []piece{{100, 70000}, {mib - 512, 512}}))
	require.NoError(t, err)
	return b
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
	tests := map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"empty":             {func(b []byte) []byte { return nil }, vmdk.ErrFormat},
		"short":             {func(b []byte) []byte { return b[:100] }, vmdk.ErrFormat},
		"noise":             {func(b []byte) []byte { b[0] = 'x'; return b }, vmdk.ErrFormat},
		"COWD":              {func(b []byte) []byte { copy(b, "COWD"); return b }, vmdk.ErrUnsupported},
		"version":           {put(4, 4), vmdk.ErrUnsupported},
		"capacity 0":        {put(12, 0), vmdk.ErrUnsupported},
		"capacity 2^63":     {put(16, 0x00400000), vmdk.ErrFormat},
		"capacity 2^63-512": {func(b []byte) []byte { le.PutUint64(b[12:], 1<<54-1); return b }, vmdk.ErrFormat},
		"grain 0":           {put(20, 0), vmdk.ErrFormat},
		"grain huge":        {put(24, 1), vmdk.ErrFormat},
		"entries 0":         {put(44, 0), vmdk.ErrFormat},
		"entries huge":      {put(44, 1<<31), vmdk.ErrFormat},
		"directory outside": {put(60, 1), vmdk.ErrFormat},
		"directory 0":       {put(56, 0), vmdk.ErrFormat},
		"descriptor":        {put(32, 1), vmdk.ErrFormat},
		"table outside":     {put(gd, 1<<30), vmdk.ErrFormat},
		"grain outside":     {put(gt, 1<<30), vmdk.ErrFormat},
		"grains overlap":    {put(gt, le.Uint32(good[gt+4:])+1), vmdk.ErrFormat},
		"parent": {func(b []byte) []byte {
			return bytes.Replace(b, []byte("parentCID=ffffffff"), []byte("parentCID=12345678"), 1)
		}, vmdk.ErrUnsupported},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := newReader(tt.change(bytes.Clone(good)))
			if err == nil {
				_, err = r.ReadAt(make([]byte, 10), 0)
				_, _, err2 := r.NextData(0)
				requireTyped(t, err2, tt.want)
			}
			requireTyped(t, err, tt.want)
		})
	}
	t.Run("tables overlap", func(t *testing.T) {
		b, err := os.ReadFile(makeImage(t, "subformat=monolithicSparse", 100*mib, nil))
		require.NoError(t, err)
		gd := le.Uint64(b[56:]) * 512
		copy(b[gd+4:gd+8], b[gd:gd+4])
		_, err = newReader(b)
		requireTyped(t, err, vmdk.ErrFormat)
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
	tests := map[string]func(b []byte) []byte{
		"place":     func(b []byte) []byte { le.PutUint64(b[at:], 128); return b },
		"length 0":  func(b []byte) []byte { le.PutUint32(b[at+8:], 0); return b },
		"length":    func(b []byte) []byte { le.PutUint32(b[at+8:], math.MaxUint32); return b },
		"cut":       func(b []byte) []byte { le.PutUint32(b[at+8:], le.Uint32(b[at+8:])-9); return b },
		"damaged":   func(b []byte) []byte { b[at+2000]++; return b },
		"too long":  func(b []byte) []byte { le.PutUint32(b[at+8:], uint32(len(bomb))); copy(b[at+12:], bomb); return b },
		"too short": func(b []byte) []byte { le.PutUint32(b[at+8:], uint32(len(short))); copy(b[at+12:], short); return b },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := newReader(change(bytes.Clone(good)))
			require.NoError(t, err)
			_, err = r.ReadAt(make([]byte, 10), 0)
			requireTyped(t, err, vmdk.ErrFormat)
			_, err = r.ReadAt(make([]byte, mib), 0)
			requireTyped(t, err, vmdk.ErrFormat)
		})
	}
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
	require.Equal(t, extents(t, want), extents(t, r))
	for _, cut := range []int{1, 512, 1024, 1536, len(b) - 600} {
		_, err = newReader(b[:len(b)-cut])
		requireTyped(t, err, vmdk.ErrFormat)
	}
	le.PutUint64(b[len(b)-1024+56:], math.MaxUint64)
	_, err = newReader(b)
	requireTyped(t, err, vmdk.ErrFormat)
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
		"climbs":      {line(`RW 8 FLAT "../secret" 0`), vmdk.ErrFormat},
		"absolute":    {line(fmt.Sprintf(`RW 8 FLAT %q 0`, filepath.Join(outside, "secret"))), vmdk.ErrFormat},
		"empty":       {line(`RW 8 FLAT "" 0`), vmdk.ErrFormat},
		"missing":     {line(`RW 8 FLAT "none" 0`), fs.ErrNotExist},
		"directory":   {line(`RW 8 FLAT "." 0`), vmdk.ErrUnsupported},
		"truncated":   {line(`RW 9 FLAT "in" 0`), vmdk.ErrFormat},
		"start":       {line(`RW 1 FLAT "in" 8`), vmdk.ErrFormat},
		"start huge":  {line(`RW 1 FLAT "in" 9223372036854775807`), vmdk.ErrFormat},
		"size huge":   {line(`RW 9223372036854775808 FLAT "in" 0`), vmdk.ErrFormat},
		"sum huge":    {line("RW 18014398509481983 ZERO\nRW 18014398509481983 ZERO"), vmdk.ErrFormat},
		"no sparse":   {line(`RW 8 SPARSE "in"`), vmdk.ErrFormat},
		"type":        {line(`RW 8 SESPARSE "in"`), vmdk.ErrUnsupported},
		"access":      {line(`NOACCESS 8 FLAT "in" 0`), vmdk.ErrUnsupported},
		"no extents":  {line(``), vmdk.ErrFormat},
		"delta":       {[]byte("version=1\nparentCID=1\nRW 8 FLAT \"in\" 0\n"), vmdk.ErrUnsupported},
		"encrypted":   {line("encryption.keySafe=\"x\"\nRW 8 FLAT \"in\" 0"), vmdk.ErrUnsupported},
		"endless one": {append(line(""), bytes.Repeat([]byte("y"), 70000)...), vmdk.ErrFormat},
	}
	if runtime.GOOS != "windows" {
		require.NoError(t, os.Symlink("../secret", filepath.Join(dir, "link")))
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
	requireTyped(t, err, vmdk.ErrExternal)

	r, err := newReader(line("RDONLY 2 FLAT \"in\" 6\nRW 4 ZERO\nRW 1 FLAT \"in\" 0"), vmdk.WithDir(dir))
	require.NoError(t, err)
	require.Equal(t, []piece{{0, 1024}, {3072, 512}}, extents(t, r))
	got := make([]byte, r.Size())
	_, err = r.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", 1024)+strings.Repeat("\x00", 2048)+strings.Repeat("x", 512), string(got))
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
}

func TestReadErrors(t *testing.T) {
	_, err := vmdk.NewReader(failing{}, 1<<20)
	require.ErrorIs(t, err, iotest.ErrTimeout)
	require.False(t, errors.Is(err, vmdk.ErrFormat))
	r, err := newReader(tiny(t, "subformat=monolithicSparse"))
	require.NoError(t, err)
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	_, err = r.ReadAt(make([]byte, 1), math.MaxInt64)
	require.ErrorIs(t, err, io.EOF)
	n, err := r.ReadAt(make([]byte, 100), r.Size()-10)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 10, n)
	for _, o := range []vmdk.Option{vmdk.WithDir(""), vmdk.WithMember(""), vmdk.WithMember("x"), vmdk.WithMaxTable(1)} {
		_, err = newReader(nil, o)
		require.Error(t, err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

func TestConcurrent(t *testing.T) {
	for _, opts := range []string{"subformat=monolithicSparse", "subformat=streamOptimized"} {
		r, err := newReader(tiny(t, opts))
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { exercise(t, r) })
		}
		wg.Wait()
	}
}
