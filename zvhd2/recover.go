package zvhd2

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
)

// BlockRange is a run of blocks, both ends included.
type BlockRange struct {
	First int64 `json:"first"` // counted from 0
	Last  int64 `json:"last"`  // not below First
}

// RecoverReport says what [Recover] saved.
type RecoverReport struct {
	Summary
	Format    string // of the input: "zvhd2" or "zvhd"
	InputSize int64  // bytes of the input
	Recovered int64  // blocks read intact; zero blocks that were stored count

	// Lost are the blocks known to have been stored and not read: they are
	// in an intact bitmap, or their records are there and damaged.
	Lost []BlockRange

	// Doubtful are the blocks that may have been stored or zero: a record for
	// them may have been in what is missing or damaged. Empty if the bitmap is
	// intact.
	Doubtful []BlockRange

	Truncated bool  // no end of data was found
	UsedBytes int64 // offset up to which the file was used
}

// Complete reports whether all blocks were saved.
func (r *RecoverReport) Complete() bool { return len(r.Lost) == 0 && len(r.Doubtful) == 0 }

// Recover writes what is intact in the file of size bytes in ra to w, as a
// canonical ZVHD2. It needs the header, or the index footer in its place, and
// trusts nothing else: records are found by walking the file, and each is
// decompressed. Lost blocks read as zeros in the output. Of a ZVHD file the
// blocks before the first damage are saved, as no other can be.
//
// Recover uses the options of [Encode], and returns as soon as ctx ends like it.
func Recover(ctx context.Context, w io.Writer, ra io.ReaderAt, size int64, opts ...Option) (*RecoverReport, error) {
	o, err := newOptions(opts, optsEncode)
	if err != nil {
		return nil, err
	}
	f, err := newFile(ra, size)
	if err != nil {
		return nil, err
	}
	foot, err := await(ctx, f.anyFooter)
	if err != nil {
		return nil, err
	}
	c := &recovery{in: f, foot: foot, rep: &RecoverReport{Format: foot.name(), InputSize: size}}
	t := &rewriter{o: o, in: f, foot: foot, settle: c.settle}
	if foot.zvhd {
		err = c.stream(ctx, w, t)
	} else {
		err = c.container(ctx, w, t)
	}
	if err != nil {
		return nil, err
	}
	return c.rep, nil
}

// anyFooter returns the header, or else the index footer.
func (f file) anyFooter() (*footer, error) {
	head, err := f.header()
	if err == nil || asFormatError(err) == nil || f.size < 2*pageSize || f.size%pageSize != 0 {
		return head, err
	}
	off := f.size - pageSize
	b, rerr := f.page(off, "footer")
	if rerr != nil {
		return nil, rerr
	}
	if foot, ferr := parseFooter(b, off, false); ferr == nil {
		return foot, nil
	}
	return nil, err
}

type recovery struct {
	in   file
	foot *footer
	rep  *RecoverReport

	mu   sync.Mutex // guards lost and rep.Recovered while workers run
	lost []int64
}

// settle counts a block as saved or, if the file is to blame, as lost.
func (c *recovery) settle(block int64, err error) error {
	if err != nil && asFormatError(err) == nil {
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

func (c *recovery) container(ctx context.Context, w io.Writer, t *rewriter) error {
	sc, err := await(ctx, func() (*scanned, error) { return scan(ctx, c.in, c.foot) })
	if err != nil {
		return err
	}
	n := int64(len(sc.entries))
	t.o.workers = t.o.workersFor(n*max(1, c.foot.blockSize/BlockSize), BlockSize, c.in.size)
	sum, err := t.records(ctx, w, func(emit func(entry) error) error {
		for _, e := range sc.entries {
			if err := emit(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.rep.Summary = *sum
	c.rep.Truncated, c.rep.UsedBytes = sc.eod < 0, c.in.size
	if sc.eod >= 0 {
		c.rep.UsedBytes = sc.eod
	} else if n := len(sc.damage); n > 0 && sc.damage[n-1].end == c.in.size {
		c.rep.UsedBytes = sc.damage[n-1].start
	}
	full, err := await(ctx, c.bitmap)
	if err != nil {
		return err
	}
	c.account(sc, full)
	return nil
}

// stream saves the start of a ZVHD file.
func (c *recovery) stream(ctx context.Context, w io.Writer, t *rewriter) error {
	s, err := await(ctx, func() (*StreamReader, error) {
		return NewStreamReader(io.NewSectionReader(c.in.ra, 0, c.in.size))
	})
	if err != nil {
		return err
	}
	var end *FormatError
	sum, err := t.stream(ctx, w, s, func(err error) error {
		if end = asFormatError(err); end != nil {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	c.rep.Summary = *sum
	c.rep.Recovered = sum.StoredBlocks + t.zeros.Load()
	c.rep.UsedBytes = s.off
	if end != nil {
		c.rep.Truncated, c.rep.UsedBytes = true, min(end.Offset, c.in.size)
		if first := s.last + 1; first < c.foot.maxBlk {
			c.rep.Doubtful = []BlockRange{{first, c.foot.maxBlk - 1}}
		}
	}
	return nil
}

// account works out what is lost, by the file's bitmap if it is intact.
func (c *recovery) account(sc *scanned, full *bitset) {
	if full == nil {
		c.rep.Doubtful = doubtful(sc, c.foot.maxBlk)
	} else {
		_ = full.each(c.foot.maxBlk, func(b int64) error {
			if _, found := findEntry(sc.entries, b); !found {
				c.lost = append(c.lost, b)
			}
			return nil
		})
	}
	slices.Sort(c.lost)
	for _, b := range c.lost {
		c.rep.Lost = appendBlock(c.rep.Lost, b, b)
	}
}

// bitmap returns the file's bitmap, nil if it cannot be relied on.
func (c *recovery) bitmap() (*bitset, error) {
	foot, err := c.in.indexFooter(c.foot)
	if err == nil {
		var t *tables
		if t, err = newTables(c.in, foot); err == nil {
			return t.bitmap, nil
		}
	}
	if asFormatError(err) != nil {
		return nil, nil
	}
	return nil, err
}

// doubtful returns the blocks that damaged ranges may have held: records
// ascend, so those lie between the numbers of the records on either side.
func doubtful(sc *scanned, maxBlk int64) []BlockRange {
	records := slices.Clone(sc.entries)
	slices.SortFunc(records, byOffset)
	gaps := slices.Clone(sc.damage)
	if sc.eod < 0 {
		end := int64(pageSize)
		if n := len(records); n > 0 {
			end = records[n-1].offset + records[n-1].length
		}
		gaps = append(gaps, span{end, end}) // the cut itself
	}
	var all []BlockRange
	next := 0 // the first record after the gap; gaps ascend as records do
	for _, g := range gaps {
		for next < len(records) && records[next].offset < g.start {
			next++
		}
		r := BlockRange{0, maxBlk - 1}
		if next > 0 {
			r.First = records[next-1].block + 1
		}
		if next < len(records) {
			r.Last = records[next].block - 1
		}
		if r.First <= r.Last {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b BlockRange) int { return cmp.Compare(a.First, b.First) })
	var out []BlockRange
	for _, r := range all {
		out = appendBlock(out, r.First, r.Last)
	}
	return out
}

// appendBlock adds [first, last], which does not start before the ranges in
// list, and merges what touches.
func appendBlock(list []BlockRange, first, last int64) []BlockRange {
	if n := len(list); n > 0 && first <= list[n-1].Last+1 {
		list[n-1].Last = max(list[n-1].Last, last)
		return list
	}
	return append(list, BlockRange{first, last})
}
