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
func each(n int, f func(worker, block int)) {
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
}

func blockOf(img []byte, b int) []byte { return img[b*2*mib : (b+1)*2*mib] }

// against runs ours and what it is measured against by turns, after one round of
// each that does not count: memory is mapped then and tables are made. It reports
// how much of the other's speed ours has.
func against(b *testing.B, unit string, ours, other func()) {
	b.Helper()
	took := func(f func()) time.Duration {
		runtime.GC() // what the one left behind is not the other's to collect
		start := time.Now()
		f()
		return time.Since(start)
	}
	other()
	ours()
	b.ResetTimer()
	var us, them time.Duration
	for i := range b.N {
		b.StopTimer()
		if i%2 == 0 {
			them += took(other)
		}
		b.StartTimer()
		us += took(ours)
		b.StopTimer()
		if i%2 == 1 {
			them += took(other)
		}
		b.StartTimer()
	}
	b.ReportMetric(them.Seconds()/us.Seconds(), unit)
}

// bareEncoders are what Encode has, one a processor, and their output.
func bareEncoders(level zstd.EncoderLevel) ([]*zstd.Encoder, [][]byte) {
	encs := make([]*zstd.Encoder, runtime.GOMAXPROCS(0))
	for i := range encs {
		encs[i], _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithSingleSegment(true), zstd.WithWindowSize(2*mib), zstd.WithLowerEncoderMem(true))
	}
	return encs, make([][]byte, len(encs))
}

// compressOnly is the compressor and nothing else.
func compressOnly(img []byte, level zstd.EncoderLevel) {
	encs, bufs := bareEncoders(level)
	each(len(img)/(2*mib), func(w, b int) { bufs[w] = encs[w].EncodeAll(blockOf(img, b), bufs[w][:0]) })
}

// copyOnly copies the blocks, which is what memory gives.
func copyOnly(img []byte) {
	bufs := make([][]byte, runtime.GOMAXPROCS(0))
	each(len(img)/(2*mib), func(w, i int) {
		if bufs[w] == nil {
			bufs[w] = make([]byte, 2*mib)
		}
		copy(bufs[w], blockOf(img, i))
	})
}

func encodeBench(b *testing.B, r io.ReaderAt, size int64, level zvhd2.Level) {
	b.Helper()
	_, err := zvhd2.Encode(context.Background(), io.Discard, r, size, zvhd2.WithLevel(level))
	require.NoError(b, err)
}

var benchLevels = []struct {
	level zvhd2.Level
	zstd  zstd.EncoderLevel
}{
	{zvhd2.LevelFastest, zstd.SpeedFastest}, {zvhd2.LevelDefault, zstd.SpeedDefault}, {zvhd2.LevelBetter, zstd.SpeedBetterCompression},
}

func BenchmarkEncode(b *testing.B) {
	for _, l := range benchLevels {
		b.Run("data=files/level="+l.level.String(), func(b *testing.B) {
			img := benchImage()
			b.SetBytes(int64(len(img)))
			b.ReportAllocs()
			against(b, "of-limit",
				func() { encodeBench(b, bytes.NewReader(img), int64(len(img)), l.level) },
				func() { compressOnly(img, l.zstd) })
		})
	}
	b.Run("data=sparse1TiB/level=fastest", func(b *testing.B) {
		img := benchImage()
		parts := map[int64][]byte{}
		for i := range int64(len(img) / (2 * mib)) {
			parts[i<<30] = blockOf(img, int(i))
		}
		d := newDisk(1<<40, parts)
		b.SetBytes(int64(len(img)))
		against(b, "of-limit",
			func() { encodeBench(b, extents{d}, d.size, zvhd2.LevelFastest) },
			func() { compressOnly(img, zstd.SpeedFastest) })
	})
	b.Run("data=zeros", func(b *testing.B) {
		zeros := noise(1, 256*mib) // pages of its own: untouched ones are all the same
		clear(zeros)
		b.SetBytes(int64(len(zeros)))
		against(b, "of-memory",
			func() { encodeBench(b, bytes.NewReader(zeros), int64(len(zeros)), zvhd2.LevelDefault) },
			func() { copyOnly(zeros) })
	})
	b.Run("data=noise", func(b *testing.B) {
		img := noise(1, 256*mib)
		b.SetBytes(int64(len(img)))
		against(b, "of-memory",
			func() { encodeBench(b, bytes.NewReader(img), int64(len(img)), zvhd2.LevelDefault) },
			func() { copyOnly(img) })
	})
}

func BenchmarkDecode(b *testing.B) {
	img := benchImage()
	file := encoded(b, bytes.NewReader(img), int64(len(img)))
	r := open(b, file)
	frames := make([][]byte, len(img)/(2*mib))
	encs, _ := bareEncoders(zstd.SpeedDefault)
	each(len(frames), func(w, n int) { frames[n] = encs[w].EncodeAll(blockOf(img, n), nil) })
	limit := func() {
		decs := make([]*zstd.Decoder, runtime.GOMAXPROCS(0))
		bufs := make([][]byte, len(decs))
		for i := range decs {
			decs[i], _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
			bufs[i] = make([]byte, 0, 2*mib)
		}
		each(len(frames), func(w, n int) {
			if _, err := decs[w].DecodeAll(frames[n], bufs[w]); err != nil {
				panic(err)
			}
		})
	}
	for _, op := range []struct {
		name string
		f    func() error
	}{
		{"op=sequence", func() error { return r.DecodeStream(context.Background(), io.Discard) }},
		{"op=random", func() error { return r.Decode(context.Background(), nowhere{}) }},
		{"op=verify", func() error {
			_, err := zvhd2.Verify(context.Background(), bytes.NewReader(file), int64(len(file)))
			return err
		}},
	} {
		b.Run(op.name, func(b *testing.B) {
			b.SetBytes(int64(len(img)))
			b.ReportAllocs()
			against(b, "of-limit", func() { require.NoError(b, op.f()) }, limit)
		})
	}
}

// nowhere is a device that forgets.
type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

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
			against(b, "times-qemu",
				func() { encodeFile(b, raw, filepath.Join(dir, "out"), l.level) },
				func() {
					out, err := exec.Command(qemu, "convert", "-f", "raw", "-c", "-O", "qcow2", "-o", "compression_type=zstd",
						"-m", "8", "-W", raw, filepath.Join(dir, "qcow2")).CombinedOutput()
					require.NoError(b, err, "%s", out)
				})
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
