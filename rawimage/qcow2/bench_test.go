package qcow2_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	kflate "github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
)

// BenchmarkRead reads a disk of 64 MiB, half noise and half text, in blocks of
// 2 MiB by two goroutines. The metric limit is how fast the same clusters are
// decompressed alone, or for clusters stored as they are how fast the file of the
// disk is read, by as many goroutines in the same run: of is the ratio.
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
			limit := limitOf(b, v.kind, raw, v.cluster)
			b.SetBytes(disk.Size)
			b.ReportAllocs()
			var ours, alone time.Duration
			for b.Loop() {
				ours += qemutest.ReadAll(b, r, 2*mib, 2)
				b.StopTimer()
				alone += qemutest.ReadAll(b, limit, 2*mib, 2)
				b.StartTimer()
			}
			b.ReportMetric(alone.Seconds()/ours.Seconds(), "of-limit")
		})
	}
}

// packed is a disk of compressed clusters in memory.
type packed struct {
	clusters [][]byte
	size     int64
	cluster  int64
	expand   func(dst, src []byte) error
}

func (p *packed) Size() int64                                { return p.size }
func (p *packed) NextData(int64) (start, end int64, _ error) { return 0, p.size, nil }

func (p *packed) ReadAt(b []byte, off int64) (int, error) {
	for n := int64(0); n < int64(len(b)); n += p.cluster {
		if err := p.expand(b[n:n+p.cluster], p.clusters[(off+n)/p.cluster]); err != nil {
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

// limitOf makes what the reader is held against.
func limitOf(b *testing.B, kind string, raw []byte, cluster int64) qemutest.Image {
	if kind == "" {
		return memory{bytes.NewReader(raw)}
	}
	p := &packed{size: int64(len(raw)), cluster: cluster}
	enc, err := zstd.NewWriter(nil)
	require.NoError(b, err)
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0))
	require.NoError(b, err)
	b.Cleanup(dec.Close)
	for off := int64(0); off < p.size; off += cluster {
		if kind == "zstd" {
			p.clusters = append(p.clusters, enc.EncodeAll(raw[off:off+cluster], nil))
			continue
		}
		var buf bytes.Buffer
		w, err := flate.NewWriter(&buf, flate.DefaultCompression)
		require.NoError(b, err)
		_, err = w.Write(raw[off : off+cluster])
		require.NoError(b, err)
		require.NoError(b, w.Close())
		p.clusters = append(p.clusters, buf.Bytes())
	}
	p.expand = func(dst, src []byte) error {
		if kind == "zstd" {
			_, err := dec.DecodeAll(src, dst[:0])
			return err
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
