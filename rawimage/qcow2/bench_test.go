package qcow2_test

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkRead reads a disk of 64 MiB, half noise and half text, in blocks of
// 1 MiB, by one reader and by as many as there are processors.
func BenchmarkRead(b *testing.B) {
	const size, block = 64 << 20, 1 << 20
	src := source{"bench", size, nil}
	for off := int64(0); off < size; off += 128 << 10 {
		src.data = append(src.data, extent{off, off + 128<<10})
	}
	dir := b.TempDir()
	raw := src.write(b, dir)
	for _, v := range []variant{
		{options: "cluster_size=64k"},
		{options: "cluster_size=4k"},
		{options: "cluster_size=64k,extended_l2=on"},
		{options: "cluster_size=64k,compression_type=zlib", compressed: true},
		{options: "cluster_size=64k,compression_type=zstd", compressed: true},
		{options: "cluster_size=2M,compression_type=zstd", compressed: true},
	} {
		qemuImg(b, dir, v.args(raw, "disk.qcow2")...)
		for _, workers := range []int{1, 0} {
			b.Run(fmt.Sprintf("data=%s/workers=%d", v.name(), workers), func(b *testing.B) {
				r := open(b, dir, "disk.qcow2")
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					readAll(b, r, size, block, workers)
				}
			})
		}
	}
}

// readAll reads a disk by workers, or one for each processor.
func readAll(b *testing.B, r io.ReaderAt, size, block int64, workers int) {
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			p := make([]byte, block)
			for {
				off := next.Add(block) - block
				if off >= size {
					return
				}
				if _, err := r.ReadAt(p, off); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
