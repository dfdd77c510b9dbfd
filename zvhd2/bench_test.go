package zvhd2_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

// benchImage is a disk of real files: FASTIMAGE_BENCH_IMAGE if set, else the
// contents of the Go tree, 256 MiB of it.
var benchImage = sync.OnceValue(func() []byte {
	if name := os.Getenv("FASTIMAGE_BENCH_IMAGE"); name != "" {
		b, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		return b
	}
	const size = 256 * mib
	b := make([]byte, 0, size)
	_ = filepath.WalkDir(goroot(), func(name string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if len(b) >= size {
			return filepath.SkipAll
		}
		f, _ := os.ReadFile(name)
		b = append(b, f...)
		b = b[: (len(b)+4095)/4096*4096 : cap(b)]
		return nil
	})
	return b[:len(b)/(2*mib)*(2*mib)]
})

func goroot() string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(out))
}

// each runs f over the blocks of 2 MiB with one goroutine a processor.
func each(n int, f func(worker, block int)) time.Duration {
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for b := int(next.Add(1)) - 1; b < n; b = int(next.Add(1)) - 1 {
				f(w, b)
			}
		}()
	}
	wg.Wait()
	return time.Since(start)
}

func blockOf(img []byte, b int) []byte { return img[b*2*mib : (b+1)*2*mib] }

// encodeLimit is the compressor and nothing else.
func encodeLimit(img []byte, level zstd.EncoderLevel) (time.Duration, [][]byte) {
	n := len(img) / (2 * mib)
	out := make([][]byte, n)
	encs := make([]*zstd.Encoder, runtime.GOMAXPROCS(0))
	for i := range encs {
		encs[i], _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	}
	bufs := make([][]byte, len(encs))
	d := each(n, func(w, b int) {
		bufs[w] = encs[w].EncodeAll(blockOf(img, b), bufs[w][:0])
		out[b] = bytes.Clone(bufs[w])
	})
	return d, out
}

var benchLevels = []struct {
	level zvhd2.Level
	zstd  zstd.EncoderLevel
}{
	{zvhd2.Fastest, zstd.SpeedFastest}, {zvhd2.Default, zstd.SpeedDefault}, {zvhd2.Better, zstd.SpeedBetterCompression},
}

