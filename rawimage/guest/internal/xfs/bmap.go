package xfs

import "github.com/fastimage/fastimage/rawimage/guest/internal/vfs"

const (
	maxLevels  = 9
	maxExtents = 1 << 18 // of one read
)

// mapping returns the extents that map size bytes of the file from off.
func (n *node) mapping(off, size int64) ([]vfs.Extent, error) {
	w := &bmapWalk{fs: n.fs, from: off, to: off + size}
	switch n.format {
	case formatExtents:
		if n.extents > uint64(len(n.fork)/16) {
			return nil, vfs.Damaged("inode %d: %d extents", n.id, n.extents)
		}
		err := w.leaf(n.fork[:n.extents*16])
		return w.found, err
	case formatBtree:
		err := w.root(n.fork)
		return w.found, err
	}
	return nil, vfs.Damaged("inode %d: format %d", n.id, n.format)
}

type bmapWalk struct {
	fs       *FS
	from, to int64
	found    []vfs.Extent
	blocks   int
}

// leaf takes records of extents: a flag, 54 bits of offset in the file, 52 of
// block number and 21 of length.
func (w *bmapWalk) leaf(p []byte) error {
	for ; len(p) >= 16; p = p[16:] {
		hi, lo := be.Uint64(p), be.Uint64(p[8:])
		logical := int64(hi>>9&(1<<54-1)) * w.fs.block
		length := int64(lo&(1<<21-1)) * w.fs.block
		if logical < 0 || logical > 1<<62 {
			return vfs.Damaged("extent at %d", logical)
		}
		if logical >= w.to {
			return nil
		}
		if logical+length <= w.from {
			continue
		}
		at, err := w.fs.offset(hi&(1<<9-1)<<43 | lo>>21)
		if err != nil {
			return err
		}
		if k := len(w.found); k == maxExtents || k > 0 && w.found[k-1].Logical+w.found[k-1].Length > logical {
			return vfs.Damaged("extents overlap or are too many")
		}
		w.found = append(w.found, vfs.Extent{Logical: logical, Physical: at, Length: length, Zero: hi>>63 != 0})
	}
	return nil
}

// root walks the tree whose root, without a header, is in the inode.
func (w *bmapWalk) root(p []byte) error {
	if len(p) < 4 {
		return vfs.Damaged("extent tree: root")
	}
	level, count := int(be.Uint16(p)), int(be.Uint16(p[2:]))
	room := (len(p) - 4) / 16
	if level == 0 || level > maxLevels || count > room {
		return vfs.Damaged("extent tree: root of level %d", level)
	}
	return w.children(p[4:], room, count, level-1)
}

// children visits those children that map the range. Keys come first, then
// pointers; there is room for room of each.
func (w *bmapWalk) children(p []byte, room, count, level int) error {
	for i := range count {
		if int64(be.Uint64(p[i*8:]))*w.fs.block >= w.to {
			return nil
		}
		if i+1 < count && int64(be.Uint64(p[i*8+8:]))*w.fs.block <= w.from {
			continue
		}
		if err := w.block(be.Uint64(p[room*8+i*8:]), level); err != nil {
			return err
		}
	}
	return nil
}

func (w *bmapWalk) block(number uint64, level int) error {
	if w.blocks++; w.blocks > maxExtents/64 {
		return vfs.Damaged("extent tree: too many blocks")
	}
	at, err := w.fs.offset(number)
	if err != nil {
		return err
	}
	p := make([]byte, w.fs.block)
	if err := vfs.ReadFull(w.fs.ra, p, at); err != nil {
		return err
	}
	header := 24
	switch string(p[:4]) {
	case "BMAP":
	case "BMA3":
		header = 72
	default:
		return vfs.Damaged("extent tree: no magic")
	}
	count := int(be.Uint16(p[6:]))
	room := (len(p) - header) / 16
	if int(be.Uint16(p[4:])) != level || count > room {
		return vfs.Damaged("extent tree: level or count")
	}
	if level == 0 {
		return w.leaf(p[header : header+count*16])
	}
	return w.children(p[header:], room, count, level-1)
}
