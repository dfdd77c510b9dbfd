package extfs

import (
	"encoding/binary"
	"io"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	maxExtentDepth = 5
	maxExtents     = 1 << 18 // of one read; a fragmented file of a GiB has fewer
)

// extents returns the extents that map size bytes of the file from off.
func (n *node) extents(off, size int64) ([]vfs.Extent, error) {
	w := &extentWalk{fs: n.fs, from: off, to: off + size}
	if w.to < 0 {
		w.to = 1<<63 - 1
	}
	if err := w.walk(n.raw[0x28:0x64], maxExtentDepth); err != nil {
		return nil, err
	}
	return w.found, nil
}

type extentWalk struct {
	fs       *FS
	from, to int64
	found    []vfs.Extent
	blocks   int
}

// walk reads one node of the tree, at most depth levels high.
func (w *extentWalk) walk(p []byte, depth int) error {
	le := binary.LittleEndian
	count, height := int(le.Uint16(p[2:])), int(le.Uint16(p[6:]))
	if le.Uint16(p) != 0xf30a || height > depth || 12+count*12 > len(p) {
		return vfs.Damaged("extent tree")
	}
	if w.blocks++; w.blocks > maxExtents/64 {
		return vfs.Damaged("extent tree: too many nodes")
	}
	last := int64(-1)
	for i := range count {
		e := p[12+i*12 : 24+i*12]
		logical := int64(le.Uint32(e)) * w.fs.block
		if logical <= last {
			return vfs.Damaged("extent tree: not in order")
		}
		last = logical
		if logical >= w.to {
			return nil
		}
		if height == 0 {
			if err := w.leaf(e, logical); err != nil {
				return err
			}
			continue
		}
		if i+1 < count && int64(le.Uint32(p[24+i*12:]))*w.fs.block <= w.from {
			continue // all of it lies before the range
		}
		child := make([]byte, w.fs.block)
		at := int64(le.Uint32(e[4:])) | int64(le.Uint16(e[8:]))<<32
		if err := w.fs.readBlock(at, child); err != nil {
			return err
		}
		if int(le.Uint16(child[6:])) != height-1 {
			return vfs.Damaged("extent tree: depth")
		}
		if err := w.walk(child, height-1); err != nil {
			return err
		}
	}
	return nil
}

func (w *extentWalk) leaf(e []byte, logical int64) error {
	le := binary.LittleEndian
	length := int64(le.Uint16(e[4:]))
	zero := length > 32768
	if zero {
		length -= 32768
	}
	start := int64(le.Uint32(e[8:])) | int64(le.Uint16(e[6:]))<<32
	if start+length > w.fs.blocks {
		return vfs.Damaged("extent at block %d", start)
	}
	x := vfs.Extent{Logical: logical, Physical: start * w.fs.block, Length: length * w.fs.block, Zero: zero}
	if k := len(w.found); k > 0 && w.found[k-1].Logical+w.found[k-1].Length > logical {
		return vfs.Damaged("extents overlap")
	}
	if logical+x.Length <= w.from {
		return nil
	}
	if len(w.found) == maxExtents {
		return vfs.Damaged("too many extents")
	}
	w.found = append(w.found, x)
	return nil
}

func (f *FS) readBlock(number int64, p []byte) error {
	if number <= 0 || number >= f.blocks {
		return vfs.Damaged("block %d of %d", number, f.blocks)
	}
	return vfs.ReadFull(f.ra, p, number*f.block)
}

// indirectAt reads a file of the old kind: twelve blocks, then blocks of block
// numbers of one, two and three levels.
func (n *node) indirectAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, vfs.Damaged("offset %d", off)
	}
	if off >= n.info.Size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > n.info.Size-off {
		p, end = p[:n.info.Size-off], io.EOF
	}
	var extents []vfs.Extent
	bs := n.fs.block
	for b := off / bs; b*bs < off+int64(len(p)); b++ {
		at, err := n.blockAt(b)
		if err != nil {
			return 0, err
		}
		if at == 0 {
			continue
		}
		if at >= n.fs.blocks {
			return 0, vfs.Damaged("block %d of %d", at, n.fs.blocks)
		}
		x := vfs.Extent{Logical: b * bs, Physical: at * bs, Length: bs}
		if k := len(extents); k > 0 && extents[k-1].Logical+extents[k-1].Length == x.Logical &&
			extents[k-1].Physical+extents[k-1].Length == x.Physical {
			extents[k-1].Length += bs
			continue
		}
		extents = append(extents, x)
	}
	k, err := vfs.ReadExtents(n.fs.ra, extents, n.info.Size, p, off)
	if err == nil {
		err = end
	}
	return k, err
}

// blockAt finds the number of the file's block b, 0 for a hole.
func (n *node) blockAt(b int64) (int64, error) {
	le := binary.LittleEndian
	iblock := n.raw[0x28:0x64]
	if b < 12 {
		return int64(le.Uint32(iblock[b*4:])), nil
	}
	b -= 12
	per, span := n.fs.block/4, n.fs.block/4
	for level := range 3 {
		if b >= span {
			b -= span
			span *= per
			continue
		}
		at := int64(le.Uint32(iblock[48+level*4:]))
		for range level + 1 {
			if at == 0 {
				return 0, nil
			}
			span /= per
			var e [4]byte
			if at >= n.fs.blocks {
				return 0, vfs.Damaged("block %d of %d", at, n.fs.blocks)
			}
			if err := vfs.ReadFull(n.fs.ra, e[:], at*n.fs.block+b/span*4); err != nil {
				return 0, err
			}
			at, b = int64(le.Uint32(e[:])), b%span
		}
		return at, nil
	}
	return 0, vfs.Damaged("file too large")
}

// inlineAt reads a file kept in its inode: 60 bytes in place of the block
// numbers, the rest in the extended attribute "system.data".
func (n *node) inlineAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= n.info.Size {
		return 0, io.EOF
	}
	data := append([]byte{}, n.raw[0x28:0x64]...)
	data = append(data, n.inlineAttr()...)
	if int64(len(data)) < n.info.Size {
		return 0, vfs.Damaged("inode %d: inline data", n.id)
	}
	k := copy(p, data[off:n.info.Size])
	if k < len(p) {
		return k, io.EOF
	}
	return k, nil
}

// inlineAttr returns the value of "system.data" in the inode, nil if there is none.
func (n *node) inlineAttr() []byte {
	le := binary.LittleEndian
	if len(n.raw) < 0x84 {
		return nil
	}
	start := 128 + int(le.Uint16(n.raw[0x80:]))
	if start+4 > len(n.raw) || le.Uint32(n.raw[start:]) != 0xea020000 {
		return nil
	}
	entries := n.raw[start+4:]
	for e := entries; len(e) >= 16 && le.Uint32(e) != 0; {
		nameLen, size := int(e[0]), int(le.Uint32(e[8:]))
		if 16+nameLen > len(e) {
			return nil
		}
		at := int(le.Uint16(e[2:]))
		if e[1] == 7 && string(e[16:16+nameLen]) == "data" && le.Uint32(e[4:]) == 0 &&
			at <= len(entries) && size >= 0 && size <= len(entries)-at {
			return entries[at : at+size]
		}
		e = e[min(len(e), (16+nameLen+3)&^3):]
	}
	return nil
}
