package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	kflate "github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
)

// BenchmarkRead reads a disk of 64 MiB, half noise and half text. Its limit is to
// decompress the same clusters alone or, where they are stored as they are, to
// copy the disk from memory.
func BenchmarkRead(b *testing.B) {
	disk := qemutest.Disk{Name: "bench", Size: 64 * mib}
	for off := int64(0); off < disk.Size; off += 128 * kib {
		disk.Data = append(disk.Data, extent{off, off + 128*kib})
	}
	dir := b.TempDir()
	raw, err := os.ReadFile(disk.Write(b, dir))
	require.NoError(b, err)
	for _, v := range []struct {
		opts    string
		flags   []string
		cluster int64
		kind    string
	}{
		{"cluster_size=64k", nil, 64 * kib, ""},
		{"cluster_size=4k", nil, 4 * kib, ""},
		{"cluster_size=64k,extended_l2=on", nil, 64 * kib, ""},
		{"cluster_size=64k,compression_type=zlib", compress, 64 * kib, "zlib"},
		{"cluster_size=64k,compression_type=zstd", compress, 64 * kib, "zstd"},
		{"cluster_size=2M,compression_type=zlib", compress, 2 * mib, "zlib"},
		{"cluster_size=2M,compression_type=zstd", compress, 2 * mib, "zstd"},
	} {
		args := append([]string{"convert", "-f", "raw", "-O", "qcow2", "-o", v.opts}, v.flags...)
		qemutest.Img(b, dir, append(args, "bench.raw", "disk.qcow2")...)
		b.Run("data="+v.opts, func(b *testing.B) {
			r := open(b, filepath.Join(dir, "disk.qcow2"))
			image, err := os.ReadFile(filepath.Join(dir, "disk.qcow2"))
			require.NoError(b, err)
			qemutest.OfLimit(b, r, limitOf(b, v.kind, raw, image, v.cluster))
		})
	}
}

// packed is a disk of compressed clusters in memory. Those that are nil are stored
// as they are, which qemu-img does where compression gains nothing.
type packed struct {
	raw      []byte
	clusters [][]byte
	size     int64
	cluster  int64
	expand   func(dst, src []byte) error
}

func (p *packed) Size() int64                                { return p.size }
func (p *packed) NextData(int64) (start, end int64, _ error) { return 0, p.size, nil }

func (p *packed) ReadAt(b []byte, off int64) (int, error) {
	for n := int64(0); n < int64(len(b)); n += p.cluster {
		src := p.clusters[(off+n)/p.cluster]
		if src == nil {
			copy(b[n:], p.raw[off+n:][:p.cluster])
		} else if err := p.expand(b[n:n+p.cluster], src); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

var inflaters = sync.Pool{New: func() any { return kflate.NewReader(nil) }}

type memory struct {
	*bytes.Reader
}

func (m memory) NextData(int64) (start, end int64, _ error) { return 0, m.Size(), nil }

// limitOf makes what the reader is held against: the file of the disk, or the
// compressed clusters of the image in memory.
func limitOf(b *testing.B, kind string, raw, image []byte, cluster int64) qemutest.Image {
	if kind == "" {
		return memory{bytes.NewReader(raw)}
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	require.NoError(b, err)
	b.Cleanup(dec.Close)
	p := &packed{raw: raw, size: int64(len(raw)), cluster: cluster, clusters: packedClusters(image, int64(len(raw))/cluster)}
	p.expand = func(dst, src []byte) error {
		if kind == "zstd" {
			// What follows the frame is an error, after the frame.
			if out, err := dec.DecodeAll(src, dst[:0:len(dst)]); len(out) < len(dst) {
				return err
			}
			return nil
		}
		z := inflaters.Get().(io.Reader)
		defer inflaters.Put(z)
		if err := z.(kflate.Resetter).Reset(bytes.NewReader(src), nil); err != nil {
			return err
		}
		_, err := io.ReadFull(z, dst)
		return err
	}
	return p
}

// packedClusters finds n compressed clusters by the first L2 table.
func packedClusters(image []byte, n int64) (list [][]byte) {
	be := binary.BigEndian
	shift := 62 - (be.Uint32(image[20:]) - 8)
	table := image[be.Uint64(image[be.Uint64(image[40:]):])&(1<<56-512):]
	for i := range n {
		entry := be.Uint64(table[i*8:])
		if entry&flagCompressed == 0 {
			list = append(list, nil)
			continue
		}
		entry &^= flagCompressed
		at := entry & (1<<shift - 1)
		end := at/512*512 + (entry>>shift+1)*512
		list = append(list, image[at:min(end, uint64(len(image)))])
	}
	return list
}

// No cluster is decompressed twice and no table read twice by goroutines that go
// through the disk in blocks of 2 MiB.
func TestReadsOnce(t *testing.T) {
	for _, opts := range []string{"cluster_size=64k", "cluster_size=2M,compression_type=zstd", "cluster_size=4k"} {
		dir := t.TempDir()
		disk := qemutest.Disk{Name: "disk", Size: 24 * mib, Data: []extent{{0, 24 * mib}}}
		qemutest.Img(t, dir, "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", opts, disk.Write(t, dir), "disk.qcow2")
		f, size := qemutest.OpenFile(t, filepath.Join(dir, "disk.qcow2"))
		src := &qemutest.Counting{ReaderAt: f}
		r, err := newReaderAt(src, size)
		require.NoError(t, err)
		opened := src.Bytes
		for range 2 {
			_, _, err = r.NextData(0)
			require.NoError(t, err)
		}
		qemutest.ReadAll(t, r, 2*mib, 4)
		// Sectors at the end of a cluster are those of the next as well.
		require.Less(t, src.Bytes-opened, size+size/5, fmt.Sprint(opts, " of ", size))
	}
}

// A disk of many TiB with clusters here and there takes no more memory than its
// caches.
func TestScattered(t *testing.T) {
	dir := t.TempDir()
	qemutest.Img(t, dir, "create", "-q", "-f", "qcow2", "disk.qcow2", "15T")
	const n = 250
	var writes []string
	for i := range n {
		writes = append(writes, fmt.Sprintf("write -P %d %dG 64k", i+1, i*60+i%7))
	}
	qemutest.IO(t, dir, "qcow2", "disk.qcow2", writes...)
	r := open(t, filepath.Join(dir, "disk.qcow2"))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	list := qemutest.Extents(t, r)
	require.Len(t, list, n)
	p := make([]byte, 64*kib)
	for i, e := range list {
		_, err := r.ReadAt(p, e[0])
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte{byte(i + 1)}, len(p)), p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), 6*mib, "250 tables of 64 KiB were read")
	runtime.KeepAlive(r)
}
