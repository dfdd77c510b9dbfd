package bitmap_test

import (
	"bytes"
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
