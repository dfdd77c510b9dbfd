package qemutest

import (
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// Exercise reads what a damaged image offers: it must not panic, loop or grow,
// and be zeros where it says that there is no data.
func Exercise(t testing.TB, r Image) {
	t.Helper()
	if r.Size() < 0 {
		t.Fatalf("size %d", r.Size())
	}
	buf := make([]byte, 10000)
	for _, off := range []int64{0, 511, r.Size() / 2, r.Size() - 5000} {
		n, err := r.ReadAt(buf, max(off, 0))
		if n < len(buf) && err == nil {
			t.Fatal("short read without an error")
		}
	}
	off := int64(0)
	for range 1000 {
		start, end, err := r.NextData(off)
		if err != nil {
			return
		}
		if start < off || end <= start || end > r.Size() {
			t.Fatalf("NextData(%d) = [%d, %d) of %d", off, start, end, r.Size())
		}
		if gap := buf[:min(start-off, int64(len(buf)))]; len(gap) > 0 {
			if _, err := r.ReadAt(gap, off); err != nil || !Zeros(gap) {
				t.Fatalf("hole at %d: %v, or data", off, err)
			}
		}
		if _, err := r.ReadAt(buf[:min(end-start, int64(len(buf)))], start); err != nil && !errors.Is(err, io.EOF) {
			return
		}
		off = end
	}
}

// Concurrent is Exercise by several goroutines.
func Concurrent(t testing.TB, r Image) {
	t.Helper()
	var wg sync.WaitGroup
	for range runtime.NumCPU() + 2 {
		wg.Go(func() { Exercise(t, r) })
	}
	wg.Wait()
}

// ReadErrors holds open, given a good image, to what a source and ReadAt may do
// wrong. format is the error of a bad image.
func ReadErrors(t *testing.T, good []byte, format error, open func(ra io.ReaderAt, size int64) (Image, error)) {
	t.Helper()
	_, err := open(Failing{}, int64(len(good)))
	require.ErrorIs(t, err, iotest.ErrTimeout)
	require.NotErrorIs(t, err, format)
	_, err = open(bytes.NewReader(good[:len(good)/2]), int64(len(good)))
	if err != nil { // the source is shorter than it was said to be
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NotErrorIs(t, err, format)
	}
	r, err := open(bytes.NewReader(good), int64(len(good)))
	require.NoError(t, err)
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	_, err = r.ReadAt(make([]byte, 1), math.MaxInt64)
	require.ErrorIs(t, err, io.EOF)
	n, err := r.ReadAt(make([]byte, 100), r.Size()-10)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 10, n)
	_, _, err = r.NextData(math.MaxInt64)
	require.ErrorIs(t, err, io.EOF)
}

// Failing is a source that fails.
type Failing struct{}

// ReadAt fails.
func (Failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

// Counting is a source that counts what is read of it.
type Counting struct {
	io.ReaderAt
	mu    sync.Mutex
	Reads map[int64]int // by offset
	Bytes int64
}

// ReadAt reads and counts.
func (c *Counting) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	if c.Reads == nil {
		c.Reads = make(map[int64]int)
	}
	c.Reads[off]++
	c.Bytes += int64(len(p))
	c.mu.Unlock()
	return c.ReaderAt.ReadAt(p, off)
}

// Damage is a change to a good image, and the error that it gets.
type Damage struct {
	Change func(b []byte) []byte
	Is     error
}

// Damaged is a Damage.
func Damaged(change func(b []byte) []byte, is error) Damage { return Damage{change, is} }

// Hostile makes every change to a copy of a good image, opens it and reads it
// until that fails: with the error wanted and a *E, and without memory beyond
// what the file's size justifies. prefix is what messages begin with.
func Hostile[E error](t *testing.T, prefix string, good []byte, cases map[string]Damage, open func(b []byte) (Image, error)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := c.Change(bytes.Clone(good))
			var err error
			requireMemory(t, int64(len(b)), func() {
				var r Image
				if r, err = open(b); err == nil {
					err = readAll(r)
				}
			})
			require.ErrorIs(t, err, c.Is)
			var typed E
			require.ErrorAs(t, err, &typed)
			require.Contains(t, err.Error(), prefix+": ")
		})
	}
}

// readAll reads all data of a disk, and gives up after a while.
func readAll(r Image) error {
	buf := make([]byte, 128<<10)
	off := int64(0)
	for range 10000 {
		start, end, err := r.NextData(off)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for off = start; off < min(end, start+32*MiB); off += int64(len(buf)) {
			if _, err := r.ReadAt(buf[:min(int64(len(buf)), end-off)], off); err != nil {
				return err
			}
		}
		off = end
	}
	return nil
}

// requireMemory fails the test when do allocates more than a small multiple of
// size, and what any reader needs.
func requireMemory(t testing.TB, size int64, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.TotalAlloc-before.TotalAlloc), 4*size+2*MiB, "bytes allocated for a file of %d", size)
}

// Flip sets every byte of the ranges of a good image to a few other values, one
// at a time. What opens is read; errors are a *E or io.EOF.
func Flip[E error](t *testing.T, good []byte, ranges []Extent, open func(b []byte) (Image, error)) {
	t.Helper()
	b := bytes.Clone(good)
	refused := 0
	requireOpens := func(at int64) {
		r, err := open(b)
		if err != nil {
			var typed E
			require.ErrorAs(t, err, &typed, "byte %#x of the file set to %#x", at, b[at])
			refused++
			return
		}
		Exercise(t, r)
	}
	for _, e := range ranges {
		for at := e[0]; at < e[1]; at++ {
			for _, v := range []byte{0, 0xFF, 0x80, good[at] ^ 1} {
				if v == good[at] {
					continue
				}
				b[at] = v
				requireOpens(at)
			}
			b[at] = good[at]
		}
	}
	require.Positive(t, refused, "nothing was refused")
}

// OfLimit is a benchmark of reading a disk in blocks of 2 MiB by two goroutines.
// Its metric of-limit is the ratio to the time limit takes, in the same run: the
// same disk with nothing to do but what cannot be left out.
func OfLimit(b *testing.B, r, limit Image) {
	b.SetBytes(r.Size())
	b.ReportAllocs()
	var ours, alone time.Duration
	for b.Loop() {
		ours += ReadAll(b, r, 2*MiB, 2)
		b.StopTimer()
		alone += ReadAll(b, limit, 2*MiB, 2)
		b.StartTimer()
	}
	b.ReportMetric(alone.Seconds()/ours.Seconds(), "of-limit")
}

// ReadAll reads a disk in blocks by a number of goroutines, each the next one, and
// returns how long that took.
func ReadAll(t testing.TB, r Image, block int64, workers int) time.Duration {
	t.Helper()
	began := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			p := make([]byte, block)
			for {
				off := next.Add(block) - block
				if off >= r.Size() {
					return
				}
				if _, err := r.ReadAt(p[:min(block, r.Size()-off)], off); err != nil {
					t.Errorf("read at %d: %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}
