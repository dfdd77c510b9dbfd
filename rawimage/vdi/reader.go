package vdi

import (
	"encoding/binary"
	"io"
	"math"
	"math/bits"
)

// Subformat is how a VDI stores its blocks.
type Subformat string

// The subformats NewReader takes.
const (
	Dynamic Subformat = "dynamic"
	Static  Subformat = "static"
)

// Info describes an image.
type Info struct {
	Subformat Subformat
	Size      int64 // virtual size in bytes, of whole sectors
	DiskSize  int64 // what the header says: VirtualBox may write any number
	UUID      [16]byte
	BlockSize int64
	Blocks    int64 // in the disk
	Stored    int64 // of those, in the file
}

// Reader is an open VDI. All methods are safe for concurrent use.
type Reader struct {
	blockMap
	info Info
}

// NewReader reads the header and the block map of the VDI in the first size
// bytes of ra, which must stay open as long as the Reader is used.
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if size < headerSize {
		return nil, malformed(0, "file", "%d bytes are less than a header", size)
	}
	buf := make([]byte, headerSize)
	if err := readFull(ra, buf, 0, "header"); err != nil {
		return nil, err
	}
	h := parseHeader(buf)
	if err := h.check(); err != nil {
		return nil, err
	}
	r := &Reader{blockMap: blockMap{
		ra: ra, fileSize: size, blockSize: int64(h.blockSize),
		size: ceilDiv(int64(h.diskSize), sectorSize) * sectorSize,
	}}
	r.info = Info{
		Subformat: Dynamic, Size: r.size, DiskSize: int64(h.diskSize),
		UUID: h.uuid, BlockSize: r.blockSize,
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

// check holds the header to what this package reads. Fields are reported at
// their offsets in the file.
func (h *header) check() error {
	if h.signature != signature {
		return malformed(0x40, "signature", "%#08x", h.signature)
	}
	if h.version != version1_1 {
		return unsupported(0x44, "version", "%d.%d, only 1.1 is read", h.version>>16, h.version&0xFFFF)
	}
	if h.linkUUID != [16]byte{} || h.parent != [16]byte{} {
		return unsupported(0x1A8, "parent", "differencing disk, merge it into its parent first")
	}
	if h.imageType != typeDynamic && h.imageType != typeStatic {
		return unsupported(0x4C, "image type", "%d, only dynamic (1) and static (2) are read", h.imageType)
	}
	if h.sectorSize != sectorSize {
		return unsupported(0x168, "sector size", "%d", h.sectorSize)
	}
	if h.blockExtra != 0 {
		return unsupported(0x17C, "extra bytes in blocks", "%d", h.blockExtra)
	}
	if bits.OnesCount32(h.blockSize) != 1 || h.blockSize < sectorSize || h.blockSize > maxBlockSize {
		return malformed(0x178, "block size", "%d", h.blockSize)
	}
	if h.diskSize == 0 || h.diskSize > math.MaxInt64-sectorSize {
		return malformed(0x170, "disk size", "%d bytes", h.diskSize)
	}
	if h.mapAt < headerSize || h.mapAt%sectorSize != 0 {
		return malformed(0x154, "map offset", "%d", h.mapAt)
	}
	if h.dataAt%sectorSize != 0 {
		return malformed(0x158, "data offset", "%d", h.dataAt)
	}
	return nil
}

// loadMap reads the block map and checks every entry once, so that reading later
// needs no checks.
func (r *Reader) loadMap(h header, maxTable int64) error {
	blocks := ceilDiv(r.size, r.blockSize)
	if int64(h.blocks) < blocks {
		return malformed(0x180, "block count", "%d for a disk of %d", h.blocks, blocks)
	}
	mapAt, dataAt := int64(h.mapAt), int64(h.dataAt)
	if mapAt > r.fileSize || blocks > (r.fileSize-mapAt)/4 {
		return malformed(0x154, "map offset", "%d entries at %d are outside the file", blocks, mapAt)
	}
	if dataAt < mapAt+blocks*4 {
		return malformed(0x158, "data offset", "%d is before the end of the map at %d", dataAt, mapAt+blocks*4)
	}
	if blocks*4 > maxTable {
		return unsupported(0x180, "block count", "a map of %d bytes, more than the bound of %d", blocks*4, maxTable)
	}
	raw := make([]byte, blocks*4)
	if err := readFull(r.ra, raw, mapAt, "block map"); err != nil {
		return err
	}
	table := make([]uint32, blocks)
	var starts []int64
	for i := range blocks {
		table[i] = binary.LittleEndian.Uint32(raw[i*4:])
		if table[i] >= discarded {
			continue
		}
		start := dataAt + int64(table[i])*r.blockSize
		// The last block may be cut off where the disk ends.
		if need := min(r.blockSize, r.size-i*r.blockSize); start > r.fileSize-need {
			return malformed(mapAt+i*4, "map entry", "block %d at offset %d is outside the file", i, start)
		}
		starts = append(starts, start)
	}
	r.info.Blocks, r.info.Stored = blocks, int64(len(starts))
	r.offset = func(i int64) int64 {
		if i >= blocks || table[i] >= discarded {
			return absent
		}
		return dataAt + int64(table[i])*r.blockSize
	}
	return checkOverlap(starts, r.blockSize)
}
