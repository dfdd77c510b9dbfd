package bitmap

import (
	"fmt"
	"math/bits"
)

// Encoding is how the body of an encoded bitmap is written.
type Encoding uint8

const (
	// Bits is one bit per block.
	Bits Encoding = iota
	// Runs is a list of numbers, the lengths of runs, holes and data in turn,
	// beginning with a hole (with data if Inverted); the first may be zero.
	Runs
	// List is a list of pairs (offset, length), one per run of data (of holes if
	// Inverted), in ascending order.
	List
)

// maxPad is the largest Layout.Pad.
const maxPad = 1 << 24

// maxHeader is the longest header of a layout in bytes.
const maxHeader = 1 << 20

// Layout says how a bitmap is written as bytes:
//
//	header    the fields of Header, one after the other
//	body      as Encoding says
//	padding   up to a multiple of Pad
//
// The zero value is not valid; begin with DefaultLayout and change what differs.
// String and ParseLayout give it a form for flags and files.
type Layout struct {
	BlockSize int64    // bytes of disk that a block stands for: a power of two, 512 to 1 GiB
	Encoding  Encoding // of the body
	Header    []Field  // none for most; up to 1 MiB
	Inverted  bool     // Bits: 1 is a hole. Runs, List: see there

	MSBFirst bool // Bits: the first block is the highest bit of a byte, not the lowest

	Width     int   // Runs, List: bytes of a number, 4 or 8
	BigEndian bool  // Runs, List: byte order of numbers
	Unit      int64 // Runs, List: bytes of disk that a number counts: 1, 512 or BlockSize
	Clip      bool  // Runs, List: a run that ends in a short last block ends with the disk, not with the block

	Pad       int64 // the body is filled up to a multiple of it: a power of two up to 16 MiB, 1 for no padding
	PadHeader bool  // the header counts too: not the body, the whole is a multiple of Pad
	Ones      bool  // Bits: padding, bits after the last block included, is ones instead of zeros
}

// DefaultLayout returns the layout used where no other is given: one bit per
// 2 MiB of disk, least significant bit first, 1 for data, no header, zero
// padding to a multiple of 4096 bytes.
//
// It is an assumption. What the vendor's tool writes into a .mf file is not
// documented; this is the form that the bitmap has in the vendor's container
// format (ZVHD2). One .mf made by that tool settles it.
func DefaultLayout() Layout {
	return Layout{BlockSize: DefaultBlockSize, Pad: 4096}
}

// FieldKind is what a header field holds.
type FieldKind uint8

// What a header field can hold. Numbers are unsigned.
const (
	Constant     FieldKind = iota // bytes that are always the same
	SizeField                     // disk size in bytes
	SectorsField                  // disk size in sectors of 512 bytes, rounded up
	BlockField                    // block size in bytes
	BlocksField                   // blocks of the disk
	DataField                     // blocks with data
	EntriesField                  // Runs: numbers of the body; List: pairs; Bits: bytes before padding
)

var fieldNames = [...]string{Constant: "hex", SizeField: "size", SectorsField: "sectors", BlockField: "block",
	BlocksField: "blocks", DataField: "data", EntriesField: "entries"}

// Field is a part of a header: constant bytes, or a number.
type Field struct {
	Kind      FieldKind // what the field holds
	Bytes     string    // Constant: the bytes
	Width     int       // otherwise: 2, 4 or 8 bytes
	BigEndian bool      // otherwise: the byte order
}

func (f Field) len() int {
	if f.Kind == Constant {
		return len(f.Bytes)
	}
	return f.Width
}

func (f Field) validate() error {
	switch {
	case int(f.Kind) >= len(fieldNames):
		return &LayoutError{"header", fmt.Sprintf("unknown field %d", f.Kind)}
	case f.Kind == Constant && f.Bytes == "":
		return &LayoutError{"header", "constant of no bytes"}
	case f.Kind != Constant && f.Width != 2 && f.Width != 4 && f.Width != 8:
		return &LayoutError{"header", fmt.Sprintf("number of %d bytes: want 2, 4 or 8", f.Width)}
	}
	return nil
}

// HeaderLen returns the length of the header in bytes.
func (l Layout) HeaderLen() int64 {
	var n int64
	for _, f := range l.Header {
		n += int64(f.len())
	}
	return n
}

// Validate returns a *LayoutError if the layout makes no sense.
func (l Layout) Validate() error {
	if !power(l.BlockSize, MinBlockSize, MaxBlockSize) {
		return &LayoutError{"block", fmt.Sprintf("%d bytes: want a power of two from 512 to 1 GiB", l.BlockSize)}
	}
	if !power(l.Pad, 1, maxPad) {
		return &LayoutError{"pad", fmt.Sprintf("%d: want a power of two from 1 to 16 MiB", l.Pad)}
	}
	for _, f := range l.Header {
		if err := f.validate(); err != nil {
			return err
		}
	}
	if n := l.HeaderLen(); n > maxHeader {
		return &LayoutError{"header", fmt.Sprintf("%d bytes are more than 1 MiB", n)}
	}
	switch l.Encoding {
	case Bits:
		return nil
	case Runs, List:
		return l.validateNumbers()
	}
	return &LayoutError{"encoding", fmt.Sprintf("unknown: %d", l.Encoding)}
}

func (l Layout) validateNumbers() error {
	switch {
	case l.Width != 4 && l.Width != 8:
		return &LayoutError{"width", fmt.Sprintf("%d: want 4 or 8", l.Width)}
	case l.Unit != 1 && l.Unit != 512 && l.Unit != l.BlockSize:
		return &LayoutError{"unit", fmt.Sprintf("%d: want 1, 512 or the block size", l.Unit)}
	case l.Ones:
		return &LayoutError{"fill", "ones would read as numbers"}
	case l.MSBFirst:
		return &LayoutError{"order", "only bits have one"}
	}
	return nil
}

func power(n, least, most int64) bool {
	return n >= least && n <= most && bits.OnesCount64(uint64(n)) == 1
}

// Equal reports whether two layouts write the same bytes for every bitmap: what
// an encoding does not use is not compared.
func (l Layout) Equal(o Layout) bool { return l.String() == o.String() }
