package zvhd2

import (
	"bytes"
	"context"
	"fmt"

	"github.com/fastimage/fastimage/internal/sparse"
)

// differences are the blocks whose content is not that of the reference disk. It
// takes a bit for each block up to the highest, and an offset for each range.
type differences struct {
	bits   []uint64
	starts map[int64]int64 // by the first block of each range: where in the disk it starts to differ
}

// add adds a block that differs from offset at in the disk.
func (d *differences) add(block, at int64) {
	for int64(len(d.bits)) <= block/64 {
		d.bits = append(d.bits, 0)
	}
	if d.starts == nil {
		d.starts = make(map[int64]int64)
	}
	d.bits[block/64] |= 1 << (block % 64)
	if !d.has(block - 1) {
		d.starts[block] = at
	}
	delete(d.starts, block+1)
}

func (d *differences) has(block int64) bool {
	return block >= 0 && block/64 < int64(len(d.bits)) && d.bits[block/64]>>(block%64)&1 == 1
}

// errDifferent is the Err of a [Problem] of KindContent.
var errDifferent = pkg.New("differs from the reference disk")

// addDifferences turns the blocks that differ into problems, one for each range.
func (v *verifier) addDifferences() {
	set := &bitset{words: v.diff.bits}
	limit := int64(len(set.words)) * 64
	for first := set.next(0, limit, true); first < limit; {
		end := set.next(first, limit, false)
		p := Problem{
			Kind: KindContent, Block: first, Offset: v.diff.starts[first], Field: "content", Count: end - first, Err: errDifferent,
		}
		which := fmt.Sprintf("block %d differs", first)
		if p.Count > 1 {
			which = fmt.Sprintf("blocks %d to %d differ", first, end-1)
		}
		p.Message = fmt.Sprintf("zvhd2: %s from the reference disk, first at disk offset %d", which, p.Offset)
		v.add(p)
		first = set.next(end, limit, true)
	}
}

// comparer compares blocks with the reference disk; each worker has one.
type comparer struct {
	v   *verifier
	ref *source // nil: there is nothing to compare with
	buf []byte  // a block of the reference
}

func (v *verifier) comparers(n int, f *footer) []*comparer {
	all := make([]*comparer, n)
	for i := range all {
		all[i] = &comparer{v: v, ref: v.reference(f)}
	}
	return all
}

// reference returns the reference disk in blocks of the file's size.
func (v *verifier) reference(f *footer) *source {
	if v.o.reference == nil {
		return nil
	}
	ref := *v.o.reference
	ref.block = f.blockSize
	return &ref
}

// stored compares a stored block.
func (c *comparer) stored(block int64, data []byte) error {
	if c.ref == nil {
		return nil
	}
	if c.buf == nil {
		c.buf = make([]byte, c.ref.block)
	}
	if err := c.ref.readBlock(block, c.buf); err != nil {
		return err
	}
	at := -1
	if !bytes.Equal(data, c.buf) {
		for at = 0; data[at] == c.buf[at]; at++ {
		}
	}
	c.found(block, at)
	return nil
}

// zero compares a block that is not stored. Holes of the reference are not read.
func (c *comparer) zero(block int64) error {
	if c.buf == nil {
		c.buf = make([]byte, c.ref.block)
	}
	some, err := c.ref.readData(block, c.buf)
	if err != nil {
		return err
	}
	at := -1
	if some && !sparse.IsZero(c.buf) {
		for at = 0; c.buf[at] == 0; at++ {
		}
	}
	c.found(block, at)
	return nil
}

// found counts a comparison that came out different at a byte of the block, or the
// same if that is -1.
func (c *comparer) found(block int64, at int) {
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	c.v.rep.Compared = true
	if at >= 0 {
		c.v.diff.add(block, block*c.ref.block+int64(at))
	}
}

// zeros compares the blocks of the disk that are not stored, and its size.
func (v *verifier) zeros(ctx context.Context, f *footer, stored func(block int64) bool) error {
	ref := v.reference(f)
	if ref == nil {
		return nil
	}
	if roundUp(ref.size, sectorSize) != f.origSize {
		v.mu.Lock()
		v.add(Problem{
			Kind: KindContent, Block: NoBlock, Field: "size", Count: 1, Err: errDifferent,
			Message: fmt.Sprintf("zvhd2: the disk has %d bytes, the reference disk %d", f.origSize, ref.size),
		})
		v.mu.Unlock()
	}
	workers := v.o.workersFor(f.maxBlk, f.blockSize, v.file.size)
	cmps := v.comparers(workers, f)
	err := forEach(ctx, workers,
		func(emit func(int64) error) error {
			return ref.blocks(func(block int64) error {
				if block >= f.maxBlk || stored(block) {
					return nil
				}
				return emit(block)
			})
		},
		func(w int, block int64) error { return cmps[w].zero(block) })
	if err == nil && v.rep.Stored < f.maxBlk {
		v.rep.Compared = true // where nothing had to be read, holes agree
	}
	return err
}
