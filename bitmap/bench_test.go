package bitmap_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/rawimage"
)

const piece = 2 << 20

// tool runs a command and returns how long it took; the benchmark is skipped if
// it is not installed.
func tool(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		b.Skipf("%s, which this compares with, is not installed", name)
	}
	start := time.Now()
	out, err := exec.Command(path, args...).CombinedOutput()
	require.NoError(b, err, "%s %v: %s", name, args, out)
	return time.Since(start)
}

// beside runs the others of a comparison in the first few iterations only, off
// the clock: they take a hundred times as long as we do, and the clock decides
// how many iterations there are.
type beside struct{ turns, iterations int }

func (t *beside) run(b *testing.B, others func()) {
	b.Helper()
	t.iterations++
	if t.turns >= 3 {
		return
	}
	t.turns++
	b.StopTimer()
	others()
	b.StartTimer()
}

// ratio is how many times as long as ours the other took, each on average.
func (t *beside) ratio(other, ours time.Duration) float64 {
	return other.Seconds() / float64(t.turns) / (ours.Seconds() / float64(t.iterations))
}

// filled makes a file of size bytes without holes below used, and a hole from
// there on; random says whether it has data or zeros.
func filled(b *testing.B, size, used int64, random bool) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "disk.raw")
	f, err := os.Create(name)
	require.NoError(b, err)
	buf := make([]byte, piece)
	if random {
		rng := rand.NewChaCha8([32]byte{1})
		_, err = rng.Read(buf)
		require.NoError(b, err)
	}
	for off := int64(0); off < used; off += piece {
		_, err := f.WriteAt(buf[:min(piece, used-off)], off)
		require.NoError(b, err)
	}
	require.NoError(b, f.Truncate(size))
	require.NoError(b, f.Close())
	return name
}

// scanFile opens a file and scans it, as the command does.
func scanFile(b *testing.B, name string) (*bitmap.Bitmap, time.Duration) {
	b.Helper()
	start := time.Now()
	im, err := rawimage.Open(name)
	require.NoError(b, err)
	defer im.Close()
	bm, err := bitmap.Scan(b.Context(), im, im.Size())
	require.NoError(b, err)
	return bm, time.Since(start)
}

// BenchmarkScan/zeros: a file of zeros without holes, from the page cache. dd is
// dd if=FILE of=/dev/null bs=2M in the same run; limit is reading alone by a
// goroutine a processor. bmaptool maps blocks that the file system has, and so
// need not read.
func BenchmarkScan(b *testing.B) {
	b.Run("zeros", func(b *testing.B) {
		const size = 1 << 30
		name := filled(b, size, size, false)
		f, err := os.Open(name)
		require.NoError(b, err)
		defer f.Close()
		var ours, dd, limit time.Duration
		var turns beside
		b.SetBytes(size)
		for b.Loop() {
			turns.run(b, func() {
				dd += tool(b, "dd", "if="+name, "of=/dev/null", "bs=2M")
				start := time.Now()
				readAll(b, f, size)
				limit += time.Since(start)
			})
			bm, took := scanFile(b, name)
			require.Zero(b, bm.Count())
			ours += took
		}
		b.ReportMetric(turns.ratio(dd, ours), "of-dd")
		b.ReportMetric(turns.ratio(limit, ours), "of-limit")
	})
	// As large, with data in 1 %, against the same without holes.
	b.Run("sparse1", func(b *testing.B) {
		const size = 4 << 30
		full, sparse := filled(b, size/4, size/4, false), filled(b, size, size/100, true)
		var ours, whole time.Duration
		var turns beside
		for b.Loop() {
			turns.run(b, func() {
				_, took := scanFile(b, full)
				whole += 4 * took
			})
			bm, took := scanFile(b, sparse)
			require.NotZero(b, bm.Count())
			ours += took
		}
		b.ReportMetric(100/turns.ratio(whole, ours), "%-of-zeros")
	})
	b.Run("holes1T", func(b *testing.B) {
		name := filled(b, 1<<40, 0, false)
		for b.Loop() {
			bm, _ := scanFile(b, name)
			require.Zero(b, bm.Count())
		}
	})
}

// BenchmarkBmaptool compares with bmaptool create, which notes the blocks that
// the file system has, and by default sums them.
func BenchmarkBmaptool(b *testing.B) {
	const size = 1 << 30
	for _, c := range []struct {
		name   string
		size   int64
		used   int64
		random bool
	}{{"zeros", size, size, false}, {"data", size, size, true}, {"sparse1", size, size / 100, true}, {"holes1T", 1 << 40, 0, false}} {
		b.Run(c.name, func(b *testing.B) {
			name := filled(b, c.size, c.used, c.random)
			var ours, plain, summed time.Duration
			var turns beside
			for b.Loop() {
				turns.run(b, func() {
					summed += tool(b, "bmaptool", "create", "-o", os.DevNull, name)
					plain += tool(b, "bmaptool", "create", "--no-checksum", "-o", os.DevNull, name)
				})
				_, took := scanFile(b, name)
				ours += took
			}
			b.ReportMetric(turns.ratio(summed, ours), "x-bmaptool")
			b.ReportMetric(turns.ratio(plain, ours), "x-bmaptool-no-checksum")
		})
	}
}

func readAll(b *testing.B, r io.ReaderAt, size int64) {
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
