package rawimage_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func write(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.raw")
	require.NoError(t, os.WriteFile(name, data, 0o600))
	return name
}

// sparse makes a file of size bytes with data at the given extents.
func sparse(t testing.TB, size int64, data ...rawimage.Extent) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.raw")
	f, err := os.Create(name)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size))
	for _, e := range data {
		_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(e.Length)), e.Offset)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	return name
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := write(t, nil)
	for _, c := range []struct {
		name, path string
		want       error
	}{
		{"missing", filepath.Join(dir, "none"), fs.ErrNotExist},
		{"directory", dir, rawimage.ErrNotImage},
		{"empty", empty, rawimage.ErrEmpty},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := rawimage.Open(c.path)
			require.ErrorIs(t, err, c.want)
			var oe *rawimage.OpenError
			require.ErrorAs(t, err, &oe)
			require.Equal(t, c.path, oe.Name)
			require.Contains(t, err.Error(), "rawimage: open "+c.path)
		})
	}
	_, err := rawimage.New(bytes.NewReader(nil), 0)
	require.ErrorIs(t, err, rawimage.ErrEmpty)
	_, err = rawimage.New(bytes.NewReader(nil), -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
	if runtime.GOOS == "linux" {
		_, err = rawimage.Open("/dev/zero")
		require.ErrorIs(t, err, rawimage.ErrNotImage)
	}
}

func TestForeignFormats(t *testing.T) {
	at := func(off int, s string) []byte {
		b := make([]byte, 8*kib)
		copy(b[off:], s)
		return b
	}
	for _, c := range []struct {
		name string
		data []byte
		want rawimage.Format
	}{
		{"qcow1", at(0, "QFI\xfb\x00\x00\x00\x01"), rawimage.FormatQCOW},
		{"qcow2", at(0, "QFI\xfb\x00\x00\x00\x03"), rawimage.FormatQCOW2},
		{"qed", at(0, "QED\x00"), rawimage.FormatQED},
		{"vmdk", at(0, "KDMV"), rawimage.FormatVMDK},
		{"vmdk text", []byte("# Disk DescriptorFile\nversion=1\n"), rawimage.FormatVMDK},
		{"vmdk text after comment", []byte("# x\n\n# disk descriptorfile\r\n"), rawimage.FormatVMDK},
		{"vhd dynamic", at(0, "conectix"), rawimage.FormatVHD},
		{"vhd fixed", at(8*kib-512, "conectix"), rawimage.FormatVHD},
		{"vhd fixed old", at(8*kib-511, "conectix"), rawimage.FormatVHD},
		{"vhdx", at(0, "vhdxfile"), rawimage.FormatVHDX},
		{"vdi", at(64, "\x7f\x10\xda\xbe"), rawimage.FormatVDI},
		{"zvhd", at(0, "stream\x00\x00"), rawimage.FormatZVHD},
		{"zvhd2", at(0, "z2strm\x00\x00"), rawimage.FormatZVHD2},
		{"gzip", at(0, "\x1f\x8b\x08"), rawimage.FormatGzip},
		{"xz", at(0, "\xfd7zXZ\x00"), rawimage.FormatXZ},
		{"zstd", at(0, "\x28\xb5\x2f\xfd"), rawimage.FormatZstd},
		{"bzip2", at(0, "BZh91AY&SY"), rawimage.FormatBzip2},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := write(t, c.data)
			_, err := rawimage.Open(name)
			var fe *rawimage.ForeignFormatError
			require.ErrorAs(t, err, &fe)
			require.ErrorIs(t, err, rawimage.ErrForeignFormat)
			require.Equal(t, c.want, fe.Format)
			require.Contains(t, err.Error(), string(c.want))
			require.Contains(t, err.Error(), name)

			im, err := rawimage.Open(name, rawimage.WithAnyFormat())
			require.NoError(t, err)
			require.NoError(t, im.Close())
		})
	}
	for _, raw := range [][]byte{at(0, "BZhello"), at(0, "QF"), at(0, "# a shell script"), {0}} {
		im, err := rawimage.New(bytes.NewReader(raw), int64(len(raw)))
		require.NoError(t, err)
		require.Equal(t, int64(len(raw)), im.Size())
	}
}

