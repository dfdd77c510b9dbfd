package zvhd2

import (
	"context"
	"errors"
	"io"
	"slices"
)

// stream checks a ZVHD file, which ends at the first problem: no block can be
// read without those before it.
func (v *verifier) stream(ctx context.Context, head *footer) error {
	v.rep.Format = "zvhd"
	v.r.foot = head
	s, err := NewStreamReader(io.NewSectionReader(v.r.ra, 0, v.r.size))
	if err != nil {
		return v.add(KindHeader, err)
	}
	m := startMeter(head.origSize, v.o.progress)
	defer m.stop()
	// At most 4 MiB, for a disk of MaxDiskSize.
	v.r.bitmap = newBitset(make([]byte, ceilDiv(head.maxBlk, 64)*8))
	other := make([]byte, BlockSize)
	err = s.each(ctx, func(block int64, data []byte) error {
		m.data.Add(v.r.blockLen(block))
		return v.streamBlock(s, block, data, other)
	})
	if err != nil {
		kind := KindRecord
		if errors.Is(err, ErrPayload) {
			kind = KindPayload
		}
		return v.add(kind, err)
	}
	if _, err := v.footer(s.off-pageSize, KindEndOfData, true); err != nil {
		return err
	}
	if s.off != v.r.size {
		_ = v.note(KindWaste, fieldErr(s.off, "file", ErrFormat, "%d bytes after the end", v.r.size-s.off))
	}
	if v.o.against == nil {
		return nil
	}
	v.compareSize()
	bufs := make([][]byte, v.o.workers)
	for i := range bufs {
		bufs[i] = make([]byte, BlockSize)
	}
	return v.zeros(ctx, func(w int) []byte { return bufs[w] })
}

// streamBlock checks the block that s has read last.
func (v *verifier) streamBlock(s *StreamReader, block int64, data, other []byte) error {
	v.rep.Stored++
	v.rep.Checked++
	v.r.bitmap.words[block/64] |= 1 << (block % 64)
	rec := s.rec.Bytes()
	v.details(rec, data, entry{block: block, offset: s.off - int64(len(rec)), length: int64(len(rec))})
	if v.o.against == nil {
		return nil
	}
	if err := v.o.against.readBlock(block, other); err != nil {
		return err
	}
	return v.compare(block, data, other)
}

// walk checks the records of a file whose index is of no use, one after the
// other and from whatever copy of the structure is left.
func (v *verifier) walk(ctx context.Context, f *footer) error {
	if f == nil {
		if f = v.r.foot; f == nil {
			return nil // nothing says how large blocks are
		}
	}
	sc, err := scan(ctx, v.r, f)
	if err != nil {
		return err
	}
	for _, d := range sc.damage {
		_ = v.add(KindRecord, fieldErr(d.start, "record", ErrFormat, "%d bytes that are no record", d.end-d.start))
	}
	if sc.eod < 0 {
		_ = v.add(KindFile, fieldErr(v.r.size, "file", ErrTruncated, "no end of data"))
	}
	if err := v.indexAgainst(sc.entries); err != nil {
		return err
	}
	v.r = sc.view
	return v.payloads(ctx, sc.entries)
}

// indexAgainst holds the index of a file whose bitmap is of no use against the
// records found. Without a footer to rely on there is no index to speak of.
func (v *verifier) indexAgainst(found []entry) error {
	if v.r.foot == nil {
		return nil
	}
	for i := range v.r.foot.indexNum {
		seg, err := v.r.loadSegment(i)
		if err == nil {
			err = v.unused(i, int64(len(seg)))
		}
		if err != nil {
			return v.add(KindIndex, err)
		}
		for k, e := range seg {
			n, ok := slices.BinarySearchFunc(found, e.block, func(f entry, block int64) int { return int(f.block - block) })
			if e == (entry{}) && v.r.foot.fullIndex || ok && found[n] == e {
				continue
			}
			at := v.r.entryOffset(i*entriesPerSeg + int64(k))
			_ = v.add(KindIndex, blockErr(e.block, at, "index", ErrFormat, "no such record at %d", e.offset))
		}
	}
	return nil
}
