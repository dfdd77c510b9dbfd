package zvhd2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// OptimizeReport tells what [Optimize] did.
type OptimizeReport struct {
	Summary
	Format       string   // of the input: "zvhd2" or "zvhd"
	InputSize    int64    // bytes of the input
	SavedBytes   int64    // InputSize less FileSize; negative if the output is larger
	Carried      int64    // blocks whose payloads were taken over
	Recompressed int64    // blocks compressed anew
	DroppedZeros int64    // stored blocks that held nothing but zeros
	Changes      []string // what was not canonical, each in a few words
}

// Optimize rewrites the ZVHD2 or ZVHD file of size bytes in ra to w as a
// canonical ZVHD2: zstd, 2 MiB blocks, dense index, blocks ascending, no zero
// blocks, nothing between the records, valid checksums. Payloads that are
// canonical already are carried over, after they have been decompressed to see
// that they are sound, unless [WithLevel] asks for compression anew. UUID and
// timestamp are those of the input unless given.
//
// Optimize heeds the options of [Encode].
func Optimize(ctx context.Context, w io.Writer, ra io.ReaderAt, size int64, opts ...Option) (*OptimizeReport, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if size < pageSize {
		return nil, fieldErr(0, "file", ErrTruncated, "%d bytes", size)
	}
	head, err := (&Reader{ra: ra, size: size}).readFooter(0)
	if err != nil {
		return nil, err
	}
	t := &optimizer{o: o, rep: &OptimizeReport{Format: "zvhd2", InputSize: size}}
	if head.zvhd {
		t.rep.Format = "zvhd"
		err = t.stream(ctx, w, io.NewSectionReader(ra, 0, size))
	} else {
		err = t.container(ctx, w, ra, size)
	}
	if err != nil {
		return nil, err
	}
	return t.finish(), nil
}

type optimizer struct {
	o     *options
	rep   *OptimizeReport
	zeros atomic.Int64
}

// canonicalFooter returns the header of the output for the input's.
func (o *options) canonicalFooter(in *footer) footer {
	uuid, stamp := o.identity(in)
	return newFooter(in.origSize, uuid, stamp)
}

func (t *optimizer) finish() *OptimizeReport {
	r, l := t.rep, t.rep.Levels
	r.Carried, r.DroppedZeros = l.Carried, t.zeros.Load()
	r.Recompressed = r.StoredBlocks - r.Carried
	r.SavedBytes = r.InputSize - r.FileSize
	if r.Recompressed > 0 {
		l.Carried = 0
		r.Changes = append(r.Changes, fmt.Sprintf("%d blocks compressed anew (%s)", r.Recompressed, l))
	}
	if r.DroppedZeros > 0 {
		r.Changes = append(r.Changes, fmt.Sprintf("%d stored blocks of zeros dropped", r.DroppedZeros))
	}
	return r
}

func (t *optimizer) change(is bool, format string, args ...any) {
	if is {
		t.rep.Changes = append(t.rep.Changes, fmt.Sprintf(format, args...))
	}
}

func (t *optimizer) container(ctx context.Context, w io.Writer, ra io.ReaderAt, size int64) error {
	r, err := NewReader(ra, size)
	if err != nil {
		return err
	}
	f := r.foot
	eod, err := readStale(r)
	if err != nil {
		return err
	}
	t.change(f.fullIndex, "full index made dense")
	t.change(f.method == methodZlib, "zlib replaced by zstd")
	t.change(f.blockSize != BlockSize, "blocks of %d MiB cut to 2 MiB", f.blockSize>>20)
	t.change(eod, "stale checksum after the records renewed")
	if err := t.layout(r); err != nil {
		return err
	}
	var sum *Summary
	if f.blockSize == BlockSize {
		sum, err = t.carry(ctx, w, r)
	} else {
		// Each block of the input is wanted by as many blocks of the output
		// as there are workers, or the other way round.
		r.cache = newCache(int64(t.o.workers+2)*f.blockSize, f.blockSize)
		sum, err = encode(ctx, w, newSource(r, f.origSize), t.o.canonicalFooter(f), t.o)
	}
	if err != nil {
		return err
	}
	t.rep.Summary = *sum
	return nil
}

