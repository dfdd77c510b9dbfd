package zvhd2

import (
	"encoding/binary"
	"math/bits"
)

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

// position returns the number of set bits below i.
func (s *bitset) position(i int64) int64 {
	return int64(s.rank[i/64]) + int64(bits.OnesCount64(s.words[i/64]&(1<<(i%64)-1)))
}

// each calls f for each set bit below limit, in ascending order.
func (s *bitset) each(limit int64, f func(int64) error) error {
	for b := s.next(0, limit, true); b < limit; b = s.next(b+1, limit, true) {
		if err := f(b); err != nil {
			return err
		}
	}
	return nil
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
