package imageerr_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/imageerr"
)

func TestError(t *testing.T) {
	t.Parallel()
	format := imageerr.Format("qcow2")
	for _, c := range []struct {
		err  *imageerr.Error
		kind error
		text string
	}{
		{format.Damaged(48, "L1 table", "%d entries", 7), imageerr.ErrDamaged, "qcow2: L1 table at offset 48: 7 entries"},
		{format.Truncated(imageerr.None, "cluster", "past the end"), imageerr.ErrTruncated, "qcow2: cluster: past the end"},
		{format.Unsupported(4, "version", "version 9"), imageerr.ErrUnsupported, "qcow2: version at offset 4: version 9"},
		{format.New(imageerr.ErrMissingFile, imageerr.None, "backing file", "%w", fs.ErrNotExist), imageerr.ErrMissingFile, "qcow2: backing file: file does not exist"},
		{format.Damaged(8, "payload", "short").InBlock(3), imageerr.ErrDamaged, "qcow2: block 3: payload at offset 8: short"},
		{&imageerr.Error{Format: "mf", Offset: imageerr.None, Block: imageerr.None, Kind: imageerr.ErrEncrypted}, imageerr.ErrEncrypted, "mf: encrypted"},
	} {
		err := fmt.Errorf("open: %w", c.err)
		require.Equal(t, c.text, c.err.Error())
		for _, kind := range []error{imageerr.ErrDamaged, imageerr.ErrTruncated, imageerr.ErrUnsupported, imageerr.ErrEncrypted, imageerr.ErrMissingFile} {
			require.Equal(t, kind == c.kind, errors.Is(err, kind), "%v is %v", err, kind)
		}
		found, ok := errors.AsType[*imageerr.Error](err)
		require.True(t, ok)
		require.Same(t, c.err, found)
	}
	require.ErrorIs(t, format.New(imageerr.ErrMissingFile, 0, "", "%w", fs.ErrNotExist), fs.ErrNotExist)
}
