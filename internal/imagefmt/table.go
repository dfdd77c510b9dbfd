package imagefmt

import (
	"io"
	"math"
	"slices"
	"sync"

	"github.com/fastimage/fastimage/internal/sparse"
)

// NoBlock is the entry of a block without data in the file.
const NoBlock = math.MaxUint32

// absent is where such a block is.
const absent = -1

// Table is a disk of blocks of one size, each in one piece of a file or absent
// and so zeros: VHD, VHDX and VDI. It does not change once it is filled, and all
// methods but Overlap are safe for concurrent use.
type Table struct {
	Prefix    string // of errors: the format
	Source    io.ReaderAt
	FileSize  int64 // bytes of the file; what a block has past it is zeros
	DiskSize  int64
	BlockSize int64
	// Entries says for each block where its data is: Base + entry*Unit, or
	// NoBlock. Four bytes each keep disks of many TiB small in memory.
	Entries    []uint32
	Base, Unit int64

	groups summary
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

// ReadAt implements [io.ReaderAt] for the virtual disk.
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
// many bytes up to limit that is so in one piece: neighbors on the disk are mostly
// neighbors in the file, and one read serves them all.
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

// What one call of NextData does at most. A run of data that is longer comes in
// several that touch; of blocks whose bytes are holes of the file, those after
// maxAsked are reported as data, which they may be.
const (
	maxRun   = 1 << 16 // blocks
	maxAsked = 1 << 10 // questions to the source
)

// NextData follows the contract of package sparse. It comes from the table: a
// block that the file stores may be zeros. If the source knows its holes, they
// are left out too, so that a disk with all its blocks is not read as a whole
// when its file is sparse.
func (t *Table) NextData(off int64) (start, end int64, err error) {
	return sparse.NextData(finder{t}, off, t.DiskSize)
}

// finder is a Table before the contract is enforced.
type finder struct{ *Table }

// NextData is bounded by maxRun and maxAsked, and by a look at one bit for each
// group of blocks.
func (t finder) NextData(off int64) (start, end int64, err error) {
	source := sparse.Of(t.Source)
	for asked := 0; ; asked++ {
		start, end = t.nextStored(off)
		if start >= t.DiskSize {
			return 0, 0, io.EOF
		}
		if source == nil {
			return start, end, nil
		}
		// What is in one piece of the file.
		pos, n := t.run(start, end-start)
		off = start + n
		if asked == maxAsked || pos >= t.FileSize {
			return start, off, nil
		}
		s, e, err := sparse.NextData(source, pos, t.FileSize)
		if err != nil && err != io.EOF {
			return 0, 0, err
		}
		if err == nil && s < pos+n {
			return start + s - pos, start + min(e-pos, n), nil
		}
	}
}

// nextStored returns the first run of stored blocks, from DiskSize on if there
// is none.
func (t *Table) nextStored(off int64) (start, end int64) {
	first := t.skipAbsent(off / t.BlockSize)
	blocks := int64(len(t.Entries))
	if first >= blocks {
		return t.DiskSize, t.DiskSize
	}
	last := min(first+maxRun, blocks)
	i := first
	for i < last && t.Entries[i] != NoBlock {
		i++
	}
	start = max(off, first*t.BlockSize)
	if i == blocks { // the last block may end past the disk, or past 2^63
		return start, t.DiskSize
	}
	return start, i * t.BlockSize
}

// group is how many blocks share a bit that says whether any of them is stored.
const group = 1 << 12

// skipAbsent returns the first stored block from i on, or their number.
func (t *Table) skipAbsent(i int64) int64 {
	t.groups.once.Do(t.summarize)
	blocks := int64(len(t.Entries))
	for i < blocks && t.Entries[i] == NoBlock {
		if i%group == 0 && !t.groups.stored[i/group] {
			i += group
			continue
		}
		i++
	}
	return min(i, blocks)
}

// summary says of each group of blocks whether any of them is stored.
type summary struct {
	once   sync.Once
	stored []bool
}

func (t *Table) summarize() {
	t.groups.stored = make([]bool, CeilDiv(int64(len(t.Entries)), group))
	for i, e := range t.Entries {
		if e != NoBlock {
			t.groups.stored[i/group] = true
		}
	}
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

// closer finds two neighbors among the entries that do not ascend by width.
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
