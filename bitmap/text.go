package bitmap

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/fastimage/fastimage/bitmap/internal/wire"
)

// String returns the text form, which ParseLayout reads:
//
//	bits,block=2M,order=lsb,data=1,pad=4096,fill=0
//	bits,block=1M,order=msb,data=0,pad=1,fill=1,header=hex:4d46+size:u64le
//	runs,block=2M,first=hole,number=u32le,unit=block,tail=whole,pad=1
//	list,block=64K,of=data,number=u64be,unit=1,tail=clip,pad=1
func (l Layout) String() string {
	var s []string
	add := func(key string, value any) { s = append(s, fmt.Sprintf("%s=%v", key, value)) }
	number := func() {
		add("number", numberType(l.Width, l.BigEndian))
		unit := strconv.FormatInt(l.Unit, 10)
		if l.Unit == l.BlockSize {
			unit = "block"
		}
		add("unit", unit)
		add("tail", wire.Pick(l.Clip, "clip", "whole"))
	}
	block := "block=" + formatSize(l.BlockSize)
	switch l.Encoding {
	case Bits:
		s = append(s, "bits", block)
		add("order", wire.Pick(l.MSBFirst, "msb", "lsb"))
		add("data", wire.Pick(l.Inverted, "0", "1"))
	case Runs:
		s = append(s, "runs", block)
		add("first", wire.Pick(l.Inverted, "data", "hole"))
		number()
	case List:
		s = append(s, "list", block)
		add("of", wire.Pick(l.Inverted, "holes", "data"))
		number()
	}
	add("pad", strconv.FormatInt(l.Pad, 10)+wire.Pick(l.PadHeader, "/file", ""))
	if l.Encoding == Bits {
		add("fill", wire.Pick(l.Ones, "1", "0"))
	}
	if len(l.Header) > 0 {
		add("header", formatHeader(l.Header))
	}
	return strings.Join(s, ",")
}

func numberType(width int, big bool) string {
	return fmt.Sprintf("u%d%s", width*8, wire.Pick(big, "be", "le"))
}

func formatHeader(fields []Field) string {
	var s []string
	var constant []byte
	flush := func() {
		s = append(s, formatConstant(constant)...)
		constant = nil
	}
	for _, f := range fields {
		if f.Kind == Constant { // neighbours are one, so that equal headers have one text
			constant = append(constant, f.Bytes...)
			continue
		}
		flush()
		name := "?"
		if int(f.Kind) < len(fieldNames) {
			name = fieldNames[f.Kind]
		}
		s = append(s, name+":"+numberType(f.Width, f.BigEndian))
	}
	flush()
	return strings.Join(s, "+")
}

// minRepeat is from how many equal bytes on they are written as hex:00*N.
const minRepeat = 8

func formatConstant(p []byte) (s []string) {
	var plain []byte
	flush := func() {
		if len(plain) > 0 {
			s = append(s, "hex:"+hex.EncodeToString(plain))
		}
		plain = nil
	}
	for len(p) > 0 {
		n := 1
		for n < len(p) && p[n] == p[0] {
			n++
		}
		if n < minRepeat {
			plain = append(plain, p[:n]...)
		} else {
			flush()
			s = append(s, fmt.Sprintf("hex:%02x*%d", p[0], n))
		}
		p = p[n:]
	}
	flush()
	return s
}