func BenchmarkEncode(b *testing.B) {
	img := benchImage()
	for _, l := range benchLevels {
		b.Run("data=files/level="+l.level.String(), func(b *testing.B) {
			b.SetBytes(int64(len(img)))
			b.ReportAllocs()
			var ours, limit time.Duration
			for range b.N {
				start := time.Now()
				_, err := zvhd2.Encode(context.Background(), io.Discard, bytes.NewReader(img), int64(len(img)), zvhd2.WithLevel(l.level))
				require.NoError(b, err)
				ours += time.Since(start)
				b.StopTimer()
				d, _ := encodeLimit(img, l.zstd)
				limit += d
				b.StartTimer()
			}
			b.ReportMetric(limit.Seconds()/ours.Seconds(), "of-limit")
		})
	}
	b.Run("data=sparse1TiB/level=fastest", func(b *testing.B) {
		parts := map[int64][]byte{}
		for i := range int64(len(img) / (2 * mib)) {
			parts[i<<32] = blockOf(img, int(i))
		}
		d := newDisk(1<<40, parts)
		b.SetBytes(int64(len(img)))
		for range b.N {
			_, err := zvhd2.Encode(context.Background(), io.Discard, extents{d}, d.size, zvhd2.WithLevel(zvhd2.Fastest))
			require.NoError(b, err)
		}
	})
	b.Run("data=zeros", func(b *testing.B) {
		zeros := noise(1, 256*mib) // pages of its own: untouched ones are all the same
		clear(zeros)
		bufs := make([][]byte, runtime.GOMAXPROCS(0))
		for i := range bufs {
			bufs[i] = make([]byte, 2*mib)
		}
		b.SetBytes(int64(len(zeros)))
		var ours, limit time.Duration
		for range b.N {
			start := time.Now()
			_, err := zvhd2.Encode(context.Background(), io.Discard, bytes.NewReader(zeros), int64(len(zeros)))
			require.NoError(b, err)
			ours += time.Since(start)
			b.StopTimer()
			// The limit is what memory gives: the blocks copied and nothing else.
			limit += each(len(zeros)/(2*mib), func(w, i int) { copy(bufs[w], blockOf(zeros, i)) })
			b.StartTimer()
		}
		b.ReportMetric(limit.Seconds()/ours.Seconds(), "of-memory")
	})
	b.Run("data=noise", func(b *testing.B) {
		img := noise(1, 256*mib)
		b.SetBytes(int64(len(img)))
		for range b.N {
			_, err := zvhd2.Encode(context.Background(), io.Discard, bytes.NewReader(img), int64(len(img)))
			require.NoError(b, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	img := benchImage()
	_, frames := encodeLimit(img, zstd.SpeedDefault)
	file := encoded(b, bytes.NewReader(img), int64(len(img)))
	r := open(b, file)
	limit := func() time.Duration {
		decs := make([]*zstd.Decoder, runtime.GOMAXPROCS(0))
		bufs := make([][]byte, len(decs))
		for i := range decs {
			decs[i], _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
			bufs[i] = make([]byte, 0, 2*mib)
		}
		return each(len(frames), func(w, n int) {
			if _, err := decs[w].DecodeAll(frames[n], bufs[w]); err != nil {
				panic(err)
			}
		})
	}
	for name, f := range map[string]func() error{
		"op=sequence": func() error { return zvhd2.DecodeTo(context.Background(), io.Discard, r) },
		"op=verify": func() error {
			_, err := r.Verify(context.Background())
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(img)))
			b.ReportAllocs()
			var ours, bound time.Duration
			for range b.N {
				start := time.Now()
				require.NoError(b, f())
				ours += time.Since(start)
				b.StopTimer()
				bound += limit()
				b.StartTimer()
			}
			b.ReportMetric(bound.Seconds()/ours.Seconds(), "of-limit")
		})
	}
}

// BenchmarkQemu compares with qemu-img on the same image in the same run.
func BenchmarkQemu(b *testing.B) {
	qemu, err := exec.LookPath("qemu-img")
	if err != nil {
		missingOracle(b, "qemu-img: %v", err)
	}
	img := benchImage()
	dir := b.TempDir()
	raw := filepath.Join(dir, "raw")
	require.NoError(b, os.WriteFile(raw, img, 0o600))
	for _, l := range benchLevels[:2] {
		b.Run("level="+l.level.String(), func(b *testing.B) {
			b.SetBytes(int64(len(img)))
			var ours, theirs time.Duration
			for range b.N {
				start := time.Now()
				encodeFile(b, raw, filepath.Join(dir, "out"), l.level)
				ours += time.Since(start)
				b.StopTimer()
				start = time.Now()
				out, err := exec.Command(qemu, "convert", "-f", "raw", "-c", "-O", "qcow2", "-o", "compression_type=zstd",
					"-m", "8", "-W", raw, filepath.Join(dir, "qcow2")).CombinedOutput()
				require.NoError(b, err, "%s", out)
				theirs += time.Since(start)
				b.StartTimer()
			}
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-qemu")
		})
	}
}

func encodeFile(t testing.TB, raw, out string, level zvhd2.Level) {
	t.Helper()
	in, err := os.Open(raw)
	require.NoError(t, err)
	defer in.Close()
	st, err := in.Stat()
	require.NoError(t, err)
	f, err := os.Create(out)
	require.NoError(t, err)
	_, err = zvhd2.Encode(context.Background(), f, in, st.Size(), zvhd2.WithLevel(level))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// BenchmarkSize reports our size in parts of what the zstd command makes of
// the same blocks at level 3.
func BenchmarkSize(b *testing.B) {
	if _, err := exec.LookPath("zstd"); err != nil {
		missingOracle(b, "zstd command: %v", err)
	}
	img := benchImage()
	dir := b.TempDir()
	var theirs int64
	for i := range len(img) / (2 * mib) {
		require.NoError(b, os.WriteFile(filepath.Join(dir, "block"), blockOf(img, i), 0o600))
		out, err := exec.Command("zstd", "-3", "-q", "-c", "--no-check", filepath.Join(dir, "block")).Output()
		require.NoError(b, err)
		theirs += int64(len(out))
	}
	for range b.N {
		sum, err := zvhd2.Encode(context.Background(), io.Discard, bytes.NewReader(img), int64(len(img)))
		require.NoError(b, err)
		b.ReportMetric(float64(sum.PayloadBytes)/float64(theirs), "of-zstd3")
	}
}
