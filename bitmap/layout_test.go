package bitmap_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
)

func encode(t testing.TB, b *bitmap.Bitmap, l bitmap.Layout) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, b.Encode(&buf, l))
	return buf.Bytes()
}

func layout(t testing.TB, s string) bitmap.Layout {
	t.Helper()
	l, err := bitmap.ParseLayout(s)
	require.NoError(t, err, s)
	return l
}

// The default layout, byte by byte from the format note: LSB first, 1 is data,
// whole segments of 4096 bytes for 32768 blocks each.
func TestDefaultLayout(t *testing.T) {
	for _, c := range []struct {
		size  int64
		bytes int
	}{{1, 4096}, {2 * mib, 4096}, {32768 * 2 * mib, 4096}, {32768*2*mib + 1, 8192}, {0, 0}} {
		b, err := bitmap.New(c.size, bitmap.DefaultBlockSize)
		require.NoError(t, err)
		require.Equal(t, make([]byte, c.bytes), append([]byte{}, encode(t, b, bitmap.DefaultLayout())...))
	}
	b, err := bitmap.New(100*2*mib, 2*mib)
	require.NoError(t, err)
	for _, i := range []int64{0, 9, 64, 99} {
		b.Set(i, true)
	}
	want := make([]byte, 4096)
	want[0], want[1], want[8], want[12] = 1, 2, 1, 8
	require.Equal(t, want, encode(t, b, bitmap.DefaultLayout()))
}

func TestLayoutBytes(t *testing.T) {
	const blocks = "#.##......##"
	size := int64(12*512 - 100)
	for _, c := range []struct{ layout, want string }{
		{"bits,block=512,pad=1", "0d0c"},
		{"bits,block=512,pad=1,order=msb", "b030"},
		{"bits,block=512,pad=1,data=0", "f203"},
		{"bits,block=512,pad=4,data=0,fill=1", "f2f3ffff"},
		{"bits,block=512,pad=1,order=msb,data=0,fill=1", "4fcf"},
		{"bits,block=512,pad=1,header=hex:4d46+size:u32le+blocks:u16be", "4d46" + "9c170000" + "000c" + "0d0c"},
		{"bits,block=512,pad=4,header=hex:4d", "4d0d0c0000"},
		{"bits,block=512,pad=4/file,header=hex:4d", "4d0d0c00"},
		{"bits,block=512,pad=1,header=sectors:u16le+block:u16le+data:u16le+entries:u16le", "0c00" + "0002" + "0500" + "0200" + "0d0c"},
		{"runs,block=512", "00000000" + "01000000" + "01000000" + "02000000" + "06000000" + "02000000"},
		{"runs,block=512,first=data,number=u32be,unit=512", "00000001" + "00000001" + "00000002" + "00000006" + "00000002"},
		{"runs,block=512,first=data,number=u32be,unit=1,tail=clip", "00000200" + "00000200" + "00000400" + "00000c00" + "0000039c"},
		{"list,block=512", "00000000" + "01000000" + "02000000" + "02000000" + "0a000000" + "02000000"},
		{"list,block=512,number=u64be,unit=1,tail=clip", "0000000000000000" + "0000000000000200" + "0000000000000400" + "0000000000000400" + "0000000000001400" + "000000000000039c"},
		{"list,block=512,of=holes,pad=32,header=entries:u32le", "02000000" + "01000000" + "01000000" + "04000000" + "06000000" + strings.Repeat("00", 16)},
	} {
		t.Run(c.layout, func(t *testing.T) {
			b := parse(t, blocks, 512, size)
			l := layout(t, c.layout)
			got := encode(t, b, l)
			require.Equal(t, c.want, hex.EncodeToString(got))
			back, err := bitmap.Decode(bytes.NewReader(got), size, l)
			require.NoError(t, err)
			require.True(t, b.Equal(back))
		})
	}
}