func formatSize(n int64) string {
	for _, u := range []struct {
		bits uint
		name string
	}{{30, "G"}, {20, "M"}, {10, "K"}} {
		if n > 0 && n%(1<<u.bits) == 0 {
			return strconv.FormatInt(n>>u.bits, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func parseSize(s string) (int64, error) {
	num := strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i")
	shift := 0
	if num != "" {
		if i := strings.IndexByte("KMG", num[len(num)-1]); i >= 0 {
			num, shift = num[:len(num)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 || n > 1<<40>>shift {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return n << shift, nil
}

// ParseLayout reads the text form of a layout, "default" or "" for
// DefaultLayout. It is the encoding (bits, runs or list), then key=value pairs,
// all separated by commas; keys left out have the values of DefaultLayout, and
// runs and list those of 32-bit little-endian numbers of blocks without padding:
//
//	block=N     bytes of a block; K, M, G (and KiB, MiB, GiB) are understood
//	order=      lsb or msb: which bit of a byte is first (bits)
//	data=       1 or 0: the bit of a block with data (bits)
//	first=      hole or data: what the first number counts (runs)
//	of=         data or holes: what is listed (list)
//	number=     u32le, u32be, u64le or u64be (runs, list)
//	unit=       1, 512 or block: bytes that a number counts (runs, list)
//	tail=       whole or clip: a run in a short last block (runs, list)
//	pad=N       the body is a multiple of N bytes; N/file: the whole is
//	fill=       0 or 1: bits of padding (bits)
//	header=     fields joined by +: hex:4d46, hex:00*4090 (4090 times), or size,
//	            sectors, block, blocks, data, entries with a type, as in size:u64le
//
// The result is validated.
func ParseLayout(s string) (Layout, error) {
	l := DefaultLayout()
	if s == "" || s == "default" {
		return l, nil
	}
	kind, rest, _ := strings.Cut(s, ",")
	switch kind {
	case "bits":
	case "runs", "list":
		l.Encoding = Runs
		if kind == "list" {
			l.Encoding = List
		}
		l.Width, l.Pad = 4, 1
	default:
		return Layout{}, &LayoutError{"encoding", fmt.Sprintf("%q: want bits, runs or list", kind)}
	}
	p := layoutParser{l: &l, unitBlock: true, seen: make(map[string]bool)}
	for rest != "" {
		var pair string
		pair, rest, _ = strings.Cut(rest, ",")
		if err := p.pair(pair); err != nil {
			return Layout{}, err
		}
	}
	if p.unitBlock && l.Encoding != Bits { // block= may come after unit=
		l.Unit = l.BlockSize
	}
	if err := l.Validate(); err != nil {
		return Layout{}, err
	}
	return l, nil
}

type layoutParser struct {
	l         *Layout
	unitBlock bool
	seen      map[string]bool
}

// keys says which encodings have a key.
var keys = map[string]string{
	"block": "bits runs list", "pad": "bits runs list", "header": "bits runs list",
	"order": "bits", "data": "bits", "fill": "bits",
	"first": "runs", "of": "list",
	"number": "runs list", "unit": "runs list", "tail": "runs list",
}

var encodingNames = [...]string{Bits: "bits", Runs: "runs", List: "list"}

func (p *layoutParser) pair(pair string) error {
	key, value, ok := strings.Cut(pair, "=")
	if !ok {
		return &LayoutError{key, "want key=value"}
	}
	if !strings.Contains(keys[key], encodingNames[p.l.Encoding]) {
		return &LayoutError{key, "no such key for " + encodingNames[p.l.Encoding]}
	}
	if p.seen[key] {
		return &LayoutError{key, "given twice"}
	}
	p.seen[key] = true
	if err := p.set(key, value); err != nil {
		return &LayoutError{key, err.Error()}
	}
	return nil
}

func (p *layoutParser) set(key, value string) (err error) {
	l := p.l
	switch key {
	case "block":
		l.BlockSize, err = parseSize(value)
	case "pad":
		value, l.PadHeader = strings.CutSuffix(value, "/file")
		l.Pad, err = parseSize(value)
	case "header":
		l.Header, err = parseHeader(value)
	case "order":
		l.MSBFirst, err = choose(value, "lsb", "msb")
	case "data":
		l.Inverted, err = choose(value, "1", "0")
	case "fill":
		l.Ones, err = choose(value, "0", "1")
	case "first":
		l.Inverted, err = choose(value, "hole", "data")
	case "of":
		l.Inverted, err = choose(value, "data", "holes")
	case "tail":
		l.Clip, err = choose(value, "whole", "clip")
	case "number":
		l.Width, l.BigEndian, err = parseNumber(value)
	case "unit":
		if p.unitBlock = value == "block"; !p.unitBlock {
			l.Unit, err = parseSize(value)
		}
	}
	return err
}

// choose returns false for the first value, true for the second.
func choose(value, no, yes string) (bool, error) {
	if value != no && value != yes {
		return false, fmt.Errorf("%q: want %s or %s", value, no, yes)
	}
	return value == yes, nil
}

func parseNumber(s string) (width int, big bool, err error) {
	for _, w := range []int{2, 4, 8} {
		for _, be := range []bool{false, true} {
			if s == numberType(w, be) {
				return w, be, nil
			}
		}
	}
	return 0, false, fmt.Errorf("%q: want a type like u32le or u64be", s)
}

func parseHeader(s string) ([]Field, error) {
	var fields []Field
	room := maxHeader // a short text can ask for many bytes
	for part := range strings.SplitSeq(s, "+") {
		name, value, _ := strings.Cut(part, ":")
		f := Field{Kind: FieldKind(len(fieldNames))}
		for k, n := range fieldNames {
			if n == name {
				f.Kind = FieldKind(k)
			}
		}
		var err error
		if f.Kind == Constant {
			f.Bytes, err = parseConstant(value, room)
			room -= len(f.Bytes)
		} else if int(f.Kind) < len(fieldNames) {
			f.Width, f.BigEndian, err = parseNumber(value)
		} else {
			err = fmt.Errorf("unknown field %q", name)
		}
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// parseConstant reads hexadecimal digits, and *N for N times them, up to room
// bytes in all.
func parseConstant(s string, room int) (string, error) {
	digits, times, repeated := strings.Cut(s, "*")
	b, err := hex.DecodeString(digits)
	if err != nil {
		return "", err
	}
	n := int64(1)
	if repeated {
		if n, err = strconv.ParseInt(times, 10, 32); err != nil || n < 1 {
			return "", fmt.Errorf("%q is not a number of times", times)
		}
	}
	if int64(len(b))*n > int64(room) {
		return "", fmt.Errorf("more than 1 MiB of bytes")
	}
	return strings.Repeat(string(b), int(n)), nil
}
