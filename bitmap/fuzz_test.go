package bitmap_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
)

// Whatever the bytes and the layout's text say, Decode ends with a bitmap of
// the disk or an error; what it has read, it writes and reads again.
func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, 4096), bitmap.DefaultLayout().String(), int64(64<<20))
	f.Add([]byte{0xff}, bitmap.DefaultLayout().String(), int64(1))
	list := bitmap.DefaultLayout()
	list.Encoding, list.Width, list.Unit, list.Pad = bitmap.List, 8, 1, 1
	f.Add(make([]byte, 16), list.String(), int64(8<<20))
	f.Fuzz(func(t *testing.T, data []byte, text string, size int64) {
		l, err := bitmap.ParseLayout(text)
		if err != nil || size > 1<<40 || l.BlockSize < 4096 {
			return
		}
		bm, err := bitmap.Decode(bytes.NewReader(data), size, l)
		if err != nil {
			return
		}
		require.Equal(t, size, bm.Size())
		var b bytes.Buffer
		if bm.Encode(&b, l) != nil {
			return // a list may hold what its unit or width cannot
		}
		again, err := bitmap.Decode(&b, size, l)
		require.NoError(t, err)
		require.True(t, bm.Equal(again))
	})
}

// Whatever the file says, Infer ends, with layouts that reproduce it or with
// none. The disk has as many blocks with data as the fuzzer gives it places.
func FuzzInfer(f *testing.F) {
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
		res, err := bitmap.Infer(t.Context(), drawn{b}, size, bytes.NewReader(mf))
		var fe *bitmap.FormatError
		if errors.As(err, &fe) {
			return
		}
		require.NoError(t, err)
		checkInference(t, drawn{b}, mf, res)
	})
}
