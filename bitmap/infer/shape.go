package infer

import (
	"context"
	"iter"
	"math/bits"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/bitmap/internal/wire"
)

// shape is a bitmap with what gives the size and end of every form of it without
// encoding it.
type shape struct {
	b    *bitmap.Bitmap
	runs int64         // in all
	of   [2]int64      // of them holes, data
	lead bool          // the first is data
	end  [2]bitmap.Run // the last hole, the last data
	last bitmap.Run
}

func newShape(ctx context.Context, b *bitmap.Bitmap) (*shape, error) {
	s := &shape{b: b}
	for r := range b.Runs() {
		if s.runs%(1<<16) == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if s.runs == 0 {
			s.lead = r.Data
		}
		kind := wire.Pick(r.Data, 1, 0)
		s.runs++
		s.of[kind]++
		s.end[kind], s.last = r, r
	}
	return s, nil
}

var both = []bool{false, true}

// layouts are the forms of the bitmap's body, without padding.
func (s *shape) layouts() iter.Seq[bitmap.Layout] {
	return func(yield func(bitmap.Layout) bool) {
		for i := range 8 {
			l := bitmap.Layout{BlockSize: s.b.BlockSize(), Pad: 1, MSBFirst: i&1 != 0, Inverted: i&2 != 0, Ones: i&4 != 0}
			if !yield(l) {
				return
			}
		}
		for i := range 16 {
			l := bitmap.Layout{BlockSize: s.b.BlockSize(), Pad: 1, Encoding: wire.Pick(i&1 != 0, bitmap.List, bitmap.Runs), Inverted: i&2 != 0,
				Width: wire.Pick(i&4 != 0, 8, 4), BigEndian: i&8 != 0}
			for _, l.Unit = range []int64{1, 512, s.b.BlockSize()} {
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
func (s *shape) length(l bitmap.Layout) int64 { return s.entries(l) * entryLen(l) }

func entryLen(l bitmap.Layout) int64 {
	switch l.Encoding {
	case bitmap.Runs:
		return int64(l.Width)
	case bitmap.List:
		return 2 * int64(l.Width)
	}
	return 1
}

// entries is how many entries the body has: its numbers, pairs or bytes.
func (s *shape) entries(l bitmap.Layout) int64 {
	switch {
	case l.Encoding == bitmap.Bits:
		return wire.CeilDiv(s.b.Blocks(), 8)
	case l.Encoding == bitmap.List:
		return s.of[wire.Pick(l.Inverted, 0, 1)]
	case s.runs > 0 && s.lead != l.Inverted:
		return s.runs + 1
	}
	return s.runs
}

// lastByte is the offset in the body of its last byte that is not fill, -1 if it
// has none; not ok if l cannot express the bitmap.
func (s *shape) lastByte(l bitmap.Layout) (at int64, ok bool) {
	if l.Encoding == bitmap.Bits {
		// The bit that is not fill stands for data if both are the same.
		r := s.end[wire.Pick(l.Ones == l.Inverted, 1, 0)]
		if r.Length == 0 {
			return -1, true
		}
		return (r.End() - 1) / l.BlockSize / 8, true
	}
	r := s.last
	if l.Encoding == bitmap.List {
		r = s.end[wire.Pick(l.Inverted, 0, 1)]
	}
	if r.Length == 0 {
		return -1, true
	}
	// The last number is a length, so not zero.
	var p [8]byte
	ok = wire.PutNumber(p[:l.Width], wire.Units(r.Offset, r.Length, s.b.Size(), l.BlockSize, l.Unit, l.Clip), l.BigEndian)
	at = int64(l.Width) - 1
	for at > 0 && p[at] == 0 {
		at--
	}
	return s.length(l) - int64(l.Width) + at, ok
}

// numbers are the values that a header may hold.
func (s *shape) numbers(l bitmap.Layout) map[bitmap.FieldKind]int64 {
	return map[bitmap.FieldKind]int64{
		bitmap.SizeField:    s.b.Size(),
		bitmap.SectorsField: wire.CeilDiv(s.b.Size(), 512),
		bitmap.BlockField:   s.b.BlockSize(),
		bitmap.BlocksField:  s.b.Blocks(),
		bitmap.DataField:    s.b.Count(),
		bitmap.EntriesField: s.entries(l),
	}
}

// information is roughly how many bits of information bytes have, counted no
// further than matters: a byte like the one before it has none.
func information(p []byte) (n int) {
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

// layoutCost ranks layouts that all fit: the less a layout differs from the default,
// the less it costs.
func layoutCost(l bitmap.Layout) (n int) {
	n = bits.Len64(uint64(max(l.BlockSize, bitmap.DefaultBlockSize) / min(l.BlockSize, bitmap.DefaultBlockSize)))
	for _, b := range []bool{l.MSBFirst, l.Inverted, l.Ones, l.BigEndian, l.Clip} {
		n += wire.Pick(b, 1, 0)
	}
	if l.Encoding != bitmap.Bits {
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
	return n + wire.Pick(l.PadHeader, 3, 0)
}
