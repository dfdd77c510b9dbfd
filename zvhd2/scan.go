package zvhd2

import (
	"context"
	"slices"
)

// span is a range of the file.
type span struct{ start, end int64 }

// scanned is what a walk over the records of a file finds without its index.
type scanned struct {
	view    *Reader // reads records by the entries found
	entries []entry // ascending block number, each block once
	damage  []span  // ranges in the data that are no records, ascending
	eod     int64   // offset of the end of data, -1 if not found
}

// scan walks the file from its first record to the end of data, the cut or, if
// the end of data is damaged, the end of the file. Where a record should start
// and none does, it looks for the next on the pages that follow. It reads one
// page a record and keeps one entry for it, so memory stays far below the
// file's size.
func scan(ctx context.Context, r *Reader, f *footer) (*scanned, error) {
	sc := &scanned{eod: -1}
	page := make([]byte, pageSize)
	pos := int64(pageSize)
	for pos+pageSize <= r.size && sc.eod < 0 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := r.readFull(page, pos, "record"); err != nil {
			return nil, err
		}
		e, ok, err := scanRecord(r, f, page, pos)
		switch {
		case err != nil:
			return nil, err
		case ok:
			sc.entries = append(sc.entries, e)
			pos += e.length
		case isEndOfData(f, page, pos):
			sc.eod = pos
		default:
			sc.addDamage(pos, pos+pageSize)
			pos += pageSize
		}
	}
	if sc.eod < 0 && pos < r.size {
		sc.addDamage(pos, r.size)
	}
	sc.finish(r, f)
	return sc, nil
}

// scanRecord looks for a whole record at pos, whose first page is at hand.
func scanRecord(r *Reader, f *footer, page []byte, pos int64) (entry, bool, error) {
	h, err := parseRecordHead(page, pos)
	if err != nil || h.block >= f.maxBlk || h.payload == 0 || h.payload > f.maxPayload() {
		return entry{}, false, nil
	}
	e := entry{block: h.block, offset: pos, length: recordSize(h.payload)}
	if pos+e.length > r.size {
		return entry{}, false, nil
	}
	var end [recordTrailer]byte
	if err := r.readFull(end[:], pos+e.length-recordTrailer, "record"); err != nil {
		return entry{}, false, err
	}
	return e, string(end[:]) == recordEnd, nil
}

func isEndOfData(f *footer, page []byte, pos int64) bool {
	g, err := parseFooter(page, pos, true)
	return err == nil && g.zvhd == f.zvhd && g.uuid == f.uuid && g.blockSize == f.blockSize && g.origSize == f.origSize
}

func (sc *scanned) addDamage(start, end int64) {
	if n := len(sc.damage); n > 0 && sc.damage[n-1].end == start {
		sc.damage[n-1].end = end
		return
	}
	sc.damage = append(sc.damage, span{start, end})
}

// finish sorts what was found and prepares reading it. Of two records of one
// block the later one counts.
func (sc *scanned) finish(r *Reader, f *footer) {
	slices.SortStableFunc(sc.entries, func(a, b entry) int { return int(a.block - b.block) })
	kept := sc.entries[:0]
	for _, e := range sc.entries {
		if n := len(kept); n > 0 && kept[n-1].block == e.block {
			kept[n-1] = e
			continue
		}
		kept = append(kept, e)
	}
	sc.entries = kept
	bits := make([]byte, ceilDiv(f.maxBlk, 64)*8)
	for _, e := range kept {
		bits[e.block/8] |= 1 << (e.block % 8)
	}
	sc.view = &Reader{ra: r.ra, size: r.size, foot: f, bitmap: newBitset(bits)}
}
