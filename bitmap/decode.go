package bitmap

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/fastimage/fastimage/bitmap/internal/wire"
)

// Decode reads the bitmap of a disk of size bytes. The input must be exactly
// what the layout requires, from its header to the last byte of padding;
// anything else is a *FormatError that names the place. Memory is that of the
// bitmap, and for Runs and List that of the input, of which no more is read than
// a disk of this size can need.
func Decode(r io.Reader, size int64, l Layout) (*Bitmap, error) {
	if r == nil {
		return nil, invalid("no input")
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if _, err := countBlocks(size, l.BlockSize); err != nil {
		return nil, err
	}
	d := &decoder{r: bufio.NewReaderSize(r, 64<<10), l: l, size: size}
	return d.decode()
}

type decoder struct {
	r     *bufio.Reader
	l     Layout
	size  int64
	n     int64 // bytes read
	b     *Bitmap
	later []laterField
}

// laterField is a header number that only the body can confirm.
type laterField struct {
	off   int64
	kind  FieldKind
	value uint64
}

func (d *decoder) errorf(off int64, field, text string, args ...any) error {
	return format.Damaged(off, field, text, args...)
}

// full reads all of p. An input that ends early is a FormatError, an error of
// the reader stays what it is.
func (d *decoder) full(p []byte, field string) error {
	n, err := io.ReadFull(d.r, p)
	d.n += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return format.Truncated(d.n, field, "the input ends here")
	}
	if err != nil {
		return pkg.Errorf("decode: %w", err)
	}
	return nil
}

func (d *decoder) decode() (*Bitmap, error) {
	var err error
	// Allocated only after the header fits: a short input costs nothing.
	if err = d.header(); err != nil {
		return nil, err
	}
	header := d.n
	switch d.l.Encoding {
	case Bits:
		if d.b, err = New(d.size, d.l.BlockSize); err == nil {
			err = d.bits()
		}
		if err == nil {
			err = d.padding(d.l.padding(header, d.n-header))
		}
	default:
		err = d.numbers(header)
	}
	if err != nil {
		return nil, err
	}
	for _, f := range d.later {
		if want := uint64(d.b.headerValue(f.kind, d.l)); f.value != want {
			return nil, d.errorf(f.off, "header", "%s is %d, the body has %d", fieldNames[f.kind], f.value, want)
		}
	}
	return d.b, nil
}

func (d *decoder) header() error {
	probe := &Bitmap{size: d.size, blockSize: d.l.BlockSize}
	for _, f := range d.l.Header {
		off := d.n
		p := make([]byte, f.len())
		if err := d.full(p, "header"); err != nil {
			return err
		}
		if f.Kind == Constant {
			if string(p) != f.Bytes {
				return d.errorf(off, "header", "%x is not %x", p, f.Bytes)
			}
			continue
		}
		got := wire.GetNumber(p, f.BigEndian)
		var want int64
		switch f.Kind {
		case BlocksField:
			want = wire.CeilDiv(d.size, d.l.BlockSize)
		case DataField, EntriesField:
			d.later = append(d.later, laterField{off, f.Kind, got})
			continue
		default:
			want = probe.headerValue(f.Kind, d.l)
		}
		if got != uint64(want) {
			return d.errorf(off, "header", "%s is %d, this disk has %d", fieldNames[f.Kind], got, want)
		}
	}
	return nil
}

func (d *decoder) bits() error {
	left := d.b.Blocks()
	words := d.b.set.Words()
	for i := 0; left > 0; i++ {
		n := min(left, 64)
		var p [8]byte
		if err := d.full(p[:wire.CeilDiv(n, 8)], "bits"); err != nil {
			return err
		}
		if d.l.MSBFirst {
			for i := range p {
				p[i] = bits.Reverse8(p[i])
			}
		}
		w := binary.LittleEndian.Uint64(p[:])
		if n < 64 {
			// What the last byte has beyond the last block.
			tail := uint64(0xff) << (8 * ((n - 1) / 8)) &^ (uint64(1)<<n - 1)
			if w&tail != 0 && !d.l.Ones || w&tail != tail && d.l.Ones {
				return d.errorf(d.n-1, "padding", "bits after the last block of the disk are not all %s", wire.Pick(d.l.Ones, "1", "0"))
			}
		}
		if d.l.Inverted {
			w = ^w
		}
		if n < 64 {
			w &= uint64(1)<<n - 1
		}
		words[i] = w
		left -= n
	}
	return nil
}

// padding reads n bytes of it and the end of the input.
func (d *decoder) padding(n int64) error {
	fill := pickByte(d.l.Ones)
	for ; n > 0; n-- {
		c, err := d.r.ReadByte()
		if err == io.EOF {
			return format.Truncated(d.n, "padding", "the input ends here, %d bytes early", n)
		}
		if err != nil {
			return pkg.Errorf("decode: %w", err)
		}
		if c != fill {
			return d.errorf(d.n, "padding", "%#02x is not %#02x", c, fill)
		}
		d.n++
	}
	switch _, err := d.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return d.errorf(d.n, "padding", "the input continues where a bitmap of this disk ends")
	default:
		return pkg.Errorf("decode: %w", err)
	}
}

