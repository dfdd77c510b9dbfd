package zvhd2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
)

// Kind tells what a [Problem] is about.
type Kind string

// The kinds of problems, by structure.
const (
	KindFile      Kind = "file"        // the file's length or its end
	KindHeader    Kind = "header"      // the structure at offset 0
	KindFooter    Kind = "footer"      // the structure at the end
	KindEndOfData Kind = "end-of-data" // the structure after the records
	KindIndex     Kind = "index"       // the places of the records
	KindBitmap    Kind = "bitmap"      // which blocks are stored
	KindRecord    Kind = "record"      // what surrounds a payload
	KindPayload   Kind = "payload"     // what does not decompress to a block
	KindContent   Kind = "content"     // what differs from the disk compared with
	KindWaste     Kind = "waste"       // bytes that nothing needs; only in notes
)

// Problem is one thing wrong with a file.
type Problem struct {
	Kind    Kind   `json:"kind"`    // the structure concerned
	Block   int64  `json:"block"`   // or NoBlock
	Offset  int64  `json:"offset"`  // in the file; for KindContent in the disk
	Field   string `json:"field"`   // as the format names it
	Message string `json:"message"` // what is wrong, in a sentence
	Err     error  `json:"-"`       // usually a *FormatError
}

// Report is what [Verify] found.
type Report struct {
	Format   string    `json:"format"`    // "zvhd2", "zvhd", or empty
	Size     int64     `json:"size"`      // bytes of the disk
	FileSize int64     `json:"file_size"` // bytes of the container
	Blocks   int64     `json:"blocks"`    // of the disk
	Stored   int64     `json:"stored"`    // of these, found stored
	Checked  int64     `json:"checked"`   // of these, payloads that decompress to a block
	Compared bool      `json:"compared"`  // with another disk
	Problems []Problem `json:"problems"`  // by file offset
	Notes    []Problem `json:"notes"`     // tolerated: stale checksum, padding, waste
}

// OK reports whether nothing is wrong. Notes do not count.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// verifier collects what is found.
type verifier struct {
	r   *Reader
	o   *options
	mu  sync.Mutex // guards rep while workers run
	rep *Report
}

