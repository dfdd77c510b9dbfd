package zvhd2

import "encoding/binary"

// footer reads and checks a copy of the structure; nil if it is of no use.
func (v *verifier) footer(off int64, kind Kind, stale bool) (*footer, error) {
	b := make([]byte, pageSize)
	if err := v.r.readFull(b, off, string(kind)); err != nil {
		return nil, v.add(kind, err)
	}
	f, err := parseFooter(b, off, stale)
	if err != nil && kind == KindFooter {
		err = missingFooter(err, off)
	}
	if err != nil {
		return nil, v.add(kind, err)
	}
	if g := geometry(f.origSize); f.geometry != g {
		_ = v.add(kind, fieldErr(off+offGeometry, "geometry", ErrFormat, "is %#x, want %#x", f.geometry, g))
	}
	if want := roundUp(f.origSize, virtualAlign); f.currSize != want {
		_ = v.add(kind, fieldErr(off+offCurrSize, "curr_size", ErrFormat, "is %d, want %d", f.currSize, want))
	}
	if stale && checksum(b) != le32(b[offChecksum:]) {
		_ = v.note(kind, fieldErr(off+offChecksum, "checksum", ErrChecksum, "stale, as the vendor's tool leaves it"))
	}
	v.constants(b, off, f, kind)
	v.rep.Format, v.rep.Size, v.rep.Blocks = "zvhd2", f.origSize, f.maxBlk
	return f, nil
}

// indexFooter checks the structure at the end and reports whether it, and the
// bitmap it leads to, can be relied on.
func (v *verifier) indexFooter(head *footer) (bool, error) {
	base := v.r.size - pageSize
	if v.r.size < minFile || v.r.size%pageSize != 0 {
		return false, v.add(KindFile, fieldErr(v.r.size, "file", ErrTruncated, "%d bytes", v.r.size))
	}
	f, err := v.footer(base, KindFooter, false)
	if f == nil {
		return false, err
	}
	if f.zvhd {
		return false, v.add(KindFooter, fieldErr(base, "cookie", ErrFormat, "differs from the header's"))
	}
	if head != nil {
		if err := compareFooters(head, f, base); err != nil {
			_ = v.add(KindFooter, err)
			return false, nil
		}
	}
	if err := f.checkLayout(v.r.size); err != nil {
		return false, v.add(KindFooter, err)
	}
	v.r.foot = f
	if err := v.r.readBitmap(); err != nil {
		return false, v.add(KindBitmap, err)
	}
	v.r.index.segs = make([][]entry, f.indexNum)
	return true, nil
}

// constant is a run of bytes with the value that the format gives it.
type constant struct {
	field string
	off   int64
	want  string
}

// Fields that readers have no use for. Those of the creator tell writers apart,
// so another value is only worth a note.
var (
	constants = []constant{
		{"features", offFeatures, "\x02\x00\x00\x00"},
		{"data_offset", offDataOff, "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"saved", offSaved, "\x00"},
		{"hidden", offHidden, "\x00"},
		{"align_64", offAlign64, "\x00"},
	}
	creator = []constant{
		{"cookie", cookieLen, "\x00\x00"},
		{"creator_application", offCreator, creatorApp},
		{"creator_version", offCreatorV, "\x04\x00\x01\x00"},
		{"creator_os", offCreatorOS, "\x00\x00\x00\x00"},
	}
)

// constants checks the fields of a copy of the structure that are the same in
// every file, and what fills it up.
func (v *verifier) constants(b []byte, off int64, f *footer, kind Kind) {
	for _, c := range constants {
		if got := string(b[c.off:][:len(c.want)]); got != c.want {
			_ = v.add(kind, fieldErr(off+c.off, c.field, ErrFormat, "is %x, want %x", got, c.want))
		}
	}
	for _, c := range creator {
		if got := string(b[c.off:][:len(c.want)]); got != c.want {
			_ = v.note(kind, fieldErr(off+c.off, c.field, ErrFormat, "is %q, want %q", got, c.want))
		}
	}
	reserved := int64(offMethod + 1)
	if f.zvhd {
		reserved = offZVersion
	}
	if !isZero(b[reserved:footerSize]) {
		_ = v.add(kind, fieldErr(off+reserved, "reserved", ErrFormat, "not zero"))
	}
	if !isZero(b[footerSize:]) {
		_ = v.add(kind, fieldErr(off+footerSize, "padding", ErrFormat, "not zero"))
	}
	// Only the copy at the end knows where the index is, and only the header
	// does not know how many blocks were stored.
	if !f.zvhd && kind != KindFooter && !isZero(b[offIndexLBA:offNonZero]) {
		_ = v.add(kind, fieldErr(off+offIndexLBA, "index_lba", ErrFormat, "index fields are not zero"))
	}
	if !f.zvhd && kind == KindHeader && f.nonZero != 0 {
		_ = v.add(kind, fieldErr(off+offNonZero, "non_zero_blk_num", ErrFormat, "is %d, want 0", f.nonZero))
	}
	if kind == KindEndOfData && f.nonZero != v.r.foot.nonZero {
		_ = v.add(kind, fieldErr(off+offNonZero, "non_zero_blk_num", ErrFormat, "is %d, want %d", f.nonZero, v.r.foot.nonZero))
	}
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
