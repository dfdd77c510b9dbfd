package zvhd2

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
)

// StreamReader reads the blocks of a ZVHD or ZVHD2 file in sequence, from a
// pipe if need be. It is the only way to read ZVHD, each of whose blocks needs
// all before it. It is not safe for concurrent use.
type StreamReader struct {
	r    io.Reader
	off  int64 // in the file
	foot *footer
	last int64 // the block read last
	dec  *decoder
	rec  bytes.Buffer
	out  []byte
	err  error // sticky

	// ZVHD: one zlib stream through all payloads.
	zlib io.ReadCloser
	feed bytes.Reader // what of the payloads is left to read
}

// NewStreamReader reads the header of a ZVHD or ZVHD2 file. No option applies
// to it so far.
func NewStreamReader(r io.Reader, opts ...Option) (*StreamReader, error) {
	if _, err := newOptions(opts); err != nil {
		return nil, err
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
		s.dec, err = newDecoder(s.foot.method)
	}
	return s, err
}

// Format returns "zvhd" or "zvhd2".
func (s *StreamReader) Format() string {
	if s.foot.zvhd {
		return "zvhd"
	}
	return "zvhd2"
}

// Size returns the bytes of the disk.
func (s *StreamReader) Size() int64 { return s.foot.origSize }

// Info returns what the header says; the sizes and counts that only stand at
// the end of a file are zero.
func (s *StreamReader) Info() Info {
	f := s.foot
	return Info{
		Size: f.origSize, VirtualSize: f.currSize, BlockSize: f.blockSize, Blocks: f.maxBlk,
		Compression: f.compression(), FullIndex: f.fullIndex, UUID: f.uuid, Created: f.created(),
	}
}

// Next returns the next stored block and its data, which is valid until the
// next call and always a whole block long. It returns io.EOF at the end of the
// data; what follows in a ZVHD2 file, the index, is not read.
func (s *StreamReader) Next() (Block, []byte, error) {
	if s.err != nil {
		return Block{}, nil, s.err
	}
	b, err := s.next()
	if err != nil {
		s.err = err
		return Block{}, nil, err
	}
	return b, s.out, nil
}

func (s *StreamReader) next() (Block, error) {
	start := s.off
	s.rec.Reset()
	if err := s.fill(pageSize, "record"); err != nil {
		return Block{}, err
	}
	if zvhd, err := parseCookie(s.rec.Bytes(), start); err == nil && zvhd == s.foot.zvhd {
		return Block{}, s.endOfData(start)
	}
	h, err := parseRecordHead(s.rec.Bytes(), start)
	if err != nil {
		return Block{}, err
	}
	if h.block <= s.last || h.block >= s.foot.maxBlk {
		return Block{}, blockErr(h.block, start+16, "record.block_number", ErrFormat,
			"follows block %d on a disk of %d blocks", s.last, s.foot.maxBlk)
	}
	if h.payload == 0 || h.payload > s.foot.maxPayload() {
		return Block{}, blockErr(h.block, start+12, "record.payload_size", ErrFormat, "is %d", h.payload)
	}
	size := recordSize(h.payload)
	if err := s.fill(size-pageSize, "record"); err != nil {
		return Block{}, err
	}
	rec := s.rec.Bytes()
	if string(rec[size-recordTrailer:]) != recordEnd {
		return Block{}, blockErr(h.block, start+size-recordTrailer, "record.postfix", ErrFormat, "is %q", rec[size-recordTrailer:])
	}
	if s.out == nil {
		s.out = make([]byte, s.foot.blockSize)
	}
	e := entry{block: h.block, offset: start, length: size}
	if err := expandErr(s.expand(rec[recordHeader:recordHeader+h.payload]), e); err != nil {
		return Block{}, err
	}
	s.last = h.block
	off := h.block * s.foot.blockSize
	return Block{
		Number: h.block, Offset: off, Length: min(s.foot.blockSize, s.foot.origSize-off),
		FileOffset: start, FileLength: size,
	}, nil
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
		return fieldErr(s.off, what, ErrTruncated, "%d of %d bytes", got, n)
	}
	if err != nil {
		return fmt.Errorf("zvhd2: read %s at offset %d: %w", what, s.off, err)
	}
	return nil
}

// maxLeft is how much of a ZVHD payload may be left when its block is full:
// the end of a deflate block and the flush marker, with some room.
const maxLeft = 64

func (s *StreamReader) expand(payload []byte) error {
	if !s.foot.zvhd {
		return s.dec.expand(s.out, payload)
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
	// The buffer behind the feed is reused by the next record.
	s.feed.Reset(bytes.Clone(payload[len(payload)-s.feed.Len():]))
	return nil
}

// Decode unpacks the rest of the disk to w, with holes as the function
// [Decode] makes them. It must be called before Next. It heeds [WithProgress].
func (s *StreamReader) Decode(ctx context.Context, w io.WriterAt, opts ...Option) error {
	o, err := newOptions(opts)
	if err != nil {
		return err
	}
	t, err := newTarget(w, s.foot, o)
	if err != nil {
		return err
	}
	defer t.meter.stop()
	next := int64(0)
	gap := func(end int64) error {
		for ; next < end; next++ {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if t.sparse {
				t.meter.skipped.Add(t.length(next))
			} else if err := t.writeZeros(next); err != nil {
				return err
			}
		}
		return nil
	}
	err = s.each(ctx, func(block int64, data []byte) error {
		if err := gap(block); err != nil {
			return err
		}
		next = block + 1
		return t.writeBlock(block, data)
	})
	if err != nil {
		return err
	}
	return gap(s.foot.maxBlk)
}

// DecodeTo unpacks the disk to w in sequence, zeros included. It must be
// called before Next. It heeds [WithProgress].
func (s *StreamReader) DecodeTo(ctx context.Context, w io.Writer, opts ...Option) error {
	o, err := newOptions(opts)
	if err != nil {
		return err
	}
	q := newSequence(w, s.foot, o)
	defer q.meter.stop()
	err = s.each(ctx, func(block int64, data []byte) error { return q.writeBlock(ctx, block, data) })
	if err != nil {
		return err
	}
	return q.zerosTo(ctx, s.foot.maxBlk)
}

// each calls f for each block that is left.
func (s *StreamReader) each(ctx context.Context, f func(block int64, data []byte) error) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, data, err := s.Next()
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
