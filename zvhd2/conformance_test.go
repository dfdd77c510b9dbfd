package zvhd2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/zvhd2"
)

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectortest.WithExt(t, ".zvhd2") {
		t.Run(v.File, func(t *testing.T) {
			r := open(t, v.Data)
			require.Equal(t, v.Size, r.Size())
			require.EqualValues(t, len(v.Blocks), r.Info().StoredBlocks)
			n := 0
			for b, err := range r.Blocks() {
				require.NoError(t, err)
				require.Equal(t, v.Blocks[n].Block, b.Number)
				n++
			}
			require.Equal(t, len(v.Blocks), n)
			v.Check(t, r)
		})
	}
}

// le reads little-endian numbers of 1, 4 and 8 bytes.
func le(b []byte, off, n int) uint64 {
	switch n {
	case 1:
		return uint64(b[off])
	case 4:
		return uint64(binary.LittleEndian.Uint32(b[off:]))
	}
	return binary.LittleEndian.Uint64(b[off:])
}

type wireField struct {
	off, size int
	name      string
	want      uint64
}

// checkFooter compares one footer page with the format note, every byte of it.
func checkFooter(page []byte, want []wireField, uuid [16]byte) error {
	known := make([]bool, 4096)
	mark := func(off, n int) {
		for i := off; i < off+n; i++ {
			known[i] = true
		}
	}
	if string(page[0:8]) != "z2strm\x00\x00" || string(page[28:32]) != "tap\x00" || !bytes.Equal(page[68:84], uuid[:]) {
		return fmt.Errorf("cookie, creator or uuid")
	}
	mark(0, 8)
	mark(28, 4)
	mark(68, 16)
	var sum uint32
	for i, c := range page[:512] {
		if i < 64 || i > 67 {
			sum += uint32(c)
		}
	}
	want = append(want, wireField{64, 4, "checksum", uint64(^sum)})
	for _, f := range want {
		if got := le(page, f.off, f.size); got != f.want {
			return fmt.Errorf("%s is %#x, want %#x", f.name, got, f.want)
		}
		mark(f.off, f.size)
	}
	for i, c := range page {
		if !known[i] && c != 0 {
			return fmt.Errorf("byte %d is %#x, want 0", i, c)
		}
	}
	return nil
}

// checkContainer reads a canonical container of a disk front to back, without
// the package under test, and returns the payload of each stored block. It
// knows the format from its note alone.
func checkContainer(t testing.TB, file []byte, diskSize int64, uuid [16]byte, stamp, geometry uint64) map[int64][]byte {
	t.Helper()
	require.Zero(t, len(file)%4096)
	orig := (diskSize + 511) / 512 * 512
	blocks := (orig + 2097151) / 2097152
	common := []wireField{
		{8, 4, "features", 2}, {12, 4, "version", 0x10000}, {16, 8, "data offset", 1<<64 - 1},
		{24, 4, "timestamp", stamp}, {32, 4, "creator version", 0x10004}, {40, 8, "orig_size", uint64(orig)},
		{48, 8, "curr_size", uint64((orig + 1<<30 - 1) >> 30 << 30)}, {56, 4, "geometry", geometry},
		{60, 4, "disk type", 4}, {87, 1, "zvhd2_version", 1}, {88, 4, "block_size", 2097152},
		{92, 4, "max_blk_num", uint64(blocks)}, {141, 1, "compress_method", 1},
	}
	with := func(more ...wireField) []wireField { return append(append([]wireField{}, common...), more...) }
	require.NoError(t, checkFooter(file[:4096], with(), uuid), "header")

	payloads := make(map[int64][]byte)
	index := []byte{}
	pos, last := 4096, int64(-1)
	for string(file[pos:pos+6]) != "z2strm" {
		require.Equal(t, "hwstream bg\x00", string(file[pos:pos+12]), "record at %d", pos)
		n, b := int(le(file, pos+12, 4)), int64(le(file, pos+16, 4))
		require.Equal(t, make([]byte, 28), file[pos+20:pos+48], "reserved of record at %d", pos)
		length := (48 + n + 4 + 4095) / 4096 * 4096
		require.Greater(t, b, last)
		require.Less(t, b, blocks)
		payloads[b], last = file[pos+48:pos+48+n], b
		require.Equal(t, make([]byte, length-52-n), file[pos+48+n:pos+length-4], "padding of record at %d", pos)
		require.Equal(t, "end\x00", string(file[pos+length-4:pos+length]))
		index = binary.LittleEndian.AppendUint64(index, uint64(pos))
		index = binary.LittleEndian.AppendUint32(index, uint32(b))
		index = binary.LittleEndian.AppendUint32(index, uint32(length))
		pos += length
	}
	stored := len(payloads)
	require.NoError(t, checkFooter(file[pos:pos+4096], with(wireField{136, 4, "non_zero_blk_num", uint64(stored)}), uuid), "end of data")

	isegs, bsegs := (stored+32767)/32768, int(blocks+32767)/32768
	ilba := pos + 4096
	blba := ilba + isegs*524288
	foot := blba + bsegs*4096
	require.Equal(t, foot+4096, len(file))
	require.Equal(t, index, file[ilba:ilba+len(index)])
	require.Equal(t, make([]byte, isegs*524288-len(index)), file[ilba+len(index):blba])
	for b := range int64(bsegs * 32768) {
		_, want := payloads[b]
		require.Equal(t, want, file[int64(blba)+b/8]>>(b%8)&1 == 1, "bit %d", b)
	}
	require.NoError(t, checkFooter(file[foot:], with(
		wireField{96, 8, "index_lba", uint64(ilba)}, wireField{104, 8, "bitmap_lba", uint64(blba)},
		wireField{112, 4, "index_size", uint64(isegs * 524288)}, wireField{116, 4, "bitmap_size", uint64(bsegs * 4096)},
		wireField{120, 4, "index_seg_size", 524288}, wireField{124, 4, "bitmap_seg_size", 4096},
		wireField{128, 4, "index_seg_num", uint64(isegs)}, wireField{132, 4, "bitmap_seg_num", uint64(bsegs)},
		wireField{136, 4, "non_zero_blk_num", uint64(stored)},
	), uuid), "index footer")
	return payloads
}

