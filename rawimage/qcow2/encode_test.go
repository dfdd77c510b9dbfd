package qcow2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// encodeDisk is a disk with clusters that compress, that do not and that are
// zeros, in every order, and an end within a cluster.
func encodeDisk(size int) []byte {
	rnd := rand.NewChaCha8([32]byte{7})
	disk := make([]byte, size)
	for off, i := 0, 0; off < size; off, i = off+64<<10, i+1 {
		p := disk[off:min(off+64<<10, size)]
		switch i * 7 % 5 {
		case 0, 1:
			copy(p, bytes.Repeat([]byte("fastimage "), 1+i%6000))
		case 2:
			_, _ = rnd.Read(p)
		case 3:
			p[len(p)-1] = byte(i)
		}
	}
	return disk
}

// holed is a disk that knows its holes in pages.
type holed struct{ *bytes.Reader }

func (h holed) NextData(off int64) (start, end int64, err error) {
	var page [4096]byte
	for off < h.Size() {
		n, _ := h.ReadAt(page[:], off-off%4096)
		next := off - off%4096 + int64(n)
		if !bytes.Equal(page[:n], make([]byte, n)) {
			return off, next, nil
		}
		off = next
	}
	return 0, 0, io.EOF
}

func encodeFile(t *testing.T, name string, encode func(io.WriterAt) (*qcow2.Summary, error)) *qcow2.Summary {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	sum, err := encode(f)
	require.NoError(t, err)
	fi, err := f.Stat()
	require.NoError(t, err)
	require.Equal(t, sum.FileSize, fi.Size())
	require.NoError(t, f.Close())
	return sum
}

