package zvhd2

import (
	"encoding/binary"

	"github.com/fastimage/fastimage/internal/sparse"
)

// header checks the structure at the start; nil if it is of no use.
func (v *verifier) header() (*footer, error) {
	head, err := v.file.header()
	if err != nil {
		return nil, v.problem(err)
	}
	b, err := v.file.page(0, "header")
	if err != nil {
		return nil, v.problem(err)
	}
	v.zvhd = head.zvhd
	v.checkFooter(b, 0, head)
	if n := head.nonZero; n != 0 {
		_ = v.problem(format.Damaged(offNonZero, "non_zero_blk_num", "is %d, want 0", n))
	}
	return head, nil
}

// indexFooter checks the structure at the end and the bitmap. The structure is nil
// if it cannot be relied on, the tables are if either cannot.
func (v *verifier) indexFooter(head *footer) (*footer, *tables, error) {
	foot, err := v.file.indexFooter(head)
	if err != nil {
		return nil, nil, v.problem(err)
	}
	b, err := v.file.page(v.file.size-pageSize, "footer")
	if err != nil {
		return nil, nil, v.problem(err)
	}
	v.checkFooter(b, v.file.size-pageSize, foot)
	t, err := newTables(v.file, foot)
	if err != nil {
		return foot, nil, v.problem(err)
	}
	return foot, t, nil
}

// endOfData checks the structure at off, after the records. Nothing is read by it.
func (v *verifier) endOfData(off int64, foot *footer) error {
	b, err := v.file.page(off, "end of data")
	if err != nil {
		return v.problem(err)
	}
	eod, err := parseFooter(b, off, true)
	if err != nil {
		return v.problem(err)
	}
	if le32(b[offChecksum:]) != checksum(b) {
		v.note(format.Damaged(off+offChecksum, "checksum", "stale, as the vendor's tool leaves it"))
	}
	v.checkFooter(b, off, eod)
	if eod.nonZero != foot.nonZero {
		_ = v.problem(format.Damaged(off+offNonZero, "non_zero_blk_num", "is %d, want %d", eod.nonZero, foot.nonZero))
	}
	return v.problem(compareFooters(foot, eod, off))
}

// constant is a run of bytes with the value that the format gives it.
type constant struct {
	field string
	off   int64
	want  string
}

// Fields that readers have no use for. Those of the creator distinguish writers,
// and hidden is a state of the file, so another value is only worth a note.
var (
	constants = []constant{
		{"features", offFeatures, "\x02\x00\x00\x00"},
		{"data_offset", offDataOff, "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"saved", offSaved, "\x00"},
		{"align_64", offAlign64, "\x00"},
	}
	notedConstants = []constant{
		{"cookie", cookieLen, "\x00\x00"},
		{"creator_application", offCreator, creatorApp},
		{"creator_version", offCreatorV, "\x04\x00\x01\x00"},
		{"creator_os", offCreatorOS, "\x00\x00\x00\x00"},
		{"hidden", offHidden, "\x00"},
	}
)

// checkFooter checks what parsing a copy of the structure leaves out: fields that
// nothing reads, and what fills up the page.
func (v *verifier) checkFooter(b []byte, off int64, f *footer) {
	v.rep.Format, v.rep.Size, v.rep.Blocks = f.name(), f.origSize, f.maxBlk
	for _, c := range constants {
		if got := string(b[c.off:][:len(c.want)]); got != c.want {
			_ = v.problem(format.Damaged(off+c.off, c.field, "is %x, want %x", got, c.want))
		}
	}
	for _, c := range notedConstants {
		if got := string(b[c.off:][:len(c.want)]); got != c.want {
			v.note(format.Damaged(off+c.off, c.field, "is %q, want %q", got, c.want))
		}
	}
	if want := roundUp(f.origSize, virtualAlign); f.currSize != want {
		_ = v.problem(format.Damaged(off+offCurrSize, "curr_size", "is %d, want %d", f.currSize, want))
	}
	switch want := geometry(f.origSize); f.geometry {
	case want:
	case vendorGeometry(f.origSize):
		v.note(format.Damaged(off+offGeometry, "geometry", "is %#x, want %#x: computed from a truncated number of sectors", f.geometry, want))
	default:
		_ = v.problem(format.Damaged(off+offGeometry, "geometry", "is %#x, want %#x", f.geometry, want))
	}
	v.checkUnused(b, off, f)
}

// checkUnused checks the bytes of a copy of the structure that have no meaning.
func (v *verifier) checkUnused(b []byte, off int64, f *footer) {
	const reserved = offMethod + 1
	if !sparse.IsZero(b[reserved:footerSize]) {
		_ = v.problem(format.Damaged(off+reserved, "reserved", "not zero"))
	}
	if !sparse.IsZero(b[footerSize:]) {
		v.note(format.Damaged(off+footerSize, "padding", "not zero"))
	}
	switch {
	case f.zvhd && !sparse.IsZero(b[offZVersion:reserved]):
		v.note(format.Damaged(off+offZVersion, "zvhd2_version", "the fields of ZVHD2 are filled in, in a file that is read as ZVHD"))
	case !f.zvhd && off != v.file.size-pageSize && !sparse.IsZero(b[offIndexLBA:offNonZero]):
		// Only the copy at the end knows where the index is.
		_ = v.problem(format.Damaged(off+offIndexLBA, "index_lba", "index fields are not zero"))
	}
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
