// Package sparse is the contract between sources of disks that know their holes
// and the code that reads them, enforced in one place.
//
// # The contract of NextData
//
// NextData(off) returns the first range of data [start, end) with end > off.
//
//   - What is in no such range reads as zeros. A range may hold zeros too.
//   - The range is clipped: off <= start < end <= size of the disk.
//   - Ranges may be adjacent: the end of one may be the start of the next. Who
//     wants maximal extents merges them.
//   - Where no data follows off, and for off at or past the size, the error is
//     io.EOF, bare or wrapped.
//   - A negative off is an error that matches fs.ErrInvalid.
//   - It is safe for concurrent use.
//
// [NextData] asks a source and repairs or refuses an answer that breaks these
// rules. Package sparsetest checks an implementation.
package sparse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// A Finder is a source that knows its holes; the package comment has the rules.
// It is the optional upgrade of an io.ReaderAt, found by a type assertion.
type Finder interface {
	NextData(off int64) (start, end int64, err error)
}

// ErrContract is a source that broke the contract in a way that would make its
// caller loop.
var ErrContract = errors.New("sparse: NextData broke its contract")

// Of returns the Finder that ra is, or nil if everything in ra is data.
func Of(ra io.ReaderAt) Finder {
	f, _ := ra.(Finder)
	return f
}

// NextData is f.NextData for a disk of size bytes with the contract enforced:
// the error is nil, a bare io.EOF, or what went wrong. A nil f is a disk without
// holes.
func NextData(f Finder, off, size int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("sparse: next data at %d: %w", off, fs.ErrInvalid)
	}
	if off >= size {
		return 0, 0, io.EOF
	}
	if f == nil {
		return off, size, nil
	}
	start, end, err = f.NextData(off)
	if errors.Is(err, io.EOF) {
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, err
	}
	if end <= off || end <= start {
		return 0, 0, fmt.Errorf("%w: asked for %d, it returned [%d,%d)", ErrContract, off, start, end)
	}
	start, end = max(start, off), min(end, size)
	if start >= size {
		return 0, 0, io.EOF
	}
	return start, end, nil
}

// zeros is what IsZero compares with: a piece of the first-level cache.
var zeros [16 << 10]byte

// IsZero reports whether p holds nothing but zeros. It ends at the first piece
// that does not, and runs at the speed at which p can be read.
func IsZero(p []byte) bool {
	for len(p) > len(zeros) {
		if !bytes.Equal(p[:len(zeros)], zeros[:]) {
			return false
		}
		p = p[len(zeros):]
	}
	return bytes.Equal(p, zeros[:len(p)])
}
