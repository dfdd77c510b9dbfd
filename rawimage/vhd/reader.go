package vhd

import (
	"encoding/binary"
	"io"
	"math/bits"
	"time"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/imagefmt"
)

// Subformat is how a VHD stores its blocks.
type Subformat string

// The subformats NewReader takes.
const (
	Fixed   Subformat = "fixed"   // the disk byte for byte, then a footer
	Dynamic Subformat = "dynamic" // blocks as they were written
)

// Info describes an image.
type Info struct {
	Subformat    Subformat  // Fixed or Dynamic
	Size         int64      // virtual size in bytes: one of the next two
	CurrentSize  int64      // what the footer calls the current size, in whole sectors
	GeometrySize int64      // cylinders times heads times sectors
	SizeSource   SizeSource // which of them Size is
	SizeReason   string     // what decided between them; "" if there was nothing to decide
	Creator      string     // four characters, such as "win ", "vpc " or "qem2"
	Created      time.Time  // as the footer says
	UUID         [16]byte   // of the image
	Saved        bool       // the footer says the machine was suspended
	BlockSize    int64      // 0 for a fixed disk
	Blocks       int64      // in the disk, 0 for a fixed disk
	Stored       int64      // of those, in the file
}

// Reader is an open VHD. All methods are safe for concurrent use.
type Reader struct {
	disk imagefmt.Table
	info Info
}

// NewReader reads the footer and the allocation table of the VHD in the first
// size bytes of ra, which must stay open as long as the Reader is used.
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := imagefmt.CheckSource("vhd", ra, size); err != nil {
		return nil, err
	}
	f, at, err := findFooter(ra, size)
	if err != nil {
		return nil, err
	}
	r := newReader(ra, size, f, 0)
	source, reason, err := r.chooseSize(f, at, o)
	if err != nil {
		return nil, err
	}
	r = newReader(ra, size, f, f.size(source))
	r.info.SizeSource, r.info.SizeReason = source, reason
	if r.info.Size == 0 {
		return nil, format.Damaged(at, "footer size", "0 sectors")
	}
	if err := r.open(f, at, o.maxTable); err != nil {
		return nil, err
	}
	return r, nil
}

// newReader returns a Reader of a disk of diskSize bytes whose blocks are not
// known yet.
func newReader(ra io.ReaderAt, size int64, f footer, diskSize int64) *Reader {
	return &Reader{
		disk: imagefmt.Table{Prefix: "vhd", Source: ra, FileSize: size, DiskSize: diskSize},
		info: Info{
			Size: diskSize, CurrentSize: f.size(SizeCurrent), GeometrySize: f.size(SizeGeometry), Creator: f.creatorApp,
			Created: epoch.Add(time.Duration(f.timestamp) * time.Second), UUID: f.uuid, Saved: f.saved,
		},
	}
}

// open finds the blocks.
func (r *Reader) open(f footer, at, maxTable int64) error {
	switch f.diskType {
	case typeFixed:
		return r.openFixed(at)
	case typeDynamic:
		return r.openDynamic(f, at, maxTable)
	case typeDifferencing:
		return format.Unsupported(at, "disk type", "%w", imageerr.ErrDelta)
	}
	return format.Damaged(at, "disk type", "%d", f.diskType)
}

// Info describes the image.
func (r *Reader) Info() Info { return r.info }

// Size returns the virtual size in bytes, as qemu-img convert -O raw gives it.
func (r *Reader) Size() int64 { return r.disk.Size() }

// ReadAt reads bytes of the virtual disk. Blocks without data are zeros.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) { return r.disk.ReadAt(p, off) }

// NextData returns the first range of data that ends after off, clipped to begin
// at off, and io.EOF where only zeros follow; a long range may come in several
// that touch. It comes from the allocation table: a block that the file stores
// may be zeros. A fixed disk has no table and is data from end to end. If the source has
// a NextData of its own, what that leaves out is left out too.
func (r *Reader) NextData(off int64) (start, end int64, err error) { return r.disk.NextData(off) }

// findFooter returns the footer in force. A dynamic disk has a copy in front,
// which is the one qemu reads; where that is damaged the one at the end serves.
func findFooter(ra io.ReaderAt, size int64) (footer, int64, error) {
	if size < footerSize {
		return footer{}, 0, format.Truncated(0, "file", "%d bytes are less than a footer", size)
	}
	buf := make([]byte, footerSize)
	if err := readFull(ra, buf, 0, "footer copy"); err != nil {
		return footer{}, 0, err
	}
	front := string(buf[:8]) == footerCookie
	if front && checksumOK(buf, 64) {
		f := parseFooter(buf)
		if f.diskType == typeFixed {
			return footer{}, 0, format.Damaged(0, "disk type", "a fixed disk with a footer in front")
		}
		return f, 0, nil
	}
	at := size - footerSize
	if err := readFull(ra, buf, at, "footer"); err != nil {
		return footer{}, 0, err
	}
	if string(buf[:8]) != footerCookie {
		return footer{}, 0, format.Damaged(at, "footer cookie", "%q", buf[:8])
	}
	if !checksumOK(buf, 64) {
		return footer{}, 0, format.Damaged(at, "footer checksum", "does not match")
	}
	f := parseFooter(buf)
	if !front && f.diskType == typeDynamic {
		return footer{}, 0, format.Damaged(0, "footer copy", "missing from a dynamic disk")
	}
	return f, at, nil
}

