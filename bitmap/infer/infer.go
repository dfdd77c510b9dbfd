package infer

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/bitmap/internal/wire"
	"github.com/fastimage/fastimage/internal/imageerr"
)

// BlockSize is the block size in which [Layouts] takes the bitmap, and the
// smallest one that it tries, in bytes.
const BlockSize = 4 << 10

const (
	// maxLayouts bounds the layouts that a Result lists.
	maxLayouts = 64

	maxBlockSize = 32 << 20 // largest block size that is tried
	maxPadding   = 1 << 24  // largest padding, as of a layout
	// maxHeader bounds the header that is searched for. As hexadecimal digits it
	// still fits into one argument of a command.
	maxHeader = 32 << 10
	// maxGuess bounds it where its end is unknown, and the
	// padding of what is merely close.
	maxGuess = 4 << 10
	// minEvidence is how many bits of a body have to agree for it not to be chance:
	// some 1500 forms are tried, which takes 11 bits, and half as many again.
	minEvidence = 20
	// weakHeader is how many bits the header before a body of less may have, some
	// sixteen bytes that are constant, and weakLen its length.
	weakHeader = 144
	weakLen    = 64
)

// Result is what [Layouts] has found.
type Result struct {
	// Layouts reproduce the file byte for byte, the likeliest first: what they
	// explain without constant bytes, and what is near [bitmap.DefaultLayout],
	// comes before the rest. There are at most 64.
	Layouts []bitmap.Layout
	Total   int // how many there are, those beyond 64 included
	// Undecided are the parts of the text form in which Layouts differ: this disk
	// cannot distinguish them. Another one, of another size or with other data, may.
	Undecided []string
	// Weak means that the file's body has too little in it to tell more than
	// chance would, as that of a disk of few blocks or without data has.
	Weak bool
	// Closest is the layout that comes nearest if none reproduces the file, else
	// nil.
	Closest *Closest
}

// Closest is a layout that does not quite reproduce a file.
type Closest struct {
	Layout   bitmap.Layout // the one that comes nearest
	Differs  int64         // bytes that differ; those that one has more of than the other count
	Offset   int64         // of the first of them
	FileSize int64         // bytes of the file
}

// Layouts finds the layouts in which a disk's bitmap is exactly the bytes of mf, a
// file made from the same disk by another tool. disk is that bitmap in blocks of
// [BlockSize]. Layouts tries blocks of 4 KiB to 32 MiB and everything else that a
// [bitmap.Layout] can express, with headers of up to 32 KiB: numbers that are the
// disk's or the bitmap's, the widest that fit, and constant bytes between them.
// The constant bytes of a header do not outweigh a short body: otherwise any short
// file would be a header. For a file that no layout reproduces the Result has no
// Layouts, and the error is nil. One that is empty, or longer than any layout of
// this disk can make it, is a *[bitmap.FormatError].
func Layouts(ctx context.Context, disk *bitmap.Bitmap, mf io.Reader) (*Result, error) {
	if disk == nil || mf == nil {
		return nil, fmt.Errorf("infer: no bitmap or no file: %w", fs.ErrInvalid)
	}
	if disk.BlockSize() != BlockSize {
		return nil, fmt.Errorf("infer: bitmap in blocks of %d bytes, want %d: %w", disk.BlockSize(), BlockSize, fs.ErrInvalid)
	}
	in := &inferrer{ctx: ctx, out: bufio.NewWriterSize(nil, wire.BufferSize)}
	if err := in.levels(disk); err != nil {
		return nil, err
	}
	if err := in.read(mf); err != nil {
		return nil, err
	}
	return in.infer()
}

const format = imageerr.Format("mf")

