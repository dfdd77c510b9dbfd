package zvhd2

import (
	"errors"
	"io"

	"github.com/fastimage/fastimage/internal/sparse"
)

// source reads blocks of a disk and leaves its holes alone.
type source struct {
	r     io.ReaderAt
	find  sparse.Finder // nil: everything is data
	size  int64
	block int64 // bytes of a block
}

func newSource(r io.ReaderAt, size int64) (*source, error) {
	if r == nil {
		return nil, invalid("no disk to read")
	}
	if err := checkDiskSize(size); err != nil {
		return nil, err
	}
	return &source{r: r, find: sparse.Of(r), size: size, block: BlockSize}, nil
}

func checkDiskSize(size int64) error {
	if size <= 0 || size > MaxDiskSize {
		return invalid("disk of %d bytes: want 1 byte to 64 TiB", size)
	}
	return nil
}

func (s *source) nextData(off int64) (start, end int64, err error) {
	start, end, err = sparse.NextData(s.find, off, s.size)
	if errors.Is(err, sparse.ErrContract) {
		return 0, 0, pkg.Errorf("%w: %w", ErrSource, err)
	}
	if err != nil && err != io.EOF {
		return 0, 0, pkg.Errorf("find data at offset %d: %w", off, err)
	}
	return start, end, err
}

// blocks calls emit for each block that has data, in ascending order.
func (s *source) blocks(emit func(block int64) error) error {
	for next := int64(0); ; {
		start, end, err := s.nextData(next * s.block)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for next = start / s.block; next < ceilDiv(end, s.block); next++ {
			if err := emit(next); err != nil {
				return err
			}
		}
	}
}

// readBlock fills buf with a block: data is read, holes and what lies past the
// end are zero.
func (s *source) readBlock(block int64, buf []byte) error {
	return s.fill(block, 0, buf)
}

// fill is readBlock from the pos-th byte of the block on.
func (s *source) fill(block, pos int64, buf []byte) error {
	base := block * s.block
	for limit := min(base+s.block, s.size) - base; pos < limit; {
		start, end, err := s.dataIn(base, pos, limit)
		if err != nil {
			return err
		}
		clear(buf[pos:start])
		if err := s.readFull(buf[start:end], base+start); err != nil {
			return err
		}
		pos = end
	}
	clear(buf[pos:])
	return nil
}

// dataIn returns the first range of data in [pos, limit), all of them counted
// from base; it is empty and at limit if there is none.
func (s *source) dataIn(base, pos, limit int64) (start, end int64, err error) {
	start, end, err = s.nextData(base + pos)
	if err == io.EOF || err == nil && start-base >= limit {
		return limit, limit, nil
	}
	return start - base, min(end-base, limit), err
}

// zeroChunk is what is read at once as long as a block holds nothing but
// zeros. It stays in the second level cache, so that looking at it costs
// little more than reading it; each chunk overwrites the one before, so that a
// block of zeros costs no writes to memory either.
const zeroChunk = 128 << 10

// readData is readBlock for a block that may hold nothing but zeros, or be a
// hole. Then it reports false, and buf holds nothing of use.
func (s *source) readData(block int64, buf []byte) (bool, error) {
	base := block * s.block
	for pos, limit := int64(0), min(base+s.block, s.size)-base; pos < limit; {
		start, end, err := s.dataIn(base, pos, limit)
		if err != nil {
			return false, err
		}
		chunk := buf[:min(end-start, zeroChunk)]
		if err := s.readFull(chunk, base+start); err != nil {
			return false, err
		}
		pos = start + int64(len(chunk))
		if !sparse.IsZero(chunk) {
			copy(buf[start:], chunk)
			clear(buf[:start])
			return true, s.fill(block, pos, buf)
		}
	}
	return false, nil
}

func (s *source) readFull(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	n, err := s.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		err = io.ErrUnexpectedEOF
	}
	return pkg.Errorf("read source at offset %d: %w", off+int64(n), err)
}
