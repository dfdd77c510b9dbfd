package zvhd2

import (
	"bytes"
	"context"
	"io"

	"github.com/klauspost/compress/zlib"
)

// StreamReader reads the blocks of a ZVHD or ZVHD2 file in sequence, from a
// pipe if need be. It is the only way to read ZVHD, each of whose blocks needs
// all before it. It is not safe for concurrent use.
//
// Next, Decode and DecodeStream consume it: Decode and DecodeStream work once,
// and only before Next.
type StreamReader struct {
	r        io.Reader
	off      int64 // in the file
	foot     *footer
	consumed bool  // a block has been asked for
	decoded  bool  // by Decode or DecodeStream
	last     int64 // the block read last
	exp      *expander
	rec      bytes.Buffer // the record read last
	head     recordHeader // of it
	out      []byte
	err      error // sticky

	// ZVHD: one zlib stream through all payloads.
	zlib io.ReadCloser
	feed bytes.Reader // what of the payloads is left to read
}

// NewStreamReader reads the header of a ZVHD or ZVHD2 file. It uses no options
// so far.
func NewStreamReader(r io.Reader, opts ...Option) (*StreamReader, error) {
	if _, err := newOptions(opts, 0); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, invalid("no file")
	}
	s := &StreamReader{r: r, last: -1}
	if err := s.fill(pageSize, "header"); err != nil {
		return nil, err
	}
	var err error
	if s.foot, err = parseFooter(s.rec.Bytes(), 0, false); err != nil {
		return nil, err
	}
	if !s.foot.zvhd {
		s.exp, err = newExpander(s.foot.method)
	}
	return s, err
}

// Format returns "zvhd" or "zvhd2".
func (s *StreamReader) Format() string { return s.foot.name() }

// Size returns the bytes of the disk.
func (s *StreamReader) Size() int64 { return s.foot.origSize }

// Info returns what the header says; the sizes and counts that are only known at
// the end of a file are zero.
func (s *StreamReader) Info() Info { return s.foot.info() }

// Next returns the next stored block and its data, which is valid until the
// next call and always a whole block long. It returns io.EOF at the end of the
// data; what follows in a ZVHD2 file, the index, is not read. After a call of
// Decode or DecodeStream it returns [ErrConsumed].
func (s *StreamReader) Next() (Block, []byte, error) {
	if s.decoded {
		return Block{}, nil, ErrConsumed
	}
	s.consumed = true
	return s.advance()
}

// advance is Next for decoding as well, whose reading may go on for a moment after
// it was cancelled.
func (s *StreamReader) advance() (Block, []byte, error) {
	if s.err != nil {
		return Block{}, nil, s.err
	}
	e, err := s.next()
	if err != nil {
		s.err = err
		return Block{}, nil, err
	}
	return s.foot.block(e), s.out, nil
}

func (s *StreamReader) next() (entry, error) {
	start := s.off
	s.rec.Reset()
	if err := s.fill(pageSize, "record"); err != nil {
		if fe := asFormatError(err); fe != nil && s.off == pageSize {
			err = format.Truncated(pageSize, "file", "%s", neverWritten)
		}
		return entry{}, err
	}
	if zvhd, err := parseCookie(s.rec.Bytes(), start); err == nil && zvhd == s.foot.zvhd {
		return entry{}, s.endOfData(start)
	}
	h, err := parseRecordHeader(s.rec.Bytes(), start, s.foot)
	if err != nil {
		return entry{}, err
	}
	if h.block <= s.last {
		return entry{}, format.Damaged(start+recordOffBlock, "record.block_number", "follows block %d", s.last).InBlock(h.block)
	}
	e := h.entry()
	if err := s.fill(e.length-pageSize, "record"); err != nil {
		return entry{}, inBlock(err, h.block)
	}
	if err := h.checkPostfix(s.rec.Bytes()); err != nil {
		return entry{}, err
	}
	if s.out == nil {
		s.out = make([]byte, s.foot.blockSize)
	}
	_, payload, _ := h.parts(s.rec.Bytes())
	if err := payloadError(s.expand(payload), e); err != nil {
		return entry{}, err
	}
	s.last, s.head = h.block, h
	return e, nil
}

