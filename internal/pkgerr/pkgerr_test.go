package pkgerr_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/pkgerr"
)

const (
	low  = pkgerr.Package("low")
	high = pkgerr.Package("high")
	none = pkgerr.Package("")
)

var errGone = low.New("gone")

func TestNamesOnce(t *testing.T) {
	t.Parallel()
	path := &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}
	for _, c := range []struct {
		err         error
		text, plain string
	}{
		{errGone, "low: gone", "gone"},
		{low.Errorf("read %d: %w", 7, path), "low: read 7: open x: file does not exist", "read 7: open x: file does not exist"},
		{high.Errorf("open: %w", low.Errorf("read: %w", errGone)), "high: open: read: gone", "open: read: gone"},
		{high.Errorf("open: %w", none.Errorf("part 1: %w", errGone)), "high: open: part 1: gone", "open: part 1: gone"},
		{high.Errorf("%w: %v", errGone, path), "high: gone: open x: file does not exist", "gone: open x: file does not exist"},
		{high.Errorf("both: %w", errors.Join(errGone, path)), "high: both: gone\nopen x: file does not exist", "both: gone\nopen x: file does not exist"},
		{fmt.Errorf("plain: %w", path), "plain: open x: file does not exist", "plain: open x: file does not exist"},
	} {
		require.EqualError(t, c.err, c.text)
		require.Equal(t, c.plain, pkgerr.Text(c.err))
	}
	both := high.Errorf("%w: %w", errGone, path)
	require.ErrorIs(t, both, errGone)
	require.ErrorIs(t, both, fs.ErrNotExist)
	found, ok := errors.AsType[*fs.PathError](high.Errorf("x: %w", both))
	require.True(t, ok)
	require.Same(t, path, found)
}
