package quickimport_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/rawimage"
)

// mfOf writes the real disk's bitmap file in a layout; edit may spoil it.
func mfOf(t *testing.T, l bitmap.Layout, edit func(*bitmap.Bitmap)) (name string, data []byte) {
	t.Helper()
	img, err := rawimage.Open(realDisk)
	require.NoError(t, err)
	defer img.Close()
	bm, err := bitmap.Scan(t.Context(), img, img.Size(), bitmap.WithBlockSize(l.BlockSize))
	require.NoError(t, err)
	if edit != nil {
		edit(bm)
	}
	var b bytes.Buffer
	require.NoError(t, bm.Encode(&b, l))
	name = filepath.Join(t.TempDir(), "vendor.mf")
	require.NoError(t, os.WriteFile(name, b.Bytes(), 0o600))
	return name, b.Bytes()
}

func TestImportWithAGivenBitmapFile(t *testing.T) {
	other := bitmap.DefaultLayout()
	other.MSBFirst, other.BlockSize, other.Pad = true, 64<<10, 1
	forget := func(b *bitmap.Bitmap) { b.Set(0, false) } // block 0 holds the partition table
	tests := map[string]struct {
		layout  bitmap.Layout
		edit    func(*bitmap.Bitmap)
		opts    []any
		refused bool
	}{
		"default layout":                {layout: bitmap.DefaultLayout()},
		"other layout, told":            {layout: other, opts: []any{quickimport.WithBitmapLayout(other)}},
		"other layout, unknown":         {layout: other},
		"a block is missing":            {layout: bitmap.DefaultLayout(), edit: forget, refused: true},
		"other layout, a block missing": {layout: other, edit: forget, opts: []any{quickimport.WithBitmapLayout(other)}, refused: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv := imstest.NewServer(t)
			mf, want := mfOf(t, tt.layout, tt.edit)
			opts := append([]any{quickimport.WithFormat(quickimport.FormatRaw), quickimport.WithBitmapFile(mf)}, tt.opts...)
			_, err := cloudClient(t, srv, opts...).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			if tt.refused {
				var lost *bitmap.CoverageError
				require.ErrorAs(t, err, &lost)
				nothingLeft(t, srv)
				return
			}
			require.NoError(t, err)
			got, err := srv.ReadObject(srv.Bucket(), "demo-1.mf")
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}