// Verify checks the ZVHD2 or ZVHD file of size bytes in ra: every structure and
// every payload, payloads in parallel. It goes on after a problem as far as
// what is whole allows; where the index cannot be used it walks the records.
// The error is for I/O, options and the context only; what is wrong with the
// file is in the report.
//
// Verify heeds [WithWorkers], [WithProgress] and [WithAgainst].
func Verify(ctx context.Context, ra io.ReaderAt, size int64, opts ...Option) (*Report, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	v := &verifier{
		r: &Reader{ra: ra, size: size}, o: o,
		rep: &Report{FileSize: size, Problems: []Problem{}, Notes: []Problem{}, Compared: o.against != nil},
	}
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	for _, list := range [][]Problem{v.rep.Problems, v.rep.Notes} {
		slices.SortStableFunc(list, func(a, b Problem) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	}
	return v.rep, nil
}

// add files err as a problem and returns nil, or returns err if it is not
// about the file.
func (v *verifier) add(kind Kind, err error) error {
	return v.file(&v.rep.Problems, kind, err)
}

func (v *verifier) note(kind Kind, err error) error {
	return v.file(&v.rep.Notes, kind, err)
}

func (v *verifier) file(list *[]Problem, kind Kind, err error) error {
	var fe *FormatError
	if !errors.As(err, &fe) {
		return err // nil too
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	*list = append(*list, Problem{
		Kind: kind, Block: fe.Block, Offset: fe.Offset, Field: fe.Field, Message: fe.Error(), Err: fe,
	})
	return nil
}

func (v *verifier) run(ctx context.Context) error {
	if v.r.size < pageSize {
		return v.add(KindFile, fieldErr(0, "file", ErrTruncated, "%d bytes", v.r.size))
	}
	head, err := v.footer(0, KindHeader, false)
	if err != nil {
		return err
	}
	if head != nil && head.zvhd {
		return v.stream(ctx, head)
	}
	whole, err := v.indexFooter(head)
	if err != nil {
		return err
	}
	if !whole {
		return v.walk(ctx, head)
	}
	return v.container(ctx)
}

// container checks a file whose index footer and bitmap are sound.
func (v *verifier) container(ctx context.Context) error {
	f := v.r.foot
	if eod, err := v.footer(f.eodOffset(), KindEndOfData, true); err != nil {
		return err
	} else if eod != nil {
		if err := compareFooters(f, eod, f.eodOffset()); err != nil {
			_ = v.add(KindEndOfData, err)
		}
	}
	entries, err := v.entries()
	if err != nil {
		return err
	}
	v.layout(entries)
	return v.payloads(ctx, entries)
}

// entries returns the index entries that can be followed, in ascending block
// number.
func (v *verifier) entries() ([]entry, error) {
	r, f := v.r, v.r.foot
	out := make([]entry, 0, f.nonZero)
	pos, block := int64(0), int64(-1)
	for i := range f.indexNum {
		seg, err := r.loadSegment(i)
		if err != nil {
			return nil, v.add(KindIndex, err)
		}
		if err := v.unused(i, int64(len(seg))); err != nil {
			return nil, err
		}
		for _, e := range seg {
			at := r.entryOffset(pos)
			want := pos
			if !f.fullIndex {
				want = r.bitmap.next(block+1, f.maxBlk, true)
			}
			if v.entry(e, want, at) {
				out = append(out, e)
			}
			pos, block = pos+1, want
		}
	}
	return out, nil
}

// entry checks the index entry of block, at file offset at, and reports
// whether a record can be read by it.
func (v *verifier) entry(e entry, block, at int64) bool {
	stored := v.r.bitmap.test(block)
	switch {
	case !stored && e.offset == 0:
		return false
	case !stored:
		_ = v.add(KindBitmap, blockErr(block, v.r.foot.bitmapLBA+block/8, "bitmap", ErrFormat, "bit clear, the index has a record at %d", e.offset))
		return false
	case e.block != block:
		_ = v.add(KindIndex, blockErr(block, at+8, "index.block_number", ErrFormat, "is %d", e.block))
		return false
	}
	if err := v.r.checkEntry(e, at); err != nil {
		_ = v.add(KindIndex, err)
		return false
	}
	return true
}

// unused holds the entries of segment i from the n-th on against zero.
func (v *verifier) unused(i, n int64) error {
	b := make([]byte, indexSegSize-n*indexEntrySize)
	off := v.r.foot.indexLBA + i*indexSegSize + n*indexEntrySize
	if err := v.r.readFull(b, off, "index"); err != nil {
		return v.add(KindIndex, err)
	}
	if !isZero(b) {
		_ = v.add(KindIndex, fieldErr(off, "index", ErrFormat, "unused entries are not zero"))
	}
	return nil
}

// layout looks for records that share bytes and for bytes between records.
func (v *verifier) layout(entries []entry) {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b entry) int { return int(min(max(a.offset-b.offset, -1), 1)) })
	end := int64(pageSize)
	for _, e := range append(sorted, entry{offset: v.r.foot.eodOffset(), block: NoBlock}) {
		if e.offset < end {
			_ = v.add(KindIndex, blockErr(e.block, e.offset, "index.block_offset", ErrFormat, "record overlaps the one that ends at %d", end))
		} else if e.offset > end {
			_ = v.note(KindWaste, fieldErr(end, "records", ErrFormat, "%d bytes that no index entry needs", e.offset-end))
		}
		end = max(end, e.offset+e.length)
	}
}

