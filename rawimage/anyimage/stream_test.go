package anyimage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
)

func gz(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// zst is a frame; without size it does not say how long it is.
func zst(t testing.TB, b []byte, size bool) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	require.NoError(t, err)
	if size {
		return w.EncodeAll(b, nil)
	}
	_, err = io.Copy(w, io.MultiReader(bytes.NewReader(b))) // hides the length
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// xzBytes is what the xz command makes of b.
func xzBytes(t testing.TB, b []byte, args ...string) []byte {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk"), b, 0o600))
	qemutest.Tool(t, dir, "xz", append(args, "disk")...)
	out, err := os.ReadFile(filepath.Join(dir, "disk.xz"))
	require.NoError(t, err)
	return out
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func write(t testing.TB, b []byte) string {
	name := filepath.Join(t.TempDir(), "some.img")
	require.NoError(t, os.WriteFile(name, b, 0o600))
	return name
}

func openStream(t testing.TB, b []byte, opts ...anyimage.Option) (*anyimage.Stream, error) {
	s, err := anyimage.OpenStream(context.Background(), write(t, b), opts...)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, s.Close()) })
	}
	return s, err
}

func TestStream(t *testing.T) {
	want := content(5<<20 + 513)
	a, b := want[:3<<20-7], want[3<<20-7:]
	skippable := []byte{0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5}
	for name, c := range map[string]struct {
		format  rawimage.Format
		data    []byte
		counted bool // a pass is needed to find the size
	}{
		"gzip":              {rawimage.FormatGzip, gz(t, want), true},
		"gzip members":      {rawimage.FormatGzip, join(gz(t, a), gz(t, nil), gz(t, b)), true},
		"gzip padded":       {rawimage.FormatGzip, join(gz(t, want), make([]byte, 1<<20)), true},
		"xz":                {rawimage.FormatXZ, xzBytes(t, want), false},
		"xz blocks":         {rawimage.FormatXZ, xzBytes(t, want, "--block-size=1MiB", "-T2"), false},
		"xz -9 crc32":       {rawimage.FormatXZ, xzBytes(t, want, "-9", "--check=crc32"), false},
		"xz sha256 x86":     {rawimage.FormatXZ, xzBytes(t, want, "--check=sha256", "--x86", "--lzma2"), false},
		"xz streams":        {rawimage.FormatXZ, join(xzBytes(t, a), xzBytes(t, b)), false},
		"xz padded":         {rawimage.FormatXZ, join(xzBytes(t, a), make([]byte, 8), xzBytes(t, b), make([]byte, 4)), false},
		"zstd":              {rawimage.FormatZstd, zst(t, want, true), false},
		"zstd without size": {rawimage.FormatZstd, zst(t, want, false), true},
		"zstd frames":       {rawimage.FormatZstd, join(zst(t, a, true), skippable, zst(t, b, true), skippable), false},
		"zstd mixed frames": {rawimage.FormatZstd, join(zst(t, a, true), zst(t, b, false)), true},
	} {
		t.Run(name, func(t *testing.T) {
			var last anyimage.Progress // more than one report on a slow machine
			s, err := openStream(t, c.data, anyimage.WithProgress(func(p anyimage.Progress) {
				require.GreaterOrEqual(t, p.Done, last.Done)
				require.EqualValues(t, len(c.data), p.Total)
				last = p
			}))
			require.NoError(t, err)
			require.Equal(t, c.counted, last.Done == int64(len(c.data)), last)
			require.Equal(t, c.counted, last.Total > 0)
			requireStream(t, s, c.format, want)
			requireReadAt(t, s, want)

			s, err = openStream(t, c.data, anyimage.WithSize(int64(len(want))))
			require.NoError(t, err)
			requireReadAt(t, s, want)
			requireStream(t, s, c.format, want)
		})
	}
}

func requireStream(t *testing.T, s *anyimage.Stream, format rawimage.Format, want []byte) {
	t.Helper()
	require.Equal(t, format, s.Format())
	require.EqualValues(t, len(want), s.Size())
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.NoError(t, s.CheckUnchanged())
}

// requireReadAt goes through the disk in every direction.
func requireReadAt(t *testing.T, s *anyimage.Stream, want []byte) {
	t.Helper()
	size := int64(len(want))
	for _, off := range []int64{0, size - 512, 2 << 20, 512, 4<<20 - 3, 4<<20 - 5000, 1 << 20, 0} {
		got := make([]byte, min(700<<10, size-off))
		n, err := s.ReadAt(got, off)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want[off:off+int64(n)], got), "at %d", off)
	}
	n, err := s.ReadAt(make([]byte, 10), size-4)
	require.Equal(t, 4, n)
	require.ErrorIs(t, err, io.EOF)
}

