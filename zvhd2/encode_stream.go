package zvhd2

import (
	"context"
	"fmt"
	"io"
)

// EncodeStream is [Encode] for a disk of size bytes that can only be read from its
// start to its end, such as one that is being decompressed. The output is the same
// byte for byte. It reads in one goroutine, a block ahead of those that compress,
// and to the end of r: fewer bytes than size are io.ErrUnexpectedEOF, more are
// [ErrSource].
func EncodeStream(ctx context.Context, w io.Writer, r io.Reader, size int64, opts ...Option) (*Summary, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if size <= 0 || size > MaxDiskSize {
		return nil, fmt.Errorf("%w: %d bytes: want 1 byte to 64 TiB", ErrSize, size)
	}
	uuid, stamp := o.identity(nil)
	e := newEncoder(w, newFooter(size, uuid, stamp), o)
	defer e.meter.stop()
	return e.run(ctx,
		func(emit func(func(*slot)) error) error { return readStream(r, size, emit) },
		func(worker int, s *slot) error {
			if isZero(s.in) {
				return nil
			}
			return e.comp.record(worker, s, s.in)
		})
}

// readStream emits all blocks of a disk. Blocks of zeros too: that keeps a long
// run of them in step with the rest, which may have failed meanwhile.
func readStream(r io.Reader, size int64, emit func(func(*slot)) error) error {
	buf := make([]byte, BlockSize)
	for off := int64(0); off < size; off += BlockSize {
		n, err := io.ReadFull(r, buf[:min(BlockSize, size-off)])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("zvhd2: read source at offset %d: %w", off+int64(n), err)
		}
		clear(buf[n:])
		// The slot takes the block, and leaves the buffer of one that is done.
		err = emit(func(s *slot) { s.block, s.in, buf = off/BlockSize, buf, s.in })
		if err != nil {
			return err
		}
		if buf == nil {
			buf = make([]byte, BlockSize)
		}
	}
	return streamEnds(r, size)
}

// streamEnds wants nothing to follow the disk. It also gives a reader that checks
// what it has read the occasion to say so.
func streamEnds(r io.Reader, size int64) error {
	var one [1]byte
	_, err := io.ReadFull(r, one[:])
	switch err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: it has more than its %d bytes", ErrSource, size)
	}
	return fmt.Errorf("zvhd2: read source at offset %d: %w", size, err)
}
