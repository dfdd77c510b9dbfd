package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/rawimage"
)

const block = 2 << 20

// vector is an entry of the manifest: every block not in it is zero.
type vector struct {
	File   string `json:"file"`
	Size   int64  `json:"raw_size"`
	Blocks []struct {
		Block int64  `json:"block"`
		Hash  string `json:"sha256"`
	} `json:"stored_blocks"`
}

// TestConvertVectors decodes the reference files, which are kept outside the
// module, and holds every block against their manifest.
func TestConvertVectors(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("FASTIMAGE_VECTORS")
	if dir == "" {
		dir = "../../../../../../shared/vectors"
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil && os.Getenv("CI") == "" && os.Getenv("FASTIMAGE_REQUIRE_ORACLES") == "" {
		t.Skip("no reference vectors")
	}
	require.NoError(t, err)
	var vectors []vector
	require.NoError(t, json.Unmarshal(text, &vectors))
	require.NotEmpty(t, vectors)
	for _, v := range vectors {
		t.Run(v.File, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "disk.raw")
			r := fastimage(t, nil, "convert", "-q", filepath.Join(dir, v.File), out)
			require.Zero(t, r.code, r.stderr)
			checkVector(t, v, out)
		})
	}
}

func checkVector(t *testing.T, v vector, name string) {
	t.Helper()
	img, err := rawimage.Open(name)
	require.NoError(t, err)
	defer img.Close()
	require.Equal(t, v.Size, img.Size())
	bm, err := bitmap.Scan(context.Background(), img, img.Size())
	require.NoError(t, err)
	require.EqualValues(t, len(v.Blocks), bm.Count(), "blocks that are not zero")
	for _, b := range v.Blocks {
		buf := make([]byte, block)
		if _, err := img.ReadAt(buf, b.Block*block); err != io.EOF {
			require.NoError(t, err)
		}
		sum := sha256.Sum256(buf)
		require.Equal(t, b.Hash, hex.EncodeToString(sum[:]), "block %d", b.Block)
	}
}
