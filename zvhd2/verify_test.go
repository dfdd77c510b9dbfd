package zvhd2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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
	t.Parallel()
	for _, v := range vectortest.All(t) {
		t.Run(v.File, func(t *testing.T) {
			rep := verify(t, v.Data)
			require.Empty(t, rep.Problems)
			require.True(t, rep.OK())
			require.EqualValues(t, len(v.Blocks), rep.Checked)
			for _, n := range rep.Notes {
				// Its checksum after the records is stale, and its padding is
				// what the buffer held before.
				require.Contains(t, []string{"checksum", "record.padding", "padding"}, n.Field)
				require.Equal(t, n.Field == "padding", strings.HasPrefix(v.File, "dirty-") && n.Field == "padding")
			}
		})
	}
}

func TestVerifyReference(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	file := encoded(t, d, d.size)
	rep := verify(t, file, zvhd2.WithReference(extents{d}, d.size))
	require.True(t, rep.OK(), "%v", rep.Problems)
	require.True(t, rep.Compared)
	require.Empty(t, rep.Notes)

	d.parts[7*mib+1000][5]++          // in a stored block
	d.parts[4*mib][mib+3] = 1         // in the zero block before it
	d.parts[21*mib+700-1] = []byte{0} // in the last
	rep = verify(t, file, zvhd2.WithReference(extents{d}, d.size))
	require.Len(t, rep.Problems, 2)
	for i, want := range []zvhd2.Problem{{Block: 2, Count: 2, Offset: 5*mib + 3}, {Block: 10, Count: 1, Offset: 21*mib + 699}} {
		p := rep.Problems[i]
		require.Equal(t, zvhd2.KindContent, p.Kind)
		require.Equal(t, [3]int64{want.Block, want.Count, want.Offset}, [3]int64{p.Block, p.Count, p.Offset})
	}
	require.False(t, verify(t, file, zvhd2.WithReference(d, d.size-2048)).OK())

	v := vectortest.Named(t, "gaps.zvhd")
	require.False(t, verify(t, v.Data, zvhd2.WithReference(d, d.size)).OK())
	s, err := zvhd2.NewStreamReader(bytes.NewReader(v.Data))
	require.NoError(t, err)
	var raw bytes.Buffer
	require.NoError(t, s.DecodeStream(t.Context(), &raw))
	rep = verify(t, v.Data, zvhd2.WithReference(bytes.NewReader(raw.Bytes()), v.Size))
	require.True(t, rep.OK())
	require.True(t, rep.Compared)
}

// A large disk that is another one altogether is a handful of problems.
func TestVerifyReferenceOfAnotherDisk(t *testing.T) {
	t.Parallel()
	parts := map[int64][]byte{}
	for i := range int64(4000) {
		parts[i*8*mib] = []byte{1}
	}
	other := newDisk(1<<40, parts)
	file := encoded(t, extents{newDisk(1<<40, map[int64][]byte{0: {1}})}, 1<<40)
	rep := verify(t, file, zvhd2.WithReference(extents{other}, other.size))
	require.Len(t, rep.Problems, zvhd2.MaxProblems)
	require.EqualValues(t, 3999-zvhd2.MaxProblems, rep.Omitted)
	full := newDisk(64*mib, map[int64][]byte{0: bytes.Repeat([]byte{1}, 64*mib)})
	rep = verify(t, encoded(t, newDisk(64*mib, nil), 64*mib), zvhd2.WithReference(full, full.size))
	require.Len(t, rep.Problems, 1)
	require.EqualValues(t, 32, rep.Problems[0].Count)
	require.Contains(t, rep.Problems[0].Message, "blocks 0 to 31 differ")
}

// Without a comparison none is reported.
func TestVerifyNothingCompared(t *testing.T) {
	t.Parallel()
	d := newDisk(mib, map[int64][]byte{0: text(1, mib)})
	good := encoded(t, d, d.size)
	require.False(t, verify(t, good).Compared)
	payload, cut, header := bytes.Clone(good), good[:5000], bytes.Clone(good)
	payload[4096+50] ^= 0xff
	header[0], header[len(header)-4096] = 'x', 'x'
	zvhd := bytes.Clone(vectortest.Named(t, "gaps.zvhd").Data)
	zvhd[4096] ^= 1
	for name, file := range map[string][]byte{
		"payload": payload, "cut": cut, "header": header, "empty": nil, "never written": good[:4096], "zvhd": zvhd,
	} {
		rep := verify(t, file, zvhd2.WithReference(d, d.size))
		require.False(t, rep.OK(), name)
		require.False(t, rep.Compared, name)
	}
}

