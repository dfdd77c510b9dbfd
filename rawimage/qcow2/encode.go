package qcow2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/internal/sparse"
)

// unitSize is what a worker encodes at once: 32 clusters, whose L2 entries are
// neighbours in one table.
const unitSize = 2 << 20

// Summary describes what was encoded.
type Summary struct {
	DiskSize  int64 // bytes of the disk, rounded up to 512
	FileSize  int64 // bytes of the image
	DataBytes int64 // bytes of the disk in clusters that are stored
}

// Encode writes the disk of size bytes in src as a QCOW2 image, version 3 with
// clusters of 64 KiB: in one pass, in parallel, and without the clusters that
// hold nothing but zeros. If src has the method NextData its holes are not read.
//
// w must be empty and read as zeros where nothing is written, like a new file.
// The header is written last: until Encode returns without an error, w holds no
// valid image. The image starts with its metadata only in part, so it cannot be
// produced into a pipe.
//
// Memory is about 6 MiB for each worker, and 2 bytes for each 64 KiB of the image.
func Encode(ctx context.Context, w io.WriterAt, src io.ReaderAt, size int64, opts ...EncodeOption) (*Summary, error) {
	if src == nil {
		return nil, fmt.Errorf("qcow2: encode: no source: %w", fs.ErrInvalid)
	}
	return encode(ctx, w, size, opts, func(ctx context.Context, units chan<- unit) error {
		return eachUnit(ctx, sparse.Of(src), size, func(off, n int64) error {
			return send(ctx, units, unit{off: off, size: n, read: func(p []byte) error { return readSource(src, p, off) }})
		})
	})
}

// EncodeStream is [Encode] for a disk that is read from its start to its end. A
// disk that is shorter than size is an error that matches io.ErrUnexpectedEOF;
// what follows size is not read.
func EncodeStream(ctx context.Context, w io.WriterAt, r io.Reader, size int64, opts ...EncodeOption) (*Summary, error) {
	if r == nil {
		return nil, fmt.Errorf("qcow2: encode: no source: %w", fs.ErrInvalid)
	}
	return encode(ctx, w, size, opts, func(ctx context.Context, units chan<- unit) error {
		for off := int64(0); off < size; off += unitSize {
			buf := make([]byte, min(unitSize, size-off))
			if n, err := io.ReadFull(r, buf); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return fmt.Errorf("qcow2: encode: read source at offset %d: %w", off+int64(n), err)
			}
			if err := send(ctx, units, unit{off: off, size: int64(len(buf)), data: buf}); err != nil {
				return err
			}
		}
		return nil
	})
}

// unit is a piece of the disk: its data, or how to read it.
type unit struct {
	off, size int64
	data      []byte
	read      func(p []byte) error
}

// load returns the data of the unit; buf is where it may be read to.
func (u *unit) load(buf []byte) ([]byte, error) {
	if u.read == nil {
		return u.data, nil
	}
	p := buf[:u.size]
	return p, u.read(p)
}

func send(ctx context.Context, units chan<- unit, u unit) error {
	select {
	case units <- u:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// eachUnit calls do for each unit that has data.
func eachUnit(ctx context.Context, find sparse.Finder, size int64, do func(off, n int64) error) error {
	for off := int64(0); off < size; {
		start, end, err := sparse.NextData(find, off, size)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("qcow2: encode: find data at offset %d: %w", off, err)
		}
		for off = max(off, start-start%unitSize); off < end; off += unitSize {
			if err := do(off, min(unitSize, size-off)); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

func readSource(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("qcow2: encode: read source at offset %d: %w", off+int64(n), err)
}

// encode runs produce and the workers, and finishes the image.
func encode(ctx context.Context, w io.WriterAt, size int64, opts []EncodeOption, produce func(context.Context, chan<- unit) error) (*Summary, error) {
	o, err := newEncodeOptions(opts)
	if err != nil {
		return nil, err
	}
	if w == nil || size <= 0 || size > MaxEncodeSize {
		return nil, fmt.Errorf("qcow2: encode: a disk of %d bytes, want 1 to %d: %w", size, int64(MaxEncodeSize), fs.ErrInvalid)
	}
	e := newEncoder(w, size, o.compression)
	report := newEncodeReport(size, o.progress)
	units := make(chan unit)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(units)
		return produce(gctx, units)
	})
	for range o.workers {
		g.Go(func() error { return e.work(gctx, units, report) })
	}
	err = g.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	sum, err := e.finish()
	if err == nil {
		report.to(size, e.stored.Load())
	}
	return sum, err
}

// work encodes units until there are none.
func (e *encoder) work(ctx context.Context, units <-chan unit, report *encodeReport) error {
	c, err := newClusterCompressor(e.compression)
	if err != nil {
		return err
	}
	buf := make([]byte, unitSize)
	for u := range units {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p, err := u.load(buf)
		if err == nil {
			err = e.put(c, u.off, p)
		}
		if err != nil {
			return err
		}
		report.to(u.off+u.size, e.stored.Load())
	}
	return nil
}

// encodeReport calls the caller's progress function, never concurrently and with
// numbers that do not fall.
type encodeReport struct {
	total    int64
	progress func(EncodeProgress)
	busy     atomic.Bool
	done     atomic.Int64
}

func newEncodeReport(total int64, f func(EncodeProgress)) *encodeReport {
	return &encodeReport{total: total, progress: f}
}

// to reports that the disk is encoded up to end, or about; all of it, always.
func (r *encodeReport) to(end, stored int64) {
	if r.progress == nil {
		return
	}
	for was := r.done.Load(); end > was && !r.done.CompareAndSwap(was, end); was = r.done.Load() {
	}
	if !r.busy.CompareAndSwap(false, true) {
		return // another worker is reporting
	}
	defer r.busy.Store(false)
	r.progress(EncodeProgress{Done: r.done.Load(), Total: r.total, Data: stored})
}