// endOfData checks the structure that ends the records. The vendor's tool
// leaves its checksum stale in ZVHD2.
func (s *StreamReader) endOfData(base int64) error {
	f, err := parseFooter(s.rec.Bytes(), base, true)
	if err == nil {
		err = compareFooters(s.foot, f, base)
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

// fill appends n bytes of the file to s.rec. The buffer grows as they come, so
// a length that lies costs no memory.
func (s *StreamReader) fill(n int64, what string) error {
	got, err := io.CopyN(&s.rec, s.r, n)
	s.off += got
	if err == io.EOF {
		return format.Truncated(s.off, what, "%d of %d bytes", got, n)
	}
	if err != nil {
		return pkg.Errorf("read %s at offset %d: %w", what, s.off, err)
	}
	return nil
}

// maxLeft is how much of a ZVHD payload may be left when its block is full:
// the end of a deflate block and the flush marker, with some room.
const maxLeft = 64

func (s *StreamReader) expand(payload []byte) error {
	if !s.foot.zvhd {
		return s.exp.expand(s.out, payload)
	}
	if left := s.feed.Len(); left > 0 {
		rest := make([]byte, left, left+len(payload))
		_, _ = s.feed.Read(rest)
		payload = append(rest, payload...)
	}
	s.feed.Reset(payload)
	if s.zlib == nil {
		var err error
		if s.zlib, err = zlib.NewReader(&s.feed); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(s.zlib, s.out); err != nil {
		return err
	}
	if s.feed.Len() > maxLeft {
		return errSize
	}
	// The feed reads from a buffer that the next record reuses.
	s.feed.Reset(bytes.Clone(payload[len(payload)-s.feed.Len():]))
	return nil
}

// Decode writes the disk to w, with holes as [Reader.Decode] makes them. It must
// be called before Next; otherwise it returns [ErrConsumed] and writes nothing.
// When ctx ends it returns as soon as a write in progress has ended, even while
// the file is blocked; the StreamReader is of no use then.
//
// Decode uses [WithMaxDiskSize] and [WithProgress].
func (s *StreamReader) Decode(ctx context.Context, w io.WriterAt, opts ...Option) error {
	o, err := s.decodeOptions(opts)
	if err != nil {
		return err
	}
	t, err := newTarget(w, s.foot, o)
	if err != nil {
		return err
	}
	defer t.meter.stop()
	next := int64(0)
	zerosTo := func(end int64) error {
		for ; next < end; next++ {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if t.sparse {
				t.meter.skipped.Add(t.foot.blockLen(next))
			} else if err := t.writeZeros(next); err != nil {
				return err
			}
		}
		return nil
	}
	err = s.decode(ctx, func(j *decodeJob) error {
		if err := zerosTo(j.block); err != nil {
			return err
		}
		next = j.block + 1
		return t.writeBlock(j.block, j.data)
	})
	if err != nil {
		return err
	}
	return zerosTo(s.foot.maxBlk)
}

// DecodeStream writes the disk to w from start to end, zeros included. Otherwise
// it is like [StreamReader.Decode].
func (s *StreamReader) DecodeStream(ctx context.Context, w io.Writer, opts ...Option) error {
	o, err := s.decodeOptions(opts)
	if err != nil {
		return err
	}
	q, err := newSequence(w, s.foot, o)
	if err != nil {
		return err
	}
	defer q.meter.stop()
	err = s.decode(ctx, func(j *decodeJob) error { return q.writeBlock(ctx, j.block, j.data) })
	if err != nil {
		return err
	}
	return q.zerosTo(ctx, s.foot.maxBlk)
}

func (s *StreamReader) decodeOptions(opts []Option) (*options, error) {
	o, err := newOptions(opts, optMaxDiskSize|optProgress)
	if err == nil && s.consumed {
		err = ErrConsumed
	}
	return o, err
}

// decode calls write for every block, while the blocks after it are read.
func (s *StreamReader) decode(ctx context.Context, write func(*decodeJob) error) error {
	s.consumed, s.decoded = true, true // also for what a cancelled run leaves behind
	p := &pipeline[decodeJob]{
		workers: 1,
		produce: func(emit func(func(*decodeJob)) error) error {
			return s.each(func(block int64, data []byte) error {
				return emit(func(j *decodeJob) {
					// The job takes the block, and leaves the buffer of one that is done.
					j.block, j.data, s.out = block, data, j.data
				})
			})
		},
		consume: write,
	}
	return p.run(ctx)
}

// each calls f for each block that is left.
func (s *StreamReader) each(f func(block int64, data []byte) error) error {
	for {
		b, data, err := s.advance()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(b.Number, data); err != nil {
			return err
		}
	}
}
