package vmdk_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vmdk"
)

func zlibBytes(t testing.TB, b []byte) []byte {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

type member struct {
	name string
	data []byte
}

func archive(t testing.TB, members ...member) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range members {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data))}))
		_, err := w.Write(m.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func TestOVA(t *testing.T) {
	disk := tiny(t, "subformat=streamOptimized")
	want, err := newReader(disk)
	require.NoError(t, err)
	ovf := member{"vm.ovf", []byte("<Envelope/>")}
	openOVA := func(b []byte, opts ...vmdk.Option) (*vmdk.Reader, error) {
		return vmdk.NewOVAReader(bytes.NewReader(b), int64(len(b)), opts...)
	}

	b := archive(t, ovf, member{"vm-disk1.VMDK", disk}, member{"vm.mf", []byte("SHA256")})
	r, err := openOVA(b)
	require.NoError(t, err)
	require.Equal(t, "vm-disk1.VMDK", r.Info().Member)
	require.Equal(t, qemutest.Extents(t, want), qemutest.Extents(t, r))
	one, two := make([]byte, want.Size()), make([]byte, r.Size())
	_, err = want.ReadAt(one, 0)
	require.NoError(t, err)
	_, err = r.ReadAt(two, 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(one, two))

	pair := archive(t, ovf, member{"a.vmdk", disk}, member{"b.vmdk", disk})
	_, err = openOVA(pair)
	requireTyped(t, err, vmdk.ErrUnsupported)
	r, err = openOVA(pair, vmdk.WithMember("b.vmdk"))
	require.NoError(t, err)
	require.Equal(t, "b.vmdk", r.Info().Member)
	_, err = openOVA(pair, vmdk.WithMember("c.vmdk"))
	requireTyped(t, err, vmdk.ErrDamaged)
	_, err = openOVA(archive(t, ovf))
	requireTyped(t, err, vmdk.ErrDamaged)
	_, err = openOVA(archive(t, member{"x.vmdk", []byte("version=1\nRW 8 FLAT \"/etc/passwd\" 0\n")}))
	requireTyped(t, err, vmdk.ErrMissingFile)
	_, err = openOVA(b, vmdk.WithDir("."))
	require.Error(t, err)
	_, err = vmdk.NewOVAReader(qemutest.Failing{}, 4096)
	require.ErrorIs(t, err, iotest.ErrTimeout)
	require.NotErrorIs(t, err, vmdk.ErrDamaged)
}

// A member whose header claims more than the archive has, or nonsense.
func TestLyingMembers(t *testing.T) {
	disk := tiny(t, "subformat=streamOptimized")
	for _, size := range []string{"77777777777", "-0000000001", "zzzzzzzzzzz", "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"} {
		t.Run(fmt.Sprintf("%q", size), func(t *testing.T) {
			b := archive(t, member{"vm.vmdk", disk})
			copy(b[124:136], size)
			var sum int
			copy(b[148:156], "        ")
			for _, c := range b[:512] {
				sum += int(c)
			}
			copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
			_, err := vmdk.NewOVAReader(bytes.NewReader(b), int64(len(b)))
			if !errors.Is(err, vmdk.ErrTruncated) {
				requireTyped(t, err, vmdk.ErrDamaged)
			}
		})
	}
	b := archive(t, member{"vm.vmdk", disk})
	_, err := vmdk.NewOVAReader(bytes.NewReader(b[:len(b)-4096]), int64(len(b)-4096))
	requireTyped(t, err, vmdk.ErrTruncated)
}

// Archives as other programs write them, and disks compressed once more.
func TestArchives(t *testing.T) {
	disk := tiny(t, "subformat=streamOptimized")
	openOVA := func(b []byte) (*vmdk.Reader, error) { return vmdk.NewOVAReader(bytes.NewReader(b), int64(len(b))) }
	long := strings.Repeat("a long directory/", 20) + "disk.vmdk"
	for _, h := range []tar.Header{
		{Name: "disk.vmdk", Format: tar.FormatUSTAR},
		{Name: long, Format: tar.FormatPAX, PAXRecords: map[string]string{"mtime": "1.5"}},
		{Name: long, Format: tar.FormatGNU},
	} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		h.Size, h.Mode = int64(len(disk)), 0o644
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write(disk)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		r, err := openOVA(buf.Bytes())
		require.NoError(t, err, h.Format)
		require.Equal(t, h.Name, r.Info().Member)
		require.EqualValues(t, mib, r.Size())
	}
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, err := w.Write(disk)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = openOVA(archive(t, member{"disk.vmdk.gz", gz.Bytes()}))
	requireTyped(t, err, vmdk.ErrUnsupported)
	require.ErrorContains(t, err, "compressed with gzip")
}

func newReaderAt(ra io.ReaderAt, size int64) (*vmdk.Reader, error) { return vmdk.NewReader(ra, size) }
