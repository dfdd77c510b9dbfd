package zvhd2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// decoder expands payloads. It is not safe for concurrent use; its buffers are
// kept from block to block.
type decoder struct {
	method byte
	rec    []byte // a record read
	zstd   *zstd.Decoder
	zlib   io.ReadCloser
	in     bytes.Reader
}

func newDecoder(method byte) (*decoder, error) {
	d := &decoder{method: method}
	if method == methodZstd {
		var err error
		d.zstd, err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecodeAllCapLimit(true), // no more than a block out of any payload
		)
		if err != nil {
			return nil, fmt.Errorf("zvhd2: set up decompressor: %w", err)
		}
	}
	return d, nil
}

// errSize means that a payload is sound but not a block.
var errSize = errors.New("expands to another size than a block")

// expand decompresses payload into dst, all of it and nothing more.
func (d *decoder) expand(dst, payload []byte) error {
	if d.method == methodZlib {
		return d.inflate(dst, payload)
	}
	out, err := d.zstd.DecodeAll(payload, dst[:0:len(dst)])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || err == nil && len(out) != len(dst) {
		return errSize
	}
	return err
}

// inflate reads a zlib stream that need not end: the vendor flushes it and
// goes on with the next block's.
func (d *decoder) inflate(dst, payload []byte) error {
	d.in.Reset(payload)
	var err error
	if d.zlib == nil {
		d.zlib, err = zlib.NewReader(&d.in)
	} else {
		err = d.zlib.(zlib.Resetter).Reset(&d.in, nil)
	}
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(d.zlib, dst); err != nil {
		return err
	}
	var more [1]byte
	if n, _ := d.zlib.Read(more[:]); n > 0 {
		return errSize
	}
	return nil
}

// recordHead is what a record's first 48 bytes say.
type recordHead struct {
	payload int64
	block   int64
}

// parseRecordHead reads a record's first bytes, which stand at off.
func parseRecordHead(b []byte, off int64) (recordHead, error) {
	if string(b[:len(recordMagic)]) != recordMagic {
		return recordHead{}, fieldErr(off, "record.prefix", ErrFormat, "is %q", b[:len(recordMagic)])
	}
	return recordHead{
		payload: int64(binary.LittleEndian.Uint32(b[12:])),
		block:   int64(binary.LittleEndian.Uint32(b[16:])),
	}, nil
}

// readRecord reads a block's record and returns its payload, which is valid
// until the next call.
func (r *Reader) readRecord(d *decoder, e entry) ([]byte, error) {
	if int64(cap(d.rec)) < e.length {
		d.rec = make([]byte, e.length)
	}
	rec := d.rec[:e.length]
	if err := r.readFull(rec, e.offset, "record"); err != nil {
		return nil, err
	}
	h, err := parseRecordHead(rec, e.offset)
	if err != nil {
		err.(*FormatError).Block = e.block
		return nil, err
	}
	if h.block != e.block {
		return nil, blockErr(e.block, e.offset+16, "record.block_number", ErrFormat, "is %d", h.block)
	}
	if h.payload == 0 || recordSize(h.payload) != e.length {
		return nil, blockErr(e.block, e.offset+12, "record.payload_size", ErrFormat,
			"is %d, the index gives the record %d bytes", h.payload, e.length)
	}
	if string(rec[e.length-recordTrailer:]) != recordEnd {
		return nil, blockErr(e.block, e.offset+e.length-recordTrailer, "record.postfix", ErrFormat,
			"is %q", rec[e.length-recordTrailer:])
	}
	return rec[recordHeader : recordHeader+h.payload], nil
}

// readBlock reads and expands a stored block.
func (r *Reader) readBlock(d *decoder, block int64, dst []byte) error {
	e, err := r.entryOf(block)
	if err != nil {
		return err
	}
	payload, err := r.readRecord(d, e)
	if err != nil {
		return err
	}
	return expandErr(d.expand(dst, payload), e)
}

// expandErr wraps what a decompressor says.
func expandErr(err error, e entry) error {
	if err == nil {
		return nil
	}
	return &FormatError{Offset: e.offset + recordHeader, Field: "payload", Block: e.block, Err: fmt.Errorf("%w: %w", ErrPayload, err)}
}
