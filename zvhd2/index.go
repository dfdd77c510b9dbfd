package zvhd2

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// entry is where a stored block's record stands.
type entry struct {
	block  int64
	offset int64
	length int64
}

// bitset is the bitmap with a running count, so that the index position of a
// block is found without counting from the start.
type bitset struct {
	words []uint64
	rank  []uint32 // set bits before each word
	count int64
}

func newBitset(b []byte) *bitset {
	s := &bitset{words: make([]uint64, len(b)/8), rank: make([]uint32, len(b)/8)}
	for i := range s.words {
		s.words[i] = binary.LittleEndian.Uint64(b[8*i:])
		s.rank[i] = uint32(s.count)
		s.count += int64(bits.OnesCount64(s.words[i]))
	}
	return s
}

func (s *bitset) test(i int64) bool { return s.words[i/64]>>(i%64)&1 == 1 }

// position is the number of set bits below i.
func (s *bitset) position(i int64) int64 {
	return int64(s.rank[i/64]) + int64(bits.OnesCount64(s.words[i/64]&(1<<(i%64)-1)))
}

// next returns the first set (or clear) bit from i on and below limit, else
// limit.
func (s *bitset) next(i, limit int64, set bool) int64 {
	for i < limit {
		w := s.words[i/64]
		if !set {
			w = ^w
		}
		if w >>= i % 64; w != 0 {
			return min(i+int64(bits.TrailingZeros64(w)), limit)
		}
		i = (i/64 + 1) * 64
	}
	return limit
}

// index loads segments when first needed and keeps them: together they are no
// larger than their part of the file.
type index struct {
	mu   sync.Mutex // guards segs
	segs [][]entry  // nil: not loaded
}

// entryOf returns the index entry of a block whose bit is set.
func (r *Reader) entryOf(block int64) (entry, error) {
	pos := block
	if !r.foot.fullIndex {
		pos = r.bitmap.position(block)
	}
	seg, err := r.segment(pos / entriesPerSeg)
	if err != nil {
		return entry{}, err
	}
	e := seg[pos%entriesPerSeg]
	at := r.entryOffset(pos)
	if e.block != block {
		return e, blockErr(block, at+8, "index.block_number", ErrFormat, "is %d", e.block)
	}
	return e, r.checkEntry(e, at)
}

func (r *Reader) entryOffset(pos int64) int64 { return r.foot.indexLBA + pos*indexEntrySize }

// checkEntry holds an entry, which stands at file offset at, against the file.
func (r *Reader) checkEntry(e entry, at int64) error {
	if e.offset < pageSize || e.offset%pageSize != 0 || e.offset >= r.foot.eodOffset() {
		return blockErr(e.block, at, "index.block_offset", ErrFormat, "is %d: no place for a record", e.offset)
	}
	limit := min(recordSize(r.foot.maxPayload()), r.foot.eodOffset()-e.offset)
	if e.length < pageSize || e.length%pageSize != 0 || e.length > limit {
		return blockErr(e.block, at+12, "index.block_length", ErrFormat, "is %d: want whole pages up to %d", e.length, limit)
	}
	return nil
}

// segment returns a segment's entries, read once.
func (r *Reader) segment(i int64) ([]entry, error) {
	r.index.mu.Lock()
	defer r.index.mu.Unlock()
	if seg := r.index.segs[i]; seg != nil {
		return seg, nil
	}
	seg, err := r.loadSegment(i)
	if err != nil {
		return nil, err
	}
	if err := r.checkOverlap(seg, i); err != nil {
		return nil, err
	}
	r.index.segs[i] = seg
	return seg, nil
}

// loadSegment reads the used entries of a segment.
func (r *Reader) loadSegment(i int64) ([]entry, error) {
	total := r.foot.nonZero
	if r.foot.fullIndex {
		total = r.foot.maxBlk
	}
	n := min(entriesPerSeg, total-i*entriesPerSeg)
	buf := make([]byte, n*indexEntrySize)
	if err := r.readFull(buf, r.foot.indexLBA+i*indexSegSize, "index"); err != nil {
		return nil, err
	}
	seg := make([]entry, n)
	for k := range seg {
		seg[k] = parseEntry(buf[k*indexEntrySize:])
	}
	return seg, nil
}

func parseEntry(b []byte) entry {
	return entry{
		offset: clampInt64(binary.LittleEndian.Uint64(b)),
		block:  int64(binary.LittleEndian.Uint32(b[8:])),
		length: int64(binary.LittleEndian.Uint32(b[12:])),
	}
}

// checkOverlap refuses a segment in which two records share bytes. [Verify]
// looks across segments too.
func (r *Reader) checkOverlap(seg []entry, i int64) error {
	if a, b, ok := overlap(seg); ok {
		return blockErr(b.block, r.foot.indexLBA+i*indexSegSize, "index.block_offset", ErrFormat,
			"record at %d overlaps that of block %d at %d", b.offset, a.block, a.offset)
	}
	return nil
}

// overlap returns the first two records, by offset, that share bytes.
func overlap(seg []entry) (a, b entry, ok bool) {
	byOffset := func(x, y entry) int {
		switch {
		case x.offset < y.offset:
			return -1
		case x.offset > y.offset:
			return 1
		}
		return 0
	}
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
