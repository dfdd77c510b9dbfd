package bitmap

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// maxInferred bounds the layouts that an Inference lists.
	maxInferred = 64

	inferMin = 4 << 10 // smallest and largest block size that is tried
	inferMax = 32 << 20
	// inferHeader bounds the header that is looked for. As hexadecimal digits it
	// still fits into one argument of a command.
	inferHeader = 32 << 10
	// inferPage bounds it where there is no telling where it ends, and the
	// padding of what is merely close.
	inferPage = 4 << 10
	// enough is how many bits of a body have to agree for it not to be chance:
	// some 1500 forms are tried, which takes 11 bits, and half as many again.
	enough = 20
	// weakHeader is how many bits the header before a body of less may have, some
	// sixteen bytes that are constant, and weakLen its length.
	weakHeader = 144
	weakLen    = 64
)

// Inference is what Infer has found.
type Inference struct {
	// Layouts reproduce the file byte for byte, the likeliest first: what they
	// explain without constant bytes, and what is near DefaultLayout, comes
	// before the rest. There are at most 64.
	Layouts []Layout
	Total   int // how many there are, those beyond 64 included
	// Open are the parts of the text form in which Layouts differ: this disk does
	// not tell. Another one, of another size or with other data, may.
	Open []string
	// Weak says that the file's body has too little in it to tell more than
	// chance would, as that of a disk of few blocks or without data has.
	Weak bool
	// Closest is the layout that comes nearest if none reproduces the file, else
	// nil.
	Closest *Closest
}

// Closest is a layout that does not quite reproduce a file.
type Closest struct {
	Layout Layout // the one that comes nearest
	Differ int64  // bytes that differ; those that one has more of than the other count
	Offset int64  // of the first of them
	Size   int64  // of the file
}

// Infer looks for the layouts in which the disk's bitmap is exactly the bytes of
// mf, a file made from the same disk by another tool. It tries blocks of 4 KiB
// to 32 MiB and everything else that a Layout can say, with headers of up to 32
// KiB: numbers that are the disk's or the bitmap's, the widest that fit, and
// constant bytes between them. The disk is scanned once; WithWorkers and
// WithProgress apply to that. A file that no layout reproduces is no error but an
// Inference without Layouts. One that is empty, or longer than any layout of this
// disk, is a *FormatError.
func Infer(ctx context.Context, ra io.ReaderAt, size int64, mf io.Reader, opts ...Option) (*Inference, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if o.blockSize != 0 {
		return nil, errors.New("bitmap: infer: the block size is what is looked for")
	}
	o.blockSize = inferMin
	finest, err := scan(ctx, ra, size, o)
	if err != nil {
		return nil, err
	}
	in := &inferrer{ctx: ctx, out: bufio.NewWriterSize(nil, encodeBuffer)}
	if err := in.levels(finest); err != nil {
		return nil, err
	}
	if err := in.read(mf); err != nil {
		return nil, err
	}
	return in.infer()
}

// inferrer holds one search. A body's place in the file need not be searched
// for: after it comes nothing but fill, so the last byte of the file that is not
// fill is the last such byte of the body.
type inferrer struct {
	ctx    context.Context
	out    *bufio.Writer // one buffer for all encodings
	shapes []*shape
	mf     []byte
	last   [2]int64 // offset of the last byte that is not 0x00, not 0xff; -1 if all are

	good, weak finds // those that chance would explain too are kept apart
}

// levels derives the coarser bitmaps from the finest.
func (in *inferrer) levels(b *Bitmap) error {
	for {
		s, err := newShape(in.ctx, b)
		if err != nil {
			return err
		}
		in.shapes = append(in.shapes, s)
		if b.blockSize == inferMax {
			return nil
		}
		if b, err = b.Resize(2 * b.blockSize); err != nil {
			return err
		}
	}
}

// read reads no more than the longest form of the finest bitmap.
func (in *inferrer) read(r io.Reader) error {
	s := in.shapes[0]
	most := max(ceilDiv(s.b.Blocks(), 8), (s.runs+1)*16) + inferHeader + maxPad
	var err error
	if in.mf, err = io.ReadAll(io.LimitReader(r, most+1)); err != nil {
		return fmt.Errorf("bitmap: infer: %w", err)
	}
	switch n := int64(len(in.mf)); {
	case n == 0:
		return &FormatError{Field: "input", Reason: "the file is empty"}
	case n > most:
		return &FormatError{Offset: most, Field: "input", Reason: "the file goes on, no bitmap of this disk is as long"}
	}
	for i, fill := range []byte{0, 0xff} {
		last := int64(len(in.mf)) - 1
		for last >= 0 && in.mf[last] == fill {
			last--
		}
		in.last[i] = last
	}
	return nil
}

func (in *inferrer) infer() (*Inference, error) {
	if err := in.each(in.try); err != nil {
		return nil, err
	}
	res, found := &Inference{}, &in.good
	if found.total == 0 {
		found = &in.weak
	}
	if found.total == 0 {
		var err error
		res.Closest, err = in.closest()
		return res, err
	}
	found.cut()
	res.Total, res.Weak = found.total, true
	for _, f := range found.all {
		res.Layouts = append(res.Layouts, f.layout)
		res.Weak = res.Weak && f.evidence < enough
	}
	res.Open = open(res.Layouts)
	return res, nil
}

