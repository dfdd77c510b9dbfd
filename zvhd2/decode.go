package zvhd2

import (
	"context"
	"io"
)

// Decode writes the disk to w, blocks in parallel and in no order.
//
// If w is a regular file (it has the Stat and Truncate of an [os.File]), it is
// truncated and given the disk's size first, and zeros are left as holes. They are
// left out too if w has a method Sparse() bool that returns true, which says that
// what is never written reads as zeros. To anything else, such as a block device,
// zeros are written.
//
// When ctx ends or something fails, Decode returns at once, even while the
// container's file is blocked; writes that are in progress are awaited.
//
// Decode uses [WithWorkers], [WithMaxDiskSize] and [WithProgress].
func (r *Reader) Decode(ctx context.Context, w io.WriterAt, opts ...Option) error {
	o, err := newOptions(opts, optWorkers|optMaxDiskSize|optProgress)
	if err != nil {
		return err
	}
	t, err := newTarget(w, r.foot, o)
	if err != nil {
		return err
	}
	defer t.meter.stop()
	workers := o.workersFor(r.foot.nonZero, r.foot.blockSize, r.file.size)
	readers, err := newBlockReaders(workers, r.file, r.foot)
	if err != nil {
		return err
	}
	var g gate
	defer g.close()
	bufs := make([][]byte, workers)
	return forEach(ctx, workers,
		func(emit func(int64) error) error { return t.blocks(r.tables.bitmap, emit) },
		func(worker int, block int64) error {
			if !r.tables.bitmap.test(block) {
				return g.pass(func() error { return t.writeZeros(block) })
			}
			if bufs[worker] == nil {
				bufs[worker] = make([]byte, r.foot.blockSize)
			}
			e, err := r.tables.entry(block)
			if err != nil {
				return err
			}
			if _, err := readers[worker].read(e, bufs[worker]); err != nil {
				return err
			}
			return g.pass(func() error { return t.writeBlock(block, bufs[worker]) })
		})
}

// DecodeStream writes the disk to w from start to end, zeros included,
// decompressing in parallel ahead of the writing. When ctx ends it returns as
// soon as a write in progress has ended, even while the container's file is
// blocked.
//
// DecodeStream uses [WithWorkers], [WithMaxDiskSize] and [WithProgress].
func (r *Reader) DecodeStream(ctx context.Context, w io.Writer, opts ...Option) error {
	o, err := newOptions(opts, optWorkers|optMaxDiskSize|optProgress)
	if err != nil {
		return err
	}
	q, err := newSequence(w, r.foot, o)
	if err != nil {
		return err
	}
	defer q.meter.stop()
	workers := o.workersFor(r.foot.nonZero, r.foot.blockSize, r.file.size)
	readers, err := newBlockReaders(workers, r.file, r.foot)
	if err != nil {
		return err
	}
	p := &pipeline[decodeJob]{
		workers: workers,
		produce: func(emit func(func(*decodeJob)) error) error {
			return r.tables.stored(func(b int64) error { return emit(func(j *decodeJob) { j.block = b }) })
		},
		work: func(worker int, j *decodeJob) error {
			if j.data == nil {
				j.data = make([]byte, r.foot.blockSize)
			}
			e, err := r.tables.entry(j.block)
			if err != nil {
				return err
			}
			_, err = readers[worker].read(e, j.data)
			return err
		},
		consume: func(j *decodeJob) error { return q.writeBlock(ctx, j.block, j.data) },
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	return q.zerosTo(ctx, r.foot.maxBlk)
}

// decodeJob is a block on its way out of a container.
type decodeJob struct {
	block int64
	data  []byte // a whole block; the buffer is kept
}
