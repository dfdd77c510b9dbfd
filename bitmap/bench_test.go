package bitmap_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
)

// BenchmarkScan reads a file of zeros without holes from the page cache and
// compares with reading alone: the same file in pieces of 2 MiB by a goroutine
// a processor.
func BenchmarkScan(b *testing.B) {
	const size, piece = 1 << 30, 2 << 20
	name := filepath.Join(b.TempDir(), "zeros.raw")
	f, err := os.Create(name)
	require.NoError(b, err)
	defer f.Close()
	for range size / piece {
		_, err := f.Write(make([]byte, piece))
		require.NoError(b, err)
	}
	var ours, limit time.Duration
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		start := time.Now()
		readAll(b, f, size, piece)
		limit += time.Since(start)
		b.StartTimer()
		start = time.Now()
		bm, err := bitmap.Scan(b.Context(), f, size)
		require.NoError(b, err)
		require.Zero(b, bm.Count())
		ours += time.Since(start)
	}
	b.ReportMetric(limit.Seconds()/ours.Seconds(), "of-limit")
}

func readAll(b *testing.B, r io.ReaderAt, size, piece int64) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := make([]byte, piece)
			for off := next.Add(piece) - piece; off < size; off = next.Add(piece) - piece {
				if _, err := r.ReadAt(buf, off); err != nil && !errors.Is(err, io.EOF) {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
