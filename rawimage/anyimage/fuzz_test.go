package anyimage_test

import (
	"archive/zip"
	"bytes"
	"io"
	"testing"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
)

// FuzzOpenAny: no panic and no hang on any compressed file, and nothing beyond
// the bound.
func FuzzOpenAny(f *testing.F) {
	disk := bytes.Repeat([]byte{1, 2, 3, 0}, 2000)
	for _, b := range [][]byte{gz(f, disk), lz(f, disk), zst(f, disk, true), join(skippable, zst(f, disk, false)),
		zipped(f, zip.Deflate, file{"disk.raw", disk}), gz(f, tarred(f, file{"disk.raw", disk}))} {
		f.Add(b)
	}
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := rawimage.New(bytes.NewReader(b), int64(len(b)), rawimage.WithAnyFormat())
		if err != nil {
			return
		}
		d, s, err := anyimage.OpenFileAny(t.Context(), im, anyimage.WithMaxSize(limit), anyimage.WithTempDir(t.TempDir()))
		if err != nil {
			return
		}
		if s != nil {
			if n, _ := io.Copy(io.Discard, s); n > limit {
				t.Fatalf("%d bytes", n)
			}
			_ = s.Close()
			return
		}
		if d.Size() > limit {
			t.Fatalf("%d bytes", d.Size())
		}
		_ = d.Close()
	})
}