// numbers reads a Runs or List body. It ends at the end of the input, so that is
// read first, up to the most that a disk of this many blocks can need; then the
// canonical form of what was understood is compared with what was read. That
// one comparison checks order, overlaps, merging, clipping and padding.
func (d *decoder) numbers(header int64) error {
	blocks := wire.CeilDiv(d.size, d.l.BlockSize)
	most := (blocks+2)*int64(d.l.Width)*2 + d.l.Pad
	body, err := io.ReadAll(io.LimitReader(d.r, most+1))
	d.n += int64(len(body))
	if err != nil {
		return pkg.Errorf("decode: %w", err)
	}
	if int64(len(body)) > most {
		return d.errorf(d.n, "list", "more entries than the disk has blocks")
	}
	if d.b, err = New(d.size, d.l.BlockSize); err != nil {
		return err
	}
	if d.l.Encoding == Runs {
		err = d.runs(body, header)
	} else {
		err = d.list(body, header)
	}
	if err != nil {
		return err
	}
	return d.compare(body, header)
}

func (d *decoder) compare(body []byte, header int64) error {
	l := d.l
	l.Header = nil
	if l.PadHeader && header > 0 { // the same padding without the header
		l.Header = []Field{{Kind: Constant, Bytes: string(make([]byte, header))}}
	}
	var buf bytes.Buffer
	if err := d.b.Encode(&buf, l); err != nil {
		return err
	}
	want := buf.Bytes()
	if l.Header != nil {
		want = want[header:]
	}
	for i := range max(len(want), len(body)) {
		if i >= len(want) || i >= len(body) || want[i] != body[i] {
			return d.errorf(header+int64(i), wire.Pick(l.Encoding == Runs, "runs", "list"), "not in canonical form: runs must be merged, in order and padded as the layout says")
		}
	}
	return nil
}

func (d *decoder) runs(body []byte, header int64) error {
	l := d.l
	data, pos := l.Inverted, int64(0)
	for i := 0; i+l.Width <= len(body) && pos < d.size; i += l.Width {
		end, err := d.end(pos, wire.GetNumber(body[i:i+l.Width], l.BigEndian))
		if err != nil {
			return d.errorf(header+int64(i), "runs", "%v", err)
		}
		if data {
			d.b.SetRange(pos/l.BlockSize, wire.CeilDiv(end, l.BlockSize))
		}
		pos, data = end, !data
	}
	if pos < d.size {
		return d.errorf(header+int64(len(body)), "runs", "the runs end at disk offset %d of %d", pos, d.size)
	}
	return nil
}

func (d *decoder) list(body []byte, header int64) error {
	l := d.l
	if l.Inverted {
		d.b.SetRange(0, d.b.Blocks())
	}
	var pos int64
	for i := 0; i+2*l.Width <= len(body); i += 2 * l.Width {
		n := wire.GetNumber(body[i+l.Width:i+2*l.Width], l.BigEndian)
		if n == 0 { // padding; compare looks at the rest
			break
		}
		off := wire.GetNumber(body[i:i+l.Width], l.BigEndian)
		if off > uint64(d.size/l.Unit) || int64(off)*l.Unit < pos || int64(off)*l.Unit%l.BlockSize != 0 {
			return d.errorf(header+int64(i), "list", "offset %d is out of order, within a block or after the end of the disk", off)
		}
		end, err := d.end(int64(off)*l.Unit, n)
		if err != nil {
			return d.errorf(header+int64(i+l.Width), "list", "%v", err)
		}
		for j := int64(off) * l.Unit / l.BlockSize; l.Inverted && j < wire.CeilDiv(end, l.BlockSize); j++ {
			d.b.Set(j, false)
		}
		if !l.Inverted {
			d.b.SetRange(int64(off)*l.Unit/l.BlockSize, wire.CeilDiv(end, l.BlockSize))
		}
		pos = end
	}
	return nil
}

// end returns where a run of n units from pos ends, clipped to the disk.
func (d *decoder) end(pos int64, n uint64) (int64, error) {
	whole := wire.CeilDiv(d.size, d.l.BlockSize) * d.l.BlockSize
	if n > uint64(wire.CeilDiv(whole-pos, d.l.Unit)) {
		return 0, fmt.Errorf("length %d reaches past the end of the disk", n)
	}
	end := min(pos+int64(n)*d.l.Unit, d.size)
	if end < d.size && end%d.l.BlockSize != 0 {
		return 0, fmt.Errorf("length %d ends within a block", n)
	}
	return end, nil
}
