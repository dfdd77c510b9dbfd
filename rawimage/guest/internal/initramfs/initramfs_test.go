package initramfs_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
	"github.com/fastimage/fastimage/rawimage/guest/internal/initramfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const version = "6.1.0"

func archive() []byte {
	return gt.CPIO(gt.VirtioModules(version).With(gt.Tree{"etc/cmdline.d/90lvm.conf": "rd.lvm.lv=a/b\n", "big": strings.Repeat("content ", 100_000),
		"usr/lib/modules/6.1.0/kernel/a/b-c.ko.xz": "m", "usr/lib/modules/6.1.0/kernel/a/d.ko.zst": "m", "lib/modules/6.1.0/kernel/a/e.ko.gz": "m",
		"usr/lib/modules/5.5.5/kernel/other.ko": "m"}))
}

func compressed(t *testing.T, name string, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch name {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	case "lz4":
		w = lz4.NewWriter(&b)
	case "lz4 legacy":
		z := lz4.NewWriter(&b)
		err = z.Apply(lz4.LegacyOption(true))
		w = z
	case "xz":
		w, err = xz.NewWriter(&b)
	case "lzma":
		w, err = lzma.NewWriter(&b)
	case "bzip2": // Go has no compressor; this is the same archive
		p, err := os.ReadFile("testdata/modules.cpio.bz2")
		require.NoError(t, err)
		return p
	}
	require.NoError(t, err)
	_, err = w.Write(p)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestCompressions(t *testing.T) {
	t.Parallel()
	early := append(gt.CPIO(gt.Tree{"kernel/x86/microcode/GenuineIntel.bin": "code"}), make([]byte, 1111)...)
	for _, name := range []string{"gzip", "zstd", "lz4", "lz4 legacy", "xz", "lzma", "bzip2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := append(early[:len(early):len(early)], compressed(t, name, archive())...)
			c, err := initramfs.Read(bytes.NewReader(p), version, func(n string) bool { return strings.HasPrefix(n, "etc/cmdline.d/") })
			require.NoError(t, err)
			for _, m := range []string{"virtio_blk", "virtio_pci", "virtio", "b_c", "d", "e"} {
				require.NotEmpty(t, c.Modules[m], m)
			}
			require.Empty(t, c.Modules["other"])
			require.Equal(t, []string{"5.5.5"}, c.Other)
			require.Equal(t, "rd.lvm.lv=a/b\n", string(c.Kept["etc/cmdline.d/90lvm.conf"]))
			require.True(t, c.HasCommand("lvm"))
			require.True(t, c.Files["kernel/x86/microcode/GenuineIntel.bin"])
			require.Equal(t, "none", c.Formats[0])
			require.True(t, strings.HasPrefix(name, c.Formats[1]), c.Formats)
		})
	}
}

// Parts of different compressions follow one another, as dracut and Ubuntu make
// them, and zeros fill the end of the file.
func TestConcatenated(t *testing.T) {
	t.Parallel()
	p := gt.CPIO(gt.Tree{"a.ko": "m"})
	p = append(p, make([]byte, 512-len(p)%512)...)
	p = append(p, compressed(t, "gzip", gt.CPIO(gt.Tree{"b.ko": "m"}))...)
	p = append(p, make([]byte, 333)...)
	p = append(p, gt.CPIO(gt.Tree{"c.ko": "m"})...)
	p = append(p, compressed(t, "zstd", append(gt.CPIO(gt.Tree{"d.ko": "m"}), gt.CPIO(gt.Tree{"e.ko": "m"})...))...)
	p = append(p, make([]byte, 2048)...)
	c, err := initramfs.Read(bytes.NewReader(p), "", nil)
	require.NoError(t, err)
	require.Len(t, c.Modules, 5)
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	good := archive()
	_, err := initramfs.Read(bytes.NewReader(good[:len(good)/2]), version, nil)
	require.ErrorIs(t, err, vfs.ErrDamaged)
	_, err = initramfs.Read(strings.NewReader("no archive at all"), version, nil)
	require.ErrorIs(t, err, vfs.ErrUnsupported)
	_, err = initramfs.Read(strings.NewReader("\x89LZO\x00\x0d\x0a\x1a\x0a"), version, nil)
	require.ErrorIs(t, err, vfs.ErrUnsupported)
	long := append([]byte{}, gt.CPIO(gt.Tree{"name": "content"})...)
	copy(long[94:], "7FFFFFFF")
	_, err = initramfs.Read(bytes.NewReader(long), version, nil)
	require.ErrorIs(t, err, vfs.ErrDamaged)
	// A dictionary of 4 GiB.
	huge := append([]byte{0x5d, 0, 0, 0, 0xff}, make([]byte, 100)...)
	binary.LittleEndian.PutUint32(huge[1:], 0xf0000000)
	_, err = initramfs.Read(bytes.NewReader(huge), version, nil)
	require.ErrorIs(t, err, vfs.ErrUnsupported)
}

// A bomb ends at the limit of bytes, and one of archives in archives at that of
// layers.
func TestBombs(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	require.NoError(t, err)
	head := gt.CPIO(gt.Tree{"name": ""})
	copy(head[54:], "FFFFFFFF") // 4 GiB of zeros
	_, err = z.Write(head[:116])
	require.NoError(t, err)
	zeros := make([]byte, 4<<20)
	for range 513 {
		_, err = z.Write(zeros)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	_, err = initramfs.Read(&b, version, nil)
	require.True(t, errors.Is(err, vfs.ErrTooLarge), "%v", err)

	p := archive()
	for range 5 {
		p = compressed(t, "gzip", p)
	}
	_, err = initramfs.Read(bytes.NewReader(p), version, nil)
	require.ErrorIs(t, err, vfs.ErrUnsupported)
}
