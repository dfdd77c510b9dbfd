package zvhd2

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
)

// An entry of the index is 16 bytes: offset of the record in the file (8), block
// number (4), length of the record (4).
const (
	indexEntrySize = 16
	indexSegSize   = segmentBlocks * indexEntrySize

	indexOffBlock  = 8
	indexOffLength = 12
)

// entry says where a stored block's record is.
type entry struct {
	block  int64
	offset int64
	length int64
}

func byOffset(a, b entry) int { return cmp.Compare(a.offset, b.offset) }
func byBlock(a, b entry) int  { return cmp.Compare(a.block, b.block) }

func parseEntry(b []byte) entry {
	return entry{
		offset: clampInt64(binary.LittleEndian.Uint64(b)),
		block:  int64(binary.LittleEndian.Uint32(b[indexOffBlock:])),
		length: int64(binary.LittleEndian.Uint32(b[indexOffLength:])),
	}
}

func (e entry) put(b []byte) {
	binary.LittleEndian.PutUint64(b, uint64(e.offset))
	binary.LittleEndian.PutUint32(b[indexOffBlock:], uint32(e.block))
	binary.LittleEndian.PutUint32(b[indexOffLength:], uint32(e.length))
}

// tables are the bitmap and the index of a file whose index footer is foot. Index
// segments are read when first needed and kept: together they are no larger than
// their part of the file.
type tables struct {
	file   file
	foot   *footer
	bitmap *bitset

	mu   sync.Mutex // guards segs
	segs [][]entry  // nil: not read
}

// newTables reads the bitmap.
func newTables(f file, foot *footer) (*tables, error) {
	b := make([]byte, foot.bitmapSize) // part of the file: checkLayout
	if err := f.readFull(b, foot.bitmapLBA, "bitmap"); err != nil {
		return nil, err
	}
	bitmap := newBitset(b)
	if n := bitmap.next(foot.maxBlk, int64(len(b))*8, true); n < int64(len(b))*8 {
		return nil, format.Damaged(foot.bitmapLBA+n/8, "bitmap", "bit set past the disk's end").InBlock(n)
	}
	if bitmap.count != foot.nonZero {
		return nil, format.Damaged(foot.bitmapLBA, "bitmap", "has %d bits set for %d stored blocks", bitmap.count, foot.nonZero)
	}
	return &tables{file: f, foot: foot, bitmap: bitmap, segs: make([][]entry, foot.indexNum)}, nil
}

// stored calls emit for each stored block, in ascending order.
func (t *tables) stored(emit func(block int64) error) error {
	return t.bitmap.each(t.foot.maxBlk, emit)
}

// entries calls emit for the entry of each stored block, in ascending order.
func (t *tables) entries(emit func(entry) error) error {
	return t.stored(func(block int64) error {
		e, err := t.entry(block)
		if err != nil {
			return err
		}
		return emit(e)
	})
}

// entry returns the index entry of a block whose bit is set.
func (t *tables) entry(block int64) (entry, error) {
	pos := block
	if !t.foot.fullIndex {
		pos = t.bitmap.position(block)
	}
	seg, err := t.segment(pos / segmentBlocks)
	if err != nil {
		return entry{}, err
	}
	e := seg[pos%segmentBlocks]
	return e, t.foot.checkEntry(e, block, t.foot.entryOffset(pos))
}

// segment returns a segment's entries, read once.
func (t *tables) segment(i int64) ([]entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seg := t.segs[i]; seg != nil {
		return seg, nil
	}
	seg, err := readSegment(t.file, t.foot, i)
	if err != nil {
		return nil, err
	}
	// Overlaps across segments are for Verify to find.
	if a, b, ok := overlap(seg); ok {
		return nil, format.Damaged(t.foot.entryOffset(i*segmentBlocks), "index.block_offset",
			"record at %d overlaps that of block %d at %d", b.offset, a.block, a.offset).InBlock(b.block)
	}
	t.segs[i] = seg
	return seg, nil
}

// readSegment reads the used entries of segment i.
func readSegment(f file, foot *footer, i int64) ([]entry, error) {
	n := min(segmentBlocks, foot.entries()-i*segmentBlocks)
	buf := make([]byte, n*indexEntrySize)
	if err := f.readFull(buf, foot.entryOffset(i*segmentBlocks), "index"); err != nil {
		return nil, err
	}
	seg := make([]entry, n)
	for k := range seg {
		seg[k] = parseEntry(buf[k*indexEntrySize:])
	}
	return seg, nil
}

// entryOffset returns the offset in the file of the index entry at pos.
func (f *footer) entryOffset(pos int64) int64 { return f.indexLBA + pos*indexEntrySize }

// checkEntry checks the entry of a block, which is at file offset at.
func (f *footer) checkEntry(e entry, block, at int64) error {
	if e.block != block {
		return format.Damaged(at+indexOffBlock, "index.block_number", "is %d", e.block).InBlock(block)
	}
	if e.offset < pageSize || e.offset%pageSize != 0 || e.offset >= f.eodOffset() {
		return format.Damaged(at, "index.block_offset", "is %d: no place for a record", e.offset).InBlock(block)
	}
	limit := min(recordSize(f.maxPayload()), f.eodOffset()-e.offset)
	if e.length < pageSize || e.length%pageSize != 0 || e.length > limit {
		return format.Damaged(at+indexOffLength, "index.block_length", "is %d: want whole pages up to %d", e.length, limit).InBlock(block)
	}
	return nil
}

// overlap returns the first two records, by offset, that share bytes.
func overlap(seg []entry) (a, b entry, ok bool) {
	if !slices.IsSortedFunc(seg, byOffset) {
		seg = slices.Clone(seg)
		slices.SortFunc(seg, byOffset)
	}
	var last entry
	for _, e := range seg {
		if e.offset == 0 {
			continue // a zero block of a full index
		}
		if last.offset != 0 && e.offset-last.offset < last.length {
			return last, e, true
		}
		last = e
	}
	return a, b, false
}
