package filelock_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/filelock"
)

func TestAcquire(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "x.lock")
	l, err := filelock.Acquire(name)
	require.NoError(t, err)
	_, err = filelock.Acquire(name)
	held, ok := errors.AsType[*filelock.HeldError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, &filelock.HeldError{File: name, PID: os.Getpid()}, held)
	require.NoError(t, l.Release())
	l, err = filelock.Acquire(name)
	require.NoError(t, err)
	require.NoError(t, l.Release())

	_, err = filelock.Acquire(filepath.Join(name, "no", "such"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The file is removed and created again by each holder; no two hold it at once.
func TestExclusive(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "x.lock")
	var holders, got atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				l, err := filelock.Acquire(name)
				if err != nil {
					continue
				}
				got.Add(1)
				if holders.Add(1) != 1 {
					t.Error("two holders at once")
				}
				holders.Add(-1)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Positive(t, got.Load())
}