// padding returns the bytes of padding after a header of h and a body of n bytes.
func padding(l bitmap.Layout, h, n int64) int64 {
	if l.PadHeader {
		n += h
	}
	return wire.Padding(n, l.Pad)
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
func (in *inferrer) levels(b *bitmap.Bitmap) error {
	for {
		s, err := newShape(in.ctx, b)
		if err != nil {
			return err
		}
		in.shapes = append(in.shapes, s)
		if b.BlockSize() == maxBlockSize {
			return nil
		}
		if b, err = b.Resize(2 * b.BlockSize()); err != nil {
			return err
		}
	}
}

// read reads no more than the longest form of the finest bitmap.
func (in *inferrer) read(r io.Reader) error {
	s := in.shapes[0]
	most := max(wire.CeilDiv(s.b.Blocks(), 8), (s.runs+1)*16) + maxHeader + maxPadding
	var err error
	if in.mf, err = io.ReadAll(io.LimitReader(r, most+1)); err != nil {
		return fmt.Errorf("infer: %w", err)
	}
	switch n := int64(len(in.mf)); {
	case n == 0:
		return format.Truncated(0, "input", "the file is empty")
	case n > most:
		return format.Damaged(most, "input", "the file is longer than any bitmap of this disk")
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

func (in *inferrer) infer() (*Result, error) {
	if err := in.each(in.try); err != nil {
		return nil, err
	}
	res, found := &Result{}, &in.good
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
		res.Weak = res.Weak && f.evidence < minEvidence
	}
	res.Undecided = undecided(res.Layouts)
	return res, nil
}

// each calls f for every form of a body, without header and padding.
func (in *inferrer) each(f func(*shape, bitmap.Layout) error) error {
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
func (in *inferrer) try(s *shape, l bitmap.Layout) error {
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
		evidence := information(in.mf[h : h+n])
		if evidence < minEvidence && h > weakLen {
			continue // keep would refuse it, after much reading of the header
		}
		for _, header := range explain(in.mf[:h], s.numbers(l)) {
			if evidence < minEvidence && header.excuses(n) {
				continue
			}
			for _, p := range pads {
				p.Header = header.fields
				in.keep(find{p, evidence, header.cost + layoutCost(p)}, header)
			}
		}
	}
	return nil
}

// keep sorts what chance would explain apart: any file ends in some body if its
// header may be constant bytes. Of that only short headers are kept.
func (in *inferrer) keep(f find, h headerForm) {
	switch {
	case !h.constant || f.evidence >= minEvidence:
		in.good.add(f)
	case h.cost <= weakHeader: // no longer than weakLen, see try
		in.weak.add(f)
	}
}

// places are the lengths that a header before this body can have: one, unless
// the body is nothing but fill and could begin anywhere. Then they are those that
// a header of whole numbers or pages would have.
func (in *inferrer) places(s *shape, l bitmap.Layout, n int64) []int64 {
	size, last := int64(len(in.mf)), in.last[wire.Pick(l.Ones, 1, 0)]
	at, ok := s.lastByte(l)
	if !ok || n > size {
		return nil
	}
	all := []int64{last - at}
	if at < 0 && last < 0 {
		all = []int64{0}
	} else if at < 0 {
		all = []int64{size - n}
		for _, align := range []int64{1, 4, 8, 16, 512, maxGuess} {
			all = append(all, wire.CeilDiv(last+1, align)*align)
		}
		slices.Sort(all)
		all = slices.Compact(all)
	}
	most := wire.Pick[int64](at < 0, maxGuess, maxHeader)
	return slices.DeleteFunc(all, func(h int64) bool {
		return h < 0 || h > most || h+n > size || at < 0 && h <= last
	})
}

// pads gives l with every padding that fits the file. What writes the same bytes
// for every disk is left out.
func (in *inferrer) pads(l bitmap.Layout, h, n int64) (all []bitmap.Layout) {
	rest := int64(len(in.mf)) - h - n
	unit := int64(1) // of the body's length
	switch l.Encoding {
	case bitmap.Runs:
		unit = int64(l.Width)
	case bitmap.List:
		unit = 2 * int64(l.Width)
	}
	for l.Pad = 1; l.Pad <= maxPadding; l.Pad *= 2 {
		for _, l.PadHeader = range []bool{false, true} {
			if l.PadHeader && h%l.Pad == 0 || !l.PadHeader && l.Pad > 1 && l.Pad <= unit {
				continue
			}
			if padding(l, h, n) == rest {
				all = append(all, l)
			}
		}
	}
	return all
}

// same reports whether the body of l is exactly want.
func (in *inferrer) same(s *shape, l bitmap.Layout, want []byte) (bool, error) {
	w := &comparer{ctx: in.ctx, want: want}
	in.out.Reset(w)
	err := s.b.Encode(in.out, l)
	if err != nil && in.ctx.Err() != nil {
		return false, in.ctx.Err()
	}
	return err == nil && len(w.want) == 0, nil // else it differs, or does not fit its numbers
}

var errDiffers = errors.New("infer: differs")

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

// find is one layout that reproduces the file, and how likely it is the right one.
type find struct {
	layout   bitmap.Layout
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
	if f.all = append(f.all, x); len(f.all) >= 16*maxLayouts {
		f.cut()
	}
}

func (f *finds) cut() {
	slices.SortStableFunc(f.all, func(a, b find) int { return cmp.Compare(a.cost, b.cost) })
	f.all = f.all[:min(len(f.all), maxLayouts)]
}

// undecided names the parts of the text form in which layouts differ.
func undecided(layouts []bitmap.Layout) (names []string) {
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
