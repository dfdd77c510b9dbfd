package zvhd2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

func stream(d *disk) io.Reader { return io.NewSectionReader(d, 0, d.size) }

func TestEncodeStream(t *testing.T) {
	t.Parallel()
	odd := newDisk(5*mib+1, map[int64][]byte{1000: text(1, 5000), 5 * mib: {1}})
	small := newDisk(1, map[int64][]byte{0: {7}})
	empty := newDisk(64*mib+100, nil)
	for name, d := range map[string]*disk{"sample": sampleDisk(), "odd": odd, "small": small, "empty": empty} {
		t.Run(name, func(t *testing.T) {
			for _, workers := range []int{1, 2, 7} {
				var want, got bytes.Buffer
				opts := fixed(zvhd2.WithWorkers(workers))
				a, err := zvhd2.Encode(context.Background(), &want, extents{d}, d.size, opts...)
				require.NoError(t, err)
				b, err := zvhd2.EncodeStream(context.Background(), &got, stream(d), d.size, opts...)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want.Bytes(), got.Bytes()))
				require.Equal(t, a, b)
			}
		})
	}
}

func TestEncodeStreamBadSource(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	failure := errors.New("no more of this")
	for name, c := range map[string]struct {
		r    io.Reader
		size int64
		is   error
	}{
		"short":        {stream(d), d.size + 1, io.ErrUnexpectedEOF},
		"short blocks": {stream(d), d.size + 8*mib, io.ErrUnexpectedEOF},
		"long":         {stream(d), d.size - 1, zvhd2.ErrSource},
		"failing":      {io.MultiReader(io.LimitReader(stream(d), 3*mib), iotest.ErrReader(failure)), d.size, failure},
		"fails at end": {io.MultiReader(stream(d), iotest.ErrReader(failure)), d.size, failure},
		"no size":      {stream(d), 0, fs.ErrInvalid},
		"huge":         {stream(d), zvhd2.MaxDiskSize + 1, fs.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := zvhd2.EncodeStream(context.Background(), io.Discard, c.r, c.size)
			require.ErrorIs(t, err, c.is)
		})
	}
	// A failing output ends it too, in the midst of endless zeros.
	_, err := zvhd2.EncodeStream(context.Background(), brokenWriter{failure}, io.MultiReader(bytes.NewReader(text(1, 100)), endless{}), 1<<45)
	require.ErrorIs(t, err, failure)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// brokenWriter takes the header and nothing else.
type brokenWriter struct{ err error }

func (w brokenWriter) Write(p []byte) (int, error) {
	if len(p) == 4096 && bytes.HasPrefix(p, []byte("z2strm")) {
		return len(p), nil
	}
	return 0, w.err
}

func TestEncodeStreamCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("enough")
	_, err := zvhd2.EncodeStream(ctx, io.Discard, endless{}, 1<<45, zvhd2.WithProgress(func(p zvhd2.Progress) {
		if p.Skipped > 0 {
			cancel(reason)
		}
	}))
	require.ErrorIs(t, err, reason)
}