func openFile(t *testing.T, name string) *qcow2.Reader {
	t.Helper()
	f, size := qemutest.OpenFile(t, name)
	r, err := qcow2.NewReader(f, size)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func requireContent(t *testing.T, name string, disk []byte) {
	t.Helper()
	r := openFile(t, name)
	want := append(disk[:len(disk):len(disk)], make([]byte, (512-len(disk)%512)%512)...)
	require.EqualValues(t, len(want), r.Size())
	got := make([]byte, len(want))
	_, err := r.ReadAt(got, 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
}

// Every compression, as a file and as a stream, reads back equal, and qemu-img
// finds nothing wrong with it.
func TestEncode(t *testing.T) {
	t.Parallel()
	for _, c := range []qcow2.Compression{qcow2.CompressionNone, qcow2.CompressionZlib, qcow2.CompressionZstd} {
		for _, size := range []int{1, 512, 64 << 10, 5<<20 + 1000, 9 << 20} {
			t.Run(string(c), func(t *testing.T) {
				t.Parallel()
				disk, dir := encodeDisk(size), t.TempDir()
				ctx := context.Background()
				name := filepath.Join(dir, "a.qcow2")
				var last qcow2.EncodeProgress
				encodeFile(t, name, func(w io.WriterAt) (*qcow2.Summary, error) {
					return qcow2.Encode(ctx, w, holed{bytes.NewReader(disk)}, int64(size), qcow2.WithCompression(c),
						qcow2.WithProgress(func(p qcow2.EncodeProgress) { last = p }))
				})
				require.EqualValues(t, size, last.Done)
				requireContent(t, name, disk)
				stream := filepath.Join(dir, "b.qcow2")
				encodeFile(t, stream, func(w io.WriterAt) (*qcow2.Summary, error) {
					return qcow2.EncodeStream(ctx, w, bytes.NewReader(disk), int64(size), qcow2.WithCompression(c), qcow2.WithWorkers(3))
				})
				requireContent(t, stream, disk)
				qemuAgrees(t, disk, name, stream)
			})
		}
	}
}

func qemuAgrees(t *testing.T, disk []byte, names ...string) {
	t.Helper()
	qemutest.Oracle(t, "qemu-img")
	raw := filepath.Join(t.TempDir(), "disk.raw")
	require.NoError(t, os.WriteFile(raw, disk, 0o600))
	for _, name := range names {
		qemutest.Img(t, "", "check", name)
		qemutest.Img(t, "", "compare", "-f", "raw", "-F", "qcow2", raw, name)
	}
}

// A sparse disk of 1 TiB becomes a small image that qemu-img accepts.
func TestEncodeTiB(t *testing.T) {
	t.Parallel()
	raw := filepath.Join(t.TempDir(), "disk.raw")
	f, err := os.Create(raw)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(1<<40))
	for _, off := range []int64{0, 3 << 30, 1<<40 - 10} {
		_, err = f.WriteAt([]byte("data"), off)
		require.NoError(t, err)
	}
	src := &ranges{f, []int64{0, 3 << 30, 1<<40 - 10}}
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	sum := encodeFile(t, name, func(w io.WriterAt) (*qcow2.Summary, error) {
		return qcow2.Encode(context.Background(), w, src, 1<<40, qcow2.WithCompression(qcow2.CompressionZlib))
	})
	require.Less(t, sum.FileSize, int64(1<<20))
	require.EqualValues(t, 3*64<<10, sum.DataBytes)
	r := openFile(t, name)
	got := make([]byte, 4)
	_, err = r.ReadAt(got, 3<<30)
	require.NoError(t, err)
	require.Equal(t, "data", string(got))
	qemutest.Oracle(t, "qemu-img")
	qemutest.Img(t, "", "check", name)
}

// ranges is a file with four bytes of data at each of a few offsets.
type ranges struct {
	io.ReaderAt
	at []int64
}

func (r *ranges) NextData(off int64) (start, end int64, err error) {
	for _, a := range r.at {
		if a+4 > off {
			return max(a, off), a + 4, nil
		}
	}
	return 0, 0, io.EOF
}

// A failed encoding leaves nothing that reads as an image.
func TestEncodeFails(t *testing.T) {
	t.Parallel()
	disk := encodeDisk(5 << 20)
	broken := errors.New("broken")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(broken)
	for _, c := range []struct {
		name   string
		is     error
		encode func(io.WriterAt) (*qcow2.Summary, error)
	}{
		{"size", fs.ErrInvalid, func(w io.WriterAt) (*qcow2.Summary, error) {
			return qcow2.Encode(context.Background(), w, bytes.NewReader(disk), -1)
		}},
		{"no source", fs.ErrInvalid, func(w io.WriterAt) (*qcow2.Summary, error) {
			return qcow2.Encode(context.Background(), w, nil, 1)
		}},
		{"option", fs.ErrInvalid, func(w io.WriterAt) (*qcow2.Summary, error) {
			return qcow2.Encode(context.Background(), w, bytes.NewReader(disk), 1, qcow2.WithCompression("lz4"))
		}},
		{"short source", io.ErrUnexpectedEOF, func(w io.WriterAt) (*qcow2.Summary, error) {
			return qcow2.Encode(context.Background(), w, bytes.NewReader(disk), 6<<20)
		}},
		{"short stream", io.ErrUnexpectedEOF, func(w io.WriterAt) (*qcow2.Summary, error) {
			return qcow2.EncodeStream(context.Background(), w, bytes.NewReader(disk), 6<<20)
		}},
		{"cancelled", broken, func(w io.WriterAt) (*qcow2.Summary, error) {
			return qcow2.Encode(ctx, w, bytes.NewReader(disk), 5<<20)
		}},
		{"full", broken, func(io.WriterAt) (*qcow2.Summary, error) {
			return qcow2.Encode(context.Background(), full{broken}, bytes.NewReader(disk), 5<<20)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, err := os.Create(filepath.Join(t.TempDir(), "x.qcow2"))
			require.NoError(t, err)
			defer f.Close()
			_, err = c.encode(f)
			require.ErrorIs(t, err, c.is)
			fi, err := f.Stat()
			require.NoError(t, err)
			_, err = qcow2.NewReader(f, fi.Size())
			require.Error(t, err)
		})
	}
}

// full is a disk without space.
type full struct{ err error }

func (f full) WriteAt([]byte, int64) (int, error) { return 0, f.err }
