package qcow2_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// seeds are small images of every kind, from qemu-img.
func seeds(f *testing.F) (list [][]byte) {
	f.Helper()
	dir := f.TempDir()
	raw := filepath.Join(dir, "disk.raw")
	disk := make([]byte, 20<<10)
	copy(disk[3000:], bytes.Repeat([]byte("fastimage "), 300))
	copy(disk[18<<10:], bytes.Repeat([]byte{1, 2, 3}, 300))
	require.NoError(f, os.WriteFile(raw, disk, 0o600))
	for _, args := range [][]string{
		{"-o", "cluster_size=512"},
		{"-o", "cluster_size=512,compat=0.10"},
		{"-o", "cluster_size=512", "-c"},
		{"-o", "cluster_size=512,compression_type=zstd", "-c"},
		{"-o", "cluster_size=16k,extended_l2=on"},
		{"-o", "cluster_size=512,data_file=base"},
		{"-o", "cluster_size=4k,preallocation=metadata"},
	} {
		args = append([]string{"convert", "-f", "raw", "-O", "qcow2"}, args...)
		qemutest.Img(f, dir, append(args, raw, "disk.qcow2")...)
		b, err := os.ReadFile(filepath.Join(dir, "disk.qcow2"))
		require.NoError(f, err)
		list = append(list, b)
	}
	require.NoError(f, os.WriteFile(filepath.Join(dir, "base"), disk, 0o600))
	qemutest.Img(f, dir, "create", "-f", "qcow2", "-o", "cluster_size=512", "-b", "base", "-F", "raw", "disk.qcow2")
	qemutest.IO(f, dir, "qcow2", "disk.qcow2", "write -P 1 1k 1k", "write -z 4k 1k")
	qemutest.Img(f, dir, "snapshot", "-c", "one", "disk.qcow2")
	b, err := os.ReadFile(filepath.Join(dir, "disk.qcow2"))
	require.NoError(f, err)
	return append(list, b)
}

// Whatever the file holds: no panic, ranges of data in order and inside the
// disk, zeros between them, and the same bytes however they are read.
func FuzzReader(f *testing.F) {
	f.Add(tiny(f))
	f.Add(tiny(f, backing("base", "")))
	f.Add(tiny(f, backing("self", "qcow2")))
	f.Add(tiny(f, dataFile("base")))
	for _, b := range seeds(f) {
		f.Add(b)
	}
	base := bytes.Repeat([]byte("base"), 1000)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = qcow2.ReadInfo(bytes.NewReader(b), int64(len(b)))
		r, err := newReader(b, qcow2.WithFS(mapFS(map[string][]byte{"base": base, "self": b})), qcow2.WithCacheSize(0))
		if err != nil {
			return
		}
		defer func() { require.NoError(t, r.Close()) }()
		_ = r.Info()
		walk(t, r)
	})
}

// walk goes through the data of a disk, some of it and of what lies between.
func walk(t *testing.T, r *qcow2.Reader) {
	off := int64(0)
	for range 50 {
		start, end, err := r.NextData(off)
		if err != nil {
			if err == io.EOF {
				between(t, r, off, r.Size())
			}
			return
		}
		if start < off || end <= start || end > r.Size() {
			t.Fatalf("data at %d: %d to %d", off, start, end)
		}
		between(t, r, off, start)
		whole := make([]byte, min(end-start, 64<<10))
		_, err = r.ReadAt(whole, start)
		parts, errParts := io.ReadAll(io.NewSectionReader(small{r}, start, int64(len(whole))))
		if (err == nil) != (errParts == nil) || err == nil && !bytes.Equal(whole, parts) {
			t.Fatalf("data at %d differs by how it is read: %v, %v", start, err, errParts)
		}
		off = end
	}
}

func between(t *testing.T, r *qcow2.Reader, start, end int64) {
	p := make([]byte, min(end-start, 8<<10))
	for _, off := range []int64{start, end - int64(len(p))} {
		if n, err := r.ReadAt(p, off); err != nil && err != io.EOF || n < len(p) {
			t.Fatalf("nothing at %d cannot be read: %v", off, err)
		}
		if !bytes.Equal(p, make([]byte, len(p))) {
			t.Fatalf("there is data at %d", off)
		}
	}
}

// small reads a little at a time.
type small struct{ io.ReaderAt }

func (s small) ReadAt(p []byte, off int64) (int, error) {
	return s.ReaderAt.ReadAt(p[:min(len(p), 333)], off)
}
