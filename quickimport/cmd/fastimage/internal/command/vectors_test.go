package command

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/rawimage"
)

// TestConvertVectors decodes the reference files and compares every block with
// their manifest.
func TestConvertVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectortest.All(t) {
		t.Run(v.File, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, v.File), filepath.Join(dir, "disk.raw")
			require.NoError(t, os.WriteFile(in, v.Data, 0o600))
			r := fastimage(t, nil, "convert", "-q", in, out)
			require.Zero(t, r.code, r.stderr)
			img, err := rawimage.Open(out)
			require.NoError(t, err)
			defer img.Close()
			require.Equal(t, v.Size, img.Size())
			v.Check(t, img)
		})
	}
}
