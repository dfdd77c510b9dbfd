package qcow2_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// variant is a way to make an image.
type variant struct {
	options    string // of qemu-img convert -o
	compressed bool
	coarser    bool // QEMU looks for holes in another file, the Reader does not
}

func (v variant) name() string {
	return strings.NewReplacer("=", "-", ",", "+").Replace(fmt.Sprintf("%s,c=%t", v.options, v.compressed))
}

func (v variant) args(from, to string) []string {
	args := []string{"convert", "-f", "raw", "-O", "qcow2", "-o", v.options}
	if v.compressed {
		args = append(args, "-c")
	}
	return append(args, from, to)
}

// variants crosses the options with cluster sizes of 2^bits.
func variants(bits ...int) (list []variant) {
	for _, b := range bits {
		size := fmt.Sprintf("cluster_size=%d", 1<<b)
		list = append(list,
			variant{options: size + ",compat=0.10"},
			variant{options: size + ",compat=0.10", compressed: true},
			variant{options: size + ",compat=1.1"},
			variant{options: size + ",compat=1.1,compression_type=zlib", compressed: true},
			variant{options: size + ",compat=1.1,compression_type=zstd", compressed: true})
		if b >= 14 {
			list = append(list,
				variant{options: size + ",extended_l2=on"},
				variant{options: size + ",extended_l2=on", compressed: true},
				variant{options: size + ",extended_l2=on,compression_type=zstd", compressed: true})
		}
	}
	return list
}

// others are the options that have nothing to do with the cluster size.
func others() []variant {
	return []variant{
		{options: "preallocation=metadata"},
		{options: "preallocation=falloc"},
		{options: "preallocation=full"},
		{options: "preallocation=metadata,extended_l2=on"},
		{options: "preallocation=metadata,cluster_size=4k,compat=0.10"},
		{options: "lazy_refcounts=on"},
		{options: "lazy_refcounts=on", compressed: true},
		{options: "refcount_bits=1"},
		{options: "refcount_bits=64"},
		{options: "data_file=ext.data", coarser: true},
		{options: "data_file=ext.data,cluster_size=512", coarser: true},
		{options: "data_file=ext.data,extended_l2=on", coarser: true},
		{options: "data_file=ext.data,data_file_raw=on", coarser: true},
		{options: "data_file=ext.data,data_file_raw=on,lazy_refcounts=on,cluster_size=2M", coarser: true},
	}
}

// The disk is, byte for byte, what qemu-img convert makes of the image, and
// its data is where qemu-img map has it.
func TestMatrix(t *testing.T) {
	oracle(t, "qemu-img")
	all := append(variants(9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21), others()...)
	some := append(variants(9, 12, 14, 16, 21), others()...)
	if testing.Short() {
		all, some = some, append(variants(9, 16), others()...)
	}
	var ran atomic.Int64
	t.Run("small", func(t *testing.T) {
		for i, s := range sources {
			raw := s.write(t, t.TempDir())
			list := some
			if i == 0 {
				list = all
			}
			for _, v := range list {
				t.Run(s.name+"/"+v.name(), func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					qemuImg(t, dir, v.args(raw, "disk.qcow2")...)
					same(t, dir, "disk.qcow2", v.coarser)
					ran.Add(1)
				})
			}
		}
	})
	t.Run("large", func(t *testing.T) {
		for _, s := range large {
			raw := s.write(t, t.TempDir())
			for _, v := range append(variants(12, 16, 21), others()[5:9]...) {
				if s.size > tib && (strings.Contains(v.options, "cluster_size=4096") || strings.Contains(v.options, "refcount")) {
					continue // hundreds of megabytes of tables
				}
				t.Run(s.name+"/"+v.name(), func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					qemuImg(t, dir, v.args(raw, "disk.qcow2")...)
					sameLarge(t, dir, "disk.qcow2", raw, s)
					ran.Add(1)
				})
			}
		}
	})
	t.Logf("%d combinations of disk and options compared with qemu-img", ran.Load())
}

