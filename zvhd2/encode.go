package zvhd2

import (
	"context"
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
	Levels       LevelCounts // how the stored blocks were compressed
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
// When ctx ends, or w fails, Encode returns at once, even while r is blocked: a
// read in progress is abandoned, and r may still be in use when Encode returns.
//
// Encode uses [WithLevel], [WithWorkers], [WithUUID], [WithTimestamp] and
// [WithProgress]. It does not close w, and after an error w holds a part of a
// container that is of no use.
func Encode(ctx context.Context, w io.Writer, r io.ReaderAt, size int64, opts ...Option) (*Summary, error) {
	o, err := newOptions(opts, optsEncode)
	if err != nil {
		return nil, err
	}
	src, err := newSource(r, size)
	if err != nil {
		return nil, err
	}
	e, err := newEncoder(w, size, nil, o)
	if err != nil {
		return nil, err
	}
	defer e.meter.stop()
	return e.run(ctx,
		func(emit func(func(*encodeJob)) error) error {
			return src.blocks(func(block int64) error {
				return emit(func(j *encodeJob) { j.reset(block) })
			})
		},
		func(worker int, j *encodeJob) error {
			raw := e.comp.blockBuffer(worker)
			some, err := src.readData(j.block, raw)
			if err != nil || !some {
				return err
			}
			return e.comp.compress(worker, j, raw)
		})
}

// encodeJob is a block that becomes a record.
type encodeJob struct {
	block  int64
	entry  entry  // of its record in the input, where there is one
	data   []byte // its content, if the producer reads it; the buffer is kept
	record []byte // the result, in a buffer that is kept; nil: a block of zeros
	how    coding // of the payload in record
	buf    []byte
}

// reset prepares the job for a block.
func (j *encodeJob) reset(block int64) { j.block, j.record = block, nil }

// buffer returns room for a record, with a header's length already in it.
func (j *encodeJob) buffer() []byte {
	if j.buf == nil {
		j.buf = make([]byte, 0, maxRecord)
	}
	return j.buf[:recordHeaderSize]
}

// seal makes a payload after a header's room the job's record.
func (j *encodeJob) seal(rec []byte, how coding) { j.record, j.how = sealRecord(rec, j.block), how }

// encoder is the pipeline that every container is written by.
type encoder struct {
	out    *container
	comp   *compressor
	meter  *meter
	levels LevelCounts
	next   int64 // the first block not yet counted in the meter
	o      *options
}

// newEncoder returns an encoder for a disk of size bytes. The container has the
// identity of like if that is not nil and the options give none.
func newEncoder(w io.Writer, size int64, like *footer, o *options) (*encoder, error) {
	if w == nil {
		return nil, invalid("no output")
	}
	uuid, stamp := o.identity(like)
	f := newFooter(size, uuid, stamp)
	m := startMeter(f.origSize, o.progress)
	return &encoder{
		out: newContainer(w, f, m), comp: newCompressor(o.levelOrDefault(), o.workers), meter: m, o: o,
	}, nil
}

// run writes a container of the blocks that produce emits in ascending order.
// work makes the record of a job, or leaves it nil for a block of zeros.
func (e *encoder) run(ctx context.Context, produce func(func(func(*encodeJob)) error) error, work func(int, *encodeJob) error) (*Summary, error) {
	p := &pipeline[encodeJob]{workers: e.o.workers, produce: produce, work: work, consume: e.consume}
	if e.comp.level == LevelAuto {
		e.comp.auto.delay = pipelineDepth(p.workers)
		p.observe = e.comp.auto.observe
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
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

func (e *encoder) consume(j *encodeJob) error {
	e.skipTo(j.block)
	if j.record == nil {
		return nil
	}
	if err := e.out.writeRecord(j.block, j.record); err != nil {
		return err
	}
	e.levels.add(j.how)
	e.next = j.block + 1
	e.meter.data.Add(e.out.foot.blockLen(j.block))
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

func (e *encoder) summary() *Summary {
	f := &e.out.foot
	return &Summary{
		DiskSize: f.origSize, VirtualSize: f.currSize,
		Blocks: f.maxBlk, StoredBlocks: f.nonZero,
		DataBytes: e.meter.data.Load(), PayloadBytes: e.out.payload, FileSize: e.out.off,
		UUID: f.uuid, Created: f.created(), Levels: e.levels,
	}
}
