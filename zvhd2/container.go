package zvhd2

import (
	"encoding/binary"
	"fmt"
	"io"
)

// container writes a canonical file, forward only.
type container struct {
	w       io.Writer
	off     int64
	foot    footer
	index   []*[indexSegSize]byte // in its form on disk
	bitmap  []byte
	payload int64 // bytes of payload written
	meter   *meter
}

func newContainer(w io.Writer, f footer, m *meter) *container {
	return &container{
		w: w, foot: f, meter: m,
		bitmap: make([]byte, ceilDiv(f.maxBlk, entriesPerSeg)*bitmapSegSize),
	}
}

func (c *container) write(b []byte) error {
	n, err := c.w.Write(b)
	c.off += int64(n)
	c.meter.written.Add(int64(n))
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("zvhd2: write output at offset %d: %w", c.off, err)
	}
	return nil
}

func (c *container) writeHeader() error { return c.write(c.foot.encode()) }

// writeRecord writes a finished record; blocks come in ascending order.
func (c *container) writeRecord(block int64, rec []byte) error {
	seg, pos := c.foot.nonZero/entriesPerSeg, c.foot.nonZero%entriesPerSeg*indexEntrySize
	if pos == 0 {
		c.index = append(c.index, new([indexSegSize]byte))
	}
	e := c.index[seg][pos:]
	binary.LittleEndian.PutUint64(e, uint64(c.off))
	binary.LittleEndian.PutUint32(e[8:], uint32(block))
	binary.LittleEndian.PutUint32(e[12:], uint32(len(rec)))
	c.bitmap[block/8] |= 1 << (block % 8)
	c.foot.nonZero++
	c.payload += int64(binary.LittleEndian.Uint32(rec[12:]))
	return c.write(rec)
}

// finish writes what follows the records. It leaves the writer open.
func (c *container) finish() error {
	if err := c.write(c.foot.encode()); err != nil {
		return err
	}
	c.foot.indexLBA = c.off
	for _, seg := range c.index {
		if err := c.write(seg[:]); err != nil {
			return err
		}
	}
	c.foot.bitmapLBA = c.off
	if err := c.write(c.bitmap); err != nil {
		return err
	}
	c.foot.indexSeg, c.foot.bitmapSeg = indexSegSize, bitmapSegSize
	c.foot.indexNum = int64(len(c.index))
	c.foot.bitmapNum = int64(len(c.bitmap) / bitmapSegSize)
	c.foot.indexSize = c.foot.indexNum * indexSegSize
	c.foot.bitmapSize = int64(len(c.bitmap))
	return c.write(c.foot.encode())
}

// sealRecord completes a record whose payload stands behind room for the
// record's header: it fills in header, padding and trailer.
func sealRecord(rec []byte, block int64) []byte {
	n := len(rec) - recordHeader
	size := int(recordSize(int64(n)))
	if cap(rec) < size {
		rec = append(make([]byte, 0, size), rec...)
	}
	rec = rec[:size]
	clear(rec[:recordHeader])
	clear(rec[recordHeader+n:])
	copy(rec, recordMagic)
	binary.LittleEndian.PutUint32(rec[12:], uint32(n))
	binary.LittleEndian.PutUint32(rec[16:], uint32(block))
	copy(rec[size-recordTrailer:], recordEnd)
	return rec
}
