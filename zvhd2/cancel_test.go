package zvhd2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/zvhd2"
)

// stuck is a source that blocks from its from-th byte on, until the test ends,
// and says when it does.
type stuck struct {
	r       *bytes.Reader
	from    int64
	once    sync.Once
	blocked chan struct{}
	free    <-chan struct{}
}

func newStuck(t *testing.T, b []byte, from int64) *stuck {
	t.Helper()
	free := make(chan struct{})
	t.Cleanup(func() { close(free) })
	return &stuck{r: bytes.NewReader(b), from: from, blocked: make(chan struct{}), free: free}
}

func (s *stuck) block() {
	s.once.Do(func() { close(s.blocked) })
	<-s.free
}

func (s *stuck) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > s.from {
		s.block()
	}
	return s.r.ReadAt(p, off)
}

func (s *stuck) Read(p []byte) (int, error) {
	if s.r.Size()-int64(s.r.Len()) >= s.from {
		s.block()
	}
	return s.r.Read(p)
}

// Every function ends when its context does, while its source is blocked: at the
// start, among the records, and in the tables.
func TestCancelWhileSourceBlocks(t *testing.T) {
	t.Parallel()
	d := newDisk(16*mib, map[int64][]byte{0: text(1, 16*mib)})
	raw := content(t, d, d.size)
	file := encoded(t, d, d.size)
	zvhd := vectortest.Named(t, "gaps.zvhd").Data
	type source = *stuck
	for name, c := range map[string]struct {
		data []byte
		from int64
		f    func(context.Context, source) error
	}{
		"Encode": {raw, 5 * mib, func(ctx context.Context, s source) error {
			_, err := zvhd2.Encode(ctx, io.Discard, s, d.size)
			return err
		}},
		"EncodeStream": {raw, 5 * mib, func(ctx context.Context, s source) error {
			_, err := zvhd2.EncodeStream(ctx, io.Discard, s, d.size)
			return err
		}},
		"Verify at the header": {file, 0, verifyErr(int64(len(file)))},
		"Verify":               {file, 8192, verifyErr(int64(len(file)))},
		"Verify reference": {raw, 5 * mib, func(ctx context.Context, s source) error {
			_, err := zvhd2.Verify(ctx, bytes.NewReader(file), int64(len(file)), zvhd2.WithReference(s, d.size))
			return err
		}},
		"Verify ZVHD": {zvhd, 100_000, verifyErr(int64(len(zvhd)))},
		"Optimize": {file, 8192, func(ctx context.Context, s source) error {
			_, err := zvhd2.Optimize(ctx, io.Discard, s, int64(len(file)))
			return err
		}},
		"Recover": {file, 8192, func(ctx context.Context, s source) error {
			_, err := zvhd2.Recover(ctx, io.Discard, s, int64(len(file)))
			return err
		}},
		"StreamReader.Decode": {file, 8192, func(ctx context.Context, s source) error {
			r, err := zvhd2.NewStreamReader(s)
			require.NoError(t, err)
			return r.Decode(ctx, &plainWriterAt{b: make([]byte, d.size)})
		}},
		"StreamReader.DecodeStream": {file, 8192, func(ctx context.Context, s source) error {
			r, err := zvhd2.NewStreamReader(s)
			require.NoError(t, err)
			return r.DecodeStream(ctx, io.Discard)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reason := errors.New("the user has had enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			s := newStuck(t, c.data, c.from)
			go func() { <-s.blocked; cancel(reason) }()
			require.ErrorIs(t, c.f(ctx, s), reason)
		})
	}
}

func verifyErr(size int64) func(context.Context, *stuck) error {
	return func(ctx context.Context, s *stuck) error {
		_, err := zvhd2.Verify(ctx, s, size)
		return err
	}
}

// A Reader opens before its file blocks.
func TestCancelDecodeWhileFileBlocks(t *testing.T) {
	t.Parallel()
	d := newDisk(16*mib, map[int64][]byte{0: text(1, 16*mib)})
	file := encoded(t, d, d.size)
	for name, decode := range map[string]func(context.Context, *zvhd2.Reader) error{
		"Decode": func(ctx context.Context, r *zvhd2.Reader) error {
			return r.Decode(ctx, &plainWriterAt{b: make([]byte, d.size)})
		},
		"DecodeStream": func(ctx context.Context, r *zvhd2.Reader) error { return r.DecodeStream(ctx, io.Discard) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			s := newStuck(t, file, int64(len(file))) // not yet
			r, err := zvhd2.NewReader(s, int64(len(file)))
			require.NoError(t, err)
			s.from = 8192
			go func() { <-s.blocked; cancel() }()
			require.ErrorIs(t, decode(ctx, r), context.Canceled)
		})
	}
}

// A failing output ends the run too, though the source is blocked.
func TestFailingOutputWhileSourceBlocks(t *testing.T) {
	t.Parallel()
	d := newDisk(16*mib, map[int64][]byte{0: text(1, 16*mib)})
	failure := errors.New("no space")
	_, err := zvhd2.EncodeStream(t.Context(), brokenWriter{failure}, newStuck(t, content(t, d, d.size), 8*mib), d.size)
	require.ErrorIs(t, err, failure)
	_, err = zvhd2.Encode(t.Context(), brokenWriter{failure}, newStuck(t, content(t, d, d.size), 8*mib), d.size)
	require.ErrorIs(t, err, failure)
}

// After a cancelled Decode has returned, nothing is written any more.
func TestNoWriteAfterCancel(t *testing.T) {
	t.Parallel()
	d := newDisk(64*mib, map[int64][]byte{0: bytes.Repeat([]byte{1}, 64*mib)})
	r := open(t, encoded(t, d, d.size))
	ctx, cancel := context.WithCancel(t.Context())
	w := &lateWriter{t: t, cancel: cancel}
	require.ErrorIs(t, r.Decode(ctx, w, zvhd2.WithWorkers(8)), context.Canceled)
	w.mu.Lock()
	w.returned = true
	w.mu.Unlock()
}

// lateWriter cancels at the first write and complains about those after the end.
type lateWriter struct {
	t      *testing.T
	cancel func()

	mu       sync.Mutex // guards returned
	returned bool
}

func (w *lateWriter) WriteAt(p []byte, _ int64) (int, error) {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.returned {
		w.t.Error("written after the end")
	}
	return len(p), nil
}