// openFixed maps the disk onto the file as one block: the footer comes last.
func (r *Reader) openFixed(at int64) error {
	if r.disk.DiskSize > at {
		return format.Truncated(at, "footer size", "a fixed disk of %d bytes in %d, the file is truncated", r.disk.DiskSize, at)
	}
	r.info.Subformat = Fixed
	r.disk.BlockSize, r.disk.Entries = r.disk.DiskSize, []uint32{0}
	r.disk.Unit = sectorSize
	return nil
}

func (r *Reader) openDynamic(f footer, at, maxTable int64) error {
	d := &r.disk
	if f.dataOffset > uint64(d.FileSize) || d.FileSize-int64(f.dataOffset) < headerSize {
		return format.Truncated(at+16, "data offset", "%d is outside the file", f.dataOffset)
	}
	hat := int64(f.dataOffset)
	hdr := make([]byte, headerSize)
	if err := readFull(d.Source, hdr, hat, "dynamic header"); err != nil {
		return err
	}
	if string(hdr[:8]) != headerCookie {
		return format.Damaged(hat, "dynamic header cookie", "%q", hdr[:8])
	}
	if !checksumOK(hdr, 36) {
		return format.Damaged(hat+36, "dynamic header checksum", "does not match")
	}
	be := binary.BigEndian
	d.BlockSize = int64(be.Uint32(hdr[32:]))
	if bits.OnesCount64(uint64(d.BlockSize)) != 1 || d.BlockSize < sectorSize {
		return format.Damaged(hat+32, "block size", "%d", d.BlockSize)
	}
	blocks := imagefmt.CeilDiv(d.DiskSize, d.BlockSize)
	if entries := int64(be.Uint32(hdr[28:])); entries < blocks {
		return format.Damaged(hat+28, "table entries", "%d for %d blocks", entries, blocks)
	}
	tableAt := be.Uint64(hdr[16:])
	if tableAt > uint64(d.FileSize) || blocks > (d.FileSize-int64(tableAt))/4 {
		return format.Truncated(hat+16, "table offset", "%d entries at %d are outside the file", blocks, tableAt)
	}
	if blocks*4 > maxTable {
		return format.Unsupported(hat+28, "table entries", "a table of %d bytes, more than the bound of %d", blocks*4, maxTable)
	}
	return r.loadTable(int64(tableAt), blocks)
}

// loadTable reads the table and checks every entry once, so that reading later
// needs no checks. A block is a bitmap of its sectors, padded to a sector, and
// its data. The bitmap matters to differencing disks only: here sectors it does
// not list are zeros in the data as well, and qemu does not read it either.
func (r *Reader) loadTable(at, blocks int64) error {
	d := &r.disk
	d.Base = imagefmt.CeilDiv(d.BlockSize/sectorSize, 8*sectorSize) * sectorSize
	d.Unit, d.Entries = sectorSize, make([]uint32, blocks)
	load := func() error {
		return imagefmt.EachEntry(at, blocks, 4, r.readTable, func(i int64, b []byte) error {
			d.Entries[i] = binary.BigEndian.Uint32(b)
			return r.checkEntry(i, at)
		})
	}
	if err := load(); err != nil {
		return err
	}
	r.info.Subformat, r.info.BlockSize = Dynamic, d.BlockSize
	r.info.Blocks, r.info.Stored = blocks, d.Stored()
	return r.checkOverlap(d.Base+d.BlockSize, load)
}

func (r *Reader) readTable(p []byte, off int64) error {
	return readFull(r.disk.Source, p, off, "block allocation table")
}

// checkEntry checks where block i is by the table at offset at.
func (r *Reader) checkEntry(i, at int64) error {
	d := &r.disk
	if d.Entries[i] == imagefmt.NoBlock {
		return nil
	}
	start := int64(d.Entries[i]) * sectorSize
	// The last block may be cut off where the disk ends.
	need := d.Base + min(d.BlockSize, d.DiskSize-i*d.BlockSize)
	if start > d.FileSize-need {
		return format.Truncated(at+i*4, "table entry", "block %d at offset %d is outside the file", i, start)
	}
	if start < at+int64(len(d.Entries))*4 && start+need > at {
		return format.Damaged(at+i*4, "table entry", "block %d at offset %d overlaps the table", i, start)
	}
	return nil
}

// checkOverlap refuses blocks of width bytes that share bytes of the file.
func (r *Reader) checkOverlap(width int64, reload func() error) error {
	a, b, found, err := r.disk.Overlap(width, reload)
	if found {
		return format.Damaged(b, "block", "overlaps the block at offset %d", a)
	}
	return err
}