func TestVerifyListsEveryProblem(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	file := encoded(t, d, d.size)
	var offs []int64
	for b, err := range open(t, file).Blocks() {
		require.NoError(t, err)
		offs = append(offs, b.FileOffset)
	}
	file[offs[1]+2] ^= 1  // prefix of block 1
	file[offs[3]+48] ^= 1 // payload of block 4
	file[offs[6]+17] ^= 1 // number of block 10
	rep := verify(t, file)
	require.Len(t, rep.Problems, 3)
	for i, want := range []struct {
		kind   zvhd2.Kind
		block  int64
		offset int64
	}{
		{zvhd2.KindRecord, 1, offs[1]}, {zvhd2.KindPayload, 4, offs[3] + 48}, {zvhd2.KindRecord, 10, offs[6] + 16},
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
	t.Parallel()
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
		rep = verify(t, file)
		require.Len(t, rep.Problems, 2)
		require.Equal(t, zvhd2.KindIndex, rep.Problems[0].Kind)
		require.EqualValues(t, index+16, rep.Problems[0].Offset)
		require.EqualValues(t, 65, rep.Problems[0].Block)
	}
}

// TestCorruption changes each field of each structure, with the checksum put
// right, and holds what opening, reading and verifying make of it.
func TestCorruption(t *testing.T) {
	t.Parallel()
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
			{"cookie", 0, zvhd2.ErrDamaged}, {"version", 14, zvhd2.ErrUnsupported}, {"timestamp", 24, zvhd2.ErrDamaged},
			{"orig_size", 41, zvhd2.ErrDamaged}, {"orig_size high", 47, zvhd2.ErrDamaged}, {"curr_size", 55, zvhd2.ErrDamaged},
			{"disk type", 60, zvhd2.ErrUnsupported}, {"uuid", 70, zvhd2.ErrDamaged}, {"zvhd2_version", 87, zvhd2.ErrUnsupported},
			{"block_size", 89, zvhd2.ErrUnsupported}, {"max_blk_num", 92, zvhd2.ErrDamaged},
			{"index_contains_zero_blk", 140, zvhd2.ErrDamaged}, {"compress_method", 141, zvhd2.ErrUnsupported},
		} {
			if f.name == "cookie" && s.at == end {
				f.err = zvhd2.ErrTruncated
			}
			table = append(table, change{s.name + " " + f.name, s.at + f.off, s.at, f.err, s.at != eod})
		}
		for off := 6; off < 512 && s.at != eod; off += 31 {
			table = append(table, change{fmt.Sprintf("%s byte %d", s.name, off), s.at + off, -1, zvhd2.ErrDamaged, true})
		}
		for off, name := range map[int]string{
			8: "features", 16: "data offset", 56: "geometry", 84: "saved", 86: "align_64", 142: "reserved", 511: "reserved's end",
		} {
			table = append(table, change{s.name + " " + name, s.at + off, s.at, zvhd2.ErrDamaged, false})
		}
	}
	for off, name := range map[int]string{
		96: "index_lba", 103: "index_lba high", 104: "bitmap_lba", 111: "bitmap_lba high", 112: "index_size", 116: "bitmap_size",
		120: "index_seg_size", 124: "bitmap_seg_size", 128: "index_seg_num", 132: "bitmap_seg_num", 136: "non_zero_blk_num", 139: "non_zero_blk_num high",
	} {
		table = append(table, change{"footer " + name, end + off, end, zvhd2.ErrDamaged, true},
			change{"header " + name, off, 0, zvhd2.ErrDamaged, false},
			change{"end of data " + name, eod + off, eod, zvhd2.ErrDamaged, false})
	}
	table = append(table,
		change{"index offset", index + 1, -1, zvhd2.ErrDamaged, false},
		change{"index offset unaligned", index, -1, zvhd2.ErrDamaged, false},
		change{"index offset high", index + 7, -1, zvhd2.ErrDamaged, false},
		change{"index block", index + 16 + 8, -1, zvhd2.ErrDamaged, false},
		change{"index length", index + 12, -1, zvhd2.ErrDamaged, false},
		change{"index length high", index + 15, -1, zvhd2.ErrDamaged, false},
		change{"bitmap", bitmap, -1, zvhd2.ErrDamaged, false},
		change{"bitmap past the end", bitmap + 2, -1, zvhd2.ErrDamaged, true},
		change{"record prefix", 4096, -1, zvhd2.ErrDamaged, false},
		change{"record payload size", 4096 + 13, -1, zvhd2.ErrDamaged, false},
		change{"record payload size high", 4096 + 15, -1, zvhd2.ErrDamaged, false},
		change{"record block", 4096 + 16, -1, zvhd2.ErrDamaged, false},
		change{"payload", 4096 + 48, -1, zvhd2.ErrDamaged, false},
		change{"record postfix", 8192 - 4, -1, zvhd2.ErrDamaged, false},
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

// TestVerifyNotes changes what distinguishes writers, what the vendor's tool does
// not clear, and what nothing reads: none of it is a problem.
func TestVerifyNotes(t *testing.T) {
	t.Parallel()
	d := newDisk(5*mib, map[int64][]byte{0: text(1, 100)})
	good := encoded(t, d, d.size)
	end := len(good) - 4096
	index := end - 4096 - 512<<10
	for _, c := range []struct {
		at, sum int // byte to change; structure whose checksum to fix, or -1
		kind    zvhd2.Kind
		field   string
	}{
		{6, 0, zvhd2.KindHeader, "cookie"}, {28, 0, zvhd2.KindHeader, "creator_application"},
		{33, 0, zvhd2.KindHeader, "creator_version"}, {36, 0, zvhd2.KindHeader, "creator_os"},
		{85, 0, zvhd2.KindHeader, "hidden"}, {end + 85, end, zvhd2.KindFooter, "hidden"},
		{512, -1, zvhd2.KindHeader, "padding"}, {4095, -1, zvhd2.KindHeader, "padding"},
		{index - 4096 + 3000, -1, zvhd2.KindEndOfData, "padding"}, {end + 600, -1, zvhd2.KindFooter, "padding"},
		{4096 + 20, -1, zvhd2.KindRecord, "record.reserved"}, {4096 + 24, -1, zvhd2.KindRecord, "record.reserved"},
		{4096 + 47, -1, zvhd2.KindRecord, "record.reserved"}, {8192 - 5, -1, zvhd2.KindWaste, "record.padding"},
		{index + 16, -1, zvhd2.KindIndex, "index.unused"}, {index + 512<<10 - 1, -1, zvhd2.KindIndex, "index.unused"},
		{index - 4096 + 64, -1, zvhd2.KindEndOfData, "checksum"},
	} {
		file := bytes.Clone(good)
		file[c.at] ^= 1
		if c.sum >= 0 {
			fixSum(file[c.sum:])
		}
		rep := verify(t, file)
		require.Empty(t, rep.Problems)
		require.Len(t, rep.Notes, 1, "byte %d", c.at)
		require.Equal(t, c.kind, rep.Notes[0].Kind)
		require.Equal(t, c.field, rep.Notes[0].Field)
		_, err := open(t, file).ReadAt(make([]byte, 100), 0)
		require.NoError(t, err)
	}
}

// Many places like one another are one note.
func TestVerifyNotesAreCounted(t *testing.T) {
	t.Parallel()
	d := newDisk(64*mib, map[int64][]byte{0: text(1, 64*mib)})
	file := encoded(t, d, d.size)
	for b, err := range open(t, file).Blocks() {
		require.NoError(t, err)
		file[b.FileOffset+b.FileLength-5] = 7
	}
	rep := verify(t, file)
	require.Empty(t, rep.Problems)
	require.Len(t, rep.Notes, 1)
	require.EqualValues(t, 32, rep.Notes[0].Count)
	require.Zero(t, rep.Notes[0].Block)
	require.Contains(t, rep.Notes[0].Message, "and 31 more")
}

// From 2 TiB on the vendor's tool computes the geometry from the lower 32 bits of
// the number of sectors.
func TestVerifyVendorGeometry(t *testing.T) {
	t.Parallel()
	for size, field := range map[int64]uint32{ // cylinders<<16 | heads<<8 | sectors, worked out by hand
		2<<40 + 1<<30: 121<<8 | 17, // wrong in any case
		2 << 40:       0<<16 | 4<<8 | 17,
		4<<40 + 512:   0<<16 | 4<<8 | 17,
		2<<40 + 3<<29: 3120<<16 | 16<<8 | 63,
	} {
		file := encoded(t, extents{newDisk(size, nil)}, size)
		end := len(file) - 4096
		for _, at := range []int{0, 4096, end} {
			binary.LittleEndian.PutUint32(file[at+56:], field)
			fixSum(file[at:])
		}
		rep := verify(t, file)
		if field>>8&0xff == 121 {
			require.Len(t, rep.Problems, 3)
			continue
		}
		require.Empty(t, rep.Problems, "%d", size)
		require.Len(t, rep.Notes, 3)
		require.Equal(t, "geometry", rep.Notes[0].Field)
	}
}

// Two early versions of the vendor's tool take the checksum before they set the
// field hidden.
func TestHiddenAfterChecksum(t *testing.T) {
	t.Parallel()
	d := newDisk(5*mib, map[int64][]byte{0: text(1, 100)})
	for version, ok := range map[uint32]bool{0x00000001: true, 0x00010001: true, 0x00010004: false} {
		file := encoded(t, d, d.size)
		for _, at := range []int{0, len(file) - 4096} {
			binary.LittleEndian.PutUint32(file[at+32:], version)
			fixSum(file[at:])
			file[at+85] = 1
		}
		_, err := zvhd2.NewReader(bytes.NewReader(file), int64(len(file)))
		if !ok {
			require.ErrorIs(t, err, zvhd2.ErrDamaged)
			continue
		}
		require.NoError(t, err)
		require.Empty(t, verify(t, file).Problems)
		s, err := zvhd2.NewStreamReader(bytes.NewReader(file))
		require.NoError(t, err)
		require.NoError(t, s.DecodeStream(t.Context(), io.Discard))
	}
}

// A file that was created and never written says so, however it is opened.
func TestNeverWritten(t *testing.T) {
	t.Parallel()
	d := newDisk(5*mib, map[int64][]byte{0: text(1, 100)})
	for _, full := range [][]byte{encoded(t, d, d.size), vectortest.Named(t, "gaps.zvhd").Data} {
		file := full[:4096]
		s, err := zvhd2.NewStreamReader(bytes.NewReader(file))
		require.NoError(t, err)
		errs := []error{s.DecodeStream(t.Context(), io.Discard)}
		if s.Format() == "zvhd2" {
			_, err = zvhd2.NewReader(bytes.NewReader(file), 4096)
			errs = append(errs, err)
		}
		_, err = zvhd2.Optimize(t.Context(), io.Discard, bytes.NewReader(file), 4096)
		errs = append(errs, err)
		rep := verify(t, file)
		require.Len(t, rep.Problems, 1)
		for _, err := range append(errs, rep.Problems[0].Err) {
			require.ErrorIs(t, err, zvhd2.ErrTruncated)
			require.ErrorContains(t, err, "created and never written")
		}
	}
}

// TestVerifyStreamCorruption changes structures of the vendor's ZVHD.
func TestVerifyStreamCorruption(t *testing.T) {
	t.Parallel()
	for _, v := range vectortest.WithExt(t, ".zvhd") {
		end := len(v.Data) - 4096
		for _, at := range []int{0, 9, 17, 41, 57, 61, 70, 84, 200, 4096, 4096 + 13, 4096 + 16, 4096 + 60,
			end, end + 9, end + 17, end + 41, end + 57, end + 61, end + 70, end + 84, end + 200} {
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
	t.Parallel()
	d := newDisk(6*mib, map[int64][]byte{0: text(1, 6*mib)})
	file := encoded(t, d, d.size)
	end := len(file) - 4096
	index := end - 4096 - 512<<10
	// Block 1 is said to start inside block 0.
	binary.LittleEndian.PutUint64(file[index+16:], 8192)
	r := open(t, file)
	_, err := r.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, zvhd2.ErrDamaged)
	require.ErrorContains(t, err, "overlaps")
	require.False(t, verify(t, file).OK())
}

// A compile-time option of the vendor's tool writes ZVHD with the fields, the index
// and the bitmap of ZVHD2.
func TestZVHDWithFieldsOfZVHD2(t *testing.T) {
	t.Parallel()
	v := vectortest.Named(t, "gaps.zvhd")
	file := bytes.Clone(v.Data)
	eod := len(file) - 4096
	for _, page := range [][]byte{file[:4096], file[eod:]} {
		binary.LittleEndian.PutUint32(page[88:], 2*mib)
		binary.LittleEndian.PutUint32(page[92:], 10)
		fixSum(page)
	}
	binary.LittleEndian.PutUint32(file[eod+136:], uint32(len(v.Blocks))) // the checksum is stale
	foot := bytes.Clone(file[eod:])
	binary.LittleEndian.PutUint64(foot[96:], uint64(len(file)))
	binary.LittleEndian.PutUint64(foot[104:], uint64(len(file)+512<<10))
	fixSum(foot)
	file = slices.Concat(file, bytes.Repeat([]byte{1}, 516<<10), foot)

	rep := verify(t, file)
	require.Empty(t, rep.Problems)
	var fields []string
	for _, n := range rep.Notes {
		fields = append(fields, n.Field)
	}
	for _, want := range []string{"zvhd2_version", "checksum", "trailing"} {
		require.Contains(t, fields, want)
	}
	s, err := zvhd2.NewStreamReader(bytes.NewReader(file))
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, s.DecodeStream(t.Context(), &out))
	v.Check(t, bytes.NewReader(out.Bytes()))
	for name, f := range map[string]func(io.Writer) error{
		"optimize": func(w io.Writer) error {
			_, err := zvhd2.Optimize(t.Context(), w, bytes.NewReader(file), int64(len(file)))
			return err
		},
		"recover": func(w io.Writer) error {
			rep, err := zvhd2.Recover(t.Context(), w, bytes.NewReader(file), int64(len(file)))
			require.True(t, err != nil || rep.Complete())
			return err
		},
	} {
		var out bytes.Buffer
		require.NoError(t, f(&out), name)
		v.Check(t, open(t, out.Bytes()))
	}
}