// payloads decompresses every block and compares it if asked to.
func (v *verifier) payloads(ctx context.Context, entries []entry) error {
	f, src := v.r.foot, v.o.against
	decs, err := newDecoders(v.o.workers, f.method)
	if err != nil {
		return err
	}
	if src != nil {
		src.block = f.blockSize
		v.compareSize()
	}
	v.rep.Stored = int64(len(entries))
	m := startMeter(f.origSize, v.o.progress)
	defer m.stop()
	type buffers struct{ block, other []byte }
	bufs := make([]buffers, v.o.workers)
	for i := range bufs {
		bufs[i].block = make([]byte, f.blockSize)
		if src != nil {
			bufs[i].other = make([]byte, f.blockSize)
		}
	}
	err = forEach(ctx, v.o.workers,
		func(emit func(int64) error) error {
			for i := range entries {
				if err := emit(int64(i)); err != nil {
					return err
				}
			}
			return nil
		},
		func(w int, i int64) error {
			m.data.Add(v.r.blockLen(entries[i].block))
			return v.payload(decs[w], entries[i], bufs[w].block, bufs[w].other)
		})
	if err == nil && src != nil {
		err = v.zeros(ctx, func(w int) []byte { return bufs[w].other })
	}
	m.skipped.Store(f.origSize - m.data.Load())
	return err
}

func (v *verifier) payload(d *decoder, e entry, block, other []byte) error {
	payload, err := v.r.readRecord(d, e)
	if err != nil {
		return v.add(KindRecord, err)
	}
	if err := expandErr(d.expand(block, payload), e); err != nil {
		return v.add(KindPayload, err)
	}
	v.details(d.rec[:e.length], block, e)
	v.mu.Lock()
	v.rep.Checked++
	v.mu.Unlock()
	if v.o.against == nil {
		return nil
	}
	if err := v.o.against.readBlock(e.block, other); err != nil {
		return err
	}
	return v.compare(e.block, block, other)
}

// details checks the bytes of a record that carry nothing, and the block it
// expanded to. The vendor's tool pads with what its buffer held before, so
// padding is only noted.
func (v *verifier) details(rec, block []byte, e entry) {
	if !isZero(rec[20:recordHeader]) {
		_ = v.add(KindRecord, blockErr(e.block, e.offset+20, "record.reserved", ErrFormat, "not zero"))
	}
	end := recordHeader + int64(le32(rec[12:]))
	if !isZero(rec[end : e.length-recordTrailer]) {
		_ = v.note(KindWaste, blockErr(e.block, e.offset+end, "record.padding", ErrFormat, "not zero"))
	}
	if n := v.r.blockLen(e.block); !isZero(block[n:]) {
		_ = v.add(KindPayload, blockErr(e.block, e.offset+recordHeader, "payload", ErrFormat, "not zero past the disk's end"))
	}
	if isZero(block) {
		_ = v.note(KindWaste, blockErr(e.block, e.offset, "record", ErrFormat, "stores a block of zeros"))
	}
}

// zeros compares the blocks that are not stored; holes of the other disk need
// no comparing.
func (v *verifier) zeros(ctx context.Context, buf func(worker int) []byte) error {
	f, src := v.r.foot, v.o.against
	return forEach(ctx, v.o.workers,
		func(emit func(int64) error) error {
			return src.blocks(func(block int64) error {
				if block >= f.maxBlk || v.r.bitmap.test(block) {
					return nil
				}
				return emit(block)
			})
		},
		func(w int, block int64) error {
			some, err := src.readData(block, buf(w))
			if err != nil || !some {
				return err
			}
			return v.compare(block, nil, buf(w))
		})
}

func (v *verifier) compareSize() {
	ours, theirs := v.r.foot.origSize, v.o.against.size
	if roundUp(theirs, sectorSize) != ours {
		_ = v.add(KindContent, fieldErr(0, "size", ErrFormat, "the disk compared with has %d bytes, this one %d", theirs, ours))
	}
}

// compare compares a block, nil for zeros, with the other disk's.
func (v *verifier) compare(block int64, ours, theirs []byte) error {
	if ours == nil && isZero(theirs) || bytes.Equal(ours, theirs) {
		return nil
	}
	at := 0
	for at < len(theirs) && (ours == nil && theirs[at] == 0 || ours != nil && ours[at] == theirs[at]) {
		at++
	}
	return v.add(KindContent, blockErr(block, block*v.r.foot.blockSize+int64(at), "content", ErrFormat,
		"differs from the disk compared with"))
}
