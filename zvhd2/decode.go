package zvhd2

import (
	"context"
	"fmt"
	"io"
	"io/fs"
)

// Decode unpacks the disk in r to w, blocks in parallel and in no order.
//
// If w is a regular file (it has the Stat and Truncate of an [os.File]), it is
// emptied and given the disk's size first, and zeros are left as holes; so they
// are if w has a method Sparse() bool that reports true, which says that what is
// never written reads as zeros. To anything else, a block device for one, zeros
// are written out.
//
// Decode heeds [WithWorkers] and [WithProgress].
func Decode(ctx context.Context, w io.WriterAt, r *Reader, opts ...Option) error {
	o, err := newOptions(opts)
	if err != nil {
		return err
	}
	t, err := newTarget(w, r.foot, o)
	if err != nil {
		return err
	}
	defer t.meter.stop()
	decs, err := newDecoders(o.workers, r.foot.method)
	if err != nil {
		return err
	}
	bufs := make([][]byte, o.workers)
	return forEach(ctx, o.workers,
		func(emit func(int64) error) error { return t.blocks(r.bitmap, emit) },
		func(worker int, block int64) error {
			if !r.bitmap.test(block) {
				return t.writeZeros(block)
			}
			if bufs[worker] == nil {
				bufs[worker] = make([]byte, r.foot.blockSize)
			}
			if err := r.readBlock(decs[worker], block, bufs[worker]); err != nil {
				return err
			}
			return t.writeBlock(block, bufs[worker])
		})
}

// DecodeTo unpacks the disk in r to w in sequence, zeros included, decoding in
// parallel ahead of the writing. It heeds [WithWorkers] and [WithProgress].
func DecodeTo(ctx context.Context, w io.Writer, r *Reader, opts ...Option) error {
	o, err := newOptions(opts)
	if err != nil {
		return err
	}
	decs, err := newDecoders(o.workers, r.foot.method)
	if err != nil {
		return err
	}
	q := newSequence(w, r.foot, o)
	defer q.meter.stop()
	p := &pipeline{
		workers: o.workers,
		depth:   depthFor(o.workers),
		produce: func(emit func(func(*slot)) error) error {
			return r.storedBlocks(func(b int64) error { return emit(func(s *slot) { s.block = b }) })
		},
		work: func(worker int, s *slot) error {
			if s.buf == nil {
				s.buf = make([]byte, r.foot.blockSize)
			}
			return r.readBlock(decs[worker], s.block, s.buf)
		},
		consume: func(s *slot) error { return q.writeBlock(ctx, s.block, s.buf) },
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	return q.zerosTo(ctx, r.foot.maxBlk)
}

func newDecoders(n int, method byte) ([]*decoder, error) {
	decs := make([]*decoder, n)
	for i := range decs {
		var err error
		if decs[i], err = newDecoder(method); err != nil {
			return nil, err
		}
	}
	return decs, nil
}

// target is what a disk is unpacked to out of order.
type target struct {
	w      io.WriterAt
	foot   *footer
	sparse bool // w reads as zeros where nothing is written
	zero   []byte
	meter  *meter
}

func newTarget(w io.WriterAt, f *footer, o *options) (*target, error) {
	t := &target{w: w, foot: f, zero: make([]byte, MinBlockSize)}
	if s, ok := w.(interface{ Sparse() bool }); ok {
		t.sparse = s.Sparse()
	}
	file, ok := w.(interface {
		Stat() (fs.FileInfo, error)
		Truncate(size int64) error
	})
	if ok {
		st, err := file.Stat()
		if err != nil {
			return nil, fmt.Errorf("zvhd2: %w", err)
		}
		if ok = st.Mode().IsRegular(); ok {
			for _, size := range []int64{0, f.origSize} {
				if err := file.Truncate(size); err != nil {
					return nil, fmt.Errorf("zvhd2: set size of output: %w", err)
				}
			}
		}
	}
	t.sparse = t.sparse || ok
	t.meter = startMeter(f.origSize, o.progress)
	return t, nil
}

// blocks emits the blocks that something has to be written for.
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

func (t *target) length(block int64) int64 {
	return min(t.foot.blockSize, t.foot.origSize-block*t.foot.blockSize)
}

func (t *target) writeZeros(block int64) error {
	left, off := t.length(block), block*t.foot.blockSize
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

// writeBlock writes a block; where holes are allowed, pages of zeros stay out.
func (t *target) writeBlock(block int64, b []byte) error {
	b = b[:t.length(block)]
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
	for pos < len(b) && isZero(page(pos)) {
		pos += pageSize
	}
	start = min(pos, len(b))
	for pos < len(b) && !isZero(page(pos)) {
		pos += pageSize
	}
	return start, min(pos, len(b))
}

func (t *target) writeAt(b []byte, off int64) error {
	n, err := t.w.WriteAt(b, off)
	t.meter.written.Add(int64(n))
	if err != nil {
		return fmt.Errorf("zvhd2: write disk at offset %d: %w", off, err)
	}
	return nil
}

// sequence is what a disk is unpacked to in order.
type sequence struct {
	w     io.Writer
	foot  *footer
	next  int64 // block
	zero  []byte
	meter *meter
}

func newSequence(w io.Writer, f *footer, o *options) *sequence {
	return &sequence{w: w, foot: f, zero: make([]byte, MinBlockSize), meter: startMeter(f.origSize, o.progress)}
}

func (q *sequence) writeBlock(ctx context.Context, block int64, b []byte) error {
	if err := q.zerosTo(ctx, block); err != nil {
		return err
	}
	q.next = block + 1
	b = b[:min(q.foot.blockSize, q.foot.origSize-block*q.foot.blockSize)]
	q.meter.data.Add(int64(len(b)))
	return q.write(b, block*q.foot.blockSize)
}

// zerosTo writes the blocks of zeros before block. A disk may end in terabytes
// of them, so the context is asked on the way.
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
		return fmt.Errorf("zvhd2: write disk at offset %d: %w", off, err)
	}
	return nil
}
