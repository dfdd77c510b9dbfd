package zvhd2

import (
	"context"
	"io"

	"github.com/fastimage/fastimage/internal/sparse"
)

// EncodeStream is [Encode] for a disk of size bytes that can only be read from
// start to end, such as one that is being decompressed. The output is the same
// byte for byte. It reads in one goroutine, a block ahead of those that compress,
// and to the end of r: fewer bytes than size are io.ErrUnexpectedEOF, more are
// [ErrSource].
func EncodeStream(ctx context.Context, w io.Writer, r io.Reader, size int64, opts ...Option) (*Summary, error) {
	o, err := newOptions(opts, optsEncode)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, invalid("no disk to read")
	}
	if err := checkDiskSize(size); err != nil {
		return nil, err
	}
	e, err := newEncoder(w, size, nil, o)
	if err != nil {
		return nil, err
	}
	defer e.meter.stop()
	return e.run(ctx,
		func(emit func(func(*encodeJob)) error) error { return readStream(r, size, emit) },
		e.compressData)
}

// compressData makes the record of a job whose content the producer has read.
func (e *encoder) compressData(worker int, j *encodeJob) error {
	if sparse.IsZero(j.data) {
		return nil
	}
	return e.comp.compress(worker, j, j.data)
}

// readStream emits all blocks of a disk. Blocks of zeros too: that keeps a long
// run of them in step with the rest, which may have failed meanwhile.
func readStream(r io.Reader, size int64, emit func(func(*encodeJob)) error) error {
	buf := make([]byte, BlockSize)
	for off := int64(0); off < size; off += BlockSize {
		n, err := io.ReadFull(r, buf[:min(BlockSize, size-off)])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return pkg.Errorf("read source at offset %d: %w", off+int64(n), err)
		}
		clear(buf[n:])
		// The job takes the block, and leaves the buffer of one that is done.
		err = emit(func(j *encodeJob) {
			j.reset(off / BlockSize)
			j.data, buf = buf, j.data
		})
		if err != nil {
			return err
		}
		if buf == nil {
			buf = make([]byte, BlockSize)
		}
	}
	return streamEnds(r, size)
}

// streamEnds checks that nothing follows the disk. It also gives a reader that
// verifies what it has read the opportunity to report an error.
func streamEnds(r io.Reader, size int64) error {
	var one [1]byte
	_, err := io.ReadFull(r, one[:])
	switch err {
	case io.EOF:
		return nil
	case nil:
		return pkg.Errorf("%w: it has more than %d bytes", ErrSource, size)
	}
	return pkg.Errorf("read source at offset %d: %w", size, err)
}
