package vhdx

import (
	"encoding/binary"
	"io"
)

// Subformat is how a VHDX stores its blocks.
type Subformat string

// The subformats NewReader takes.
const (
	Fixed   Subformat = "fixed"
	Dynamic Subformat = "dynamic"
)

// Info describes an image.
type Info struct {
	Subformat      Subformat
	Size           int64 // virtual size in bytes
	BlockSize      int64
	Blocks         int64 // in the disk
	Stored         int64 // of those, in the file
	LogicalSector  int   // bytes
	PhysicalSector int   // bytes, 0 where it is not told
	DiskID         [16]byte
	Creator        string // such as "QEMU v7.2.0"
	// Replayed is how many entries of the log were not in the file yet and were
	// replayed in memory: its last writer did not close it.
	Replayed int
}

// Reader is an open VHDX. All methods are safe for concurrent use.
type Reader struct {
	blockMap
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
	if size < tablesEnd {
		return nil, malformed(0, "file", "%d bytes are less than the headers", size)
	}
	id := make([]byte, 8+512)
	if err := readFull(ra, id, 0, "file identifier"); err != nil {
		return nil, err
	}
	if string(id[:8]) != fileSignature {
		return nil, malformed(0, "signature", "%q", id[:8])
	}
	h, err := currentHeader(ra)
	if err != nil {
		return nil, err
	}
	r := new(Reader)
	r.info.Creator = utf16Text(id[8:])
	r.ra, r.fileSize = ra, size
	if h.logGUID != (guid{}) {
		l, err := replayLog(ra, size, h, o.maxTable)
		if err != nil {
			return nil, err
		}
		r.ra, r.fileSize, r.info.Replayed = l, l.extended, l.entries
	}
	if err := r.open(size, o.maxTable); err != nil {
		return nil, err
	}
	return r, nil
}

// Info describes the image.
func (r *Reader) Info() Info { return r.info }

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
	r.size, r.blockSize = m.size, m.blockSize
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
		return best, malformed(header1At, "header", "neither of the two is valid")
	}
	if best.version != 1 {
		return best, unsupported(best.at+66, "version", "%d", best.version)
	}
	return best, nil
}

// loadTable reads the block allocation table and checks every entry once, so that
// reading later needs no checks. After each chunk of blocks the table has an
// entry for a bitmap, which only differencing disks use.
func (r *Reader) loadTable(bat region, m metadata, maxTable int64) error {
	perChunk := (int64(m.logical) << 23) / m.blockSize
	blocks := ceilDiv(r.size, r.blockSize)
	n := blocks + (blocks-1)/perChunk
	if n > bat.size/8 {
		return malformed(bat.at, "allocation table", "%d bytes for %d entries", bat.size, n)
	}
	if n*8 > maxTable {
		return unsupported(bat.at, "allocation table", "%d bytes, more than the bound of %d", n*8, maxTable)
	}
	raw := make([]byte, n*8)
	if err := readFull(r.ra, raw, bat.at, "allocation table"); err != nil {
		return err
	}
	// Offsets are whole MiB from 1 MiB on and below 2^52, which fit in 32 bits
	// with 0 for absent ones.
	table := make([]uint32, blocks)
	var starts []int64
	for i := range blocks {
		j := i + i/perChunk
		at, err := r.checkEntry(i, binary.LittleEndian.Uint64(raw[j*8:]), bat.at+j*8)
		if err != nil {
			return err
		}
		if at != absent {
			table[i] = uint32(at / mib)
			starts = append(starts, at)
		}
	}
	r.info.Blocks, r.info.Stored = blocks, int64(len(starts))
	r.offset = func(i int64) int64 {
		if i >= blocks || table[i] == 0 {
			return absent
		}
		return int64(table[i]) * mib
	}
	return checkOverlap(starts, r.blockSize)
}

// checkEntry returns where block i is by its entry e, or absent.
func (r *Reader) checkEntry(i int64, e uint64, at int64) (int64, error) {
	switch e & 7 {
	case stateNotPresent, stateUndefined, stateZero, stateUnmapped, stateUnmapped95:
		return absent, nil
	case statePresent:
	case statePartial:
		return 0, unsupported(at, "table entry", "block %d is partly in a parent", i)
	default:
		return 0, malformed(at, "table entry", "block %d has state %d", i, e&7)
	}
	// The last block may be cut off where the disk ends.
	need := min(r.blockSize, r.size-i*r.blockSize)
	start := e &^ (mib - 1)
	if start < tablesEnd || start > uint64(r.fileSize) || int64(start) > r.fileSize-need || start >= 1<<52 {
		return 0, malformed(at, "table entry", "block %d at offset %d is outside the file", i, start)
	}
	return int64(start), nil
}
