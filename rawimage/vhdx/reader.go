package vhdx

import (
	"encoding/binary"
	"io"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// Subformat is how a VHDX stores its blocks.
type Subformat string

// The subformats NewReader takes.
const (
	Fixed   Subformat = "fixed"   // room for all blocks from the start
	Dynamic Subformat = "dynamic" // blocks as they were written
)

// Info describes an image.
type Info struct {
	Subformat      Subformat // Fixed or Dynamic
	Size           int64     // virtual size in bytes
	BlockSize      int64     // bytes, 1 MiB to 256 MiB
	Blocks         int64     // in the disk
	Stored         int64     // of those, in the file
	LogicalSector  int       // bytes
	PhysicalSector int       // bytes, 0 where it is not told
	DiskID         [16]byte  // a UUID, that of the disk
	Creator        string    // such as "QEMU v7.2.0"
	// Replayed is how many entries of the log were not in the file yet and were
	// replayed in memory: its last writer did not close it.
	Replayed int
}

// Reader is an open VHDX. All methods are safe for concurrent use.
type Reader struct {
	disk imagefmt.Table
	info Info
}

// NewReader reads the headers, the log, the metadata and the allocation table of
// the VHDX in the first size bytes of ra, which must stay open as long as the
// Reader is used.
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := imagefmt.CheckSource("vhdx", ra, size); err != nil {
		return nil, err
	}
	if size < tablesEnd {
		return nil, format.Truncated(0, "file", "%d bytes are less than the headers", size)
	}
	id := make([]byte, 8+512)
	if err := readFull(ra, id, 0, "file identifier"); err != nil {
		return nil, err
	}
	if string(id[:8]) != fileSignature {
		return nil, format.Damaged(0, "signature", "%q", id[:8])
	}
	h, err := currentHeader(ra)
	if err != nil {
		return nil, err
	}
	r := &Reader{disk: imagefmt.Table{Prefix: "vhdx", Source: ra, FileSize: size, Unit: mib}}
	r.info.Creator = utf16Text(id[8:])
	if h.logGUID != (guid{}) {
		l, err := replayLog(ra, size, h, o.maxTable)
		if err != nil {
			return nil, err
		}
		r.disk.Source, r.disk.FileSize, r.info.Replayed = l, l.extended, l.entries
	}
	if err := r.open(size, o.maxTable); err != nil {
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

// open reads what the regions have. size is of the file as it is, without what
// the log would have it grow by: tables must be in it.
func (r *Reader) open(size, maxTable int64) error {
	regions, err := r.readRegions(size)
	if err != nil {
		return err
	}
	m, err := r.readMetadata(regions[metadataGUID])
	if err != nil {
		return err
	}
	r.disk.DiskSize, r.disk.BlockSize = m.size, m.blockSize
	r.info.Size, r.info.BlockSize, r.info.DiskID = m.size, m.blockSize, m.id
	r.info.LogicalSector, r.info.PhysicalSector = int(m.logical), int(m.physical)
	r.info.Subformat = Dynamic
	if m.fixed {
		r.info.Subformat = Fixed
	}
	return r.loadTable(regions[batGUID], m, maxTable)
}

// currentHeader returns the valid header with the higher sequence number.
func currentHeader(ra io.ReaderAt) (header, error) {
	var best header
	for _, at := range []int64{header1At, header2At} {
		b := make([]byte, headSize)
		if err := readFull(ra, b, at, "header"); err != nil {
			return header{}, err
		}
		if string(b[:4]) != "head" || !checksumOK(b) {
			continue
		}
		if h := parseHeader(b, at); best.at == 0 || h.sequence > best.sequence {
			best = h
		}
	}
	if best.at == 0 {
		return best, format.Damaged(header1At, "header", "neither of the two is valid")
	}
	if best.version != 1 {
		return best, format.Unsupported(best.at+66, "version", "%d", best.version)
	}
	return best, nil
}

// loadTable reads the block allocation table and checks every entry once, so that
// reading later needs no checks. After each chunk of blocks the table has an
// entry for a bitmap, which only differencing disks use.
func (r *Reader) loadTable(bat region, m metadata, maxTable int64) error {
	perChunk := (int64(m.logical) << 23) / m.blockSize
	blocks := imagefmt.CeilDiv(m.size, m.blockSize)
	n := blocks + (blocks-1)/perChunk
	if n > bat.size/8 {
		return format.Damaged(bat.at, "allocation table", "%d bytes for %d entries", bat.size, n)
	}
	if n*8 > maxTable {
		return format.Unsupported(bat.at, "allocation table", "%d bytes, more than the bound of %d", n*8, maxTable)
	}
	r.disk.Entries = make([]uint32, blocks)
	load := func() error {
		return imagefmt.EachEntry(bat.at, n, 8, r.readTable, func(j int64, b []byte) (err error) {
			if j%(perChunk+1) == perChunk {
				return nil
			}
			i := j - j/(perChunk+1)
			r.disk.Entries[i], err = r.checkEntry(i, binary.LittleEndian.Uint64(b), bat.at+j*8)
			return err
		})
	}
	if err := load(); err != nil {
		return err
	}
	r.info.Blocks, r.info.Stored = blocks, r.disk.Stored()
	return r.checkOverlap(m.blockSize, load)
}

func (r *Reader) readTable(p []byte, off int64) error {
	return readFull(r.disk.Source, p, off, "allocation table")
}

// checkEntry returns where block i is by its entry e, in MiB: offsets are whole
// ones and below 2^52, which fit in 32 bits.
func (r *Reader) checkEntry(i int64, e uint64, at int64) (uint32, error) {
	switch e & 7 {
	case stateNotPresent, stateUndefined, stateZero, stateUnmapped, stateUnmapped95:
		return imagefmt.NoBlock, nil
	case statePresent:
	case statePartial:
		return 0, format.Unsupported(at, "table entry", "block %d is partly in a parent", i)
	default:
		return 0, format.Damaged(at, "table entry", "block %d has state %d", i, e&7)
	}
	// The last block may be cut off where the disk ends.
	d := &r.disk
	need := min(d.BlockSize, d.DiskSize-i*d.BlockSize)
	start := e &^ (mib - 1)
	if start < tablesEnd || start >= 1<<52 {
		return 0, format.Damaged(at, "table entry", "block %d at offset %d", i, start)
	}
	if int64(start) > d.FileSize-need {
		return 0, format.Truncated(at, "table entry", "block %d at offset %d is outside the file", i, start)
	}
	return uint32(start / mib), nil
}

// checkOverlap refuses blocks of width bytes that share bytes of the file.
func (r *Reader) checkOverlap(width int64, reload func() error) error {
	a, b, found, err := r.disk.Overlap(width, reload)
	if found {
		return format.Damaged(b, "block", "overlaps the block at offset %d", a)
	}
	return err
}
