package zvhd2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/zvhd2"
)

func verify(t testing.TB, file []byte, opts ...zvhd2.Option) *zvhd2.Report {
	t.Helper()
	rep, err := zvhd2.Verify(context.Background(), bytes.NewReader(file), int64(len(file)), opts...)
	require.NoError(t, err)
	return rep
}

func TestVerifyVectors(t *testing.T) {
	for _, v := range vectortest.All(t) {
		t.Run(v.File, func(t *testing.T) {
			rep := verify(t, v.Data)
			require.Empty(t, rep.Problems)
			require.True(t, rep.OK())
			require.EqualValues(t, len(v.Blocks), rep.Checked)
			for _, n := range rep.Notes {
				// Its checksum after the records is stale and its padding is
				// what the buffer held before.
				require.Contains(t, []string{"checksum", "record.padding"}, n.Field)
			}
		})
	}
}

func TestVerifyAgainst(t *testing.T) {
	d := sampleDisk()
	file := encoded(t, d, d.size)
	rep := verify(t, file, zvhd2.WithAgainst(extents{d}, d.size))
	require.True(t, rep.OK(), "%v", rep.Problems)
	require.Empty(t, rep.Notes)

	d.parts[7*mib+1000][5]++  // in a stored block
	d.parts[4*mib][mib+3] = 1 // in a zero block
	rep = verify(t, file, zvhd2.WithAgainst(extents{d}, d.size))
	require.Len(t, rep.Problems, 2)
	require.Equal(t, []int64{5*mib + 3, 7*mib + 1005}, []int64{rep.Problems[0].Offset, rep.Problems[1].Offset})
	require.Equal(t, zvhd2.KindContent, rep.Problems[0].Kind)
	require.EqualValues(t, 2, rep.Problems[0].Block)
	require.False(t, verify(t, file, zvhd2.WithAgainst(d, d.size-2048)).OK())

	for _, v := range vectortest.WithExt(t, ".zvhd") {
		require.False(t, verify(t, v.Data, zvhd2.WithAgainst(d, d.size)).OK())
		s, err := zvhd2.NewStreamReader(bytes.NewReader(v.Data))
		require.NoError(t, err)
		var raw bytes.Buffer
		require.NoError(t, s.DecodeTo(context.Background(), &raw))
		require.True(t, verify(t, v.Data, zvhd2.WithAgainst(bytes.NewReader(raw.Bytes()), v.Size)).OK())
	}
}

func TestVerifyListsEveryProblem(t *testing.T) {
	d := sampleDisk()
	file := encoded(t, d, d.size)
	var offs []int64
	for b, err := range open(t, file).Blocks() {
		require.NoError(t, err)
		offs = append(offs, b.FileOffset)
	}
	file[offs[1]+2] ^= 1  // prefix of block 1
	file[offs[3]+48] ^= 1 // payload of block 4
	file[offs[6]+25] ^= 1 // reserved of block 10
	rep := verify(t, file)
	require.Len(t, rep.Problems, 3)
	for i, want := range []struct {
		kind   zvhd2.Kind
		block  int64
		offset int64
	}{
		{zvhd2.KindRecord, 1, offs[1]}, {zvhd2.KindPayload, 4, offs[3] + 48}, {zvhd2.KindRecord, 10, offs[6] + 20},
	} {
		p := rep.Problems[i]
		require.Equal(t, want.kind, p.Kind)
		require.Equal(t, want.block, p.Block)
		require.Equal(t, want.offset, p.Offset)
	}
}

// TestVerifyIndexWithoutBitmap damages the index of a file whose bitmap is of
// no use.
func TestVerifyIndexWithoutBitmap(t *testing.T) {
	d := sampleDisk()
	for _, full := range []bool{false, true} {
		file := builder{size: d.size + 324, block: 2 * mib, full: full, payload: payloads["one frame"]}.build(t, d)
		bitmap := len(file) - 8192
		index := bitmap - 512<<10
		file[bitmap] ^= 1
		rep := verify(t, file)
		require.Len(t, rep.Problems, 1)
		require.Equal(t, zvhd2.KindBitmap, rep.Problems[0].Kind)

		file[index+16+8] ^= 64 // block 1
		file[bitmap-1] = 1     // unused
		rep = verify(t, file)
		require.Len(t, rep.Problems, 3)
		require.Equal(t, zvhd2.KindIndex, rep.Problems[0].Kind)
		require.EqualValues(t, index+16, rep.Problems[0].Offset)
		require.EqualValues(t, 65, rep.Problems[0].Block)
	}
}