// layout tells how the records lie in the input.
func (t *optimizer) layout(r *Reader) error {
	last, used, ordered := int64(0), int64(pageSize), true
	err := r.storedBlocks(func(block int64) error {
		e, err := r.entryOf(block)
		ordered, last, used = ordered && e.offset > last, e.offset, used+e.length
		return err
	})
	waste := r.foot.eodOffset() - used
	t.change(!ordered, "blocks put in ascending order")
	t.change(waste > 0, "%d bytes between the records dropped", waste)
	return err
}

// readStale reports whether the checksum of the copy after the records is
// stale. Whatever else is wrong there is replaced without a word.
func readStale(r *Reader) (bool, error) {
	_, err := r.readFooter(r.foot.eodOffset())
	var fe *FormatError
	if err != nil && !errors.As(err, &fe) {
		return false, err
	}
	return errors.Is(err, ErrChecksum), nil
}

// storedBlocks emits the numbers of stored blocks.
func (r *Reader) storedBlocks(emit func(int64) error) error {
	for b := r.bitmap.next(0, r.foot.maxBlk, true); b < r.foot.maxBlk; b = r.bitmap.next(b+1, r.foot.maxBlk, true) {
		if err := emit(b); err != nil {
			return err
		}
	}
	return nil
}

// carry writes the blocks of a file that has the output's block size.
func (t *optimizer) carry(ctx context.Context, w io.Writer, r *Reader) (*Summary, error) {
	decs, err := newDecoders(t.o.workers, r.foot.method)
	if err != nil {
		return nil, err
	}
	e := newEncoder(w, t.o.canonicalFooter(r.foot), t.o)
	defer e.meter.stop()
	return e.run(ctx,
		func(emit func(func(*slot)) error) error {
			return r.storedBlocks(func(b int64) error { return emit(func(s *slot) { s.block = b }) })
		},
		func(worker int, s *slot) error {
			ent, err := r.entryOf(s.block)
			if err != nil {
				return err
			}
			return t.carryBlock(e.comp, decs[worker], worker, s, r, ent)
		})
}

func (t *optimizer) carryBlock(c *compressor, d *decoder, worker int, s *slot, r *Reader, e entry) error {
	payload, err := r.readRecord(d, e)
	if err != nil {
		return err
	}
	raw := c.raw(worker)
	if err := expandErr(d.expand(raw, payload), e); err != nil {
		return err
	}
	// What a foreign writer left behind the disk's end is not the disk's.
	n := r.blockLen(s.block)
	tail := !isZero(raw[n:])
	clear(raw[n:])
	if isZero(raw) {
		t.zeros.Add(1)
		return nil
	}
	if t.o.level != 0 || tail || r.foot.method != methodZstd || !canonicalFrame(payload) {
		return c.record(worker, s, raw)
	}
	if s.buf == nil {
		s.buf = make([]byte, 0, maxRecord)
	}
	s.tag, s.out = tagCarried, sealRecord(append(s.buf[:recordHeader], payload...), s.block)
	return nil
}

// canonicalFrame reports whether a payload is what the format asks writers
// for: one zstd frame with content size, without checksum or dictionary, in a
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

// stream rewrites a ZVHD file: decompressing is sequential, compressing is not.
func (t *optimizer) stream(ctx context.Context, w io.Writer, r io.Reader) error {
	s, err := NewStreamReader(r)
	if err != nil {
		return err
	}
	t.change(true, "ZVHD turned into ZVHD2")
	sum, err := t.fromStream(ctx, w, s, func(err error) error { return err })
	if err != nil {
		return err
	}
	t.rep.Summary = *sum
	return nil
}

// fromStream writes the blocks of a stream; cut has the last word about the
// error that ends it.
func (t *optimizer) fromStream(ctx context.Context, w io.Writer, sr *StreamReader, cut func(error) error) (*Summary, error) {
	e := newEncoder(w, t.o.canonicalFooter(sr.foot), t.o)
	defer e.meter.stop()
	return e.run(ctx,
		func(emit func(func(*slot)) error) error {
			for {
				b, data, err := sr.Next()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return cut(err)
				}
				clear(data[b.Length:])
				if err := emit(func(s *slot) {
					s.block = b.Number
					s.in = append(s.in[:0], data...)
				}); err != nil {
					return err
				}
			}
		},
		func(worker int, s *slot) error {
			if isZero(s.in) {
				t.zeros.Add(1)
				return nil
			}
			return e.comp.record(worker, s, s.in)
		})
}
