package bitmap_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/internal/sparse"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// disk is a disk of zeros with bytes of 1 at some places and, if it has extents,
// holes between them.
type disk struct {
	size    int64
	ones    []int64
	extents [][2]int64
	fail    error
	reads   atomic.Int64
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.reads.Add(int64(len(p)))
	if d.fail != nil {
		return 0, d.fail
	}
	n := int(min(int64(len(p)), d.size-off))
	clear(p[:n])
	for _, o := range d.ones {
		if o >= off && o < off+int64(n) {
			p[o-off] = 1
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// sparseDisk adds NextData.
type sparseDisk struct{ *disk }

func (d sparseDisk) NextData(off int64) (int64, int64, error) {
	for _, e := range d.extents {
		if e[1] > off {
			return max(off, e[0]), e[1], nil
		}
	}
	return 0, 0, io.EOF
}

func TestScan(t *testing.T) {
	t.Parallel()
	ones := []int64{0, 5*mib + 17, 6*mib - 1, 33 * mib, 40*mib + 511, 63*mib + 999}
	size := int64(63*mib + 1000)
	for _, bs := range []int64{512, 4 * kib, 64 * kib, 256 * kib, mib, 2 * mib, 32 * mib, gib} {
		for _, workers := range []int{1, 2, 7} {
			want, err := bitmap.New(size, bs)
			require.NoError(t, err)
			for _, o := range ones {
				want.Set(o/bs, true)
			}
			d := &disk{size: size, ones: ones, extents: [][2]int64{{0, 1}, {5*mib + 10, 6 * mib}, {33 * mib, 41 * mib}, {63 * mib, size + 7}}}
			for _, src := range []io.ReaderAt{d, sparseDisk{d}} {
				got, err := bitmap.Scan(t.Context(), src, size, bitmap.WithBlockSize(bs), bitmap.WithWorkers(workers))
				require.NoError(t, err)
				require.True(t, want.Equal(got), "block size %d, %d workers: %s", bs, workers, got.Render(64))
				require.Equal(t, want.Count(), got.Count())
			}
		}
	}
}

// A random disk: serial and parallel scans agree with a plain look.
func TestScanRandom(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3*mib+777)
	for range 100 {
		data[rng.IntN(len(data))] = byte(rng.IntN(3))
	}
	for _, bs := range []int64{512, 4 * kib, 128 * kib, 512 * kib} {
		got, err := bitmap.Scan(t.Context(), bytes.NewReader(data), int64(len(data)), bitmap.WithBlockSize(bs))
		require.NoError(t, err)
		for i := range got.Blocks() {
			block := data[i*bs : min((i+1)*bs, int64(len(data)))]
			require.Equal(t, len(bytes.Trim(block, "\x00")) > 0, got.Test(i))
		}
	}
}

func TestScanErrors(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	_, err := bitmap.Scan(t.Context(), &disk{size: gib, fail: boom}, gib)
	require.ErrorIs(t, err, boom)

	_, err = bitmap.Scan(t.Context(), bytes.NewReader(make([]byte, 100)), 200)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = bitmap.Scan(ctx, &disk{size: gib}, gib)
	require.ErrorIs(t, err, context.Canceled)

	for _, opt := range []bitmap.Option{bitmap.WithBlockSize(1000), bitmap.WithBlockSize(256), bitmap.WithWorkers(0)} {
		_, err = bitmap.Scan(t.Context(), &disk{size: gib}, gib, opt)
		require.Error(t, err)
	}
	_, err = bitmap.Scan(t.Context(), nil, 5)
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = bitmap.Scan(t.Context(), &disk{}, -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = bitmap.Scan(t.Context(), &disk{}, 1<<62, bitmap.WithBlockSize(512))
	require.ErrorIs(t, err, fs.ErrInvalid)

	bad := sparseDisk{&disk{size: gib, extents: [][2]int64{{10, 20}}}}
	bad.extents = append(bad.extents, [2]int64{gib - 5, gib - 4})
	_, err = bitmap.Scan(t.Context(), liar{bad}, gib)
	require.ErrorIs(t, err, sparse.ErrContract)
}

// liar answers an empty range.
type liar struct{ sparseDisk }

func (liar) NextData(off int64) (int64, int64, error) { return off, off, nil }

func TestScanProgress(t *testing.T) {
	t.Parallel()
	var last bitmap.Progress
	d := sparseDisk{&disk{size: tib, ones: []int64{gib}, extents: [][2]int64{{gib, gib + mib}}}}
	bm, err := bitmap.Scan(t.Context(), d, tib, bitmap.WithProgress(func(p bitmap.Progress) {
		if p.Done < last.Done || p.Done > p.Total {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
	}))
	require.NoError(t, err)
	require.Equal(t, int64(1), bm.Count())
	require.Equal(t, int64(tib), last.Done)
	require.Equal(t, int64(tib), last.Total)
	require.LessOrEqual(t, d.reads.Load(), int64(mib), "holes were read")
}

func TestScanStopsAtFirstByte(t *testing.T) {
	t.Parallel()
	d := &disk{size: 64 * mib, ones: []int64{0, 32 * mib}}
	bm, err := bitmap.Scan(t.Context(), d, d.size, bitmap.WithBlockSize(32*mib))
	require.NoError(t, err)
	require.Equal(t, int64(2), bm.Count())
	require.LessOrEqual(t, d.reads.Load(), int64(2*mib))
}

func TestScanRealDisk(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../testdata/disk.raw")
	require.NoError(t, err)
	defer f.Close()
	bm, err := bitmap.Scan(t.Context(), f, 64*mib)
	require.NoError(t, err)
	require.Equal(t, int64(32), bm.Blocks())
	require.Equal(t, "#...", bm.Render(32)[:4])
	require.True(t, bm.Test(31), "backup table")
	require.Equal(t, bm.Count()*2*mib, bm.DataBytes())
}

func TestCounts(t *testing.T) {
	t.Parallel()
	b, err := bitmap.New(5*mib+1, 2*mib)
	require.NoError(t, err)
	require.Equal(t, int64(3), b.Blocks())
	require.Zero(t, b.DataBytes())
	b.Set(2, true)
	require.Equal(t, int64(mib+1), b.DataBytes())
	b.Set(0, true)
	require.Equal(t, int64(3*mib+1), b.DataBytes())
	b.Set(99, true)
	b.Set(-1, true)
	require.Equal(t, int64(2), b.Count())
	require.False(t, b.Test(99))
	require.False(t, b.Test(-1))

	empty, err := bitmap.New(0, 512)
	require.NoError(t, err)
	require.Zero(t, empty.Blocks())
	require.Empty(t, empty.Render(10))
	for range empty.Runs() {
		t.Fatal("a run of nothing")
	}
}

func parse(t testing.TB, blocks string, bs, size int64) *bitmap.Bitmap {
	t.Helper()
	b, err := bitmap.New(size, bs)
	require.NoError(t, err)
	for i, c := range blocks {
		b.Set(int64(i), c == '#')
	}
	return b
}

func TestRuns(t *testing.T) {
	t.Parallel()
	b := parse(t, "##..#.###", 512, 9*512-100)
	var got []bitmap.Run
	for r := range b.Runs() {
		got = append(got, r)
	}
	require.Equal(t, []bitmap.Run{{0, 1024, true}, {1024, 1024, false}, {2048, 512, true}, {2560, 512, false}, {3072, 1436, true}}, got)
	for range b.Runs() {
		break
	}
	start, end, err := b.NextData(100)
	require.NoError(t, err)
	require.Equal(t, [2]int64{100, 1024}, [2]int64{start, end})
	start, end, err = b.NextData(1024)
	require.NoError(t, err)
	require.Equal(t, [2]int64{2048, 2560}, [2]int64{start, end})
	start, end, err = b.NextData(4000)
	require.NoError(t, err)
	require.Equal(t, [2]int64{4000, 4508}, [2]int64{start, end})
	_, _, err = b.NextData(b.Size())
	require.Equal(t, io.EOF, err)
	_, _, err = b.NextData(-1)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestRender(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		blocks string
		width  int
		want   string
	}{
		{"##..", 4, "##.."},
		{"##..", 8, "####...."},
		{"##..", 2, "#."},
		{"#...##..###.####", 4, ":+*#"},
		{"#.", 0, "+"},
		{"...", 1, "."},
	} {
		b := parse(t, c.blocks, 512, int64(len(c.blocks))*512)
		require.Equal(t, c.want, b.Render(c.width), c.blocks)
	}
	one := parse(t, strings.Repeat(".", 999)+"#", 512, 1000*512)
	require.Equal(t, strings.Repeat(".", 79)+":", one.Render(80), "a single block is seen")
}

func TestResizeAndCovers(t *testing.T) {
	t.Parallel()
	fine := parse(t, "#......#........", 512, 16*512-10)
	coarse, err := fine.Resize(2048)
	require.NoError(t, err)
	require.Equal(t, "##..", coarse.Render(4))
	back, err := coarse.Resize(512)
	require.NoError(t, err)
	require.Equal(t, "########........", back.Render(16))

	require.NoError(t, coarse.CheckCoverage(fine))
	require.NoError(t, fine.CheckCoverage(fine))
	require.NoError(t, back.CheckCoverage(fine))
	err = fine.CheckCoverage(back)
	var ce *bitmap.CoverageError
	require.ErrorAs(t, err, &ce)
	require.ErrorIs(t, err, bitmap.ErrCoverage)
	require.Equal(t, bitmap.CoverageError{Block: 1, Offset: 512, BlockSize: 512, Blocks: 6}, *ce)
	require.ErrorIs(t, fine.CheckCoverage(parse(t, "", 512, 512)), fs.ErrInvalid)
}

func TestSetRange(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]int64{{0, 0}, {0, 300}, {1, 299}, {63, 65}, {64, 128}, {5, 5}, {200, 100}, {-5, 9999}} {
		got, err := bitmap.New(300*512, 512)
		require.NoError(t, err)
		got.SetRange(c[0], c[1])
		for i := range int64(300) {
			require.Equal(t, i >= c[0] && i < c[1], got.Test(i), "%v: %d", c, i)
		}
		require.Equal(t, max(0, min(c[1], 300)-max(c[0], 0)), got.Count())
	}
}

// blocking blocks at the first read until the test ends.
type blocking struct {
	once    sync.Once
	blocked chan struct{}
	free    chan struct{}
}

func (b *blocking) ReadAt([]byte, int64) (int, error) {
	b.once.Do(func() { close(b.blocked) })
	<-b.free
	return 0, io.EOF
}

func TestScanCancelWhileSourceBlocks(t *testing.T) {
	t.Parallel()
	src := &blocking{blocked: make(chan struct{}), free: make(chan struct{})}
	defer close(src.free)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-src.blocked; cancel() }()
	_, err := bitmap.Scan(ctx, src, gib)
	require.ErrorIs(t, err, context.Canceled)
}