// TestCorruption changes each field of each structure, with the checksum put
// right, and holds what opening, reading and verifying make of it.
func TestCorruption(t *testing.T) {
	d := newDisk(21*mib, map[int64][]byte{0: text(1, 100), 4 * mib: text(2, 100), 8 * mib: text(3, 100)})
	good := encoded(t, d, d.size)
	end := len(good) - 4096
	bitmap, index := end-4096, end-4096-512<<10
	eod := index - 4096
	type change struct {
		name string
		at   int // bytes to flip
		sum  int // structure to put the checksum right of; -1: none
		err  error
		open bool // refused at opening, else when read or verified
	}
	var table []change
	for _, s := range []struct {
		name string
		at   int
	}{{"header", 0}, {"footer", end}, {"end of data", eod}} {
		for _, f := range []struct {
			name string
			off  int
			err  error
		}{
			{"cookie", 0, zvhd2.ErrFormat}, {"version", 14, zvhd2.ErrUnsupported}, {"timestamp", 24, zvhd2.ErrFormat},
			{"orig_size", 41, zvhd2.ErrFormat}, {"orig_size high", 47, zvhd2.ErrFormat}, {"curr_size", 55, zvhd2.ErrFormat},
			{"disk type", 60, zvhd2.ErrUnsupported}, {"uuid", 70, zvhd2.ErrFormat}, {"zvhd2_version", 87, zvhd2.ErrUnsupported},
			{"block_size", 89, zvhd2.ErrUnsupported}, {"max_blk_num", 92, zvhd2.ErrFormat},
			{"index_contains_zero_blk", 140, zvhd2.ErrFormat}, {"compress_method", 141, zvhd2.ErrUnsupported},
		} {
			if f.name == "cookie" && s.at == end {
				f.err = zvhd2.ErrTruncated
			}
			table = append(table, change{s.name + " " + f.name, s.at + f.off, s.at, f.err, s.at != eod})
		}
		for off := 6; off < 512 && s.at != eod; off += 31 {
			table = append(table, change{fmt.Sprintf("%s byte %d", s.name, off), s.at + off, -1, zvhd2.ErrChecksum, true})
		}
		for off, name := range map[int]string{
			8: "features", 16: "data offset", 56: "geometry", 84: "saved", 85: "hidden", 86: "align_64", 142: "reserved", 511: "reserved's end",
		} {
			table = append(table, change{s.name + " " + name, s.at + off, s.at, zvhd2.ErrFormat, false})
		}
		table = append(table, change{s.name + " padding", s.at + 600, -1, zvhd2.ErrFormat, false},
			change{s.name + " padding's end", s.at + 4095, -1, zvhd2.ErrFormat, false})
	}
	for off, name := range map[int]string{
		96: "index_lba", 103: "index_lba high", 104: "bitmap_lba", 111: "bitmap_lba high", 112: "index_size", 116: "bitmap_size",
		120: "index_seg_size", 124: "bitmap_seg_size", 128: "index_seg_num", 132: "bitmap_seg_num", 136: "non_zero_blk_num", 139: "non_zero_blk_num high",
	} {
		table = append(table, change{"footer " + name, end + off, end, zvhd2.ErrFormat, true},
			change{"header " + name, off, 0, zvhd2.ErrFormat, false},
			change{"end of data " + name, eod + off, eod, zvhd2.ErrFormat, false})
	}
	table = append(table,
		change{"index offset", index + 1, -1, zvhd2.ErrFormat, false},
		change{"index offset unaligned", index, -1, zvhd2.ErrFormat, false},
		change{"index offset high", index + 7, -1, zvhd2.ErrFormat, false},
		change{"index block", index + 16 + 8, -1, zvhd2.ErrFormat, false},
		change{"index length", index + 12, -1, zvhd2.ErrFormat, false},
		change{"index length high", index + 15, -1, zvhd2.ErrFormat, false},
		change{"index unused", index + 16*3, -1, zvhd2.ErrFormat, false},
		change{"bitmap", bitmap, -1, zvhd2.ErrFormat, false},
		change{"bitmap past the end", bitmap + 2, -1, zvhd2.ErrFormat, true},
		change{"record prefix", 4096, -1, zvhd2.ErrFormat, false},
		change{"record payload size", 4096 + 13, -1, zvhd2.ErrFormat, false},
		change{"record payload size high", 4096 + 15, -1, zvhd2.ErrFormat, false},
		change{"record block", 4096 + 16, -1, zvhd2.ErrFormat, false},
		change{"record reserved", 4096 + 30, -1, zvhd2.ErrFormat, false},
		change{"payload", 4096 + 48, -1, zvhd2.ErrPayload, false},
		change{"record postfix", 8192 - 4, -1, zvhd2.ErrFormat, false},
	)
	for i, c := range table {
		if raceEnabled && i%4 > 0 {
			continue // for time: one in four
		}
		t.Run(c.name, func(t *testing.T) {
			file := bytes.Clone(good)
			file[c.at] ^= 0x12
			if c.sum >= 0 {
				fixSum(file[c.sum:])
			}
			_, err := zvhd2.NewReader(bytes.NewReader(file), int64(len(file)))
			if c.open {
				var fe *zvhd2.FormatError
				require.ErrorAs(t, err, &fe)
				require.ErrorIs(t, err, c.err)
				require.Contains(t, err.Error(), "zvhd2: ")
			} else {
				require.NoError(t, err)
			}
			rep := verify(t, file)
			require.False(t, rep.OK())
			found := false
			for _, p := range rep.Problems {
				require.NotEmpty(t, p.Field)
				found = found || errors.Is(p.Err, c.err)
			}
			require.True(t, found, "%v", rep.Problems)
			if c.sum < 0 && c.open {
				return // one checksum is like another
			}
			_, err = zvhd2.Recover(context.Background(), io.Discard, bytes.NewReader(file), int64(len(file)))
			if c.name != "header cookie" {
				require.NoError(t, err)
			}
		})
	}
}

