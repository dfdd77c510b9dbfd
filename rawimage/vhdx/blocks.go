package vhdx

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// absent marks a block without data in the file.
const absent = -1

// blockMap is the disk as the allocation table has it. It does not change after
// NewReader, so all methods are safe for concurrent use.
type blockMap struct {
	ra        io.ReaderAt
	fileSize  int64 // bytes of the file; what a block has behind it is zeros
	size      int64 // virtual size
	blockSize int64
	// offset returns where block i begins in the file, or absent.
	offset func(i int64) int64
}

// ReadAt reads bytes of the virtual disk. Blocks without data are zeros.
func (b *blockMap) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("vhdx: negative offset")
	}
	if off >= b.size {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > b.size-off {
		p, eof = p[:b.size-off], io.EOF
	}
	n := 0
	for n < len(p) {
		pos, run := b.run(off+int64(n), int64(len(p)-n))
		part := p[n : n+int(run)]
		if err := b.readRun(part, pos, off+int64(n)); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, eof
}

// run returns where the disk byte at off is in the file, or absent, and for how
// many bytes up to limit the file goes on in the same way: neighbours on the
// disk are mostly neighbours in the file, and one read serves them all.
func (b *blockMap) run(off, limit int64) (pos, n int64) {
	in := off % b.blockSize
	i := off / b.blockSize
	first := b.offset(i)
	n = b.blockSize - in
	for i++; n < limit; i++ {
		next := b.offset(i)
		if first == absent && next != absent || first != absent && next != first+in+n {
			break
		}
		n += b.blockSize
	}
	if first == absent {
		return absent, min(n, limit)
	}
	return first + in, min(n, limit)
}

func (b *blockMap) readRun(p []byte, pos, off int64) error {
	if pos == absent {
		clear(p)
		return nil
	}
	if have := max(b.fileSize-pos, 0); int64(len(p)) > have {
		clear(p[have:])
		p = p[:have]
	}
	return readFull(b.ra, p, pos, fmt.Sprintf("disk offset %d", off))
}

// NextData returns the first range of data that ends behind off, clipped to
// begin at off, and io.EOF where only zeros follow. It comes from the allocation
// table alone: a block the file stores may be zeros all the same.
func (b *blockMap) NextData(off int64) (start, end int64, err error) {
	off = max(off, 0)
	blocks := ceilDiv(b.size, b.blockSize)
	i := off / b.blockSize
	for i < blocks && b.offset(i) == absent {
		i++
	}
	if i >= blocks || off >= b.size {
		return 0, 0, io.EOF
	}
	start = max(off, i*b.blockSize)
	for i < blocks && b.offset(i) != absent {
		i++
	}
	return start, min(i*b.blockSize, b.size), nil
}

// Size returns the virtual size in bytes, as qemu-img convert -O raw gives it.
func (b *blockMap) Size() int64 { return b.size }

// checkOverlap finds two stored pieces of width bytes that share bytes of the
// file, which no writer produces and which would let a small file stand for any
// amount of data. It sorts starts.
func checkOverlap(starts []int64, width int64) error {
	slices.Sort(starts)
	for i := 1; i < len(starts); i++ {
		if starts[i]-starts[i-1] < width {
			return malformed(starts[i], "block", "overlaps the block at offset %d", starts[i-1])
		}
	}
	return nil
}

// ceilDiv divides and rounds up, without a sum that could overflow.
func ceilDiv(a, b int64) int64 {
	n := a / b
	if a%b != 0 {
		n++
	}
	return n
}
