package zvhd2

import "math"

// Sizes and limits of the container. All integers on disk are little-endian.
const (
	// BlockSize is the block size that writers use, in bytes; the published
	// reader is hard-wired to it.
	BlockSize = 2 << 20

	// MaxDiskSize is the largest disk that is written or read, 64 TiB. The
	// 32-bit size of the index would allow a little more; the bound keeps
	// what a hostile header can ask for small.
	MaxDiskSize = 64 << 40

	// Readers accept powers of two between these.
	minBlockSize = 1 << 20
	maxBlockSize = 32 << 20

	sectorSize    = 512
	pageSize      = 4096
	virtualAlign  = 1 << 30
	bitmapSegSize = pageSize
	segmentBlocks = bitmapSegSize * 8 // blocks of a bitmap segment, and entries of an index segment

	// minFile is the smallest container: header, end of data, bitmap, footer.
	minFile = 4 * pageSize
)

// MaxSize returns the largest container that [Encode] can make of a disk of
// diskSize bytes, in bytes; it returns 0 for a size that Encode refuses.
func MaxSize(diskSize int64) int64 {
	if diskSize <= 0 || diskSize > MaxDiskSize {
		return 0
	}
	blocks := ceilDiv(diskSize, BlockSize)
	segs := ceilDiv(blocks, segmentBlocks)
	return 3*pageSize + blocks*maxRecord + segs*(indexSegSize+bitmapSegSize)
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func roundUp(a, b int64) int64 { return ceilDiv(a, b) * b }

// clampInt64 keeps hostile 64-bit offsets positive; every check that follows
// refuses the clamped value too.
func clampInt64(v uint64) int64 { return int64(min(v, math.MaxInt64)) }
