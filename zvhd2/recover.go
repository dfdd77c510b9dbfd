package zvhd2

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
)

// BlockRange is a run of blocks, both ends included.
type BlockRange struct {
	First int64 `json:"first"` // counted from 0
	Last  int64 `json:"last"`  // not below First
}

// RecoverReport tells what [Recover] saved.
type RecoverReport struct {
	Summary
	Format    string // of the input: "zvhd2" or "zvhd"
	InputSize int64  // bytes of the input
	Recovered int64  // blocks read whole; zero blocks that were stored count

	// Lost are the blocks known to have been stored and not read: they are
	// in an intact bitmap, or their records are there and damaged.
	Lost []BlockRange

	// Doubtful are the blocks of which nothing tells whether they were
	// stored or zero: a record for them may have been in what is cut off or
	// damaged. Empty if the bitmap is intact.
	Doubtful []BlockRange

	CutOff bool  // no end of data was found
	CutAt  int64 // offset up to which the file was made use of
}

// Complete reports whether all blocks were saved.
func (r *RecoverReport) Complete() bool { return len(r.Lost) == 0 && len(r.Doubtful) == 0 }

// Recover writes what is whole in the file of size bytes in ra to w, as a
// canonical ZVHD2. It needs the header, or the index footer in its place, and
// trusts nothing else: records are found by walking the file, and each is
// decompressed. Lost blocks read as zeros in the output. Of a ZVHD file the
// blocks before the first damage are saved, as no other can be.
//
// Recover heeds the options of [Encode].
func Recover(ctx context.Context, w io.Writer, ra io.ReaderAt, size int64, opts ...Option) (*RecoverReport, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	r := &Reader{ra: ra, size: size}
	f, err := r.anyFooter()
	if err != nil {
		return nil, err
	}
	rec := &recovery{o: o, in: r, foot: f, rep: &RecoverReport{Format: "zvhd2", InputSize: size}}
	if f.zvhd {
		rec.rep.Format = "zvhd"
		err = rec.stream(ctx, w)
	} else {
		err = rec.container(ctx, w)
	}
	if err != nil {
		return nil, err
	}
	return rec.rep, nil
}

// anyFooter returns the header, or else the index footer.
func (r *Reader) anyFooter() (*footer, error) {
	if r.size < pageSize {
		return nil, fieldErr(0, "file", ErrTruncated, "%d bytes", r.size)
	}
	f, err := r.readFooter(0)
	var fe *FormatError
	if err == nil || !errors.As(err, &fe) || r.size%pageSize != 0 {
		return f, err
	}
	if g, gerr := r.readFooter(r.size - pageSize); gerr == nil {
		return g, nil
	}
	return nil, err
}

type recovery struct {
	o    *options
	in   *Reader
	foot *footer
	rep  *RecoverReport

	mu   sync.Mutex // guards lost and rep.Recovered while workers run
	lost []int64
}

func (c *recovery) container(ctx context.Context, w io.Writer) error {
	sc, err := scan(ctx, c.in, c.foot)
	if err != nil {
		return err
	}
	if c.foot.blockSize != BlockSize {
		err = c.recode(ctx, w, sc)
	} else {
		err = c.carry(ctx, w, sc)
	}
	if err != nil {
		return err
	}
	c.rep.CutOff, c.rep.CutAt = sc.eod < 0, c.in.size
	if sc.eod >= 0 {
		c.rep.CutAt = sc.eod
	} else if n := len(sc.damage); n > 0 && sc.damage[n-1].end == c.in.size {
		c.rep.CutAt = sc.damage[n-1].start
	}
	return c.account(sc)
}

// carry saves the records found as Optimize does.
func (c *recovery) carry(ctx context.Context, w io.Writer, sc *scanned) error {
	decs, err := newDecoders(c.o.workers, c.foot.method)
	if err != nil {
		return err
	}
	t := &optimizer{o: c.o, rep: &OptimizeReport{}}
	e := newEncoder(w, c.o.canonicalFooter(c.foot), c.o)
	defer e.meter.stop()
	sum, err := e.run(ctx,
		func(emit func(func(*slot)) error) error {
			for i, ent := range sc.entries {
				if err := emit(func(s *slot) { s.block, s.index = ent.block, i }); err != nil {
					return err
				}
			}
			return nil
		},
		func(worker int, s *slot) error {
			err := t.carryBlock(e.comp, decs[worker], worker, s, sc.view, sc.entries[s.index])
			return c.settle(s.block, err)
		})
	if err != nil {
		return err
	}
	c.rep.Summary = *sum
	return nil
}

// settle counts a block as saved or, if the file is to blame, as lost.
func (c *recovery) settle(block int64, err error) error {
	var fe *FormatError
	if err != nil && !errors.As(err, &fe) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.lost = append(c.lost, block)
	} else {
		c.rep.Recovered++
	}
	return nil
}

// recode saves records of another block size by cutting them up. Blocks are
// large and few then, so one after the other is fast enough: the compressing
// is parallel.
func (c *recovery) recode(ctx context.Context, w io.Writer, sc *scanned) error {
	d, err := newDecoder(c.foot.method)
	if err != nil {
		return err
	}
	block := make([]byte, c.foot.blockSize)
	e := newEncoder(w, c.o.canonicalFooter(c.foot), c.o)
	defer e.meter.stop()
	p := &recoder{size: c.foot.blockSize, disk: c.foot.origSize}
	sum, err := e.run(ctx,
		func(emit func(func(*slot)) error) error {
			for _, ent := range sc.entries {
				payload, err := sc.view.readRecord(d, ent)
				if err == nil {
					err = expandErr(d.expand(block, payload), ent)
				}
				bad := err != nil
				if err := c.settle(ent.block, err); err != nil {
					return err
				}
				if bad {
					clear(block)
				}
				if err := p.add(ent.block, block, emit); err != nil {
					return err
				}
			}
			return p.flush(emit)
		},
		func(worker int, s *slot) error {
			if isZero(s.in) {
				return nil
			}
			return e.comp.record(worker, s, s.in)
		})
	if err != nil {
		return err
	}
	c.rep.Summary = *sum
	return nil
}