// each calls f for every form of a body, without header and padding.
func (in *inferrer) each(f func(*shape, Layout) error) error {
	for _, s := range in.shapes {
		for l := range s.layouts() {
			if err := in.ctx.Err(); err != nil {
				return err
			}
			if err := f(s, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// try adds what the form l gives to the finds.
func (in *inferrer) try(s *shape, l Layout) error {
	n := s.length(l)
	for _, h := range in.places(s, l, n) {
		pads := in.pads(l, h, n)
		if len(pads) == 0 {
			continue
		}
		same, err := in.same(s, l, in.mf[h:h+n])
		if err != nil {
			return err
		}
		if !same {
			continue
		}
		evidence := surprise(in.mf[h : h+n])
		if evidence < enough && h > weakLen {
			continue // keep would refuse it, after much reading of the header
		}
		for _, header := range explain(in.mf[:h], s.numbers(l)) {
			for _, p := range pads {
				p.Header = header.fields
				in.keep(find{p, evidence, header.cost + price(p)}, header)
			}
		}
	}
	return nil
}

// keep sorts what chance would explain apart: any file ends in some body if its
// header may be constant bytes. Of that only short headers are kept.
func (in *inferrer) keep(f find, h headerForm) {
	switch {
	case !h.constant || f.evidence >= enough:
		in.good.add(f)
	case h.cost <= weakHeader: // no longer than weakLen, see try
		in.weak.add(f)
	}
}

// places are the lengths that a header before this body can have: one, unless
// the body is nothing but fill and could begin anywhere. Then they are those that
// a header of whole numbers or pages would have.
func (in *inferrer) places(s *shape, l Layout, n int64) []int64 {
	size, last := int64(len(in.mf)), in.last[pick(l.Ones, 1, 0)]
	at, ok := s.lastByte(l)
	if !ok || n > size {
		return nil
	}
	all := []int64{last - at}
	if at < 0 && last < 0 {
		all = []int64{0}
	} else if at < 0 {
		all = []int64{size - n}
		for _, align := range []int64{1, 4, 8, 16, 512, inferPage} {
			all = append(all, ceilDiv(last+1, align)*align)
		}
		slices.Sort(all)
		all = slices.Compact(all)
	}
	most := pick[int64](at < 0, inferPage, inferHeader)
	return slices.DeleteFunc(all, func(h int64) bool {
		return h < 0 || h > most || h+n > size || at < 0 && h <= last
	})
}

// pads gives l with every padding that fits the file. What writes the same bytes
// for every disk is left out.
func (in *inferrer) pads(l Layout, h, n int64) (all []Layout) {
	rest := int64(len(in.mf)) - h - n
	unit := int64(1) // of the body's length
	switch l.Encoding {
	case Runs:
		unit = int64(l.Width)
	case List:
		unit = 2 * int64(l.Width)
	}
	for l.Pad = 1; l.Pad <= maxPad; l.Pad *= 2 {
		for _, l.PadHeader = range []bool{false, true} {
			if l.PadHeader && h%l.Pad == 0 || !l.PadHeader && l.Pad > 1 && l.Pad <= unit {
				continue
			}
			if l.padding(h, n) == rest {
				all = append(all, l)
			}
		}
	}
	return all
}

// same reports whether the body of l is exactly want.
func (in *inferrer) same(s *shape, l Layout, want []byte) (bool, error) {
	w := &comparer{ctx: in.ctx, want: want}
	in.out.Reset(w)
	err := s.b.encode(in.out, l)
	if err != nil && in.ctx.Err() != nil {
		return false, in.ctx.Err()
	}
	return err == nil && len(w.want) == 0, nil // else it differs, or does not fit its numbers
}

var errDiffers = errors.New("bitmap: differs")

// comparer ends an encoding at the first piece that differs.
type comparer struct {
	ctx  context.Context
	want []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(c.want, p) {
		return 0, errDiffers
	}
	c.want = c.want[len(p):]
	return len(p), nil
}

// find is a layout that reproduces the file, and how likely it is the right one.
type find struct {
	layout   Layout
	evidence int // bits of the body
	cost     int // the less the simpler
}

// finds keeps the best of any number.
type finds struct {
	all   []find
	total int
}

func (f *finds) add(x find) {
	f.total++
	if f.all = append(f.all, x); len(f.all) >= 16*maxInferred {
		f.cut()
	}
}

func (f *finds) cut() {
	slices.SortStableFunc(f.all, func(a, b find) int { return cmp.Compare(a.cost, b.cost) })
	f.all = f.all[:min(len(f.all), maxInferred)]
}

// open names the parts of the text form in which layouts differ.
func open(layouts []Layout) (names []string) {
	var all []string
	values := make(map[string][]string)
	for i, l := range layouts {
		for j, part := range strings.Split(l.String(), ",") {
			key, value, ok := strings.Cut(part, "=")
			if !ok && j == 0 {
				key, value = "encoding", part
			}
			if values[key] == nil {
				all = append(all, key)
			}
			values[key] = append(slices.Grow(values[key], len(layouts)), make([]string, i-len(values[key]))...)
			values[key] = append(values[key], value)
		}
	}
	for _, key := range all {
		v := append(values[key], make([]string, len(layouts)-len(values[key]))...)
		if slices.ContainsFunc(v, func(s string) bool { return s != v[0] }) {
			names = append(names, key)
		}
	}
	return names
}
