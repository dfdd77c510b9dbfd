package zvhd2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/sparse/sparsetest"
	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/zvhd2"
)

// A mistake of the caller is fs.ErrInvalid and never blamed on a file.
func TestMisuse(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := sampleDisk()
	file := encoded(t, d, d.size)
	in, size := bytes.NewReader(file), int64(len(file))
	r := open(t, file)
	s := func() *zvhd2.StreamReader {
		s, err := zvhd2.NewStreamReader(bytes.NewReader(file))
		require.NoError(t, err)
		return s
	}
	for name, f := range map[string]func() error{
		"NewReader nil":          func() error { _, err := zvhd2.NewReader(nil, size); return err },
		"NewReader size":         func() error { _, err := zvhd2.NewReader(in, -1); return err },
		"NewReader option":       func() error { _, err := zvhd2.NewReader(in, size, zvhd2.WithLevel(1)); return err },
		"NewStreamReader nil":    func() error { _, err := zvhd2.NewStreamReader(nil); return err },
		"NewStreamReader option": func() error { _, err := zvhd2.NewStreamReader(in, zvhd2.WithWorkers(1)); return err },
		"Verify nil":             func() error { _, err := zvhd2.Verify(ctx, nil, size); return err },
		"Verify size":            func() error { _, err := zvhd2.Verify(ctx, in, -4096); return err },
		"Verify reference":       func() error { _, err := zvhd2.Verify(ctx, in, size, zvhd2.WithReference(nil, 5)); return err },
		"Verify reference size":  func() error { _, err := zvhd2.Verify(ctx, in, size, zvhd2.WithReference(in, -5)); return err },
		"Verify option":          func() error { _, err := zvhd2.Verify(ctx, in, size, zvhd2.WithUUID([16]byte{})); return err },
		"Optimize nil":           func() error { _, err := zvhd2.Optimize(ctx, io.Discard, nil, size); return err },
		"Optimize size":          func() error { _, err := zvhd2.Optimize(ctx, io.Discard, in, -1); return err },
		"Optimize output":        func() error { _, err := zvhd2.Optimize(ctx, nil, in, size); return err },
		"Optimize option":        func() error { _, err := zvhd2.Optimize(ctx, io.Discard, in, size, zvhd2.WithCacheSize(1)); return err },
		"Recover nil":            func() error { _, err := zvhd2.Recover(ctx, io.Discard, nil, size); return err },
		"Recover size":           func() error { _, err := zvhd2.Recover(ctx, io.Discard, in, -1); return err },
		"Recover output":         func() error { _, err := zvhd2.Recover(ctx, nil, in, size); return err },
		"Encode nil":             func() error { _, err := zvhd2.Encode(ctx, io.Discard, nil, 5); return err },
		"Encode output":          func() error { _, err := zvhd2.Encode(ctx, nil, d, d.size); return err },
		"Encode option":          func() error { _, err := zvhd2.Encode(ctx, io.Discard, d, d.size, zvhd2.WithMaxDiskSize(5)); return err },
		"EncodeStream nil":       func() error { _, err := zvhd2.EncodeStream(ctx, io.Discard, nil, 5); return err },
		"Decode nil":             func() error { return r.Decode(ctx, nil) },
		"Decode option":          func() error { return r.Decode(ctx, &plainWriterAt{}, zvhd2.WithLevel(1)) },
		"DecodeStream nil":       func() error { return r.DecodeStream(ctx, nil) },
		"DecodeStream limit":     func() error { return r.DecodeStream(ctx, io.Discard, zvhd2.WithMaxDiskSize(0)) },
		"StreamReader nil":       func() error { return s().DecodeStream(ctx, nil) },
		"StreamReader option":    func() error { return s().Decode(ctx, &plainWriterAt{}, zvhd2.WithWorkers(1)) },
		"ReadAt negative":        func() error { _, err := r.ReadAt(nil, -1); return errors.Join(err, negativeRead(r)) },
		"NextData negative":      func() error { _, _, err := r.NextData(-1); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := f()
			require.ErrorIs(t, err, fs.ErrInvalid)
			_, isFile := errors.AsType[*zvhd2.FormatError](err)
			require.False(t, isFile)
		})
	}
}

func negativeRead(r io.ReaderAt) error {
	_, err := r.ReadAt(make([]byte, 1), -1)
	return err
}

