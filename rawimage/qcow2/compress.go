package qcow2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

var (
	errShort = errors.New("compressed cluster expands to less than a cluster")
	errLong  = errors.New("compressed cluster expands to more than a cluster")
)

// decompressor turns the sectors of a compressed cluster into the cluster. It
// fills dst to its length and never makes more. src may be longer than the
// data: what follows is the next cluster's. Safe for concurrent use.
type decompressor interface {
	decompress(dst, src []byte) error
}

func newDecompressor(kind byte) (decompressor, error) {
	if kind != compressionZstd {
		return new(deflate), nil
	}
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0), // as many at once as there are processors
		zstd.WithDecodeAllCapLimit(true),
		// What the zstd library itself takes unless told otherwise. Decoding
		// into dst takes no memory for a window.
		zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, fmt.Errorf("qcow2: zstd: %w", err)
	}
	return &zstandard{d}, nil
}

// deflate is compression type zlib: a bare deflate stream.
type deflate struct{ pool sync.Pool }

type inflater struct {
	src bytes.Reader
	dec io.ReadCloser
}

func (d *deflate) decompress(dst, src []byte) error {
	in, _ := d.pool.Get().(*inflater)
	if in == nil {
		in = new(inflater)
		in.dec = flate.NewReader(&in.src)
	}
	defer d.pool.Put(in)
	in.src.Reset(src)
	defer in.src.Reset(nil)
	if err := in.dec.(flate.Resetter).Reset(&in.src, nil); err != nil {
		return err
	}
	switch _, err := io.ReadFull(in.dec, dst); {
	case err == io.ErrUnexpectedEOF, err == io.EOF:
		return errShort
	case err != nil:
		return err
	}
	var one [1]byte
	if n, _ := in.dec.Read(one[:]); n > 0 {
		return errLong
	}
	return nil
}

// zstandard is compression type zstd: one frame, or more.
type zstandard struct{ dec *zstd.Decoder }

func (z *zstandard) decompress(dst, src []byte) error {
	for n := 0; n < len(dst); {
		frame, err := firstFrame(src)
		if err != nil {
			if n > 0 {
				return errShort
			}
			return err
		}
		rest := dst[n:len(dst):len(dst)]
		out, err := z.dec.DecodeAll(src[:frame], rest[:0])
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded), len(out) > len(rest):
			return errLong
		case err != nil:
			return err
		case len(out) > 0 && &out[0] != &rest[0]:
			copy(rest, out)
		}
		n += len(out)
		src = src[frame:]
	}
	return nil
}

// firstFrame is the length of the zstd frame at the start of src. The decoder
// takes all it is given for frames, and what follows here is none.
func firstFrame(src []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return 0, fmt.Errorf("zstd frame header: %w", err)
	}
	if h.Skippable {
		return 0, errors.New("zstd frame without data")
	}
	n := h.HeaderSize
	for last := false; !last; {
		if len(src)-n < 3 {
			return 0, fmt.Errorf("zstd block header: %w", io.ErrUnexpectedEOF)
		}
		bh := uint32(src[n]) | uint32(src[n+1])<<8 | uint32(src[n+2])<<16
		last = bh&1 != 0
		size := int(bh >> 3)
		if bh>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		if n += 3; size > len(src)-n {
			return 0, fmt.Errorf("zstd block: %w", io.ErrUnexpectedEOF)
		}
		n += size
	}
	if h.HasCheckSum {
		if n += 4; n > len(src) {
			return 0, fmt.Errorf("zstd checksum: %w", io.ErrUnexpectedEOF)
		}
	}
	return n, nil
}