var someLayouts = []string{
	"default", "bits,block=4K,order=msb", "bits,block=512,data=0,pad=1", "bits,block=4K,data=0,fill=1,pad=512/file,header=hex:00ff+data:u64be",
	"bits,block=1M,order=msb,data=0,fill=1,pad=16", "runs,block=4K", "runs,block=512,first=data,number=u64le,unit=1,pad=64",
	"runs,block=64K,unit=512,tail=clip,header=entries:u32be+size:u64le", "list,block=4K,number=u32be", "list,block=512,of=holes,unit=1,tail=clip",
	"list,block=4K,number=u64le,unit=512,pad=4096/file,header=hex:4d46",
}

func TestLayoutRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, text := range someLayouts {
		l := layout(t, text)
		require.True(t, l.Equal(layout(t, l.String())), "%s: %s", text, l)
		for range 60 {
			b, err := bitmap.New(rng.Int64N(200)*l.BlockSize+rng.Int64N(l.BlockSize), l.BlockSize)
			require.NoError(t, err)
			for i := range b.Blocks() {
				b.Set(i, rng.IntN(3) == 0)
			}
			data := encode(t, b, l)
			back, err := bitmap.Decode(iotest.HalfReader(bytes.NewReader(data)), b.Size(), l)
			require.NoError(t, err, "%s, %d bytes", text, b.Size())
			require.True(t, b.Equal(back), text)

			if len(data) > 0 { // truncated, or longer
				_, err = bitmap.Decode(bytes.NewReader(data[:len(data)-1]), b.Size(), l)
				var fe *bitmap.FormatError
				require.ErrorAs(t, err, &fe, text)
			}
			_, err = bitmap.Decode(bytes.NewReader(append(data, 7)), b.Size(), l)
			require.ErrorIs(t, err, bitmap.ErrDamaged, text)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	le := func(n ...uint32) []byte {
		var p []byte
		for _, v := range n {
			p = binary.LittleEndian.AppendUint32(p, v)
		}
		return p
	}
	for _, c := range []struct {
		name, layout string
		data         []byte
		offset       int64
		field        string
	}{
		{"empty", "bits,block=512,pad=1", nil, 0, "bits"},
		{"bit after the end", "bits,block=512,pad=1", []byte{0xff, 0x1f}, 1, "padding"},
		{"bit of padding", "bits,block=512,pad=4", []byte{0, 0, 1, 0}, 2, "padding"},
		{"no padding", "bits,block=512,pad=4", []byte{0, 0, 0}, 3, "padding"},
		{"trailing", "bits,block=512,pad=1", []byte{0, 0, 0}, 2, "padding"},
		{"header constant", "bits,block=512,pad=1,header=hex:4d46", []byte("MGxx"), 0, "header"},
		{"header size", "bits,block=512,pad=1,header=hex:4d+size:u16le", []byte("M\x00\x17\x00\x00"), 1, "header"},
		{"header data", "bits,block=512,pad=1,header=data:u16le", []byte{2, 0, 1, 0}, 0, "header"},
		{"runs short", "runs,block=512", le(0, 3), 8, "runs"},
		{"runs long", "runs,block=512", le(0, 13), 4, "runs"},
		{"runs go on", "runs,block=512", le(0, 12, 1), 8, "runs"},
		{"runs of nothing", "runs,block=512", le(1, 0, 11), 0, "runs"},
		{"runs in a block", "runs,block=512,unit=1", le(1, 6143), 0, "runs"},
		{"list overlap", "list,block=512", le(0, 4, 3, 2), 8, "list"},
		{"list order", "list,block=512", le(5, 1, 3, 2), 8, "list"},
		{"list past the end", "list,block=512", le(11, 2), 4, "list"},
		{"list offset", "list,block=512", le(0xffffffff, 2), 0, "list"},
		{"list unmerged", "list,block=512", le(0, 1, 1, 1), 4, "list"},
		{"list odd", "list,block=512", le(0, 1, 2), 8, "list"},
		{"list length", "list,block=512,number=u64le,unit=1", bytes.Repeat([]byte{0xff}, 16), 0, "list"},
		{"list too long", "list,block=512", bytes.Repeat([]byte{1}, 4096), 114, "list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := bitmap.Decode(bytes.NewReader(c.data), 12*512, layout(t, c.layout))
			var fe *bitmap.FormatError
			require.ErrorAs(t, err, &fe)
			truncated := c.name == "empty" || c.name == "no padding"
			require.Equal(t, truncated, errors.Is(err, bitmap.ErrTruncated))
			require.Equal(t, !truncated, errors.Is(err, bitmap.ErrDamaged))
			require.Equal(t, c.offset, fe.Offset, "%v", err)
			require.Equal(t, c.field, fe.Field)
		})
	}
	boom := errors.New("boom")
	for _, l := range someLayouts {
		_, err := bitmap.Decode(iotest.ErrReader(boom), gib, layout(t, l))
		require.ErrorIs(t, err, boom)
		require.NotErrorIs(t, err, bitmap.ErrDamaged)
	}
	_, err := bitmap.Decode(strings.NewReader(""), -1, bitmap.DefaultLayout())
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = bitmap.Decode(strings.NewReader(""), 1, bitmap.Layout{})
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestEncodeRefuses(t *testing.T) {
	b := parse(t, "#", 512, 512)
	require.ErrorIs(t, b.Encode(&bytes.Buffer{}, bitmap.DefaultLayout()), fs.ErrInvalid)
	require.ErrorIs(t, b.Encode(&bytes.Buffer{}, bitmap.Layout{}), fs.ErrInvalid)

	big, err := bitmap.New(8*gib, 2*mib)
	require.NoError(t, err)
	big.Set(4095, true)
	require.ErrorIs(t, big.Encode(&bytes.Buffer{}, layout(t, "list,block=2M,unit=1")), fs.ErrInvalid)
	require.NoError(t, big.Encode(&bytes.Buffer{}, layout(t, "list,block=2M,unit=512")))
	require.Error(t, big.Encode(failing{}, bitmap.DefaultLayout()))
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("boom") }

func TestParseLayoutRefuses(t *testing.T) {
	for _, s := range []string{
		"bitz", "bits,block", "bits,block=3M", "bits,block=2M,block=2M", "bits,order=xsb", "bits,unit=1", "runs,order=lsb",
		"list,number=u16le", "list,unit=3", "bits,pad=3", "bits,pad=99999999999G", "bits,header=foo:u32le", "bits,header=hex:4",
		"bits,header=hex:", "bits,header=size", "bits,block=-1", "bits,fill=2", "runs,fill=1", "bits,x=1", ",", "bits,block=2MM",
	} {
		_, err := bitmap.ParseLayout(s)
		require.ErrorIs(t, err, fs.ErrInvalid, s)
		var le *bitmap.LayoutError
		require.ErrorAs(t, err, &le)
	}
	require.Equal(t, "bits,block=2M,order=lsb,data=1,pad=4096,fill=0", bitmap.DefaultLayout().String())
	require.True(t, layout(t, "").Equal(bitmap.DefaultLayout()))
	require.Equal(t, int64(2*mib), layout(t, "list,unit=block,block=2MiB").Unit)
}

func TestConstantText(t *testing.T) {
	l := layout(t, "bits,header=hex:4d46+hex:00*4090+hex:0102*3")
	require.Equal(t, int64(2+4090+6), l.HeaderLen())
	require.Equal(t, "bits,block=2M,order=lsb,data=1,pad=4096,fill=0,header=hex:4d46+hex:00*4090+hex:010201020102", l.String())
	require.True(t, layout(t, l.String()).Equal(l))
	require.True(t, layout(t, "bits,header=hex:0000+hex:00*6").Equal(layout(t, "bits,header=hex:00*8")))
	for _, s := range []string{"hex:00*", "hex:00*0", "hex:00*-1", "hex:*4", "hex:00*1048577", "hex:00*99999999999999", "hex:00*1048576+hex:00"} {
		_, err := bitmap.ParseLayout("bits,header=" + s)
		require.ErrorIs(t, err, fs.ErrInvalid, s)
	}
}
