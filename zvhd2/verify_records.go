package zvhd2

import (
	"context"
	"io"
	"slices"

	"github.com/fastimage/fastimage/internal/sparse"
)

// container checks a file whose index footer and bitmap are intact.
func (v *verifier) container(ctx context.Context, t *tables) error {
	if err := v.endOfData(t.foot.eodOffset(), t.foot); err != nil {
		return err
	}
	entries, err := v.entries(t)
	if err != nil {
		return err
	}
	v.layout(t.foot, entries)
	if err := v.payloads(ctx, t.foot, entries); err != nil {
		return err
	}
	return v.zeros(ctx, t.foot, t.bitmap.test)
}

// entries returns the index entries that can be followed, in ascending block
// number.
func (v *verifier) entries(t *tables) ([]entry, error) {
	f := t.foot
	out := make([]entry, 0, f.nonZero)
	pos, block := int64(0), int64(-1)
	for i := range f.indexNum {
		seg, err := readSegment(v.file, f, i)
		if err == nil {
			err = v.unused(f, i, int64(len(seg)))
		}
		if err != nil {
			return nil, v.problem(err)
		}
		for _, e := range seg {
			at := f.entryOffset(pos)
			want := pos
			if !f.fullIndex {
				want = t.bitmap.next(block+1, f.maxBlk, true)
			}
			pos, block = pos+1, want
			if !t.bitmap.test(want) {
				if e.offset != 0 {
					_ = v.problem(format.Damaged(f.bitmapLBA+want/8, "bitmap", "bit clear, the index has a record at %d", e.offset).InBlock(want))
				}
				continue
			}
			if err := f.checkEntry(e, want, at); err != nil {
				_ = v.problem(err)
				continue
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// unused checks the entries of segment i from the n-th on. The vendor's tool does
// not clear those of the first segment, and nothing reads any.
func (v *verifier) unused(f *footer, i, n int64) error {
	b := make([]byte, indexSegSize-n*indexEntrySize)
	off := f.entryOffset(i*segmentBlocks + n)
	if err := v.file.readFull(b, off, "index"); err != nil {
		return err
	}
	if !sparse.IsZero(b) {
		v.note(format.Damaged(off, "index.unused", "unused entries are not zero"))
	}
	return nil
}

// layout looks for records that share bytes and for bytes between records.
func (v *verifier) layout(f *footer, entries []entry) {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, byOffset)
	end := int64(pageSize)
	for _, e := range append(sorted, entry{offset: f.eodOffset(), block: NoBlock}) {
		if e.offset < end {
			_ = v.problem(format.Damaged(e.offset, "index.block_offset", "record overlaps the one that ends at %d", end).InBlock(e.block))
		} else if e.offset > end {
			v.note(format.Damaged(end, "records", "%d bytes that no index entry needs", e.offset-end))
		}
		end = max(end, e.offset+e.length)
	}
}

// walk checks the records of a file whose index or bitmap is of no use, one after
// the other and from whatever copy of the structure is left.
func (v *verifier) walk(ctx context.Context, head, foot *footer) error {
	f := head
	if f == nil {
		f = foot
	}
	if f == nil {
		return nil // nothing says how large blocks are
	}
	sc, err := scan(ctx, v.file, f)
	if err != nil {
		return err
	}
	for _, d := range sc.damage {
		_ = v.problem(format.Damaged(d.start, "record", "%d bytes that are no record", d.end-d.start))
	}
	if sc.eod < 0 && v.file.size > pageSize {
		_ = v.problem(format.Truncated(v.file.size, "file", "no end of data"))
	}
	if foot != nil {
		if err := v.indexAgainst(foot, sc.entries); err != nil {
			return err
		}
	}
	if err := v.payloads(ctx, f, sc.entries); err != nil {
		return err
	}
	if len(sc.damage) > 0 || sc.eod < 0 {
		return nil // blocks that were not found need not be zero
	}
	return v.zeros(ctx, f, stored(sc.entries))
}

// stored returns a function that reports whether a block is among entries, which
// ascend by block.
func stored(entries []entry) func(block int64) bool {
	return func(block int64) bool {
		_, ok := findEntry(entries, block)
		return ok
	}
}

// indexAgainst compares the index of a file whose bitmap is of no use with the
// records found.
func (v *verifier) indexAgainst(f *footer, found []entry) error {
	for i := range f.indexNum {
		seg, err := readSegment(v.file, f, i)
		if err == nil {
			err = v.unused(f, i, int64(len(seg)))
		}
		if err != nil {
			return v.problem(err)
		}
		for k, e := range seg {
			if e == (entry{}) && f.fullIndex {
				continue
			}
			if rec, ok := findEntry(found, e.block); !ok || rec != e {
				at := f.entryOffset(i*segmentBlocks + int64(k))
				_ = v.problem(format.Damaged(at, "index", "no such record at %d", e.offset).InBlock(e.block))
			}
		}
	}
	return nil
}

// payloads decompresses every block and compares it if there is a reference.
func (v *verifier) payloads(ctx context.Context, f *footer, entries []entry) error {
	v.rep.Stored = int64(len(entries))
	v.meter.total.Store(f.origSize)
	workers := v.o.workersFor(int64(len(entries)), f.blockSize, v.file.size)
	readers, err := newBlockReaders(workers, v.file, f)
	if err != nil {
		return err
	}
	bufs := make([][]byte, workers)
	cmps := v.comparers(workers, f)
	err = forEach(ctx, workers,
		func(emit func(entry) error) error {
			for _, e := range entries {
				if err := emit(e); err != nil {
					return err
				}
			}
			return nil
		},
		func(w int, e entry) error {
			if bufs[w] == nil {
				bufs[w] = make([]byte, f.blockSize)
			}
			v.meter.data.Add(f.blockLen(e.block))
			ok, err := v.payload(readers[w], e, bufs[w])
			if err != nil || !ok {
				return err
			}
			return cmps[w].stored(e.block, bufs[w])
		})
	v.meter.skipped.Store(f.origSize - v.meter.data.Load())
	return err
}

// payload checks the record at e and expands it to block. It reports whether that
// was possible.
func (v *verifier) payload(r *blockReader, e entry, block []byte) (bool, error) {
	h, rec, err := r.record(e)
	if err != nil {
		return false, v.problem(err)
	}
	_, payload, _ := h.parts(rec)
	if err := payloadError(r.exp.expand(block, payload), e); err != nil {
		return false, v.problem(err)
	}
	v.details(h, rec, block, r.foot)
	return true, nil
}

// details checks the bytes of a record that carry nothing, and the block it
// expanded to. The vendor's tool pads with what its buffer held before, and
// reserves header fields that a later version may set.
func (v *verifier) details(h recordHeader, rec, block []byte, f *footer) {
	v.mu.Lock()
	v.rep.Checked++
	v.mu.Unlock()
	reserved, payload, padding := h.parts(rec)
	if !sparse.IsZero(reserved) {
		v.note(format.Damaged(h.offset+recordOffReserved, "record.reserved", "not zero").InBlock(h.block))
	}
	if !sparse.IsZero(padding) {
		v.note(format.Damaged(h.offset+recordHeaderSize+int64(len(payload)), "record.padding", "record padding is not zero").InBlock(h.block))
	}
	if n := f.blockLen(h.block); !sparse.IsZero(block[n:]) {
		_ = v.problem(format.Damaged(h.offset+recordHeaderSize, "payload", "not zero past the disk's end").InBlock(h.block))
	}
	if sparse.IsZero(block) {
		v.note(format.Damaged(h.offset, "record.zeros", "stores a block of zeros").InBlock(h.block))
	}
}

// stream checks a ZVHD file. It ends at the first problem: no block can be read
// without those before it.
func (v *verifier) stream(ctx context.Context, head *footer) error {
	s, err := NewStreamReader(io.NewSectionReader(v.file.ra, 0, v.file.size))
	if err != nil {
		return v.problem(err)
	}
	v.meter.total.Store(head.origSize)
	var found []entry
	c := v.comparers(1, head)[0]
	err = s.each(func(block int64, data []byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		found = append(found, entry{block: block})
		v.meter.data.Add(head.blockLen(block))
		v.rep.Stored++
		v.details(s.head, s.rec.Bytes(), data, head)
		return c.stored(block, data)
	})
	if err != nil {
		return v.problem(err)
	}
	v.meter.skipped.Store(head.origSize - v.meter.data.Load())
	if err := v.endOfData(s.off-pageSize, head); err != nil {
		return err
	}
	if s.off != v.file.size {
		v.note(format.Damaged(s.off, "trailing", "%d bytes after the end of data", v.file.size-s.off))
	}
	return v.zeros(ctx, head, stored(found))
}