func TestBadStream(t *testing.T) {
	want := content(3 << 20)
	for name, whole := range map[string][]byte{
		"gzip": gz(t, want), "xz": xzBytes(t, want), "zstd": zst(t, want, true), "zstd without size": zst(t, want, false),
	} {
		t.Run(name, func(t *testing.T) {
			fails := func(what string, b []byte, is error, opts ...anyimage.Option) {
				t.Helper()
				s, err := openStream(t, b, opts...)
				if err == nil {
					_, err = io.Copy(io.Discard, s)
				}
				if is == rawimage.ErrDamaged && what == "cut" && !errors.Is(err, is) {
					is = rawimage.ErrTruncated // what is cut in its last bytes may look damaged
				}
				require.ErrorIs(t, err, is, what)
				n := strings.Count(err.Error(), "\n")
				require.Zero(t, n, what)
			}
			sized := anyimage.WithSize(int64(len(want)))
			for _, cut := range []int{1, 5, 100, len(whole) / 2, len(whole) - 30} {
				fails("cut", whole[:len(whole)-cut], rawimage.ErrDamaged)
				fails("cut", whole[:len(whole)-cut], rawimage.ErrDamaged, sized)
			}
			fails("garbage", join(whole, []byte("garbage that follows")), rawimage.ErrDamaged)
			fails("garbage", join(whole, []byte("garbage that follows")), rawimage.ErrDamaged, sized)
			for _, at := range []int{len(whole) / 3, len(whole) / 2} {
				bad := bytes.Clone(whole)
				bad[at] ^= 0x10
				bad[at+1] ^= 0x55
				fails("damage", bad, rawimage.ErrDamaged)
			}
			fails("short", whole, anyimage.ErrSize, anyimage.WithSize(int64(len(want))-1))
			fails("long", whole, anyimage.ErrSize, anyimage.WithSize(int64(len(want))+1))
		})
	}
	for _, n := range []int64{int64(len(want)) - 1, int64(len(want)), int64(len(want)) + 1} { // of a disk that is no stream
		d, err := anyimage.New(bytes.NewReader(want), int64(len(want)), anyimage.WithSize(n))
		if n == int64(len(want)) {
			require.NoError(t, err)
			require.NoError(t, d.Close())
			continue
		}
		require.ErrorIs(t, err, anyimage.ErrSize)
	}
	for _, n := range []int64{0, -1, anyimage.MaxStreamSize + 1} {
		_, err := openStream(t, gz(t, want), anyimage.WithSize(n))
		require.Error(t, err)
	}
	_, err := openStream(t, gz(t, nil))
	require.ErrorIs(t, err, rawimage.ErrEmpty)
	_, err = openStream(t, want)
	require.Error(t, err)
}

// A header that claims another size than the content has.
func TestLyingSize(t *testing.T) {
	frame := zst(t, content(1<<20), true)
	frame[6]++ // in the content size
	s, err := openStream(t, frame)
	if err == nil {
		_, err = io.Copy(io.Discard, s)
	}
	require.Error(t, err)
	require.True(t, strings.HasPrefix(err.Error(), "anyimage: "))
}

// Images of other formats inside are refused, whether marked at their start or
// at their end.
func TestForeignInside(t *testing.T) {
	dir, _ := source(t, 1<<20)
	for _, args := range [][]string{{"qcow2"}, {"vpc", "-o", "subformat=fixed,force_size=on"}, {"vdi"}} {
		qemutest.Tool(t, dir, "qemu-img", append([]string{"convert", "-f", "raw", "disk.raw", "image", "-O"}, args...)...)
		image, err := os.ReadFile(filepath.Join(dir, "image"))
		require.NoError(t, err)
		for _, b := range [][]byte{gz(t, image), zst(t, image, true)} {
			s, err := openStream(t, b)
			if err == nil {
				_, err = io.Copy(io.Discard, s)
			}
			require.ErrorIs(t, err, anyimage.ErrUnsupported)
			require.Contains(t, err.Error(), "inside of")
			s, err = openStream(t, b, anyimage.WithFormat(rawimage.FormatRaw))
			require.NoError(t, err)
			requireStream(t, s, s.Format(), image)
		}
	}
}

func TestCancelledCount(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(io.ErrClosedPipe)
	_, err := anyimage.OpenStream(ctx, write(t, gz(t, content(8<<20))))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}
