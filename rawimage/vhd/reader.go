package vhd

import (
	"encoding/binary"
	"io"
	"math"
	"math/bits"
	"time"
)

// Subformat is how a VHD stores its blocks.
type Subformat string

// The subformats NewReader takes.
const (
	Fixed   Subformat = "fixed"
	Dynamic Subformat = "dynamic"
)

// Info describes an image.
type Info struct {
	Subformat   Subformat
	Size        int64  // virtual size in bytes
	CurrentSize uint64 // what the footer calls the current size; Size may be the geometry's
	Creator     string // four characters, such as "win ", "vpc " or "qem2"
	Created     time.Time
	UUID        [16]byte
	Saved       bool  // the footer says the machine was suspended
	BlockSize   int64 // 0 for a fixed disk
	Blocks      int64 // in the disk, 0 for a fixed disk
	Stored      int64 // of those, in the file
}

// Reader is an open VHD. All methods are safe for concurrent use.
type Reader struct {
	blockMap
	info Info
	// under knows the holes of a fixed disk's file, nil where nothing does.
	under extenter
}

// NewReader reads the footer and the allocation table of the VHD in the first
// size bytes of ra, which must stay open as long as the Reader is used.
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	f, at, err := findFooter(ra, size)
	if err != nil {
		return nil, err
	}
	sectors := f.virtualSectors()
	if sectors == 0 || sectors > math.MaxInt64/sectorSize {
		return nil, malformed(at, "footer size", "%d sectors", sectors)
	}
	r := &Reader{
		blockMap: blockMap{ra: ra, fileSize: size, size: int64(sectors) * sectorSize},
		info: Info{
			Size: int64(sectors) * sectorSize, CurrentSize: f.currentSize, Creator: f.creatorApp,
			Created: epoch.Add(time.Duration(f.timestamp) * time.Second), UUID: f.uuid, Saved: f.saved,
		},
	}
	switch f.diskType {
	case typeFixed:
		err = r.openFixed(at)
	case typeDynamic:
		err = r.openDynamic(f, at, o.maxTable)
	case typeDifferencing:
		err = unsupported(at, "disk type", "differencing disk, merge it into its parent first")
	default:
		err = malformed(at, "disk type", "%d", f.diskType)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Info describes the image.
func (r *Reader) Info() Info { return r.info }

// NextData returns the first range of data that ends behind off, clipped to
// begin at off, and io.EOF where only zeros follow. For a dynamic disk it comes
// from the allocation table; a fixed disk has none, and is data from end to end
// unless the source has a NextData of its own.
func (r *Reader) NextData(off int64) (start, end int64, err error) {
	if r.under == nil {
		return r.blockMap.NextData(off)
	}
	off = max(off, 0)
	if off >= r.size {
		return 0, 0, io.EOF
	}
	start, end, err = r.under.NextData(off)
	if err != nil {
		return 0, 0, err
	}
	if start >= r.size {
		return 0, 0, io.EOF
	}
	return start, min(end, r.size), nil
}

// findFooter returns the footer in force. A dynamic disk has a copy in front,
// which is the one qemu reads; where that is damaged the one at the end serves.
func findFooter(ra io.ReaderAt, size int64) (footer, int64, error) {
	if size < footerSize {
		return footer{}, 0, malformed(0, "file", "%d bytes are less than a footer", size)
	}
	buf := make([]byte, footerSize)
	if err := readFull(ra, buf, 0, "footer copy"); err != nil {
		return footer{}, 0, err
	}
	front := string(buf[:8]) == footerCookie
	if front && checksumOK(buf, 64) {
		f := parseFooter(buf)
		if f.diskType == typeFixed {
			return footer{}, 0, malformed(0, "disk type", "a fixed disk with a footer in front")
		}
		return f, 0, nil
	}
	at := size - footerSize
	if err := readFull(ra, buf, at, "footer"); err != nil {
		return footer{}, 0, err
	}
	if string(buf[:8]) != footerCookie {
		return footer{}, 0, malformed(at, "footer cookie", "%q", buf[:8])
	}
	if !checksumOK(buf, 64) {
		return footer{}, 0, malformed(at, "footer checksum", "does not match")
	}
	f := parseFooter(buf)
	if !front && f.diskType == typeDynamic {
		return footer{}, 0, malformed(0, "footer copy", "missing from a dynamic disk")
	}
	return f, at, nil
}

// openFixed maps the disk onto the file as one block: the footer comes last.
func (r *Reader) openFixed(at int64) error {
	if r.size > at {
		return malformed(at, "footer size", "a fixed disk of %d bytes in %d, the file is truncated", r.size, at)
	}
	r.info.Subformat = Fixed
	r.blockSize = r.size
	r.offset = func(i int64) int64 {
		if i == 0 {
			return 0
		}
		return absent
	}
	r.under, _ = r.ra.(extenter)
	return nil
}

func (r *Reader) openDynamic(f footer, at, maxTable int64) error {
	if f.dataOffset > uint64(r.fileSize) || r.fileSize-int64(f.dataOffset) < headerSize {
		return malformed(at+16, "data offset", "%d is outside the file", f.dataOffset)
	}
	hat := int64(f.dataOffset)
	hdr := make([]byte, headerSize)
	if err := readFull(r.ra, hdr, hat, "dynamic header"); err != nil {
		return err
	}
	if string(hdr[:8]) != headerCookie {
		return malformed(hat, "dynamic header cookie", "%q", hdr[:8])
	}
	if !checksumOK(hdr, 36) {
		return malformed(hat+36, "dynamic header checksum", "does not match")
	}
	be := binary.BigEndian
	r.blockSize = int64(be.Uint32(hdr[32:]))
	if bits.OnesCount64(uint64(r.blockSize)) != 1 || r.blockSize < sectorSize {
		return malformed(hat+32, "block size", "%d", r.blockSize)
	}
	blocks := ceilDiv(r.size, r.blockSize)
	if entries := int64(be.Uint32(hdr[28:])); entries < blocks {
		return malformed(hat+28, "table entries", "%d for %d blocks", entries, blocks)
	}
	tableAt := be.Uint64(hdr[16:])
	if tableAt > uint64(r.fileSize) || blocks > (r.fileSize-int64(tableAt))/4 {
		return malformed(hat+16, "table offset", "%d entries at %d are outside the file", blocks, tableAt)
	}
	if blocks*4 > maxTable {
		return unsupported(hat+28, "table entries", "a table of %d bytes, more than the bound of %d", blocks*4, maxTable)
	}
	return r.loadTable(int64(tableAt), blocks)
}

// loadTable reads the table and checks every entry once, so that reading later
// needs no checks. A block is a bitmap of its sectors, padded to a sector, and
// its data. The bitmap matters to differencing disks only: here sectors it does
// not list are zeros in the data as well, and qemu does not read it either.
func (r *Reader) loadTable(at, blocks int64) error {
	raw := make([]byte, blocks*4)
	if err := readFull(r.ra, raw, at, "block allocation table"); err != nil {
		return err
	}
	bitmap := ceilDiv(r.blockSize/sectorSize, 8*sectorSize) * sectorSize
	table := make([]uint32, blocks)
	var starts []int64
	for i := range blocks {
		table[i] = binary.BigEndian.Uint32(raw[i*4:])
		if table[i] == unused {
			continue
		}
		start := int64(table[i]) * sectorSize
		// The last block may be cut off where the disk ends.
		need := bitmap + min(r.blockSize, r.size-i*r.blockSize)
		if start > r.fileSize-need {
			return malformed(at+i*4, "table entry", "block %d at offset %d is outside the file", i, start)
		}
		if start < at+blocks*4 && start+need > at {
			return malformed(at+i*4, "table entry", "block %d at offset %d overlaps the table", i, start)
		}
		starts = append(starts, start)
	}
	r.info.Subformat, r.info.BlockSize = Dynamic, r.blockSize
	r.info.Blocks, r.info.Stored = blocks, int64(len(starts))
	r.offset = func(i int64) int64 {
		if i >= blocks || table[i] == unused {
			return absent
		}
		return int64(table[i])*sectorSize + bitmap
	}
	return checkOverlap(starts, bitmap+r.blockSize)
}
