package anyimage_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/internal/sparse/sparsetest"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
)

func lz(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// packed is what a tool makes of b: xz, bzip2, lz4, zstd.
func packed(t testing.TB, b []byte, tool string, args ...string) []byte {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk"), b, 0o600))
	return qemutest.Tool(t, dir, tool, append(args, "-c", "disk")...)
}

type file struct {
	name string
	data []byte
}

func zipped(t testing.TB, method uint16, files ...file) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		m, err := w.CreateHeader(&zip.FileHeader{Name: f.name, Method: method})
		require.NoError(t, err)
		_, err = m.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func tarred(t testing.TB, files ...file) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data))}))
		_, err := w.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// image is what qemu-img makes of a disk.
func image(t testing.TB, disk []byte, args ...string) []byte {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk.raw"), disk, 0o600))
	qemutest.Img(t, dir, append(append([]string{"convert", "-f", "raw"}, args...), "disk.raw", "image")...)
	b, err := os.ReadFile(filepath.Join(dir, "image"))
	require.NoError(t, err)
	return b
}

var skippable = []byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}

// RAW disks in all compressed files are streams; everything else goes through a
// temporary file, of which nothing is left.
func TestOpenAny(t *testing.T) {
	t.Parallel()
	disk := content(5<<20 + 512)
	qcow2, stream := image(t, disk, "-O", "qcow2"), image(t, disk, "-O", "vmdk", "-o", "subformat=streamOptimized")
	fixed := image(t, disk, "-O", "vpc", "-o", "subformat=fixed,force_size=on")
	note := file{"README", []byte("text")}
	for _, c := range []struct {
		name   string
		data   []byte
		format rawimage.Format // of the result
		temp   bool
		stream bool
	}{
		{"disk.raw", disk, rawimage.FormatRaw, false, false},
		{"disk.gz", gz(t, disk), rawimage.FormatGzip, false, true},
		{"disk.bz2", packed(t, disk, "bzip2"), rawimage.FormatBzip2, false, true},
		{"disk.lz4", lz(t, disk), rawimage.FormatLZ4, false, true},
		{"tool.lz4", packed(t, disk, "lz4", "-q"), rawimage.FormatLZ4, false, true},
		{"legacy.lz4", packed(t, disk, "lz4", "-q", "-l"), rawimage.FormatLZ4Legacy, false, true},
		{"frames.lz4", join(skippable, lz(t, disk[:1<<20]), skippable, lz(t, disk[1<<20:])), rawimage.FormatLZ4, false, true},
		{"pzstd.zst", join(skippable, zst(t, disk[:1<<20], true), skippable, zst(t, disk[1<<20:], true)), rawimage.FormatZstd, false, true},
		{"skipped.zst", join([]byte{0x5f, 0x2a, 0x4d, 0x18, 0, 0, 1, 0}, make([]byte, 1<<16), zst(t, disk, false)), rawimage.FormatZstd, false, true},
		{"disk.zip", zipped(t, zip.Deflate, file{"disk.raw", disk}), rawimage.FormatZip, false, true},
		{"stored.zip", zipped(t, zip.Store, file{"any name", disk}, file{"__MACOSX/._any name", disk}), rawimage.FormatZip, false, true},
		{"chosen.zip", zipped(t, zip.Deflate, note, file{"disk.img", disk}), rawimage.FormatZip, false, true},
		{"disk.qcow2.xz", xzBytes(t, qcow2), rawimage.FormatQCOW2, true, false},
		{"disk.qcow2.bz2", packed(t, qcow2, "bzip2"), rawimage.FormatQCOW2, true, false},
		{"disk.vmdk.gz", gz(t, stream), rawimage.FormatVMDK, true, false},
		{"disk.vhd.zip", zipped(t, zip.Deflate, file{"disk.vhd", fixed}), rawimage.FormatVHD, true, false},
		{"disk.vhd.zst", zst(t, fixed, true), rawimage.FormatVHD, true, false},
		{"disk.qcow2.zip", zipped(t, zip.Deflate, file{"disk.qcow2", qcow2}), rawimage.FormatQCOW2, true, false},
		{"disk.tar.gz", gz(t, tarred(t, file{"disk.raw", disk})), rawimage.FormatRaw, true, false},
		{"disk.ova.xz", xzBytes(t, tarred(t, note, file{"vm.vmdk", stream}, note)), rawimage.FormatVMDK, true, false},
		{"raw.ova", tarred(t, note, file{"disk.img", disk}), rawimage.FormatOVA, false, false},
		{"qcow2.ova", tarred(t, note, file{"disk.qcow2", qcow2}), rawimage.FormatOVA, false, false},
		{"vhd.ova", tarred(t, note, file{"disk.vhd", fixed}), rawimage.FormatOVA, false, false},
		{"packed.ova", tarred(t, note, file{"disk.vmdk.gz", gz(t, stream)}), rawimage.FormatOVA, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, temp := t.TempDir(), t.TempDir()
			name := filepath.Join(dir, c.name)
			require.NoError(t, os.WriteFile(name, c.data, 0o600))
			var announced []anyimage.TempFile
			d, s, err := anyimage.OpenAny(t.Context(), name, anyimage.WithTempDir(temp),
				anyimage.WithTempFile(func(f anyimage.TempFile) error { announced = append(announced, f); return nil }))
			require.NoError(t, err)
			if c.temp {
				require.Len(t, announced, 1)
				require.Equal(t, temp, announced[0].Dir)
				require.Positive(t, announced[0].Bytes)
			} else {
				require.Empty(t, announced)
			}
			if c.stream {
				require.Nil(t, d)
				requireStream(t, s, c.format, disk)
				requireReadAt(t, s, disk)
				require.NoError(t, s.Close())
				return
			}
			require.Nil(t, s)
			require.Equal(t, c.format, d.Format())
			requireDisk(t, d, disk)
			sparsetest.Check(t, d, d.Size())
			require.EqualValues(t, len(c.data), d.FileSize())
			require.NoError(t, d.CheckUnchanged())
			require.NoError(t, d.Verify(t.Context()))
			require.NoError(t, d.Close())
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// What is wrong with a compressed image is said, and leaves nothing.
func TestOpenAnyRefuses(t *testing.T) {
	t.Parallel()
	disk := content(1 << 20)
	qcow2 := image(t, disk, "-O", "qcow2")
	stop := errors.New("stop")
	window := packed(t, bytes.Repeat(disk, 4), "zstd", "-q", "--ultra", "-22", "--long=28")
	for _, c := range []struct {
		name string
		data []byte
		is   error
		opts []anyimage.Option
	}{
		{"stopped", gz(t, qcow2), stop, []anyimage.Option{anyimage.WithTempFile(func(anyimage.TempFile) error { return stop })}},
		{"twice", gz(t, gz(t, disk)), anyimage.ErrUnsupported, nil},
		{"foreign", gz(t, append([]byte("7z\xbc\xaf\x27\x1c"), disk...)), anyimage.ErrUnsupported, nil},
		{"cut", gz(t, qcow2)[:30000], rawimage.ErrTruncated, nil},
		{"cut zip", zipped(t, zip.Deflate, file{"disk", disk})[:30000], rawimage.ErrTruncated, nil},
		{"cut bzip2", packed(t, disk, "bzip2")[:30000], rawimage.ErrTruncated, nil},
		{"cut lz4", lz(t, disk)[:30000], rawimage.ErrTruncated, nil},
		{"after lz4", join(lz(t, disk), []byte("more of it")), rawimage.ErrDamaged, nil},
		{"cut tar", gz(t, tarred(t, file{"disk.raw", disk})[:30000]), rawimage.ErrTruncated, nil},
		{"two disks", gz(t, tarred(t, file{"a.raw", disk}, file{"b.raw", disk})), nil, nil},
		{"two in zip", zipped(t, zip.Deflate, file{"a.raw", disk}, file{"b.raw", disk}), nil, nil},
		{"no disk", gz(t, tarred(t, file{"a", disk}, file{"b", disk})), nil, nil},
		{"too large", gz(t, disk), anyimage.ErrSize, []anyimage.Option{anyimage.WithMaxSize(1<<20 - 1)}},
		{"too large inside", gz(t, qcow2), anyimage.ErrSize, []anyimage.Option{anyimage.WithMaxSize(1<<20 - 1)}},
		{"window", window, rawimage.ErrUnsupported, []anyimage.Option{anyimage.WithLongWindow(1 << 20)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			name := write(t, c.data)
			d, s, err := anyimage.OpenAny(t.Context(), name, append(c.opts, anyimage.WithTempDir(temp))...)
			if s != nil {
				_, err = io.Copy(io.Discard, s)
				require.NoError(t, s.Close())
			}
			require.Nil(t, d)
			require.Error(t, err)
			if c.is == nil {
				var ce *anyimage.ChoiceError
				require.ErrorAs(t, err, &ce)
				require.Len(t, ce.Members, 2)
			} else {
				require.ErrorIs(t, err, c.is)
			}
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
	var we *anyimage.WindowError
	s, err := openStream(t, window, anyimage.WithLongWindow(1<<20))
	if err == nil {
		_, err = io.Copy(io.Discard, s)
	}
	require.ErrorAs(t, err, &we)
	require.Greater(t, we.Need, int64(1<<20))
	s, err = openStream(t, window, anyimage.WithLongWindow(1<<28))
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, s)
	require.NoError(t, err)
	_, _, err = anyimage.OpenAny(t.Context(), write(t, xzBytes(t, disk, "--arm64", "--lzma2")))
	require.ErrorIs(t, err, rawimage.ErrUnsupported)
}

// The manifest of an OVA is verified.
func TestVerifyOVA(t *testing.T) {
	t.Parallel()
	vmdk := image(t, content(1<<20), "-O", "vmdk", "-o", "subformat=streamOptimized")
	for _, sum := range [][32]byte{sha256.Sum256(vmdk), {}} {
		b := tarred(t, file{"vm.mf", fmt.Appendf(nil, "SHA256(vm.vmdk)= %x\n", sum)}, file{"vm.vmdk", vmdk})
		d, err := anyimage.New(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		require.Contains(t, d.Facts(), anyimage.Fact{Name: "manifest", Value: "SHA256"})
		require.Empty(t, d.Warnings())
		err = d.Verify(t.Context())
		if sum == [32]byte{} {
			require.ErrorIs(t, err, rawimage.ErrDamaged)
			require.ErrorIs(t, d.CheckUnchanged(), rawimage.ErrDamaged)
		} else {
			require.NoError(t, err)
		}
	}
	b := tarred(t, file{"vm.vmdk", vmdk})
	d, err := anyimage.New(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	require.Equal(t, anyimage.WarnNoManifest, d.Warnings()[0].Code)
}

// A few bytes that claim a huge disk are refused, whatever the format.
func TestMaxSize(t *testing.T) {
	t.Parallel()
	huge := []byte("# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\ncreateType=\"custom\"\nRW 8796093022208 ZERO\n")
	_, err := anyimage.New(bytes.NewReader(huge), int64(len(huge)))
	var se *anyimage.SizeError
	require.ErrorAs(t, err, &se)
	require.ErrorIs(t, err, anyimage.ErrSize)
	require.True(t, se.Limit)
	require.EqualValues(t, 4<<50, se.Got)
	d, err := anyimage.New(bytes.NewReader(huge), int64(len(huge)), anyimage.WithMaxSize(1<<60))
	require.NoError(t, err)
	require.EqualValues(t, 4<<50, d.Size())
	_, err = anyimage.New(zeros{}, 4<<50)
	require.ErrorIs(t, err, anyimage.ErrSize)
	for _, o := range []anyimage.Option{anyimage.WithMaxSize(0), anyimage.WithLongWindow(0), anyimage.WithTempDir(""), anyimage.WithVHDSize("x")} {
		_, err = anyimage.New(zeros{}, 512, o)
		require.Error(t, err)
	}
}

// zeros is a source without end.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// A part of a split VMDK is refused with the name of its descriptor, whether it
// is sparse or flat.
func TestParts(t *testing.T) {
	t.Parallel()
	for _, subformat := range []string{"twoGbMaxExtentSparse", "twoGbMaxExtentFlat"} {
		dir := t.TempDir()
		qemutest.Img(t, dir, "create", "-q", "-f", "vmdk", "-o", "subformat="+subformat, "disk.vmdk", "5G")
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		parts := 0
		for _, e := range entries {
			d, err := anyimage.Open(filepath.Join(dir, e.Name()))
			if e.Name() == "disk.vmdk" {
				require.NoError(t, err)
				require.NoError(t, d.Close())
				continue
			}
			parts++
			require.ErrorIs(t, err, rawimage.ErrMissingFile, e.Name())
			require.ErrorIs(t, err, rawimage.ErrPart)
			var re *rawimage.ReferenceError
			require.ErrorAs(t, err, &re)
			require.Equal(t, "disk.vmdk", re.Name)
		}
		require.Equal(t, 3, parts)
	}
	// The only extent of a monolithic disk is all of it.
	dir := t.TempDir()
	qemutest.Img(t, dir, "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "disk.vmdk", "5M")
	d, err := anyimage.Open(filepath.Join(dir, "disk-flat.vmdk"))
	require.NoError(t, err)
	require.Equal(t, rawimage.FormatRaw, d.Format())
	require.NoError(t, d.Close())
}
