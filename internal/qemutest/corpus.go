package qemutest

import (
	"bytes"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/sparse/sparsetest"
)

// orders are the orders in which an image file can store blocks, by name. Some
// store all blocks of the disk, some only a few.
var orders = map[string]func(blocks int64) []int64{
	"none":      func(int64) []int64 { return nil },
	"all":       func(n int64) []int64 { return count(n, func(i int64) int64 { return i }) },
	"reversed":  func(n int64) []int64 { return count(n, func(i int64) int64 { return n - 1 - i }) },
	"odd":       func(n int64) []int64 { return count(n/2, func(i int64) int64 { return 2*i + 1 }) },
	"last":      func(n int64) []int64 { return []int64{n - 1} },
	"scattered": func(n int64) []int64 { return count(n, func(i int64) int64 { return i * 7 % n }) },
}

func count(n int64, f func(i int64) int64) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = f(int64(i))
	}
	return list
}

// Corpus compares images that are built here, in every order of their blocks,
// with what went into them, and with what qemu-img reads; spec is how qemu-img
// opens the file "disk". l has the size of the disk, of a number of blocks that 7
// does not divide.
func Corpus(t *testing.T, l Layout, build func(Layout) *File, open func(ra io.ReaderAt, size int64) (Image, error), spec ...string) {
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l
			l.Stored = order(l.Blocks)
			f := build(l)
			r, err := open(f, f.Len)
			require.NoError(t, err)
			require.Equal(t, l.Size(), r.Size())
			sparsetest.Check(t, r, r.Size())
			want := make([]byte, l.Size())
			for _, i := range l.Stored {
				copy(want[i*l.Block:], l.Content(i))
			}
			got := make([]byte, l.Size())
			for _, e := range Extents(t, r) {
				_, err := r.ReadAt(got[e[0]:e[1]], e[0])
				require.NoError(t, err)
			}
			require.True(t, bytes.Equal(want, got))
			if spec == nil {
				return
			}
			dir := t.TempDir()
			f.Write(t, filepath.Join(dir, "disk"))
			Compare(t, r, Comparison{Dir: dir, Spec: spec, Map: MapNone})
		})
	}
}

// Work is what a walk through a disk may cost.
type Work struct {
	CallReads int64 // reads and questions of one call of NextData
	Reads     int64 // of the whole walk
	Memory    int64 // bytes allocated by all of it, opening included
}

// Pathological walks through the data of a valid image that is as awkward as can
// be, and wants the work to be bounded: for each call, and in all. Nothing is
// measured in time.
func Pathological(t testing.TB, f *File, open func(ra io.ReaderAt, size int64) (Image, error), limit Work) {
	t.Helper()
	src := &worker{File: f}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := open(src, f.Len)
	require.NoError(t, err)
	opened := src.work
	for off := int64(0); off < r.Size(); {
		last := src.work
		start, end, err := r.NextData(off)
		require.LessOrEqual(t, src.work-last, limit.CallReads, "one call at %d", off)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Less(t, start, end)
		off = end
	}
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, src.work-opened, limit.Reads)
	require.LessOrEqual(t, int64(after.TotalAlloc-before.TotalAlloc), limit.Memory)

	// Asked for each of many places in turn, as those do who read in blocks.
	last := src.work
	const places = 1000
	for i := range int64(places) {
		_, _, err := r.NextData(r.Size() / places * i)
		if err != io.EOF {
			require.NoError(t, err)
		}
	}
	require.LessOrEqual(t, src.work-last, places*limit.CallReads)
}

// worker counts reads, and questions for data.
type worker struct {
	*File
	work int64
}

// ReadAt reads and counts.
func (w *worker) ReadAt(p []byte, off int64) (int, error) {
	w.work++
	return w.File.ReadAt(p, off)
}

// NextData answers that all of the file is data but for its last byte, and counts.
func (w *worker) NextData(off int64) (start, end int64, err error) {
	w.work++
	if off >= w.Len {
		return 0, 0, io.EOF
	}
	return w.Len - 1, w.Len, nil
}

// Reversed are the numbers below n in descending order, every step-th of them.
func Reversed(n, step int64) []int64 {
	list := count(n/step, func(i int64) int64 { return i * step })
	slices.Reverse(list)
	return list
}