// checkFrame checks that a payload is what the format requires: a single
// zstd frame with its content size, without checksum and dictionary.
func checkFrame(t testing.TB, p []byte) {
	t.Helper()
	require.Equal(t, []byte{0x28, 0xb5, 0x2f, 0xfd}, p[:4])
	require.EqualValues(t, 0xa0, p[4], "descriptor: 4-byte content size, single segment, no checksum, no dictionary")
	require.EqualValues(t, 2097152, le(p, 5, 4))
	pos := 9
	for lastBlock := false; !lastBlock; {
		h := uint32(p[pos]) | uint32(p[pos+1])<<8 | uint32(p[pos+2])<<16
		n := int(h >> 3)
		if h>>1&3 == 1 {
			n = 1
		}
		lastBlock, pos = h&1 == 1, pos+3+n
	}
	require.Equal(t, len(p), pos, "one frame and nothing after it")
}

// stampOf is the tests' time in seconds since 2000.
const stampOf = 1767323045 - 946684800

func TestEncodeConformance(t *testing.T) {
	t.Parallel()
	huge := newDisk(70<<30, map[int64][]byte{10 * mib: text(1, 100), 69 << 30: noise(1, 3*mib)})
	for _, c := range []struct {
		name     string
		disk     *disk
		geometry uint64 // worked out by hand from the note
		blocks   []int64
	}{
		{"sample", sampleDisk(), 632<<16 | 4<<8 | 17, []int64{0, 1, 3, 4, 5, 7, 10}},
		{"one sector", newDisk(1, map[int64][]byte{0: {9}}), 4<<8 | 17, []int64{0}},
		{"zeros", newDisk(8*mib, nil), 0xf0<<16 | 4<<8 | 17, nil},
		{"two segments", huge, 35980<<16 | 16<<8 | 255, []int64{5, 35328, 35329}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := encoded(t, extents{c.disk}, c.disk.size)
			require.LessOrEqual(t, int64(len(file)), zvhd2.MaxSize(c.disk.size))
			got := checkContainer(t, file, c.disk.size, testUUID, stampOf, c.geometry)
			require.Len(t, got, len(c.blocks))
			for _, b := range c.blocks {
				require.Contains(t, got, b)
				checkFrame(t, got[b])
				want := make([]byte, 2*mib)
				_, _ = c.disk.ReadAt(want, b*2*mib)
				require.True(t, bytes.Equal(want, unzstd(t, got[b])), "block %d", b)
			}
		})
	}
}

// unzstd decompresses by the zstd command.
func unzstd(t testing.TB, payload []byte) []byte {
	t.Helper()
	if _, err := exec.LookPath("zstd"); err != nil {
		missingOracle(t, "zstd command: %v", err)
	}
	cmd := exec.Command("zstd", "-d", "-c", "-q")
	cmd.Stdin = bytes.NewReader(payload)
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}
