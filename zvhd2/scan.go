package zvhd2

import (
	"context"
	"slices"
)

// span is a range of the file.
type span struct{ start, end int64 }

// scanned is what a walk over the records of a file finds without its index.
type scanned struct {
	entries []entry // ascending block number, each block once
	damage  []span  // ranges in the data that are no records, ascending
	eod     int64   // offset of the end of data, -1 if not found
}

// scan walks the file from its first record to the end of data, the cut or, if
// the end of data is damaged, the end of the file. Where a record should start
// and none does, it looks for the next on the pages that follow. It reads one
// page a record and keeps one entry for it, so memory stays far below the
// file's size.
func scan(ctx context.Context, f file, foot *footer) (*scanned, error) {
	sc := &scanned{eod: -1}
	page := make([]byte, pageSize)
	pos := int64(pageSize)
	for pos+pageSize <= f.size && sc.eod < 0 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := f.readFull(page, pos, "record"); err != nil {
			return nil, err
		}
		e, err := scanRecord(f, foot, page, pos)
		switch {
		case err == nil:
			sc.entries = append(sc.entries, e)
			pos += e.length
		case asFormatError(err) == nil:
			return nil, err
		case isEndOfData(foot, page, pos):
			sc.eod = pos
		default:
			sc.addDamage(pos, pos+pageSize)
			pos += pageSize
		}
	}
	if sc.eod < 0 && pos < f.size {
		sc.addDamage(pos, f.size)
	}
	sc.sort()
	return sc, nil
}

// scanRecord checks for a whole record at pos, whose first page has been read.
func scanRecord(f file, foot *footer, page []byte, pos int64) (entry, error) {
	h, err := parseRecordHeader(page, pos, foot)
	if err != nil {
		return entry{}, err
	}
	e := h.entry()
	if pos+e.length > f.size {
		return entry{}, format.Truncated(f.size, "record", "%d of %d bytes", f.size-pos, e.length).InBlock(h.block)
	}
	end := make([]byte, len(recordPostfix))
	if err := f.readFull(end, pos+e.length-int64(len(end)), "record"); err != nil {
		return entry{}, err
	}
	return e, h.checkPostfix(end)
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

// sort puts the entries in ascending order. Of two records of one block the later
// one counts.
func (sc *scanned) sort() {
	slices.SortStableFunc(sc.entries, byBlock)
	kept := sc.entries[:0]
	for _, e := range sc.entries {
		if n := len(kept); n > 0 && kept[n-1].block == e.block {
			kept[n-1] = e
			continue
		}
		kept = append(kept, e)
	}
	sc.entries = kept
}

// findEntry returns the entry of a block in a list that ascends by block.
func findEntry(list []entry, block int64) (entry, bool) {
	i, ok := slices.BinarySearchFunc(list, entry{block: block}, byBlock)
	if !ok {
		return entry{}, false
	}
	return list[i], true
}