// A stream that has been read from does not decode what is left as if it were all.
func TestConsumedStream(t *testing.T) {
	t.Parallel()
	for _, v := range []vectortest.Vector{vectortest.Named(t, "gaps.zvhd"), vectortest.Named(t, "gaps.zvhd2")} {
		consume := map[string]func(*zvhd2.StreamReader) error{
			"Next":         func(s *zvhd2.StreamReader) error { _, _, err := s.Next(); return err },
			"DecodeStream": func(s *zvhd2.StreamReader) error { return s.DecodeStream(t.Context(), io.Discard) },
			"Decode": func(s *zvhd2.StreamReader) error {
				return s.Decode(t.Context(), &plainWriterAt{b: make([]byte, v.Size)})
			},
			"cancelled": func(s *zvhd2.StreamReader) error {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := s.DecodeStream(ctx, io.Discard); !errors.Is(err, context.Canceled) {
					return errors.New("not cancelled")
				}
				return nil
			},
		}
		for name, f := range consume {
			s, err := zvhd2.NewStreamReader(bytes.NewReader(v.Data))
			require.NoError(t, err)
			require.NoError(t, f(s), name)
			var out bytes.Buffer
			require.ErrorIs(t, s.DecodeStream(t.Context(), &out), zvhd2.ErrConsumed, name)
			require.Zero(t, out.Len())
			require.ErrorIs(t, s.Decode(t.Context(), &plainWriterAt{}), zvhd2.ErrConsumed, name)
		}
	}
}

// A small file that claims a large disk is not decoded unless the caller allows it.
func TestMaxDiskSize(t *testing.T) {
	t.Parallel()
	const size = 1<<40 + 512
	file := encoded(t, extents{newDisk(size, nil)}, size)
	r := open(t, file)
	s, err := zvhd2.NewStreamReader(bytes.NewReader(file))
	require.NoError(t, err)
	for _, err := range []error{
		r.Decode(t.Context(), &plainWriterAt{}), r.DecodeStream(t.Context(), io.Discard),
		s.Decode(t.Context(), &plainWriterAt{}), s.DecodeStream(t.Context(), io.Discard),
	} {
		require.ErrorIs(t, err, zvhd2.ErrUnsupported)
		fe, ok := errors.AsType[*zvhd2.FormatError](err)
		require.True(t, ok)
		require.Equal(t, "orig_size", fe.Field)
	}
	require.NoError(t, s.Decode(t.Context(), sparseWriter{}, zvhd2.WithMaxDiskSize(size)), "a refusal consumes nothing")
	require.NoError(t, r.Decode(t.Context(), sparseWriter{}, zvhd2.WithMaxDiskSize(size)))
	small := open(t, encoded(t, newDisk(5*mib, nil), 5*mib))
	require.ErrorIs(t, small.DecodeStream(t.Context(), io.Discard, zvhd2.WithMaxDiskSize(4*mib)), zvhd2.ErrUnsupported)
}

type sparseWriter struct{ io.WriterAt }

func (sparseWriter) Sparse() bool { return true }

// Buffers are bounded by what the file justifies, however many workers there are.
func TestMemoryOfManyWorkers(t *testing.T) { // not parallel: it counts allocations
	if raceEnabled {
		t.Skip("the race detector multiplies memory")
	}
	d := newDisk(320*mib, map[int64][]byte{0: {1}, 300 * mib: {1}})
	file := builder{size: d.size, block: 32 * mib, payload: payloads["one frame"]}.build(t, d)
	workers := zvhd2.WithWorkers(1024)
	for name, f := range map[string]func() error{
		"Verify": func() error {
			_, err := zvhd2.Verify(t.Context(), bytes.NewReader(file), int64(len(file)), workers)
			return err
		},
		"Verify with a reference": func() error {
			_, err := zvhd2.Verify(t.Context(), bytes.NewReader(file), int64(len(file)), workers, zvhd2.WithReference(extents{d}, d.size))
			return err
		},
		"Decode":       func() error { return open(t, file).Decode(t.Context(), sparseWriter{discardAt{}}, workers) },
		"DecodeStream": func() error { return open(t, file).DecodeStream(t.Context(), io.Discard, workers) },
		"Optimize": func() error {
			_, err := zvhd2.Optimize(t.Context(), io.Discard, bytes.NewReader(file), int64(len(file)), workers)
			return err
		},
		"Recover": func() error {
			_, err := zvhd2.Recover(t.Context(), io.Discard, bytes.NewReader(file), int64(len(file)), workers)
			return err
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.NoError(t, f(), name)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(512*mib), name)
	}
}

type discardAt struct{}

func (discardAt) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func TestReaderFollowsTheSparseContract(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	r := open(t, encoded(t, d, d.size))
	sparsetest.Check(t, r, r.Size())
}
