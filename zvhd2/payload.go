package zvhd2

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// blockReader reads the blocks of a file by their index entries. It is not safe
// for concurrent use; its buffers are kept from block to block.
type blockReader struct {
	file file
	foot *footer
	exp  *expander
	rec  []byte // the record read last
}

func newBlockReader(f file, foot *footer) (*blockReader, error) {
	exp, err := newExpander(foot.method)
	return &blockReader{file: f, foot: foot, exp: exp}, err
}

// newBlockReaders returns n of them, for n workers.
func newBlockReaders(n int, f file, foot *footer) ([]*blockReader, error) {
	all := make([]*blockReader, n)
	for i := range all {
		var err error
		if all[i], err = newBlockReader(f, foot); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// record reads the record that an index entry describes. It is valid until the
// next call.
func (r *blockReader) record(e entry) (recordHeader, []byte, error) {
	if int64(cap(r.rec)) < e.length {
		r.rec = make([]byte, e.length)
	}
	rec := r.rec[:e.length]
	if err := r.file.readFull(rec, e.offset, "record"); err != nil {
		return recordHeader{}, nil, inBlock(err, e.block)
	}
	h, err := parseRecordHeader(rec, e.offset, r.foot)
	if err != nil {
		return h, nil, inBlock(err, e.block)
	}
	if h.block != e.block {
		return h, nil, format.Damaged(e.offset+recordOffBlock, "record.block_number", "is %d", h.block).InBlock(e.block)
	}
	if h.entry() != e {
		return h, nil, format.Damaged(e.offset+recordOffPayloadSize, "record.payload_size",
			"is %d, the index gives the record %d bytes", h.payload, e.length).InBlock(e.block)
	}
	return h, rec, h.checkPostfix(rec)
}

// inBlock names the block of an error that a file is to blame for.
func inBlock(err error, block int64) error {
	if fe := asFormatError(err); fe != nil {
		return fe.InBlock(block)
	}
	return err
}

// read reads and expands the block that an index entry describes. The payload is
// valid until the next call.
func (r *blockReader) read(e entry, dst []byte) (payload []byte, err error) {
	h, rec, err := r.record(e)
	if err != nil {
		return nil, err
	}
	_, payload, _ = h.parts(rec)
	return payload, payloadError(r.exp.expand(dst, payload), e)
}

// payloadError wraps what a decompressor says of the record at e.
func payloadError(err error, e entry) error {
	if err == nil {
		return nil
	}
	return format.Damaged(e.offset+recordHeaderSize, "payload", "%w", err).InBlock(e.block)
}

// expander decompresses payloads. It is not safe for concurrent use.
type expander struct {
	method byte
	zstd   *zstd.Decoder
	zlib   io.ReadCloser
	in     bytes.Reader
}

func newExpander(method byte) (*expander, error) {
	x := &expander{method: method}
	if method == methodZstd {
		var err error
		x.zstd, err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecodeAllCapLimit(true), // no more than a block out of any payload
		)
		if err != nil {
			return nil, pkg.Errorf("set up decompressor: %w", err)
		}
	}
	return x, nil
}

// errSize means that a payload is valid but not a block.
var errSize = errors.New("expands to another size than a block")

// expand decompresses payload into dst, all of it and nothing more.
func (x *expander) expand(dst, payload []byte) error {
	if x.method == methodZlib {
		return x.inflate(dst, payload)
	}
	out, err := x.zstd.DecodeAll(payload, dst[:0:len(dst)])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || err == nil && len(out) != len(dst) {
		return errSize
	}
	return err
}

// inflate reads a zlib stream that need not end: the vendor's tool flushes it
// and starts a fresh one for the next block.
func (x *expander) inflate(dst, payload []byte) error {
	x.in.Reset(payload)
	var err error
	if x.zlib == nil {
		x.zlib, err = zlib.NewReader(&x.in)
	} else {
		err = x.zlib.(zlib.Resetter).Reset(&x.in, nil)
	}
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(x.zlib, dst); err != nil {
		return err
	}
	var more [1]byte
	if n, _ := x.zlib.Read(more[:]); n > 0 {
		return errSize
	}
	return nil
}
