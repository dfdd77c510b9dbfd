package zvhd2

import (
	"context"
	"fmt"
	"io"
)

// OptimizeReport says what [Optimize] did.
type OptimizeReport struct {
	Summary
	Format       string   // of the input: "zvhd2" or "zvhd"
	InputSize    int64    // bytes of the input
	SavedBytes   int64    // InputSize less FileSize; negative if the output is larger
	DroppedZeros int64    // stored blocks that held nothing but zeros
	Changes      []string // what was not canonical, each in a few words
}

// Optimize rewrites the ZVHD2 or ZVHD file of size bytes in ra to w as a
// canonical ZVHD2: zstd, 2 MiB blocks, dense index, blocks ascending, no zero
// blocks, nothing between the records, valid checksums. Payloads that are
// canonical already are kept, after they have been decompressed to check that they
// are intact, unless [WithLevel] asks for recompression. UUID and timestamp are
// those of the input unless given.
//
// Optimize uses the options of [Encode], and returns as soon as ctx ends like it.
func Optimize(ctx context.Context, w io.Writer, ra io.ReaderAt, size int64, opts ...Option) (*OptimizeReport, error) {
	o, err := newOptions(opts, optsEncode)
	if err != nil {
		return nil, err
	}
	f, err := newFile(ra, size)
	if err != nil {
		return nil, err
	}
	head, err := await(ctx, f.header)
	if err != nil {
		return nil, err
	}
	t := &rewriter{o: o, in: f, foot: head, settle: func(_ int64, err error) error { return err }}
	rep := &OptimizeReport{Format: head.name(), InputSize: size}
	var sum *Summary
	if head.zvhd {
		sum, err = rep.stream(ctx, w, t)
	} else {
		sum, err = rep.container(ctx, w, t)
	}
	if err != nil {
		return nil, err
	}
	rep.finish(sum, t.zeros.Load())
	return rep, nil
}

// stream rewrites a ZVHD file: decompressing is sequential, compressing is not.
func (r *OptimizeReport) stream(ctx context.Context, w io.Writer, t *rewriter) (*Summary, error) {
	s, err := await(ctx, func() (*StreamReader, error) {
		return NewStreamReader(io.NewSectionReader(t.in.ra, 0, t.in.size))
	})
	if err != nil {
		return nil, err
	}
	r.change(true, "ZVHD converted to ZVHD2")
	return t.stream(ctx, w, s, func(err error) error { return err })
}

func (r *OptimizeReport) container(ctx context.Context, w io.Writer, t *rewriter) (*Summary, error) {
	in, err := await(ctx, func() (*Reader, error) {
		in, err := newReader(t.in, 0)
		if err != nil {
			return nil, err
		}
		return in, r.inspect(in)
	})
	if err != nil {
		return nil, err
	}
	t.foot = in.foot
	t.o.workers = t.o.workersFor(in.foot.nonZero*max(1, in.foot.blockSize/BlockSize), BlockSize, t.in.size)
	return t.records(ctx, w, in.tables.entries)
}

// inspect lists what is not canonical in the input.
func (r *OptimizeReport) inspect(in *Reader) error {
	f := in.foot
	stale, err := hasStaleChecksum(in.file, f.eodOffset())
	if err != nil {
		return err
	}
	r.change(f.fullIndex, "full index made dense")
	r.change(f.method == methodZlib, "zlib replaced by zstd")
	r.change(f.blockSize != BlockSize, "blocks of %d MiB changed to 2 MiB", f.blockSize>>20)
	r.change(stale, "stale checksum after the records renewed")
	last, used, ordered := int64(0), int64(pageSize), true
	err = in.tables.entries(func(e entry) error {
		ordered, last, used = ordered && e.offset > last, e.offset, used+e.length
		return nil
	})
	waste := f.eodOffset() - used
	r.change(!ordered, "blocks put in ascending order")
	r.change(waste > 0, "%d bytes between the records dropped", waste)
	return err
}

// hasStaleChecksum reports whether only the checksum of the structure at off is
// wrong. Whatever else is wrong there is replaced silently.
func hasStaleChecksum(f file, off int64) (bool, error) {
	b, err := f.page(off, "end of data")
	if err != nil {
		return false, err
	}
	_, err = parseFooter(b, off, false)
	fe := asFormatError(err)
	return fe != nil && fe.Field == "checksum", nil
}

func (r *OptimizeReport) change(is bool, text string, args ...any) {
	if is {
		r.Changes = append(r.Changes, fmt.Sprintf(text, args...))
	}
}

func (r *OptimizeReport) finish(sum *Summary, zeros int64) {
	r.Summary, r.DroppedZeros = *sum, zeros
	r.SavedBytes = r.InputSize - r.FileSize
	l := r.Levels
	recompressed := r.StoredBlocks - l.Kept
	l.Kept = 0
	r.change(recompressed > 0, "%d blocks recompressed (%s)", recompressed, l)
	r.change(zeros > 0, "%d stored blocks of zeros dropped", zeros)
}
