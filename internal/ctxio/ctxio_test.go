package ctxio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/ctxio"
)

func TestReader(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	for name, r := range map[string]io.Reader{
		"plain": bytes.NewReader(data), "half": iotest.HalfReader(bytes.NewReader(data)), "data with EOF": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		got, err := io.ReadAll(ctxio.NewReader(ctx, r))
		cancel()
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(data, got), name)
	}
	boom := errors.New("boom")
	r := ctxio.NewReader(t.Context(), io.MultiReader(bytes.NewReader(data[:10]), iotest.ErrReader(boom)))
	got, err := io.ReadAll(r)
	require.ErrorIs(t, err, boom)
	require.Equal(t, data[:10], got)
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, boom, "again")
	_, err = io.ReadAll(ctxio.NewReader(t.Context(), lazy{}))
	require.ErrorIs(t, err, io.ErrNoProgress)
}

type lazy struct{}

func (lazy) Read([]byte) (int, error) { return 0, nil }

// TestBlocked: what blocks is left behind as soon as the context ends.
func TestBlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		cause := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		started := time.Now()
		time.AfterFunc(time.Second, func() { cancel(cause) })
		r := ctxio.NewReader(ctx, pr)
		_, err := r.Read(make([]byte, 10))
		require.ErrorIs(t, err, cause)
		_, err = r.Read(make([]byte, 10))
		require.ErrorIs(t, err, cause)
		_, err = ctxio.Do(ctx, func() (int, error) { return 1, nil })
		require.ErrorIs(t, err, cause)

		ctx, cancel = context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		_, err = ctxio.Do(ctx, func() (int, error) { return pr.Read(make([]byte, 10)) })
		require.ErrorIs(t, err, cause)
		require.Equal(t, 2*time.Second, time.Since(started))
		require.NoError(t, pw.Close())
	})
}
