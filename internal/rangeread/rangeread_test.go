package rangeread_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/rangeread"
)

func content(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(p)
	return p
}

func reader(t *testing.T, data []byte) *rangeread.Reader {
	r := rangeread.New(context.Background(), int64(len(data)), func(_ context.Context, p []byte, off int64) error {
		if copy(p, data[off:]) != len(p) {
			return errors.New("asked for more than there is")
		}
		return nil
	})
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func TestReadAt(t *testing.T) {
	t.Parallel()
	data := content(5<<20 + 123)
	r := reader(t, data)
	var wg sync.WaitGroup
	for _, n := range []int{1, 4096, 65535, 65536, 100_000, 3 << 20} {
		for _, off := range []int{0, 1, 65530, 1<<20 + 7, len(data) - 5, len(data) - 1} {
			wg.Go(func() {
				p := make([]byte, n)
				k, err := r.ReadAt(p, int64(off))
				want := data[off:min(off+n, len(data))]
				if k != len(want) || !bytes.Equal(p[:k], want) || (k < n) != (err == io.EOF) {
					t.Errorf("%d bytes at %d: %d, %v", n, off, k, err)
				}
			})
		}
	}
	wg.Wait()
	_, err := r.ReadAt(make([]byte, 1), int64(len(data)))
	require.Equal(t, io.EOF, err)
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

// Small reads close to each other are one request, large ones are exact.
func TestRequests(t *testing.T) {
	t.Parallel()
	r := reader(t, content(8<<20))
	for off := int64(0); off < 64<<10; off += 512 {
		_, err := r.ReadAt(make([]byte, 512), off)
		require.NoError(t, err)
	}
	n, size := r.Requests()
	require.Equal(t, [2]int64{1, 64 << 10}, [2]int64{n, size})
	_, err := r.ReadAt(make([]byte, 3<<20+1), 1000)
	require.NoError(t, err)
	n, size = r.Requests()
	require.Equal(t, [2]int64{5, 64<<10 + 3<<20 + 1}, [2]int64{n, size})
}

func TestFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	fail := true
	r := rangeread.New(context.Background(), 1<<20, func(context.Context, []byte, int64) error {
		if fail {
			return broken
		}
		return nil
	})
	_, err := r.ReadAt(make([]byte, 10), 0)
	require.ErrorIs(t, err, broken)
	fail = false
	_, err = r.ReadAt(make([]byte, 10), 0)
	require.NoError(t, err, "a failure is not kept")
}

// Close ends a read whose request never does.
func TestClose(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	r := rangeread.New(context.Background(), 1<<20, func(ctx context.Context, _ []byte, _ int64) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	})
	done := make(chan error)
	go func() {
		_, err := r.ReadAt(make([]byte, 10), 0)
		done <- err
	}()
	<-started
	require.NoError(t, r.Close())
	require.ErrorIs(t, <-done, rangeread.ErrClosed)
	_, err := r.ReadAt(make([]byte, 10), 0)
	require.ErrorIs(t, err, rangeread.ErrClosed)
}
