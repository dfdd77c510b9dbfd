package zvhd2

import (
	"context"
	"encoding/binary"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/fastimage/fastimage/internal/sparse"
)

// rewriter writes the blocks of a file as a canonical container. [Optimize] and
// [Recover] differ in where they take the entries from and in what becomes of a
// block that cannot be read.
type rewriter struct {
	o    *options
	in   file
	foot *footer // of the input

	// settle is called, concurrently, with the result of reading each block, and
	// returns the error that ends the run. If it returns nil for an error, the
	// block is left out.
	settle func(block int64, err error) error

	zeros atomic.Int64 // stored blocks that held nothing but zeros
}

// eachEntry calls emit for every record to be written, in ascending order of
// blocks.
type eachEntry func(emit func(entry) error) error

// records writes the blocks that entries lists.
func (t *rewriter) records(ctx context.Context, w io.Writer, entries eachEntry) (*Summary, error) {
	e, err := newEncoder(w, t.foot.origSize, t.foot, t.o)
	if err != nil {
		return nil, err
	}
	defer e.meter.stop()
	if t.foot.blockSize != BlockSize {
		return t.recut(ctx, e, entries)
	}
	readers, err := newBlockReaders(t.o.workers, t.in, t.foot)
	if err != nil {
		return nil, err
	}
	return e.run(ctx,
		func(emit func(func(*encodeJob)) error) error {
			return entries(func(ent entry) error {
				return emit(func(j *encodeJob) {
					j.reset(ent.block)
					j.entry = ent
				})
			})
		},
		func(worker int, j *encodeJob) error {
			raw := e.comp.blockBuffer(worker)
			payload, err := readers[worker].read(j.entry, raw)
			if serr := t.settle(j.block, err); serr != nil || err != nil {
				return serr
			}
			return t.record(e.comp, worker, j, raw, payload)
		})
}

// record makes the job's record of a block, from its payload if that is canonical.
func (t *rewriter) record(c *compressor, worker int, j *encodeJob, raw, payload []byte) error {
	// What a foreign writer left past the disk's end is not the disk's.
	tail := raw[t.foot.blockLen(j.block):]
	dirty := !sparse.IsZero(tail)
	clear(tail)
	if sparse.IsZero(raw) {
		t.zeros.Add(1)
		return nil
	}
	if t.o.level != 0 || dirty || t.foot.method != methodZstd || !canonicalFrame(payload) {
		return c.compress(worker, j, raw)
	}
	j.seal(append(j.buffer(), payload...), codingKept)
	return nil
}

// recut writes blocks of another size. They are decompressed one after the other:
// the compressing, which takes longer, is parallel.
func (t *rewriter) recut(ctx context.Context, e *encoder, entries eachEntry) (*Summary, error) {
	r, err := newBlockReader(t.in, t.foot)
	if err != nil {
		return nil, err
	}
	block := make([]byte, t.foot.blockSize)
	return e.run(ctx,
		func(emit func(func(*encodeJob)) error) error {
			c := &cutter{foot: t.foot, emit: emit}
			err := entries(func(ent entry) error {
				_, err := r.read(ent, block)
				if serr := t.settle(ent.block, err); serr != nil || err != nil {
					return serr
				}
				if sparse.IsZero(block[:t.foot.blockLen(ent.block)]) {
					t.zeros.Add(1)
					return nil
				}
				return c.add(ent.block, block)
			})
			if err != nil {
				return err
			}
			return c.flush()
		},
		e.compressData)
}

// cutter turns ascending blocks of any size into blocks of BlockSize.
type cutter struct {
	foot *footer
	emit func(func(*encodeJob)) error
	cur  int64  // the block in progress
	buf  []byte // its content; nil: none
	free []byte // of a block that is done
}

func (c *cutter) add(block int64, data []byte) error {
	off := block * c.foot.blockSize
	data = data[:c.foot.blockLen(block)]
	for len(data) > 0 {
		b, at := off/BlockSize, off%BlockSize
		if b != c.cur || c.buf == nil {
			if err := c.flush(); err != nil {
				return err
			}
			c.cur, c.buf, c.free = b, c.free, nil
			if c.buf == nil {
				c.buf = make([]byte, BlockSize)
			}
			clear(c.buf)
		}
		n := copy(c.buf[at:], data)
		data, off = data[n:], off+int64(n)
	}
	return nil
}

func (c *cutter) flush() error {
	if c.buf == nil {
		return nil
	}
	buf := c.buf
	c.buf = nil
	return c.emit(func(j *encodeJob) {
		j.reset(c.cur)
		j.data, c.free = buf, j.data
	})
}

// stream writes the blocks of a stream. ended decides about the error that ends
// it, other than io.EOF.
func (t *rewriter) stream(ctx context.Context, w io.Writer, s *StreamReader, ended func(error) error) (*Summary, error) {
	e, err := newEncoder(w, t.foot.origSize, t.foot, t.o)
	if err != nil {
		return nil, err
	}
	defer e.meter.stop()
	return e.run(ctx,
		func(emit func(func(*encodeJob)) error) error {
			for {
				b, data, err := s.Next()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return ended(err)
				}
				clear(data[b.Length:])
				err = emit(func(j *encodeJob) {
					j.reset(b.Number)
					j.data, s.out = data, j.data
				})
				if err != nil {
					return err
				}
			}
		},
		func(worker int, j *encodeJob) error {
			if sparse.IsZero(j.data) {
				t.zeros.Add(1)
			}
			return e.compressData(worker, j)
		})
}

// canonicalFrame reports whether a payload is what the format requires writers to
// produce: one zstd frame with content size, without checksum or dictionary, in a
// record no longer than ours get.
func canonicalFrame(p []byte) bool {
	var h zstd.Header
	if h.Decode(p) != nil || h.Skippable || h.HasCheckSum || h.DictionaryID != 0 ||
		!h.HasFCS || h.FrameContentSize != BlockSize || recordSize(int64(len(p))) > maxRecord {
		return false
	}
	for pos := h.HeaderSize; pos+3 <= len(p); {
		b := binary.LittleEndian.Uint16(p[pos:])
		head := uint32(b) | uint32(p[pos+2])<<16
		n := int(head >> 3)
		if head>>1&3 == 1 { // a run: one byte
			n = 1
		}
		pos += 3 + n
		if head&1 == 1 {
			return pos == len(p)
		}
	}
	return false
}
