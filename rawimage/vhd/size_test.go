package vhd_test

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/vhd"
)

const (
	geometrySize = 3 * 4 * 17 * 512 // cylinders, heads, sectors
	currentSize  = geometrySize + 7*512
)

// footer is one with two sizes.
func footer(creator string, kind uint32) []byte {
	b := make([]byte, 512)
	copy(b, "conectix")
	be := binary.BigEndian
	be.PutUint64(b[16:], 512)
	copy(b[28:], creator)
	be.PutUint64(b[48:], currentSize)
	be.PutUint16(b[56:], 3)
	b[58], b[59] = 4, 17
	be.PutUint32(b[60:], kind)
	seal(b, 0, 512, 64)
	return b
}

// dynamic is a disk of blocks of 4 KiB, of which those with content are stored.
func dynamic(creator string, blocks map[int][]byte) []byte {
	const blockSize, entries, tableAt = 4096, (currentSize + 4095) / 4096, 1536
	b := append(footer(creator, 3), make([]byte, 1024)...)
	be := binary.BigEndian
	copy(b[512:], "cxsparse")
	be.PutUint64(b[512+16:], tableAt)
	be.PutUint32(b[512+28:], entries)
	be.PutUint32(b[512+32:], blockSize)
	seal(b, 512, 1024, 36)
	table := bytes.Repeat([]byte{0xff}, 512)
	b = append(b, table...)
	for i, data := range blocks {
		be.PutUint32(b[tableAt+4*i:], uint32(len(b)/512))
		b = append(b, make([]byte, 512+blockSize)...)
		copy(b[len(b)-blockSize:], data)
	}
	return append(b, footer(creator, 3)...)
}

// mbr is a table with a partition up to end.
func mbr(end int64) []byte {
	b := make([]byte, 512)
	b[450], b[510], b[511] = 0x83, 0x55, 0xaa
	binary.LittleEndian.PutUint32(b[454:], 1)
	binary.LittleEndian.PutUint32(b[458:], uint32(end/512-1))
	return b
}

// gpt is a table of a disk of size bytes.
func gpt(size int64) []byte {
	b := make([]byte, 1024)
	b[450], b[510], b[511] = 0xee, 0x55, 0xaa
	copy(b[512:], "EFI PART")
	binary.LittleEndian.PutUint64(b[512+32:], uint64(size/512-1))
	return b
}

func fixed(creator string, size int64, start []byte) []byte {
	b := make([]byte, size)
	copy(b, start)
	return append(b, footer(creator, 2)...)
}

// A file with two sizes has the one that it proves, or else the one that its
// creator means.
func TestTwoSizes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		file []byte
		want vhd.SizeSource
	}{
		{"Virtual PC", dynamic("vpc ", nil), vhd.SizeGeometry},
		{"Virtual Server", dynamic("vs  ", nil), vhd.SizeGeometry},
		{"qemu-img", dynamic("qemu", nil), vhd.SizeGeometry},
		{"Hyper-V", dynamic("win ", nil), vhd.SizeCurrent},
		{"VirtualBox", dynamic("vbox", nil), vhd.SizeCurrent},
		{"unknown", dynamic("\x00\x01\x02\x03", nil), vhd.SizeCurrent},
		{"block in both", dynamic("vpc ", map[int][]byte{0: {1}}), vhd.SizeGeometry},
		{"block past the geometry", dynamic("vpc ", map[int][]byte{geometrySize/4096 + 1: {1}}), vhd.SizeCurrent},
		{"partition past the geometry", dynamic("vpc ", map[int][]byte{0: mbr(currentSize)}), vhd.SizeCurrent},
		{"partition in the geometry", dynamic("vpc ", map[int][]byte{0: mbr(geometrySize)}), vhd.SizeGeometry},
		{"GPT past the geometry", dynamic("qemu", map[int][]byte{0: gpt(currentSize)}), vhd.SizeCurrent},
		{"GPT of the geometry", dynamic("qemu", map[int][]byte{0: gpt(geometrySize)}), vhd.SizeGeometry},
		{"fixed, length is current", fixed("vpc ", currentSize, nil), vhd.SizeCurrent},
		{"fixed, length is geometry", fixed("vbox", geometrySize, nil), vhd.SizeGeometry},
		{"fixed, another length", fixed("qemu", currentSize+512, nil), vhd.SizeGeometry},
		{"fixed, another length, partition", fixed("qemu", currentSize+512, mbr(currentSize)), vhd.SizeCurrent},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := vhd.NewReader(bytes.NewReader(c.file), int64(len(c.file)))
			require.NoError(t, err)
			i := r.Info()
			require.Equal(t, c.want, i.SizeSource, i.SizeReason)
			require.NotEmpty(t, i.SizeReason)
			require.EqualValues(t, geometrySize, i.GeometrySize)
			require.EqualValues(t, currentSize, i.CurrentSize)
			for source, size := range map[vhd.SizeSource]int64{vhd.SizeGeometry: geometrySize, vhd.SizeCurrent: currentSize} {
				if source == c.want {
					require.Equal(t, size, r.Size())
				}
				if int64(len(c.file)) < size {
					continue
				}
				forced, err := vhd.NewReader(bytes.NewReader(c.file), int64(len(c.file)), vhd.WithSize(source))
				require.NoError(t, err)
				require.Equal(t, size, forced.Size())
			}
		})
	}
	_, err := vhd.NewReader(bytes.NewReader(nil), 0, vhd.WithSize("x"))
	require.ErrorIs(t, err, fs.ErrInvalid)
}
