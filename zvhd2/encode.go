package zvhd2

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Summary describes a container that was written.
type Summary struct {
	DiskSize     int64       // bytes of the disk, rounded up to whole sectors
	VirtualSize  int64       // bytes of the disk a VM sees: rounded up to 1 GiB
	Blocks       int64       // blocks of the disk
	StoredBlocks int64       // of these, blocks stored
	DataBytes    int64       // bytes of the disk in stored blocks
	PayloadBytes int64       // bytes they compressed to
	FileSize     int64       // bytes of the container
	UUID         [16]byte    // of the container
	Created      time.Time   // in whole seconds
	Levels       LevelCounts // what was done to the stored blocks
}

// Encode reads a disk of size bytes from r and writes it as a container to w,
// forward only, so w may be a pipe or an upload. It compresses blocks in
// parallel and writes them in order; the output depends on the disk, the level
// (other than [LevelAuto]), the UUID and the timestamp alone.
//
// A source with a method
//
//	NextData(off int64) (start, end int64, err error)
//
// that returns the first range of data ending after off, or io.EOF, is not
// read in its holes. The method must be safe for concurrent use, as r's ReadAt
// must.
//
// Encode heeds [WithLevel], [WithWorkers], [WithUUID], [WithTimestamp] and
// [WithProgress]. It does not close w, and after an error w holds a part of a
// container that is of no use.
func Encode(ctx context.Context, w io.Writer, r io.ReaderAt, size int64, opts ...Option) (*Summary, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if size <= 0 || size > MaxDiskSize {
		return nil, fmt.Errorf("%w: %d bytes: want 1 byte to 64 TiB", ErrSize, size)
	}
	uuid, stamp := o.identity(nil)
	return encode(ctx, w, newSource(r, size), newFooter(size, uuid, stamp), o)
}

func encode(ctx context.Context, w io.Writer, src *source, f footer, o *options) (*Summary, error) {
	e := newEncoder(w, f, o)
	defer e.meter.stop()
	return e.run(ctx,
		func(emit func(func(*slot)) error) error {
			return src.blocks(func(block int64) error {
				return emit(func(s *slot) { s.block = block })
			})
		},
		func(worker int, s *slot) error {
			raw := e.comp.raw(worker)
			some, err := src.readData(s.block, raw)
			if err != nil || !some {
				return err
			}
			return e.comp.record(worker, s, raw)
		})
}

// encoder is the pipeline that every written container comes out of.
type encoder struct {
	out    *container
	comp   *compressor
	meter  *meter
	levels LevelCounts
	next   int64 // the first block not yet counted in the meter
	o      *options
}

func newEncoder(w io.Writer, f footer, o *options) *encoder {
	m := startMeter(f.origSize, o.progress)
	return &encoder{
		out: newContainer(w, f, m), comp: newCompressor(o.levelOrDefault(), o.workers), meter: m, o: o,
	}
}

// run writes a container of the blocks that produce emits in ascending order.
// work turns a slot into a record in its out, or leaves that nil for a block
// of zeros.
func (e *encoder) run(ctx context.Context, produce func(func(func(*slot)) error) error, work func(int, *slot) error) (*Summary, error) {
	p := &pipeline{workers: e.o.workers, depth: depthFor(e.o.workers), produce: produce, consume: e.consume}
	p.work = work
	if e.comp.level == LevelAuto {
		e.comp.auto.delay = p.depth
		p.observe = e.comp.auto.observe
	}
	if err := e.out.writeHeader(); err != nil {
		return nil, err
	}
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	e.skipTo(e.out.foot.maxBlk)
	if err := e.out.finish(); err != nil {
		return nil, err
	}
	return e.summary(), nil
}

func (e *encoder) consume(s *slot) error {
	e.skipTo(s.block)
	if s.out == nil {
		return nil
	}
	if err := e.out.writeRecord(s.block, s.out); err != nil {
		return err
	}
	e.levels.add(s.tag)
	e.next = s.block + 1
	e.meter.data.Add(e.blockBytes(s.block))
	return nil
}

// skipTo counts the blocks before block that nothing was written for.
func (e *encoder) skipTo(block int64) {
	f := &e.out.foot
	if block > e.next {
		e.meter.skipped.Add(min(block*f.blockSize, f.origSize) - e.next*f.blockSize)
		e.next = block
	}
}

func (e *encoder) blockBytes(block int64) int64 {
	f := &e.out.foot
	return min(f.blockSize, f.origSize-block*f.blockSize)
}

func (e *encoder) summary() *Summary {
	f := &e.out.foot
	return &Summary{
		DiskSize: f.origSize, VirtualSize: f.currSize,
		Blocks: f.maxBlk, StoredBlocks: f.nonZero,
		DataBytes: e.meter.data.Load(), PayloadBytes: e.out.payload, FileSize: e.out.off,
		UUID: f.uuid, Created: f.created(), Levels: e.levels,
	}
}
