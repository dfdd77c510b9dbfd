package bitmap

import (
	"math/bits"

	"github.com/bits-and-blooms/bitset"
	"github.com/fastimage/fastimage/bitmap/internal/wire"
)

const (
	// DefaultBlockSize is the block size of Scan and DefaultLayout: that of the
	// cloud's own container format.
	DefaultBlockSize = 2 << 20
	// MinBlockSize is the smallest block size, a sector.
	MinBlockSize = 512
	// MaxBlockSize is the largest block size.
	MaxBlockSize = 1 << 30
	// MaxBlocks bounds the blocks of one bitmap and so its memory (256 MiB): it
	// is 1 TiB, the largest disk the cloud takes, in blocks of 512 bytes.
	MaxBlocks = 1 << 31
)

// Bitmap says of every block of a disk whether it holds data (a byte that is not
// zero). Methods that do not change it may be called concurrently.
type Bitmap struct {
	size      int64
	blockSize int64
	set       *bitset.BitSet
}

// New returns a bitmap without data of a disk of size bytes. The block size is
// a power of two from 512 bytes to 1 GiB; the last block may be short.
func New(size, blockSize int64) (*Bitmap, error) {
	blocks, err := countBlocks(size, blockSize)
	if err != nil {
		return nil, err
	}
	return &Bitmap{size: size, blockSize: blockSize, set: bitset.New(uint(blocks))}, nil
}

func countBlocks(size, blockSize int64) (int64, error) {
	if size < 0 {
		return 0, invalid("disk of %d bytes", size)
	}
	if blockSize < MinBlockSize || blockSize > MaxBlockSize || bits.OnesCount64(uint64(blockSize)) != 1 {
		return 0, invalid("blocks of %d bytes: want a power of two from 512 to 1 GiB", blockSize)
	}
	blocks := wire.CeilDiv(size, blockSize)
	if blocks > MaxBlocks {
		return 0, invalid("%d blocks of %d bytes: want %d or fewer", blocks, blockSize, int64(MaxBlocks))
	}
	return blocks, nil
}

// Size returns the size of the disk in bytes.
func (b *Bitmap) Size() int64 { return b.size }

// BlockSize returns the bytes that one bit stands for.
func (b *Bitmap) BlockSize() int64 { return b.blockSize }

// Blocks returns how many blocks the disk has, the short one at its end
// included.
func (b *Bitmap) Blocks() int64 { return int64(b.set.Len()) }

// Count returns how many blocks hold data.
func (b *Bitmap) Count() int64 { return int64(b.set.Count()) }

// DataBytes returns the bytes of the disk that the blocks with data stand for;
// a short last block counts as what it is.
func (b *Bitmap) DataBytes() int64 {
	n := b.Count() * b.blockSize
	if last := b.Blocks() - 1; last >= 0 && b.Test(last) {
		n -= (last+1)*b.blockSize - b.size
	}
	return n
}

// Test reports whether block i holds data; a block that does not exist holds
// none.
func (b *Bitmap) Test(i int64) bool { return i >= 0 && i < b.Blocks() && b.set.Test(uint(i)) }

// Set marks block i as one with data, or as one without. A block that does not
// exist is left alone: a Bitmap never grows.
func (b *Bitmap) Set(i int64, data bool) {
	if i >= 0 && i < b.Blocks() {
		b.set.SetTo(uint(i), data)
	}
}

// SetRange marks the blocks from first up to, not including, end as ones with
// data.
func (b *Bitmap) SetRange(first, end int64) {
	first, end = max(first, 0), min(end, b.Blocks())
	for i := first; i < end; { // whole words at once
		if n := min(64-i%64, end-i); n == 64 {
			b.set.Words()[i/64] = ^uint64(0)
			i += 64
			continue
		}
		b.set.Set(uint(i))
		i++
	}
}
