package zvhd2

import (
	"encoding/binary"
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
		bitmap: make([]byte, ceilDiv(f.maxBlk, segmentBlocks)*bitmapSegSize),
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
		return pkg.Errorf("write output at offset %d: %w", c.off, err)
	}
	return nil
}

func (c *container) writeHeader() error { return c.write(c.foot.encode()) }

// writeRecord writes a finished record; blocks come in ascending order.
func (c *container) writeRecord(block int64, rec []byte) error {
	seg, pos := c.foot.nonZero/segmentBlocks, c.foot.nonZero%segmentBlocks*indexEntrySize
	if pos == 0 {
		c.index = append(c.index, new([indexSegSize]byte))
	}
	entry{block: block, offset: c.off, length: int64(len(rec))}.put(c.index[seg][pos:])
	c.bitmap[block/8] |= 1 << (block % 8)
	c.foot.nonZero++
	c.payload += int64(binary.LittleEndian.Uint32(rec[recordOffPayloadSize:]))
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