// same compares an image with what qemu-img makes of it.
func same(t *testing.T, dir, image string, coarser bool) {
	t.Helper()
	qemuImg(t, dir, "convert", "-O", "raw", image, "want.raw")
	want, err := os.ReadFile(filepath.Join(dir, "want.raw"))
	require.NoError(t, err)
	r := open(t, dir, image)
	require.Equal(t, int64(len(want)), r.Size())
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	require.NoError(t, err)
	equal(t, want, got, "disk")
	extents := data(t, r)
	if wanted := qemuMap(t, dir, image); coarser {
		covers(t, extents, wanted)
	} else {
		require.Equal(t, wanted, extents)
	}
	// What is not data is zeros: the disk put together from its extents.
	again := make([]byte, len(want))
	for _, e := range extents {
		n, err := r.ReadAt(again[e.start:e.end], e.start)
		require.NoError(t, err)
		require.Equal(t, int(e.end-e.start), n)
	}
	equal(t, want, again, "data")
}

// equal fails the test with the first place that differs.
func equal(t *testing.T, want, got []byte, what string) {
	t.Helper()
	if bytes.Equal(want, got) {
		return
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	require.Fail(t, "content differs", "%s: at %#x", what, at)
}

// sameLarge compares an image with the disk it was made of, where either has
// data.
func sameLarge(t *testing.T, dir, image, raw string, s source) {
	t.Helper()
	r := open(t, dir, image)
	require.Equal(t, s.size, r.Size())
	extents := data(t, r)
	require.Equal(t, qemuMap(t, dir, image), extents)
	covers(t, extents, s.data)
	f, err := os.Open(raw)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	for _, e := range append(extents, s.data...) {
		want, got := make([]byte, e.end-e.start), make([]byte, e.end-e.start)
		_, err := f.ReadAt(want, e.start)
		require.NoError(t, err)
		_, err = r.ReadAt(got, e.start)
		require.NoError(t, err)
		equal(t, want, got, fmt.Sprint(e))
	}
}

// step is a command on the images of a directory.
type step struct {
	tool string // "img" or "io"
	args []string
}

func img(args ...string) step { return step{"img", args} }
func qio(image string, commands ...string) step {
	return step{"io", append([]string{image}, commands...)}
}

// Images with a history: zero clusters, discarded ones, snapshots, backing
// files.
func TestHistories(t *testing.T) {
	oracle(t, "qemu-img")
	base := img("convert", "-O", "qcow2", "pattern.raw", "base.qcow2")
	for _, c := range []struct {
		name    string
		coarser bool
		steps   []step
	}{
		{"zero clusters", false, []step{base, img("convert", "-O", "qcow2", "pattern.raw", "disk.qcow2"),
			qio("disk.qcow2", "write -z 64k 192k", "write -z -u 512k 256k", "discard 1M 128k", "write -P 7 100k 3k")}},
		{"zero subclusters", false, []step{img("convert", "-O", "qcow2", "-o", "extended_l2=on", "pattern.raw", "disk.qcow2"),
			qio("disk.qcow2", "write -z 4k 6k", "write -z -u 66k 10k", "discard 1M 34k", "write -P 9 2M 2k", "write -P 9 2100k 1k")}},
		{"subclusters", false, []step{img("create", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=2M", "disk.qcow2", "9M"),
			qio("disk.qcow2", "write -P 1 64k 64k", "write -P 2 3M 1k", "write -z 4M 300k", "write -P 3 8200k 100k")}},
		{"written over compressed", false, []step{img("convert", "-c", "-O", "qcow2", "pattern.raw", "disk.qcow2"),
			qio("disk.qcow2", "write -P 1 70k 1k", "write -z 1M 256k")}},
		{"compressed one by one", false, []step{img("create", "-f", "qcow2", "disk.qcow2", "4M"),
			qio("disk.qcow2", "write -c -P 5 2M 64k", "write -c -P 6 64k 64k", "write -P 7 2070k 3k", "write -P 7 1M 64k")}},
		{"snapshots", false, []step{img("convert", "-O", "qcow2", "pattern.raw", "disk.qcow2"),
			img("snapshot", "-c", "one", "disk.qcow2"), qio("disk.qcow2", "write -P 1 0 1M"),
			img("snapshot", "-c", "two", "disk.qcow2"), qio("disk.qcow2", "write -z 512k 1M")}},
		{"snapshot applied", false, []step{img("convert", "-O", "qcow2", "pattern.raw", "disk.qcow2"),
			img("snapshot", "-c", "one", "disk.qcow2"), qio("disk.qcow2", "write -P 1 0 1M"),
			img("snapshot", "-a", "one", "disk.qcow2")}},
		{"bitmap", false, []step{img("convert", "-O", "qcow2", "pattern.raw", "disk.qcow2"),
			img("bitmap", "--add", "disk.qcow2", "b0"), qio("disk.qcow2", "write -P 1 0 1M")}},
		{"resized", false, []step{img("convert", "-O", "qcow2", "pattern.raw", "disk.qcow2"),
			img("resize", "disk.qcow2", "9001k"), qio("disk.qcow2", "write -P 1 9000k 1k")}},
		{"shrunk", false, []step{img("convert", "-O", "qcow2", "pattern.raw", "disk.qcow2"),
			img("resize", "--shrink", "disk.qcow2", "1000k")}},
		{"backing qcow2", false, []step{base,
			img("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2"),
			qio("disk.qcow2", "write -P 1 70k 1k", "write -z 1M 256k")}},
		{"backing compressed zstd", false, []step{
			img("convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "pattern.raw", "base.qcow2"),
			img("create", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2"),
			qio("disk.qcow2", "write -P 1 70k 1k", "write -z 1M 256k")}},
		{"backing larger overlay", false, []step{base,
			img("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2", "20M"),
			qio("disk.qcow2", "write -P 1 10M 1k")}},
		{"backing smaller overlay", false, []step{base,
			img("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2", "1000k"),
			qio("disk.qcow2", "write -P 1 10k 1k")}},
		{"backing with subclusters", false, []step{base,
			img("create", "-f", "qcow2", "-o", "extended_l2=on", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2", "4M"),
			qio("disk.qcow2", "write -P 1 70k 1k", "write -z 1M 6k", "write -P 4 3070k 10k")}},
		{"chain of three", false, []step{base,
			img("create", "-f", "qcow2", "-o", "cluster_size=2M", "-b", "base.qcow2", "-F", "qcow2", "mid.qcow2"),
			qio("mid.qcow2", "write -P 1 70k 1k"),
			img("create", "-f", "qcow2", "-o", "cluster_size=512", "-b", "mid.qcow2", "-F", "qcow2", "disk.qcow2"),
			qio("disk.qcow2", "write -P 2 71k 1k", "write -z 2M 512")}},
		{"backing version 2", false, []step{img("convert", "-O", "qcow2", "-o", "compat=0.10", "pattern.raw", "base.qcow2"),
			img("create", "-f", "qcow2", "-o", "compat=0.10", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2"),
			qio("disk.qcow2", "write -P 1 70k 1k")}},
		{"backing raw", true, []step{
			img("create", "-f", "qcow2", "-b", "pattern.raw", "-F", "raw", "disk.qcow2"),
			qio("disk.qcow2", "write -P 1 70k 1k", "write -z 1M 256k")}},
		{"backing raw odd", true, []step{
			img("create", "-f", "qcow2", "-b", "odd.raw", "-F", "raw", "disk.qcow2", "2M"),
			qio("disk.qcow2", "write -P 1 1500k 1k")}},
		{"backing and data file", true, []step{base,
			img("create", "-f", "qcow2", "-o", "data_file=x.data", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2"),
			qio("disk.qcow2", "write -P 1 70k 1k", "write -z 1M 256k")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			sources[0].write(t, dir)
			sources[3].write(t, dir)
			for _, s := range c.steps {
				if s.tool == "io" {
					qemuIO(t, dir, s.args[0], s.args[1:]...)
				} else {
					qemuImg(t, dir, s.args...)
				}
			}
			same(t, dir, "disk.qcow2", c.coarser)
		})
	}
}

// The size is that of whole sectors, as in QEMU.
func TestSizeNotOfSectors(t *testing.T) {
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-f", "qcow2", "disk.qcow2", "2M")
	qemuIO(t, dir, "disk.qcow2", "write -P 1 0 2M")
	patch(t, filepath.Join(dir, "disk.qcow2"), 24, "\x00\x00\x00\x00\x00\x0f\x42\x41")
	same(t, dir, "disk.qcow2", false)
	r := open(t, dir, "disk.qcow2")
	require.Equal(t, int64(999936), r.Size())
	require.Equal(t, int64(1000001), r.Info().HeaderSize)
}

// patch writes over part of a file.
func patch(t testing.TB, name string, off int64, s string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(s), off)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

var _ io.ReaderAt = (*qcow2.Reader)(nil)
