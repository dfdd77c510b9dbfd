package infer_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/bitmap/infer"
)

// Whatever the file says, Layouts ends, with layouts that reproduce it or with
// none. The disk has as many blocks with data as the fuzzer gives it places.
func FuzzLayouts(f *testing.F) {
	f.Add(make([]byte, 4096), int64(64*mib), []byte{})
	f.Add([]byte("MF01\x00\x00\x20\x00\x71"), int64(16*mib), []byte{0, 16, 24, 32})
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0}, int64(16*mib), []byte{1})
	f.Add([]byte{0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0}, int64(16*mib+1), []byte{3})
	f.Fuzz(func(t *testing.T, mf []byte, size int64, places []byte) {
		size = min(max(size, 1), gib)
		b, err := bitmap.New(size, 4*kib)
		require.NoError(t, err)
		for _, p := range places {
			b.Set(b.Blocks()*int64(p)/256, true)
		}
		res, err := infer.Layouts(t.Context(), b, bytes.NewReader(mf))
		var fe *bitmap.FormatError
		if errors.As(err, &fe) {
			return
		}
		require.NoError(t, err)
		checkResult(t, drawn{b}, mf, res)
	})
}