// TestVerifyNotes changes what tells one writer from another, which is no problem.
func TestVerifyNotes(t *testing.T) {
	d := newDisk(5*mib, map[int64][]byte{0: text(1, 100)})
	for off, field := range map[int]string{6: "cookie", 28: "creator_application", 33: "creator_version", 36: "creator_os"} {
		file := encoded(t, d, d.size)
		file[off] ^= 1
		fixSum(file)
		rep := verify(t, file)
		require.Empty(t, rep.Problems)
		require.Len(t, rep.Notes, 1)
		require.Equal(t, field, rep.Notes[0].Field)
	}
}

// TestVerifyStreamCorruption changes structures of the vendor's ZVHD.
func TestVerifyStreamCorruption(t *testing.T) {
	for _, v := range vectortest.WithExt(t, ".zvhd") {
		end := len(v.Data) - 4096
		for _, at := range []int{0, 9, 17, 41, 57, 61, 70, 84, 200, 3000, 4096, 4096 + 13, 4096 + 16, 4096 + 30, 4096 + 60,
			end, end + 9, end + 17, end + 41, end + 57, end + 61, end + 70, end + 84, end + 200, end + 3000} {
			file := bytes.Clone(v.Data)
			file[at] ^= 0x12
			if at%4096 < 512 && at < 4096 || at >= end {
				fixSum(file[at/4096*4096:])
			}
			rep := verify(t, file)
			require.False(t, rep.OK(), "%s byte %d", v.File, at)
		}
	}
}

func TestOverlap(t *testing.T) {
	d := newDisk(6*mib, map[int64][]byte{0: text(1, 6*mib)})
	file := encoded(t, d, d.size)
	end := len(file) - 4096
	index := end - 4096 - 512<<10
	// Block 1 is said to start inside block 0.
	binary.LittleEndian.PutUint64(file[index+16:], 8192)
	r := open(t, file)
	_, err := r.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, zvhd2.ErrFormat)
	require.ErrorContains(t, err, "overlaps")
	require.False(t, verify(t, file).OK())
}