// recoder turns ascending blocks of any size into blocks of BlockSize.
type recoder struct {
	size, disk int64
	cur        int64 // the block in the making
	buf        []byte
}

func (p *recoder) add(block int64, data []byte, emit func(func(*slot)) error) error {
	base := block * p.size
	data = data[:min(p.size, p.disk-base)]
	for len(data) > 0 {
		b, at := base/BlockSize, base%BlockSize
		if b != p.cur || p.buf == nil {
			if err := p.flush(emit); err != nil {
				return err
			}
			p.cur, p.buf = b, make([]byte, BlockSize)
		}
		n := copy(p.buf[at:], data)
		data, base = data[n:], base+int64(n)
	}
	return nil
}

func (p *recoder) flush(emit func(func(*slot)) error) error {
	if p.buf == nil {
		return nil
	}
	buf := p.buf
	p.buf = nil
	return emit(func(s *slot) { s.block, s.in = p.cur, append(s.in[:0], buf...) })
}

// account works out what is lost, by the bitmap if it is intact.
func (c *recovery) account(sc *scanned) error {
	saved := sc.view.bitmap
	full, err := c.bitmap()
	if err != nil {
		return err
	}
	if full != nil {
		for b := full.next(0, c.foot.maxBlk, true); b < c.foot.maxBlk; b = full.next(b+1, c.foot.maxBlk, true) {
			if !saved.test(b) {
				c.lost = append(c.lost, b)
			}
		}
	} else {
		c.rep.Doubtful = doubtful(sc, c.foot.maxBlk)
	}
	slices.Sort(c.lost)
	for _, b := range c.lost {
		c.rep.Lost = appendBlock(c.rep.Lost, b, b)
	}
	return nil
}

// bitmap returns the file's bitmap, nil if it cannot be relied on.
func (c *recovery) bitmap() (*bitset, error) {
	r := &Reader{ra: c.in.ra, size: c.in.size}
	if r.size < minFile || r.size%pageSize != 0 {
		return nil, nil
	}
	f, err := r.readFooter(r.size - pageSize)
	if err == nil && (f.zvhd || compareFooters(c.foot, f, 0) != nil) {
		return nil, nil
	}
	if err == nil {
		err = f.checkLayout(r.size)
	}
	if err == nil {
		r.foot = f
		err = r.readBitmap()
	}
	var fe *FormatError
	if errors.As(err, &fe) {
		return nil, nil
	}
	return r.bitmap, err
}

// doubtful returns the blocks that damaged ranges may have held: records
// ascend, so those lie between the numbers of the records on either side.
func doubtful(sc *scanned, maxBlk int64) []BlockRange {
	byOffset := slices.Clone(sc.entries)
	slices.SortFunc(byOffset, func(a, b entry) int { return int(min(max(a.offset-b.offset, -1), 1)) })
	gaps := slices.Clone(sc.damage)
	if sc.eod < 0 {
		end := int64(pageSize)
		if n := len(byOffset); n > 0 {
			end = byOffset[n-1].offset + byOffset[n-1].length
		}
		gaps = append(gaps, span{end, end}) // the cut itself
	}
	var all []BlockRange
	next := 0 // the first record behind the gap; gaps ascend as records do
	for _, g := range gaps {
		for next < len(byOffset) && byOffset[next].offset < g.start {
			next++
		}
		r := BlockRange{0, maxBlk - 1}
		if next > 0 {
			r.First = byOffset[next-1].block + 1
		}
		if next < len(byOffset) {
			r.Last = byOffset[next].block - 1
		}
		if r.First <= r.Last {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b BlockRange) int { return int(a.First - b.First) })
	var out []BlockRange
	for _, r := range all {
		out = appendBlock(out, r.First, r.Last)
	}
	return out
}

// appendBlock adds [first, last], which does not start before the ranges in
// list, and joins what touches.
func appendBlock(list []BlockRange, first, last int64) []BlockRange {
	if n := len(list); n > 0 && first <= list[n-1].Last+1 {
		list[n-1].Last = max(list[n-1].Last, last)
		return list
	}
	return append(list, BlockRange{first, last})
}

// stream saves the start of a ZVHD file.
func (c *recovery) stream(ctx context.Context, w io.Writer) error {
	s, err := NewStreamReader(io.NewSectionReader(c.in.ra, 0, c.in.size))
	if err != nil {
		return err
	}
	t := &optimizer{o: c.o, rep: &OptimizeReport{}}
	var cutErr *FormatError
	sum, err := t.fromStream(ctx, w, s, func(err error) error {
		if errors.As(err, &cutErr) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	c.rep.Summary = *sum
	c.rep.Recovered = sum.StoredBlocks + t.zeros.Load()
	c.rep.CutAt = s.off
	if cutErr != nil {
		c.rep.CutOff, c.rep.CutAt = true, min(cutErr.Offset, c.in.size)
		if first := s.last + 1; first < c.foot.maxBlk {
			c.rep.Doubtful = []BlockRange{{first, c.foot.maxBlk - 1}}
		}
	}
	return nil
}
