package imagefmt

import (
	"io"
	"math"
	"slices"
)

// NoBlock is the entry of a block without data in the file.
const NoBlock = math.MaxUint32

// absent is where such a block is.
const absent = -1

// Table is a disk of blocks of one size, each in one piece of a file or absent
// and so zeros: VHD, VHDX and VDI. It does not change once it is filled, and all
// methods but CheckOverlap are safe for concurrent use.
type Table struct {
	Prefix    string // of errors: the format
	Source    io.ReaderAt
	FileSize  int64 // bytes of the file; what a block has behind it is zeros
	DiskSize  int64
	BlockSize int64
	// Entries says for each block where its data is: Base + entry*Unit, or
	// NoBlock. Four bytes each keep disks of many TiB small in memory.
	Entries    []uint32
	Base, Unit int64
}

// Size returns the virtual size in bytes.
func (t *Table) Size() int64 { return t.DiskSize }

// Stored counts the blocks that have data in the file.
func (t *Table) Stored() (n int64) {
	for _, e := range t.Entries {
		if e != NoBlock {
			n++
		}
	}
	return n
}

func (t *Table) offset(i int64) int64 {
	if i >= int64(len(t.Entries)) || t.Entries[i] == NoBlock {
		return absent
	}
	return t.Base + int64(t.Entries[i])*t.Unit
}

// ReadAt reads bytes of the virtual disk, as [io.ReaderAt] has it.
func (t *Table) ReadAt(p []byte, off int64) (int, error) {
	p, eof := Clip(t.Prefix, p, off, t.DiskSize)
	for n := 0; n < len(p); {
		pos, run := t.run(off+int64(n), int64(len(p)-n))
		part := p[n : n+int(run)]
		if err := t.readRun(part, pos); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), eof
}

// run returns where the disk byte at off is in the file, or absent, and for how
// many bytes up to limit the file goes on in the same way: neighbours on the
// disk are mostly neighbours in the file, and one read serves them all.
func (t *Table) run(off, limit int64) (pos, n int64) {
	in := off % t.BlockSize
	i := off / t.BlockSize
	first := t.offset(i)
	n = t.BlockSize - in
	for i++; n < limit; i++ {
		next := t.offset(i)
		if first == absent && next != absent || first != absent && next != first+in+n {
			break
		}
		n += t.BlockSize
	}
	if first == absent {
		return absent, min(n, limit)
	}
	return first + in, min(n, limit)
}

func (t *Table) readRun(p []byte, pos int64) error {
	if pos == absent {
		clear(p)
		return nil
	}
	if have := max(t.FileSize-pos, 0); int64(len(p)) > have {
		clear(p[have:])
		p = p[:have]
	}
	return ReadFull(t.Prefix, t.Source, p, pos, "block")
}

// Finder is what a source may offer that knows its own holes: the first range of
// data that ends behind off, clipped to begin at off; io.EOF where there is none.
type Finder interface {
	NextData(off int64) (start, end int64, err error)
}

// NextData returns the first range of data that ends behind off, clipped to
// begin at off, and io.EOF where only zeros follow. It comes from the table: a
// block the file stores may be zeros all the same. Where the source is a Finder
// its holes are none either, so that a disk with all its blocks is not read in
// whole when its file is sparse.
func (t *Table) NextData(off int64) (start, end int64, err error) {
	finder, _ := t.Source.(Finder)
	for off = max(off, 0); ; off = end {
		start, end = t.nextStored(off)
		if start >= t.DiskSize {
			return 0, 0, io.EOF
		}
		if finder == nil {
			return start, end, nil
		}
		// What is in one piece of the file.
		pos, n := t.run(start, end-start)
		s, e, err := finder.NextData(pos)
		if err != nil && err != io.EOF {
			return 0, 0, err
		}
		end = start + n
		if err == nil && s < pos+n {
			return start + max(s-pos, 0), start + min(e-pos, n), nil
		}
	}
}

// nextStored returns the first run of stored blocks, from DiskSize on where
// there is none.
func (t *Table) nextStored(off int64) (start, end int64) {
	blocks := int64(len(t.Entries))
	i := min(off/t.BlockSize, blocks)
	for i < blocks && t.Entries[i] == NoBlock {
		i++
	}
	if i == blocks || off >= t.DiskSize {
		return t.DiskSize, t.DiskSize
	}
	start = max(off, i*t.BlockSize)
	for i < blocks && t.Entries[i] != NoBlock {
		i++
	}
	if i == blocks { // the last block may end behind the disk, or behind 2^63
		return start, t.DiskSize
	}
	return start, i * t.BlockSize
}

// Overlap finds two blocks of width bytes in the file that share some of them,
// which no writer produces and which would let a small file stand for any amount
// of data. width may be more than BlockSize where something belongs to a block.
// Blocks written in their order, as most files have them, cost nothing; others
// are sorted in place, and reload has to fill Entries again.
func (t *Table) Overlap(width int64, reload func() error) (a, b int64, found bool, err error) {
	if _, _, found = t.closer(width); !found {
		return 0, 0, false, nil
	}
	slices.Sort(t.Entries)
	if a, b, found = t.closer(width); found {
		return t.Base + a*t.Unit, t.Base + b*t.Unit, true, nil
	}
	return 0, 0, false, reload()
}

// closer finds two neighbours among the entries that do not ascend by width.
func (t *Table) closer(width int64) (a, b int64, found bool) {
	a = -1
	for _, e := range t.Entries {
		if e == NoBlock {
			continue
		}
		if b = int64(e); a >= 0 && (b-a)*t.Unit < width {
			return a, b, true
		}
		a = b
	}
	return 0, 0, false
}
