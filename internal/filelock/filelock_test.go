package filelock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/filelock"
)

func TestAcquire(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "lock")
	l, err := filelock.Acquire(name)
	require.NoError(t, err)
	_, err = filelock.Acquire(name)
	require.ErrorIs(t, err, filelock.ErrHeld)
	var held *filelock.HeldError
	require.True(t, errors.As(err, &held))
	require.Equal(t, os.Getpid(), held.PID)
	require.NoError(t, l.Release())
	again, err := filelock.Acquire(name)
	require.NoError(t, err)
	require.NoError(t, again.Release())
}

func TestAcquireNowhere(t *testing.T) {
	t.Parallel()
	_, err := filelock.Acquire(filepath.Join(t.TempDir(), "missing", "lock"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, (*filelock.Lock)(nil).Release())
}
