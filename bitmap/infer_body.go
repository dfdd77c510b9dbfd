package bitmap

import (
	"context"
	"iter"
	"math/bits"
)

// shape is a bitmap with what tells the size and end of every form of it without
// encoding it.
type shape struct {
	b    *Bitmap
	runs int64    // in all
	of   [2]int64 // of them holes, data
	lead bool     // the first is data
	end  [2]Run   // the last hole, the last data
	last Run
}

func newShape(ctx context.Context, b *Bitmap) (*shape, error) {
	s := &shape{b: b}
	for r := range b.Runs() {
		if s.runs%(1<<16) == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if s.runs == 0 {
			s.lead = r.Data
		}
		kind := pick(r.Data, 1, 0)
		s.runs++
		s.of[kind]++
		s.end[kind], s.last = r, r
	}
	return s, nil
}

var both = []bool{false, true}

// layouts are the forms of the bitmap's body, without padding.
func (s *shape) layouts() iter.Seq[Layout] {
	return func(yield func(Layout) bool) {
		for i := range 8 {
			l := Layout{BlockSize: s.b.blockSize, Pad: 1, MSBFirst: i&1 != 0, Inverted: i&2 != 0, Ones: i&4 != 0}
			if !yield(l) {
				return
			}
		}
		for i := range 16 {
			l := Layout{BlockSize: s.b.blockSize, Pad: 1, Encoding: pick(i&1 != 0, List, Runs), Inverted: i&2 != 0,
				Width: pick(i&4 != 0, 8, 4), BigEndian: i&8 != 0}
			for _, l.Unit = range []int64{1, 512, s.b.blockSize} {
				for _, l.Clip = range both {
					if l.Clip && l.Unit == l.BlockSize {
						continue // the same bytes for every disk
					}
					if !yield(l) {
						return
					}
				}
			}
		}
	}
}

// length is that of the body.
func (s *shape) length(l Layout) int64 { return s.entries(l) * entryLen(l) }

func entryLen(l Layout) int64 {
	switch l.Encoding {
	case Runs:
		return int64(l.Width)
	case List:
		return 2 * int64(l.Width)
	}
	return 1
}

// entries is Bitmap.entries without walking through the runs.
func (s *shape) entries(l Layout) int64 {
	switch {
	case l.Encoding == Bits:
		return ceilDiv(s.b.Blocks(), 8)
	case l.Encoding == List:
		return s.of[pick(l.Inverted, 0, 1)]
	case s.runs > 0 && s.lead != l.Inverted:
		return s.runs + 1
	}
	return s.runs
}

// lastByte is the offset in the body of its last byte that is not fill, -1 if it
// has none; not ok if l cannot express the bitmap.
func (s *shape) lastByte(l Layout) (at int64, ok bool) {
	if l.Encoding == Bits {
		// The bit that is not fill stands for data if both are the same.
		r := s.end[pick(l.Ones == l.Inverted, 1, 0)]
		if r.Length == 0 {
			return -1, true
		}
		return (r.End() - 1) / l.BlockSize / 8, true
	}
	r := s.last
	if l.Encoding == List {
		r = s.end[pick(l.Inverted, 0, 1)]
	}
	if r.Length == 0 {
		return -1, true
	}
	// The last number is a length, so not zero.
	var p [8]byte
	ok = putNumber(p[:l.Width], s.b.units(r.Offset, r.Length, l), l.BigEndian)
	at = int64(l.Width) - 1
	for at > 0 && p[at] == 0 {
		at--
	}
	return s.length(l) - int64(l.Width) + at, ok
}

// numbers are the values that a header may hold.
func (s *shape) numbers(l Layout) map[FieldKind]int64 {
	m := make(map[FieldKind]int64)
	for _, k := range []FieldKind{SizeField, SectorsField, BlockField, BlocksField} {
		m[k] = s.b.headerValue(k, l)
	}
	m[DataField], m[EntriesField] = s.b.Count(), s.entries(l)
	return m
}

// surprise is roughly how many bits of information bytes have, counted no
// further than matters: a byte like the one before it has none.
func surprise(p []byte) (n int) {
	var before byte
	for _, b := range p {
		if b != before {
			n += 8
		}
		if n >= 64 {
			break
		}
		before = b
	}
	return n
}

// price ranks layouts that all fit: the less a layout differs from the default,
// the less it costs.
func price(l Layout) (n int) {
	n = bits.Len64(uint64(max(l.BlockSize, DefaultBlockSize) / min(l.BlockSize, DefaultBlockSize)))
	for _, b := range []bool{l.MSBFirst, l.Inverted, l.Ones, l.BigEndian, l.Clip} {
		n += pick(b, 1, 0)
	}
	if l.Encoding != Bits {
		n += 4
		if l.Unit != l.BlockSize {
			n++
		}
	}
	switch l.Pad {
	case 4096:
	case 1:
		n++
	case 512:
		n += 2
	default:
		n += 3
	}
	return n + pick(l.PadHeader, 3, 0)
}
