package zvhd2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

func TestEncodeRoundTrip(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	want := content(t, d, d.size)
	for level := zvhd2.LevelFastest; level <= zvhd2.LevelAuto; level++ {
		t.Run(level.String(), func(t *testing.T) {
			var out bytes.Buffer
			sum, err := zvhd2.Encode(context.Background(), &out, extents{d}, d.size, zvhd2.WithLevel(level))
			require.NoError(t, err)
			require.EqualValues(t, out.Len(), sum.FileSize)
			require.EqualValues(t, 7, sum.StoredBlocks)
			require.Equal(t, (d.size+511)/512*512, sum.DiskSize)
			l := sum.Levels
			require.EqualValues(t, 7, l.Fastest+l.Default+l.Better+l.Best+l.Incompressible)
			r := open(t, out.Bytes())
			got := content(t, r, r.Size())
			require.True(t, bytes.Equal(want, got[:d.size]))
			require.Equal(t, make([]byte, r.Size()-d.size), got[d.size:])
			require.Equal(t, sum.UUID, r.Info().UUID)
			require.Equal(t, sum.Created, r.Info().Created)
		})
	}
}

func TestEncodeSameForAnyWorkers(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	want := encoded(t, d, d.size, zvhd2.WithWorkers(1))
	for _, n := range []int{2, 3, 8} {
		require.True(t, bytes.Equal(want, encoded(t, extents{d}, d.size, zvhd2.WithWorkers(n))), "%d workers", n)
	}
}

func TestEncodeNeverReadsHoles(t *testing.T) {
	t.Parallel()
	d := newDisk(1<<40, map[int64][]byte{1000: text(1, 5000), 1<<39 + 77: text(2, 3*mib)})
	file := encoded(t, extents{d}, d.size)
	require.Zero(t, d.holes)
	require.EqualValues(t, 5000+3*mib, d.bytes)
	require.EqualValues(t, 3, open(t, file).Info().StoredBlocks)
}

func TestEncodeIncompressibleIsStored(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	sum, err := zvhd2.Encode(context.Background(), &out, bytes.NewReader(noise(1, 8*mib)), 8*mib, zvhd2.WithLevel(zvhd2.LevelBest))
	require.NoError(t, err)
	require.EqualValues(t, 4, sum.Levels.Incompressible)
	require.LessOrEqual(t, sum.FileSize, zvhd2.MaxSize(8*mib))
}

func TestEncodeProgress(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	var last zvhd2.Progress
	file := encoded(t, d, d.size, zvhd2.WithProgress(func(p zvhd2.Progress) { last = p }))
	total := (d.size + 511) / 512 * 512
	require.Equal(t, total, last.Total)
	require.Equal(t, total, last.Done)
	require.Equal(t, total, last.Data+last.Skipped)
	require.EqualValues(t, len(file), last.Written)
}

// failing breaks off after n bytes.
type failing struct{ n atomic.Int64 }

var errBroken = errors.New("broken")

func (f *failing) Write(p []byte) (int, error) {
	if f.n.Add(-int64(len(p))) < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

type badSource struct {
	*disk
	start, end int64
	err        error
}

func (b badSource) NextData(int64) (int64, int64, error) { return b.start, b.end, b.err }

func TestEncodeErrors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := sampleDisk()
	t.Run("write", func(t *testing.T) {
		for _, n := range []int64{0, 4096, 3 * mib} {
			w := &failing{}
			w.n.Store(n)
			_, err := zvhd2.Encode(ctx, w, d, d.size)
			require.ErrorIs(t, err, errBroken)
		}
	})
	t.Run("short source", func(t *testing.T) {
		_, err := zvhd2.Encode(ctx, io.Discard, d, d.size+4*mib)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
	t.Run("size", func(t *testing.T) {
		for _, size := range []int64{0, -1, math.MaxInt64, zvhd2.MaxDiskSize + 1} {
			_, err := zvhd2.Encode(ctx, io.Discard, d, size)
			require.ErrorIs(t, err, fs.ErrInvalid)
			require.Zero(t, zvhd2.MaxSize(size))
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		_, err := zvhd2.Encode(ctx, io.Discard, d, d.size)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("extents", func(t *testing.T) {
		_, err := zvhd2.Encode(ctx, io.Discard, badSource{disk: d, start: 5, end: 5}, d.size)
		require.ErrorIs(t, err, zvhd2.ErrSource)
		_, err = zvhd2.Encode(ctx, io.Discard, badSource{disk: d, err: errBroken}, d.size)
		require.ErrorIs(t, err, errBroken)
	})
	t.Run("options", func(t *testing.T) {
		for _, opt := range []zvhd2.Option{
			zvhd2.WithLevel(0), zvhd2.WithLevel(6), zvhd2.WithWorkers(0), zvhd2.WithWorkers(1025),
			zvhd2.WithTimestamp(time.Unix(0, 0)), zvhd2.WithCacheSize(-1),
		} {
			_, err := zvhd2.Encode(ctx, io.Discard, d, d.size, opt)
			require.ErrorIs(t, err, fs.ErrInvalid)
		}
	})
}

func TestParseLevel(t *testing.T) {
	t.Parallel()
	for l := zvhd2.LevelFastest; l <= zvhd2.LevelAuto; l++ {
		got, err := zvhd2.ParseLevel(l.String())
		require.NoError(t, err)
		require.Equal(t, l, got)
	}
	_, err := zvhd2.ParseLevel("none")
	require.ErrorIs(t, err, fs.ErrInvalid)
}
