package infer

import (
	"context"
	"errors"
	"slices"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/bitmap/internal/wire"
)

// closest finds the layout with the fewest bytes that differ from the file. A
// candidate is abandoned as soon as it is no better than the best so far.
func (in *inferrer) closest() (*Closest, error) {
	size := int64(len(in.mf))
	best, bestCost := &Closest{Differs: size + 1, FileSize: size}, 0
	err := in.each(func(s *shape, l bitmap.Layout) error {
		n := s.length(l)
		for _, h := range slices.Compact([]int64{0, in.place(s, l)}) {
			if h < 0 || h > weakLen || n > size+best.Differs {
				continue
			}
			c, ok := in.near(s, l, h, n)
			if !ok {
				continue
			}
			d := &differ{ctx: in.ctx, want: in.mf, most: best.Differs}
			in.out.Reset(d)
			err := s.b.Encode(in.out, c)
			if in.ctx.Err() != nil {
				return in.ctx.Err()
			}
			d.count(int64(len(d.want))) // the file is longer
			p := layoutCost(c) + int(min(h, 64))
			if err == nil && (d.n < best.Differs || d.n == best.Differs && p < bestCost) {
				*best, bestCost = Closest{c, d.n, d.first, size}, p
			}
		}
		return nil
	})
	if err != nil || best.Layout.BlockSize == 0 {
		return nil, err
	}
	return best, nil
}

// place is where the body ends with the file's last byte that is not fill; -1 if
// that cannot be known.
func (in *inferrer) place(s *shape, l bitmap.Layout) int64 {
	at, ok := s.lastByte(l)
	if !ok || at < 0 {
		return -1
	}
	return max(in.last[wire.Pick(l.Ones, 1, 0)]-at, -1)
}

// near completes the form l with the file's own header and, if there is one, a
// padding that gives the file's length. It is not ok if the header would be an
// excuse for the whole file.
func (in *inferrer) near(s *shape, l bitmap.Layout, h, n int64) (_ bitmap.Layout, ok bool) {
	// Much padding is not worth comparing: many forms would have it.
	pads := slices.DeleteFunc(in.pads(l, h, n), func(p bitmap.Layout) bool { return p.Pad > maxGuess })
	if len(pads) > 0 {
		l = slices.MinFunc(pads, func(a, b bitmap.Layout) int { return layoutCost(a) - layoutCost(b) })
	}
	if h > 0 {
		form := explain(in.mf[:h], s.numbers(l))[0]
		if l.Header = form.fields; form.excuses(n) || form.constant && form.cost > weakHeader {
			return l, false
		}
	}
	return l, true
}

var errTooMany = errors.New("infer: too many bytes differ")

// differ counts how many bytes differ from the file.
type differ struct {
	ctx   context.Context
	want  []byte // what is left of it
	off   int64
	n     int64
	first int64
	most  int64
}

// count notes n bytes that differ from off on.
func (d *differ) count(n int64) {
	if d.n == 0 && n > 0 {
		d.first = d.off
	}
	d.n += n
}

func (d *differ) Write(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	for _, b := range p {
		if len(d.want) == 0 {
			d.count(1)
		} else {
			if d.want[0] != b {
				d.count(1)
			}
			d.want = d.want[1:]
		}
		d.off++
	}
	if d.n > d.most {
		return 0, errTooMany
	}
	return len(p), nil
}
