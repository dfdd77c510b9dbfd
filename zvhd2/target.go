package zvhd2

import (
	"context"
	"io"
	"io/fs"

	"github.com/fastimage/fastimage/internal/sparse"
)

// target is what a disk is written to in no order.
type target struct {
	w      io.WriterAt
	foot   *footer
	sparse bool // w reads as zeros where nothing is written
	zero   []byte
	meter  *meter
}

func newTarget(w io.WriterAt, f *footer, o *options) (*target, error) {
	if w == nil {
		return nil, invalid("no output")
	}
	if err := o.checkDisk(f); err != nil {
		return nil, err
	}
	t := &target{w: w, foot: f, zero: make([]byte, minBlockSize)}
	if s, ok := w.(interface{ Sparse() bool }); ok {
		t.sparse = s.Sparse()
	}
	regular, err := resize(w, f.origSize)
	if err != nil {
		return nil, err
	}
	t.sparse = t.sparse || regular
	t.meter = startMeter(f.origSize, o.progress)
	return t, nil
}

// resize makes an empty file of size bytes of w if it is a regular file, and
// reports whether it is.
func resize(w io.WriterAt, size int64) (regular bool, err error) {
	file, ok := w.(interface {
		Stat() (fs.FileInfo, error)
		Truncate(size int64) error
	})
	if !ok {
		return false, nil
	}
	st, err := file.Stat()
	if err != nil {
		return false, pkg.Errorf("%w", err)
	}
	if !st.Mode().IsRegular() {
		return false, nil
	}
	for _, n := range []int64{0, size} {
		if err := file.Truncate(n); err != nil {
			return true, pkg.Errorf("set size of output: %w", err)
		}
	}
	return true, nil
}

// blocks emits the blocks for which something has to be written.
func (t *target) blocks(stored *bitset, emit func(int64) error) error {
	max := t.foot.maxBlk
	for b := int64(0); b < max; b++ {
		if t.sparse {
			next := stored.next(b, max, true)
			t.meter.skipped.Add(min(next*t.foot.blockSize, t.foot.origSize) - b*t.foot.blockSize)
			if b = next; b == max {
				break
			}
		}
		if err := emit(b); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) writeZeros(block int64) error {
	left, off := t.foot.blockLen(block), block*t.foot.blockSize
	t.meter.skipped.Add(left)
	for left > 0 {
		n := min(left, int64(len(t.zero)))
		if err := t.writeAt(t.zero[:n], off); err != nil {
			return err
		}
		left, off = left-n, off+n
	}
	return nil
}

// writeBlock writes a block; where holes are allowed, pages of zeros are left out.
func (t *target) writeBlock(block int64, b []byte) error {
	b = b[:t.foot.blockLen(block)]
	base := block * t.foot.blockSize
	t.meter.data.Add(int64(len(b)))
	if !t.sparse {
		return t.writeAt(b, base)
	}
	for pos := 0; pos < len(b); {
		start, end := nextRun(b, pos)
		if start < end {
			if err := t.writeAt(b[start:end], base+int64(start)); err != nil {
				return err
			}
		}
		pos = end
	}
	return nil
}

// nextRun returns the first run of pages from pos on that hold more than
// zeros; it is empty at the end of b.
func nextRun(b []byte, pos int) (start, end int) {
	page := func(i int) []byte { return b[i:min(i+pageSize, len(b))] }
	for pos < len(b) && sparse.IsZero(page(pos)) {
		pos += pageSize
	}
	start = min(pos, len(b))
	for pos < len(b) && !sparse.IsZero(page(pos)) {
		pos += pageSize
	}
	return start, min(pos, len(b))
}

func (t *target) writeAt(b []byte, off int64) error {
	n, err := t.w.WriteAt(b, off)
	t.meter.written.Add(int64(n))
	if err != nil {
		return pkg.Errorf("write disk at offset %d: %w", off, err)
	}
	return nil
}

// sequence is what a disk is written to in order.
type sequence struct {
	w     io.Writer
	foot  *footer
	next  int64 // block
	zero  []byte
	meter *meter
}

func newSequence(w io.Writer, f *footer, o *options) (*sequence, error) {
	if w == nil {
		return nil, invalid("no output")
	}
	if err := o.checkDisk(f); err != nil {
		return nil, err
	}
	return &sequence{w: w, foot: f, zero: make([]byte, minBlockSize), meter: startMeter(f.origSize, o.progress)}, nil
}

func (q *sequence) writeBlock(ctx context.Context, block int64, b []byte) error {
	if err := q.zerosTo(ctx, block); err != nil {
		return err
	}
	q.next = block + 1
	b = b[:q.foot.blockLen(block)]
	q.meter.data.Add(int64(len(b)))
	return q.write(b, block*q.foot.blockSize)
}

// zerosTo writes the blocks of zeros before block. A disk may end in terabytes
// of them, so the context is checked on the way.
func (q *sequence) zerosTo(ctx context.Context, block int64) error {
	off, end := q.next*q.foot.blockSize, min(block*q.foot.blockSize, q.foot.origSize)
	for off < end {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(end-off, int64(len(q.zero)))
		if err := q.write(q.zero[:n], off); err != nil {
			return err
		}
		q.meter.skipped.Add(n)
		off += n
	}
	q.next = max(q.next, block)
	return nil
}

func (q *sequence) write(b []byte, off int64) error {
	n, err := q.w.Write(b)
	q.meter.written.Add(int64(n))
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return pkg.Errorf("write disk at offset %d: %w", off, err)
	}
	return nil
}
