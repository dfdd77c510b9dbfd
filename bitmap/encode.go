package bitmap

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/fastimage/fastimage/bitmap/internal/wire"
)

// counter is a buffered writer that knows how much went through.
type counter struct {
	w   *bufio.Writer
	n   int64
	err error // the first; later writes do nothing
}

func (c *counter) write(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
	}
	c.n += int64(len(p))
}

func (c *counter) number(v int64, width int, big bool) {
	var buf [8]byte
	if !wire.PutNumber(buf[:width], v, big) && c.err == nil {
		c.err = &LayoutError{"number", fmt.Sprintf("%d does not fit %s", v, numberType(width, big))}
	}
	c.write(buf[:width])
}

// fill writes n bytes of b.
func (c *counter) fill(n int64, b byte) {
	var buf [512]byte
	for i := range buf {
		buf[i] = b
	}
	for n > 0 && c.err == nil {
		k := min(n, int64(len(buf)))
		c.write(buf[:k])
		n -= k
	}
}

// Encode writes the bitmap in the form of layout. The bitmap's block size must
// be that of the layout (see Resize). w is not closed.
func (b *Bitmap) Encode(w io.Writer, l Layout) error {
	if w == nil {
		return invalid("no output")
	}
	if err := l.Validate(); err != nil {
		return err
	}
	if l.BlockSize != b.blockSize {
		return &LayoutError{"block", fmt.Sprintf("the bitmap has blocks of %d bytes, the layout of %d", b.blockSize, l.BlockSize)}
	}
	c := &counter{w: bufio.NewWriterSize(w, wire.BufferSize)}
	b.encodeHeader(c, l)
	header := c.n
	switch l.Encoding {
	case Bits:
		b.encodeBits(c, l)
	case Runs:
		b.encodeRuns(c, l)
	case List:
		b.encodeList(c, l)
	}
	c.fill(l.padding(header, c.n-header), pickByte(l.Ones))
	if c.err != nil {
		return wrapWrite(c.err)
	}
	return wrapWrite(c.w.Flush())
}

func wrapWrite(err error) error {
	if _, ok := err.(*LayoutError); ok || err == nil {
		return err
	}
	return pkg.Errorf("encode: %w", err)
}

// padding returns the bytes of padding after header and body.
func (l Layout) padding(header, body int64) int64 {
	if l.PadHeader {
		body += header
	}
	return wire.Padding(body, l.Pad)
}

func pickByte(ones bool) byte {
	if ones {
		return 0xff
	}
	return 0
}

func (b *Bitmap) encodeHeader(c *counter, l Layout) {
	for _, f := range l.Header {
		if f.Kind == Constant {
			c.write([]byte(f.Bytes))
			continue
		}
		c.number(b.headerValue(f.Kind, l), f.Width, f.BigEndian)
	}
}

// headerValue returns what a field of the kind holds for this bitmap.
func (b *Bitmap) headerValue(k FieldKind, l Layout) int64 {
	switch k {
	case SizeField:
		return b.size
	case SectorsField:
		return wire.CeilDiv(b.size, 512)
	case BlockField:
		return b.blockSize
	case BlocksField:
		return b.Blocks()
	case DataField:
		return b.Count()
	}
	return b.entries(l)
}

func (b *Bitmap) entries(l Layout) int64 {
	if l.Encoding == Bits {
		return wire.CeilDiv(b.Blocks(), 8)
	}
	var n int64
	count := func(Run) bool { n++; return true }
	if l.Encoding == Runs {
		b.runsOf(l, count)
	} else {
		b.listOf(l, count)
	}
	return n
}

// encodeBits goes word by word: 64 blocks are 8 bytes, in either bit order.
func (b *Bitmap) encodeBits(c *counter, l Layout) {
	left := b.Blocks()
	for _, w := range b.set.Words() {
		if left <= 0 || c.err != nil {
			break
		}
		if l.Inverted {
			w = ^w
		}
		n := min(left, 64)
		if n < 64 { // bits after the last block are padding
			keep := uint64(1)<<n - 1
			w &= keep
			if l.Ones {
				w |= ^keep
			}
		}
		var p [8]byte
		binary.LittleEndian.PutUint64(p[:], w)
		if l.MSBFirst {
			for i := range p {
				p[i] = bits.Reverse8(p[i])
			}
		}
		c.write(p[:wire.CeilDiv(n, 8)])
		left -= n
	}
}

func (b *Bitmap) encodeRuns(c *counter, l Layout) {
	b.runsOf(l, func(r Run) bool {
		c.number(b.units(r.Offset, r.Length, l), l.Width, l.BigEndian)
		return c.err == nil
	})
}

func (b *Bitmap) encodeList(c *counter, l Layout) {
	b.listOf(l, func(r Run) bool {
		c.number(r.Offset/l.Unit, l.Width, l.BigEndian)
		c.number(b.units(r.Offset, r.Length, l), l.Width, l.BigEndian)
		return c.err == nil
	})
}

// units returns a run's length as the layout counts it.
func (b *Bitmap) units(off, length int64, l Layout) int64 {
	return wire.Units(off, length, b.size, b.blockSize, l.Unit, l.Clip)
}

// runsOf yields what a Runs body has a number for, with a leading run of no
// length where the disk does not begin with what comes first.
func (b *Bitmap) runsOf(l Layout, yield func(Run) bool) {
	first := true
	for r := range b.Runs() {
		if first && r.Data != l.Inverted && !yield(Run{Data: l.Inverted}) {
			return
		}
		first = false
		if !yield(r) {
			return
		}
	}
}

func (b *Bitmap) listOf(l Layout, yield func(Run) bool) {
	for r := range b.Runs() {
		if r.Data != l.Inverted && !yield(r) {
			return
		}
	}
}
