package bitmap

import (
	"io"
	"iter"
	"strings"

	"github.com/fastimage/fastimage/bitmap/internal/wire"
)

// Run is a range of the disk that is all data or all hole by the bitmap.
type Run struct {
	Offset, Length int64 // bytes; the last run ends with the disk
	Data           bool  // or else a hole
}

// End returns the offset of the first byte after the run.
func (r Run) End() int64 { return r.Offset + r.Length }

// Runs iterates over the whole disk in ascending order, data and holes in turn.
// It can be ranged over again.
func (b *Bitmap) Runs() iter.Seq[Run] {
	return func(yield func(Run) bool) {
		n := uint(b.Blocks())
		for i := uint(0); i < n; {
			data := b.set.Test(i)
			end, ok := b.set.NextSet(i)
			if data {
				end, ok = b.set.NextClear(i)
			}
			if !ok || end > n {
				end = n
			}
			off := int64(i) * b.blockSize
			if !yield(Run{off, min(int64(end)*b.blockSize, b.size) - off, data}) {
				return
			}
			i = end
		}
	}
}

// NextData returns the first range of data [start, end) with end > off, start
// not below off; io.EOF when nothing but holes follows. So a bitmap says where a
// disk's data is to whatever asks an io.ReaderAt for it.
func (b *Bitmap) NextData(off int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, invalid("next data at %d", off)
	}
	if off >= b.size {
		return 0, 0, io.EOF
	}
	i, ok := b.set.NextSet(uint(off / b.blockSize))
	if !ok {
		return 0, 0, io.EOF
	}
	j, ok := b.set.NextClear(i)
	if !ok || j > b.set.Len() {
		j = b.set.Len()
	}
	return max(off, int64(i)*b.blockSize), min(b.size, int64(j)*b.blockSize), nil
}

// shades are the cells of Render: no data, up to a third, up to two, more, all.
const shades = ".:+*#"

// Render draws the disk as a line of width cells, each the same part of it:
//
//	#   all of it holds data
//	* + :   two thirds or more, one third or more, less
//	.   none
//
// A disk of fewer blocks than width gets several cells per block. Width is
// clipped to 1 and 65536; an empty disk is an empty line.
func (b *Bitmap) Render(width int) string {
	blocks := b.Blocks()
	if blocks == 0 {
		return ""
	}
	w := int64(min(max(width, 1), 1<<16))
	var s strings.Builder
	for c := range w {
		// Blocks that the cell touches; blocks*w is at most 2^47.
		from, to := blocks*c/w, wire.CeilDiv(blocks*(c+1), w)
		s.WriteByte(shade(b.countIn(from, to), to-from))
	}
	return s.String()
}

func shade(data, all int64) byte {
	switch {
	case data == 0:
		return shades[0]
	case data == all:
		return shades[4]
	case 3*data < all:
		return shades[1]
	case 3*data < 2*all:
		return shades[2]
	}
	return shades[3]
}

// countIn counts the blocks with data from first up to, not including, end.
func (b *Bitmap) countIn(first, end int64) int64 {
	return int64(b.set.OnesBetween(uint(first), uint(end)))
}
