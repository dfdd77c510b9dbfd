package bitmap

import "github.com/fastimage/fastimage/bitmap/internal/wire"

// Equal reports whether both are of the same disk and block size and have data
// in the same blocks.
func (b *Bitmap) Equal(o *Bitmap) bool {
	return b.size == o.size && b.blockSize == o.blockSize && b.set.Equal(o.set)
}

// Resize returns the same data in blocks of another size. Larger blocks hold
// data if a part of them does; smaller ones are all taken to hold data where the
// larger one does, which is safe and no more than is known.
func (b *Bitmap) Resize(blockSize int64) (*Bitmap, error) {
	out, err := New(b.size, blockSize)
	if err != nil {
		return nil, err
	}
	for r := range b.Runs() {
		if r.Data {
			out.SetRange(r.Offset/blockSize, wire.CeilDiv(r.End(), blockSize))
		}
	}
	return out, nil
}

// CheckCoverage returns nil if all data of o is data in b too, and a
// *[CoverageError] if not. Both must be of the same disk; if the block sizes
// differ, b is brought to that of o first (see [Bitmap.Resize]). So a block of o
// that is larger than b's counts as covered by any block of b in it: scan in
// blocks no larger than b's for an exact answer.
func (b *Bitmap) CheckCoverage(o *Bitmap) error {
	if b.size != o.size {
		return invalid("coverage of a disk of %d bytes by the bitmap of one of %d", o.size, b.size)
	}
	mine := b
	if b.blockSize != o.blockSize {
		var err error
		if mine, err = b.Resize(o.blockSize); err != nil {
			return err
		}
	}
	lost := o.set.Difference(mine.set)
	first, ok := lost.NextSet(0)
	if !ok {
		return nil
	}
	return &CoverageError{Block: int64(first), Offset: int64(first) * o.blockSize, BlockSize: o.blockSize, Blocks: int64(lost.Count())}
}
