package qcow2_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

var compress = []string{"-c"}

// variants crosses the options with cluster sizes of 2^bits.
func variants(bits ...int) (list []qemutest.Variant) {
	for _, b := range bits {
		size := fmt.Sprintf("cluster_size=%d,", 1<<b)
		list = append(list,
			qemutest.Variant{Options: size + "compat=0.10"},
			qemutest.Variant{Options: size + "compat=0.10", Flags: compress},
			qemutest.Variant{Options: size + "compat=1.1"},
			qemutest.Variant{Options: size + "compat=1.1,compression_type=zlib", Flags: compress},
			qemutest.Variant{Options: size + "compat=1.1,compression_type=zstd", Flags: compress})
		if b >= 14 {
			list = append(list,
				qemutest.Variant{Options: size + "extended_l2=on"},
				qemutest.Variant{Options: size + "extended_l2=on", Flags: compress},
				qemutest.Variant{Options: size + "extended_l2=on,compression_type=zstd", Flags: compress})
		}
	}
	return list
}

// created are the options that have nothing to do with the cluster size and that
// an empty image can be created with.
func created() []qemutest.Variant {
	list := qemutest.Options("compat=v2", "compat=v3", "preallocation=off", "preallocation=metadata", "preallocation=falloc", "preallocation=full",
		"preallocation=metadata,extended_l2=on", "preallocation=falloc,extended_l2=on,cluster_size=2M",
		"preallocation=metadata,cluster_size=4k,compat=0.10", "lazy_refcounts=on", "lazy_refcounts=on,extended_l2=on,cluster_size=16k",
		"refcount_bits=1", "refcount_bits=2", "refcount_bits=4", "refcount_bits=8", "refcount_bits=16", "refcount_bits=32", "refcount_bits=64",
		"refcount_bits=64,cluster_size=512")
	// qemu-img looks for holes in the data file.
	for _, opts := range []string{"", ",cluster_size=512", ",extended_l2=on", ",data_file_raw=on", ",data_file_raw=off,preallocation=metadata",
		",data_file_raw=on,lazy_refcounts=on,cluster_size=2M", ",data_file_raw=on,preallocation=full"} {
		list = append(list, qemutest.Variant{Options: "data_file=ext.data" + opts, Coarser: true})
	}
	return list
}

// converted are those that only a conversion has.
func converted() (list []qemutest.Variant) {
	for _, flags := range [][]string{{"-S", "0"}, {"-m", "16", "-W"}, {"-c", "-m", "16", "-W"}} {
		for _, opts := range []string{"", "cluster_size=512", "extended_l2=on", "compression_type=zstd,cluster_size=2M", "lazy_refcounts=on,refcount_bits=1"} {
			list = append(list, qemutest.Variant{Options: opts, Flags: flags})
		}
	}
	return list
}

// The disk is, byte for byte, what qemu-img convert makes of the image, and
// its data is where qemu-img map has it.
func TestMatrix(t *testing.T) {
	m := &qemutest.Matrix{Format: "qcow2", Map: qemutest.MapExact, Open: func(t testing.TB, name string) qemutest.Image { return open(t, name) }}
	t.Run("all", func(t *testing.T) {
		small := qemutest.Small()
		others := append(created(), converted()...)
		m.Convert(t, small[:1], append(variants(9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21), others...))
		m.Convert(t, small[1:4], append(variants(9, 12, 14, 16, 21), others...))
		m.Convert(t, small[4:], append(variants(9, 16), qemutest.Thin(3, others)...))
		large := append(variants(12, 16, 21), qemutest.Options("lazy_refcounts=on", "refcount_bits=1", "refcount_bits=64")...)
		large = append(large, qemutest.Variant{Options: "data_file=ext.data", Coarser: true})
		m.Convert(t, []qemutest.Disk{qemutest.Over4GiB()}, large)
		m.Convert(t, []qemutest.Disk{qemutest.Over2TiB()}, slices.DeleteFunc(large, func(v qemutest.Variant) bool {
			// Hundreds of megabytes of tables, or a file that qemu-img reads whole.
			return strings.Contains(v.Options, "cluster_size=4096") || strings.Contains(v.Options, "refcount") || v.Coarser
		}))
		m.Create(t, []int64{1000001, 3*mib + 512}, append(created(), variants(9, 14, 16, 21)[2]), true)
		m.Create(t, []int64{2*tib + 512, 15 * tib}, qemutest.Options("cluster_size=2M", "cluster_size=64k", "cluster_size=64k,extended_l2=on"), false)
	})
	t.Logf("%d combinations of disk and options compared with qemu-img", m.Ran())
}

// What qemu-img encrypts is refused by the name of the method. LUKS is in
// TestDamage: to create it qemu-img measures the processor, which fails on a busy
// machine.
func TestEncrypted(t *testing.T) {
	dir := t.TempDir()
	qemutest.Img(t, dir, "create", "-q", "--object", "secret,id=s,data=secret", "-f", "qcow2",
		"-o", "encrypt.format=aes,encrypt.key-secret=s", "disk.qcow2", "1M")
	f, size := qemutest.OpenFile(t, filepath.Join(dir, "disk.qcow2"))
	_, err := qcow2.NewReader(f, size)
	require.ErrorIs(t, err, qcow2.ErrEncrypted)
	require.ErrorContains(t, err, "AES encryption")
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
			pattern().Write(t, dir)
			odd().Write(t, dir)
			for _, s := range c.steps {
				if s.tool == "io" {
					qemutest.IO(t, dir, "qcow2", s.args[0], s.args[1:]...)
				} else {
					qemutest.Img(t, dir, s.args...)
				}
			}
			same(t, dir, c.coarser)
		})
	}
}

// The size is that of whole sectors, as in QEMU.
func TestSizeNotOfSectors(t *testing.T) {
	dir := t.TempDir()
	qemutest.Img(t, dir, "create", "-f", "qcow2", "disk.qcow2", "2M")
	qemutest.IO(t, dir, "qcow2", "disk.qcow2", "write -P 1 0 2M")
	patch(t, filepath.Join(dir, "disk.qcow2"), 24, "\x00\x00\x00\x00\x00\x0f\x42\x41")
	same(t, dir, false)
	r := open(t, filepath.Join(dir, "disk.qcow2"))
	require.Equal(t, int64(999936), r.Size())
	require.Equal(t, int64(1000001), r.Info().DiskSize)
}

var _ qemutest.Image = (*qcow2.Reader)(nil)
