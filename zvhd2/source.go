package zvhd2

import (
	"errors"
	"fmt"
	"io"
)

// dataFinder is the optional upgrade of a source that knows its holes.
//
// NextData returns the first range of data [start, end) with end > off,
// clipped so that off <= start < end <= size, or io.EOF when no data follows
// off. Everything outside such ranges reads as zeros. It must be safe for
// concurrent use.
type dataFinder interface {
	NextData(off int64) (start, end int64, err error)
}

// source reads blocks of a disk and leaves its holes alone.
type source struct {
	r     io.ReaderAt
	find  dataFinder // nil: all is data
	size  int64
	block int64 // bytes of a block
}

func newSource(r io.ReaderAt, size int64) *source {
	find, _ := r.(dataFinder)
	return &source{r: r, find: find, size: size, block: BlockSize}
}

// nextData is find.NextData with its contract enforced, so that a source that
// breaks it cannot make a caller loop for ever.
func (s *source) nextData(off int64) (start, end int64, err error) {
	if off >= s.size {
		return 0, 0, io.EOF
	}
	if s.find == nil {
		return off, s.size, nil
	}
	start, end, err = s.find.NextData(off)
	if errors.Is(err, io.EOF) {
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, fmt.Errorf("zvhd2: find data at offset %d: %w", off, err)
	}
	start, end = max(start, off), min(end, s.size)
	if start >= s.size {
		return 0, 0, io.EOF
	}
	if end <= start {
		return 0, 0, fmt.Errorf("%w: NextData(%d) returned [%d, %d)", ErrSource, off, start, end)
	}
	return start, end, nil
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

// readBlock fills buf, with a block: data is read, holes
// and what lies past the end are zero. It reports false when all is a hole.
func (s *source) readBlock(block int64, buf []byte) (bool, error) {
	base := block * s.block
	limit := min(base+s.block, s.size)
	pos, any := base, false
	for pos < limit {
		start, end, err := s.nextData(pos)
		if err == io.EOF || err == nil && start >= limit {
			break
		}
		if err != nil {
			return false, err
		}
		end = min(end, limit)
		clear(buf[pos-base : start-base])
		if err := s.readFull(buf[start-base:end-base], start); err != nil {
			return false, err
		}
		pos, any = end, true
	}
	clear(buf[pos-base:])
	return any, nil
}

func (s *source) readFull(p []byte, off int64) error {
	n, err := s.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("zvhd2: read source at offset %d: %w", off+int64(n), err)
}