// What qemu-img makes is recognized as what qemu-img says it is.
func TestForeignFormatsOfQEMU(t *testing.T) {
	qemu := qemutest.Oracle(t, "qemu-img")
	for _, c := range [][]string{
		{"qcow2"}, {"qcow"}, {"qed"}, {"vmdk"}, {"vmdk", "-o", "subformat=monolithicFlat"},
		{"vpc"}, {"vpc", "-o", "subformat=fixed"}, {"vhdx"}, {"vdi"},
	} {
		name := filepath.Join(t.TempDir(), "disk")
		args := append([]string{"create", "-q", "-f"}, c...)
		out, err := exec.Command(qemu, append(args, name, "4M")...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		_, err = rawimage.Open(name)
		var fe *rawimage.ForeignFormatError
		require.ErrorAs(t, err, &fe, "%v", c)
		want := c[0]
		if want == "vpc" {
			want = "vhd"
		}
		require.Equal(t, want, string(fe.Format))
	}
}

func TestReadAt(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcde\n"), 100)
	im, err := rawimage.Open(write(t, data[:1537]), rawimage.WithAnyFormat())
	require.NoError(t, err)
	defer im.Close()
	require.Equal(t, int64(1537), im.Size())

	p := make([]byte, 100)
	n, err := im.ReadAt(p, 1500)
	require.Equal(t, io.EOF, err)
	require.Equal(t, 37, n)
	require.Equal(t, data[1500:1537], p[:n])
	_, err = im.ReadAt(p, 1537)
	require.Equal(t, io.EOF, err)
	_, err = im.ReadAt(p, -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
	all, err := io.ReadAll(io.NewSectionReader(im, 0, im.Size()))
	require.NoError(t, err)
	require.Equal(t, data[:1537], all)
}

func TestChanged(t *testing.T) {
	t.Run("shrinks", func(t *testing.T) {
		name := write(t, bytes.Repeat([]byte{1}, 8*kib))
		im, err := rawimage.Open(name)
		require.NoError(t, err)
		defer im.Close()
		require.NoError(t, im.CheckUnchanged())
		require.NoError(t, os.Truncate(name, 4*kib))
		var ce *rawimage.ChangedError
		_, err = im.ReadAt(make([]byte, 8*kib), 0)
		require.ErrorAs(t, err, &ce)
		require.ErrorIs(t, err, rawimage.ErrChanged)
		require.ErrorAs(t, im.CheckUnchanged(), &ce)
		require.Equal(t, int64(8*kib), ce.OldSize)
		require.Equal(t, int64(4*kib), ce.NewSize)
		if runtime.GOOS == "linux" { // a cut must not look like a hole
			_, _, err = im.NextData(6 * kib)
			require.ErrorIs(t, err, rawimage.ErrChanged)
		}
	})
	t.Run("grows", func(t *testing.T) {
		name := write(t, bytes.Repeat([]byte{1}, 8*kib))
		im, err := rawimage.Open(name)
		require.NoError(t, err)
		defer im.Close()
		require.NoError(t, os.Truncate(name, 16*kib))
		require.ErrorIs(t, im.CheckUnchanged(), rawimage.ErrChanged)
	})
	t.Run("is written to", func(t *testing.T) {
		name := write(t, bytes.Repeat([]byte{1}, 8*kib))
		im, err := rawimage.Open(name)
		require.NoError(t, err)
		defer im.Close()
		require.NoError(t, os.Chtimes(name, time.Now(), time.Now().Add(time.Second)))
		require.ErrorIs(t, im.CheckUnchanged(), rawimage.ErrChanged)
	})
}

func collect(t *testing.T, im *rawimage.Image, off, length int64) []rawimage.Extent {
	t.Helper()
	var got []rawimage.Extent
	for e, err := range im.ExtentsIn(off, length) {
		require.NoError(t, err)
		got = append(got, e)
	}
	return got
}

func TestExtentsOfFile(t *testing.T) {
	name := sparse(t, 64*mib, rawimage.Extent{Offset: 4 * mib, Length: mib}, rawimage.Extent{Offset: 40 * mib, Length: 2 * mib})
	im, err := rawimage.Open(name)
	require.NoError(t, err)
	defer im.Close()
	got := collect(t, im, 0, im.Size())
	covered := func(off int64) bool {
		for _, e := range got {
			if off >= e.Offset && off < e.End() {
				return true
			}
		}
		return false
	}
	for _, off := range []int64{4 * mib, 5*mib - 1, 40 * mib, 42*mib - 1} {
		require.True(t, covered(off), "data at %d in no extent", off)
	}
	for i := 1; i < len(got); i++ {
		require.Greater(t, got[i].Offset, got[i-1].End(), "not merged or not in order")
	}
	require.Equal(t, got, collect(t, im, 0, im.Size()), "second range")

	whole, err := rawimage.Open(name, rawimage.WithoutHoles())
	require.NoError(t, err)
	defer whole.Close()
	require.Equal(t, []rawimage.Extent{{Offset: 0, Length: 64 * mib}}, collect(t, whole, 0, 64*mib))
}

// source reports data where its list says.
type source struct {
	io.ReaderAt
	ext []rawimage.Extent
	err error
}

func (s source) NextData(off int64) (int64, int64, error) {
	for _, e := range s.ext {
		if e.End() > off {
			return max(off, e.Offset), e.End(), nil
		}
	}
	if s.err != nil {
		return 0, 0, s.err
	}
	return 0, 0, io.EOF
}

func TestExtentsMergeAndClip(t *testing.T) {
	data := bytes.NewReader(make([]byte, 100))
	im, err := rawimage.New(source{data, []rawimage.Extent{{0, 10}, {10, 10}, {30, 5}, {50, 500}}, nil}, 100)
	require.NoError(t, err)
	require.Equal(t, []rawimage.Extent{{0, 20}, {30, 5}, {50, 50}}, collect(t, im, 0, 100))
	require.Equal(t, []rawimage.Extent{{5, 15}, {30, 2}}, collect(t, im, 5, 27))
	require.Empty(t, collect(t, im, 20, 10))
	require.Empty(t, collect(t, im, 200, 10))
	require.Equal(t, []rawimage.Extent{{60, 40}}, collect(t, im, 60, 1<<62))

	for range im.Extents() { // an early break leaves nothing behind
		break
	}
	boom := errors.New("boom")
	im, err = rawimage.New(source{data, []rawimage.Extent{{0, 10}}, boom}, 100)
	require.NoError(t, err)
	var got []rawimage.Extent
	var errs []error
	for e, err := range im.Extents() {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, e)
	}
	require.Equal(t, []rawimage.Extent{{0, 10}}, got)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], boom)

	im, err = rawimage.New(source{data, []rawimage.Extent{{0, 10}, {20, -5}}, nil}, 100)
	require.NoError(t, err)
	for range im.Extents() { // ends, whatever the source answers
	}
}

func TestConcurrentUse(t *testing.T) {
	im, err := rawimage.Open(sparse(t, 16*mib, rawimage.Extent{Offset: mib, Length: mib}))
	require.NoError(t, err)
	defer im.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := make([]byte, 4*kib)
			for off := int64(0); off < im.Size(); off += 256 * kib {
				if _, err := im.ReadAt(p, off); err != nil {
					t.Error(err)
				}
				if _, _, err := im.NextData(off); err != nil && err != io.EOF {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
