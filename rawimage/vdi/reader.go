package vdi

import (
	"encoding/binary"
	"io"
	"math"
	"math/bits"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/imagefmt"
)

// Subformat is how a VDI stores its blocks.
type Subformat string

// The subformats NewReader takes.
const (
	Dynamic Subformat = "dynamic" // blocks as they were written
	Static  Subformat = "static"  // room for all blocks from the start
)

// Info describes an image.
type Info struct {
	Subformat Subformat // Dynamic or Static
	Size      int64     // virtual size in bytes, of whole sectors
	DiskSize  int64     // what the header says: VirtualBox may write any number
	UUID      [16]byte  // of the image
	BlockSize int64     // bytes
	Blocks    int64     // in the disk
	Stored    int64     // of those, in the file
}

// Reader is an open VDI. All methods are safe for concurrent use.
type Reader struct {
	disk imagefmt.Table
	info Info
}

// NewReader reads the header and the block map of the VDI in the first size
// bytes of ra, which must stay open as long as the Reader is used.
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := imagefmt.CheckSource("vdi", ra, size); err != nil {
		return nil, err
	}
	if size < headerSize {
		return nil, format.Truncated(0, "file", "%d bytes are less than a header", size)
	}
	buf := make([]byte, headerSize)
	if err := readFull(ra, buf, 0, "header"); err != nil {
		return nil, err
	}
	h := parseHeader(buf)
	if err := h.check(); err != nil {
		return nil, err
	}
	r := &Reader{disk: imagefmt.Table{
		Prefix: "vdi", Source: ra, FileSize: size, BlockSize: int64(h.blockSize),
		DiskSize: imagefmt.CeilDiv(int64(h.diskSize), sectorSize) * sectorSize,
		Base:     int64(h.dataAt), Unit: int64(h.blockSize),
	}}
	r.info = Info{
		Subformat: Dynamic, Size: r.disk.DiskSize, DiskSize: int64(h.diskSize),
		UUID: h.uuid, BlockSize: r.disk.BlockSize,
	}
	if h.imageType == typeStatic {
		r.info.Subformat = Static
	}
	if err := r.loadMap(h, o.maxTable); err != nil {
		return nil, err
	}
	return r, nil
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
// may be zeros. If the source has a NextData of its own, what that leaves out is left out
// too.
func (r *Reader) NextData(off int64) (start, end int64, err error) { return r.disk.NextData(off) }

// check holds the header to what this package reads. Fields are reported at
// their offsets in the file.
func (h *header) check() error {
	if h.signature != signature {
		return format.Damaged(0x40, "signature", "%#08x", h.signature)
	}
	if h.version != version1_1 {
		return format.Unsupported(0x44, "version", "%d.%d, only 1.1 is read", h.version>>16, h.version&0xFFFF)
	}
	if h.linkUUID != [16]byte{} || h.parent != [16]byte{} {
		return format.Unsupported(0x1A8, "parent", "%w", imageerr.ErrDelta)
	}
	if h.imageType != typeDynamic && h.imageType != typeStatic {
		return format.Unsupported(0x4C, "image type", "%d, only dynamic (1) and static (2) are read", h.imageType)
	}
	if h.sectorSize != sectorSize {
		return format.Unsupported(0x168, "sector size", "%d", h.sectorSize)
	}
	if h.blockExtra != 0 {
		return format.Unsupported(0x17C, "extra bytes in blocks", "%d", h.blockExtra)
	}
	if bits.OnesCount32(h.blockSize) != 1 || h.blockSize < sectorSize || h.blockSize > maxBlockSize {
		return format.Damaged(0x178, "block size", "%d", h.blockSize)
	}
	if h.diskSize == 0 || h.diskSize > math.MaxInt64-sectorSize {
		return format.Damaged(0x170, "disk size", "%d bytes", h.diskSize)
	}
	if h.mapAt < headerSize || h.mapAt%sectorSize != 0 {
		return format.Damaged(0x154, "map offset", "%d", h.mapAt)
	}
	if h.dataAt%sectorSize != 0 {
		return format.Damaged(0x158, "data offset", "%d", h.dataAt)
	}
	return nil
}

// loadMap reads the block map and checks every entry once, so that reading later
// needs no checks.
func (r *Reader) loadMap(h header, maxTable int64) error {
	blocks := imagefmt.CeilDiv(r.disk.DiskSize, r.disk.BlockSize)
	if int64(h.blocks) < blocks {
		return format.Damaged(0x180, "block count", "%d for a disk of %d", h.blocks, blocks)
	}
	mapAt, dataAt := int64(h.mapAt), int64(h.dataAt)
	if mapAt > r.disk.FileSize || blocks > (r.disk.FileSize-mapAt)/4 {
		return format.Truncated(0x154, "map offset", "%d entries at %d are outside the file", blocks, mapAt)
	}
	if dataAt < mapAt+blocks*4 {
		return format.Damaged(0x158, "data offset", "%d is before the end of the map at %d", dataAt, mapAt+blocks*4)
	}
	if blocks*4 > maxTable {
		return format.Unsupported(0x180, "block count", "a map of %d bytes, more than the bound of %d", blocks*4, maxTable)
	}
	r.disk.Entries = make([]uint32, blocks)
	load := func() error {
		return imagefmt.EachEntry(mapAt, blocks, 4, r.readMap, func(i int64, b []byte) (err error) {
			r.disk.Entries[i], err = r.checkEntry(i, binary.LittleEndian.Uint32(b), mapAt+i*4)
			return err
		})
	}
	if err := load(); err != nil {
		return err
	}
	r.info.Blocks, r.info.Stored = blocks, r.disk.Stored()
	return r.checkOverlap(r.disk.BlockSize, load)
}

func (r *Reader) readMap(p []byte, off int64) error {
	return readFull(r.disk.Source, p, off, "block map")
}

// checkEntry returns the entry e of block i as the table has it.
func (r *Reader) checkEntry(i int64, e uint32, at int64) (uint32, error) {
	if e >= discarded {
		return imagefmt.NoBlock, nil
	}
	d := &r.disk
	start := d.Base + int64(e)*d.Unit
	// The last block may be cut off where the disk ends.
	if need := min(d.BlockSize, d.DiskSize-i*d.BlockSize); start > d.FileSize-need {
		return 0, format.Truncated(at, "map entry", "block %d at offset %d is outside the file", i, start)
	}
	return e, nil
}

// checkOverlap refuses blocks of width bytes that share bytes of the file.
func (r *Reader) checkOverlap(width int64, reload func() error) error {
	a, b, found, err := r.disk.Overlap(width, reload)
	if found {
		return format.Damaged(b, "block", "overlaps the block at offset %d", a)
	}
	return err
}
