package anyimage_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
)

// content is n bytes of a disk: data that compresses, data that does not, holes.
func content(n int64) []byte {
	b := make([]byte, n)
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	for at := int64(0); at < n; at += 3 << 19 {
		part := b[at:min(at+1<<18, n)]
		for i := range part {
			part[i] = byte(rnd.Uint32()) >> (at >> 19 % 7)
		}
	}
	return b
}

// source writes a RAW image of n bytes into a directory of its own.
func source(t testing.TB, n int64) (dir string, want []byte) {
	t.Helper()
	dir, want = t.TempDir(), content(n)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk.raw"), want, 0o600))
	return dir, want
}

// requireDisk wants an open disk to have the content want.
func requireDisk(t testing.TB, d *anyimage.Disk, want []byte) {
	t.Helper()
	require.EqualValues(t, len(want), d.Size())
	got := make([]byte, len(want))
	for e, err := range d.Extents() {
		require.NoError(t, err)
		_, err := d.ReadAt(got[e.Offset:e.End()], e.Offset)
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(want, got))
}

var images = []struct {
	args   []string // of qemu-img convert
	format rawimage.Format
}{
	{[]string{"-O", "raw"}, rawimage.FormatRaw},
	{[]string{"-O", "qcow2"}, rawimage.FormatQCOW2},
	{[]string{"-O", "qcow2", "-c"}, rawimage.FormatQCOW2},
	{[]string{"-O", "vmdk"}, rawimage.FormatVMDK},
	{[]string{"-O", "vmdk", "-o", "subformat=streamOptimized"}, rawimage.FormatVMDK},
	{[]string{"-O", "vmdk", "-o", "subformat=monolithicFlat"}, rawimage.FormatVMDK},
	{[]string{"-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"}, rawimage.FormatVMDK},
	{[]string{"-O", "vpc", "-o", "force_size=on"}, rawimage.FormatVHD},
	{[]string{"-O", "vpc", "-o", "force_size=on,subformat=fixed"}, rawimage.FormatVHD},
	{[]string{"-O", "vhdx"}, rawimage.FormatVHDX},
	{[]string{"-O", "vdi"}, rawimage.FormatVDI},
}

func TestOpen(t *testing.T) {
	dir, want := source(t, 9<<20)
	for i, im := range images {
		t.Run(strings.Join(im.args, " "), func(t *testing.T) {
			name := fmt.Sprintf("misnamed%d.txt", i)
			qemutest.Tool(t, dir, "qemu-img", append(append([]string{"convert", "-f", "raw"}, im.args...), "disk.raw", name)...)
			d, err := anyimage.Open(filepath.Join(dir, name))
			require.NoError(t, err)
			defer d.Close()
			require.Equal(t, im.format, d.Format())
			require.Equal(t, im.format == rawimage.FormatRaw, len(d.Facts()) == 0)
			require.Empty(t, d.Warnings())
			requireDisk(t, d, want)
			require.NoError(t, d.CheckUnchanged())
			require.NoError(t, d.Close())
		})
	}
}

// What is not read is refused by name.
func TestRefused(t *testing.T) {
	for magic, words := range map[string]string{
		"QED\x00":                 "(qed), which is not supported",
		"QFI\xfb\x00\x00\x00\x01": "(qcow version 1), which is not",
		"z2strm":                  "a compressed cloud image",
		"stream\x00\x00":          "a compressed cloud image",
		"BZh91AY&SY":              "compressed (bzip2)",
		"\x1f\x8b\x08":            "compressed (gzip)",
		"# Disk DescriptorFile\n": "vmdk: ",
		"QFI\xfb\x00\x00\x00\x03": "qcow2: ",
		"vhdxfile":                "vhdx: ",
	} {
		head := append([]byte(magic), make([]byte, 8192)...)
		_, err := anyimage.New(bytes.NewReader(head), int64(len(head)))
		require.ErrorContains(t, err, words)
		d, err := anyimage.New(bytes.NewReader(head), int64(len(head)), anyimage.WithFormat(rawimage.FormatRaw))
		require.NoError(t, err)
		requireDisk(t, d, head)
	}
	_, err := anyimage.New(bytes.NewReader([]byte("\x1f\x8b\x08")), 3)
	require.ErrorIs(t, err, anyimage.ErrCompressed)
	require.ErrorIs(t, err, anyimage.ErrUnsupported)
}

// FuzzNew: no panic and no hang on any image, its disk read to some extent.
func FuzzNew(f *testing.F) {
	for _, magic := range []string{"QFI\xfb\x00\x00\x00\x03", "KDMV", "vhdxfile", "conectix", "# Disk DescriptorFile\nRW 8 FLAT \"x\" 0\n"} {
		f.Add(append([]byte(magic), make([]byte, 1024)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := anyimage.New(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		defer d.Close()
		n := 0
		for e, err := range d.Extents() {
			if n++; err != nil || n > 100 {
				break
			}
			_, _ = d.ReadAt(make([]byte, min(e.Length, 1<<16)), e.Offset)
		}
	})
}
