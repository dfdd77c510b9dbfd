package qcow2_test

import (
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// BenchmarkEncode writes a disk made of the files of the Go installation, or
// FASTIMAGE_BENCH_IMAGE, and reports qemu-img's time for the same with all its
// coroutines as a multiple of ours, and the size of our file as one of its.
func BenchmarkEncode(b *testing.B) {
	raw := benchImage(b, 512<<20)
	f, size := qemutest.OpenFile(b, raw)
	dir := b.TempDir()
	for _, c := range []struct {
		kind qcow2.Compression
		args []string
	}{
		{qcow2.CompressionNone, nil},
		{qcow2.CompressionZlib, []string{"-c", "-o", "compression_type=zlib"}},
		{qcow2.CompressionZstd, []string{"-c", "-o", "compression_type=zstd"}},
	} {
		b.Run("compression="+string(c.kind), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			var ours, theirs time.Duration
			var sum *qcow2.Summary
			out := filepath.Join(dir, "theirs.qcow2")
			for range b.N {
				start := time.Now()
				args := append([]string{"convert", "-m", "8", "-W", "-f", "raw", "-O", "qcow2"}, c.args...)
				qemutest.Img(b, dir, append(args, raw, out)...)
				theirs += time.Since(start)
				to, err := os.Create(filepath.Join(dir, "ours.qcow2"))
				require.NoError(b, err)
				start = time.Now()
				sum, err = qcow2.Encode(context.Background(), to, f, size, qcow2.WithCompression(c.kind))
				require.NoError(b, err)
				require.NoError(b, to.Close())
				ours += time.Since(start)
			}
			fi, err := os.Stat(out)
			require.NoError(b, err)
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-of-qemu-img")
			b.ReportMetric(float64(sum.FileSize)/float64(fi.Size()), "size-of-qemu-img")
		})
	}
}

// goroot is the directory of the Go installation.
func goroot(b *testing.B) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(b, err)
	return strings.TrimSpace(string(out))
}

// benchImage is a file of up to size bytes of real files.
func benchImage(b *testing.B, size int64) string {
	if name := os.Getenv("FASTIMAGE_BENCH_IMAGE"); name != "" {
		return name
	}
	out, err := os.Create(filepath.Join(b.TempDir(), "files.raw"))
	require.NoError(b, err)
	defer out.Close()
	left := size
	_ = filepath.WalkDir(goroot(b), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || left <= 0 {
			return err
		}
		in, err := os.Open(name)
		require.NoError(b, err)
		defer in.Close()
		n, err := io.CopyN(out, in, left)
		if err != io.EOF {
			require.NoError(b, err)
		}
		left -= n
		return nil
	})
	require.NoError(b, out.Truncate((size-left)&^511))
	return out.Name()
}
